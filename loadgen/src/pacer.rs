//! Waiting to the microsecond: sleep until shortly before the deadline, then spin.
//!
//! epoll's own timeouts, as mio passes them on, round up to a millisecond. So an absolute timerfd in the same epoll
//! wakes the loop `spin_ns` early, and the rest is spent polling with a zero timeout. Of a worker with a CPU to itself this also
//! keeps replies prompt.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// How long before a deadline the loop stops sleeping, when it has a CPU to itself. A sleeping virtual CPU takes 20 to
/// 60 us to come back.
pub const SPIN_NS: u64 = 100_000;

/// The same when workers share CPUs: about what it takes to come back at least. What is left of it is taken from the others, at the most
/// this for each deadline.
pub const SHARED_SPIN_NS: u64 = 25_000;

// Whoever may spin for longer than that has its CPU to itself.
const _: () = assert!(SHARED_SPIN_NS < SPIN_NS);

/// Waits for events or a deadline, whichever comes first.
#[derive(Debug)]
pub struct Pacer {
    timer: OwnedFd,
    armed_ns: Option<u64>,
    spin_ns: u64,
}

impl Pacer {
    /// A pacer whose timer wakes `poll` under `token`.
    ///
    /// # Errors
    /// When the timer cannot be made, for want of a descriptor.
    pub fn new(poll: &Poll, token: Token, spin_ns: u64) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, armed_ns: None, spin_ns })
    }

    /// Polls once: without waiting when the deadline is near or past, or until `poll_until_ns` on a CPU of its own, else until an
    /// event or shortly before the deadline.
    ///
    /// # Errors
    /// What epoll or the timer reports; an interrupting signal is no error.
    pub fn wait(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        now_ns: u64,
        deadline_ns: Option<u64>,
        poll_until_ns: Option<u64>,
    ) -> io::Result<()> {
        let has_cpu = self.spin_ns > SHARED_SPIN_NS;
        let is_polling = has_cpu && poll_until_ns.is_some_and(|until_ns| now_ns < until_ns);
        let timeout = match deadline_ns {
            _ if is_polling => Some(Duration::ZERO),
            Some(deadline_ns) if deadline_ns <= now_ns + self.spin_ns => Some(Duration::ZERO),
            Some(deadline_ns) => {
                self.arm(deadline_ns - self.spin_ns)?;
                None
            }
            None => None,
        };
        match poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    fn arm(&mut self, at_ns: u64) -> io::Result<()> {
        if self.armed_ns == Some(at_ns) {
            return Ok(());
        }
        let [seconds, rest_ns] = [at_ns / 1_000_000_000, at_ns % 1_000_000_000].map(u64::cast_signed);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: seconds, tv_nsec: rest_ns },
        };
        // Setting the timer also clears its expirations, so it is never read: each expiry is a new edge.
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.armed_ns = Some(at_ns);
        Ok(())
    }
}
