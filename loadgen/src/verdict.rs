//! Is this run valid, and how far can it be trusted? Pure: facts in, verdict out.
//!
//! A run is INVALID when what was run is not what was planned. It is trusted up to the highest percentile at which the
//! generator's own lag is at most a tenth of the response, or under 50 us; what lies above is printed all the same, but
//! it is not the target's alone.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::errors::error_list;
use crate::observe::{Observed, run_queue_fraction};
use crate::record::{Kind, Recording};
use crate::report::units::{Count, Ns, Percent, Percentile};
use crate::worker::WorkerStats;

/// The percentiles at which trust is judged, ascending; 100 is the maximum.
pub const TRUST_LADDER: [f64; 11] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0];
/// The generator's lag may be this part of the response.
pub const LAG_FRACTION_MAX: f64 = 0.1;
/// Lag below this is trusted whatever the response: it is what a wake-up costs.
pub const LAG_FLOOR_NS: u64 = 50_000;
/// How far the rate of take-ups may be off the schedule.
pub const RATE_OFF_MAX: f64 = 0.01;
/// The part of the requests that may fail before the latencies are those of a minority that was lucky.
pub const ERRORED_MAX: f64 = 0.01;
/// A worker that is busier than this in a closed loop is itself part of the latency.
pub const BUSY_FRACTION_MAX: f64 = 0.9;
/// Stolen or waited-for CPU beyond this part is named as a cause of lateness.
const CAUSE_FRACTION_MIN: f64 = 0.001;

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

/// What a verdict is made from, of one population.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whether arrivals had intended times of their own.
    pub is_open_loop: bool,
    /// Arrivals that a fresh copy of the schedule has in the measured window; `None` in a closed loop.
    pub expected_arrivals: Option<u64>,
    /// Everything recorded in the measured window, by all workers.
    pub total: &'a Recording,
    /// Connections that were asked for.
    pub connections_requested: u64,
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

/// One thing that was checked and found wanting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// Which check.
    pub check: String,
    /// What it found.
    pub figure: f64,
    /// What it allows.
    pub limit: f64,
    /// Both in a sentence, with what to do.
    pub text: String,
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
    /// Why it is invalid.
    pub reasons: Vec<Finding>,
    /// What the reader should know all the same.
    pub warnings: Vec<Finding>,
}

/// Judges a run.
pub fn judge(facts: &Facts<'_>) -> Verdict {
    let trusted_to = if facts.is_open_loop { trust_limit(facts.total) } else { None };
    let mut reasons = Vec::new();
    reasons.extend(ended_early(facts));
    reasons.extend(nothing_measured(facts));
    reasons.extend(account(facts));
    reasons.extend(rate(facts));
    reasons.extend(fell_behind(facts));
    reasons.extend(never_sent(facts));
    reasons.extend(errored(facts));
    reasons.extend(connections(facts));
    reasons.extend(saturated(facts));
    reasons.extend(drops(facts));
    reasons.extend(untrusted_median(facts, trusted_to));
    let trust_ends_because =
        trusted_to.filter(|&limit| limit < 100.0).map(|limit| why_trust_ends(facts, limit));
    Verdict { valid: reasons.is_empty(), trusted_to, trust_ends_because, reasons, warnings: warnings(facts) }
}

/// The highest rung of [`TRUST_LADDER`] up to which the generator's lag is small beside the response.
pub fn trust_limit(total: &Recording) -> Option<f64> {
    let (lag, response) = (total.histogram(Kind::Lag), total.histogram(Kind::Response));
    if lag.is_empty() {
        return None;
    }
    TRUST_LADDER.into_iter().take_while(|&percentile| is_trusted_at(lag, response, percentile)).last()
}

fn is_trusted_at(lag: &Histogram<u64>, response: &Histogram<u64>, percentile: f64) -> bool {
    let lag_ns = lag.lowest_equivalent(lag.value_at_percentile(percentile));
    let allowed_ns = response.value_at_percentile(percentile) as f64 * LAG_FRACTION_MAX;
    lag_ns <= LAG_FLOOR_NS || lag_ns as f64 <= allowed_ns
}

fn finding(check: &str, figure: f64, limit: f64, text: String) -> Finding {
    Finding { check: check.to_owned(), figure, limit, text }
}

fn ended_early(facts: &Facts<'_>) -> Option<Finding> {
    let why = match facts.ended {
        Ended::AsPlanned => return None,
        Ended::Interrupted => "it was interrupted",
        Ended::BacklogFull => "more arrivals waited for a connection than memory is kept for; lower the rate",
        Ended::CutOff => "it was killed, or it crashed",
    };
    let text = format!("measured {:.1} s of {:.1} s: {why}", facts.measured_s, facts.planned_s);
    Some(finding("ended", facts.measured_s, facts.planned_s, text))
}

fn nothing_measured(facts: &Facts<'_>) -> Option<Finding> {
    let account = &facts.total.account;
    let text = match (account.scheduled, account.completed) {
        (0, _) => {
            "not one request fell into the measured window; measure longer, or at a higher rate".to_owned()
        }
        (scheduled, 0) => format!("not one of {} requests was answered", Count(scheduled)),
        _ => return None,
    };
    Some(finding("nothing_measured", account.completed as f64, 1.0, text))
}

fn account(facts: &Facts<'_>) -> Option<Finding> {
    let account = &facts.total.account;
    // A run that is ended early stops at a moment that the workers hear of one after the other.
    let expected =
        facts.expected_arrivals.filter(|_| facts.ended == Ended::AsPlanned).unwrap_or(account.scheduled);
    if account.balances() && account.scheduled == expected {
        return None;
    }
    let text = format!(
        "the account does not balance: {} arrivals in the schedule, {} scheduled, and {account:?}; this is a defect of \
         the load generator, please report it",
        Count(expected),
        Count(account.scheduled)
    );
    Some(finding("account", account.scheduled as f64, expected as f64, text))
}

fn rate(facts: &Facts<'_>) -> Option<Finding> {
    let scheduled = facts.total.account.scheduled;
    if !facts.is_open_loop || scheduled == 0 {
        return None;
    }
    let taken_up = facts.total.taken_up_in_time as f64 / scheduled as f64;
    (taken_up < 1.0 - RATE_OFF_MAX).then(|| {
        let off = 1.0 - taken_up;
        let text = format!(
            "the generator kept {} behind the schedule (allowed {}); {}",
            Percent(off),
            Percent(RATE_OFF_MAX),
            causes(facts).unwrap_or_else(|| "use more workers, or a lower rate".to_owned())
        );
        finding("rate", off, RATE_OFF_MAX, text)
    })
}

/// Whether the target did the rate, or a growing queue hid that it did not: then too many arrivals were unanswered when
/// the load ended. As many as fall due within the p99 of the service time may be, because replies take their time.
fn fell_behind(facts: &Facts<'_>) -> Option<Finding> {
    let (total, account) = (facts.total, &facts.total.account);
    if !facts.is_open_loop || facts.ended != Ended::AsPlanned || facts.measured_s <= 0.0 {
        return None;
    }
    let answered = total.completed_in_window + account.errored + account.timed_out;
    let unanswered = account.scheduled.saturating_sub(answered) as f64;
    let per_second = account.scheduled as f64 / facts.measured_s;
    let service_s = total.histogram(Kind::Service).value_at_quantile(0.99) as f64 / 1e9;
    let limit = account.scheduled as f64 * RATE_OFF_MAX + per_second * service_s;
    (unanswered > limit).then(|| {
        let text = format!(
            "the target fell behind: {unanswered:.0} of {} arrivals were unanswered when the load ended (at most {limit:.0} \
             would be in flight), so these latencies depend on the duration; lower the rate",
            Count(account.scheduled)
        );
        finding("fell_behind", unanswered, limit, text)
    })
}

fn never_sent(facts: &Facts<'_>) -> Option<Finding> {
    let count = facts.total.account.never_sent;
    (count > 0).then(|| {
        let text = format!(
            "{} arrivals were never sent: no connection was free for them; the target is slower than the rate, or the \
             connections are too few",
            Count(count)
        );
        finding("never_sent", count as f64, 0.0, text)
    })
}

fn errored(facts: &Facts<'_>) -> Option<Finding> {
    let account = &facts.total.account;
    let part = account.errored as f64 / account.scheduled.max(1) as f64;
    (part > ERRORED_MAX).then(|| {
        let text = format!(
            "{} of the requests failed (allowed {}: {}): the latencies are those of the others alone",
            Percent(part),
            Percent(ERRORED_MAX),
            error_list(&facts.total.errors)
        );
        finding("errored", part, ERRORED_MAX, text)
    })
}

fn connections(facts: &Facts<'_>) -> Vec<Finding> {
    let connections = &facts.total.connections;
    let mut findings = Vec::new();
    if connections.failed > 0 {
        let text = format!(
            "{} of {} connections could not be opened ({}); see `doctor --connections {}`",
            Count(connections.failed),
            Count(facts.connections_requested),
            error_list(&facts.total.connection_errors),
            facts.connections_requested
        );
        findings.push(finding("connections_failed", connections.failed as f64, 0.0, text));
    }
    if connections.lost > 0 {
        let text = format!(
            "{} connections were lost ({}): the target or the network ended them unannounced",
            Count(connections.lost),
            error_list(&facts.total.connection_errors)
        );
        findings.push(finding("connections_lost", connections.lost as f64, 0.0, text));
    }
    findings
}

fn saturated(facts: &Facts<'_>) -> Option<Finding> {
    let count = facts.total.saturated;
    (count > 0).then(|| {
        let text = format!("{} latencies were longer than 60 s, the most that is told apart", Count(count));
        finding("saturated", count as f64, 0.0, text)
    })
}

fn drops(facts: &Facts<'_>) -> Vec<Finding> {
    let observed = facts.observed;
    let checks = [
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
    let found = checks.into_iter().filter(|(_, count, _)| *count > 0);
    found
        .map(|(check, count, what)| {
            let text = format!("{} {what} during the measurement; `doctor` says what to raise", Count(count));
            finding(check, count as f64, 0.0, text)
        })
        .collect()
}

fn untrusted_median(facts: &Facts<'_>, trusted_to: Option<f64>) -> Option<Finding> {
    if !facts.is_open_loop || trusted_to.is_some() || facts.total.histogram(Kind::Lag).is_empty() {
        return None;
    }
    let lag_ns = facts.total.histogram(Kind::Lag).value_at_quantile(0.5);
    let response_ns = facts.total.histogram(Kind::Response).value_at_quantile(0.5);
    let limit_ns = (response_ns as f64 * LAG_FRACTION_MAX).max(LAG_FLOOR_NS as f64);
    let text = format!(
        "not even the median is the target's alone: the generator was {} late where the response is {}; {}",
        Ns(lag_ns),
        Ns(response_ns),
        causes(facts).unwrap_or_else(|| "use more workers, or a lower rate".to_owned())
    );
    Some(finding("trust", lag_ns as f64, limit_ns, text))
}

fn why_trust_ends(facts: &Facts<'_>, limit: f64) -> String {
    let next = TRUST_LADDER.into_iter().find(|&percentile| percentile > limit).unwrap_or(100.0);
    let at = |kind| Ns(facts.total.histogram(kind).value_at_percentile(next));
    let late = format!(
        "at {} the generator itself was {} late, of a response of {}",
        Percentile(next),
        at(Kind::Lag),
        at(Kind::Response)
    );
    match causes(facts) {
        Some(causes) => format!("{late}; {causes}"),
        None => late,
    }
}

/// What made the generator late, as far as the machine tells.
fn causes(facts: &Facts<'_>) -> Option<String> {
    let mut causes = Vec::new();
    let steal = facts.observed.steal_fraction;
    if steal >= CAUSE_FRACTION_MIN {
        causes.push(format!("the host took away {} of the CPU time", Percent(steal)));
    }
    let waits = facts.workers.iter().map(|worker| run_queue_fraction(&worker.sched, worker.elapsed_ns));
    let waited = waits.fold(0.0, f64::max);
    if waited >= CAUSE_FRACTION_MIN {
        causes.push(format!("a worker waited {} of its time for a CPU that others used", Percent(waited)));
    }
    let busy = busiest(facts.workers);
    if busy >= BUSY_FRACTION_MAX {
        causes.push(format!(
            "a worker was busy {} of its time: use more workers or a lower rate",
            Percent(busy)
        ));
    }
    (!causes.is_empty()).then(|| causes.join("; "))
}

/// The part of its time that the busiest worker spent on events and sends.
pub fn busiest(workers: &[WorkerStats]) -> f64 {
    let fractions = workers.iter().map(|worker| worker.busy_ns as f64 / worker.elapsed_ns.max(1) as f64);
    fractions.fold(0.0, f64::max)
}

fn warnings(facts: &Facts<'_>) -> Vec<Finding> {
    let mut warnings = Vec::new();
    let busy = busiest(facts.workers);
    if !facts.is_open_loop {
        let text = "closed loop: a slow target is asked less, so these latencies are not what independent users would \
                    feel; use --rate for that";
        warnings.push(finding("closed_loop", 0.0, 0.0, text.to_owned()));
        if busy > BUSY_FRACTION_MAX {
            let text = format!(
                "a worker was busy {} of its time: the latencies are partly the generator's own; use more workers or \
                 fewer connections",
                Percent(busy)
            );
            warnings.push(finding("generator_busy", busy, BUSY_FRACTION_MAX, text));
        }
    }
    let account = &facts.total.account;
    if account.errored > 0 {
        let text =
            format!("{} requests failed ({})", Count(account.errored), error_list(&facts.total.errors));
        warnings.push(finding("errored", account.errored as f64, 0.0, text));
    }
    let censored = account.timed_out + account.in_flight_at_end + account.never_sent;
    if censored > 0 {
        let text = format!(
            "{} requests were not answered; they are in `response` at the age they had reached, which is less than what \
             their users felt",
            Count(censored)
        );
        warnings.push(finding("censored", censored as f64, 0.0, text));
    }
    warnings
}

/// One verdict of several: valid when all are, trusted as far as the least trusted.
///
/// # Panics
/// When there is no verdict: a run has at least one population.
pub fn together(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let merge = |mut all: Verdict, one: Verdict| {
        if one.trusted_to < all.trusted_to {
            all.trusted_to = one.trusted_to;
            all.trust_ends_because = one.trust_ends_because;
        }
        all.valid &= one.valid;
        add_new(&mut all.reasons, one.reasons);
        add_new(&mut all.warnings, one.warnings);
        all
    };
    verdicts.reduce(merge).expect("a run has a population")
}

fn add_new(all: &mut Vec<Finding>, more: Vec<Finding>) {
    for finding in more {
        if !all.contains(&finding) {
            all.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_host::proc::schedstat::Schedstat;

    use super::*;
    use crate::errors::ErrorKind;

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
            expected_arrivals: Some(1000),
            total,
            connections_requested: 10,
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

    #[test]
    fn every_defect_is_a_reason() {
        type Defect = fn(&mut Recording);
        let defects: [(&str, Defect); 7] = [
            ("account", |total| total.account.completed -= 1),
            ("account", |total| (total.account.scheduled, total.account.completed) = (999, 999)),
            ("rate", |total| total.taken_up_in_time = 989),
            ("never_sent", |total| (total.account.completed, total.account.never_sent) = (999, 1)),
            ("connections_failed", |total| total.connections.failed = 1),
            ("connections_lost", |total| total.connections.lost = 1),
            ("saturated", |total| total.saturated = 1),
        ];
        for (check, defect) in defects {
            let mut total = good();
            defect(&mut total);
            assert_eq!(reasons_of(&total), [check]);
        }
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
        let together = together([verdict, worse].into_iter());
        assert_eq!((together.valid, together.trusted_to), (false, Some(95.0)));
    }
}
