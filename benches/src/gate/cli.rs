//! The command line of `tidemark-gate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::metric::Metric;
use super::selftest::real::Case;

/// Is head slower than base? Measures two builds in turn and says PASS, FAIL or INCONCLUSIVE.
#[derive(Debug, Parser)]
#[command(
    name = "tidemark-gate",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 PASS, 1 FAIL, 2 wrong usage, 3 INCONCLUSIVE or interrupted, 4 could not measure."
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure two builds and judge
    Run(Box<RunArgs>),
    /// Judge the slots of a run again, from its blocks.jsonl
    Decide(DecideArgs),
    /// Is the gate to be believed? Give it builds that are the same and builds that are slower, and count what it says
    Selftest(SelftestArgs),
    /// Keep the results of runs, and see their course
    #[command(subcommand)]
    History(HistoryCommand),
}

/// `run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The build that head is held against: a directory with tidemark-server
    #[arg(long, value_name = "DIR")]
    pub base: PathBuf,
    /// The build that is judged: a directory with tidemark-server and tidemark-loadgen
    #[arg(long, value_name = "DIR")]
    pub head: PathBuf,
    /// What base is called in reports, such as its commit
    #[arg(long, value_name = "NAME", default_value = "base", value_parser = parse_name)]
    pub base_name: String,
    /// What head is called in reports, such as its commit
    #[arg(long, value_name = "NAME", default_value = "head", value_parser = parse_name)]
    pub head_name: String,
    /// What is done: a counts instructions, system calls, allocations and memory, b measures times
    #[arg(long, value_enum, default_value_t)]
    pub tier: Tier,
    /// Measure for no longer than this; what is not decided by then is INCONCLUSIVE
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    pub budget: Duration,
    /// What is judged
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_metric, default_values = Metric::ALL.map(Metric::name))]
    pub metrics: Vec<Metric>,
    /// Seed of the order of slots [default: another one each time, which is printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where gate.json, summary.md, junit.xml and blocks.jsonl go
    #[arg(short, long, value_name = "DIR", default_value = "results/gate")]
    pub output: PathBuf,
    /// Do only this part of the work of a slot. Figures are then worth nothing; for tests
    #[arg(long, hide = true, default_value_t = 1.0, value_parser = parse_part)]
    pub work: f64,
}

/// Which tiers of the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Counts, which come out the same each time: within three minutes.
    A,
    /// Times, with the statistics that noise calls for.
    B,
    /// First counts, then times.
    #[default]
    Both,
}

impl Tier {
    /// Whether counts are taken.
    pub const fn counts(self) -> bool {
        matches!(self, Self::A | Self::Both)
    }

    /// Whether times are measured.
    pub const fn times(self) -> bool {
        matches!(self, Self::B | Self::Both)
    }
}

/// `decide`
#[derive(Clone, Debug, Args)]
pub struct DecideArgs {
    /// A blocks.jsonl, or one packed with gzip
    #[arg(value_name = "FILE")]
    pub record: PathBuf,
}

/// `selftest`
#[derive(Clone, Debug, Args)]
pub struct SelftestArgs {
    /// Draw runs from the records (blocks.jsonl, or packed: .jsonl.gz) in this directory
    #[arg(long, value_name = "DIR", default_value = "benches/recorded", conflicts_with = "build")]
    pub records: PathBuf,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Measure real runs of this build instead: a directory with tidemark-server, built with the feature bench-faults, and
    /// tidemark-loadgen
    #[arg(long, value_name = "DIR")]
    pub build: Option<PathBuf>,
    /// Real runs of each case
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_runs, requires = "build")]
    pub runs: usize,
    /// Which cases
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', default_values_t = Case::value_variants().to_vec(), requires = "build")]
    pub cases: Vec<Case>,
    /// What is judged where nothing of its own is injected
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_metric, default_values = Metric::ALL.map(Metric::name), requires = "build")]
    pub metrics: Vec<Metric>,
    /// Measure for no longer than this in a run
    #[arg(long, default_value = "10m", value_parser = parse_duration, requires = "build")]
    pub budget: Duration,
    /// Where a directory for each real run, and selftest.json, go
    #[arg(short, long, value_name = "DIR", default_value = "results/selftest", requires = "build")]
    pub output: PathBuf,
    /// Do only this part of the work of a slot. Figures are then worth nothing; for tests
    #[arg(long, hide = true, default_value_t = 1.0, value_parser = parse_part, requires = "build")]
    pub work: f64,
}

/// `history`
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Add a run to the history
    Append {
        /// The history, a line of JSON per run; made when it is not there
        #[arg(value_name = "FILE")]
        history: PathBuf,
        /// The run
        #[arg(long, value_name = "FILE", default_value = "results/gate/gate.json")]
        gate: PathBuf,
    },
    /// Show the course of every metric, and whether it drifts: exit 1 when something becomes slower
    Report {
        /// The history
        #[arg(value_name = "FILE")]
        history: PathBuf,
    },
}

/// Longer names are no use in a table.
const NAME_BYTES_MAX: usize = 100;

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("a name has 1 to {NAME_BYTES_MAX} printable bytes"));
    }
    Ok(text.to_owned())
}

fn parse_metric(text: &str) -> Result<Metric, String> {
    let metric = Metric::ALL.into_iter().find(|metric| metric.name() == text);
    metric.ok_or_else(|| format!("there are {}", all_metrics()))
}

fn all_metrics() -> String {
    Metric::ALL.map(Metric::name).join(",")
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("must be longer than 0".to_owned()),
        Err(error) => Err(format!("{error}; write 90s or 10m")),
    }
}

fn parse_runs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(runs @ 1..=1000) => Ok(runs),
        _ => Err("a number from 1 to 1000".to_owned()),
    }
}

fn parse_part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if part > 0.0 && part <= 1.0 => Ok(part),
        _ => Err("a number above 0 and up to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    fn parse(flags: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("tidemark-gate").chain(flags.split_whitespace()))
    }

    #[test]
    fn all_metrics_are_measured_unless_some_are_named() {
        let metrics = |flags: &str| match parse(&format!("run --base a --head b {flags}")).unwrap().command {
            Command::Run(args) => args.metrics,
            other => panic!("{other:?}"),
        };
        assert_eq!(metrics(""), Metric::ALL);
        assert_eq!(metrics("--metrics response_p99,cpu_per_echo"), [Metric::ResponseP99, Metric::CpuPerEcho]);
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            "",
            "run --base a",
            "run --base a --head b --metrics speed",
            "run --base a --head b --metrics=",
            "run --base a --head b --budget 0s",
            "run --base a --head b --budget 10",
            "run --base a --head b --head-name=",
            "run --base a --head b --work 2",
            "decide",
            "history report",
            "selftest --runs 5",
            "selftest --records a --build b",
            "selftest --build b --runs 0",
            "selftest --build b --cases speed",
        ] {
            assert_eq!(parse(flags).unwrap_err().exit_code(), 2, "{flags}");
        }
    }
}
