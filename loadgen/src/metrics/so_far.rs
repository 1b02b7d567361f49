//! What the collector tells the board at the end of every interval: the figures, and the verdict so far.

use std::sync::Arc;

use super::board::Board;
use super::export;
use crate::observe::{Observed, Reading};
use crate::plan::{Plan, PopulationPlan};
use crate::record::{Kind, Recording};
use crate::slo::{self, Judgement, Measured, Rule};
use crate::verdict::{self, Ended, Facts};

/// The checks of a verdict that make sense before the end: what they find does not go away by waiting. The account cannot
/// balance while requests are in flight, and what was taken up is all that counts as scheduled so far.
const CHECKS: [&str; 8] = [
    "connections_failed",
    "exhausted",
    "connections_lost",
    "saturated",
    "listen_overflows",
    "softnet_dropped",
    "conntrack_dropped",
    "trust",
];

/// Puts what was measured on a board, interval by interval.
#[derive(Debug)]
pub struct Watch {
    board: Arc<Board>,
    plans: Vec<PopulationPlan>,
    rules: Vec<Rule>,
    planned_s: f64,
    interval_s: f64,
    /// Those of the measured window.
    measured: u64,
    before: Reading,
}

impl Watch {
    /// A watch over a run whose load begins now.
    pub fn new(plan: &Plan, board: Arc<Board>) -> Self {
        let planned_s = plan.duration.as_secs_f64();
        let (plans, rules) = (plan.populations.clone(), plan.slo.clone());
        let interval_s = plan.interval.as_secs_f64();
        let measured = plan.intervals();
        Self { board, plans, rules, planned_s, interval_s, measured, before: Reading::take() }
    }

    /// Interval `index` of a population is whole. Interval 0 is the ramp and the warm-up.
    pub fn interval(&self, population: usize, index: usize, recording: &Recording) {
        // After the measured window an interval has only what came in late, or nothing at all.
        let is_measured = index as u64 <= self.measured;
        let is_shown = is_measured || !recording.histogram(Kind::Response).is_empty();
        self.board.add(population, recording, is_shown);
    }

    /// All populations have told interval `index`: judges what is there. `totals` are in the order of the plan's
    /// populations.
    pub fn judge(&self, index: usize, totals: &[Recording]) {
        let observed = Reading::take().since(&self.before);
        let (valid, trusted) = so_far(&self.plans, totals, &observed, self.planned_s);
        let measured_s = (index as f64 * self.interval_s).min(self.planned_s);
        self.board.judged(valid, trusted, rules_so_far(&self.rules, valid, &self.plans, totals, measured_s));
    }
}

/// Whether nothing speaks against the run so far, and how far it is trusted; `None` in a closed loop, or before anything
/// was measured.
fn so_far(
    plans: &[PopulationPlan],
    totals: &[Recording],
    observed: &Observed,
    planned_s: f64,
) -> (bool, Option<f64>) {
    let verdicts = plans.iter().zip(totals).map(|(plan, total)| {
        let verdict = verdict::judge(&Facts {
            is_open_loop: plan.is_open_loop(),
            usage: plan.usage(),
            end_rate: None,
            poisson_rate: None,
            expected_arrivals: None,
            total,
            rows: &[],
            connections_requested: plan.connections.into(),
            is_pinned: false,
            workers: &[],
            observed,
            ended: Ended::AsPlanned,
            measured_s: planned_s,
            planned_s,
        });
        (plan.is_open_loop(), verdict)
    });
    let verdict = verdict::together(verdicts);
    let valid = !verdict.reasons.iter().any(|finding| CHECKS.contains(&finding.check.as_str()));
    let is_open_loop = plans.iter().any(PopulationPlan::is_open_loop);
    let is_begun = totals.iter().any(|total| !total.histogram(Kind::Lag).is_empty());
    (valid, export::trusted(is_open_loop && is_begun, &verdict))
}

/// The rules, held against what was measured until now. During the warm-up there is nothing to hold them against.
fn rules_so_far(
    rules: &[Rule],
    valid: bool,
    plans: &[PopulationPlan],
    totals: &[Recording],
    measured_s: f64,
) -> Vec<Judgement> {
    if measured_s <= 0.0 {
        return Vec::new();
    }
    let measured = plans.iter().zip(totals).map(|(plan, total)| Measured {
        name: &plan.name,
        is_open_loop: plan.is_open_loop(),
        total,
        measured_s,
        is_over: false,
    });
    slo::judge(rules, valid, &measured.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::schedule::Arrivals;

    const MS: u64 = 1_000_000;

    fn judged(arrivals: Arrivals, total: Recording, observed: Observed) -> (bool, Option<f64>) {
        let plan = PopulationPlan::example(1, arrivals);
        so_far(&[plan], &[total], &observed, 10.0)
    }

    fn open_loop(lag_ns: u64) -> Recording {
        let mut total = Recording::new();
        total.account.scheduled = 2;
        total.account.completed = 1;
        total.record(Kind::Lag, lag_ns);
        total.record(Kind::Response, MS + lag_ns);
        total
    }

    const POISSON: Arrivals = Arrivals::Poisson { rate: 1.0 };

    #[test]
    fn a_request_in_flight_speaks_not_against_the_run() {
        assert_eq!(judged(POISSON, open_loop(1), Observed::default()), (true, Some(100.0)));
    }

    #[test]
    fn before_anything_is_measured_there_is_nothing_to_trust() {
        assert_eq!(judged(POISSON, Recording::new(), Observed::default()), (true, None));
        assert_eq!(judged(Arrivals::Closed, Recording::new(), Observed::default()), (true, None));
    }

    #[test]
    fn each_check_that_makes_sense_now_is_made() {
        assert_eq!(judged(POISSON, open_loop(MS), Observed::default()), (false, Some(0.0)));
        let mut lost = open_loop(1);
        lost.connections.lost = 1;
        let mut failed = open_loop(1);
        failed.connections.failed = 1;
        let mut saturated = open_loop(1);
        saturated.saturated = 1;
        for total in [lost, failed, saturated] {
            assert!(!judged(POISSON, total, Observed::default()).0);
        }
        for observed in [
            Observed { listen_overflows: 1, ..Observed::default() },
            Observed { softnet_dropped: 1, ..Observed::default() },
            Observed { conntrack_dropped: 1, ..Observed::default() },
        ] {
            assert!(!judged(POISSON, open_loop(1), observed).0, "{observed:?}");
        }
    }
    #[test]
    fn rules_are_judged_from_the_first_measured_second_on() {
        let plan = PopulationPlan::example(1, POISSON);
        let mut total = open_loop(1);
        total.completed_in_window = 6;
        let rules = ["completed_per_s >= 2".parse().unwrap(), "response.max < 1us".parse().unwrap()];
        let oks = |valid, measured_s| {
            let judged =
                rules_so_far(&rules, valid, slice::from_ref(&plan), slice::from_ref(&total), measured_s);
            judged.into_iter().map(|judgement| judgement.ok).collect::<Vec<_>>()
        };
        assert_eq!(oks(true, 0.0), []);
        assert_eq!(oks(true, 2.0), [Some(true), Some(false)]);
        assert_eq!(oks(true, 4.0), [Some(false), Some(false)]);
        assert_eq!(oks(false, 2.0), [None, None]);
    }
}
