//! The course of every metric over the runs of a history, for people.

use std::fmt::Write as _;

use super::history::{Entry, MetricEntry};
use super::metric::Metric;
use super::present::figures::{Change, count, ns, or_dash, plural};

/// Rows shown of a metric: the newest.
const ROWS_MAX: usize = 20;

/// Renders the history. Lines end in `\n`.
pub fn render(entries: &[Entry]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", plural(entries.len(), "run"));
    for metric in Metric::ALL {
        let runs: Vec<(&Entry, &MetricEntry)> = entries
            .iter()
            .filter_map(|entry| Some((entry, entry.metrics.iter().find(|result| result.metric == metric)?)))
            .collect();
        if runs.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{:22}{:>10} {:>9}  verdict of the run", metric.name(), "head", "change");
        for (entry, result) in &runs[runs.len().saturating_sub(ROWS_MAX)..] {
            let _ = writeln!(
                out,
                "  {:20}{:>10} {:>9}  {:13} {}",
                entry.date,
                ns(result.head_ns),
                Change(result.change),
                entry.verdict,
                entry.head
            );
        }
    }
    counts(&mut out, entries);
    out
}

/// Counts hardly change, so only the newest and the oldest are shown.
fn counts(out: &mut String, entries: &[Entry]) {
    let Some(newest) = entries.iter().rev().find(|entry| !entry.counts.is_empty()) else {
        return;
    };
    let _ = writeln!(out, "\n{:30}{:>12}{:>12}", "counts", "oldest", "newest");
    for row in &newest.counts {
        let same =
            |entry: &Entry| entry.counts.iter().find(|other| other.name == row.name).map(|other| other.head);
        let oldest = entries.iter().find_map(same);
        let _ = writeln!(out, "{:30}{:>12}{:>12}", row.name, or_dash(oldest.map(count)), count(row.head));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::present::sample;

    #[test]
    fn a_course() {
        let entry = |day: u32| {
            let mut report = sample::fail();
            report.run.started_at = format!("2026-01-{day:02}T00:00:00Z");
            Entry::from(report)
        };
        insta::assert_snapshot!(render(&[entry(1), entry(2)]));
    }

    #[test]
    fn nothing_yet() {
        assert_eq!(render(&[]), "0 runs\n");
    }
}
