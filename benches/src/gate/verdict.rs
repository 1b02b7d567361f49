//! The verdict over both tiers, in a sentence. Pure.

use super::judge;
use super::present::figures::{Change, count, interval, or_dash};
use super::report::{Count, Ended, MetricResult, Report, Times, Verdict};

/// The worst verdict there is, and the sentence that goes with it.
pub fn of(report: &Report) -> (Verdict, String) {
    let counts = report.counts.iter().flatten().map(|count| count.verdict);
    let times = report.times.iter().flat_map(|times| &times.metrics).map(|result| result.verdict);
    // A run without any result shows nothing.
    let verdict = counts.chain(times).max().unwrap_or(Verdict::Inconclusive);
    let why = match verdict {
        Verdict::Pass => pass(report),
        Verdict::Fail => fail(report),
        Verdict::Inconclusive => {
            report.times.as_ref().map_or_else(|| "nothing was measured".to_owned(), inconclusive)
        }
    };
    (verdict, why)
}

fn pass(report: &Report) -> String {
    let times = report.times.as_ref().map(|_| "no time is worse by its margin or more");
    let counts = report.counts.as_ref().map(|_| "no count is above its limit");
    [times, counts].into_iter().flatten().collect::<Vec<_>>().join(", and ")
}

fn fail(report: &Report) -> String {
    let times = report.times.iter().flat_map(|times| &times.metrics);
    let times = times.filter(|result| result.verdict == Verdict::Fail).map(|result| {
        let change = or_dash(result.change.map(Change));
        format!("{} is worse: {change} ({})", result.metric.name(), interval(result))
    });
    let counts = report.counts.iter().flatten().filter(|row| row.verdict == Verdict::Fail).map(|row| {
        let Count { name, base, head, limit, .. } = row;
        format!("{name}: {} instead of {}, at most {}", count(*head), count(*base), count(*limit))
    });
    times.chain(counts).collect::<Vec<_>>().join("; ")
}

fn inconclusive(times: &Times) -> String {
    let open: Vec<String> = times.metrics.iter().filter_map(open_question).collect();
    let ended = match times.ended {
        Ended::OutOfTime => "; there was no time for more blocks",
        Ended::OutOfBlocks => "; there are no more blocks",
        Ended::LastLook | Ended::Decided => "",
    };
    match judge::next_look(0) {
        Some(first) if times.blocks < first => {
            format!("{} of the {first} blocks of the first look were measured{ended}", times.blocks)
        }
        _ => format!("{}{ended}", open.join(", ")),
    }
}

/// What is not known of a metric.
fn open_question(result: &MetricResult) -> Option<String> {
    let undecided = result.verdict == Verdict::Inconclusive;
    undecided.then(|| format!("{} may be anywhere from {}", result.metric.name(), interval(result)))
}
