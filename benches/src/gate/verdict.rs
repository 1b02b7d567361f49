//! The verdict over both tiers, and why. Pure.

use super::decision::Verdict;
use super::present::figures::count;
use super::report::{Count, Counts, Ended, Report, Times};

/// The worst verdict there is, and the sentence that goes with it.
pub fn of(report: &Report) -> (Verdict, String) {
    let counts = rows(report).map(|count| count.verdict);
    let times = report.times.iter().map(|times| times.decision.verdict);
    // A run without any result shows nothing.
    let verdict = counts.chain(times).max().unwrap_or(Verdict::Inconclusive);
    let why = match verdict {
        Verdict::Pass => pass(report),
        Verdict::Fail => fail(report),
        Verdict::Inconclusive => match (&report.times, &report.counts) {
            (Some(times), _) => inconclusive(times),
            (None, Some(counts)) => nothing_counted(counts),
            (None, None) => "nothing was measured".to_owned(),
        },
    };
    (verdict, why)
}

fn pass(report: &Report) -> String {
    let counts = rows(report).next().map(|_| "no count is above its limit");
    let times = report.times.as_ref().map(|_| "no time is worse by its margin");
    [counts, times].into_iter().flatten().collect::<Vec<_>>().join(", and ")
}

fn fail(report: &Report) -> String {
    let counts = rows(report).filter(|row| row.verdict == Verdict::Fail).map(|row| {
        let Count { name, base, head, limit, .. } = row;
        format!(
            "{name}: {} instead of {}, and at most {} is allowed",
            count(*head),
            count(*base),
            count(*limit)
        )
    });
    let times = report.times.iter().filter(|times| times.decision.verdict == Verdict::Fail);
    counts.chain(times.flat_map(|times| times.decision.reasons.clone())).collect::<Vec<_>>().join("; ")
}

fn rows(report: &Report) -> impl Iterator<Item = &Count> {
    report.counts.iter().flat_map(|counts| &counts.rows)
}

fn nothing_counted(counts: &Counts) -> String {
    let reasons: Vec<String> =
        counts.not_counted.iter().map(|missing| format!("no {}: {}", missing.what, missing.why)).collect();
    format!("nothing was counted; {}", reasons.join("; "))
}

fn inconclusive(times: &Times) -> String {
    let ended = match times.ended {
        Ended::OutOfTime => Some("there was no time for more blocks; give a longer --budget".to_owned()),
        Ended::OutOfBlocks => Some("there are no more blocks".to_owned()),
        Ended::NoLook | Ended::Decided => None,
    };
    times.decision.reasons.iter().cloned().chain(ended).collect::<Vec<_>>().join("; ")
}
