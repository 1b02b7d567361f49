//! The curve of latency over load that a search leaves behind: `search.json`, and a table for people.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tidemark_program::Exit;

use super::{Ended, Outcome, STEPS_MAX, Search};
use crate::cli::Find;
use crate::report::units::{Count, Ns};
use crate::report::{Latency, Population, Report};
use crate::slo::Judgement;

/// The version of the shape of [`Curve`].
pub const SCHEMA_VERSION: u32 = 1;

/// A whole search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The name of its directory.
    pub id: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// The command line.
    pub argv: Vec<String>,
    /// Version of the load generator.
    pub version: String,
    /// The target as the user wrote it.
    pub target: String,
    /// What was raised.
    pub find: Find,
    /// The rules that were to be kept.
    pub slo: Vec<String>,
    /// The first load.
    pub from: u64,
    /// The highest load that was to be tried.
    pub max: u64,
    /// How near to come to the limit, as a share of it.
    pub resolution: f64,
    /// Length of the measured window of each step as planned.
    pub step_duration_s: f64,
    /// What it came to; so far, while it goes.
    pub result: Answer,
    /// In the order in which they were run.
    pub steps: Vec<Step>,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The highest load that keeps the rules; `None` when none is known to.
    pub load: Option<u64>,
    /// Whether it was run again at the end and kept them again.
    pub confirmed: bool,
    /// The lowest load that violates them; `None` when none is known to.
    pub violated_at: Option<u64>,
    /// Why the search is over; `None` while it is not.
    pub ended: Option<Ended>,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Requests per second, or connections.
    pub load: u64,
    /// What it came to.
    pub outcome: Outcome,
    /// Why the rules were not kept, as sentences.
    pub reasons: Vec<String>,
    /// Its report, as seen from the directory of the search; `None` when there was no run.
    pub report: Option<String>,
    /// Whether its run is valid; `None` when there was none.
    pub valid: Option<bool>,
    /// How far its run is trusted.
    pub trusted_to: Option<f64>,
    /// The rules, held against it.
    pub slo: Vec<Judgement>,
    /// What was measured, by population.
    pub populations: Vec<Point>,
}

/// One population at one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Replies per second of the measured window.
    pub completed_per_s: f64,
    /// Intended to done.
    pub response: Tail,
    /// Intended to taken up: the generator's own lateness. All 0 in a closed loop.
    pub lag: Tail,
}

/// The figures of a distribution that a curve shows, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Tail {
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub p99_9_ns: u64,
    pub max_ns: u64,
}

impl From<&Latency> for Tail {
    fn from(latency: &Latency) -> Self {
        let Latency { p50_ns, p99_ns, p99_9_ns, max_ns, .. } = *latency;
        Self { p50_ns, p99_ns, p99_9_ns, max_ns }
    }
}

impl From<&Population> for Point {
    fn from(population: &Population) -> Self {
        Self {
            name: population.name.clone(),
            completed_per_s: population.completed_per_s,
            response: Tail::from(&population.response),
            lag: Tail::from(&population.lag),
        }
    }
}

impl From<&Search> for Answer {
    fn from(search: &Search) -> Self {
        Self {
            load: search.best(),
            confirmed: search.is_confirmed(),
            violated_at: search.violated(),
            ended: search.ended(),
        }
    }
}

impl Step {
    /// A step whose run made this report.
    pub fn of(load: u64, outcome: Outcome, reasons: Vec<String>, report: &Report) -> Self {
        Self {
            load,
            outcome,
            reasons,
            report: Some(format!("{}/report.json", report.run.id)),
            valid: Some(report.verdict.valid),
            trusted_to: report.verdict.trusted_to,
            slo: report.slo.clone(),
            populations: report.populations.iter().map(Point::from).collect(),
        }
    }

    /// A step that did not come to a run.
    pub fn without_run(load: u64, outcome: Outcome, why: String) -> Self {
        Self {
            load,
            outcome,
            reasons: vec![why],
            report: None,
            valid: None,
            trusted_to: None,
            slo: Vec::new(),
            populations: Vec::new(),
        }
    }
}

impl Answer {
    /// How a program ends that has made this search. [`Ended::Failed`] has an exit code of its own, that of the failure.
    pub fn exit(&self) -> Exit {
        match (self.ended, self.load) {
            (Some(Ended::Found | Ended::AtMax), _) | (Some(Ended::GeneratorLimit), Some(_)) => Exit::Good,
            (Some(Ended::NothingKept), _) => Exit::JudgedBad,
            (Some(Ended::GeneratorLimit | Ended::StepsMax | Ended::Interrupted) | None, _) => {
                Exit::NotTrustworthy
            }
            (Some(Ended::Failed), _) => Exit::CouldNotRun,
        }
    }
}

/// Renders the curve, by load. Lines end in `\n`.
pub fn render(curve: &Curve) -> String {
    let mut out = String::new();
    let (unit, what) = match curve.find {
        Find::Rate => ("rate/s", "the highest rate that keeps"),
        Find::Connections => ("conns", "the most connections that keep"),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}: {what}", curve.target);
    for rule in &curve.slo {
        let _ = writeln!(out, "    {rule}");
    }
    let _ = writeln!(
        out,
        "\n{unit:>11}  {:9}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "outcome", "done/s", "p50", "p99", "p99.9", "max", "lag p99"
    );
    let mut steps: Vec<&Step> = curve.steps.iter().collect();
    steps.sort_by_key(|step| step.load);
    for step in steps {
        row(&mut out, step);
    }
    let _ = writeln!(out, "\n{}", told(curve));
    out
}

fn row(out: &mut String, step: &Step) {
    let outcome = match step.outcome {
        Outcome::Kept => "kept",
        Outcome::Violated => "VIOLATED",
        Outcome::Invalid => "INVALID",
    };
    let mut start = format!("{:>11}  {outcome:9}", Count(step.load));
    let has_several = step.populations.len() > 1;
    for point in &step.populations {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is neither negative nor near 2^64"
        )]
        let done = point.completed_per_s.round() as u64;
        let Tail { p50_ns, p99_ns, p99_9_ns, max_ns } = point.response;
        let _ = write!(out, "{start}{:>9}", Count(done));
        for ns in [p50_ns, p99_ns, p99_9_ns, max_ns] {
            let _ = write!(out, "{:>10}", Ns(ns));
        }
        // A closed loop has none, which is not the same as being on time.
        let lag = if point.lag.max_ns > 0 { Ns(point.lag.p99_ns).to_string() } else { "-".to_owned() };
        let _ = write!(out, "{lag:>10}");
        let name = if has_several { format!("  {}", point.name) } else { String::new() };
        let _ = writeln!(out, "{name}");
        start = " ".repeat(start.len());
    }
    if step.populations.is_empty() {
        let _ = writeln!(out, "{}", start.trim_end());
    }
    for reason in &step.reasons {
        let _ = writeln!(out, "{:13}{reason}", "");
    }
}

/// What the search came to, as a sentence.
fn told(curve: &Curve) -> String {
    let unit = curve.find.unit();
    let Answer { load, confirmed, violated_at, ended } = curve.result;
    let kept = match load {
        Some(load) => format!("{} {unit} keep every rule", Count(load)),
        None => "no load is known to keep every rule".to_owned(),
    };
    let first = Count(curve.from);
    let told = match ended {
        Some(Ended::Found) => match violated_at {
            Some(violated) => format!("FOUND: {kept}, {} do not", Count(violated)),
            None => format!("FOUND: {kept}"),
        },
        Some(Ended::AtMax) => format!("{kept}, and no more was to be tried; raise --max to search on"),
        Some(Ended::GeneratorLimit) if load.is_some() => format!(
            "{kept}; the true limit is above: further up the load generator itself cannot be trusted; use more workers, CPUs \
             of its own (--pin) or another machine"
        ),
        Some(Ended::GeneratorLimit) => format!(
            "NOT FOUND: {kept}; the load generator itself cannot be trusted even at {first} {unit}; begin lower with --from, \
             or see the report for the cause"
        ),
        Some(Ended::NothingKept) => {
            format!(
                "NOT FOUND: not even {first} {unit} keep every rule; begin lower with --from, or relax a rule"
            )
        }
        Some(Ended::StepsMax) => format!("NOT FOUND after {STEPS_MAX} steps; so far {kept}"),
        Some(Ended::Interrupted) => format!("interrupted; so far {kept}"),
        Some(Ended::Failed) => format!("broken off; so far {kept}"),
        None => format!("under way; so far {kept}"),
    };
    let should_be_confirmed = matches!(ended, Some(Ended::Found | Ended::AtMax | Ended::GeneratorLimit));
    match load {
        Some(_) if should_be_confirmed && !confirmed => {
            format!("{told} (the run that was to confirm it was INVALID)")
        }
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(load: u64, outcome: Outcome, p99_ns: u64, reasons: &[&str]) -> Step {
        let report: Report =
            serde_json::from_str(include_str!("../../tests/e2e/reports/trusted_to_p99.json")).unwrap();
        let mut step =
            Step::of(load, outcome, reasons.iter().map(|&reason| reason.to_owned()).collect(), &report);
        step.populations[0].response.p99_ns = p99_ns;
        step.populations[0].completed_per_s = load as f64 - 0.4;
        step
    }

    fn curve(result: Answer) -> Curve {
        let violated = ["all.response.p99 < 2ms: 2.71 ms"];
        Curve {
            schema_version: SCHEMA_VERSION,
            id: "20260102T030405Z".to_owned(),
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            argv: Vec::new(),
            version: "0.1.0".to_owned(),
            target: "tcp://127.0.0.1:7000".to_owned(),
            find: Find::Rate,
            slo: vec!["all.response.p99 < 2ms".to_owned(), "all.errors < 0.01%".to_owned()],
            from: 10_000,
            max: 10_000_000,
            resolution: 0.25,
            step_duration_s: 5.0,
            result,
            steps: vec![
                step(10_000, Outcome::Kept, 400_000, &[]),
                step(20_000, Outcome::Kept, 900_000, &[]),
                step(40_000, Outcome::Violated, 2_710_000, &violated),
                Step::without_run(
                    40_000,
                    Outcome::Violated,
                    "127.0.0.1:7000 closed the connection".to_owned(),
                ),
                step(30_000, Outcome::Invalid, 2_100_000, &["the generator kept 3.10 % behind the schedule"]),
                step(30_000, Outcome::Kept, 1_900_000, &[]),
                step(30_000, Outcome::Kept, 1_900_000, &[]),
            ],
        }
    }

    const FOUND: Answer =
        Answer { load: Some(30_000), confirmed: true, violated_at: Some(37_500), ended: Some(Ended::Found) };

    #[test]
    fn the_table_of_a_search() {
        insta::assert_snapshot!(render(&curve(FOUND)));
    }

    #[test]
    fn several_populations_have_a_row_each() {
        let mut curve = curve(FOUND);
        curve.find = Find::Connections;
        curve.steps.truncate(1);
        let mut heartbeat = curve.steps[0].populations[0].clone();
        heartbeat.name = "heartbeat".to_owned();
        heartbeat.lag = Tail::default();
        curve.steps[0].populations.push(heartbeat);
        insta::assert_snapshot!(render(&curve));
    }

    #[test]
    fn every_end_is_told_and_has_its_exit_code() {
        let none = Answer { load: None, confirmed: false, violated_at: None, ended: None };
        let told: Vec<String> = [
            FOUND,
            Answer { confirmed: false, ..FOUND },
            Answer { ended: Some(Ended::AtMax), violated_at: None, ..FOUND },
            Answer { ended: Some(Ended::GeneratorLimit), violated_at: None, ..FOUND },
            Answer { ended: Some(Ended::GeneratorLimit), ..none },
            Answer { ended: Some(Ended::NothingKept), violated_at: Some(10_000), ..none },
            Answer { ended: Some(Ended::StepsMax), confirmed: false, ..FOUND },
            Answer { ended: Some(Ended::Interrupted), confirmed: false, ..FOUND },
            Answer { ended: Some(Ended::Interrupted), ..none },
            Answer { ended: Some(Ended::Failed), ..none },
            none,
        ]
        .into_iter()
        .map(|answer| format!("{} {}", answer.exit() as u8, super::told(&curve(answer))))
        .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn search_json_is_read_as_it_was_written() {
        let written = serde_json::to_value(curve(FOUND)).unwrap();
        let read: Curve = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written);
        assert_eq!(written["result"]["ended"], "found");
        assert_eq!(written["find"], "rate");
        assert_eq!(written["steps"][2]["outcome"], "violated");
        assert_eq!(written["steps"][3]["report"], serde_json::Value::Null);
        assert_eq!(written["steps"][0]["populations"][0]["response"]["p99_9_ns"], 2_889_727);
    }
}
