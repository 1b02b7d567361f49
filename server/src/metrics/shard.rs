//! The counters of one worker. The worker is their only writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::admission::RejectReason;
use crate::listen::PauseReason;
use crate::timeouts::Timeout;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed, and got everything that was owed to it.
    Peer,
    /// The peer reset the connection.
    Reset,
    /// Another error of the connection.
    Error,
    /// An HTTP exchange ended with `connection: close`.
    Finished,
    /// The request was malformed or beyond a limit.
    BadRequest,
    /// The server was stopped while the connection was idle.
    Drain,
    /// The drain's deadline came before the connection was finished.
    Cut,
    /// Nothing was exchanged for too long.
    IdleTimeout,
    /// A request head took too long.
    HeadTimeout,
    /// The peer did not take what it was owed for too long.
    WriteTimeout,
}

impl CloseReason {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [CloseReason; 10] = [
        CloseReason::Peer,
        CloseReason::Reset,
        CloseReason::Error,
        CloseReason::Finished,
        CloseReason::BadRequest,
        CloseReason::Drain,
        CloseReason::Cut,
        CloseReason::IdleTimeout,
        CloseReason::HeadTimeout,
        CloseReason::WriteTimeout,
    ];

    /// The value of the metric's `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            CloseReason::Peer => "peer",
            CloseReason::Reset => "reset",
            CloseReason::Error => "error",
            CloseReason::Finished => "finished",
            CloseReason::BadRequest => "bad_request",
            CloseReason::Drain => "drain",
            CloseReason::Cut => "cut",
            CloseReason::IdleTimeout => "idle_timeout",
            CloseReason::HeadTimeout => "head_timeout",
            CloseReason::WriteTimeout => "write_timeout",
        }
    }
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`. Only the shard's own worker may call this: two writers would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        // A load and a store, where fetch_add would lock the cache line for other writers that do not exist.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// What was added up to now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the turn histogram, in nanoseconds: 10 us to 1 s in steps of about 2.
pub(super) const TURN_BOUNDS_NS: [u64; 16] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
];

/// A histogram with one writer and fixed buckets.
#[derive(Debug, Default)]
pub struct TurnHistogram {
    /// Not cumulative; the last one counts what is above every bound.
    pub(super) buckets: [Count; TURN_BOUNDS_NS.len() + 1],
    pub(super) sum_ns: Count,
}

impl TurnHistogram {
    /// Counts one turn.
    #[inline]
    pub fn observe(&self, turn: Duration) {
        let turn_ns = u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX);
        // Nearly every turn falls in one of the first buckets, so that a walk beats a binary search.
        let bucket =
            TURN_BOUNDS_NS.iter().position(|&bound| turn_ns <= bound).unwrap_or(TURN_BOUNDS_NS.len());
        self.buckets[bucket].add(1);
        self.sum_ns.add(turn_ns);
    }
}

/// The status codes that have a series of their own. Everything else is counted under `other`.
pub(super) const STATUSES: [u16; 16] =
    [200, 400, 404, 405, 408, 411, 413, 414, 415, 417, 426, 431, 500, 501, 503, 505];

/// The counters of one worker.
///
/// Aligned to two cache lines, because x86 fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shard {
    /// Connections let in.
    pub accepted: Count,
    /// Bytes read.
    pub received_bytes: Count,
    /// Bytes the kernel took.
    pub sent_bytes: Count,
    /// Turns of the loop.
    pub turn: TurnHistogram,
    pub(super) closed: [Count; CloseReason::ALL.len()],
    pub(super) rejected: [Count; RejectReason::ALL.len()],
    pub(super) pauses: [Count; PauseReason::ALL.len()],
    pub(super) http: [Count; STATUSES.len() + 1],
    pub(super) timeouts: [Count; Timeout::ALL.len()],
}

impl Shard {
    /// Counts a connection that ended.
    pub fn closed(&self, reason: CloseReason) {
        self.closed[reason as usize].add(1);
    }

    /// Counts a connection that was turned away.
    pub fn rejected(&self, reason: RejectReason) {
        self.rejected[reason as usize].add(1);
    }

    /// Counts a peer that ran out of time.
    pub fn timed_out(&self, kind: Timeout) {
        self.timeouts[kind as usize].add(1);
    }

    /// Counts a pause of accepting.
    pub fn paused(&self, reason: PauseReason) {
        self.pauses[reason as usize].add(1);
    }

    /// Counts an HTTP response.
    #[inline]
    pub fn http_response(&self, status: u16) {
        let index = STATUSES.iter().position(|&known| known == status).unwrap_or(STATUSES.len());
        self.http[index].add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_in_the_order_of_their_discriminants() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
