//! `gate.json`: everything that a run found out.
//!
//! Its shape is an interface: fields are added, and `schema_version` goes up when one changes its meaning or goes away.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidemark_host::facts::Facts;

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
    pub counts: Option<Vec<Count>>,
    /// Tier B, when it was measured.
    #[serde(default)]
    pub times: Option<Times>,
}

/// Whether head is slower. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is not, or by less than the margin.
    Pass,
    /// This run cannot tell.
    Inconclusive,
    /// It is.
    Fail,
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
}

/// Tier B.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Why no more blocks were measured.
    pub ended: Ended,
    /// How many were measured.
    pub blocks: usize,
    /// How much was done in a slot.
    pub work: Work,
    /// What was decided, metric by metric.
    pub metrics: Vec<MetricResult>,
    /// Every slot, in the order they were measured.
    pub slots: Vec<SlotLine>,
}

/// Why no more blocks were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was decided.
    Decided,
    /// The last look was reached.
    LastLook,
    /// The next look was not to be reached within the budget.
    OutOfTime,
    /// These are all that there were.
    OutOfBlocks,
}

/// What was decided on a metric. Changes are parts of base; more than 0 is worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricResult {
    /// Which.
    pub metric: Metric,
    /// What was decided.
    pub verdict: Verdict,
    /// Median of base's slots.
    pub base_ns: f64,
    /// Median of head's slots.
    pub head_ns: f64,
    /// The estimate (Hodges-Lehmann, over blocks); `None` before the first look.
    pub change: Option<f64>,
    /// What it is at least, and at most, with the confidence of this look.
    pub interval: Option<(f64, f64)>,
    /// How probable what was seen is when head is not slower by more than is tolerated, corrected for several metrics (Holm).
    pub p_value: Option<f64>,
    /// Head may be worse by this much and pass.
    pub margin: f64,
    /// The smallest change that a run like this would have found with probability 0.8.
    pub detectable: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_is_the_greatest() {
        assert!(Verdict::Pass < Verdict::Inconclusive && Verdict::Inconclusive < Verdict::Fail);
        let exits = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive].map(|verdict| verdict.exit() as u8);
        assert_eq!(exits, [0, 1, 3]);
    }
}
