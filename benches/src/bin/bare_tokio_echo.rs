//! The bar that the tokio engines are held to: the echo server that every tutorial has, a task with a buffer of its own for each
//! connection, on a runtime of one thread, of the plain kind or of the one whose threads take tasks from each other. No limits, no timeouts, no metrics, no drain.
//!
//! `bare-tokio-echo [CPU [tokio|tokio-steal]]` prints `listening ADDR` and serves until it is killed.

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
    let mut builder = match std::env::args().nth(2).as_deref() {
        Some("tokio-steal") => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    let runtime = builder.worker_threads(1).enable_io().build()?;
    // As a task, because the thread that waits for it is none of the runtime's.
    runtime.block_on(runtime.spawn(serve()))??;
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
