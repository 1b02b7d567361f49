//! The whole server stops answering, again and again.

use std::time::{Duration, Instant};

/// The last part of a stop is not slept through: a machine that has to wake up first would make it longer.
const AWAKE: Duration = Duration::from_millis(3);

/// Replies are never sent earlier than this: as much as five thousand take to send, half of them before the end.
const EARLY_MAX: Duration = Duration::from_millis(3);

/// Stops of a fixed length on a fixed grid of the monotonic clock, so that neither how often nor for how long it stops depends on how
/// long it was held up.
#[derive(Debug)]
pub(crate) struct Stalls {
    length: Duration,
    every: Duration,
    /// When the next stop begins, or the one that it is in began.
    begins: Instant,
    is_stopped: bool,
    /// Half of the times that the replies of the last two stops took to send. For the shorter one they begin to be sent before the end of
    /// a stop: as many then leave before it as after it, and their mean is that of a stop whose replies all leave at once. One that
    /// others held up is no measure.
    half_releases: [Duration; 2],
}

impl Stalls {
    /// Stops for `length` at every multiple of `every` from now on.
    pub(crate) fn new(length: Duration, every: Duration) -> Self {
        Self {
            length,
            every,
            begins: Instant::now() + every,
            is_stopped: false,
            half_releases: [Duration::ZERO; 2],
        }
    }

    /// How long may be slept.
    pub(crate) fn timeout(&self) -> Duration {
        let until = if self.is_stopped { self.releases().checked_sub(AWAKE) } else { Some(self.begins) };
        until.unwrap_or(self.begins).saturating_duration_since(Instant::now())
    }

    /// Whether nothing is answered now.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Begins or ends a stop, if it is time to. When one has ended this is when.
    pub(crate) fn update(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if !self.is_stopped {
            self.is_stopped = now >= self.begins;
            return None;
        }
        self.is_stopped = now < self.releases();
        (!self.is_stopped).then_some(now)
    }

    /// The replies of the stop that ended at `began` have been sent. Returns how late the middle of them was, which is early when it is
    /// negative, in us.
    pub(crate) fn released(&mut self, began: Instant) -> f64 {
        let now = Instant::now();
        let half = (now - began) / 2;
        let (middle, end) = (began + half, self.begins + self.length);
        while self.begins <= now {
            self.begins += self.every;
        }
        self.half_releases = [half, self.half_releases[0]];
        let us = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e6;
        us(end, middle) - us(middle, end)
    }

    fn releases(&self) -> Instant {
        let [last, before] = self.half_releases;
        self.begins + self.length.saturating_sub(last.min(before).min(EARLY_MAX))
    }
}
