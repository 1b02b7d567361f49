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
    /// Stops for `length` at every multiple of `every` from `now` on.
    pub(crate) fn new(length: Duration, every: Duration, now: Instant) -> Self {
        Self { length, every, begins: now + every, is_stopped: false, half_releases: [Duration::ZERO; 2] }
    }

    /// How long may be slept.
    pub(crate) fn timeout(&self, now: Instant) -> Duration {
        let until = if self.is_stopped { self.releases().checked_sub(AWAKE) } else { Some(self.begins) };
        until.unwrap_or(self.begins).saturating_duration_since(now)
    }

    /// Whether nothing is answered now.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Begins or ends a stop, if it is time to. When one has ended this is when.
    pub(crate) fn update(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_stopped {
            self.is_stopped = now >= self.begins;
            return None;
        }
        self.is_stopped = now < self.releases();
        (!self.is_stopped).then_some(now)
    }

    /// The replies of the stop that ended at `began` have been sent by `now`. Returns how late the middle of them was, which is early when it is
    /// negative, in us.
    pub(crate) fn released(&mut self, began: Instant, now: Instant) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs one stop after the other, each of which takes so long to send its replies; how late it says they were, in us.
    fn lateness_us(release_ms: &[u64]) -> Vec<f64> {
        let start = Instant::now();
        let at = |us: u64| start + Duration::from_micros(us);
        let mut stalls = Stalls::new(Duration::from_millis(100), Duration::from_secs(1), start);
        let lateness = release_ms.iter().zip(1..).map(|(release_ms, second)| {
            let began_us =
                (second * 1_000_000 - 1..).find_map(|us| stalls.update(at(us)).map(|_| us)).unwrap();
            stalls.released(at(began_us), at(began_us + release_ms * 1000))
        });
        lateness.collect()
    }

    #[test]
    fn it_stops_on_a_grid_and_is_awake_before_the_end() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut stalls = Stalls::new(Duration::from_millis(100), Duration::from_secs(1), start);
        assert_eq!((stalls.timeout(at(0)), stalls.is_stopped()), (Duration::from_secs(1), false));
        // Late by 20 ms, and still over in time.
        assert_eq!((stalls.update(at(1020)), stalls.is_stopped()), (None, true));
        assert_eq!(stalls.timeout(at(1020)), Duration::from_millis(80).saturating_sub(AWAKE));
        assert_eq!(stalls.update(at(1099)), None);
        assert_eq!(stalls.update(at(1100)), Some(at(1100)));
        assert!(stalls.released(at(1100), at(1100)).abs() < 1.0);
        assert_eq!(stalls.timeout(at(1100)), Duration::from_millis(900));
    }

    #[test]
    fn replies_that_take_long_to_send_leave_about_the_end() {
        // Half of the first two leaves too late; from the third on as much too early as too late.
        let lateness = lateness_us(&[2, 2, 2, 2]);
        for (lateness, expected) in lateness.iter().zip([1000.0, 1000.0, 0.0, 0.0]) {
            assert!((lateness - expected).abs() < 2.0, "{lateness}");
        }
    }

    #[test]
    fn a_release_that_was_held_up_shortens_no_other() {
        let lateness = lateness_us(&[2, 2, 50, 2, 2]);
        for (lateness, expected) in lateness.iter().zip([1000.0, 1000.0, 24_000.0, 0.0, 0.0]) {
            assert!((lateness - expected).abs() < 2.0, "{lateness}");
        }
        let always = lateness_us(&[50, 50, 50]);
        assert!((always[2] - 22_000.0).abs() < 2.0, "no more than EARLY_MAX: {always:?}");
    }
}
