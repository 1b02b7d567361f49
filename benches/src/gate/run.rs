//! `run`: measures two builds, judges, and writes it all down.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tidemark_host::{facts, limits};

use super::build::Build;
use super::cli::RunArgs;
use super::decision::Verdict;
use super::measure::{Bench, Contestant, Work};
use super::present::{junit, markdown, table};
use super::record::{self, Header};
use super::report::{Counts, Report, Run, SCHEMA_VERSION, Side, Times};
use super::tier_a;
use super::tier_a::budgets::Budgets;
use super::tier_a::subject::Subject;
use super::tier_b::{self, Until};
use super::verdict;
use crate::allowed::{Allowed, Apart};
use crate::error::MeasureError;
use crate::interrupt::Interrupt;
use tidemark_program::Exit;

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Flags, as of the command line.
    pub args: RunArgs,
    /// The builds.
    pub builds: Builds,
    /// Flags of `serve` for either server. Meant for faults that are injected.
    pub flags: [Vec<String>; 2],
}

/// The two builds.
#[derive(Clone, Debug)]
pub struct Builds {
    /// What head is held against.
    pub base: Build,
    /// What is judged.
    pub head: Build,
}

impl Builds {
    /// Those of the command line.
    ///
    /// # Errors
    /// When one is not there, or not whole.
    pub fn of(args: &RunArgs) -> Result<Self, MeasureError> {
        Ok(Self {
            base: Build::in_directory(&args.base)?,
            head: Build::in_directory(&args.head)?.with_loadgen()?,
        })
    }
}

/// Runs the command.
///
/// # Errors
/// When it could not measure.
pub fn run(args: &RunArgs, interrupt: &Interrupt) -> Result<Exit, MeasureError> {
    let builds = Builds::of(args)?;
    let comparison = Comparison { args: args.clone(), builds, flags: [Vec::new(), Vec::new()] };
    let report = compare(&comparison, interrupt, &mut say)?;
    say(table::render(&report).trim_end());
    let blocks = if args.tier.times() { ", blocks.jsonl" } else { "" };
    say(&format!("in {}: gate.json, summary.md, junit.xml{blocks}", args.output.display()));
    Ok(report.verdict.exit())
}

/// Prints a line. A closed standard output is no reason to end a measurement; its files are still written.
pub fn say(line: &str) {
    drop(writeln!(io::stdout(), "{line}"));
}

/// Measures and judges, and leaves the files in the output directory.
///
/// # Errors
/// When it could not measure, or a file cannot be written.
pub fn compare(
    comparison: &Comparison,
    interrupt: &Interrupt,
    say: &mut dyn FnMut(&str),
) -> Result<Report, MeasureError> {
    let Comparison { args, builds, .. } = comparison;
    let (began, started_at) = (Instant::now(), SystemTime::now());
    let seed = args.seed.unwrap_or_else(|| drawn_from(started_at));
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        verdict: Verdict::Inconclusive,
        why: String::new(),
        run: Run {
            started_at: humantime::format_rfc3339_seconds(started_at).to_string(),
            took_s: 0.0,
            budget_s: args.budget.as_secs_f64(),
            seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        base: side(&args.base_name, &builds.base)?,
        head: side(&args.head_name, &builds.head)?,
        identical: are_identical(&builds.base.server, &builds.head.server)?,
        host: facts::facts(),
        counts: None,
        times: None,
    };
    fs::create_dir_all(&args.output).map_err(MeasureError::io(format!("make {}", args.output.display())))?;
    if report.identical {
        say("both servers are the same, byte by byte");
    }
    if args.tier.counts() {
        report.counts = Some(counts(comparison, interrupt, say)?);
    }
    if args.tier.times() {
        report.times = Some(times(comparison, &report, interrupt, began, say)?);
    }
    (report.verdict, report.why) = verdict::of(&report);
    report.run.took_s = began.elapsed().as_secs_f64();
    write_files(&report, &args.output)?;
    Ok(report)
}

fn counts(
    comparison: &Comparison,
    interrupt: &Interrupt,
    say: &mut dyn FnMut(&str),
) -> Result<Counts, MeasureError> {
    let Comparison { args, builds, flags: [base_flags, head_flags] } = comparison;
    limits::raise_nofile().map_err(MeasureError::io("raise the limit on open files"))?;
    let scratch = scratch_in(&args.output)?;
    let bench = tier_a::Bench {
        base: Subject { build: builds.base.clone(), flags: base_flags.clone() },
        head: Subject { build: builds.head.clone(), flags: head_flags.clone() },
        budgets: &Budgets::built_in(),
        scratch: scratch.path(),
        interrupt,
    };
    bench.count(say)
}

fn scratch_in(output: &Path) -> Result<TempDir, MeasureError> {
    tempfile::tempdir_in(output)
        .map_err(MeasureError::io(format!("make a directory in {}", output.display())))
}

fn times(
    comparison: &Comparison,
    report: &Report,
    interrupt: &Interrupt,
    began: Instant,
    say: &mut dyn FnMut(&str),
) -> Result<Times, MeasureError> {
    let Comparison { args, builds, flags: [base_flags, head_flags] } = comparison;
    limits::raise_nofile().map_err(MeasureError::io("raise the limit on open files"))?;
    let apart = two_cpus()?;
    let scratch = scratch_in(&args.output)?;
    let bench = Bench {
        base: Contestant { flags: base_flags.clone(), ..Contestant::from(&builds.base) },
        head: Contestant { flags: head_flags.clone(), ..Contestant::from(&builds.head) },
        loadgen: builds.head.loadgen.clone(),
        apart,
        work: Work::default().part(args.work),
        metrics: args.metrics.clone(),
        scratch: scratch.path(),
        interrupt,
    };
    let header = Header {
        schema_version: record::SCHEMA_VERSION,
        started_at: report.run.started_at.clone(),
        seed: report.run.seed,
        metrics: bench.metrics.clone(),
        work: bench.work,
        base: report.base.name.clone(),
        head: report.head.name.clone(),
        host: report.host.clone(),
    };
    say(&format!(
        "{} (B) and {} (H) in turn, server on CPU {}, clients on CPU {}, seed {}, at most {}",
        args.base_name,
        args.head_name,
        apart.server,
        apart.client,
        report.run.seed,
        humantime::format_duration(args.budget)
    ));
    let until = Until { began, budget: args.budget };
    tier_b::measure(&bench, &header, &args.output.join("blocks.jsonl"), until, say)
}

/// Server and clients on one CPU would measure each other.
fn two_cpus() -> Result<Apart, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    allowed.apart().ok_or_else(|| {
        MeasureError::Host("times need two CPUs, one for the server and one for its clients".to_owned())
    })
}

/// A seed that is another one each time.
fn drawn_from(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Short, because people type it again.
    u64::from(since.subsec_nanos()) ^ since.as_secs() & 0xffff
}

fn side(name: &str, build: &Build) -> Result<Side, MeasureError> {
    let metadata =
        fs::metadata(&build.server).map_err(MeasureError::io(format!("read {}", build.server.display())))?;
    Ok(Side { name: name.to_owned(), server_bytes: metadata.len() })
}

fn are_identical(base: &Path, head: &Path) -> Result<bool, MeasureError> {
    let read = |path: &Path| fs::read(path).map_err(MeasureError::io(format!("read {}", path.display())));
    Ok(read(base)? == read(head)?)
}

fn write_files(report: &Report, output: &Path) -> Result<(), MeasureError> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    for (name, text) in
        [("gate.json", json), ("summary.md", markdown::render(report)), ("junit.xml", junit::render(report))]
    {
        let path = output.join(name);
        fs::write(&path, text).map_err(MeasureError::io(format!("write {}", path.display())))?;
    }
    Ok(())
}
