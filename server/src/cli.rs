//! The command line: its flags, and the configuration that they mean.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::capacity::WORKERS_MAX;
use crate::config::{
    AddrRange, Config, DEFAULT_ADMIN, DEFAULT_BACKLOG, DEFAULT_ECHO, DEFAULT_HTTP, DRAIN_TIMEOUT_MAX,
    FdTables, MAX_CONNECTIONS_MAX, Pin, Workers,
};
use crate::engine::Engine;
use crate::faults::Faults;

/// An echo and health server for hundreds of thousands of connections.
#[derive(Debug, Parser)]
#[command(name = "tidemark-server", version, max_term_width = 100)]
pub struct Cli {
    /// How logs are written, to standard error.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT; a second one ends at once.
    Serve(Box<ServeArgs>),
    /// Ask a server whether it is ready: exit 0 when it answers 200, else 4.
    Healthcheck {
        /// An http:// address.
        #[arg(default_value_t = format!("http://{DEFAULT_ADMIN}/ready"))]
        url: String,
    },
    /// Check what this host allows and say how to fix what it does not: exit 0, or 4 when something must be fixed.
    Doctor {
        /// How many connections are to be held.
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least_one(MAX_CONNECTIONS_MAX))]
        connections: u64,
    },
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// What runs the connections.
    #[arg(long, value_enum, default_value_t)]
    pub engine: Engine,
    /// Worker threads. auto: one per allowed CPU, or more when private descriptor tables need more.
    #[arg(long, value_name = "N|auto", default_value = "auto", value_parser = parse_workers)]
    pub workers: Workers,
    /// Pin each worker to one CPU: of those allowed, or of a list such as 0,2-3.
    #[arg(long, value_name = "CPUS", num_args = 0..=1, default_missing_value = "", value_parser = parse_pin)]
    pub pin: Option<Pin>,
    /// Serve raw echo here. May be repeated. Port 0 lets the kernel choose. [default: 0.0.0.0:7000, if there is no --http]
    #[arg(long, value_name = "ADDR:PORT[-PORT]")]
    pub echo: Vec<AddrRange>,
    /// Serve HTTP here. May be repeated. [default: 0.0.0.0:8080, if there is no --echo]
    #[arg(long, value_name = "ADDR:PORT[-PORT]")]
    pub http: Vec<AddrRange>,
    /// Serve metrics, health and readiness here.
    #[arg(long, value_name = "ADDR:PORT", default_value_t = DEFAULT_ADMIN)]
    pub admin: SocketAddr,
    /// Connections at a time; more are turned away. [default: what the descriptor tables hold]
    #[arg(long, value_name = "N", value_parser = at_least_one(MAX_CONNECTIONS_MAX))]
    pub max_connections: Option<u64>,
    /// Connections that wait to be accepted, per listener; net.core.somaxconn cuts this down.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BACKLOG, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub backlog: u32,
    /// Whether each worker has a descriptor table, and thereby the limit on open files, of its own.
    #[arg(long, value_enum, default_value_t)]
    pub fd_tables: FdTables,
    /// After a stop was asked for, cut off what is unfinished after this time, such as 500ms or 1m.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_drain_timeout)]
    pub drain_timeout: Duration,
    /// Slow-downs on purpose, where they were built in.
    #[command(flatten)]
    pub faults: Faults,
}

impl ServeArgs {
    /// The configuration that the flags mean.
    pub fn into_config(self) -> Config {
        let (mut echo, mut http) = (self.echo, self.http);
        if echo.is_empty() && http.is_empty() {
            echo.push(DEFAULT_ECHO.into());
            http.push(DEFAULT_HTTP.into());
        }
        Config {
            engine: self.engine,
            workers: self.workers,
            pin: self.pin.unwrap_or_default(),
            echo,
            http,
            admin: self.admin,
            max_connections: self.max_connections,
            backlog: self.backlog,
            fd_tables: self.fd_tables,
            drain_timeout: self.drain_timeout,
            faults: self.faults,
        }
    }
}

fn at_least_one(max: u64) -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=max)
}

fn parse_workers(text: &str) -> Result<Workers, String> {
    if text == "auto" {
        return Ok(Workers::Auto);
    }
    match text.parse::<NonZeroUsize>() {
        Ok(workers) if workers.get() <= WORKERS_MAX => Ok(Workers::Fixed(workers)),
        _ => Err(format!("expected auto or a number from 1 to {WORKERS_MAX}")),
    }
}

fn parse_pin(text: &str) -> Result<Pin, String> {
    if text.is_empty() {
        return Ok(Pin::Allowed);
    }
    FromStr::from_str(text).map(Pin::Cpus).map_err(|error: tidemark_host::cpu::CpuSetError| error.to_string())
}

fn parse_drain_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number with its unit, such as 500ms, 10s or 1m"))?;
    if timeout > DRAIN_TIMEOUT_MAX {
        return Err(format!("at most {}", humantime::format_duration(DRAIN_TIMEOUT_MAX)));
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn serve(flags: &str) -> Result<Config, clap::Error> {
        let words = ["tidemark-server", "serve"].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Serve(args) => Ok(args.into_config()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_flags_both_default_ports_are_served() {
        let config = serve("").unwrap();
        assert_eq!(
            config,
            Config { echo: vec![DEFAULT_ECHO.into()], http: vec![DEFAULT_HTTP.into()], ..Config::default() }
        );
        let only_http = serve("--http 127.0.0.1:0").unwrap();
        assert!(only_http.echo.is_empty());
    }

    #[test]
    fn pin_takes_a_list_or_none() {
        assert_eq!(serve("").unwrap().pin, Pin::Off);
        assert_eq!(serve("--pin --workers 2").unwrap().pin, Pin::Allowed);
        assert_eq!(serve("--pin 0-1").unwrap().pin, Pin::Cpus("0-1".parse().unwrap()));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for flags in [
            "--workers 0",
            "--workers 1025",
            "--workers many",
            "--max-connections 0",
            "--backlog 0",
            "--drain-timeout 10",
            "--drain-timeout 2days",
            "--echo 7000",
            "--pin 3-1",
            "--engine uring",
            "--idle-timeout 5s",
        ] {
            let error = serve(flags).expect_err(flags);
            assert_eq!(error.exit_code(), 2, "{flags}");
        }
    }
}
