//! `tidemark-server`: parse, run, exit code.

use std::process::ExitCode;

use tidemark_server::{app, cli::Parsed};

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: tidemark_host::allocations::Counting = tidemark_host::allocations::Counting;

fn main() -> ExitCode {
    match Parsed::from_args(std::env::args_os()) {
        Ok(parsed) => app::run(parsed),
        Err(refusal) => app::refuse(&refusal),
    }
}
