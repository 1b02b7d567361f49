//! The whole server stops answering, again and again.

use std::time::{Duration, Instant};

/// The last part of a stop is not slept through: a machine that has to wake up first would make it longer.
const AWAKE: Duration = Duration::from_millis(3);

/// Stops of a fixed length that begin on a fixed grid of the monotonic clock, so that how often it stops does not depend
/// on how long it was held up before.
#[derive(Debug)]
pub(crate) struct Stalls {
    length: Duration,
    every: Duration,
    next: Instant,
    /// When the stop that it is in ends.
    ends: Option<Instant>,
}

impl Stalls {
    /// Stops for `length` at every multiple of `every` from now on.
    pub(crate) fn new(length: Duration, every: Duration) -> Self {
        Self { length, every, next: Instant::now() + every, ends: None }
    }

    /// How long may be slept.
    pub(crate) fn timeout(&self) -> Duration {
        let now = Instant::now();
        match self.ends {
            Some(ends) => ends.saturating_duration_since(now + AWAKE),
            None => self.next.saturating_duration_since(now),
        }
    }

    /// Whether nothing is answered now.
    pub(crate) fn is_stopped(&self) -> bool {
        self.ends.is_some()
    }

    /// Begins or ends a stop, if it is time to. A stop that begins late is as long as any other. Returns whether one has ended.
    pub(crate) fn update(&mut self) -> bool {
        let now = Instant::now();
        match self.ends {
            Some(ends) if now >= ends => {
                self.ends = None;
                while self.next <= now {
                    self.next += self.every;
                }
                true
            }
            None if now >= self.next => {
                self.ends = Some(now + self.length);
                false
            }
            _ => false,
        }
    }
}
