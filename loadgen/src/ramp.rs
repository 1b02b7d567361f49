//! When connections are opened: at a rate, with bounded handshakes in flight, and again with growing pauses after a
//! failure. Pure: time is an argument.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::dispatch::ConnId;

/// Attempts to open a connection for the first time before it counts as failed.
pub const ATTEMPTS_MAX: u8 = 3;
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE_NS: u64 = 10_000_000;
/// The longest pause between attempts.
const LONGEST_PAUSE_NS: u64 = 1_000_000_000;
/// An odd number whose multiples are spread evenly over 64 bits (Knuth, "The Art of Computer Programming", volume 3, section 6.4).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
const NS_PER_S: f64 = 1e9;

/// Paces one worker's share of the connection attempts.
#[derive(Debug)]
pub struct Ramp {
    /// Not yet attempted for the first time.
    next: ConnId,
    count: ConnId,
    gap_ns: f64,
    start_ns: u64,
    in_flight: usize,
    in_flight_max: usize,
    /// Connections to open again, by when.
    again: BinaryHeap<Reverse<(u64, ConnId)>>,
}

impl Ramp {
    /// A ramp of `count` connections from `start_ns` on, at `rate` attempts per second.
    pub fn new(count: ConnId, rate: f64, in_flight_max: usize, start_ns: u64) -> Self {
        let gap_ns = NS_PER_S / rate;
        Self { next: 0, count, gap_ns, start_ns, in_flight: 0, in_flight_max, again: BinaryHeap::new() }
    }

    /// The next connection to attempt now; counts it as in flight.
    pub fn next(&mut self, now_ns: u64) -> Option<ConnId> {
        if self.next_attempt_ns()? > now_ns {
            return None;
        }
        self.in_flight += 1;
        if let Some(&Reverse((at_ns, conn))) = self.again.peek()
            && at_ns <= now_ns
        {
            self.again.pop();
            return Some(conn);
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// When the next attempt is due; `None` while as many as allowed are in flight, or when none is to come.
    pub fn next_attempt_ns(&self) -> Option<u64> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let again_ns = self.again.peek().map(|Reverse((at_ns, _))| *at_ns);
        let first_ns = (self.next < self.count).then(|| self.start_ns + self.offset_ns(self.next));
        again_ns.into_iter().chain(first_ns).min()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and far under 2^53 ns"
    )]
    fn offset_ns(&self, index: ConnId) -> u64 {
        (f64::from(index) * self.gap_ns) as u64
    }

    /// An attempt has begun that the ramp did not ask for.
    pub const fn began(&mut self) {
        self.in_flight += 1;
    }

    /// An attempt ended, either way.
    pub fn ended(&mut self) {
        debug_assert!(self.in_flight > 0, "an attempt that ends has begun");
        self.in_flight -= 1;
    }

    /// Opens the connection again after a pause that doubles with each of its `failures` in a row. Up to half of it is taken off,
    /// more of one connection and less of another, so that those that failed together do not come back together.
    pub fn again(&mut self, conn: ConnId, failures: u8, now_ns: u64) {
        let pause_ns = match failures {
            0 => 0,
            n => (FIRST_PAUSE_NS << u32::from(n - 1).min(10)).min(LONGEST_PAUSE_NS),
        };
        let spread = (u64::from(conn) + 1).wrapping_mul(SPREAD).rotate_left(u32::from(failures));
        let off_ns = (pause_ns / 2 * (spread >> 32)) >> 32;
        self.again.push(Reverse((now_ns + pause_ns - off_ns, conn)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_paced_by_the_rate() {
        let mut ramp = Ramp::new(3, 1000.0, 10, 5);
        assert_eq!(ramp.next(4), None);
        assert_eq!(ramp.next(5), Some(0));
        assert_eq!(ramp.next(5), None);
        assert_eq!(ramp.next_attempt_ns(), Some(1_000_005));
        assert_eq!(ramp.next(2_000_005), Some(1));
        assert_eq!(ramp.next(2_000_005), Some(2));
        assert_eq!(ramp.next_attempt_ns(), None);
    }

    #[test]
    fn handshakes_in_flight_are_bounded() {
        let mut ramp = Ramp::new(3, 1e9, 2, 0);
        assert_eq!((ramp.next(100), ramp.next(100), ramp.next(100)), (Some(0), Some(1), None));
        ramp.ended();
        assert_eq!(ramp.next(100), Some(2));
        assert_eq!(ramp.next_attempt_ns(), None);
    }

    #[test]
    fn failures_pause_longer_each_time_up_to_a_limit() {
        let mut ramp = Ramp::new(0, 1.0, 1, 0);
        let mut pause = |failures| {
            ramp.again(0, failures, 0);
            let due_ns = ramp.next_attempt_ns().unwrap();
            assert_eq!(ramp.next(due_ns), Some(0));
            ramp.ended();
            due_ns
        };
        assert_eq!(pause(0), 0);
        for (failures, whole_ns) in
            [(1, 10_000_000), (2, 20_000_000), (3, 40_000_000), (u8::MAX, LONGEST_PAUSE_NS)]
        {
            assert!((whole_ns / 2..=whole_ns).contains(&pause(failures)), "{failures} failures");
        }
    }

    #[test]
    fn those_that_failed_together_come_back_one_after_the_other() {
        let mut ramp = Ramp::new(0, 1.0, usize::MAX, 0);
        (0..1000).for_each(|conn| ramp.again(conn, 1, 0));
        let back_by = |ramp: &mut Ramp, now_ns| std::iter::from_fn(|| ramp.next(now_ns)).count();
        // Evenly over the second half of the pause.
        assert_eq!(back_by(&mut ramp, 4_999_999), 0);
        let tenths: Vec<usize> =
            (0..10).map(|tenth| back_by(&mut ramp, 5_500_000 + tenth * 500_000)).collect();
        assert!(tenths.iter().all(|count| (80..=120).contains(count)), "{tenths:?}");
    }
}
