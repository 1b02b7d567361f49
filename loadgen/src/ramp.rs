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
/// The gap between attempts grows no further than to so many times the planned one.
const SLOWEST: f64 = 64.0;
/// A network loses a SYN now and then. So many since the gap was changed last, and one in so many attempts, are more than that.
const RESENT_MIN: u32 = 3;
const RESENT_SHARE: u32 = 100;
/// After so long without a SYN that was sent again the gap shrinks to this part of it. It takes a second until such a SYN is known.
const SPEED_UP_AFTER_NS: u64 = 2_000_000_000;
const SPEED_UP: f64 = 0.75;
/// An odd number whose multiples are spread evenly over 64 bits (Knuth, "The Art of Computer Programming", volume 3, section 6.4).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
const NS_PER_S: f64 = 1e9;

/// Paces one worker's share of the connection attempts.
#[derive(Debug)]
pub struct Ramp {
    /// Not yet attempted for the first time.
    next: ConnId,
    count: ConnId,
    /// Between two attempts: as planned, and as it is now.
    planned_gap_ns: f64,
    gap_ns: f64,
    /// The first attempt with the gap as it is now, and when that is.
    since: ConnId,
    since_ns: u64,
    /// When it slowed down last; `None` while it never has.
    slowed_ns: Option<u64>,
    /// Since the gap is what it is now: SYNs that had to be sent again.
    resent: u32,
    in_flight: usize,
    in_flight_max: usize,
    /// Connections to open again, by when.
    again: BinaryHeap<Reverse<(u64, ConnId)>>,
}

impl Ramp {
    /// A ramp of `count` connections from `start_ns` on, at `rate` attempts per second.
    pub fn new(count: ConnId, rate: f64, in_flight_max: usize, start_ns: u64) -> Self {
        let gap_ns = NS_PER_S / rate;
        Self {
            next: 0,
            count,
            planned_gap_ns: gap_ns,
            gap_ns,
            since: 0,
            since_ns: start_ns,
            slowed_ns: None,
            resent: 0,
            in_flight: 0,
            in_flight_max,
            again: BinaryHeap::new(),
        }
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
        if self.gap_ns > self.planned_gap_ns && now_ns >= self.since_ns + SPEED_UP_AFTER_NS {
            self.set_gap(self.gap_ns * SPEED_UP, now_ns);
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// A SYN that was first sent at `sent_ns` had to be sent again, or was never answered. When that is more than the few that any network
    /// loses, the target or the way to it takes no more: from now on half as many connections a second are attempted, and then slowly
    /// more again. What was sent before the ramp slowed down last says nothing of its rate now. Whether it slows down.
    pub fn resent(&mut self, sent_ns: u64, now_ns: u64) -> bool {
        let is_news = self.slowed_ns.is_none_or(|slowed_ns| sent_ns >= slowed_ns);
        if !is_news || self.next >= self.count {
            return false;
        }
        self.resent += 1;
        let are_few =
            self.resent < RESENT_MIN || self.resent.saturating_mul(RESENT_SHARE) < self.next - self.since;
        if are_few {
            return false;
        }
        let slowest_ns = self.planned_gap_ns * SLOWEST;
        let is_slower = self.gap_ns < slowest_ns;
        self.slowed_ns = Some(now_ns);
        self.set_gap((self.gap_ns * 2.0).min(slowest_ns), now_ns);
        is_slower
    }

    /// From the next attempt on. Those that are overdue are not caught up with.
    fn set_gap(&mut self, gap_ns: f64, now_ns: u64) {
        self.gap_ns = gap_ns.max(self.planned_gap_ns);
        self.since = self.next;
        self.since_ns = now_ns;
        self.resent = 0;
    }

    /// When the next attempt is due; `None` while as many as allowed are in flight, or when none is to come.
    pub fn next_attempt_ns(&self) -> Option<u64> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let again_ns = self.again.peek().map(|Reverse((at_ns, _))| *at_ns);
        let first_ns =
            (self.next < self.count).then(|| self.since_ns + self.offset_ns(self.next - self.since));
        again_ns.into_iter().chain(first_ns).min()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and far under 2^53 ns"
    )]
    fn offset_ns(&self, attempts: ConnId) -> u64 {
        (f64::from(attempts) * self.gap_ns) as u64
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

    /// How many attempts there are from `from_s` to `to_s`, none of which stays in flight.
    fn attempts(ramp: &mut Ramp, from_s: u64, to_s: u64) -> usize {
        let mut count = 0;
        while let Some(due_ns) = ramp.next_attempt_ns().filter(|&due_ns| due_ns < to_s * 1_000_000_000) {
            assert!(ramp.next(due_ns.max(from_s * 1_000_000_000)).is_some());
            ramp.ended();
            count += 1;
        }
        count
    }

    /// Whether it slows down once by SYNs that are sent again, more than any network loses.
    fn resent_often(ramp: &mut Ramp, sent_ns: u64, now_ns: u64) -> bool {
        (0..100).any(|_| ramp.resent(sent_ns, now_ns))
    }

    #[test]
    fn the_few_that_any_network_loses_are_no_reason_to_slow_down() {
        let mut ramp = Ramp::new(1_000_000, 10_000.0, 10, 0);
        assert!(!ramp.resent(0, 0) && !ramp.resent(0, 0), "two say nothing");
        assert_eq!(attempts(&mut ramp, 0, 1), 10_000);
        assert!((0..90).all(|_| !ramp.resent(0, 1_000_000_000)), "less than one in a hundred");
    }

    #[test]
    fn a_syn_that_is_sent_again_halves_the_rate_and_it_comes_back() {
        let mut ramp = Ramp::new(1_000_000, 1000.0, 10, 0);
        assert_eq!(attempts(&mut ramp, 0, 1), 1000);
        // One in a hundred of them.
        assert_eq!((0..10).filter(|_| ramp.resent(0, 1_000_000_000)).count(), 1);
        assert!(!resent_often(&mut ramp, 999_999_999, 1_100_000_000), "sent before it slowed down");
        let half = attempts(&mut ramp, 1, 2);
        assert!((499..=501).contains(&half), "{half}");
        assert!(resent_often(&mut ramp, 1_500_000_000, 2_000_000_000));
        let quarter = attempts(&mut ramp, 2, 3);
        assert!((249..=251).contains(&quarter), "{quarter}");
        let later = attempts(&mut ramp, 3, 60);
        assert!((30_000..57_000).contains(&later), "{later}");
        let at_last = attempts(&mut ramp, 60, 61);
        assert!((999..=1001).contains(&at_last), "never faster than planned: {at_last}");
    }

    #[test]
    fn a_ramp_that_is_over_or_as_slow_as_can_be_does_not_slow_down() {
        let mut ramp = Ramp::new(10_000, 1000.0, 10, 0);
        let halved = (1..100).filter(|&second| resent_often(&mut ramp, second, second)).count();
        assert_eq!(halved, 6);
        let mut over = Ramp::new(1, 1000.0, 10, 0);
        assert_eq!(over.next(0), Some(0));
        assert!(!resent_often(&mut over, 0, 1));
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
