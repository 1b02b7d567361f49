//! The whole server stops, again and again.

use std::time::{Duration, Instant};

/// Stops of a fixed length that begin on a fixed grid of the monotonic clock, so that how often it stops does not depend
/// on how long it was held up before.
#[derive(Debug)]
pub(crate) struct Stalls {
    length: Duration,
    every: Duration,
    next: Instant,
}

impl Stalls {
    /// Stops for `length` at every multiple of `every` from now on.
    pub(crate) fn new(length: Duration, every: Duration) -> Self {
        Self { length, every, next: Instant::now() + every }
    }

    /// How long until the next stop.
    pub(crate) fn until_next(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Stops, if it is time to. A stop that begins late is as long as any other.
    pub(crate) fn stop_if_due(&mut self) {
        let began = Instant::now();
        if began < self.next {
            return;
        }
        stop_for(self.length);
        let now = Instant::now();
        while self.next <= now {
            self.next += self.every;
        }
    }
}

/// The whole server does nothing for this long.
#[expect(clippy::disallowed_methods, reason = "the sleep is the fault itself, not a wait for something")]
pub(crate) fn stop_for(length: Duration) {
    std::thread::sleep(length);
}
