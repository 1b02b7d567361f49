//! `memory`: what an idle connection costs the server in its own memory.
//!
//! As a slope between two numbers of connections, so that what the server needs anyway is not in it, and from the exact
//! page counts of `smaps_rollup` (the figures of `/proc/PID/status` are sums of per-CPU estimates).

use serde::Serialize;
use tidemark_host::proc::smaps_rollup::{self, ExactMemory};
use tidemark_program::Exit;

use crate::allowed::{self, Allowed};
use crate::cli::MemoryArgs;
use crate::engine::Engine;
use crate::error::MeasureError;
use crate::idle::Idle;
use crate::results;
use crate::server::{Options, Server};
use crate::session::Session;
use crate::statistics::{median, slope};

/// Memory is counted in pages of mostly 4 KiB: over so many connections one page more or less is 2 bytes for each.
const SPAN_MIN: usize = 2_048;

#[derive(Debug, Serialize)]
struct Figures {
    engine: &'static str,
    target_bytes: f64,
    /// Median of the runs.
    private_bytes_per_connection: f64,
    /// Median of the runs.
    anonymous_bytes_per_connection: f64,
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Run {
    low: Point,
    high: Point,
    private_bytes_per_connection: f64,
    anonymous_bytes_per_connection: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Point {
    connections: usize,
    private_bytes: u64,
    anonymous_bytes: u64,
}

impl Run {
    fn new(low: Point, high: Point) -> Self {
        let per_connection = |bytes: fn(Point) -> u64| {
            slope((low.connections as f64, bytes(low) as f64), (high.connections as f64, bytes(high) as f64))
        };
        Self {
            low,
            high,
            private_bytes_per_connection: per_connection(|point| point.private_bytes),
            anonymous_bytes_per_connection: per_connection(|point| point.anonymous_bytes),
        }
    }
}

/// Runs it.
///
/// # Errors
/// When it could not run.
pub fn run(session: &Session, args: &MemoryArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let (low, high) = points(session, args.low, args.high, &allowed)?;
    let target_bytes = args.engine.connection_bytes_max();
    session.say(format_args!(
        "memory of tidemark-server ({}) with {low} and with {high} idle connections",
        args.engine.name()
    ));
    session.say("  run   private KiB, low -> high   bytes per connection   of it anonymous");
    let mut runs = Vec::new();
    for number in 1..=args.runs {
        let run = measure(session, args.engine, low, high)?;
        session.say(format_args!(
            "  {number:>3} {:>14} -> {:<10} {:>19.1} {:>17.1}",
            run.low.private_bytes >> 10,
            run.high.private_bytes >> 10,
            run.private_bytes_per_connection,
            run.anonymous_bytes_per_connection
        ));
        runs.push(run);
    }
    let of = |figure: fn(&Run) -> f64| median(&runs.iter().map(figure).collect::<Vec<_>>());
    let figures = Figures {
        engine: args.engine.name(),
        target_bytes,
        private_bytes_per_connection: of(|run| run.private_bytes_per_connection),
        anonymous_bytes_per_connection: of(|run| run.anonymous_bytes_per_connection),
        runs,
    };
    let is_met = figures.private_bytes_per_connection <= target_bytes;
    session.say(format_args!(
        "median: {:.1} bytes per idle connection; at most {target_bytes:.0}: {}",
        figures.private_bytes_per_connection,
        if is_met { "met" } else { "MISSED" }
    ));
    results::keep(session, "memory", &figures)?;
    Ok(Exit::judged(is_met))
}

/// The two numbers of connections between which memory is a slope, cut down to what one descriptor table holds.
///
/// # Errors
/// When they are in the wrong order, or nearer to each other than what can be told.
pub(crate) fn points(
    session: &Session,
    low: usize,
    high: usize,
    allowed: &Allowed,
) -> Result<(usize, usize), MeasureError> {
    if low >= high {
        return Err(MeasureError::Usage("--low must be below --high".to_owned()));
    }
    let (cut_low, cut_high) = allowed::points(low, high, allowed);
    if cut_high < high {
        session.say(format_args!(
            "scaled down: {cut_low} and {cut_high} connections instead of {low} and {high}, because one process may open {} files here",
            allowed.nofile
        ));
    }
    if cut_high - cut_low < SPAN_MIN {
        return Err(MeasureError::Host(format!(
            "between {cut_low} and {cut_high} connections the slope is within the size of a page; {SPAN_MIN} more are needed \
             (this process may open {} files, raise it with ulimit -n)",
            allowed.nofile
        )));
    }
    Ok((cut_low, cut_high))
}

fn measure(session: &Session, engine: Engine, low: usize, high: usize) -> Result<Run, MeasureError> {
    let server =
        Server::start(session, Options { workers: Some(1), engine: Some(engine), ..Options::default() })?;
    let mut idle = Idle::default();
    let mut point = |connections| -> Result<Point, MeasureError> {
        idle.grow_to(connections, server.echo, &session.interrupt)?;
        let ExactMemory { private_bytes, anonymous_bytes, .. } =
            smaps_rollup::read(server.pid()).map_err(MeasureError::io("read the server's memory"))?;
        Ok(Point { connections, private_bytes, anonymous_bytes })
    };
    let run = Run::new(point(low)?, point(high)?);
    drop(idle);
    server.stop();
    Ok(run)
}
