//! `tidemark-measure`: parse, run, exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tidemark_benches::cli::{Cli, Command};
use tidemark_benches::session::Session;
use tidemark_benches::{compare, cpu, echo, generator, http, memory, pacing, probe, ramp, scale, stall};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Session::open(cli.results, cli.json).and_then(|session| match cli.command {
        Command::Echo(args) => echo::run(&session, &args),
        Command::Memory(args) => memory::run(&session, &args),
        Command::Cpu(args) => cpu::run(&session, &args),
        Command::Http(args) => http::run(&session, &args),
        Command::Stall(args) => stall::run(&session, &args),
        Command::Pacing(args) => pacing::run(&session, &args),
        Command::Generator(args) => generator::run(&session, &args),
        Command::Scale(args) => scale::run(&session, &args),
        Command::Probe(args) => probe::run(&session, &args),
        Command::Ramp(args) => ramp::run(&session, &args),
        Command::Compare(args) => compare::run(&session, &args),
    });
    let exit = result.unwrap_or_else(|error| {
        // Nothing is left to do when standard error is closed.
        drop(writeln!(io::stderr(), "tidemark-measure: {error}"));
        error.exit()
    });
    exit.into()
}
