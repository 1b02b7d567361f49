//! One echo through a running server and back, per engine: two system calls of ours, two of its, and two wake-ups. Mostly
//! the kernel's time; it guards against a turn of the loop that does more than it must.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroUsize;

use criterion::{Criterion, Throughput};
use tidemark_server::config::Workers;
use tidemark_server::{Config, Engine, Server};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo_turn");
    group.throughput(Throughput::Elements(1));
    for engine in Engine::ALL {
        group.bench_function(engine.name(), |bencher| {
            let running = Server::start(Config {
                engine,
                workers: Workers::Fixed(NonZeroUsize::MIN),
                echo: vec![ANY_PORT.into()],
                admin: ANY_PORT,
                ..Config::default()
            })
            .expect("a server on free ports");
            let mut stream = TcpStream::connect(running.echo_addrs()[0]).expect("a connection");
            stream.set_nodelay(true).expect("TCP");
            let request = [b't'; 64];
            let mut reply = [0; 64];
            bencher.iter(|| {
                stream.write_all(&request).expect("sent");
                stream.read_exact(&mut reply).expect("answered");
            });
            assert_eq!(reply, request);
        });
    }
    group.finish();
}
