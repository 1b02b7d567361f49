//! The bar that the load generator's ramp is held to: a thread per CPU, each opening its share of the connections one after the
//! other, and waiting for each.
//!
//! `bare-connect TARGET CONNECTIONS` prints `connected in SECONDS`, and holds the connections until standard input ends. However it
//! ends, the kernel resets them, so that no port is missing afterwards. With `--no-wait` it waits for none of them, which is the least
//! that connecting can cost, and all that a loop without waiting could win; over loopback they are connected all the same.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tidemark_host::{cpu, limits, tcp_info};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let target: SocketAddr = args.next().context("the target is missing")?.parse()?;
    let connections: usize = args.next().context("the number of connections is missing")?.parse()?;
    let kind = match args.next().as_deref() {
        None => Type::STREAM,
        Some("--no-wait") => Type::STREAM.nonblocking(),
        Some(other) => anyhow::bail!("what is {other}?"),
    };
    limits::raise_nofile()?;
    let threads = cpu::allowed()?.len();
    let began = Instant::now();
    let open = std::thread::scope(|scope| -> io::Result<Vec<Vec<Socket>>> {
        let shares = (0..threads).map(|thread| (connections + thread) / threads);
        let opening: Vec<_> = shares.map(|share| scope.spawn(move || connect(target, kind, share))).collect();
        // A thread that panics is a mistake of this program.
        opening.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })?;
    let took = began.elapsed();
    for socket in open.iter().flatten() {
        anyhow::ensure!(tcp_info::read(socket)?.is_established, "not all are connected");
    }
    writeln!(io::stdout(), "connected in {}", took.as_secs_f64())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(open);
    Ok(())
}

fn connect(target: SocketAddr, kind: Type, connections: usize) -> io::Result<Vec<Socket>> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let socket = Socket::new(Domain::for_address(target), kind, None)?;
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        socket.set_linger(Some(Duration::ZERO))?;
        open.push(socket);
    }
    Ok(open)
}
