//! Parse, run, exit code.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tidemark_loadgen::capacity::Machine;
use tidemark_loadgen::cli::{Cli, Command, CompareArgs, MergeArgs, ReportArgs, RunArgs, SearchArgs};
use tidemark_loadgen::interrupt::Interrupts;
use tidemark_loadgen::live::Live;
use tidemark_loadgen::plan::{Plan, PlanError};
use tidemark_loadgen::report::compare::{self, Side};
use tidemark_loadgen::report::merge::{self, MergeError};
use tidemark_loadgen::report::read::ReadError;
use tidemark_loadgen::report::stored::Stored;
use tidemark_loadgen::report::{Report, table};
use tidemark_loadgen::run::RunError;
use tidemark_loadgen::search::curve;
use tidemark_loadgen::search::steps::{self, StepError};
use tidemark_loadgen::{doctor, run};
use tidemark_program::Exit;

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Run(args) => run_load(&args).unwrap_or_else(|error| told(&error)),
        Command::Search(args) => search_load(&args).unwrap_or_else(|error| told(&error)),
        Command::Report(args) => show_report(&args).unwrap_or_else(|error| told(&error)),
        Command::Merge(args) => merge_runs(&args).unwrap_or_else(|error| told(&error)),
        Command::Compare(args) => compare_runs(&args).unwrap_or_else(|error| told(&error)),
        Command::Doctor(args) => {
            let (text, exit) = doctor::run(&args);
            drop(io::stdout().write_all(text.as_bytes()));
            exit
        }
    };
    exit.into()
}

fn run_load(args: &RunArgs) -> anyhow::Result<Exit> {
    let plan = Plan::new(args, &Machine::read()?)?;
    let live = Live::new(args.load.live);
    for note in &plan.notes {
        live.say(note);
    }
    run::check(&plan)?;
    let interrupts = Interrupts::listen().map_err(run::no_signals)?;
    let completed = run::run(&plan, &args.load.output, &live, &interrupts)?;
    let dir = &completed.dir;
    let report = Report::new(&plan, &completed.outcome, &dir.id, std::env::args().collect());
    let shown = shown(&report, &dir.path, args.json.is_some())?;
    let finished = dir.finish(&report, &completed.outcome.totals());
    print(&shown);
    finished.map_err(|(path, source)| run::output_error(&path, source))?;
    completed.linger(&plan, &report, &live);
    Ok(report.exit())
}

fn search_load(args: &SearchArgs) -> anyhow::Result<Exit> {
    let mut finished = steps::run(args, &Machine::read()?)?;
    let shown = if args.json.is_some() {
        serde_json::to_string_pretty(&finished.curve)? + "\n"
    } else {
        format!("{}results in {}\n", curve::render(&finished.curve), finished.dir.display())
    };
    print(&shown);
    let exit = match finished.failure.take() {
        Some(failure) => told(&failure.into()),
        None => finished.curve.result.exit(),
    };
    finished.linger(&Live::new(args.load.live));
    Ok(exit)
}

fn show_report(args: &ReportArgs) -> anyhow::Result<Exit> {
    let stored = Stored::open(&args.dir)?;
    print(&shown(&stored.report, &args.dir, args.json.is_some())?);
    Ok(stored.report.exit())
}

fn merge_runs(args: &MergeArgs) -> anyhow::Result<Exit> {
    let merged = merge::merge(&args.dirs, &args.output, std::env::args().collect())?;
    print(&shown(&merged.report, &merged.dir.path, args.json.is_some())?);
    Ok(merged.report.exit())
}

fn compare_runs(args: &CompareArgs) -> anyhow::Result<Exit> {
    let sides = [Side::open(&args.a)?, Side::open(&args.b)?];
    print(&compare::render(&sides));
    Ok(compare::exit(&sides))
}

/// A report for people, or as JSON.
fn shown(report: &Report, dir: &Path, as_json: bool) -> anyhow::Result<String> {
    Ok(if as_json {
        serde_json::to_string_pretty(report)? + "\n"
    } else {
        format!("{}results in {}\n", table::render(report), dir.display())
    })
}

/// Whoever reads the output may have gone (`| head`); the verdict stands all the same.
fn print(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}

/// Tells an error, and what to exit with for it.
fn told(error: &anyhow::Error) -> Exit {
    // Nothing is left to do when standard error is closed.
    drop(writeln!(io::stderr(), "tidemark-loadgen: {error}"));
    exit_of(error)
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if error.is::<ReadError>()
        || matches!(error.downcast_ref(), Some(MergeError::Read(_) | MergeError::Unlike(_)))
    {
        return Exit::Usage;
    }
    let (plan, run) = match error.downcast_ref::<StepError>() {
        Some(StepError::Plan(error)) => (Some(error), None),
        Some(StepError::Run(error)) => (None, Some(error)),
        None => (error.downcast_ref::<PlanError>(), error.downcast_ref::<RunError>()),
    };
    match (plan, run) {
        (Some(PlanError::Target(_) | PlanError::Scenario(_) | PlanError::Usage(_)), _) => Exit::Usage,
        (_, Some(RunError::Interrupted)) => Exit::NotTrustworthy,
        _ => Exit::CouldNotRun,
    }
}
