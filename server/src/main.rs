//! `tidemark-server`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use tidemark_server::{app, cli::Cli};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => app::run(cli),
        Err(error) => app::usage(&error),
    }
}
