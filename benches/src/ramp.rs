//! `ramp`: connections that the load generator opens per second, beside a thread per CPU that opens one after the other.
//!
//! Both open as many to a fresh server of ours, on the same CPUs as that and pinned nowhere, as a user would have it. Over loopback a
//! handshake is done within the call that begins it, so that there is nothing to wait for and little to be won: how little, the
//! second part says, in which nobody waits and nothing else is done. Over a way that takes time it is the other way round.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;
use tempfile::NamedTempFile;
use tidemark_host::cpu;
use tidemark_loadgen::report::Report;
use tidemark_program::Exit;

use crate::binaries::Program;
use crate::cli::RampArgs;
use crate::error::MeasureError;
use crate::far;
use crate::listening::{self, Lines};
use crate::loadgen;
use crate::process::Process;
use crate::results;
use crate::server::{CONNECTIONS_SPARE, Options, Server};
use crate::session::Session;
use crate::side_by_side::{SideBySide, Target};
use crate::statistics::Side;

/// The least that its connections per second are to be, as a multiple of the reference's.
const RATIO_MIN: f64 = 1.2;

/// How long the reference may take, beside what its packets are on their way.
const REFERENCE_MAX: Duration = Duration::from_secs(60);

const BLOCKING: &str = "blocking connects";

#[derive(Debug, Serialize)]
struct Figures {
    connections: u64,
    over_loopback: OverLoopback,
    target_ratio: f64,
    round_trip_ms: f64,
    /// As over loopback.
    over_the_way: serde_json::Value,
}

/// Connections opened per second.
#[derive(Debug, Serialize)]
struct OverLoopback {
    /// The load generator's, and the reference's.
    compared: SideBySide,
    /// Those of connects that nobody waits for, and the reference's.
    not_waited_for: SideBySide,
}

/// Runs it: in a network of its own over a way that takes time, and over loopback, where there is nothing to judge.
///
/// # Errors
/// When it could not run.
pub fn run(session: &Session, args: &RampArgs) -> Result<Exit, MeasureError> {
    let bench = Bench { session, args };
    if let Some(figures) = &args.far_figures {
        return bench.over_the_way(figures);
    }
    let file = NamedTempFile::new().map_err(MeasureError::io("make a file for figures"))?;
    let more = [OsStr::new("--far-figures"), file.path().as_os_str()];
    // First: where the host gives no network this ends at once.
    let exit = far::again(session, args.round_trip, &more)?;
    if !matches!(exit, Exit::Good | Exit::JudgedBad) {
        return Ok(exit);
    }
    let figures = Figures {
        connections: args.connections,
        over_loopback: bench.over_loopback()?,
        target_ratio: RATIO_MIN,
        round_trip_ms: args.round_trip.as_secs_f64() * 1e3,
        over_the_way: serde_json::from_reader(file.as_file())?,
    };
    results::keep(session, "ramp", &figures)?;
    Ok(exit)
}

struct Bench<'a> {
    session: &'a Session,
    args: &'a RampArgs,
}

impl Bench<'_> {
    fn over_loopback(&self) -> Result<OverLoopback, MeasureError> {
        let compared = self.compared("over loopback")?;
        let not_waited_for = self.not_waited_for()?;
        self.session.say(format_args!(
            "median ratio {:.3}; connects that nobody waits for, and nothing else: {:.3}. Over loopback a handshake is done within \
             the call, and there is hardly more to be had: not judged",
            compared.ratio.median, not_waited_for.ratio.median
        ));
        Ok(OverLoopback { compared, not_waited_for })
    }

    fn over_the_way(&self, figures: &Path) -> Result<Exit, MeasureError> {
        let round_trip = humantime::format_duration(self.args.round_trip);
        let compared = self.compared(&format!("over a way with a round trip of {round_trip}"))?;
        let is_met = compared.judge(self.session, Target::AtLeast(RATIO_MIN));
        std::fs::write(figures, serde_json::to_vec(&compared)?).map_err(MeasureError::io("keep figures"))?;
        Ok(Exit::judged(is_met))
    }

    fn compared(&self, way: &str) -> Result<SideBySide, MeasureError> {
        self.session.say(format_args!(
            "connections opened per second {way}, {} of them, each time to a server that has just been started",
            self.args.connections
        ));
        SideBySide::measure(self.session, ["tidemark-loadgen", BLOCKING], self.args.blocks, |side| {
            self.per_s(|target| match side {
                Side::Head => self.loadgen_s(target),
                Side::Base => self.reference_s(target, &[]),
            })
        })
    }

    fn not_waited_for(&self) -> Result<SideBySide, MeasureError> {
        SideBySide::measure(self.session, ["not waited for", BLOCKING], self.args.blocks, |side| {
            self.per_s(|target| match side {
                Side::Head => self.reference_s(target, &["--no-wait"]),
                Side::Base => self.reference_s(target, &[]),
            })
        })
    }

    /// Connections per second to a fresh server, when `opened_s` takes so long for them.
    fn per_s(&self, opened_s: impl Fn(SocketAddr) -> Result<f64, MeasureError>) -> Result<f64, MeasureError> {
        let options = Options {
            max_connections: Some(self.args.connections + CONNECTIONS_SPARE),
            address: self.args.far_figures.as_ref().map(|_| far::HERE),
            ..Options::default()
        };
        let server = Server::start(self.session, options)?;
        let mut target = server.echo;
        if self.args.far_figures.is_some() {
            target.set_ip(far::THERE.into());
        }
        let seconds = opened_s(target)?;
        server.stop();
        Ok(self.args.connections as f64 / seconds)
    }

    /// As fast as it can, with hardly any load after it. It resets its connections, so that no port is missing in the next slot.
    fn loadgen_s(&self, target: SocketAddr) -> Result<f64, MeasureError> {
        let connections = self.args.connections;
        // A thread per CPU, as the reference has.
        let workers = cpu::allowed().map_err(MeasureError::io("read the CPUs of this process"))?.len();
        let words = format!(
            "run tcp://{target} --connections {connections} --workers {workers} --connect-rate 10000000 --rate 100 --warmup 0s --duration 1s --linger reset"
        );
        let mut args: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        args.extend(["--output".into(), self.session.results.join("ramp").into()]);
        let mut running = loadgen::start(self.session, &args)?;
        let status = running.wait(&self.session.interrupt, None)?;
        // Without a timeout there is always a status.
        let report: Report = running.report(status.unwrap_or_default())?;
        let opened: u64 = report.populations.iter().map(|population| population.connections.opened).sum();
        if opened < connections {
            return Err(MeasureError::Host(format!("{opened} of {connections} connections could be opened")));
        }
        Ok(report.run.ramp_s)
    }

    fn reference_s(&self, target: SocketAddr, flags: &[&str]) -> Result<f64, MeasureError> {
        let session = self.session;
        let program = Program::BareConnect;
        let mut command = Command::new(session.binaries.path(program)?);
        command.args([target.to_string(), self.args.connections.to_string()]).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process =
            Process::spawn(&mut command).map_err(MeasureError::io(format!("start {}", program.name())))?;
        let lines = match process.take_stdout() {
            Some(stdout) => Lines::of(stdout)?,
            None => Lines::of(std::io::empty())?,
        };
        // One after the other, were there a single thread.
        let on_the_way = self.args.round_trip.as_secs_f64() * self.args.connections as f64;
        let within = REFERENCE_MAX + Duration::from_secs_f64(on_the_way);
        let (name, interrupt) = (program.name(), &session.interrupt);
        let seconds = listening::wait_within(within, name, &lines, &mut process, interrupt, connected_s)?;
        process.stop();
        Ok(seconds)
    }
}

/// What it tells when it has opened them all.
fn connected_s(line: &str) -> Option<f64> {
    line.strip_prefix("connected in ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_off_the_line() {
        assert_eq!(connected_s("connected in 1.25"), Some(1.25));
        assert_eq!(connected_s("connected soon"), None);
    }
}
