//! `selftest`: is the gate itself to be believed? It is given builds that are the same and builds that are slower by a known size, and
//! what it says of them is counted.
//!
//! [`recorded`] draws runs from slots that were measured before, in seconds and as many as wanted; [`real`] measures.

pub mod real;
pub mod recorded;

use std::fmt::Write as _;

use serde::Serialize;
use tidemark_program::Exit;

use super::cli::SelftestArgs;
use super::decision::Verdict;
use super::run::say;
use crate::error::MeasureError;
use crate::interrupt::Interrupt;

/// What the gate must say of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// It must not fail, not once. That it cannot tell is no mistake.
    NeverFail,
    /// It must fail in at least 19 of 20 runs.
    FailInMost,
    /// It must fail each time.
    AlwaysFail,
}

impl Expected {
    /// Whether so many failures of so many runs are as they should be.
    pub const fn is_met(self, failed: usize, runs: usize) -> bool {
        match self {
            Self::NeverFail => failed == 0,
            // In whole numbers: at most a twentieth is missed.
            Self::FailInMost => (runs - failed) * 20 <= runs,
            Self::AlwaysFail => failed == runs,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::NeverFail => "no FAIL",
            Self::FailInMost => "FAIL in 19 of 20",
            Self::AlwaysFail => "FAIL each time",
        }
    }
}

/// What the gate said of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The case, in words.
    pub case: String,
    /// What it must say.
    pub expected: Expected,
    /// Runs in which it said PASS.
    pub passed: usize,
    /// FAIL.
    pub failed: usize,
    /// INCONCLUSIVE.
    pub inconclusive: usize,
    /// What was injected, as the gate saw it, run by run.
    pub seen: Vec<String>,
}

impl Row {
    /// A case that nothing was said of yet.
    pub fn new(case: impl Into<String>, expected: Expected) -> Self {
        Self { case: case.into(), expected, passed: 0, failed: 0, inconclusive: 0, seen: Vec::new() }
    }

    /// Counts a verdict.
    pub fn count(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Pass => &mut self.passed,
            Verdict::Fail => &mut self.failed,
            Verdict::Inconclusive => &mut self.inconclusive,
        } += 1;
    }

    /// Whether it is as it must be. Of a case without a run nothing is shown.
    pub const fn is_met(&self) -> bool {
        let runs = self.passed + self.failed + self.inconclusive;
        runs > 0 && self.expected.is_met(self.failed, runs)
    }
}

/// Renders the rows as a table. Lines end in `\n`.
pub fn render(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.case.len()).max().unwrap_or_default().max(4);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:width$}  PASS  FAIL  INCONCLUSIVE  must be", "case");
    for row in rows {
        let _ = writeln!(
            out,
            "{:width$}  {:>4}  {:>4}  {:>12}  {}{}",
            row.case,
            row.passed,
            row.failed,
            row.inconclusive,
            row.expected.words(),
            if row.is_met() { "" } else { ": MISSED" }
        );
        if let Some(seen) = row.seen.last() {
            let _ = writeln!(out, "{:width$}    seen: {seen}", "");
        }
    }
    out
}

/// Runs the command.
///
/// # Errors
/// When a record cannot be read, or a run cannot be measured.
pub fn run(args: &SelftestArgs, interrupt: &Interrupt) -> Result<Exit, MeasureError> {
    let rows = match &args.build {
        Some(build) => real::run(args, build, interrupt)?,
        None => recorded::run(args)?,
    };
    say(render(&rows).trim_end());
    Ok(Exit::judged(rows.iter().all(Row::is_met)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nineteen_of_twenty_are_most_and_eighteen_are_not() {
        let most = Expected::FailInMost;
        assert!(most.is_met(19, 20) && most.is_met(20, 20) && !most.is_met(18, 20));
        assert!(most.is_met(3, 3) && !most.is_met(2, 3), "of few runs all must fail");
        assert!(Expected::NeverFail.is_met(0, 59) && !Expected::NeverFail.is_met(1, 59));
        assert!(Expected::AlwaysFail.is_met(5, 5) && !Expected::AlwaysFail.is_met(4, 5));
    }

    #[test]
    fn a_case_without_a_run_is_not_shown_to_be_right() {
        assert!(!Row::new("nothing", Expected::NeverFail).is_met());
    }

    #[test]
    fn the_table() {
        let mut same = Row::new("the same build", Expected::NeverFail);
        let mut slower = Row::new("5 % more CPU time per request", Expected::FailInMost);
        for _ in 0..20 {
            same.count(Verdict::Pass);
            slower.count(Verdict::Fail);
        }
        same.count(Verdict::Inconclusive);
        slower.count(Verdict::Pass);
        slower.count(Verdict::Pass);
        slower.seen.push("cpu_per_echo +5.2 %".to_owned());
        insta::assert_snapshot!(render(&[same, slower]), @r"
        case                           PASS  FAIL  INCONCLUSIVE  must be
        the same build                   20     0             1  no FAIL
        5 % more CPU time per request     2    20             0  FAIL in 19 of 20: MISSED
                                         seen: cpu_per_echo +5.2 %
        ");
    }
}
