//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::compare::PeerCommand;
use crate::engine::Engine;
use crate::stalling::Protocol;

/// Measure Tidemark's own programs, each in processes of its own, over loopback.
#[derive(Debug, Parser)]
#[command(
    name = "tidemark-measure",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 good, 1 a target was missed, 2 wrong usage, 3 the run cannot be trusted, 4 could not run."
)]
pub struct Cli {
    /// Where results are kept
    #[arg(long, global = true, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Write the raw figures here, too (not for echo: its report is results/latest/report.json)
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// What to measure
    #[command(subcommand)]
    pub command: Command,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put Poisson load on the server and show the latency table of the load generator
    Echo(EchoArgs),
    /// The server's own memory per idle connection
    Memory(MemoryArgs),
    /// The server's CPU time per echo, beside that of the least program of its kind
    Cpu(CpuArgs),
    /// HTTP requests per second of the server's CPU time, beside nginx (needs nginx and wrk)
    Http(HttpArgs),
    /// A server that stops for 100 ms in every second: what is measured, beside what arithmetic says
    Stall(StallArgs),
    /// How late the load generator itself is, with and without the seconds in which others took its CPU
    Pacing(PacingArgs),
    /// The load generator's requests per second beside wrk's, and its memory per connection (needs nginx and wrk)
    Generator(GeneratorArgs),
    /// Many connections on both ends, nearly all of them quiet
    Scale(ScaleArgs),
    /// Connections that the load generator opens per second, beside threads that open one after the other
    Ramp(RampArgs),
    /// What a thousand connections feel that are asked something, beside many that say nothing
    Probe(ProbeArgs),
    /// The server's engines beside other servers, and the load generator beside others
    Compare(CompareArgs),
}

/// `echo`
#[derive(Clone, Debug, Args)]
pub struct EchoArgs {
    /// Connections held open
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub connections: u64,
    /// Echoes per second over all connections
    #[arg(long, value_name = "PER_SECOND", default_value = "20000", value_parser = parse_rate)]
    pub rate: f64,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
}

/// `memory`
#[derive(Clone, Debug, Args)]
pub struct MemoryArgs {
    /// What runs the server's connections
    #[arg(long, value_enum, default_value_t)]
    pub engine: Engine,
    /// Fewer connections
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub low: usize,
    /// More connections
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    pub high: usize,
    /// Fresh servers, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse_count)]
    pub runs: usize,
}

/// `cpu`
#[derive(Clone, Debug, Args)]
pub struct CpuArgs {
    /// What runs the server's connections; each is held against the least program of its kind
    #[arg(long, value_enum, default_value_t)]
    pub engine: Engine,
    /// Blocks of four slots, server and reference twice each
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse_count)]
    pub blocks: usize,
    /// Echoes counted in each slot
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub echoes: u64,
    /// Connections, each with one echo in flight
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_count)]
    pub connections: usize,
    /// Bytes of an echo, up to 8192
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = parse_count)]
    pub payload: usize,
}

/// `http`
#[derive(Clone, Debug, Args)]
pub struct HttpArgs {
    /// What runs the server's connections
    #[arg(long, value_enum, default_value_t)]
    pub engine: Engine,
    /// Blocks of four slots, server and nginx twice each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_count)]
    pub blocks: usize,
    /// How long wrk drives each slot, after a second that does not count
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Connections of wrk
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = parse_count)]
    pub connections: usize,
}

/// `stall`
#[derive(Clone, Debug, Args)]
pub struct StallArgs {
    /// All that is not named below: 1000, 2000 and 4000 requests per second, echo and HTTP, over 10, 100, 1000 and 5000
    /// connections, five runs each; wrk2 and oha beside HTTP, where they are installed (half an hour)
    #[arg(long)]
    pub grid: bool,
    /// Requests per second, several with commas [default: 2000]
    #[arg(long, value_name = "PER_SECOND", value_delimiter = ',', value_parser = parse_rate)]
    pub rates: Vec<f64>,
    /// Connections held open, several with commas [default: 50]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub connections: Vec<u64>,
    /// What is spoken, several with commas [default: echo]
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',', value_enum)]
    pub protocols: Vec<Protocol>,
    /// Open-loop runs, of which the median counts [default: 3, with --grid 5]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub runs: Option<usize>,
    /// How long each run measures; whole seconds hold as many stops as the law means
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
}

/// `pacing`
#[derive(Clone, Debug, Args)]
pub struct PacingArgs {
    /// Echoes per second over all connections
    #[arg(long, value_name = "PER_SECOND", default_value = "10000", value_parser = parse_rate)]
    pub rate: f64,
    /// Connections held open
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub connections: u64,
    /// How long to measure
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub duration: Duration,
}

/// `generator`
#[derive(Clone, Debug, Args)]
pub struct GeneratorArgs {
    /// Blocks of four slots, the load generator and wrk twice each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_count)]
    pub blocks: usize,
    /// How long each slot and the open loop are measured, after a second that does not count
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Connections of either
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_count)]
    pub connections: usize,
    /// Fewer connections, for the memory
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub low: usize,
    /// More connections, for the memory
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    pub high: usize,
    /// Pairs of runs for the memory, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse_count)]
    pub runs: usize,
}

/// `scale`
#[derive(Clone, Debug, Args)]
pub struct ScaleArgs {
    /// Connections held open
    #[arg(value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub connections: u64,
    /// How often each of them sends a heartbeat
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub every: Duration,
    /// Of them, connections that are asked something instead
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub probes: u64,
    /// Requests per second over these, at independent times
    #[arg(long, value_name = "PER_SECOND", default_value = "1000", value_parser = parse_rate)]
    pub rate: f64,
    /// Handshakes per second while they are opened [default: the load generator's]
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
    pub connect_rate: Option<f64>,
    /// How long to measure once all are open
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub duration: Duration,
    /// No heartbeats and no probes: what does it cost to hold them?
    #[arg(long)]
    pub silent: bool,
}

/// `ramp`
#[derive(Clone, Debug, Args)]
pub struct RampArgs {
    /// Blocks of four slots, the load generator and the reference twice each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_count)]
    pub blocks: usize,
    /// Connections opened in each slot; beyond half of the ephemeral ports of one address the search for a free one would be measured
    #[arg(long, value_name = "N", default_value_t = 12_000, value_parser = clap::value_parser!(u64).range(1..=12_000))]
    pub connections: u64,
    /// Of the way, in a network of its own, that it is measured over besides loopback; needs unshare and ip, and the kernel's leave
    #[arg(long, value_name = "DURATION", default_value = "1ms", value_parser = parse_duration)]
    pub round_trip: Duration,
    /// It runs in that network, and writes its figures here
    #[arg(long, hide = true)]
    pub far_figures: Option<PathBuf>,
}

/// `probe`
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// Connections that say nothing
    #[arg(value_name = "N", default_value_t = 299_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub connections: u64,
    /// Blocks of four slots, with and without them twice each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_count)]
    pub blocks: usize,
    /// How long each slot measures
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub duration: Duration,
}

/// `compare`
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    /// Rounds, in each of which every candidate is measured once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse_count)]
    pub rounds: usize,
    /// Connections, each with one request in flight
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_count)]
    pub connections: usize,
    /// Requests to a server in each slot
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: u64,
    /// How long a load generator runs in each slot, after a second that does not count
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Another HTTP server to take part, or echo server as echo:NAME=CMD; {port} in the command is the port that it is to listen on
    #[arg(long = "peer", value_name = "NAME=CMD")]
    pub peers: Vec<PeerCommand>,
}

/// As far as the load generator goes.
const RATE_MAX: f64 = 10_000_000.0;

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(rate),
        _ => Err(format!("a rate is a number above 0 and up to {RATE_MAX}, such as 20000")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("must be longer than 0".to_owned()),
        Err(error) => Err(format!("{error}; write 250ms, 10s or 5m")),
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("a whole number of at least 1".to_owned()),
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

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            "",
            "echo --rate 0",
            "echo --duration 10",
            "cpu --blocks 0",
            "scale 0",
            "compare --rounds 0",
            "compare --peer x",
            "stall --rates 1,x",
            "stall --protocols udp",
            "pacing --rate 0",
        ] {
            let words = std::iter::once("tidemark-measure").chain(flags.split_whitespace());
            assert_eq!(Cli::try_parse_from(words).unwrap_err().exit_code(), 2, "{flags}");
        }
    }
}
