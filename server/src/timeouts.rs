//! How long a peer may do nothing, in the coarse ticks of the [`wheel`](crate::wheel). Pure.

use std::time::{Duration, Instant};

/// The length of a tick. A timeout comes true up to two ticks late, and never early.
pub const TICK: Duration = Duration::from_millis(100);

const TICKS_PER_SECOND: u64 = 10;

const _: () = assert!(
    TICK.as_nanos() * (TICKS_PER_SECOND as u128) == 1_000_000_000,
    "a second is a whole number of ticks"
);

/// More than this is a mistake, and does not fit the ticks.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a peer is timed out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// Nothing was exchanged.
    Idle,
    /// A request head was begun and not ended.
    Head,
    /// The peer took nothing of what it is owed.
    Write,
}

impl Timeout {
    /// Every kind, in the order of its discriminant.
    pub const ALL: [Timeout; 3] = [Timeout::Idle, Timeout::Head, Timeout::Write];

    /// The value of the metric's `kind` label.
    pub const fn label(self) -> &'static str {
        match self {
            Timeout::Idle => "idle",
            Timeout::Head => "head",
            Timeout::Write => "write",
        }
    }
}

/// The timeouts of a server, with the moment that its ticks are counted from.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    epoch: Instant,
    /// By kind; 0 is off.
    ticks: [u32; Timeout::ALL.len()],
}

impl Timeouts {
    /// Of these durations, of which zero is off.
    pub fn new(epoch: Instant, idle: Duration, head: Duration, write: Duration) -> Timeouts {
        // One more, because the tick in which it begins has passed in part.
        let ticks = |duration: Duration| match duration {
            Duration::ZERO => 0,
            some => u32::try_from(some.as_nanos().div_ceil(TICK.as_nanos()))
                .map_or(u32::MAX / 2, |ticks| ticks + 1),
        };
        Timeouts { epoch, ticks: [idle, head, write].map(ticks) }
    }

    /// Whether nothing ever times out.
    pub const fn are_off(&self) -> bool {
        matches!(self.ticks, [0, 0, 0])
    }

    /// The tick that `now` lies in. The first is 1, so that 0 can mean none.
    pub fn tick_at(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.epoch);
        // Every turn asks: in 64 bits, because a division of 128 costs more than all the rest of an echo's bookkeeping.
        let ticks =
            since.as_secs() * TICKS_PER_SECOND + u64::from(since.subsec_nanos() / TICK.subsec_nanos());
        u32::try_from(ticks).unwrap_or(u32::MAX - 1) + 1
    }

    /// When a tick begins.
    pub fn begin_of(&self, tick: u32) -> Instant {
        self.epoch + TICK * tick.saturating_sub(1)
    }

    /// The tick at which what was last heard of in tick `since` times out; none when that kind is off.
    pub const fn due(&self, kind: Timeout, since: u32) -> Option<u32> {
        match self.ticks[kind as usize] {
            0 => None,
            ticks => Some(since.saturating_add(ticks)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_is_off() {
        let off = Timeouts::new(Instant::now(), Duration::ZERO, Duration::ZERO, Duration::ZERO);
        assert!(off.are_off());
        let head = Timeouts::new(Instant::now(), Duration::ZERO, Duration::from_secs(1), Duration::ZERO);
        assert!(!head.are_off());
        assert_eq!((head.due(Timeout::Idle, 5), head.due(Timeout::Head, 5)), (None, Some(16)));
    }

    #[test]
    fn kinds_stand_in_the_order_of_their_discriminants() {
        for (index, kind) in Timeout::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    proptest! {
        #[test]
        fn none_comes_early_and_none_is_more_than_two_ticks_late(
            heard_ms in 0_u64..1_000_000, timeout_ms in 1_u64..1_000_000
        ) {
            let epoch = Instant::now();
            let timeout = Duration::from_millis(timeout_ms);
            let timeouts = Timeouts::new(epoch, timeout, Duration::ZERO, Duration::ZERO);
            let heard = epoch + Duration::from_millis(heard_ms);
            let due = timeouts.due(Timeout::Idle, timeouts.tick_at(heard)).unwrap();
            let at = timeouts.begin_of(due);
            prop_assert!(at >= heard + timeout && at < heard + timeout + 2 * TICK);
            prop_assert_eq!(timeouts.tick_at(at), due);
        }
    }
}
