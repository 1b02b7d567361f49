//! The bar that the load generator's ramp is held to: a thread per CPU, each opening its share of the connections one after the
//! other, and waiting for each.
//!
//! `blocking-connect TARGET CONNECTIONS` prints `connected in SECONDS`, and holds the connections until standard input ends. However it
//! ends, the kernel resets them, so that no port is missing afterwards.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;
use socket2::SockRef;
use tidemark_host::{cpu, limits};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let target: SocketAddr = args.next().context("the target is missing")?.parse()?;
    let connections: usize = args.next().context("the number of connections is missing")?.parse()?;
    limits::raise_nofile()?;
    let threads = cpu::allowed()?.len();
    let began = Instant::now();
    let open = std::thread::scope(|scope| -> io::Result<Vec<Vec<TcpStream>>> {
        let shares = (0..threads).map(|thread| (connections + thread) / threads);
        let opening: Vec<_> = shares.map(|share| scope.spawn(move || connect(target, share))).collect();
        // A thread that panics is a mistake of this program.
        opening.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })?;
    writeln!(io::stdout(), "connected in {}", began.elapsed().as_secs_f64())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(open);
    Ok(())
}

fn connect(target: SocketAddr, connections: usize) -> io::Result<Vec<TcpStream>> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(target)?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        open.push(stream);
    }
    Ok(open)
}
