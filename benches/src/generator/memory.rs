//! The load generator's resident memory per connection, as a slope between two numbers of connections, so that its histograms
//! and what else it needs anyway are not in it.

use std::time::Duration;

use serde::Serialize;
use tidemark_host::proc::smaps_rollup;
use tidemark_loadgen::report::Report;

use super::{Bench, word};
use crate::error::MeasureError;
use crate::loadgen::{Arrivals, Target};
use crate::server::{CONNECTIONS_SPARE, Options, Server};
use crate::statistics::{median, slope};

/// The most that a connection may take, bytes.
const CONNECTION_BYTES_MAX: f64 = 160.0;

/// Requests per second over all connections: so many that each has been used before the last reading.
const RATE: f64 = 10_000.0;

/// How often the memory is read.
const READ_EVERY: Duration = Duration::from_millis(250);

/// The last readings of a run, of which the median counts: by then all connections are open and used.
const READINGS: usize = 4;

#[derive(Debug, Serialize)]
pub(super) struct Figures {
    target_bytes: f64,
    /// Median of the runs.
    rss_bytes_per_connection: f64,
    runs: Vec<Run>,
}

impl Figures {
    pub(super) fn is_met(&self) -> bool {
        self.rss_bytes_per_connection <= CONNECTION_BYTES_MAX
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Run {
    low: Point,
    high: Point,
    rss_bytes_per_connection: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Point {
    connections: usize,
    rss_bytes: f64,
}

impl Run {
    fn new(low: Point, high: Point) -> Self {
        let at = |point: Point| (point.connections as f64, point.rss_bytes);
        Self { low, high, rss_bytes_per_connection: slope(at(low), at(high)) }
    }
}

impl Bench<'_> {
    /// Over HTTP to our server: nginx would need its own settings for so many connections.
    pub(super) fn memory(&self, (low, high): (usize, usize)) -> Result<Figures, MeasureError> {
        self.session.say(format_args!(
            "memory of tidemark-loadgen with {low} and with {high} HTTP connections, {RATE} requests per second"
        ));
        self.session.say("  run       RSS KiB, low -> high   bytes per connection");
        let mut runs = Vec::new();
        for number in 1..=self.args.runs {
            let run = Run::new(self.point(low)?, self.point(high)?);
            self.session.say(format_args!(
                "  {number:>3} {:>14.0} -> {:<10.0} {:>16.1}",
                run.low.rss_bytes / 1024.0,
                run.high.rss_bytes / 1024.0,
                run.rss_bytes_per_connection
            ));
            runs.push(run);
        }
        let per_connection: Vec<f64> = runs.iter().map(|run| run.rss_bytes_per_connection).collect();
        let figures = Figures {
            target_bytes: CONNECTION_BYTES_MAX,
            rss_bytes_per_connection: median(&per_connection),
            runs,
        };
        self.session.say(format_args!(
            "median: {:.1} bytes per connection; at most {CONNECTION_BYTES_MAX:.0}: {}",
            figures.rss_bytes_per_connection,
            word(figures.is_met())
        ));
        Ok(figures)
    }

    fn point(&self, connections: usize) -> Result<Point, MeasureError> {
        let server = Server::start(
            self.session,
            Options {
                cpu: Some(self.apart.server),
                max_connections: Some(connections as u64 + CONNECTIONS_SPARE),
                http: true,
                ..Options::default()
            },
        )?;
        let target =
            server.http.ok_or_else(|| MeasureError::Host("the server does not serve HTTP".to_owned()))?;
        let mut load = self.load(Target::Http(target), connections, Arrivals::Constant(RATE));
        load.duration = load_time(connections);
        let mut running = load.start(self.session)?;
        let mut readings = Vec::new();
        let status = loop {
            if let Some(status) = running.wait(&self.session.interrupt, Some(READ_EVERY))? {
                break status;
            }
            // There is none when it has ended meanwhile.
            readings.extend(smaps_rollup::read(running.pid()).ok());
        };
        let report: Report = running.report(status)?;
        server.stop();
        let open: u64 = report.populations.iter().map(|population| population.connections.peak_open).sum();
        if open < connections as u64 {
            return Err(MeasureError::Host(format!(
                "{open} of {connections} connections could be held open"
            )));
        }
        let last = readings.len().saturating_sub(READINGS);
        let last: Vec<f64> = readings[last..].iter().map(|memory| memory.rss_bytes as f64).collect();
        if last.len() < READINGS {
            return Err(MeasureError::Host("the load generator's memory cannot be read".to_owned()));
        }
        Ok(Point { connections, rss_bytes: median(&last) })
    }
}

/// Twice as long as it takes to use every connection, which take turns, and never less than what the readings need.
fn load_time(connections: usize) -> Duration {
    const LEAST: Duration = Duration::from_secs(3);
    Duration::from_secs_f64((2.0 * connections as f64 / RATE).ceil()).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_needs_anyway_is_not_in_the_slope() {
        let point = |connections: usize| Point { connections, rss_bytes: 20e6 + 128.0 * connections as f64 };
        let run = Run::new(point(2_000), point(15_000));
        assert!((run.rss_bytes_per_connection - 128.0).abs() < 1e-6, "{run:?}");
    }

    #[test]
    fn every_connection_is_used() {
        assert_eq!(load_time(2_000), Duration::from_secs(3));
        for connections in [10_000, 19_000, 100_000] {
            assert!(load_time(connections).as_secs_f64() * RATE >= 2.0 * connections as f64);
        }
    }
}
