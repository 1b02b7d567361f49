//! Who is let in: the one place where the connections of all workers are counted together.
//!
//! `SO_REUSEPORT` spreads connections over the workers by hash, so a limit split evenly between them would turn
//! connections away on one worker while another still has room. The count is therefore shared. It is touched when a
//! connection comes and when it goes, never in between.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// `--max-connections` connections are open.
    MaxConnections,
    /// This worker's connection table is full.
    WorkerFull,
    /// The kernel refused to watch the connection (out of memory, or `fs.epoll.max_user_watches` is reached).
    Register,
}

impl RejectReason {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [RejectReason; 3] =
        [RejectReason::MaxConnections, RejectReason::WorkerFull, RejectReason::Register];

    /// The value of the metric's `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            RejectReason::MaxConnections => "max_connections",
            RejectReason::WorkerFull => "worker_full",
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
}

impl Admission {
    /// Lets at most `max_connections` in at a time.
    pub fn new(max_connections: u64) -> Admission {
        Admission { open: AtomicU64::new(0), max_connections }
    }

    /// Takes a place. Whoever gets `true` owes one [`leave`](Admission::leave).
    #[must_use]
    pub fn enter(&self) -> bool {
        // Add first and take back when over: a failed try can for a moment make another one fail at the limit, but
        // never lets one too many in.
        if self.open.fetch_add(1, Ordering::Relaxed) < self.max_connections {
            return true;
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_in_up_to_the_limit_and_again_after_one_left() {
        let admission = Admission::new(2);
        assert!(admission.enter() && admission.enter());
        assert!(!admission.enter());
        assert!(!admission.enter(), "a refusal takes no place");
        admission.leave();
        assert!(admission.enter());
        assert_eq!(admission.open(), 2);
    }

    #[test]
    fn never_more_than_the_limit_from_many_threads() {
        let admission = Admission::new(5);
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if admission.enter() {
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
