//! The command line, as the user types it. [`crate::plan`] makes a validated plan of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use tidemark_host::cpu::CpuSet;

use crate::capacity::WORKERS_MAX;
use crate::outstanding::DEPTH_MAX;
use crate::scenario::is_interval;
use crate::slo::Rule;
use crate::target::Target;

/// Measure a connection server from the intended send time, and judge whether the measurement can be trusted.
#[derive(Debug, Parser)]
#[command(name = "tidemark-loadgen", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put load on a target and report its latency
    Run(Box<RunArgs>),
    /// Find the highest rate, or the most connections, that keep rules
    Search(Box<SearchArgs>),
    /// Show the result of a run again, also of one that was cut off
    Report(ReportArgs),
    /// Make one result of several runs, without loss
    Merge(MergeArgs),
    /// Show two runs side by side
    Compare(CompareArgs),
    /// Check whether this machine can carry a run, and say what to change
    Doctor(DoctorArgs),
}

/// `run`
#[derive(Debug, Args)]
#[command(after_help = "\
Without --rate the run is a closed loop: each connection waits for its reply before it asks again.
Its latencies are then not what independent users would feel, because a slow target is asked less.

A RULE is [POPULATION.]FIGURE COMPARISON VALUE, such as 'response.p99 < 2ms', 'errors < 0.01%',
'main.lost == 0'. Figures: response, service, lag, wait and connect, each with .p50 .p90 .p95 .p99
.p99.9 .p99.99 .max or .mean; errors and timeouts, as a share of the requests; lost and failed
connections; syn_resent, those whose SYN was sent again or had no answer; recovery, from a drop on
purpose until all were back; completed_per_s. Without a population, or with 'all', a latency and a
recovery are those of the worst population, and all else of all of them together.

Exit codes: 0 valid, 1 a rule was violated, 2 wrong usage, 3 the run cannot be trusted (INVALID),
or a rule could not be judged, 4 could not run.")]
pub struct RunArgs {
    /// Connections held open [default: 100]
    #[arg(short, long, value_name = "N", conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub connections: Option<u32>,

    /// Requests per second over all connections (open loop)
    #[arg(short, long, value_name = "PER_SECOND", conflicts_with = "scenario", value_parser = parse_rate)]
    pub rate: Option<f64>,

    /// How long to measure, after the warm-up [default: 10s]
    #[arg(short, long, value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// A rule that the run must keep, such as 'response.p99 < 2ms', instead of those of a scenario; repeat it for more
    #[arg(long, value_name = "RULE")]
    pub slo: Vec<Rule>,

    /// How.
    #[command(flatten)]
    pub load: LoadArgs,

    /// Also write report.json to standard output, instead of the table; only `-` is accepted
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub json: Option<String>,
}

/// `search`
#[derive(Debug, Args)]
#[command(after_help = "\
The load is doubled until a rule is violated, then bisected. A target that does not carry a load, by
errors or by falling behind, violates the rules there. A bad step is believed when it is bad twice,
and the answer is run once more. When the load generator itself cannot be trusted any further, the
search ends there and says so.

Each step is a run with its results in a directory of its own beneath that of the search, where
search.json has the curve of latency over load. `run --help` says what a RULE is.

Exit codes: 0 found, 1 not even the first load keeps the rules, 2 wrong usage, 3 nothing could be
trusted, or interrupted, 4 could not run.")]
pub struct SearchArgs {
    /// What to raise: the requests per second, or the connections
    #[arg(long, value_enum)]
    pub find: Find,

    /// A rule that must be kept, such as 'response.p99 < 2ms'; repeat it for more
    #[arg(long, value_name = "RULE")]
    pub slo: Vec<Rule>,

    /// The load to begin with [default: 1000 requests per second, or 100 connections]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub from: Option<u64>,

    /// The highest load to try
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub max: u64,

    /// How near to find the limit, as a share of it
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_resolution)]
    pub resolution: f64,

    /// How long to measure in each step, after its warm-up
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub step_duration: Duration,

    /// Connections held open, with --find rate [default: 100]
    #[arg(short, long, value_name = "N", conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub connections: Option<u32>,

    /// Requests per second over all connections, with --find connections [default: a closed loop]
    #[arg(short, long, value_name = "PER_SECOND", conflicts_with = "scenario", value_parser = parse_rate)]
    pub rate: Option<f64>,

    /// How.
    #[command(flatten)]
    pub load: LoadArgs,

    /// Also write search.json to standard output, instead of the table; only `-` is accepted
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub json: Option<String>,
}

/// `report`
#[derive(Debug, Args)]
#[command(after_help = "\
Of a run that was killed, or crashed, everything up to its last whole interval is shown. Such a run is
INVALID.

Exit codes: those of the run itself; 2 when the directory cannot be read.")]
pub struct ReportArgs {
    /// The directory of a run, such as results/latest
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Write report.json to standard output, instead of the table; only `-` is accepted
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub json: Option<String>,
}

/// `merge`
#[derive(Debug, Args)]
#[command(after_help = "\
For generators that worked at the same time, and for one that worked again. Histograms are added
bucket by bucket, accounts are added; no percentile is ever averaged. The result is valid only when
every run is, and trusted as far as the least of them. Rules that all runs had are held against all
of them together.

Exit codes: those of a run with this result; 2 when a directory cannot be read, or the runs have
different populations.")]
pub struct MergeArgs {
    /// The directories of the runs
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,

    /// Where the result goes: a directory of its own in DIR, and a link DIR/latest to it
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// Also write report.json to standard output, instead of the table; only `-` is accepted
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub json: Option<String>,
}

/// `compare`
#[derive(Debug, Args)]
#[command(after_help = "\
Each percentile is shown with the interval that it lies in with 95 % confidence, from the order
statistics of its own run. Where the intervals of the two have nothing in common, that is marked.

Exit codes: 0 compared, 2 a directory cannot be read, 3 one of the runs is INVALID. What differs is
not judged: tidemark-gate does that.")]
pub struct CompareArgs {
    /// The directory of a run
    #[arg(value_name = "A")]
    pub a: PathBuf,

    /// The directory of the run that is held against it
    #[arg(value_name = "B")]
    pub b: PathBuf,
}

/// `--find`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Find {
    /// The highest rate that keeps the rules
    Rate,
    /// The most connections that keep the rules
    Connections,
}

impl Find {
    /// What a load is counted in.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Rate => "requests per second",
            Self::Connections => "connections",
        }
    }
}

/// How load is put on a target: everything but how much of it there is, and for how long.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// What to measure.
    #[arg(required_unless_present = "scenario")]
    #[arg(help = "tcp://HOST:PORT[-PORT] or HOST:PORT for a TCP echo, http://HOST[:PORT]/PATH for HTTP/1.1")]
    pub target: Option<Target>,

    /// Several kinds of users in one run, from a TOML file (see loadgen/scenarios); a target and flags beside it win
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,

    /// How requests arrive [default: poisson with --rate, closed without]
    #[arg(long, value_enum, conflicts_with = "scenario")]
    pub arrival: Option<ArrivalArg>,

    /// Bytes of an echo request; of the body of an HTTP POST [default: 64 for echo; 0, a GET, for HTTP]
    #[arg(long, value_name = "BYTES", conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(0..=i64::from(PAYLOAD_MAX)))]
    pub payload: Option<u32>,

    /// Requests that may be in flight on one connection, 1 to 64 [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "scenario", value_parser = clap::value_parser!(u8).range(1..=i64::from(DEPTH_MAX)))]
    pub pipeline: Option<u8>,

    /// How long to load the target before measuring [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_zero)]
    pub warmup: Option<Duration>,

    /// Length of an interval of latency.hlog and of the series, 10ms to 1m [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    pub interval: Option<Duration>,

    /// A request without reply for this long has timed out [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,

    /// Connection attempts per second [default: 20000]
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
    pub connect_rate: Option<f64>,

    /// A handshake that takes longer has failed [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub connect_timeout: Option<Duration>,

    /// Worker threads [default: half the CPUs for a local target, else all; more if descriptors need it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(WORKERS_MAX)))]
    pub workers: Option<u16>,

    /// CPUs to run on, such as 1 or 0,2-3; each worker is pinned to one of them
    #[arg(long, value_name = "CPUS")]
    pub pin: Option<CpuSet>,

    /// Local addresses to connect from, ADDR or ADDR-ADDR [default: the kernel's choice; on loopback as many as needed]
    #[arg(long, value_name = "ADDR-RANGE")]
    pub source: Option<String>,

    /// What is set on the sockets.
    #[command(flatten)]
    pub sockets: SocketArgs,

    /// Seed of all that is random, such as the arrival times [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,

    /// Where results go: a directory of its own in DIR, and a link DIR/latest to it
    #[arg(short, long, value_name = "DIR", default_value = "results")]
    pub output: PathBuf,

    /// Serve Prometheus metrics on http://ADDR:PORT/metrics while a run goes; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_address)]
    pub metrics: Option<SocketAddr>,

    /// Serve them for this long after the run, so that its final figures are scraped; Ctrl-C ends it
    #[arg(long, value_name = "DURATION", default_value = "0s", requires = "metrics", value_parser = parse_duration_or_zero)]
    pub metrics_linger: Duration,

    /// What to show while a run goes
    #[arg(long, value_enum, default_value_t = LiveArg::Auto)]
    pub live: LiveArg,
}

/// What is set on the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct SocketArgs {
    /// Send small requests at once, or let them wait for the acknowledgement of earlier ones (Nagle's algorithm)
    /// [default: on]
    #[arg(long, value_enum)]
    pub nodelay: Option<Switch>,

    /// Size of the sockets' send buffers; the kernel doubles it for its own bookkeeping [default: the kernel's choice]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=i64::from(BUFFER_BYTES_MAX)))]
    pub send_buffer: Option<u32>,

    /// Size of the sockets' receive buffers, likewise [default: the kernel's choice]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=i64::from(BUFFER_BYTES_MAX)))]
    pub receive_buffer: Option<u32>,

    /// How connections are closed [default: fin]
    #[arg(long, value_enum)]
    pub linger: Option<Linger>,
}

impl SocketArgs {
    /// These, and where they say nothing what `others` say.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            nodelay: self.nodelay.or(others.nodelay),
            send_buffer: self.send_buffer.or(others.send_buffer),
            receive_buffer: self.receive_buffer.or(others.receive_buffer),
            linger: self.linger.or(others.linger),
        }
    }
}

/// `--nodelay`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Switch {
    On,
    Off,
}

/// `--linger`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linger {
    /// In order; the local port is then taken for another minute (TIME-WAIT)
    #[default]
    Fin,
    /// By a reset: nothing is left behind, and the target sees an error
    Reset,
}

/// `--arrival`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArrivalArg {
    /// Independent users: exponentially distributed gaps
    Poisson,
    /// Evenly spaced
    Constant,
    /// As fast as replies come
    Closed,
}

/// `--live`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LiveArg {
    /// A bar on a terminal, plain lines elsewhere
    Auto,
    /// A line a second
    Plain,
    /// Nothing
    Off,
}

/// `doctor`
#[derive(Clone, Copy, Debug, Args)]
pub struct DoctorArgs {
    /// The target is on another machine: check this one for the load generator alone
    #[arg(long)]
    pub remote: bool,
    /// What every doctor is asked.
    #[command(flatten)]
    pub asked: tidemark_program::doctor::DoctorFlags,
}

/// Connections held open unless the user says otherwise.
pub const CONNECTIONS: u32 = 100;
/// Rates beyond this are no schedule: a hundred nanoseconds is the cost of a send.
pub(crate) const RATE_MAX: f64 = 10_000_000.0;
/// The longest request.
pub(crate) const PAYLOAD_MAX: u32 = 16_777_216;
/// The kernel doubles a buffer's size in a signed 32-bit integer.
pub(crate) const BUFFER_BYTES_MAX: u32 = (1 << 30) - 1;
/// A day: longer runs are cut into several.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(rate),
        _ => Err(format!("a rate is a number above 0 and up to {RATE_MAX}, such as 20000")),
    }
}

/// A search could not tell finer loads apart, and would take a step for each.
const RESOLUTION_MIN: f64 = 0.001;

fn parse_resolution(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match share {
        Ok(share) if (RESOLUTION_MIN..=1.0).contains(&share) => Ok(share),
        _ => Err("a resolution is a share from 0.1% to 100%, such as 5% or 0.05".to_owned()),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "an address is an IP and a port, such as 127.0.0.1:9465 or [::1]:9465".to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration_or_zero(text)?;
    if duration.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(duration) }
}

fn parse_duration_or_zero(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err("longer than a day".to_owned()),
        Err(error) => Err(format!("{error}; write 250ms, 10s or 5m")),
    }
}

/// The length of an interval.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if is_interval(interval) {
        return Ok(interval);
    }
    Err("an interval is a whole number of milliseconds from 10ms to 1m".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
