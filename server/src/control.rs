//! How a running server is told to stop, and how its workers learn of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tidemark_host::wake::Wake;

pub use crate::drain::Phase;
use crate::drain::Times;

/// What a server's threads share about its end.
#[derive(Debug)]
pub struct Control {
    started: AtomicBool,
    /// When it was first asked to stop.
    asked: OnceLock<Instant>,
    aborted: AtomicBool,
    times: Times,
    wakes: Vec<Wake>,
}

impl Control {
    /// A server that has not started. `wakes` are those of its workers.
    pub fn new(wakes: Vec<Wake>, times: Times) -> Control {
        Control {
            started: AtomicBool::new(false),
            asked: OnceLock::new(),
            aborted: AtomicBool::new(false),
            times,
            wakes,
        }
    }

    /// The phase at `now`. It only goes forward as long as `now` does.
    pub fn phase(&self, now: Instant) -> Phase {
        if self.aborted.load(Ordering::Acquire) {
            return Phase::Aborted;
        }
        self.asked.get().map_or(Phase::Running, |&asked| self.times.phase(asked, now))
    }

    /// When the phase changes by itself.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        self.times.next_change(*self.asked.get()?, now)
    }

    /// When the closing phase began, or begins; none when nobody has asked.
    pub fn closes_at(&self) -> Option<Instant> {
        Some(*self.asked.get()? + self.times.grace)
    }

    /// How long each phase may take.
    pub fn times(&self) -> Times {
        self.times
    }

    /// Begins the drain. Later calls change nothing.
    pub fn drain(&self) {
        self.asked.get_or_init(Instant::now);
        self.wakes.iter().for_each(Wake::wake);
    }

    /// Ends everything at once.
    pub fn abort(&self) {
        self.asked.get_or_init(Instant::now);
        self.aborted.store(true, Ordering::Release);
        self.wakes.iter().for_each(Wake::wake);
    }

    /// All listeners accept.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Whether new connections are welcome.
    pub fn is_ready(&self) -> bool {
        self.started.load(Ordering::Acquire) && self.asked.get().is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIMES: Times = Times { grace: Duration::from_secs(1), timeout: Duration::from_secs(9) };

    #[test]
    fn ready_only_between_start_and_drain() {
        let control = Control::new(Vec::new(), TIMES);
        assert!(!control.is_ready());
        control.set_started();
        assert!(control.is_ready());
        control.drain();
        assert!(!control.is_ready(), "also in the grace period");
    }

    #[test]
    fn the_first_time_it_was_asked_counts_and_an_abort_is_the_end() {
        let control = Control::new(Vec::new(), TIMES);
        let now = Instant::now();
        assert_eq!(
            (control.phase(now), control.next_change(now), control.closes_at()),
            (Phase::Running, None, None)
        );
        control.drain();
        let closes_at = control.closes_at().unwrap();
        assert_eq!(control.phase(now), Phase::Grace);
        assert_eq!(control.phase(closes_at), Phase::Closing);
        assert_eq!(control.next_change(closes_at), Some(closes_at + TIMES.timeout));
        control.drain();
        assert_eq!(control.closes_at(), Some(closes_at));
        control.abort();
        control.drain();
        assert_eq!((control.phase(now), control.closes_at()), (Phase::Aborted, Some(closes_at)));
    }

    #[test]
    fn a_change_of_phase_wakes_every_worker() {
        use rustix::event::{PollFd, PollFlags, poll};
        let wakes: Vec<Wake> = (0..3).map(|_| Wake::new().unwrap()).collect();
        let control = Control::new(wakes.clone(), TIMES);
        control.drain();
        let mut fds: Vec<_> = wakes.iter().map(|wake| PollFd::new(wake, PollFlags::IN)).collect();
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&none)).unwrap(), 3);
    }
}
