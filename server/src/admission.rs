//! Who is let in: the one place where the connections of all workers are counted together.
//!
//! `SO_REUSEPORT` spreads connections over the workers by hash, so a limit split evenly between them would turn
//! connections away on one worker while another still has room. The count is therefore shared. It is touched when a
//! connection comes and when it goes, never in between.
//!
//! How fast they are let in ([`AcceptRate`]) each worker sees to by itself, with its share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// `--max-connections` connections are open.
    MaxConnections,
    /// This worker's connection table is full.
    WorkerFull,
    /// Less memory is left than `--memory-reserve`.
    Memory,
    /// The kernel refused to watch the connection (out of memory, or `fs.epoll.max_user_watches` is reached).
    Register,
}

impl RejectReason {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [RejectReason; 4] = [
        RejectReason::MaxConnections,
        RejectReason::WorkerFull,
        RejectReason::Memory,
        RejectReason::Register,
    ];

    /// The value of the metric's `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            RejectReason::MaxConnections => "max_connections",
            RejectReason::WorkerFull => "worker_full",
            RejectReason::Memory => "memory",
            RejectReason::Register => "register",
        }
    }
}

/// Counts the open connections of all workers against one limit.
///
/// Aligned to two cache lines, because x86 fetches lines in pairs: what stands beside it would bounce along.
#[derive(Debug)]
#[repr(align(128))]
pub struct Admission {
    open: AtomicU64,
    max_connections: u64,
    memory_is_low: AtomicBool,
}

impl Admission {
    /// Lets at most `max_connections` in at a time.
    pub fn new(max_connections: u64) -> Admission {
        Admission { open: AtomicU64::new(0), max_connections, memory_is_low: AtomicBool::new(false) }
    }

    /// Takes a place. Whoever gets one owes one [`leave`](Admission::leave).
    ///
    /// # Errors
    /// When there is none, with the reason.
    pub fn enter(&self) -> Result<(), RejectReason> {
        if self.memory_is_low.load(Ordering::Relaxed) {
            return Err(RejectReason::Memory);
        }
        // Add first and take back when over: a failed try can for a moment make another one fail at the limit, but
        // never lets one too many in.
        if self.open.fetch_add(1, Ordering::Relaxed) < self.max_connections {
            return Ok(());
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        Err(RejectReason::MaxConnections)
    }

    /// Says whether memory is short. Until it is not any more nobody is let in.
    pub fn set_memory_low(&self, is_low: bool) {
        self.memory_is_low.store(is_low, Ordering::Relaxed);
    }

    /// Gives a place back.
    pub fn leave(&self) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "more connections left than entered");
    }

    /// How many places are taken.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

/// The memory that must be left for a connection to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// Bytes.
    pub bytes: u64,
}

impl Reserve {
    /// Whether memory is short, when it was or was not before. Once it is, a twentieth more must be there before it is not, so
    /// that it does not change with every connection.
    pub const fn is_low(self, was_low: bool, available_bytes: u64) -> bool {
        let enough = if was_low { self.bytes.saturating_add(self.bytes / 20) } else { self.bytes };
        available_bytes < enough
    }
}

/// So long may connections be saved up for: a worker that was busy meanwhile catches up with a burst of so much.
const BURST: Duration = Duration::from_millis(100);

/// How fast connections are accepted: a token for each, which come at a steady rate. Pure: time is an argument.
#[derive(Debug)]
pub struct AcceptRate {
    per_second: Option<f64>,
    tokens: f64,
    at: Instant,
}

impl AcceptRate {
    /// So many a second; without a number, as fast as they come.
    pub fn new(per_second: Option<f64>, now: Instant) -> AcceptRate {
        let tokens = per_second.map_or(0.0, burst);
        AcceptRate { per_second, tokens, at: now }
    }

    /// From now on as fast as they come.
    pub fn lift(&mut self) {
        self.per_second = None;
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there is none yet: how long until there is.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(per_second) = self.per_second else { return Ok(()) };
        let since = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        self.tokens = (self.tokens + since.as_secs_f64() * per_second).min(burst(per_second));
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // Never nothing, however near the next one is.
        Err(Duration::from_secs_f64((1.0 - self.tokens) / per_second).max(Duration::from_nanos(1)))
    }
}

/// Tokens that are saved up; at least one, or none would ever be taken.
fn burst(per_second: f64) -> f64 {
    (per_second * BURST.as_secs_f64()).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_in_up_to_the_limit_and_again_after_one_left() {
        let admission = Admission::new(2);
        assert_eq!((admission.enter(), admission.enter()), (Ok(()), Ok(())));
        assert_eq!(admission.enter(), Err(RejectReason::MaxConnections));
        assert_eq!(admission.enter(), Err(RejectReason::MaxConnections), "a refusal takes no place");
        admission.leave();
        assert_eq!(admission.enter(), Ok(()));
        assert_eq!(admission.open(), 2);
    }

    #[test]
    fn nobody_is_let_in_while_memory_is_low() {
        let admission = Admission::new(2);
        admission.set_memory_low(true);
        assert_eq!((admission.enter(), admission.open()), (Err(RejectReason::Memory), 0));
        admission.set_memory_low(false);
        assert_eq!(admission.enter(), Ok(()));
    }

    #[test]
    fn memory_stays_low_until_there_is_clearly_more() {
        let reserve = Reserve { bytes: 1000 };
        assert!(!reserve.is_low(false, 1000) && reserve.is_low(false, 999));
        assert!(reserve.is_low(true, 1049) && !reserve.is_low(true, 1050));
        assert!(!Reserve { bytes: 0 }.is_low(true, 0));
    }

    #[test]
    fn without_a_rate_everybody_may_come() {
        let now = Instant::now();
        let mut rate = AcceptRate::new(None, now);
        assert!((0..100_000).all(|_| rate.take(now).is_ok()));
    }

    #[test]
    fn a_slow_rate_lets_one_in_at_a_time() {
        let now = Instant::now();
        let mut rate = AcceptRate::new(Some(2.0), now);
        assert_eq!(rate.take(now), Ok(()));
        assert_eq!(rate.take(now), Err(Duration::from_millis(500)));
        assert_eq!(rate.take(now + Duration::from_millis(500)), Ok(()));
    }

    proptest::proptest! {
        /// Over any stretch no more come than its length allows, and a burst.
        #[test]
        fn the_rate_is_kept(per_second in 1.0..100_000.0_f64, gaps_us in proptest::collection::vec(0_u64..50_000, 1..300)) {
            let begin = Instant::now();
            let mut rate = AcceptRate::new(Some(per_second), begin);
            let (mut now, mut taken) = (begin, 0_u32);
            for gap in gaps_us {
                now += Duration::from_micros(gap);
                while taken < 1_000_000 {
                    match rate.take(now) {
                        Ok(()) => taken += 1,
                        Err(wait) => {
                            proptest::prop_assert!(wait > Duration::ZERO && wait.as_secs_f64() <= 1.0 / per_second + 1e-9);
                            break;
                        }
                    }
                }
            }
            let allowed = (now - begin).as_secs_f64() * per_second + burst(per_second);
            proptest::prop_assert!(f64::from(taken) <= allowed + 1e-6, "{} of {}", taken, allowed);
        }
    }

    #[test]
    fn never_more_than_the_limit_from_many_threads() {
        let admission = Admission::new(5);
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if admission.enter().is_ok() {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 5);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            admission.leave();
                        }
                    }
                });
            }
        });
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn reasons_stand_in_the_order_of_their_discriminants() {
        for (index, reason) in RejectReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
