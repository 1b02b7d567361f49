//! A server that misbehaves on purpose, to see how a load generator tells.
//!
//! ```text
//! cargo run --example faulty_server -- stall --for 100ms --every 1s
//! cargo run --example faulty_server -- --listen 127.0.0.1:8080 close
//! ```
//! It prints `listening ADDR` once connections are taken, and runs until SIGTERM. After each stop `late_us` tells by how much the replies
//! left later than they should have, so that a stop that others made longer is no mistake of the load generator's.

mod fault;
mod server;
mod stall;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::process::ExitCode;

use clap::Parser;

use crate::fault::Fault;
use crate::server::Server;

/// A TCP server that misbehaves on purpose
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, global = true, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// End when standard input (a pipe or a terminal) is closed, as it is when the parent process ends
    #[arg(long, global = true)]
    exit_with_parent: bool,

    /// What it does wrong
    #[command(subcommand)]
    fault: Fault,
}

fn main() -> ExitCode {
    match serve(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when standard error is closed.
            drop(writeln!(io::stderr(), "faulty_server: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(args: Args) -> io::Result<()> {
    // What is to take 100 us is to take 100 us; a kernel that refuses this only makes it a little longer.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    // A server that runs out of descriptors would show a fault that nobody asked for.
    tidemark_host::limits::raise_nofile()?;
    let mut server = Server::bind(args.listen, args.fault, args.exit_with_parent)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening {}", server.local_addr()?)?;
    stdout.flush()?;
    server.run()
}
