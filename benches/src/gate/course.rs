//! The course of every metric over the runs of a history, for people, and whether it drifts.

use std::fmt::Write as _;

use super::drift::{self, Drift};
use super::history::{Entry, MetricEntry};
use super::metric::Metric;
use super::present::figures::{Change, count, ns, or_dash, plural};

/// Rows shown of a metric: the newest.
const ROWS_MAX: usize = 20;

/// The course, and whether there is drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// For people. Lines end in `\n`.
    pub text: String,
    /// Whether something becomes slower.
    pub drifts: bool,
}

/// What a history has of one metric.
struct Runs<'a> {
    metric: Metric,
    runs: Vec<(&'a Entry, &'a MetricEntry)>,
}

impl<'a> Runs<'a> {
    fn of(entries: &'a [Entry], metric: Metric) -> Self {
        let of =
            |entry: &'a Entry| Some((entry, entry.metrics.iter().find(|result| result.metric == metric)?));
        Self { metric, runs: entries.iter().filter_map(of).collect() }
    }

    /// Those on the machine of the newest: another one's figures are no level to compare with.
    fn on_one_machine(&self) -> Vec<&(&'a Entry, &'a MetricEntry)> {
        let machine = |entry: &Entry| (entry.cpu_model.clone(), entry.kernel.clone());
        let newest = self.runs.last().map(|(entry, _)| machine(entry));
        self.runs.iter().filter(|(entry, _)| Some(machine(entry)) == newest).collect()
    }

    fn drift(&self) -> Drift {
        let changes: Vec<f64> = self.runs.iter().map(|(_, result)| result.change).collect();
        let levels: Vec<f64> = self.on_one_machine().iter().map(|(_, result)| result.head_ns).collect();
        drift::of(&changes, &levels)
    }
}

/// Renders the history.
pub fn of(entries: &[Entry]) -> Course {
    let metrics: Vec<Runs<'_>> = Metric::ALL
        .map(|metric| Runs::of(entries, metric))
        .into_iter()
        .filter(|of| !of.runs.is_empty())
        .collect();
    let drifts: Vec<Drift> = metrics.iter().map(Runs::drift).collect();
    let mut course = Course { text: format!("{}\n", plural(entries.len(), "run")), drifts: false };
    for ((of, drift), p) in metrics.iter().zip(&drifts).zip(drift::adjusted(&drifts)) {
        table(&mut course.text, of);
        course.drifts |= verdict(&mut course.text, of, drift, p);
    }
    counts(&mut course.text, entries);
    course
}

// Writing to a String cannot fail, so the results of `writeln!` on it are dropped throughout.

fn table(out: &mut String, of: &Runs<'_>) {
    let _ = writeln!(out, "\n{:22}{:>10} {:>9}  verdict of the run", of.metric.name(), "head", "change");
    for (entry, result) in &of.runs[of.runs.len().saturating_sub(ROWS_MAX)..] {
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

/// Says what was found, and whether it is drift.
fn verdict(out: &mut String, of: &Runs<'_>, drift: &Drift, [steps_p, point_p]: [Option<f64>; 2]) -> bool {
    let is_found = |p: Option<f64>| p.is_some_and(|p| p <= drift::ALPHA);
    let mut found = false;
    if let Some(steps) = drift.steps.filter(|_| is_found(steps_p)) {
        found = true;
        let _ = writeln!(
            out,
            "  DRIFT in small steps: {} a run, which over {} runs is {} (p = {:.4})",
            Change(steps.each),
            steps.runs,
            Change(steps.together),
            steps_p.unwrap_or_default()
        );
    }
    if let Some(point) = drift.change_point.filter(|_| is_found(point_p)) {
        found = true;
        let machine = of.on_one_machine();
        let looked_at = &machine[machine.len().saturating_sub(drift::RUNS_MAX)..];
        let first = looked_at.get(point.at).map(|(entry, _)| format!("{}, {}", entry.head, entry.date));
        let _ = writeln!(
            out,
            "  DRIFT in one step: {} from {} on (p = {:.4})",
            Change(point.change),
            or_dash(first),
            point_p.unwrap_or_default()
        );
    }
    if !found {
        let why = if drift.steps.is_none() { "  too few runs to tell drift" } else { "  no drift" };
        let _ = writeln!(out, "{why}");
    }
    found
}

/// Counts come out the same each time, so the oldest and the newest say all.
fn counts(out: &mut String, entries: &[Entry]) {
    let Some(newest) = entries.iter().rev().find(|entry| !entry.counts.is_empty()) else {
        return;
    };
    let _ = writeln!(out, "\n{:34}{:>12}{:>12}{:>10}", "counts", "oldest", "newest", "change");
    for row in &newest.counts {
        let same =
            |entry: &Entry| entry.counts.iter().find(|other| other.name == row.name).map(|other| other.head);
        let oldest = entries.iter().find_map(same);
        let change = oldest.filter(|&oldest| oldest > 0.0).map(|oldest| Change(row.head / oldest - 1.0));
        let _ = writeln!(
            out,
            "{:34}{:>12}{:>12}{:>10}",
            row.name,
            or_dash(oldest.map(count)),
            count(row.head),
            or_dash(change)
        );
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
        let course = of(&[entry(1), entry(2)]);
        insta::assert_snapshot!(course.text);
        assert!(!course.drifts);
    }

    #[test]
    fn a_drift_is_told_with_its_size_and_place() {
        let entry = |run: u32| {
            let mut report = sample::fail();
            report.run.started_at = format!("2026-01-{:02}T00:00:00Z", run + 1);
            report.head.name = format!("change {run}");
            let times = report.times.as_mut().unwrap();
            times.metrics.retain(|&metric| metric == Metric::CpuPerEcho);
            times.decision.metrics.retain(|result| result.metric == Metric::CpuPerEcho);
            let result = &mut times.decision.metrics[0];
            result.change = 0.008 + f64::from(run % 3) * 0.001;
            result.head_ns = if run < 12 { 10_000.0 } else { 10_600.0 } + f64::from(run * 7 % 5) * 20.0;
            Entry::from(report)
        };
        let course = of(&(0..24).map(entry).collect::<Vec<_>>());
        assert!(course.drifts);
        let drift: Vec<&str> = course.text.lines().filter(|line| line.contains("DRIFT")).collect();
        assert_eq!(drift.len(), 2, "{}", course.text);
        assert!(
            drift[0].starts_with("  DRIFT in small steps: +0.9 % a run, which over 24 runs is +2"),
            "{drift:?}"
        );
        assert!(
            drift[1].starts_with(
                "  DRIFT in one step: +6.0 % from change 12, 2026-01-13T00:00:00Z on (p = 0.000"
            ),
            "{drift:?}"
        );
    }

    #[test]
    fn nothing_yet() {
        assert_eq!(of(&[]), Course { text: "0 runs\n".to_owned(), drifts: false });
    }
}
