//! `pacing`: how late the load generator itself takes up what is due, over all seconds and over those in which nobody took its CPU
//! away.
//!
//! The load generator judges its lateness over the whole run ([trust limit](tidemark_loadgen::verdict)). Here its histograms of
//! lag are merged anew, second by second, so that what the machine did can be told from what the program does. Which
//! seconds are left out is decided by counters of the kernel alone, never by the lag in them.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::Serialize;
use tidemark_host::cpu::{self, CpuSet};
use tidemark_loadgen::record::latency_histogram;
use tidemark_loadgen::report::Report;
use tidemark_program::Exit;

use crate::allowed::{Allowed, Apart};
use crate::cli::PacingArgs;
use crate::disturbance::{self, Reading, Taken};
use crate::error::MeasureError;
use crate::interval_log;
use crate::loadgen::{Arrivals, Load, Target};
use crate::results;
use crate::server::{Options, Server};
use crate::session::Session;

/// The most that the median may be.
const P50_MAX_US: f64 = 2.0;

/// The most that p99 may be, where nobody took the CPU away.
const P99_MAX_US: f64 = 50.0;

/// A second in which others took the CPU for longer than this is disturbed. It is a thousandth, which is where the load generator
/// names a cause, and cannot move a p99 by itself; being put on the CPU at every wake-up takes a part of it.
const TAKEN_MAX_MS: f64 = 1.0;

const WARMUP: Duration = Duration::from_secs(1);

/// How often the counters are read: the finer, the fewer seconds are left out for what was taken in their neighbours.
const READ_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize)]
struct Figures {
    p50_max_us: f64,
    p99_max_us: f64,
    taken_max_ms: f64,
    rate: f64,
    connections: u64,
    valid: bool,
    /// The percentile up to which the load generator trusts the whole run.
    trusted_to: Option<f64>,
    trust_ends_because: Option<String>,
    all: Lag,
    undisturbed: Lag,
    seconds: Vec<Second>,
}

/// How late requests were taken up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Lag {
    seconds: usize,
    requests: u64,
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    max_us: f64,
}

/// One second of the run.
#[derive(Clone, Copy, Debug, Serialize)]
struct Second {
    /// Unknown where the counters were not read.
    taken: Option<Taken>,
    lag: Lag,
}

impl Lag {
    /// Of these seconds together: counts are added, percentiles never.
    fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram<u64>>) -> Self {
        let (mut sum, mut seconds) = (latency_histogram(), 0);
        sum.auto(true);
        for histogram in histograms {
            seconds += 1;
            sum.add(histogram).expect("a histogram that resizes itself takes any other");
        }
        let us = |ns: u64| ns as f64 / 1e3;
        Self {
            seconds,
            requests: sum.len(),
            p50_us: us(sum.value_at_quantile(0.5)),
            p99_us: us(sum.value_at_quantile(0.99)),
            p99_9_us: us(sum.value_at_quantile(0.999)),
            max_us: us(sum.max()),
        }
    }
}

fn is_undisturbed(taken: Option<Taken>) -> bool {
    taken.is_some_and(|taken| taken.stolen_ms.max(taken.waited_ms) <= TAKEN_MAX_MS)
}

/// Runs it.
///
/// # Errors
/// When it could not run, also where there is only one CPU.
pub fn run(session: &Session, args: &PacingArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let apart = allowed.apart().ok_or_else(|| {
        MeasureError::Host(
            "pacing needs two CPUs, one for the server and one for the load generator".to_owned(),
        )
    })?;
    let server = Server::start(session, Options { cpu: Some(apart.server), ..Options::default() })?;
    session.say(format_args!(
        "{} echoes per second (Poisson) over {} connections for {}; server on CPU {}, load generator on CPU {}",
        args.rate,
        args.connections,
        humantime::format_duration(args.duration),
        apart.server,
        apart.client
    ));
    let load = Load {
        target: Target::Echo(server.echo),
        connections: args.connections,
        pipeline: 1,
        arrivals: Arrivals::Poisson(args.rate),
        warmup: Some(WARMUP),
        duration: args.duration,
        interval: None,
        cpu: Some(apart.client),
        output: session.results.join("pacing"),
    };
    let (report, readings) = watch(session, &load, &allowed, apart)?;
    server.stop();
    let figures = figures(session, args, &report, &readings)?;
    say(session, &figures);
    results::keep(session, "pacing", &figures)?;
    Ok(judge(&figures))
}

/// Runs the load and reads the counters meanwhile, on the server's CPU.
fn watch(
    session: &Session,
    load: &Load,
    allowed: &Allowed,
    apart: Apart,
) -> Result<(Report, Vec<Reading>), MeasureError> {
    let mut running = load.start(session)?;
    // Only now: what is started inherits the CPUs of this thread.
    let on_cpus = |cpus: &CpuSet| cpu::pin(cpus).map_err(MeasureError::io("pin this thread"));
    let one = CpuSet::new([apart.server]).map_err(io::Error::other);
    on_cpus(&one.map_err(MeasureError::io("pin this thread"))?)?;
    let mut readings = Vec::new();
    let status = loop {
        if let Some(status) = running.wait(&session.interrupt, Some(READ_EVERY))? {
            break status;
        }
        // There is none before its threads are there and while it ends; seconds without are not known.
        readings.extend(Reading::take(running.pid(), Some(apart.client)).ok());
    };
    on_cpus(&allowed.cpus)?;
    if readings.is_empty() {
        return Err(MeasureError::Host("the load generator's threads cannot be read in /proc".to_owned()));
    }
    Ok((running.report(status)?, readings))
}

fn figures(
    session: &Session,
    args: &PacingArgs,
    report: &Report,
    readings: &[Reading],
) -> Result<Figures, MeasureError> {
    let path = session.results.join("pacing").join(&report.run.id).join("latency.hlog");
    let unreadable = || MeasureError::io(format!("read {}", path.display()));
    let log = fs::read(&path).map_err(unreadable())?;
    let population = report.populations.first().map_or("", |population| &population.name);
    let seconds = interval_log::seconds(&log, &format!("{population}.lag"), WARMUP)
        .map_err(io::Error::other)
        .map_err(unreadable())?;
    let begin: SystemTime = humantime::parse_rfc3339(&report.run.started_at)
        .map_err(io::Error::other)
        .map_err(MeasureError::io("read when the measurement began"))?;
    let count = seconds.iter().map(|(second, _)| second + 1).max().unwrap_or(0);
    let taken = disturbance::by_second(readings, begin, count);
    let seconds: Vec<(Option<Taken>, &Histogram<u64>)> =
        seconds.iter().map(|(second, histogram)| (taken[*second], histogram)).collect();
    Ok(Figures {
        p50_max_us: P50_MAX_US,
        p99_max_us: P99_MAX_US,
        taken_max_ms: TAKEN_MAX_MS,
        rate: args.rate,
        connections: args.connections,
        valid: report.verdict.valid,
        trusted_to: report.verdict.trusted_to,
        trust_ends_because: report.verdict.trust_ends_because.clone(),
        all: Lag::of(seconds.iter().map(|(_, lag)| *lag)),
        undisturbed: Lag::of(seconds.iter().filter(|(taken, _)| is_undisturbed(*taken)).map(|(_, lag)| *lag)),
        seconds: seconds.iter().map(|&(taken, lag)| Second { taken, lag: Lag::of([lag]) }).collect(),
    })
}

fn say(session: &Session, figures: &Figures) {
    session.say("  lag                         seconds   requests    p50 us    p99 us  p99.9 us    max us");
    for (name, lag) in [("all", &figures.all), ("nobody took the CPU away", &figures.undisturbed)] {
        session.say(format_args!(
            "  {name:<26}{:>9}{:>11}{:>10.2}{:>10.2}{:>10.2}{:>10.1}",
            lag.seconds, lag.requests, lag.p50_us, lag.p99_us, lag.p99_9_us, lag.max_us
        ));
    }
    let taken = figures.seconds.iter().filter_map(|second| second.taken);
    let (stolen_ms, waited_ms) = taken
        .fold((0.0, 0.0), |(stolen, waited), taken| (stolen + taken.stolen_ms, waited + taken.waited_ms));
    session.say(format_args!(
        "taken away: {stolen_ms:.0} ms by the hypervisor, {waited_ms:.1} ms by other programs; more than {TAKEN_MAX_MS} ms disturbs a second"
    ));
    let trust = match (&figures.trusted_to, &figures.trust_ends_because) {
        (Some(to), Some(why)) => format!("trusts its run up to p{to}: {why}"),
        (Some(_), None) => "trusts its run up to the maximum".to_owned(),
        (None, _) => "does not trust its run".to_owned(),
    };
    session.say(format_args!("the load generator {trust}"));
    let p99 = if figures.undisturbed.requests == 0 { CANNOT_BE_TOLD } else { word(is_p99_met(figures)) };
    session.say(format_args!(
        "p50 of all under {P50_MAX_US} us: {}; p99 where nobody took the CPU away under {P99_MAX_US} us: {p99}",
        word(figures.all.p50_us < P50_MAX_US),
    ));
}

const CANNOT_BE_TOLD: &str = "cannot be told, others had the CPU; run it again";

const fn word(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

fn is_p99_met(figures: &Figures) -> bool {
    figures.undisturbed.p99_us < P99_MAX_US
}

/// A median that is too high only in disturbed seconds is the machine's, and without any other second nothing can be told.
fn judge(figures: &Figures) -> Exit {
    let Figures { all, undisturbed, .. } = figures;
    if undisturbed.requests == 0 || !figures.valid {
        return Exit::NotTrustworthy;
    }
    if undisturbed.p50_us >= P50_MAX_US || !is_p99_met(figures) {
        return Exit::JudgedBad;
    }
    if all.p50_us < P50_MAX_US { Exit::Good } else { Exit::NotTrustworthy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_merged_by_their_counts() {
        let second = |value_us: u64, count: u64| {
            let mut histogram = latency_histogram();
            histogram.record_n(value_us * 1000, count).unwrap();
            histogram
        };
        let (fast, slow) = (second(1, 9_890), second(80, 110));
        let both = Lag::of([&fast, &slow]);
        assert_eq!((both.seconds, both.requests), (2, 10_000));
        // An average of the two would be 40 us.
        assert!((both.p50_us - 1.0).abs() < 0.01 && (both.p99_us - 80.0).abs() < 0.1, "{both:?}");
        assert!(Lag::of([&fast]).p99_us < 1.01);
        assert_eq!(Lag::of([]).requests, 0);
    }

    #[test]
    fn a_second_is_left_out_by_what_was_taken_alone() {
        let taken = |stolen_ms, waited_ms| Some(Taken { stolen_ms, waited_ms });
        assert!(is_undisturbed(taken(0.0, 0.9)));
        assert!(!is_undisturbed(taken(10.0, 0.0)));
        assert!(!is_undisturbed(taken(0.0, 1.1)));
        assert!(!is_undisturbed(None));
    }

    fn lag(p50_us: f64, p99_us: f64) -> Lag {
        Lag { seconds: 1, requests: 10_000, p50_us, p99_us, p99_9_us: 100.0, max_us: 100.0 }
    }

    fn figures_of(all: Lag, undisturbed: Lag) -> Figures {
        Figures {
            p50_max_us: P50_MAX_US,
            p99_max_us: P99_MAX_US,
            taken_max_ms: TAKEN_MAX_MS,
            rate: 10_000.0,
            connections: 100,
            valid: true,
            trusted_to: Some(99.0),
            trust_ends_because: None,
            all,
            undisturbed,
            seconds: Vec::new(),
        }
    }

    #[test]
    fn p99_is_judged_only_where_nobody_took_the_cpu_away() {
        let judge = |all, undisturbed| judge(&figures_of(all, undisturbed));
        assert_eq!(judge(lag(1.0, 900.0), lag(1.0, 20.0)), Exit::Good);
        assert_eq!(judge(lag(1.0, 900.0), lag(1.0, 51.0)), Exit::JudgedBad);
        assert_eq!(judge(lag(2.5, 900.0), lag(2.1, 20.0)), Exit::JudgedBad);
        assert_eq!(judge(lag(2.5, 900.0), lag(1.0, 20.0)), Exit::NotTrustworthy);
        assert_eq!(judge(lag(1.0, 20.0), Lag { requests: 0, ..lag(0.0, 0.0) }), Exit::NotTrustworthy);
    }

    #[test]
    fn a_run_that_is_not_valid_is_not_judged() {
        let figures = Figures { valid: false, ..figures_of(lag(1.0, 20.0), lag(1.0, 20.0)) };
        assert_eq!(judge(&figures), Exit::NotTrustworthy);
    }
}
