//! `cpu`: what an echo costs the server in CPU time, beside the least that it can cost: a bare loop, or a bare task.
//!
//! Absolute figures drift with the machine, so both are measured in turn within one run, in blocks of four slots
//! ([`block_order`]), each slot with a fresh process, and the ratio is taken within each block. What is divided is exact
//! on both sides: CPU time of the process at rest before and after, and a number of echoes that a client of our own did
//! between the two.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use serde::Serialize;
use tidemark_host::cpu as affinity;
use tidemark_host::cpu::CpuSet;
use tidemark_program::Exit;

use crate::binaries::Program;
use crate::cli::CpuArgs;
use crate::closed_loop::ClosedLoop;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::exchange::Exchange;
use crate::listening;
use crate::results;
use crate::scale::{Allowed, Apart};
use crate::server::{Options, Server};
use crate::session::Session;
use crate::statistics::{Side, Spread, block_order, geometric_mean};

/// The part of a slot's echoes that is done once more before, uncounted: caches, branch predictors, memory of sockets.
const WARM_UP_PARTS: u64 = 5;

#[derive(Debug, Serialize)]
struct Figures {
    engine: &'static str,
    target_ratio: f64,
    ratio: Spread,
    /// ns per echo.
    server: Spread,
    /// ns per echo.
    bare_loop: Spread,
    connections: usize,
    payload_bytes: usize,
    echoes_per_slot: u64,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Block {
    /// ns per echo of the two slots.
    server: [f64; 2],
    /// ns per echo of the two slots.
    bare_loop: [f64; 2],
    ratio: f64,
}

impl Block {
    fn new(server: [f64; 2], bare_loop: [f64; 2]) -> Self {
        let mean = |slots: [f64; 2]| geometric_mean(slots[0], slots[1]);
        Self { server, bare_loop, ratio: mean(server) / mean(bare_loop) }
    }
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
    let reference = args.engine.reference();
    session.say(format_args!(
        "  block  {:>21}  {:>21}    ratio",
        format!("tidemark-server, {}", args.engine.name()),
        reference.name()
    ));
    let mut blocks = Vec::new();
    for index in 0..args.blocks {
        let block = measure_block(session, args, apart, index)?;
        session.say(format_args!(
            "  {:>5} {:>11.0} {:>10.0} {:>11.0} {:>10.0} {:>8.3}",
            index + 1,
            block.server[0],
            block.server[1],
            block.bare_loop[0],
            block.bare_loop[1],
            block.ratio
        ));
        blocks.push(block);
    }
    let figures = figures(args, blocks);
    let target_ratio = args.engine.cpu_ratio_max();
    let is_met = figures.ratio.median <= target_ratio;
    let Spread { min, lower_quartile, median, upper_quartile, max } = figures.ratio;
    session.say(format_args!(
        "median ratio {median:.3} (half of the blocks {lower_quartile:.3} to {upper_quartile:.3}, all {min:.3} to {max:.3}); \
         at most {target_ratio}: {}",
        if is_met { "met" } else { "MISSED" }
    ));
    results::keep(session, "cpu", &figures)?;
    Ok(Exit::judged(is_met))
}

fn figures(args: &CpuArgs, blocks: Vec<Block>) -> Figures {
    let slots = |of: fn(&Block) -> [f64; 2]| Spread::of(&blocks.iter().flat_map(of).collect::<Vec<_>>());
    Figures {
        engine: args.engine.name(),
        target_ratio: args.engine.cpu_ratio_max(),
        ratio: Spread::of(&blocks.iter().map(|block| block.ratio).collect::<Vec<_>>()),
        server: slots(|block| block.server),
        bare_loop: slots(|block| block.bare_loop),
        connections: args.connections,
        payload_bytes: args.payload,
        echoes_per_slot: args.echoes,
        blocks,
    }
}

fn measure_block(
    session: &Session,
    args: &CpuArgs,
    apart: Apart,
    index: usize,
) -> Result<Block, MeasureError> {
    let (mut server, mut bare_loop) = (Vec::new(), Vec::new());
    for side in block_order(index) {
        match side {
            Side::Head => server.push(server_slot(session, args, apart)?),
            Side::Base => bare_loop.push(bare_slot(session, args, apart)?),
        }
    }
    // Each order has both sides twice.
    Ok(Block::new([server[0], server[1]], [bare_loop[0], bare_loop[1]]))
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
    // On a thread of its own, because only the client is to be pinned: what is started later inherits the affinity.
    let client = || {
        let cpu = CpuSet::new([client_cpu]).map_err(io::Error::other);
        cpu.and_then(|cpu| affinity::pin(&cpu)).map_err(MeasureError::io("pin the client"))?;
        let mut client = Exchange::echo(args.payload)
            .and_then(|echo| ClosedLoop::connect(target, args.connections, echo))
            .map_err(client_error)?;
        client.run(args.echoes / WARM_UP_PARTS).map_err(client_error)?;
        let before_ns = cpu_time::at_rest_ns(pid, &session.interrupt)?;
        client.run(args.echoes).map_err(client_error)?;
        let after_ns = cpu_time::at_rest_ns(pid, &session.interrupt)?;
        Ok((after_ns - before_ns) as f64 / args.echoes as f64)
    };
    std::thread::scope(|scope| scope.spawn(client).join()).unwrap_or_else(|panic| {
        // The thread's panic is this thread's panic.
        std::panic::resume_unwind(panic)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_ratio_of_geometric_means() {
        let block = Block::new([12.0, 27.0], [9.0, 16.0]);
        assert!((block.ratio - 1.5).abs() < 1e-9, "{}", block.ratio);
    }
}
