//! One thing that a run is checked for: what was measured, what is allowed, and whether that is kept.

use serde::{Deserialize, Serialize};

/// A check that was made, whatever it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The population that it is about; none when it is about all, or there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<String>,
    /// What the figure is, in words.
    pub what: String,
    /// What was measured.
    pub figure: f64,
    /// How the figure must stand to the limit.
    pub bound: Bound,
    /// What is allowed.
    pub limit: f64,
    /// What both are counted in.
    pub unit: Unit,
    /// Whether it is kept.
    pub ok: bool,
    /// Whether a run that does not keep it is INVALID; otherwise that is a note.
    pub decides: bool,
    /// What was found and what to do about it, when it is not kept.
    pub why: Option<String>,
}

/// How a figure must stand to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No larger.
    AtMost,
    /// No smaller.
    AtLeast,
    /// The same.
    Exactly,
}

/// What a check is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A number of something.
    Count,
    /// A part of 1.
    Fraction,
    /// Nanoseconds.
    Ns,
    /// Seconds.
    S,
    /// The statistic A² of a test of Anderson and Darling.
    ASquared,
}

/// One thing that was checked and found wanting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// Which check.
    pub check: String,
    /// What it found.
    pub figure: f64,
    /// What it allows.
    pub limit: f64,
    /// Both in a sentence, with what to do.
    pub text: String,
}

impl Check {
    /// A check of `figure`, in `unit`, that decides on the run. It is kept when there is no `why`.
    pub(super) fn new(
        name: &str,
        what: &str,
        unit: Unit,
        figure: f64,
        (bound, limit): (Bound, f64),
        why: Option<String>,
    ) -> Self {
        let (name, what) = (name.to_owned(), what.to_owned());
        Self {
            name,
            population: None,
            what,
            figure,
            bound,
            limit,
            unit,
            ok: why.is_none(),
            decides: true,
            why,
        }
    }

    /// A check of a number of things of which there must be none.
    pub(super) fn none(name: &str, what: &str, count: u64, why: impl FnOnce() -> String) -> Self {
        let why = (count > 0).then(why);
        Self::new(name, what, Unit::Count, count as f64, (Bound::AtMost, 0.0), why)
    }

    /// The same check, whose finding is a note and no reason.
    #[must_use]
    pub(super) fn into_note(self) -> Self {
        Self { decides: false, ..self }
    }

    /// What it found wanting.
    pub(super) fn finding(&self) -> Option<Finding> {
        let text = self.why.clone()?;
        Some(Finding { check: self.name.clone(), figure: self.figure, limit: self.limit, text })
    }
}
