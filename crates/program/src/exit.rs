//! Exit codes, the same for every program of the project.

use std::process::{ExitCode, ExitStatus};

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is good.
    Good = 0,
    /// It ran, and the result is bad: a target was missed, connections were cut off.
    JudgedBad = 1,
    /// Wrong usage: also a bad scenario or configuration.
    Usage = 2,
    /// What was measured cannot be trusted.
    NotTrustworthy = 3,
    /// It could not run: target unreachable, port in use, host limits.
    CouldNotRun = 4,
}

impl Exit {
    /// Good when the target was met.
    pub const fn judged(is_met: bool) -> Self {
        if is_met { Self::Good } else { Self::JudgedBad }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<ExitStatus> for Exit {
    /// The code of another of the project's programs. One that was killed could not run.
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(0) => Self::Good,
            Some(1) => Self::JudgedBad,
            Some(2) => Self::Usage,
            Some(3) => Self::NotTrustworthy,
            _ => Self::CouldNotRun,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_code_is_passed_on_and_a_kill_is_a_run_that_could_not_be() {
        for exit in [Exit::Good, Exit::JudgedBad, Exit::Usage, Exit::NotTrustworthy, Exit::CouldNotRun] {
            assert_eq!(Exit::from(ExitStatus::from_raw((exit as i32) << 8)), exit);
        }
        let killed = ExitStatus::from_raw(9);
        assert_eq!(Exit::from(killed), Exit::CouldNotRun);
    }

    #[test]
    fn only_a_target_that_was_met_is_good() {
        assert_eq!((Exit::judged(true), Exit::judged(false)), (Exit::Good, Exit::JudgedBad));
    }
}
