//! `gate.json`: everything that a run found out.
//!
//! Its shape is an interface: fields are added, and `schema_version` goes up when one changes its meaning or goes away.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidemark_host::facts::Facts;

use super::decision::{Decision, MetricDecision, Verdict};
use super::measure::Work;
use super::metric::Metric;
use super::record::SlotLine;
use tidemark_program::Exit;

/// The version of the shape of [`Report`].
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The worst of all that follows.
    pub verdict: Verdict,
    /// It in a sentence.
    pub why: String,
    /// Which run it was.
    pub run: Run,
    /// What head was held against.
    pub base: Side,
    /// What was judged.
    pub head: Side,
    /// Whether both servers are the same, byte by byte.
    pub identical: bool,
    /// The machine.
    pub host: Facts,
    /// Tier A, when it was measured.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// Tier B, when it was measured.
    #[serde(default)]
    pub times: Option<Times>,
}

impl Verdict {
    /// The exit code that it means.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Pass => Exit::Good,
            Self::Inconclusive => Exit::NotTrustworthy,
            Self::Fail => Exit::JudgedBad,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Fail => "FAIL",
        })
    }
}

/// Identity of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// How long it took.
    pub took_s: f64,
    /// How long it might have taken.
    pub budget_s: f64,
    /// Seed of the order of slots.
    pub seed: u64,
    /// Version of the gate.
    pub version: String,
}

/// One of the two builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// What it is called.
    pub name: String,
    /// Size of the server's file.
    pub server_bytes: u64,
}

/// Tier A.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// What was counted.
    pub rows: Vec<Count>,
    /// What was not, and is therefore not judged.
    pub not_counted: Vec<NotCounted>,
}

/// Something that could not be counted here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCounted {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// A count of tier A.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// What was counted, and per what.
    pub name: String,
    /// Base's.
    pub base: f64,
    /// Head's.
    pub head: f64,
    /// Head's may be at most this.
    pub limit: f64,
    /// Whether it is.
    pub verdict: Verdict,
    /// What it is made up of, such as system calls by name. Nothing is decided on these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// A part of a count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub name: String,
    /// Base's.
    pub base: f64,
    /// Head's.
    pub head: f64,
}

/// Tier B.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Why no more blocks were measured.
    pub ended: Ended,
    /// How many were measured. Those that it was decided on are in the decision.
    pub blocks: usize,
    /// How much was done in a slot.
    pub work: Work,
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// What was decided.
    pub decision: Decision,
    /// Every slot, in the order they were measured.
    pub slots: Vec<SlotLine>,
}

/// Why no more blocks were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was decided.
    Decided,
    /// There is no further look: the last was reached, or too many blocks were disturbed.
    NoLook,
    /// The next look was not to be reached within the budget.
    OutOfTime,
    /// These are all that there were.
    OutOfBlocks,
}

impl Times {
    /// What was asked for, in the order that it is shown, with what was decided on it: nothing before the first look.
    pub fn rows(&self) -> impl Iterator<Item = (Metric, Option<&MetricDecision>)> {
        let decided = |metric| self.decision.metrics.iter().find(move |decision| decision.metric == metric);
        self.metrics.iter().map(move |&metric| (metric, decided(metric)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_has_its_exit_code() {
        let exits = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive].map(|verdict| verdict.exit() as u8);
        assert_eq!(exits, [0, 1, 3]);
    }
}
