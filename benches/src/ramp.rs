//! `ramp`: connections that the load generator opens per second, beside a thread per CPU that opens one after the other.
//!
//! Both open as many to a fresh server of ours, on the same CPUs as that and pinned nowhere, as a user would have it.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use serde::Serialize;
use tidemark_host::cpu;
use tidemark_loadgen::report::Report;
use tidemark_program::Exit;

use crate::binaries::Program;
use crate::cli::RampArgs;
use crate::error::MeasureError;
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

#[derive(Debug, Serialize)]
struct Figures {
    target_ratio: f64,
    connections: u64,
    /// Connections opened per second: the load generator's, and the reference's.
    #[serde(flatten)]
    compared: SideBySide,
}

/// Runs it.
///
/// # Errors
/// When it could not run.
pub fn run(session: &Session, args: &RampArgs) -> Result<Exit, MeasureError> {
    session.say(format_args!(
        "connections opened per second, {} of them, each time to a server that has just been started",
        args.connections
    ));
    let names = ["tidemark-loadgen", "blocking connects"];
    let compared = SideBySide::measure(session, names, args.blocks, |side| {
        let server = Server::start(
            session,
            Options { max_connections: Some(args.connections + CONNECTIONS_SPARE), ..Options::default() },
        )?;
        let seconds = match side {
            Side::Head => loadgen_s(session, &server, args.connections)?,
            Side::Base => blocking_s(session, &server, args.connections)?,
        };
        server.stop();
        Ok(args.connections as f64 / seconds)
    })?;
    let is_met = compared.judge(session, Target::AtLeast(RATIO_MIN));
    results::keep(
        session,
        "ramp",
        &Figures { target_ratio: RATIO_MIN, connections: args.connections, compared },
    )?;
    Ok(Exit::judged(is_met))
}

/// As fast as it can, with hardly any load after it. It resets its connections, so that no port is missing in the next slot.
fn loadgen_s(session: &Session, server: &Server, connections: u64) -> Result<f64, MeasureError> {
    // A thread per CPU, as the reference has.
    let workers = cpu::allowed().map_err(MeasureError::io("read the CPUs of this process"))?.len();
    let words = format!(
        "run tcp://{} --connections {connections} --workers {workers} --connect-rate 10000000 --rate 100 --warmup 0s --duration 1s --linger reset",
        server.echo
    );
    let mut args: Vec<OsString> = words.split(' ').map(OsString::from).collect();
    args.extend(["--output".into(), session.results.join("ramp").into()]);
    let mut running = loadgen::start(session, &args)?;
    let status = running.wait(&session.interrupt, None)?;
    // Without a timeout there is always a status.
    let report: Report = running.report(status.unwrap_or_default())?;
    let opened: u64 = report.populations.iter().map(|population| population.connections.opened).sum();
    if opened < connections {
        return Err(MeasureError::Host(format!("{opened} of {connections} connections could be opened")));
    }
    Ok(report.run.ramp_s)
}

fn blocking_s(session: &Session, server: &Server, connections: u64) -> Result<f64, MeasureError> {
    let program = Program::BlockingConnect;
    let mut command = Command::new(session.binaries.path(program)?);
    command.args([server.echo.to_string(), connections.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process =
        Process::spawn(&mut command).map_err(MeasureError::io(format!("start {}", program.name())))?;
    let lines = match process.take_stdout() {
        Some(stdout) => Lines::of(stdout)?,
        None => Lines::of(std::io::empty())?,
    };
    let seconds =
        listening::wait_until(program.name(), &lines, &mut process, &session.interrupt, connected_s)?;
    process.stop();
    Ok(seconds)
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
