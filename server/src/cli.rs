//! The command line: its flags, and the configuration that they mean.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use tidemark_program::doctor::DoctorFlags;

use crate::capacity::WORKERS_MAX;
use crate::config::{
    AddrRange, Config, DEFAULT_ADMIN, DEFAULT_BACKLOG, DEFAULT_ECHO, DEFAULT_HTTP, DRAIN_TIMEOUT_MAX,
    FdTables, MAX_CONNECTIONS_MAX, Pin, Workers,
};
use crate::config_file::{self, FileFlags};
use crate::engine::Engine;
use crate::faults::Faults;
use crate::timeouts::TIMEOUT_MAX;

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
    Doctor(DoctorFlags),
}

/// The flags of `serve`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ServeArgs {
    /// Read settings from a TOML file: keys are these flags with _ for -. Flags win.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print every setting as it takes effect, and where it comes from, and exit.
    #[arg(long)]
    pub print_config: bool,
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
    /// Connections accepted per second; more wait in the backlog. [default: as fast as they come]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub accept_rate: Option<u32>,
    /// Turn connections away while this machine, or the container, has less memory left than this, such as 512M; 0 is never.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = parse_bytes)]
    pub memory_reserve: u64,
    /// Connections that wait to be accepted, per listener; net.core.somaxconn cuts this down.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BACKLOG, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub backlog: u32,
    /// Whether each worker has a descriptor table, and thereby the limit on open files, of its own.
    #[arg(long, value_enum, default_value_t)]
    pub fd_tables: FdTables,
    /// After a stop was asked for, only stop being ready for so long, so that whoever sends connections here learns of it first.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_drain_timeout)]
    pub grace: Duration,
    /// After a stop was asked for and the grace period is over, cut off what is unfinished after this time, such as 500ms or 1m.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_drain_timeout)]
    pub drain_timeout: Duration,
    /// Close a connection on which nothing was exchanged for so long; 0 is never.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_timeout)]
    pub idle_timeout: Duration,
    /// Answer an HTTP request head that takes longer than this with 408 and a close; 0 is never.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_timeout)]
    pub head_timeout: Duration,
    /// Reset a connection whose peer takes nothing of what it is owed for so long; 0 is never.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_timeout)]
    pub write_timeout: Duration,
    /// Slow-downs on purpose, where they were built in.
    #[command(flatten)]
    pub faults: Faults,
}

/// A command line that was read, with the file that it names.
#[derive(Debug)]
pub struct Parsed {
    /// What to do.
    pub cli: Cli,
    /// For `serve`: every setting, one a line, as `--print-config` shows it.
    pub settings: String,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Refusal {
    /// The command line is wrong, or help was asked for.
    CommandLine(clap::Error),
    /// The configuration file is wrong; one line says where, and what to do.
    File(String),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Refusal {
        Refusal::CommandLine(error)
    }
}

impl Parsed {
    /// Reads a command line, and the configuration file that it names.
    ///
    /// # Errors
    /// When either is wrong, or help was asked for.
    pub fn from_args(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Parsed, Refusal> {
        let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let mut command = Cli::command();
        let matches = command.try_get_matches_from_mut(&args)?;
        let Some(("serve", given)) = matches.subcommand() else {
            return Ok(Parsed { cli: Cli::from_arg_matches(&matches)?, settings: String::new() });
        };
        // Built by the first parse, so that it is there, with everything that it inherits.
        let serve = command.find_subcommand("serve").cloned().unwrap_or_default();
        let mut file = FileFlags::default();
        if let Some(path) = given.get_one::<PathBuf>("config") {
            file = config_file::read(path, &serve, given).map_err(Refusal::File)?;
            // What comes later wins. Of words before a subcommand none can be this one.
            let behind = args.iter().position(|arg| arg == "serve").map_or(args.len(), |serve| serve + 1);
            args.splice(behind..behind, file.flags.iter().cloned());
        }
        let matches = command.try_get_matches_from_mut(&args)?;
        let settings =
            matches.subcommand().map(|(_, serve_matches)| settings(&serve, given, serve_matches, &file));
        Ok(Parsed { cli: Cli::from_arg_matches(&matches)?, settings: settings.unwrap_or_default() })
    }
}

/// Every setting as a line of the file that it could stand in, with where it comes from.
fn settings(serve: &clap::Command, given: &ArgMatches, effective: &ArgMatches, file: &FileFlags) -> String {
    let mut out = String::new();
    for argument in serve.get_arguments() {
        let id = argument.get_id().as_str();
        if argument.is_hide_set() || matches!(id, "config" | "print_config" | "help" | "log") {
            continue;
        }
        let source = match (given.value_source(id), file.lines.get(id)) {
            (Some(ValueSource::CommandLine), _) => "flag".to_owned(),
            (_, Some(line)) => format!("line {line} of the file"),
            _ => "default".to_owned(),
        };
        let values: Vec<String> = effective
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let quote = |value: &String| match value.parse::<u64>() {
            Ok(number) => number.to_string(),
            Err(_) => toml::Value::String(value.clone()).to_string(),
        };
        let is_list = matches!(argument.get_action(), clap::ArgAction::Append);
        let shown = match values.as_slice() {
            // Writing to a String cannot fail.
            [] => {
                let _ = writeln!(out, "# {id} is not set");
                continue;
            }
            [flag] if flag.is_empty() => "true".to_owned(),
            [one] if !is_list => quote(one),
            many => format!("[{}]", many.iter().map(quote).collect::<Vec<_>>().join(", ")),
        };
        let _ = writeln!(out, "{:40} # {source}", format!("{id} = {shown}"));
    }
    out
}

impl ServeArgs {
    /// The configuration that the flags mean.
    /// Sockets that were handed over take the place of the default addresses.
    pub fn into_config(self, inherited: usize) -> Config {
        let (mut echo, mut http) = (self.echo, self.http);
        if echo.is_empty() && http.is_empty() && inherited == 0 {
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
            accept_rate: self.accept_rate,
            memory_reserve: self.memory_reserve,
            backlog: self.backlog,
            fd_tables: self.fd_tables,
            grace: self.grace,
            drain_timeout: self.drain_timeout,
            idle_timeout: self.idle_timeout,
            head_timeout: self.head_timeout,
            write_timeout: self.write_timeout,
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

/// A number of bytes, in K, M, G or T of 1024.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) =
        text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let power = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err("write a number of bytes, or with K, M, G or T, such as 512M".to_owned()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1024_u64.pow(power)));
    bytes.ok_or_else(|| "write a number of bytes, or with K, M, G or T, such as 512M".to_owned())
}

fn parse_drain_timeout(text: &str) -> Result<Duration, String> {
    at_most(DRAIN_TIMEOUT_MAX, text)
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    at_most(TIMEOUT_MAX, text)
}

fn at_most(max: Duration, text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number with its unit, such as 500ms, 10s or 1m"))?;
    if timeout > max {
        return Err(format!("at most {}", humantime::format_duration(max)));
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(flags: &str) -> Result<Config, clap::Error> {
        let words = ["tidemark-server", "serve"].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Serve(args) => Ok(args.into_config(0)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bytes_have_units_of_1024() {
        for (text, bytes) in
            [("0", 0), ("7", 7), ("1K", 1024), ("512M", 512 << 20), ("2GiB", 2 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "1X", "99999999999T"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
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
            "--idle-timeout 5",
            "--head-timeout 2years",
        ] {
            let error = serve(flags).expect_err(flags);
            assert_eq!(error.exit_code(), 2, "{flags}");
        }
    }
}
