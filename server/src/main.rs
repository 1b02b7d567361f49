//! `tidemark-server`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use tidemark_server::{app, cli::Cli};

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: tidemark_host::allocations::Counting = tidemark_host::allocations::Counting;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => app::run(cli),
        Err(error) => app::usage(&error),
    }
}
