//! The bar that the tokio engines are held to: the echo server that every tutorial has, a task with a buffer of its own for each
//! connection, on a runtime of one thread. No limits, no timeouts, no metrics, no drain.
//!
//! `bare-tokio-echo [CPU]` prints `listening ADDR` and serves until it is killed.

use std::io::{self, Write};
use std::net::Ipv4Addr;

use tidemark_host::cpu;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// What tutorials give a connection.
const BUFFER_BYTES: usize = 4096;

fn main() -> anyhow::Result<()> {
    if let Some(cpus) = std::env::args().nth(1) {
        cpu::pin(&cpus.parse()?)?;
    }
    Builder::new_current_thread().enable_io().build()?.block_on(serve())?;
    Ok(())
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(io::stdout(), "listening {}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that fails is over, and no other's business.
        tokio::spawn(async move { drop(echo(stream).await) });
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            bytes => stream.write_all(&buffer[..bytes]).await?,
        }
    }
}
