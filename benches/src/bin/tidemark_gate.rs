//! `tidemark-gate`: parse, run, exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tidemark_benches::error::MeasureError;
use tidemark_benches::gate::cli::{Cli, Command};
use tidemark_benches::gate::{decide, history, run, selftest};
use tidemark_benches::interrupt::Interrupt;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let interrupt = Interrupt::catch().map_err(MeasureError::io("handle signals"));
    let result = interrupt.and_then(|interrupt| match cli.command {
        Command::Run(args) => run::run(&args, &interrupt),
        Command::Decide(args) => decide::run(&args),
        Command::Selftest(args) => selftest::run(&args, &interrupt),
        Command::History(command) => history::run(&command),
    });
    let exit = result.unwrap_or_else(|error| {
        // What a program said may have several lines. Nothing is left to do when standard error is closed.
        let line = error.to_string().trim_end().replace('\n', " | ");
        drop(writeln!(io::stderr(), "tidemark-gate: {line}"));
        error.exit()
    });
    exit.into()
}
