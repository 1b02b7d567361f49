//! Is this run valid, and how far can it be trusted? Pure: facts in, verdict out.
//!
//! A run is INVALID when what was run is not what was planned. It is trusted up to the highest percentile at which the
//! generator's own lag is at most a tenth of the response, or under 50 us; what lies above is printed all the same, but
//! it is not the target's alone. Every check is in the verdict with its figure and its limit, whatever it found.

mod check;
mod lateness;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub use self::check::{Bound, Check, Finding, Unit};
pub use self::lateness::{Cause, Lateness};
use crate::errors::{ErrorKind, error_list};
use crate::gaps::{self, A2_MAX};
use crate::handshake;
use crate::observe::Observed;
use crate::record::{Kind, LAG_FLOOR_NS, Recording};
use crate::report::SeriesRow;
use crate::report::units::{Count, Ns, Percent, Percentile};
use crate::stats::stationarity;
use crate::worker::WorkerStats;

/// The percentiles at which trust is judged, ascending; 100 is the maximum.
pub const TRUST_LADDER: [f64; 11] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0];
/// The generator's lag may be this part of the response.
pub const LAG_FRACTION_MAX: f64 = 0.1;
/// How far the rate of take-ups may be off the schedule.
pub const RATE_OFF_MAX: f64 = 0.01;
/// The part of the requests that may fail before the latencies are those of a minority that was lucky.
pub const ERRORED_MAX: f64 = 0.01;
/// A worker that is busier than this in a closed loop is itself part of the latency.
pub const BUSY_FRACTION_MAX: f64 = 0.9;
/// The part of its time that a pinned worker of a closed loop may wait for its CPU: with more, others had a good part of what
/// was planned to be its own.
pub const RUN_QUEUE_FRACTION_MAX: f64 = 0.25;
/// With so much of the CPU time gone, what looks like the target's doing may be the generator's.
const TAKEN_MIN: f64 = 0.1;
/// The part of a closed loop's requests that may have been held up by the generator before that is told.
pub const HELD_UP_MAX: f64 = 0.01;

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// As planned.
    AsPlanned,
    /// By Ctrl-C or SIGTERM.
    Interrupted,
    /// Because too many arrivals waited for a connection.
    BacklogFull,
    /// By a kill or a crash: nobody was left to end it.
    CutOff,
}

/// What the connections of a population are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To ask something, again and again.
    Requests,
    /// To be held.
    Nothing,
    /// To be opened, asked on some times, and closed.
    Visits,
}

/// What a verdict is made from, of one population.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whether arrivals had intended times of their own.
    pub is_open_loop: bool,
    /// What its connections were for.
    pub usage: Usage,
    /// Arrivals per second when the load ended, as planned; `None` in a closed loop.
    pub end_rate: Option<f64>,
    /// Arrivals per second that were declared to be Poisson; `None` when they were declared to be something else.
    pub poisson_rate: Option<f64>,
    /// Arrivals that a fresh copy of the schedule has in the measured window; `None` in a closed loop.
    pub expected_arrivals: Option<u64>,
    /// Everything recorded in the measured window, by all workers.
    pub total: &'a Recording,
    /// A row an interval.
    pub rows: &'a [SeriesRow],
    /// Connections that were asked for.
    pub connections_requested: u64,
    /// Whether the workers were given CPUs of their own.
    pub is_pinned: bool,
    /// What the workers did with their time.
    pub workers: &'a [WorkerStats],
    /// What the machine did meanwhile.
    pub observed: &'a Observed,
    /// How the run ended.
    pub ended: Ended,
    /// How long it measured, and should have measured.
    pub measured_s: f64,
    /// As planned.
    pub planned_s: f64,
}

/// The judgement on a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdict {
    /// Whether what was run is what was planned.
    pub valid: bool,
    /// The highest percentile that is the target's alone; 100 is the maximum. `None` when not even the median is, or in
    /// a closed loop, which has no lag to judge by.
    pub trusted_to: Option<f64>,
    /// Why trust ends there, when it ends below the maximum.
    pub trust_ends_because: Option<String>,
    /// Where the generator's time went, when it was late.
    #[serde(default)]
    pub lateness: Option<Lateness>,
    /// Every check that applies to the run.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Why it is invalid.
    pub reasons: Vec<Finding>,
    /// What the reader should know all the same.
    pub warnings: Vec<Finding>,
}

/// Judges a run.
pub fn judge(facts: &Facts<'_>) -> Verdict {
    let trusted_to = if facts.is_open_loop { trust_limit(facts.total) } else { None };
    let checks = checks(facts, trusted_to);
    let found = |decides| {
        let checks = checks.iter().filter(move |check| check.decides == decides);
        checks.filter_map(Check::finding)
    };
    let reasons: Vec<Finding> = found(true).collect();
    let warnings = closed_loop(facts).into_iter().chain(found(false)).chain(incomplete(facts)).collect();
    let is_late = trusted_to.is_some_and(|limit| limit < 100.0)
        || reasons.iter().any(|reason| LATE.contains(&reason.check.as_str()));
    let trust_ends_because =
        trusted_to.filter(|&limit| limit < 100.0).map(|limit| why_trust_ends(facts, limit));
    Verdict {
        valid: reasons.is_empty(),
        trusted_to,
        trust_ends_because,
        lateness: is_late.then(|| lateness(facts)),
        checks,
        reasons,
        warnings,
    }
}

/// The checks that a generator fails by being late.
const LATE: [&str; 4] = ["rate", "arrival_process", "trust", "starved"];

fn checks(facts: &Facts<'_>, trusted_to: Option<f64>) -> Vec<Check> {
    let mut checks = vec![ended_early(facts)];
    if facts.usage != Usage::Nothing {
        checks.push(nothing_measured(facts));
    }
    checks.push(account(facts));
    checks.extend(rate(facts));
    checks.extend(arrival_process(facts));
    checks.extend(fell_behind(facts));
    checks.extend([never_sent(facts), errored(facts)]);
    if facts.usage == Usage::Visits {
        checks.extend(visits(facts));
    }
    checks.extend(connections(facts));
    checks.push(saturated(facts));
    checks.extend(drops(facts));
    checks.extend(untrusted_median(facts, trusted_to));
    checks.extend(closed_loop_worker(facts));
    checks.extend(stationary(facts));
    checks
}

/// The highest rung of [`TRUST_LADDER`] up to which the generator's lag is small beside the response.
pub fn trust_limit(total: &Recording) -> Option<f64> {
    let (lag, response) = (total.histogram(Kind::Lag), total.histogram(Kind::Response));
    if lag.is_empty() {
        return None;
    }
    TRUST_LADDER.into_iter().take_while(|&percentile| is_trusted_at(&lag, &response, percentile)).last()
}

fn is_trusted_at(lag: &Histogram<u64>, response: &Histogram<u64>, percentile: f64) -> bool {
    let lag_ns = lag.lowest_equivalent(lag.value_at_percentile(percentile));
    lag_ns as f64 <= lag_allowed_ns(response.value_at_percentile(percentile))
}

fn lag_allowed_ns(response_ns: u64) -> f64 {
    (response_ns as f64 * LAG_FRACTION_MAX).max(LAG_FLOOR_NS as f64)
}

fn ended_early(facts: &Facts<'_>) -> Check {
    let why = match facts.ended {
        Ended::AsPlanned => None,
        Ended::Interrupted => Some("it was interrupted"),
        Ended::BacklogFull => {
            Some("more arrivals waited for a connection than memory is kept for; lower the rate")
        }
        Ended::CutOff => Some("it was killed, or it crashed"),
    };
    let (figure, limit) = (facts.measured_s, facts.planned_s);
    let why = why.map(|why| format!("measured {figure:.1} s of {limit:.1} s: {why}"));
    Check::new("ended", "how long was measured", Unit::S, figure, (Bound::AtLeast, limit), why)
}

fn nothing_measured(facts: &Facts<'_>) -> Check {
    let account = &facts.total.account;
    let why = match (account.scheduled, account.completed) {
        (0, _) => Some(
            "not one request fell into the measured window; measure longer, or at a higher rate".to_owned(),
        ),
        (scheduled, 0) => Some(format!("not one of {} requests was answered", Count(scheduled))),
        _ => None,
    };
    let bound = (Bound::AtLeast, 1.0);
    let completed = account.completed as f64;
    Check::new("nothing_measured", "requests that were answered", Unit::Count, completed, bound, why)
}

fn account(facts: &Facts<'_>) -> Check {
    let account = &facts.total.account;
    // A run that is ended early stops at a moment that the workers hear of one after the other.
    let of_schedule = account.scheduled - facts.total.follow_ups;
    let expected = facts.expected_arrivals.filter(|_| facts.ended == Ended::AsPlanned).unwrap_or(of_schedule)
        + facts.total.follow_ups;
    let (what, figure, limit) = if account.scheduled == expected {
        ("arrivals that ended in some way, of those scheduled", account.outcomes(), account.scheduled)
    } else {
        ("arrivals scheduled, of those in the schedule", account.scheduled, expected)
    };
    let why = (figure != limit).then(|| {
        format!(
            "the account does not balance: {} arrivals in the schedule, {} scheduled, and {account:?}; this is a defect of \
             the load generator, please report it",
            Count(expected),
            Count(account.scheduled)
        )
    });
    Check::new("account", what, Unit::Count, figure as f64, (Bound::Exactly, limit as f64), why)
}

fn rate(facts: &Facts<'_>) -> Option<Check> {
    let (scheduled, of_schedule) = (facts.total.account.scheduled, facts.total.of_schedule());
    if !facts.is_open_loop || of_schedule == 0 {
        return None;
    }
    // Only what a schedule has can be late for it.
    let late = scheduled.saturating_sub(facts.total.taken_up_in_time);
    let off = late as f64 / of_schedule as f64;
    let why = (off > RATE_OFF_MAX).then(|| {
        format!(
            "the generator kept {} behind the schedule (allowed {}); {}",
            Percent(off),
            Percent(RATE_OFF_MAX),
            lateness(facts)
        )
    });
    let what = "arrivals that the generator took up too late for the measured window";
    Some(Check::new("rate", what, Unit::Fraction, off, (Bound::AtMost, RATE_OFF_MAX), why))
}

fn arrival_process(facts: &Facts<'_>) -> Option<Check> {
    // Arrivals are dealt to workers that have a connection.
    let connections = usize::try_from(facts.connections_requested).unwrap_or(usize::MAX);
    let dealt_to = facts.workers.len().min(connections);
    let tested = gaps::test(&facts.total.gaps_by_worker_ns, facts.poisson_rate?, dealt_to)?;
    let why = (tested.a2 > A2_MAX).then(|| {
        format!(
            "the arrivals were not the Poisson process that was asked for: A2 of {} gaps of a worker is {:.1} (allowed \
             {A2_MAX}, which one worker in a million exceeds by chance), because they were taken up late and in bursts; {}",
            tested.n,
            tested.a2,
            lateness(facts)
        )
    });
    let what = "distance of the gaps between arrivals, as they were taken up, from those of the Poisson process declared";
    let bound = (Bound::AtMost, A2_MAX);
    Some(Check::new("arrival_process", what, Unit::ASquared, tested.a2, bound, why))
}

/// Whether the target did the rate, or a growing queue hid that it did not: then too many arrivals were unanswered when
/// the load ended. As many as fall due within the p99 of the service time may be, because replies take their time.
fn fell_behind(facts: &Facts<'_>) -> Option<Check> {
    let (total, account) = (facts.total, &facts.total.account);
    if !facts.is_open_loop || facts.ended != Ended::AsPlanned || facts.measured_s <= 0.0 {
        return None;
    }
    let answered = total.completed_in_window + account.errored + account.timed_out;
    let unanswered = account.scheduled.saturating_sub(answered) as f64;
    let of_schedule = total.of_schedule() as f64;
    // Of a rate that changes it is the last that matters, and of visits all their requests.
    let arrivals_per_s = facts.end_rate.unwrap_or(of_schedule / facts.measured_s);
    let per_second = arrivals_per_s * account.scheduled as f64 / of_schedule.max(1.0);
    let service_s = total.histogram(Kind::Service).value_at_quantile(0.99) as f64 / 1e9;
    let limit = of_schedule * RATE_OFF_MAX + per_second * service_s;
    let why = (unanswered > limit).then(|| {
        format!(
            "the target fell behind: {unanswered:.0} of {} arrivals were unanswered when the load ended (at most {limit:.0} \
             would be in flight), so these latencies depend on the duration; lower the rate{}",
            Count(account.scheduled),
            or_the_generator(facts)
        )
    });
    let what = "arrivals unanswered when the load ended";
    Some(Check::new("fell_behind", what, Unit::Count, unanswered, (Bound::AtMost, limit), why))
}

fn never_sent(facts: &Facts<'_>) -> Check {
    let count = facts.total.account.never_sent;
    Check::none("never_sent", "arrivals that were never sent", count, || {
        format!(
            "{} arrivals were never sent: no connection was free for them; the target is slower than the rate, or the \
             connections are too few{}",
            Count(count),
            or_the_generator(facts)
        )
    })
}

/// A generator without a CPU does not read its replies either, and then its connections look busy.
fn or_the_generator(facts: &Facts<'_>) -> String {
    let lateness = lateness(facts);
    if lateness.stolen_fraction.max(lateness.run_queue_fraction) < TAKEN_MIN {
        return String::new();
    }
    format!("; or it was the generator that fell behind: {lateness}")
}

fn errored(facts: &Facts<'_>) -> Check {
    let account = &facts.total.account;
    let part = account.errored as f64 / account.scheduled.max(1) as f64;
    let why = (part > ERRORED_MAX).then(|| {
        format!(
            "{} of the requests failed (allowed {}: {}): the latencies are those of the others alone",
            Percent(part),
            Percent(ERRORED_MAX),
            error_list(&facts.total.errors)
        )
    });
    Check::new("errored", "requests that failed", Unit::Fraction, part, (Bound::AtMost, ERRORED_MAX), why)
}

/// Visits that came to nothing, or to less than they should: to the requests of the others they are few, and yet as many users.
fn visits(facts: &Facts<'_>) -> [Check; 2] {
    let total = facts.total;
    let part = |count: u64| count as f64 / total.of_schedule().max(1) as f64;
    let check = |name: &str, what: &str, count: u64, text: &str| {
        let part = part(count);
        let why = (part > ERRORED_MAX).then(|| {
            format!(
                "{} of the visits {text} (allowed {}: {})",
                Percent(part),
                Percent(ERRORED_MAX),
                error_list(&total.errors)
            )
        });
        Check::new(name, what, Unit::Fraction, part, (Bound::AtMost, ERRORED_MAX), why)
    };
    [
        check("visits_failed", "visits whose first request failed", total.visits_failed, "failed at once"),
        check(
            "visits_cut_short",
            "visits that the target ended before their last request",
            total.visits_cut_short,
            "were ended by the target before their last request: it was asked for less than was planned",
        ),
    ]
}

fn connections(facts: &Facts<'_>) -> [Check; 3] {
    let (connections, errors) = (&facts.total.connections, &facts.total.connection_errors);
    let exhausted = [ErrorKind::PortsExhausted, ErrorKind::DescriptorsExhausted];
    let exhausted = exhausted.iter().filter_map(|kind| errors.get(kind)).sum();
    [
        Check::none("connections_failed", "connections that could not be opened", connections.failed, || {
            format!(
                "{} of {} connections could not be opened ({}); see `doctor --connections {}`",
                Count(connections.failed),
                Count(facts.connections_requested),
                error_list(errors),
                facts.connections_requested
            )
        }),
        Check::none("exhausted", "attempts to connect without a port or descriptor left", exhausted, || {
            format!(
                "{} attempts to connect found no port or no descriptor left on this machine ({}); see `doctor --connections {}`",
                Count(exhausted),
                error_list(errors),
                facts.connections_requested
            )
        }),
        Check::none("connections_lost", "connections that were lost", connections.lost, || {
            format!(
                "{} connections were lost ({}): the target or the network ended them unannounced",
                Count(connections.lost),
                error_list(errors)
            )
        }),
    ]
}

fn saturated(facts: &Facts<'_>) -> Check {
    let count = facts.total.saturated;
    Check::none("saturated", "latencies beyond the range of the histograms", count, || {
        format!("{} latencies were longer than 60 s, the most that is told apart", Count(count))
    })
}

fn drops(facts: &Facts<'_>) -> [Check; 3] {
    let observed = facts.observed;
    let dropped = [
        (
            "listen_overflows",
            observed.listen_overflows,
            "connections were dropped by a full accept queue on this machine",
        ),
        (
            "softnet_dropped",
            observed.softnet_dropped,
            "packets were dropped by a full input queue on this machine",
        ),
        (
            "conntrack_dropped",
            observed.conntrack_dropped,
            "flows were dropped by connection tracking on this machine",
        ),
    ];
    dropped.map(|(name, count, what)| {
        Check::none(name, &what.replace(" were", ""), count, || {
            format!("{} {what} during the measurement; `doctor` says what to raise", Count(count))
        })
    })
}

fn untrusted_median(facts: &Facts<'_>, trusted_to: Option<f64>) -> Option<Check> {
    let [lag, response] = [Kind::Lag, Kind::Response].map(|kind| facts.total.histogram(kind));
    if !facts.is_open_loop || lag.is_empty() {
        return None;
    }
    let [lag_ns, response_ns] = [&lag, &response].map(|histogram| histogram.value_at_quantile(0.5));
    let why = trusted_to.is_none().then(|| {
        format!(
            "not even the median is the target's alone: the generator was {} late where the response is {}; {}",
            Ns(lag_ns),
            Ns(response_ns),
            lateness(facts)
        )
    });
    let figure = lag.lowest_equivalent(lag_ns) as f64;
    let bound = (Bound::AtMost, lag_allowed_ns(response_ns));
    Some(Check::new("trust", "the generator's own lateness at the median", Unit::Ns, figure, bound, why))
}

/// A closed loop has no lag to judge by; what is known is how long its workers waited for a CPU, and how busy they were. That
/// says what part of the requests may have suffered, not what part did, so it is told and does not decide. Only where the
/// plan gave the workers CPUs and they had not got them, the run was not the one that was planned.
fn closed_loop_worker(facts: &Facts<'_>) -> Vec<Check> {
    // Where nobody asked anything, nothing was held up.
    if facts.is_open_loop || facts.workers.is_empty() || facts.total.histogram(Kind::Response).is_empty() {
        return Vec::new();
    }
    let held_up = held_up(facts);
    let why = (held_up > HELD_UP_MAX).then(|| {
        format!(
            "up to {} of the requests were held up while a worker had no CPU: {}, and the throughput, are not the target's \
             alone; {}",
            Percent(held_up),
            if held_up > 0.5 { "all percentiles, also the median" } else { "the highest percentiles" },
            lateness(facts)
        )
    });
    let what = "requests in flight while a worker waited for a CPU, at the most";
    let held_up = Check::new("held_up", what, Unit::Fraction, held_up, (Bound::AtMost, HELD_UP_MAX), why);
    let busy = busiest(facts.workers);
    let why = (busy > BUSY_FRACTION_MAX).then(|| {
        format!(
            "a worker was busy {} of its time: the latencies are partly the generator's own; use more workers or \
             fewer connections",
            Percent(busy)
        )
    });
    let (what, bound) = ("time that a worker was busy", (Bound::AtMost, BUSY_FRACTION_MAX));
    let busy = Check::new("generator_busy", what, Unit::Fraction, busy, bound, why);
    let mut checks = vec![held_up.into_note(), busy.into_note()];
    if facts.is_pinned {
        let lateness = lateness(facts);
        let waited = lateness.run_queue_fraction;
        let why = (waited > RUN_QUEUE_FRACTION_MAX).then(|| {
            format!(
                "the generator was starved on CPUs that were to be its own (allowed {}): {lateness}",
                Percent(RUN_QUEUE_FRACTION_MAX)
            )
        });
        let (what, bound) =
            ("time that a worker waited for its CPU", (Bound::AtMost, RUN_QUEUE_FRACTION_MAX));
        checks.push(Check::new("starved", what, Unit::Fraction, waited, bound, why));
    }
    checks
}

/// The part of a closed loop's requests that the workers' waiting for a CPU can have held up, at the most 1. Each wait concerns
/// the requests in flight, which are no more than the worker's connections. There are no more waits than time slices, and of
/// those that matter beside the response no more than fit into all the time waited.
fn held_up(facts: &Facts<'_>) -> f64 {
    let response_ns = facts.total.histogram(Kind::Response).value_at_quantile(0.5);
    let per_worker = facts.connections_requested as f64 / facts.workers.len() as f64;
    let held_up = facts.workers.iter().map(|worker| {
        let waits =
            (worker.sched.wait_ns as f64 / lag_allowed_ns(response_ns)).min(worker.sched.slices as f64);
        // The waits were counted from the warm-up on, the requests are those of the measured window.
        let measured = (facts.measured_s * 1e9 / worker.elapsed_ns.max(1) as f64).min(1.0);
        waits * measured * per_worker
    });
    (held_up.sum::<f64>() / facts.total.account.scheduled.max(1) as f64).min(1.0)
}

/// Whether the two halves of the run are alike.
fn stationary(facts: &Facts<'_>) -> Vec<Check> {
    type Figure = fn(&SeriesRow) -> u64;
    let figures: [(&str, &str, Figure); 2] = [
        ("stationary_p50", "p50", |row| row.response_p50_ns),
        ("stationary_p99", "p99", |row| row.response_p99_ns),
    ];
    let checks = figures.into_iter().filter_map(|(name, percentile, figure)| {
        // An interval in which nothing was answered has no percentile.
        let answered = facts.rows.iter().filter(|row| row.response_max_ns > 0);
        let seconds: Vec<(f64, f64)> = answered.map(|row| (row.t_s, figure(row) as f64)).collect();
        let halves = stationarity::compare(&seconds, facts.measured_s)?;
        let change = halves.change();
        let why = (!halves.are_alike()).then(|| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "latencies of a run")]
            let [first, second] = [halves.first, halves.second].map(|ns| Ns(ns as u64));
            format!(
                "the response {percentile} went {} by {} from the first half of the run to the second ({first}, then {second}; \
                 p = {:.1e}): its figures are those of no steady state; warm up longer, or lower the load",
                if change > 0.0 { "up" } else { "down" },
                Percent(change.abs()),
                halves.p
            )
        });
        let what = format!("difference between the medians of the two halves of the response {percentile}, unless by chance");
        let bound = (Bound::AtMost, stationarity::CHANGE_MAX);
        Some(Check::new(name, &what, Unit::Fraction, change.abs(), bound, why).into_note())
    });
    checks.collect()
}

fn why_trust_ends(facts: &Facts<'_>, limit: f64) -> String {
    let next = TRUST_LADDER.into_iter().find(|&percentile| percentile > limit).unwrap_or(100.0);
    let at = |kind| Ns(facts.total.histogram(kind).value_at_percentile(next));
    format!(
        "at {} the generator itself was {} late, of a response of {}; {}",
        Percentile(next),
        at(Kind::Lag),
        at(Kind::Response),
        lateness(facts)
    )
}

fn lateness(facts: &Facts<'_>) -> Lateness {
    Lateness::of(facts.workers, facts.observed)
}

/// The part of its time that the busiest worker spent on events and sends.
pub fn busiest(workers: &[WorkerStats]) -> f64 {
    let fractions = workers.iter().map(|worker| worker.busy_ns as f64 / worker.elapsed_ns.max(1) as f64);
    fractions.fold(0.0, f64::max)
}

fn note(check: &str, figure: f64, text: String) -> Finding {
    Finding { check: check.to_owned(), figure, limit: 0.0, text }
}

fn closed_loop(facts: &Facts<'_>) -> Option<Finding> {
    let text = "closed loop: a slow target is asked less, so these latencies are not what independent users would \
                feel; use --rate for that";
    (!facts.is_open_loop && facts.usage != Usage::Nothing).then(|| note("closed_loop", 0.0, text.to_owned()))
}

/// Requests that were not answered, or wrongly.
fn incomplete(facts: &Facts<'_>) -> Vec<Finding> {
    let mut notes = Vec::new();
    let account = &facts.total.account;
    if account.errored > 0 {
        let text =
            format!("{} requests failed ({})", Count(account.errored), error_list(&facts.total.errors));
        notes.push(note("errored", account.errored as f64, text));
    }
    let censored = account.timed_out + account.in_flight_at_end + account.never_sent;
    if censored > 0 {
        let text = format!(
            "{} requests were not answered; they are in `response` at the age they had reached, which is less than what \
             their users felt",
            Count(censored)
        );
        notes.push(note("censored", censored as f64, text));
    }
    notes.extend(handshake::findings(facts.total));
    notes
}

/// Has each verdict say whose it is, in what is not the same for all of them.
pub fn name_differences(verdicts: &mut [(&str, Verdict)]) {
    let all: Vec<Verdict> = verdicts.iter().map(|(_, verdict)| verdict.clone()).collect();
    if all.len() < 2 {
        return;
    }
    for (name, verdict) in verdicts {
        for finding in verdict.reasons.iter_mut().chain(&mut verdict.warnings) {
            if !all.iter().all(|of| of.reasons.contains(finding) || of.warnings.contains(finding)) {
                finding.text = format!("{name}: {}", finding.text);
            }
        }
        for check in &mut verdict.checks {
            if !all.iter().all(|of| of.checks.contains(check)) {
                check.population = Some((*name).to_owned());
            }
        }
        if let Some(why) = &mut verdict.trust_ends_because {
            *why = format!("{name}: {why}");
        }
    }
}

/// One verdict of several, each with whether it is of an open loop: valid when all are, trusted as far as the least trusted of those
/// that have something to be trusted by.
///
/// # Panics
/// When there is no verdict: a run has at least one population.
pub fn together(verdicts: impl Iterator<Item = (bool, Verdict)>) -> Verdict {
    let merge = |(all_open, mut all): (bool, Verdict), (is_open, one): (bool, Verdict)| {
        if is_open && (!all_open || one.trusted_to < all.trusted_to) {
            all.trusted_to = one.trusted_to;
            all.trust_ends_because = one.trust_ends_because;
            all.lateness = one.lateness;
        } else {
            all.lateness = all.lateness.or(one.lateness);
        }
        all.valid &= one.valid;
        add_new(&mut all.checks, one.checks);
        add_new(&mut all.reasons, one.reasons);
        add_new(&mut all.warnings, one.warnings);
        (all_open || is_open, all)
    };
    verdicts.reduce(merge).expect("a run has a population").1
}

/// What the populations have in common is told once.
fn add_new<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_host::proc::schedstat::Schedstat;

    use super::*;
    use crate::schedule::{Arrivals, Schedule};

    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;
    const OBSERVED: Observed = Observed {
        steal_fraction: 0.0,
        listen_overflows: 0,
        listen_drops: 0,
        retransmits: 0,
        syn_retransmits: 0,
        softnet_dropped: 0,
        conntrack_dropped: 0,
        cpu_s: 1.0,
    };
    const WORKER: WorkerStats = WorkerStats {
        elapsed_ns: 1000 * MS,
        busy_ns: 100 * MS,
        sched: Schedstat { run_ns: 1000 * MS, wait_ns: 0, slices: 1 },
    };

    /// 1000 requests, answered in 100 us, taken up in 1 us; with changes.
    fn good() -> Recording {
        let mut total = Recording::new();
        for _ in 0..1000 {
            total.record(Kind::Response, 100 * US);
            total.record(Kind::Lag, US);
        }
        total.account.scheduled = 1000;
        total.account.completed = 1000;
        total.taken_up_in_time = 1000;
        total.completed_in_window = 1000;
        total.connections.opened = 10;
        total
    }

    fn facts<'a>(total: &'a Recording, observed: &'a Observed, workers: &'a [WorkerStats]) -> Facts<'a> {
        Facts {
            is_open_loop: true,
            usage: Usage::Requests,
            end_rate: None,
            poisson_rate: None,
            expected_arrivals: Some(1000),
            total,
            rows: &[],
            connections_requested: 10,
            is_pinned: false,
            workers,
            observed,
            ended: Ended::AsPlanned,
            measured_s: 1.0,
            planned_s: 1.0,
        }
    }

    fn reasons_of(total: &Recording) -> Vec<String> {
        let verdict = judge(&facts(total, &OBSERVED, &[WORKER]));
        assert_eq!(verdict.valid, verdict.reasons.is_empty());
        verdict.reasons.into_iter().map(|reason| reason.check).collect()
    }

    #[test]
    fn a_good_run_is_valid_and_trusted_to_the_maximum() {
        let verdict = judge(&facts(&good(), &OBSERVED, &[WORKER]));
        assert_eq!(
            (verdict.valid, verdict.trusted_to, verdict.trust_ends_because),
            (true, Some(100.0), None)
        );
        assert_eq!((verdict.reasons, verdict.warnings), (vec![], vec![]));
    }

    fn holds(check: &Check) -> bool {
        match check.bound {
            Bound::AtMost => check.figure <= check.limit,
            Bound::AtLeast => check.figure >= check.limit,
            Bound::Exactly => check.figure.to_bits() == check.limit.to_bits(),
        }
    }

    #[test]
    fn every_check_is_told_also_when_it_is_kept() {
        let mut total = good();
        let gaps = Schedule::new(Arrivals::Poisson { rate: 1000.0 }, 1, 0)
            .unwrap()
            .scan(0, |last, at_ns| Some(at_ns - std::mem::replace(last, at_ns)))
            .take(200);
        total.gaps_by_worker_ns = vec![gaps.collect()];
        let rows: Vec<SeriesRow> = (1..=10).map(|second| row(second, 100 * US)).collect();
        let long = Facts {
            poisson_rate: Some(1000.0),
            rows: &rows,
            measured_s: 10.0,
            planned_s: 10.0,
            ..facts(&total, &OBSERVED, &[WORKER])
        };
        let verdict = judge(&long);
        let names: Vec<&str> = verdict.checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "ended",
                "nothing_measured",
                "account",
                "rate",
                "arrival_process",
                "fell_behind",
                "never_sent",
                "errored",
                "connections_failed",
                "exhausted",
                "connections_lost",
                "saturated",
                "listen_overflows",
                "softnet_dropped",
                "conntrack_dropped",
                "trust",
                "stationary_p50",
                "stationary_p99",
            ]
        );
        assert!(verdict.checks.iter().all(|check| check.ok && check.why.is_none() && holds(check)));
        assert!(verdict.valid && verdict.lateness.is_none());
    }

    #[test]
    fn every_defect_is_a_reason() {
        type Defect = fn(&mut Recording);
        let defects: [(&str, Defect); 8] = [
            ("account", |total| total.account.completed -= 1),
            ("account", |total| (total.account.scheduled, total.account.completed) = (999, 999)),
            ("rate", |total| total.taken_up_in_time = 989),
            ("never_sent", |total| (total.account.completed, total.account.never_sent) = (999, 1)),
            ("connections_failed", |total| total.connections.failed = 1),
            ("exhausted", |total| total.connection_error(ErrorKind::PortsExhausted)),
            ("connections_lost", |total| total.connections.lost = 1),
            ("saturated", |total| total.saturated = 1),
        ];
        for (check, defect) in defects {
            let mut total = good();
            defect(&mut total);
            assert_eq!(reasons_of(&total), [check]);
            let checks = judge(&facts(&total, &OBSERVED, &[WORKER])).checks;
            assert!(checks.iter().all(|check| check.ok == holds(check)), "{checks:?}");
        }
    }

    #[test]
    fn arrivals_in_bursts_are_not_the_process_that_was_declared() {
        let mut total = good();
        // Ten at once, and then nothing for as long as ten take.
        let gaps = (0..200).map(|index| if index % 10 == 0 { 9_910 * US } else { 10 * US });
        total.gaps_by_worker_ns = vec![gaps.collect()];
        let starved = WorkerStats { sched: Schedstat { wait_ns: 300 * MS, ..WORKER.sched }, ..WORKER };
        let declared = |poisson_rate| {
            let workers = [starved];
            let verdict = judge(&Facts { poisson_rate, ..facts(&total, &OBSERVED, &workers) });
            verdict.reasons.into_iter().map(|reason| reason.text).collect::<Vec<_>>()
        };
        assert_eq!(declared(None), [""; 0]);
        insta::assert_snapshot!(declared(Some(1000.0)).join("\n"));
    }

    fn row(second: u32, p50_ns: u64) -> SeriesRow {
        let [p50, p99, max] = [p50_ns, 2 * p50_ns, 3 * p50_ns];
        SeriesRow {
            t_s: f64::from(second),
            response_p50_ns: p50,
            response_p99_ns: p99,
            response_max_ns: max,
            ..SeriesRow::default()
        }
    }

    #[test]
    fn a_run_that_gets_slower_is_told_and_stays_valid() {
        let total = good();
        let rows: Vec<SeriesRow> = (1..=20).map(|second| row(second, u64::from(second) * 10 * US)).collect();
        let slower =
            Facts { rows: &rows, measured_s: 20.0, planned_s: 20.0, ..facts(&total, &OBSERVED, &[WORKER]) };
        let verdict = judge(&slower);
        assert!(verdict.valid);
        let texts: Vec<&str> = verdict.warnings.iter().map(|warning| warning.text.as_str()).collect();
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn a_closed_loop_that_has_not_got_the_cpus_of_its_plan_is_invalid() {
        let total = good();
        let judged = |wait_ns, is_pinned| {
            let workers = [WORKER, WorkerStats { sched: Schedstat { wait_ns, ..WORKER.sched }, ..WORKER }];
            let facts = facts(&total, &OBSERVED, &workers);
            judge(&Facts { is_open_loop: false, expected_arrivals: None, is_pinned, ..facts })
        };
        assert!(judged(500 * MS, false).valid && judged(250 * MS, true).valid);
        let starved = judged(500 * MS, true);
        assert_eq!(starved.lateness.unwrap().cause, Cause::RunQueue);
        let texts: Vec<&str> = starved.reasons.iter().map(|reason| reason.text.as_str()).collect();
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn a_target_is_not_blamed_alone_beside_a_generator_without_a_cpu() {
        let mut total = good();
        (total.completed_in_window, total.account.completed, total.account.never_sent) = (900, 990, 10);
        let starved = WorkerStats { sched: Schedstat { wait_ns: 300 * MS, ..WORKER.sched }, ..WORKER };
        for (worker, is_blamed_alone) in [(WORKER, true), (starved, false)] {
            let verdict = judge(&facts(&total, &OBSERVED, &[worker]));
            let checks: Vec<&str> = verdict.reasons.iter().map(|reason| reason.check.as_str()).collect();
            assert_eq!(checks, ["fell_behind", "never_sent"]);
            for reason in &verdict.reasons {
                assert_eq!(!reason.text.contains("or it was the generator"), is_blamed_alone, "{reason:?}");
            }
        }
    }

    #[test]
    fn a_closed_loop_tells_what_waiting_for_a_cpu_may_have_held_up() {
        let total = good();
        let judged = |wait_ns, slices| {
            let sched = Schedstat { wait_ns, slices, ..WORKER.sched };
            let workers = [WORKER, WorkerStats { sched, ..WORKER }];
            let facts = facts(&total, &OBSERVED, &workers);
            let verdict = judge(&Facts { is_open_loop: false, expected_arrivals: None, ..facts });
            let check = verdict.checks.into_iter().find(|check| check.name == "held_up").unwrap();
            assert!(verdict.valid && !check.decides && check.ok == (check.figure <= HELD_UP_MAX));
            check
        };
        // Of ten connections on two workers five wait at a time: a hundred times makes half of the 1,000 requests.
        let (half, all) = (judged(500 * MS, 100), judged(500 * MS, 1000));
        assert_eq!((half.figure.to_bits(), all.figure.to_bits()), (0.5_f64.to_bits(), 1.0_f64.to_bits()));
        // Very many waits, but only two of them can have been long enough to matter.
        assert!(judged(100 * US, 1_000_000).ok);
        assert!(judged(0, 1_000_000).ok);
        insta::assert_snapshot!([half.why.unwrap(), all.why.unwrap()].join("\n"));
    }

    #[test]
    fn a_run_that_measured_nothing_is_invalid() {
        let mut total = good();
        (total.account.completed, total.account.errored) = (0, 1000);
        assert_eq!(reasons_of(&total), ["nothing_measured", "errored"]);
        let empty = Recording::new();
        let facts = Facts { is_open_loop: false, expected_arrivals: None, ..facts(&empty, &OBSERVED, &[]) };
        assert_eq!(judge(&facts).reasons[0].check, "nothing_measured");
    }

    #[test]
    fn a_rate_that_is_off_by_less_than_a_hundredth_is_no_reason() {
        let mut total = good();
        total.taken_up_in_time = 990;
        assert_eq!(reasons_of(&total), [""; 0]);
    }

    #[test]
    fn a_target_that_falls_behind_makes_the_run_invalid() {
        let mut total = good();
        // A hundredth may be unanswered, and what falls due in the p99 of the service time: 20 ms at 1,000/s.
        total.record(Kind::Service, 20 * MS);
        total.completed_in_window = 971;
        assert_eq!(reasons_of(&total), [""; 0]);
        total.completed_in_window = 969;
        assert_eq!(reasons_of(&total), ["fell_behind"]);
        // What failed was answered, in its way.
        (total.account.completed, total.account.errored) = (998, 2);
        assert_eq!(reasons_of(&total), [""; 0]);
    }

    #[test]
    fn a_run_of_which_too_much_failed_is_invalid() {
        let mut total = good();
        (total.account.completed, total.account.errored) = (990, 10);
        assert_eq!(reasons_of(&total), [""; 0]);
        (total.account.completed, total.account.errored) = (989, 11);
        assert_eq!(reasons_of(&total), ["errored"]);
    }

    #[test]
    fn drops_of_the_machine_are_reasons() {
        let observed = Observed { listen_overflows: 1, softnet_dropped: 2, conntrack_dropped: 3, ..OBSERVED };
        let verdict = judge(&facts(&good(), &observed, &[WORKER]));
        let figures: Vec<f64> = verdict.reasons.iter().map(|reason| reason.figure).collect();
        assert_eq!(figures, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn trust_ends_where_lag_is_more_than_a_tenth_of_the_response() {
        // 2 % of the arrivals were taken up 200 us late, and so answered 300 us after they were due.
        let mut total = good();
        for _ in 0..20 {
            total.record(Kind::Response, 300 * US);
            total.record(Kind::Lag, 200 * US);
        }
        let observed = Observed { steal_fraction: 0.02, ..OBSERVED };
        let busy = WorkerStats {
            busy_ns: 950 * MS,
            sched: Schedstat { wait_ns: 50 * MS, ..WORKER.sched },
            ..WORKER
        };
        let verdict = judge(&facts(&total, &observed, &[WORKER, busy]));
        assert_eq!((verdict.valid, verdict.trusted_to), (true, Some(95.0)));
        insta::assert_snapshot!(verdict.trust_ends_because.unwrap());
    }

    #[test]
    fn lag_that_a_wake_up_costs_is_trusted() {
        let mut total = Recording::new();
        total.record(Kind::Response, 60 * US);
        total.record(Kind::Lag, 50 * US);
        assert_eq!(trust_limit(&total), Some(100.0));
        total.record(Kind::Response, 60 * US);
        total.record(Kind::Lag, 51 * US);
        assert_eq!(trust_limit(&total), Some(50.0));
    }

    #[test]
    fn a_run_whose_median_is_the_generators_is_invalid() {
        let mut total = good();
        for _ in 0..1001 {
            total.record(Kind::Response, 300 * US);
            total.record(Kind::Lag, 200 * US);
        }
        assert_eq!(reasons_of(&total), ["trust"]);
    }

    #[test]
    fn a_closed_loop_says_so_and_is_not_judged_by_lag() {
        let (total, observed) = (good(), OBSERVED);
        let busy = WorkerStats { busy_ns: 950 * MS, ..WORKER };
        let facts = Facts { is_open_loop: false, expected_arrivals: None, ..facts(&total, &observed, &[]) };
        let verdict = judge(&Facts { workers: &[busy], ..facts });
        let warnings: Vec<&str> = verdict.warnings.iter().map(|warning| warning.check.as_str()).collect();
        assert_eq!((verdict.valid, verdict.trusted_to), (true, None));
        assert_eq!(warnings, ["closed_loop", "generator_busy"]);
    }

    #[test]
    fn an_early_end_is_a_reason_and_the_account_is_not() {
        let total = good();
        let ended = Facts {
            ended: Ended::Interrupted,
            measured_s: 0.5,
            expected_arrivals: Some(1002),
            ..facts(&total, &OBSERVED, &[])
        };
        let verdict = judge(&ended);
        assert_eq!(verdict.reasons.len(), 1);
        assert_eq!(verdict.reasons[0].text, "measured 0.5 s of 1.0 s: it was interrupted");
    }

    #[test]
    fn failed_and_unanswered_requests_are_told() {
        let mut total = good();
        total.account.completed = 997;
        total.account.errored = 2;
        total.account.timed_out = 1;
        total.errors.insert(ErrorKind::Status(503), 2);
        let verdict = judge(&facts(&total, &OBSERVED, &[WORKER]));
        assert!(verdict.valid);
        let texts: Vec<&str> = verdict.warnings.iter().map(|warning| warning.text.as_str()).collect();
        assert!(texts[0].contains("2 requests failed (status_503 2)"), "{texts:?}");
        assert!(texts[1].contains("1 requests were not answered"), "{texts:?}");
    }

    #[test]
    fn several_populations_are_judged_by_the_least() {
        let verdict = judge(&facts(&good(), &OBSERVED, &[WORKER]));
        let worse = Verdict { valid: false, trusted_to: Some(95.0), ..verdict.clone() };
        let together = together([verdict, worse].into_iter().map(|verdict| (true, verdict)));
        assert_eq!((together.valid, together.trusted_to), (false, Some(95.0)));
    }

    #[test]
    fn what_differs_says_whose_it_is() {
        let of = |text: &str| Verdict {
            reasons: vec![note("rate", 1.0, text.to_owned()), note("ended", 1.0, "it was".to_owned())],
            ..judge(&facts(&good(), &OBSERVED, &[WORKER]))
        };
        let mut verdicts = [("one", of("late")), ("other", of("later"))];
        name_differences(&mut verdicts);
        let texts =
            |verdict: &Verdict| verdict.reasons.iter().map(|reason| reason.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&verdicts[0].1), ["one: late", "it was"]);
        assert_eq!(texts(&verdicts[1].1), ["other: later", "it was"]);
        let mut alone = [("one", of("late"))];
        name_differences(&mut alone);
        assert_eq!(texts(&alone[0].1), ["late", "it was"]);
    }

    /// A run of 1,000 visits of 100 requests.
    fn visited(change: impl FnOnce(&mut Recording)) -> Verdict {
        let mut total = good();
        let account = &mut total.account;
        account.scheduled = 100_000;
        account.completed = 100_000;
        (total.follow_ups, total.completed_in_window) = (99_000, 100_000);
        total.taken_up_in_time = 100_000;
        change(&mut total);
        judge(&Facts {
            usage: Usage::Visits,
            expected_arrivals: Some(1000),
            ..facts(&total, &OBSERVED, &[WORKER])
        })
    }

    #[test]
    fn visits_are_judged_by_their_number_and_not_by_that_of_their_requests() {
        assert_eq!(visited(|_| {}).reasons, []);
        let reasons = |change: fn(&mut Recording)| {
            visited(change).reasons.iter().map(|reason| reason.check.clone()).collect::<Vec<_>>()
        };
        // Half of the visitors are turned away, and these are half of a percent of the requests.
        let failed = |total: &mut Recording| {
            (total.account.completed, total.account.errored) = (99_500, 500);
            total.visits_failed = 500;
        };
        assert_eq!(reasons(failed), ["visits_failed"]);
        assert_eq!(reasons(|total| total.visits_cut_short = 11), ["visits_cut_short"]);
        assert_eq!(reasons(|total| total.taken_up_in_time -= 11), ["rate"]);
    }

    #[test]
    fn what_is_in_flight_at_the_end_of_a_ramp_follows_from_its_last_rate() {
        let mut total = good();
        let account = &mut total.account;
        account.in_flight_at_end = 150;
        account.completed -= 150;
        total.completed_in_window -= 150;
        (0..1000).for_each(|_| total.record(Kind::Service, 100_000_000));
        let names = |end_rate| {
            let facts =
                Facts { end_rate, measured_s: 1.0, planned_s: 1.0, ..facts(&total, &OBSERVED, &[WORKER]) };
            judge(&facts).reasons.iter().map(|reason| reason.check.clone()).collect::<Vec<_>>()
        };
        // 1,000 arrivals in a second that ends at 2,000 a second: 200 of 100 ms are in flight.
        assert!(names(Some(1000.0)).contains(&"fell_behind".to_owned()));
        assert!(!names(Some(2000.0)).contains(&"fell_behind".to_owned()));
    }

    #[test]
    fn one_that_only_holds_connections_takes_no_trust_from_the_others() {
        let empty = Recording::new();
        let idle = Facts {
            is_open_loop: false,
            usage: Usage::Nothing,
            expected_arrivals: None,
            ..facts(&empty, &OBSERVED, &[])
        };
        let idle = judge(&idle);
        assert!(idle.valid && idle.warnings.is_empty(), "{idle:?}");
        let busy = judge(&facts(&good(), &OBSERVED, &[WORKER]));
        let limit = busy.trusted_to;
        assert!(limit.is_some());
        for both in [[(false, idle.clone()), (true, busy.clone())], [(true, busy), (false, idle)]] {
            assert_eq!(together(both.into_iter()).trusted_to, limit);
        }
    }
}
