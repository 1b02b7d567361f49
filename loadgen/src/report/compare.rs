//! Two runs side by side, with the interval that each percentile lies in.
//!
//! What differs is told, not judged: two runs are one pair, and machines differ from minute to minute. `tidemark-gate` judges.

use std::fmt::Write as _;
use std::path::Path;

use tidemark_program::Exit;

use super::confidence::{CONFIDENCE, Interval};
use super::read::ReadError;
use super::stored::Stored;
use super::table::{self, is_beyond_trust};
use super::units::{Count, Ns, Percent, Percentile};
use super::{Population, Report, difference};
use crate::record::{Kind, Recording};

/// The percentiles that are compared; 100 is the maximum.
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

/// One of the two runs.
#[derive(Debug)]
pub struct Side {
    /// Its directory, as the user wrote it.
    pub name: String,
    /// What it told.
    pub report: Report,
    /// Its histograms, by population.
    pub totals: Vec<Recording>,
}

impl Side {
    /// Reads a run from its directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        let stored = Stored::open(dir)?;
        let totals = stored.totals()?;
        Ok(Self { name: dir.display().to_string(), report: stored.report, totals })
    }

    fn population(&self, name: &str) -> Option<Measured<'_>> {
        let index = self.report.populations.iter().position(|population| population.name == name)?;
        Some(Measured {
            report: &self.report,
            population: &self.report.populations[index],
            total: &self.totals[index],
        })
    }
}

/// One population of one run.
#[derive(Clone, Copy)]
struct Measured<'a> {
    report: &'a Report,
    population: &'a Population,
    total: &'a Recording,
}

/// One of the counts of a population.
type Counted = fn(&Population) -> u64;

/// How a program ends that has compared these: what is not valid cannot be compared.
pub fn exit(sides: &[Side; 2]) -> Exit {
    if sides.iter().all(|side| side.report.verdict.valid) { Exit::Good } else { Exit::NotTrustworthy }
}

/// Renders the two side by side. Lines end in `\n`.
pub fn render(sides: &[Side; 2]) -> String {
    // Writing to a String cannot fail.
    let mut out = String::new();
    for (letter, side) in ["A", "B"].into_iter().zip(sides) {
        let state = table::state(&side.report);
        let _ = writeln!(out, "{letter}  {}: {}, {state}", side.name, side.report.target);
        for reason in &side.report.verdict.reasons {
            let _ = writeln!(out, "   because: {}", reason.text);
        }
    }
    let mut marks = Marks::default();
    for name in names(sides) {
        match [&sides[0], &sides[1]].map(|side| side.population(name)) {
            [Some(a), Some(b)] => population(&mut out, &mut marks, [a, b]),
            [a, _] => {
                let _ = writeln!(out, "\n{name}: only {} has it", if a.is_some() { "A" } else { "B" });
            }
        }
    }
    notes(&mut out, marks, sides);
    out
}

/// The names of the populations of both, those of the first first.
fn names(sides: &[Side; 2]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for population in sides.iter().flat_map(|side| &side.report.populations) {
        if !names.contains(&population.name.as_str()) {
            names.push(&population.name);
        }
    }
    names
}

/// Which marks there are, and so have to be explained.
#[derive(Clone, Copy, Default)]
struct Marks {
    beyond_trust: bool,
    apart: bool,
}

fn population(out: &mut String, marks: &mut Marks, both: [Measured<'_>; 2]) {
    let _ = writeln!(
        out,
        "\n{:18}{:>9}{:>19}{:>10}{:>19}{:>9}",
        both[0].population.name, "A", "", "B", "", "B/A"
    );
    for kind in Kind::ALL {
        if both.iter().any(|measured| !measured.total.histogram(kind).is_empty()) {
            for percentile in PERCENTILES {
                latency(out, marks, both, kind, percentile);
            }
        }
    }
    let rate = |measured: Measured<'_>| measured.population.completed_per_s;
    row(out, "completed/s", both.map(|of| (rate(of), format!("{:.0}", rate(of)))));
    let share = |count: Counted, of: Measured<'_>| {
        count(of.population) as f64 / of.population.arrivals.scheduled.max(1) as f64
    };
    let shares: [(&str, Counted); 3] = [
        ("errored", |of| of.arrivals.errored),
        ("timed out", |of| of.arrivals.timed_out),
        ("never sent", |of| of.arrivals.never_sent),
    ];
    for (what, count) in shares {
        row(out, what, both.map(|of| (share(count, of), Percent(share(count, of)).to_string())));
    }
    let lost = both.map(|of| of.population.connections.lost);
    row(out, "lost", lost.map(|lost| (lost as f64, Count(lost).to_string())));
}

fn latency(out: &mut String, marks: &mut Marks, both: [Measured<'_>; 2], kind: Kind, percentile: f64) {
    let histograms = both.map(|measured| measured.total.histogram(kind));
    let intervals =
        histograms.each_ref().map(|histogram| Interval::of_quantile(histogram, percentile / 100.0));
    let values = histograms
        .map(|histogram| (!histogram.is_empty()).then(|| histogram.value_at_percentile(percentile)));
    let _ = write!(out, "{:10}{:8}", kind.name(), Percentile(percentile));
    for ((value, interval), measured) in values.iter().zip(&intervals).zip(both) {
        let is_beyond = value.is_some() && is_beyond_trust(measured.report, kind, percentile);
        marks.beyond_trust |= is_beyond;
        let value = value.map_or("-".to_owned(), |ns| Ns(ns).to_string());
        let mark = if is_beyond { "*" } else { " " };
        let _ = write!(out, "{value:>9}{mark}{:18}", interval.map(shown).unwrap_or_default());
    }
    let ratio = match values {
        [Some(a), Some(b)] => ratio([a as f64, b as f64]),
        _ => "-".to_owned(),
    };
    let apart = matches!(intervals, [Some(a), Some(b)] if !a.overlaps(&b));
    marks.apart |= apart;
    let _ = writeln!(out, "{ratio:>9}{}", if apart { "  apart" } else { "" });
}

fn shown(interval: Interval) -> String {
    let high = interval.high_ns.map(|high| Ns(high).to_string()).unwrap_or_default();
    format!(" {}..{high}", Ns(interval.low_ns))
}

/// A figure of both without an interval.
fn row(out: &mut String, what: &str, [a, b]: [(f64, String); 2]) {
    let ratio = ratio([a.0, b.0]);
    let _ = writeln!(out, "{what:18}{:>9}{:19}{:>9}{:19}{ratio:>9}", a.1, "", b.1, "");
}

fn ratio([a, b]: [f64; 2]) -> String {
    if a > 0.0 { format!("{:.3}", b / a) } else { "-".to_owned() }
}

fn notes(out: &mut String, marks: Marks, sides: &[Side; 2]) {
    let [a, b] = [&sides[0].report, &sides[1].report];
    let _ = writeln!(out);
    if marks.apart {
        let _ = writeln!(
            out,
            "apart: the {:.0} % intervals of the two have nothing in common. They hold for independent requests; what stalls one\n\
             request stalls its neighbours, so the doubt is larger than they are. `tidemark-gate` judges differences.",
            CONFIDENCE * 100.0
        );
    }
    if marks.beyond_trust {
        let _ =
            writeln!(out, "*: above the percentile up to which the run is trusted: not the target's alone");
    }
    for (what, difference) in [("plans", difference::of_plans(a, b)), ("hosts", difference::of_hosts(a, b))] {
        if let Some(difference) = difference {
            let _ = writeln!(out, "warning: the {what} differ: {difference}");
        }
    }
    if sides.iter().any(|side| !side.report.verdict.valid) {
        let _ = writeln!(out, "warning: what is INVALID cannot be compared");
    }
}
