//! The server that stops for 100 ms in every second, what arithmetic says of it, and what a run against it measured.
//!
//! A tenth of all arrivals falls into a stop, each waits for what is left of it, and what is left is evenly spread from
//! 0 to 100 ms. So a part q of all arrivals above 0.9 responds within `100 ms * (q - 0.9) / 0.1`: 50, 90 and 99 ms at the
//! 95th, 99th and 99.9th percentile.

use std::process::Command;

use clap::ValueEnum;
use serde::Serialize;
use tidemark_loadgen::outstanding::DEPTH_MAX;
use tidemark_loadgen::report::{Latency, Report};

use crate::allowed::{Allowed, Apart};
use crate::binaries::Program;
use crate::error::MeasureError;
use crate::listening::{self, Lines};
use crate::loadgen::{Load, Target};
use crate::pinned;
use crate::process::Process;
use crate::session::Session;
use crate::statistics::median;

/// How long it stops.
pub const STALL_MS: f64 = 100.0;
/// From the beginning of one stop to the beginning of the next.
pub const PERIOD_MS: f64 = 1000.0;

/// Where the law is looked at, beside the median.
pub const TAIL: [f64; 3] = [0.95, 0.99, 0.999];

/// The highest of them, as a percentile.
const TAIL_PERCENTILE_MAX: f64 = 99.9;

/// On average over the stops of a run: 1 % of the lowest figure of the law. It leaves the rest of the tolerance to what is judged.
const SERVER_LATE_MAX_MS: f64 = 0.5;

/// The response time in ms within which a part `q` of all arrivals is answered, for a server that answers at once when
/// it does not stop.
pub fn law_ms(q: f64) -> f64 {
    let stalled = STALL_MS / PERIOD_MS;
    STALL_MS * ((q - (1.0 - stalled)) / stalled).max(0.0)
}

/// So many times the requests of a stop fit into the connections.
const IN_FLIGHT_SPARE: f64 = 1.5;

/// How many requests may have to be in flight on one connection, so that none waits for a connection: those of a whole stop, and half
/// as many again, as far as the load generator goes. Where that is not enough the law does not hold.
pub fn pipeline(rate: f64, connections: u64) -> u8 {
    let stopped = rate * STALL_MS / 1e3;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let depth =
        (IN_FLIGHT_SPARE * stopped / connections as f64).ceil().clamp(1.0, f64::from(DEPTH_MAX)) as u8;
    depth
}

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Its requests come back
    Echo,
    /// HTTP/1.1, a small 200
    Http,
}

impl Protocol {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Http => "HTTP",
        }
    }
}

/// Response times, ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// The median.
    pub p50_ms: f64,
    /// At [`TAIL`].
    pub tail_ms: [f64; 3],
}

impl Times {
    fn of(latency: &Latency) -> Self {
        let ms = |ns: u64| ns as f64 / 1e6;
        Self {
            p50_ms: ms(latency.p50_ns),
            tail_ms: [latency.p95_ns, latency.p99_ns, latency.p99_9_ns].map(ms),
        }
    }

    /// The median of each figure; all NaN of nothing.
    pub fn median(times: &[Self]) -> Self {
        let of = |figure: &dyn Fn(&Self) -> f64| median(&times.iter().map(figure).collect::<Vec<_>>());
        Self {
            p50_ms: of(&|times| times.p50_ms),
            tail_ms: std::array::from_fn(|index| of(&|times| times.tail_ms[index])),
        }
    }

    /// How far the tail is from the law, in percent of it.
    pub fn deviation_percent(&self) -> [f64; 3] {
        std::array::from_fn(|index| 100.0 * (self.tail_ms[index] / law_ms(TAIL[index]) - 1.0))
    }
}

/// A running server that stops now and then.
#[derive(Debug)]
pub struct Stalling {
    process: Process,
    lines: Lines,
    /// Where it serves.
    pub target: Target,
}

impl Stalling {
    /// Starts it on the CPU that the load generator does not have. It has no flag for that and inherits its CPU.
    ///
    /// # Errors
    /// When it cannot be started there.
    pub fn start(
        session: &Session,
        allowed: &Allowed,
        apart: Option<Apart>,
        protocol: Protocol,
    ) -> Result<Self, MeasureError> {
        let mut command = Command::new(session.binaries.path(Program::FaultyServer)?);
        command.args(["stall", "--for", &format!("{STALL_MS}ms"), "--every", &format!("{PERIOD_MS}ms")]);
        if protocol == Protocol::Http {
            command.arg("--http");
        }
        let started = pinned::start(&allowed.cpus, apart.map(|apart| apart.server), || {
            listening::start_plain(Program::FaultyServer.name(), &mut command, &session.interrupt)
        })?;
        let target = match protocol {
            Protocol::Echo => Target::Echo(started.told),
            Protocol::Http => Target::Http(started.told),
        };
        Ok(Self { process: started.process, lines: started.lines, target })
    }

    /// Loads it once.
    ///
    /// # Errors
    /// When there is no report.
    pub fn measure(&self, session: &Session, load: &Load) -> Result<Run, MeasureError> {
        // Those of before.
        self.lines.so_far().for_each(drop);
        let report = load.report(session)?;
        let late_ms: Vec<f64> =
            self.lines.so_far().filter_map(|line| Some(late_us(&line)?.abs() / 1e3)).collect();
        // None at all is no number, and no run that is to be believed.
        Ok(Run::of(&report, late_ms.iter().sum::<f64>() / late_ms.len() as f64))
    }

    /// Ends it and waits for that.
    pub fn stop(self) {
        self.process.stop();
    }
}

/// One run of the load generator against it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Intended to done.
    pub response: Times,
    /// Sent to done.
    pub service: Times,
    /// Replies per second.
    pub completed_per_s: f64,
    /// The percentile up to which the load generator trusts its own figures; none at all in a closed loop.
    pub trusted_to: Option<f64>,
    /// By how many ms the replies of a stop left too late or too early, the mean of its stops, as the server says itself. That is
    /// neither the law's doing nor the load generator's.
    pub server_late_ms: f64,
}

impl Run {
    fn of(report: &Report, server_late_ms: f64) -> Self {
        let population = report.populations.first();
        let nothing = Times::median(&[]);
        let (response, service) = population.map_or((nothing, nothing), |population| {
            (Times::of(&population.response), Times::of(&population.service))
        });
        Self {
            response,
            service,
            completed_per_s: population.map_or(f64::NAN, |population| population.completed_per_s),
            trusted_to: report.verdict.trusted_to,
            server_late_ms,
        }
    }

    /// Whether both programs had a CPU when they needed one: the generator is trusted as far as it is judged, and the
    /// server's stops were as long as they were meant to be.
    pub fn is_undisturbed(&self) -> bool {
        self.trusted_to.is_some_and(|to| to >= TAIL_PERCENTILE_MAX)
            && self.server_late_ms <= SERVER_LATE_MAX_MS
    }
}

/// What the server says after each stop.
fn late_us(line: &str) -> Option<f64> {
    line.strip_prefix("late_us ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_read_off_the_line() {
        assert_eq!(late_us("late_us -12.5"), Some(-12.5));
        assert_eq!(late_us("late_us soon"), None);
    }

    fn assert_near(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
    }

    #[test]
    fn the_law_is_50_90_and_99_ms() {
        for (law, expected) in TAIL.map(law_ms).into_iter().zip([50.0, 90.0, 99.0]) {
            assert_near(law, expected);
        }
        assert_near(law_ms(0.5), 0.0);
        assert_near(law_ms(1.0), STALL_MS);
    }

    #[test]
    fn the_law_is_what_the_arrivals_of_ten_seconds_say() {
        // An arrival every 0.1 ms, against stops in the first 100 ms of every second.
        let mut responses: Vec<f64> =
            (0..100_000).map(|index| (STALL_MS - f64::from(index) * 0.1 % PERIOD_MS).max(0.0)).collect();
        responses.sort_by(f64::total_cmp);
        for q in TAIL {
            let actual = crate::statistics::quantile(&responses, q);
            assert!((actual - law_ms(q)).abs() < 0.11, "{actual} at {q}");
        }
    }

    #[test]
    fn the_requests_of_a_stop_fit_into_the_connections() {
        assert_eq!(pipeline(4000.0, 10), 60);
        assert_eq!(pipeline(2000.0, 50), 6);
        assert_eq!(pipeline(4000.0, 1000), 1);
        assert_eq!(pipeline(1e9, 1), DEPTH_MAX);
    }

    #[test]
    fn deviations_are_in_percent_of_the_law_and_signed() {
        let times = Times { p50_ms: 0.1, tail_ms: [51.0, 90.0, 98.01] };
        for (actual, expected) in times.deviation_percent().into_iter().zip([2.0, 0.0, -1.0]) {
            assert_near(actual, expected);
        }
    }

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let times = |p50_ms, p95_ms| Times { p50_ms, tail_ms: [p95_ms, 90.0, 99.0] };
        let median = Times::median(&[times(1.0, 52.0), times(2.0, 50.0), times(9.0, 51.0)]);
        assert_eq!(median, times(2.0, 51.0));
        assert!(Times::median(&[]).tail_ms[2].is_nan());
    }

    #[test]
    fn a_run_is_disturbed_at_either_end() {
        let times = Times { p50_ms: 0.1, tail_ms: [50.0, 90.0, 99.0] };
        let run = Run {
            response: times,
            service: times,
            completed_per_s: 2000.0,
            trusted_to: Some(100.0),
            server_late_ms: 0.1,
        };
        assert!(run.is_undisturbed());
        assert!(!Run { trusted_to: Some(99.5), ..run }.is_undisturbed());
        assert!(!Run { trusted_to: None, ..run }.is_undisturbed());
        assert!(!Run { server_late_ms: 1.5, ..run }.is_undisturbed());
        assert!(!Run { server_late_ms: f64::NAN, ..run }.is_undisturbed());
    }
}
