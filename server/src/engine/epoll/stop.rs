//! Stopping: accept no more, finish what is under way, say goodbye to the idle, cut off the rest at the deadline.

use super::{Ended, Loop};
use crate::control::Phase;
use crate::metrics::CloseReason;

/// Slots visited per turn while draining, so that answers under way go on meanwhile.
const SWEEP_SLOTS: u32 = 1024;

impl Loop {
    /// What one turn does towards the end; the outcome when that is reached.
    pub(super) fn stop_step(&mut self) -> Option<Ended> {
        if self.control.phase() == Phase::Aborted {
            return Some(self.cut());
        }
        if !self.env.closing {
            self.begin_drain();
        }
        self.sweep_some();
        if self.sweep.is_none() && self.conns.is_empty() {
            return Some(Ended::default());
        }
        let overdue = self.control.drain_deadline().is_some_and(|deadline| self.env.now >= deadline);
        overdue.then(|| self.cut())
    }

    /// Empties the accept queues, because to close a listener resets the connections that wait in its queue, and closes
    /// the listeners.
    fn begin_drain(&mut self) {
        self.env.closing = true;
        for index in 0..self.listeners.len() {
            let mut budget = self.backlog as usize + 1;
            // Nothing that can go wrong here matters to a listener that closes next.
            let _ = self.accept_from(index, &mut budget);
        }
        self.listeners.clear();
        self.acceptable.clear();
        self.accept_paused_until = None;
        self.sweep = Some(0);
    }

    /// Gives connections that have no events a turn, in which they answer what has come and then say goodbye. Those that
    /// are in the middle of something do so at the end of the turn that finishes it.
    fn sweep_some(&mut self) {
        let Some(from) = self.sweep else { return };
        let end = self.conns.used_slots();
        let to = from.saturating_add(SWEEP_SLOTS).min(end);
        for index in from..to {
            let Some(key) = self.conns.key_at(index) else {
                continue;
            };
            if let Some(conn) = self.conns.get_mut(key) {
                conn.readable = true;
            }
            self.serve(key);
        }
        self.sweep = (to < end).then_some(to);
    }

    /// Closes everything and counts what was not finished.
    fn cut(&mut self) -> Ended {
        let mut ended = Ended::default();
        for index in 0..self.conns.used_slots() {
            let Some(key) = self.conns.key_at(index) else {
                continue;
            };
            let Some(conn) = self.conns.get_mut(key) else {
                continue;
            };
            let reason = match conn.lingers_for() {
                Some(reason) => reason,
                None if conn.is_idle() => CloseReason::Drain,
                None => {
                    ended.cut_off += u64::from(conn.admitted);
                    CloseReason::Cut
                }
            };
            self.close(key, reason);
        }
        ended
    }
}
