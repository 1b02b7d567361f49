//! Runs of tidemark-loadgen.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tidemark_loadgen::report::Report;
use tidemark_program::Exit;

use crate::binaries::Program;
use crate::error::MeasureError;
use crate::interrupt::Interrupt;
use crate::process::Process;
use crate::session::Session;

/// What is asked of an HTTP server.
pub const HTTP_PATH: &str = "/health";

/// What is asked, and of whom. It is shown as the load generator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Echoes.
    Echo(SocketAddr),
    /// `GET` [`HTTP_PATH`].
    Http(SocketAddr),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo(address) => write!(f, "tcp://{address}"),
            Self::Http(address) => write!(f, "http://{address}{HTTP_PATH}"),
        }
    }
}

/// One run of the load generator.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is loaded.
    pub target: Target,
    /// Connections held open.
    pub connections: u64,
    /// Requests that may be in flight on one of them.
    pub pipeline: u8,
    /// How requests arrive.
    pub arrivals: Arrivals,
    /// How long to load the target before; `None` leaves that to the load generator.
    pub warmup: Option<Duration>,
    /// Length of the measured window.
    pub duration: Duration,
    /// Length of an interval of its series; `None` leaves that to the load generator.
    pub interval: Option<Duration>,
    /// The CPU to run on; `None` leaves that to the scheduler.
    pub cpu: Option<usize>,
    /// Where the run's files go.
    pub output: PathBuf,
}

/// How requests arrive; rates are per second over all connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Independent users.
    Poisson(f64),
    /// Evenly spaced.
    Constant(f64),
    /// As fast as replies come.
    Closed,
}

impl Load {
    /// The arguments that ask for it.
    fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["run".into(), self.target.to_string().into()];
        let mut flag = |name: &str, value: OsString| args.extend([name.into(), value]);
        flag("--connections", self.connections.to_string().into());
        flag("--pipeline", self.pipeline.to_string().into());
        flag("--duration", duration(self.duration));
        if let Some(warmup) = self.warmup {
            flag("--warmup", duration(warmup));
        }
        if let Some(interval) = self.interval {
            flag("--interval", duration(interval));
        }
        flag("--output", self.output.clone().into());
        match self.arrivals {
            Arrivals::Poisson(rate) => flag("--rate", rate.to_string().into()),
            Arrivals::Constant(rate) => {
                flag("--rate", rate.to_string().into());
                flag("--arrival", "constant".into());
            }
            Arrivals::Closed => flag("--arrival", "closed".into()),
        }
        if let Some(cpu) = self.cpu {
            flag("--pin", cpu.to_string().into());
        }
        args
    }

    /// Runs it with the user's own terminal: its progress, its table.
    ///
    /// # Errors
    /// When it cannot be started, or is interrupted.
    pub fn show(&self, session: &Session) -> Result<Exit, MeasureError> {
        let mut command = Command::new(session.binaries.path(Program::Loadgen)?);
        command.args(self.args()).stdin(Stdio::null());
        let mut process = spawn(&mut command)?;
        // Without a timeout there is always a status.
        let status = process.wait(&session.interrupt, None)?;
        Ok(status.map_or(Exit::CouldNotRun, Exit::from))
    }

    /// Starts it in silence, apart from what it says on standard error when it cannot run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, session: &Session) -> Result<Running, MeasureError> {
        self.start_as(Command::new(session.binaries.path(Program::Loadgen)?))
    }

    /// Starts the load generator that `command` names, in silence as [`Self::start`] does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_as(&self, mut command: Command) -> Result<Running, MeasureError> {
        command.args(self.args());
        start_command(command)
    }

    /// Runs it in silence and gives its report, valid or not.
    ///
    /// # Errors
    /// When there is no report.
    pub fn report(&self, session: &Session) -> Result<Report, MeasureError> {
        let mut running = self.start(session)?;
        let status = running.wait(&session.interrupt, None)?;
        // Without a timeout there is always a status.
        running.report(status.unwrap_or_default())
    }
}

fn duration(duration: Duration) -> OsString {
    humantime::format_duration(duration).to_string().replace(' ', "").into()
}

fn spawn(command: &mut Command) -> Result<Process, MeasureError> {
    Process::spawn(command).map_err(MeasureError::io("start tidemark-loadgen"))
}

/// Starts a run with arguments of its own, in silence as [`Load::start`] does.
///
/// # Errors
/// When it cannot be started.
pub fn start(session: &Session, args: &[OsString]) -> Result<Running, MeasureError> {
    let mut command = Command::new(session.binaries.path(Program::Loadgen)?);
    command.args(args);
    start_command(command)
}

fn start_command(mut command: Command) -> Result<Running, MeasureError> {
    command.args(["--json", "-", "--live", "off"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = spawn(&mut command)?;
    let stdout = process.take_stdout();
    let read = move || {
        let mut json = String::new();
        // What was read until an error is judged by the parser.
        drop(stdout.map(|mut stdout| stdout.read_to_string(&mut json)));
        json
    };
    let report = std::thread::Builder::new()
        .name("report".to_owned())
        .spawn(read)
        .map_err(MeasureError::io("start a thread"))?;
    Ok(Running { process, report })
}

/// A run under way.
#[derive(Debug)]
pub struct Running {
    process: Process,
    report: std::thread::JoinHandle<String>,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until it is over or `timeout` is; then it is none.
    ///
    /// # Errors
    /// When it is interrupted.
    pub fn wait(
        &mut self,
        interrupt: &Interrupt,
        timeout: Option<Duration>,
    ) -> Result<Option<ExitStatus>, MeasureError> {
        self.process.wait(interrupt, timeout)
    }

    /// Asks it to end, kills it when it does not, and waits for it.
    pub fn stop(self) {
        self.process.stop();
    }

    /// The report of a run that has ended with `status`, or those parts of it that `T` has.
    ///
    /// # Errors
    /// When there is none.
    pub fn report<T: DeserializeOwned>(self, status: ExitStatus) -> Result<T, MeasureError> {
        let json = self.report.join().unwrap_or_default();
        match Exit::from(status) {
            Exit::Good | Exit::JudgedBad | Exit::NotTrustworthy if !json.is_empty() => {
                Ok(serde_json::from_str(&json)?)
            }
            _ => Err(MeasureError::NoReport { status }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tidemark_loadgen::cli::{Cli, Command as LoadgenCommand};

    use super::*;

    #[test]
    fn the_load_generator_understands_what_it_is_given() {
        let load = Load {
            target: Target::Echo("127.0.0.1:7".parse().unwrap()),
            connections: 50,
            pipeline: 8,
            arrivals: Arrivals::Constant(2000.0),
            warmup: Some(Duration::from_millis(300)),
            duration: Duration::from_millis(90_500),
            interval: Some(Duration::from_millis(20)),
            cpu: Some(1),
            output: "results/stall".into(),
        };
        let words = std::iter::once("tidemark-loadgen".into()).chain(load.args());
        let LoadgenCommand::Run(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not a run")
        };
        assert_eq!(args.load.target.map(|target| target.to_string()).as_deref(), Some("tcp://127.0.0.1:7"));
        assert_eq!(args.connections, Some(50));
        assert_eq!(args.load.pipeline, Some(8));
        assert_eq!(args.rate, Some(2000.0));
        assert_eq!(args.duration, Some(load.duration));
        assert_eq!(args.load.output, load.output);
        assert_eq!(args.load.pin.map(|pin| pin.to_string()).as_deref(), Some("1"));
        assert_eq!(args.load.warmup, load.warmup);
        assert_eq!(args.load.interval, load.interval);
    }

    #[test]
    fn http_is_asked_for_its_health() {
        let target = Target::Http("127.0.0.1:8".parse().unwrap());
        assert_eq!(target.to_string(), "http://127.0.0.1:8/health");
        assert!(target.to_string().parse::<tidemark_loadgen::target::Target>().is_ok());
    }
}
