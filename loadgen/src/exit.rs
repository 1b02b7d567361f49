//! Exit codes, the same for every program of the project.

use std::process::ExitCode;

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is good.
    Good = 0,
    /// Wrong usage: also a bad scenario or configuration.
    Usage = 2,
    /// What was measured cannot be trusted.
    NotTrustworthy = 3,
    /// It could not run: target unreachable, host limits.
    CouldNotRun = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
