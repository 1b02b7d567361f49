//! The phases of a run and when each began.

use std::time::SystemTime;

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening connections.
    Connect,
    /// Load that is not measured.
    Warmup,
    /// Load that is measured.
    Measure,
    /// No new load; the last replies are waited for.
    Drain,
    /// Over, and the verdict is final.
    Done,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Warmup, Self::Measure, Self::Drain, Self::Done];

    /// The value of the label `phase`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Warmup => "warmup",
            Self::Measure => "measure",
            Self::Drain => "drain",
            Self::Done => "done",
        }
    }
}

/// When each phase begins; those that are planned lie in the future.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    starts: [Option<SystemTime>; Phase::ALL.len()],
}

impl Phases {
    /// The ramp begins now.
    pub(super) fn connecting(now: SystemTime) -> Self {
        let mut phases = Self { starts: [None; Phase::ALL.len()] };
        phases.set(Phase::Connect, now);
        phases
    }

    /// A phase begins, or will begin.
    pub(super) fn set(&mut self, phase: Phase, start: SystemTime) {
        self.starts[phase as usize] = Some(start);
    }

    /// The phase that the run is in: the last that has begun.
    pub(super) fn current(&self, now: SystemTime) -> Phase {
        let begun = Phase::ALL.into_iter().rfind(|&phase| self.started(phase, now).is_some());
        begun.unwrap_or(Phase::Connect)
    }

    /// When a phase began; `None` when it has not.
    pub(super) fn started(&self, phase: Phase, now: SystemTime) -> Option<SystemTime> {
        // A run that ended before a planned start never was in that phase, however long its figures are shown.
        let horizon = self.starts[Phase::Done as usize].map_or(now, |done| done.min(now));
        self.starts[phase as usize].filter(|&start| start <= horizon)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(s: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(s)
    }

    #[test]
    fn the_phase_is_the_last_that_has_begun() {
        let mut phases = Phases::connecting(at(10));
        assert_eq!(phases.current(at(1000)), Phase::Connect);
        phases.set(Phase::Warmup, at(20));
        phases.set(Phase::Measure, at(21));
        phases.set(Phase::Drain, at(31));
        let seen: Vec<Phase> = [19, 20, 21, 30, 31, 99].map(|now| phases.current(at(now))).into();
        let expected = ["connect", "warmup", "measure", "measure", "drain", "drain"];
        assert_eq!(seen.iter().map(|phase| phase.name()).collect::<Vec<_>>(), expected);
        assert_eq!(phases.started(Phase::Drain, at(30)), None);
        assert_eq!(phases.started(Phase::Drain, at(31)), Some(at(31)));
        phases.set(Phase::Done, at(32));
        assert_eq!(phases.current(at(99)), Phase::Done);
    }

    #[test]
    fn a_run_that_ended_early_never_came_to_what_was_planned() {
        let mut phases = Phases::connecting(at(10));
        phases.set(Phase::Measure, at(20));
        phases.set(Phase::Drain, at(60));
        phases.set(Phase::Done, at(30));
        assert_eq!(phases.current(at(99)), Phase::Done);
        assert_eq!(phases.started(Phase::Drain, at(99)), None);
    }

    #[test]
    fn a_phase_without_length_is_passed_over() {
        let mut phases = Phases::connecting(at(10));
        phases.set(Phase::Warmup, at(20));
        phases.set(Phase::Measure, at(20));
        assert_eq!(phases.current(at(20)), Phase::Measure);
    }
}
