//! How a server stops: the phases, and who has to go when. Pure: time is an argument.
//!
//! ```text
//! Running ──asked──> Grace ──grace over──> Closing ──all gone──> ended
//!                                             └──timeout over──> Overdue: what is left is cut off
//! ```
//! In the grace period everything goes on but readiness, so that whoever sends connections here can learn of it first. A second
//! request to stop skips all of it ([`Phase::Aborted`]).

use std::time::{Duration, Instant};

/// Where a server stands between running and its end. The order is the only way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are welcome.
    Running,
    /// It was asked to stop, is not ready any more, and still accepts.
    Grace,
    /// Nothing is accepted; what is under way is finished, and idle connections are told goodbye.
    Closing,
    /// What is not finished is cut off.
    Overdue,
    /// Everything ends at once.
    Aborted,
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Phase; 5] =
        [Phase::Running, Phase::Grace, Phase::Closing, Phase::Overdue, Phase::Aborted];

    /// The value of the metric's `phase` label.
    pub const fn label(self) -> &'static str {
        match self {
            Phase::Running => "running",
            Phase::Grace => "grace",
            Phase::Closing => "closing",
            Phase::Overdue => "overdue",
            Phase::Aborted => "aborted",
        }
    }
}

/// How long each phase may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Not ready, and still accepting.
    pub grace: Duration,
    /// Closing; counted from the end of the grace period.
    pub timeout: Duration,
}

impl Times {
    /// The phase at `now` of a server that was asked to stop at `asked`.
    pub fn phase(&self, asked: Instant, now: Instant) -> Phase {
        match now.saturating_duration_since(asked).checked_sub(self.grace) {
            None => Phase::Grace,
            Some(closing) if closing < self.timeout => Phase::Closing,
            Some(_) => Phase::Overdue,
        }
    }

    /// When the next phase begins; none when there is none.
    pub fn next_change(&self, asked: Instant, now: Instant) -> Option<Instant> {
        match self.phase(asked, now) {
            Phase::Grace => Some(asked + self.grace),
            Phase::Closing => Some(asked + self.grace + self.timeout),
            _ => None,
        }
    }
}

/// So many idle connections are told goodbye at once. Their clients come back somewhere else, and few do that unnoticed.
const AT_ONCE: u32 = 1024;

/// And so many a second after them, or as many more as are needed to be done in half of the time there is.
const PER_SECOND: f64 = 20_000.0;

/// How long after the beginning of the closing phase the idle connection `number` of `of` is told goodbye, when there is
/// `timeout` for all.
pub fn goodbye_after(number: u32, of: u32, timeout: Duration) -> Duration {
    let later = f64::from(number.saturating_sub(AT_ONCE - 1));
    let all = f64::from(of.saturating_sub(AT_ONCE));
    let half_s = timeout.as_secs_f64() / 2.0;
    let per_second = PER_SECOND.max(all / half_s.max(1e-3));
    Duration::from_secs_f64(later / per_second)
}

/// How many of the idle connections have been told so far, that long after.
pub fn goodbyes_until(since: Duration, of: u32, timeout: Duration) -> u32 {
    let half_s = timeout.as_secs_f64() / 2.0;
    let per_second = PER_SECOND.max(f64::from(of.saturating_sub(AT_ONCE)) / half_s.max(1e-3));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; as saturates")]
    let later = (since.as_secs_f64() * per_second) as u32;
    AT_ONCE.saturating_add(later).min(of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_phases_follow_each_other_at_their_times() {
        let asked = Instant::now();
        let times = Times { grace: 100 * MS, timeout: 400 * MS };
        for (after_ms, phase, next_ms) in [
            (0, Phase::Grace, Some(100)),
            (99, Phase::Grace, Some(100)),
            (100, Phase::Closing, Some(500)),
            (499, Phase::Closing, Some(500)),
            (500, Phase::Overdue, None),
            (100_000, Phase::Overdue, None),
        ] {
            let now = asked + after_ms * MS;
            assert_eq!(times.phase(asked, now), phase, "{after_ms} ms");
            assert_eq!(
                times.next_change(asked, now),
                next_ms.map(|ms: u32| asked + ms * MS),
                "{after_ms} ms"
            );
        }
    }

    #[test]
    fn without_a_grace_period_it_closes_at_once_and_without_time_it_is_overdue_at_once() {
        let asked = Instant::now();
        let times = Times { grace: Duration::ZERO, timeout: 400 * MS };
        assert_eq!(times.phase(asked, asked), Phase::Closing);
        let times = Times { grace: Duration::ZERO, timeout: Duration::ZERO };
        assert_eq!(times.phase(asked, asked), Phase::Overdue);
    }

    #[test]
    fn few_are_told_at_once_and_many_over_half_of_the_time() {
        let timeout = Duration::from_secs(10);
        assert_eq!(goodbyes_until(Duration::ZERO, 500, timeout), 500);
        assert_eq!(goodbye_after(1023, 1_000_000, timeout), Duration::ZERO);
        assert_eq!(goodbyes_until(Duration::ZERO, 21_024, timeout), 1024);
        assert_eq!(goodbyes_until(Duration::from_secs(1), 21_024, timeout), 21_024);
        let half = Duration::from_secs(5);
        assert_eq!(goodbyes_until(half, 1_000_000, timeout), 1_000_000);
        assert!(goodbye_after(999_999, 1_000_000, timeout) <= half);
    }

    proptest! {
        #[test]
        fn phases_only_go_forward_and_change_when_it_is_said(
            grace_ms in 0_u32..1000, timeout_ms in 0_u32..1000, steps in prop::collection::vec(0_u32..200, 1..30)
        ) {
            let asked = Instant::now();
            let times = Times { grace: grace_ms * MS, timeout: timeout_ms * MS };
            let (mut now, mut last) = (asked, times.phase(asked, asked));
            for step in steps {
                let next = times.next_change(asked, now);
                now += step * MS;
                let phase = times.phase(asked, now);
                prop_assert!(phase >= last);
                prop_assert_eq!(phase > last, next.is_some_and(|next| now >= next));
                last = phase;
            }
        }

        #[test]
        fn the_two_views_of_a_goodbye_agree(of in 1_u32..2_000_000, part in 0.0..1.0_f64, timeout_ms in 1_u32..60_000) {
            let timeout = timeout_ms * MS;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of it")]
            let number = (f64::from(of - 1) * part) as u32;
            let after = goodbye_after(number, of, timeout);
            // One more or less is rounding.
            prop_assert!(goodbyes_until(after, of, timeout) >= number.saturating_sub(1).min(of));
            prop_assert!(goodbyes_until(after + MS, of, timeout) >= number.min(of));
            prop_assert!(after <= timeout.div_f64(2.0) + MS || f64::from(of) / PER_SECOND > after.as_secs_f64() - 1.0);
        }
    }
}
