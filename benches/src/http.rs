//! `http`: requests that the server answers per second of its CPU time, beside nginx, both driven by wrk.
//!
//! The two take turns within one run as in [`cpu`](crate::cpu), each slot with fresh processes. What is divided is CPU time of the serving
//! process at rest before and after, and the number of requests that wrk counted between the two.

use std::net::SocketAddr;

use serde::Serialize;
use tidemark_program::Exit;

use crate::allowed::{Allowed, Apart};
use crate::cli::HttpArgs;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::loadgen::HTTP_PATH;
use crate::nginx::{self, Nginx};
use crate::results;
use crate::server::{Options, Server};
use crate::session::Session;
use crate::side_by_side::{SideBySide, Target};
use crate::statistics::Side;
use crate::wrk;

#[derive(Debug, Serialize)]
struct Figures {
    engine: &'static str,
    nginx_version: String,
    target_ratio: f64,
    connections: usize,
    seconds_per_slot: u64,
    /// Requests per second of CPU time: the server's, and nginx's.
    #[serde(flatten)]
    compared: SideBySide,
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
    let ours = format!("tidemark-server, {}", args.engine.name());
    let compared = SideBySide::measure(session, [&ours, &nginx_version], args.blocks, |side| match side {
        Side::Head => server_slot(session, args, apart),
        Side::Base => nginx_slot(session, args, apart),
    })?;
    let target_ratio = args.engine.http_ratio_min();
    let is_met = compared.judge(session, Target::AtLeast(target_ratio));
    let figures = Figures {
        engine: args.engine.name(),
        nginx_version,
        target_ratio,
        connections: args.connections,
        seconds_per_slot: args.seconds,
        compared,
    };
    results::keep(session, "http", &figures)?;
    Ok(Exit::judged(is_met))
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
