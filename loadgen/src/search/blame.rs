//! What a step says about its load: whether the rules were kept, and if the run is INVALID, whose doing that is. Pure.

use super::Outcome;
use crate::report::Report;
use crate::slo::{Judgement, Standing};
use crate::verdict::{Ended, Finding};

/// The checks of a verdict that speak of the generator or its machine. All others are what a target does that does not
/// carry its load.
const GENERATORS: [&str; 8] = [
    "account",
    "rate",
    "arrival_process",
    "trust",
    "starved",
    "exhausted",
    "softnet_dropped",
    "conntrack_dropped",
];

/// What the run of a step came to, and why it was not kept.
pub fn outcome_of(report: &Report) -> (Outcome, Vec<String>) {
    let reasons = report.verdict.reasons.iter().map(|reason| reason.text.clone());
    if report.verdict.reasons.iter().any(|reason| is_the_generators(reason, report)) {
        return (Outcome::Invalid, reasons.collect());
    }
    if !report.verdict.valid {
        return (Outcome::Violated, reasons.collect());
    }
    match Standing::of(&report.slo) {
        Standing::Kept => (Outcome::Kept, Vec::new()),
        Standing::NotJudged => (Outcome::Invalid, told(&report.slo, None)),
        // A closed loop has no lag to judge by, and a generator that has no time left makes latencies longer.
        Standing::Violated => {
            match report.verdict.warnings.iter().find(|warning| warning.check == "generator_busy") {
                Some(busy) => (Outcome::Invalid, vec![busy.text.clone()]),
                None => (Outcome::Violated, told(&report.slo, Some(false))),
            }
        }
    }
}

fn is_the_generators(reason: &Finding, report: &Report) -> bool {
    match reason.check.as_str() {
        "nothing_measured" => report.populations.iter().all(|population| population.arrivals.scheduled == 0),
        // Otherwise more arrivals waited for the target than memory is kept for.
        "ended" => report.run.ended == Ended::Interrupted,
        check => GENERATORS.contains(&check),
    }
}

/// The rules that stand like this, each with its figure or why there is none.
fn told(judgements: &[Judgement], ok: Option<bool>) -> Vec<String> {
    let such = judgements.iter().filter(|judgement| judgement.ok == ok);
    such.map(|judgement| {
        let actual = judgement.shown();
        match &judgement.not_judged_because {
            Some(why) => format!("{}: not judged, {why}", judgement.rule),
            None => format!("{}: {actual}", judgement.rule),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::Unit;

    fn valid() -> Report {
        serde_json::from_str(include_str!("../../tests/e2e/reports/trusted_to_p99.json")).unwrap()
    }

    fn with_reason(check: &str) -> Report {
        let mut report = valid();
        let text = format!("{check} is off");
        report.verdict.reasons = vec![Finding { check: check.to_owned(), figure: 2.0, limit: 1.0, text }];
        report.verdict.valid = false;
        report
    }

    fn with_rule(ok: Option<bool>) -> Report {
        let mut report = valid();
        let why = ok.is_none().then(|| "the run is trusted only up to p99".to_owned());
        let rule = "all.response.max < 1ms".to_owned();
        report.slo = vec![Judgement { rule, actual: Some(2e6), unit: Unit::Ns, ok, not_judged_because: why }];
        report
    }

    #[test]
    fn a_target_that_does_not_carry_the_load_violates() {
        for check in [
            "fell_behind",
            "never_sent",
            "errored",
            "connections_failed",
            "connections_lost",
            "saturated",
            "listen_overflows",
            "nothing_measured",
            "ended",
        ] {
            assert_eq!(outcome_of(&with_reason(check)), (Outcome::Violated, vec![format!("{check} is off")]));
        }
    }

    #[test]
    fn what_the_generator_is_to_blame_for_says_nothing_about_the_target() {
        for check in GENERATORS {
            assert_eq!(outcome_of(&with_reason(check)).0, Outcome::Invalid, "{check}");
        }
        let mut both = with_reason("fell_behind");
        both.verdict.reasons.extend(with_reason("rate").verdict.reasons);
        assert_eq!(outcome_of(&both).0, Outcome::Invalid, "a target may well fall behind what is late");
        // Who has no port or descriptor left never came as far as the target.
        let mut no_port = with_reason("connections_failed");
        no_port.verdict.reasons.extend(with_reason("exhausted").verdict.reasons);
        assert_eq!(outcome_of(&no_port).0, Outcome::Invalid);
        let mut nothing_due = with_reason("nothing_measured");
        nothing_due.populations[0].arrivals.scheduled = 0;
        assert_eq!(outcome_of(&nothing_due).0, Outcome::Invalid);
        let mut interrupted = with_reason("ended");
        interrupted.run.ended = Ended::Interrupted;
        assert_eq!(outcome_of(&interrupted).0, Outcome::Invalid);
    }

    #[test]
    fn a_valid_run_is_as_its_rules_stand() {
        assert_eq!(outcome_of(&with_rule(Some(true))), (Outcome::Kept, vec![]));
        let violated = vec!["all.response.max < 1ms: 2.00 ms".to_owned()];
        assert_eq!(outcome_of(&with_rule(Some(false))), (Outcome::Violated, violated));
        let why = "all.response.max < 1ms: not judged, the run is trusted only up to p99".to_owned();
        assert_eq!(outcome_of(&with_rule(None)), (Outcome::Invalid, vec![why]));
    }

    #[test]
    fn a_busy_generator_is_not_held_against_the_target_of_a_closed_loop() {
        let busy = with_reason("generator_busy").verdict.reasons;
        let mut report = with_rule(Some(false));
        report.verdict.warnings.clone_from(&busy);
        assert_eq!(outcome_of(&report).0, Outcome::Invalid);
        // It only ever makes latencies longer.
        let mut report = with_rule(Some(true));
        report.verdict.warnings = busy;
        assert_eq!(outcome_of(&report).0, Outcome::Kept);
    }
}
