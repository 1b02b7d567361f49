//! `http`: requests that the server answers per second of its CPU time, beside nginx, both driven by wrk.
//!
//! nginx answers the same with `return 200`, the least that it can do: one worker, no access log, connections kept for ever. The two
//! take turns within one run as in [`cpu`](crate::cpu), each slot with fresh processes. What is divided is CPU time of the serving
//! process at rest before and after, and the number of requests that wrk counted between the two.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use tidemark_program::Exit;

use crate::cli::HttpArgs;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::listening::{self, Lines};
use crate::process::Process;
use crate::results;
use crate::scale::{Allowed, Apart};
use crate::server::{Options, Server};
use crate::session::Session;
use crate::statistics::{Side, Spread, block_order, geometric_mean};

/// What is asked of both.
const PATH: &str = "/health";

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
    let nginx_version = nginx_version()?;
    session.say(format_args!(
        "GET {PATH} per second of the server's CPU time, wrk over {} connections for {} s a slot; server on CPU {}, wrk on CPU {}",
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
    let directory = tempfile::tempdir().map_err(MeasureError::io("make a directory for nginx"))?;
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let target = free.map_err(MeasureError::io("find a free port"))?;
    let path = directory.path().join("nginx.conf");
    std::fs::write(&path, nginx_configuration(directory.path(), target, apart.server))
        .map_err(MeasureError::io("write nginx's configuration"))?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = Process::spawn(&mut command).map_err(MeasureError::io("start nginx"))?;
    let lines = match process.take_stderr() {
        Some(stderr) => Lines::of(stderr)?,
        None => Lines::of(io::empty())?,
    };
    let worker = listening::wait_until("nginx", &lines, &mut process, &session.interrupt, worker_pid)?;
    let rate = requests_per_cpu_second(session, args, apart.client, worker, target)?;
    process.stop();
    Ok(rate)
}

/// The least of nginx: one worker on its CPU, which answers as our server does.
fn nginx_configuration(directory: &Path, target: SocketAddr, cpu: usize) -> String {
    let directory = directory.display();
    let affinity = format!("1{}", "0".repeat(cpu));
    format!(
        "daemon off; worker_processes 1; worker_cpu_affinity {affinity}; pid {directory}/pid; error_log stderr notice;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; default_type application/json;\n\
         client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;\n\
         uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;\n\
         server {{ listen {target}; location / {{ return 200 '{{\"status\":\"ok\"}}'; }} }}\n\
         }}\n"
    )
}

/// The process that serves, in the line in which nginx says that it has started it. By then it listens.
fn worker_pid(line: &str) -> Option<u32> {
    line.rsplit_once("start worker process ")?.1.trim().parse().ok()
}

fn nginx_version() -> Result<String, MeasureError> {
    let output = Command::new("nginx").arg("-v").output().map_err(MeasureError::io("start nginx"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text.trim().rsplit_once("nginx version: ").map_or("nginx", |(_, version)| version).to_owned())
}

fn requests_per_cpu_second(
    session: &Session,
    args: &HttpArgs,
    client_cpu: usize,
    pid: u32,
    target: SocketAddr,
) -> Result<f64, MeasureError> {
    wrk(session, args, 1, client_cpu, target)?;
    let before_ns = cpu_time::at_rest_ns(pid, &session.interrupt)?;
    let requests = wrk(session, args, args.seconds, client_cpu, target)?;
    let after_ns = cpu_time::at_rest_ns(pid, &session.interrupt)?;
    Ok(requests as f64 / (after_ns - before_ns) as f64 * 1e9)
}

/// Drives the target for so many seconds; the number of requests.
fn wrk(
    session: &Session,
    args: &HttpArgs,
    seconds: u64,
    cpu: usize,
    target: SocketAddr,
) -> Result<u64, MeasureError> {
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", &cpu.to_string(), "wrk", "-t1"])
        .args([format!("-c{}", args.connections), format!("-d{seconds}s"), format!("http://{target}{PATH}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut process = Process::spawn(&mut command).map_err(MeasureError::io("start taskset wrk"))?;
    let stdout = process.take_stdout();
    process.wait(&session.interrupt, None)?;
    let text = stdout.map(io::read_to_string).transpose().map_err(MeasureError::io("read wrk's result"))?;
    requests_of(&text.unwrap_or_default())
        .map_err(|why| MeasureError::Client { program: "wrk".to_owned(), why })
}

/// The number of requests that wrk tells, when all went well.
fn requests_of(text: &str) -> Result<u64, String> {
    let trouble = text.lines().map(str::trim).find(|line| {
        line.starts_with("Socket errors") || line.starts_with("Non-2xx") || line.starts_with("unable")
    });
    if let Some(trouble) = trouble {
        return Err(trouble.to_owned());
    }
    let requests = text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok());
    requests.ok_or_else(|| "tells no number of requests (apt-get install wrk)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_ratio_of_geometric_means() {
        let block = Block::new([30.0, 30.0], [12.0, 27.0]);
        assert!((block.ratio - 30.0 / 18.0).abs() < 1e-9, "{}", block.ratio);
    }

    #[test]
    fn what_wrk_says_is_believed_only_when_all_went_well() {
        let good = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 5 connections\n  \
                    104276 requests in 1.10s, 16.41MB read\nRequests/sec:  94803.95\n";
        assert_eq!(requests_of(good), Ok(104_276));
        let bad = "  104276 requests in 1.10s, 16.41MB read\n  Socket errors: connect 0, read 5, write 0, timeout 0\n";
        assert_eq!(requests_of(bad).unwrap_err(), "Socket errors: connect 0, read 5, write 0, timeout 0");
        assert!(requests_of("").unwrap_err().contains("no number of requests"));
    }

    #[test]
    fn the_worker_of_nginx_is_found() {
        let line = "2026/01/01 00:00:00 [notice] 100#100: start worker process 101";
        assert_eq!(worker_pid(line), Some(101));
        assert_eq!(worker_pid("2026/01/01 00:00:00 [notice] 100#100: start worker processes"), None);
        let text = nginx_configuration(Path::new("/x"), "127.0.0.1:80".parse().unwrap(), 2);
        assert!(text.contains("worker_cpu_affinity 100;") && text.contains("listen 127.0.0.1:80;"), "{text}");
    }
}
