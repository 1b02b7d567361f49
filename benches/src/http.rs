//! `http`: requests that the server answers per second of its CPU time, beside nginx, both driven by wrk.
//!
//! The two take turns within one run as in [`cpu`](crate::cpu), each slot with fresh processes. What is divided is CPU time of the serving
//! process at rest before and after, and the number of requests that wrk counted between the two.

use std::net::SocketAddr;

use serde::Serialize;
use tidemark_program::Exit;

use crate::cli::HttpArgs;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::loadgen::HTTP_PATH;
use crate::nginx::{self, Nginx};
use crate::results;
use crate::scale::{Allowed, Apart};
use crate::server::{Options, Server};
use crate::session::Session;
use crate::statistics::{Side, Spread, block_order, geometric_mean};
use crate::wrk;

#[derive(Debug, Serialize)]
struct Figures {
    engine: &'static str,
    target_ratio: f64,
    ratio: Spread,
    /// Requests per second of CPU time.
    server: Spread,
    /// Requests per second of CPU time.
    nginx: Spread,
    nginx_version: String,
    connections: usize,
    seconds_per_slot: u64,
    blocks: Vec<Block>,
}

/// Requests per second of CPU time, in two slots each.
#[derive(Clone, Copy, Debug, Serialize)]
struct Block {
    server: [f64; 2],
    nginx: [f64; 2],
    ratio: f64,
}

impl Block {
    fn new(server: [f64; 2], nginx: [f64; 2]) -> Self {
        let mean = |slots: [f64; 2]| geometric_mean(slots[0], slots[1]);
        Self { server, nginx, ratio: mean(server) / mean(nginx) }
    }
}

/// Runs it.
///
/// # Errors
/// When it could not run, also where there is only one CPU, or nginx or wrk are not there.
pub fn run(session: &Session, args: &HttpArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let apart = allowed.apart().ok_or_else(|| {
        MeasureError::Host("http needs two CPUs, one for the server and one for wrk".to_owned())
    })?;
    let nginx_version = nginx::version()?;
    session.say(format_args!(
        "GET {HTTP_PATH} per second of the server's CPU time, wrk over {} connections for {} s a slot; server on CPU {}, wrk on CPU {}",
        args.connections, args.seconds, apart.server, apart.client
    ));
    session.say(format_args!(
        "  block  {:>21}  {:>21}    ratio",
        format!("tidemark-server, {}", args.engine.name()),
        nginx_version
    ));
    let mut blocks = Vec::new();
    for index in 0..args.blocks {
        let block = measure_block(session, args, apart, index)?;
        session.say(format_args!(
            "  {:>5} {:>11.0} {:>10.0} {:>11.0} {:>10.0} {:>8.3}",
            index + 1,
            block.server[0],
            block.server[1],
            block.nginx[0],
            block.nginx[1],
            block.ratio
        ));
        blocks.push(block);
    }
    let slots = |of: fn(&Block) -> [f64; 2]| Spread::of(&blocks.iter().flat_map(of).collect::<Vec<_>>());
    let target_ratio = args.engine.http_ratio_min();
    let figures = Figures {
        engine: args.engine.name(),
        target_ratio,
        ratio: Spread::of(&blocks.iter().map(|block| block.ratio).collect::<Vec<_>>()),
        server: slots(|block| block.server),
        nginx: slots(|block| block.nginx),
        nginx_version,
        connections: args.connections,
        seconds_per_slot: args.seconds,
        blocks,
    };
    let is_met = figures.ratio.median >= target_ratio;
    let Spread { min, lower_quartile, median, upper_quartile, max } = figures.ratio;
    session.say(format_args!(
        "median ratio {median:.3} (half of the blocks {lower_quartile:.3} to {upper_quartile:.3}, all {min:.3} to {max:.3}); \
         at least {target_ratio}: {}",
        if is_met { "met" } else { "MISSED" }
    ));
    results::keep(session, "http", &figures)?;
    Ok(Exit::judged(is_met))
}

fn measure_block(
    session: &Session,
    args: &HttpArgs,
    apart: Apart,
    index: usize,
) -> Result<Block, MeasureError> {
    let (mut server, mut nginx) = (Vec::new(), Vec::new());
    for side in block_order(index) {
        match side {
            Side::Head => server.push(server_slot(session, args, apart)?),
            Side::Base => nginx.push(nginx_slot(session, args, apart)?),
        }
    }
    // Each order has both sides twice.
    Ok(Block::new([server[0], server[1]], [nginx[0], nginx[1]]))
}

fn server_slot(session: &Session, args: &HttpArgs, apart: Apart) -> Result<f64, MeasureError> {
    let options = Options {
        cpu: Some(apart.server),
        workers: Some(1),
        engine: Some(args.engine),
        http: true,
        ..Options::default()
    };
    let server = Server::start(session, options)?;
    let target =
        server.http.ok_or_else(|| MeasureError::Host("the server does not serve HTTP".to_owned()))?;
    let rate = requests_per_cpu_second(session, args, apart.client, server.pid(), target)?;
    server.stop();
    Ok(rate)
}

fn nginx_slot(session: &Session, args: &HttpArgs, apart: Apart) -> Result<f64, MeasureError> {
    let nginx = Nginx::start(session, apart.server)?;
    let rate = requests_per_cpu_second(session, args, apart.client, nginx.worker, nginx.target)?;
    nginx.stop();
    Ok(rate)
}

fn requests_per_cpu_second(
    session: &Session,
    args: &HttpArgs,
    client_cpu: usize,
    pid: u32,
    target: SocketAddr,
) -> Result<f64, MeasureError> {
    let wrk = |seconds| wrk::run(session, client_cpu, args.connections, seconds, target);
    wrk(1)?;
    let before_ns = cpu_time::at_rest_ns(pid, &session.interrupt)?;
    let requests = wrk(args.seconds)?.requests;
    let after_ns = cpu_time::at_rest_ns(pid, &session.interrupt)?;
    Ok(requests as f64 / (after_ns - before_ns) as f64 * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_ratio_of_geometric_means() {
        let block = Block::new([30.0, 30.0], [12.0, 27.0]);
        assert!((block.ratio - 30.0 / 18.0).abs() < 1e-9, "{}", block.ratio);
    }
}
