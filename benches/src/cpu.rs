//! `cpu`: what an echo costs the server in CPU time, beside the least that it can cost: a bare loop, or a bare task.
//!
//! Absolute figures drift with the machine, so both are measured [side by side](crate::side_by_side), each slot with a fresh
//! process. What is divided is exact on both sides: CPU time of the process at rest before and after, and a number of echoes that a client of our own did
//! between the two.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use serde::Serialize;
use tidemark_program::Exit;

use crate::allowed::{Allowed, Apart};
use crate::binaries::Program;
use crate::cli::CpuArgs;
use crate::closed_loop::ClosedLoop;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::exchange::Exchange;
use crate::listening;
use crate::results;
use crate::server::{Options, Server};
use crate::session::Session;
use crate::side_by_side::{SideBySide, Target};
use crate::statistics::Side;

#[derive(Debug, Serialize)]
struct Figures {
    engine: &'static str,
    target_ratio: f64,
    connections: usize,
    payload_bytes: usize,
    echoes_per_slot: u64,
    /// ns per echo: the server's, and the reference's.
    #[serde(flatten)]
    compared: SideBySide,
}

/// Runs it.
///
/// # Errors
/// When it could not run, also where there is only one CPU: the two ends would then measure each other.
pub fn run(session: &Session, args: &CpuArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let apart = allowed.apart().ok_or_else(|| {
        MeasureError::Host("cpu needs two CPUs, one for the server and one for its client".to_owned())
    })?;
    session.say(format_args!(
        "CPU time per echo of {} bytes over {} connections, in ns; server on CPU {}, client on CPU {}, {} echoes a slot",
        args.payload, args.connections, apart.server, apart.client, args.echoes
    ));
    let ours = format!("tidemark-server, {}", args.engine.name());
    let reference = args.engine.reference().name();
    let compared = SideBySide::measure(session, [&ours, reference], args.blocks, |side| match side {
        Side::Head => server_slot(session, args, apart),
        Side::Base => bare_slot(session, args, apart),
    })?;
    let target_ratio = args.engine.cpu_ratio_max();
    let is_met = compared.judge(session, Target::AtMost(target_ratio));
    let figures = Figures {
        engine: args.engine.name(),
        target_ratio,
        connections: args.connections,
        payload_bytes: args.payload,
        echoes_per_slot: args.echoes,
        compared,
    };
    results::keep(session, "cpu", &figures)?;
    Ok(Exit::judged(is_met))
}

fn server_slot(session: &Session, args: &CpuArgs, apart: Apart) -> Result<f64, MeasureError> {
    let options = Options {
        cpu: Some(apart.server),
        workers: Some(1),
        engine: Some(args.engine),
        ..Options::default()
    };
    let server = Server::start(session, options)?;
    let ns = ns_per_echo(session, args, apart.client, Program::Server, server.pid(), server.echo)?;
    server.stop();
    Ok(ns)
}

fn bare_slot(session: &Session, args: &CpuArgs, apart: Apart) -> Result<f64, MeasureError> {
    let reference = args.engine.reference();
    let mut command = Command::new(session.binaries.path(reference)?);
    command.args([&apart.server.to_string(), args.engine.name()]);
    let bare = listening::start_plain(reference.name(), &mut command, &session.interrupt)?;
    let pid = bare.process.pid();
    let ns = ns_per_echo(session, args, apart.client, reference, pid, bare.told)?;
    bare.process.stop();
    Ok(ns)
}

/// CPU time of the process per echo, in ns.
fn ns_per_echo(
    session: &Session,
    args: &CpuArgs,
    client_cpu: usize,
    program: Program,
    pid: u32,
    target: SocketAddr,
) -> Result<f64, MeasureError> {
    let client_error = |error: io::Error| MeasureError::Client {
        program: program.name().to_owned(),
        why: error.to_string(),
    };
    let connect =
        || Exchange::echo(args.payload).and_then(|echo| ClosedLoop::connect(target, args.connections, echo));
    let at_rest_ns = || cpu_time::at_rest_ns(pid, &session.interrupt);
    cpu_time::per_exchange_ns(client_cpu, connect, args.echoes, at_rest_ns, client_error)
}
