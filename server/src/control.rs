//! How a running server is told to stop, and how its workers learn of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tidemark_host::wake::Wake;

/// What the workers are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accept and serve.
    Running,
    /// Accept nothing more, finish what is under way, close what is idle; all of it before the deadline.
    Draining,
    /// Drop everything and return at once.
    Aborted,
}

/// Shared by the workers, the admin plane and whoever may stop the server.
///
/// Workers look at it once per turn of their loop; a change of phase wakes all of them, so that they look.
#[derive(Debug)]
pub struct Control {
    phase: AtomicU8,
    /// All workers accept. Together with the phase this is what `/ready` answers.
    started: AtomicBool,
    /// Set once, together with the change to [`Phase::Draining`].
    drain_deadline: OnceLock<Instant>,
    drain_timeout: Duration,
    /// Made before the workers: with private descriptor tables one made later would not be open in theirs.
    wakes: Vec<Wake>,
}

impl Control {
    /// A running server's control. Workers register and clear the wake that has their index.
    pub fn new(wakes: Vec<Wake>, drain_timeout: Duration) -> Control {
        Control {
            phase: AtomicU8::new(Phase::Running as u8),
            started: AtomicBool::new(false),
            drain_deadline: OnceLock::new(),
            drain_timeout,
            wakes,
        }
    }

    /// What the workers are to do now.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Aborted,
        }
    }

    /// Begins the drain. Further calls change nothing.
    pub fn drain(&self) {
        // The deadline first: a worker that sees the phase must find it.
        self.drain_deadline.get_or_init(|| Instant::now() + self.drain_timeout);
        self.advance(Phase::Draining);
    }

    /// Ends everything at once.
    pub fn abort(&self) {
        self.drain_deadline.get_or_init(Instant::now);
        self.advance(Phase::Aborted);
    }

    /// Only ever forward: a drain asked for during an abort does not take the abort back.
    fn advance(&self, to: Phase) {
        self.phase.fetch_max(to as u8, Ordering::AcqRel);
        self.wakes.iter().for_each(Wake::wake);
    }

    /// When what is not finished is cut off. `None` while the server runs.
    pub fn drain_deadline(&self) -> Option<Instant> {
        self.drain_deadline.get().copied()
    }

    /// Called once, when every worker accepts.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Whether new connections are welcome: all workers accept and no drain has begun.
    pub fn is_ready(&self) -> bool {
        self.started.load(Ordering::Acquire) && self.phase() == Phase::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_between_start_and_drain() {
        let control = Control::new(Vec::new(), Duration::from_secs(1));
        assert!(!control.is_ready());
        control.set_started();
        assert!(control.is_ready());
        control.drain();
        assert!(!control.is_ready());
    }

    #[test]
    fn phases_only_go_forward_and_the_first_deadline_stays() {
        let control = Control::new(Vec::new(), Duration::from_secs(1));
        assert_eq!((control.phase(), control.drain_deadline()), (Phase::Running, None));
        control.drain();
        let deadline = control.drain_deadline();
        assert!(deadline.is_some());
        control.abort();
        control.drain();
        assert_eq!((control.phase(), control.drain_deadline()), (Phase::Aborted, deadline));
    }

    #[test]
    fn a_change_of_phase_wakes_every_worker() {
        use rustix::event::{PollFd, PollFlags, poll};
        let wakes: Vec<Wake> = (0..3).map(|_| Wake::new().unwrap()).collect();
        let control = Control::new(wakes.clone(), Duration::ZERO);
        control.drain();
        let mut fds: Vec<_> = wakes.iter().map(|wake| PollFd::new(wake, PollFlags::IN)).collect();
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&none)).unwrap(), 3);
    }
}
