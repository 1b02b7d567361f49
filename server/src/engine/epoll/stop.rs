//! Stopping: accept no more, finish what is under way, say goodbye to the idle, cut off the rest at the deadline.

use std::time::Duration;

use super::{Ended, Loop};
use crate::control::Phase;
use crate::drain;
use crate::metrics::CloseReason;

/// Slots visited per turn while draining, so that answers under way go on meanwhile.
const SWEEP_SLOTS: u32 = 1024;

impl Loop {
    /// What one turn does towards the end; the outcome when that is reached.
    pub(super) fn stop_step(&mut self) -> Option<Ended> {
        let phase = self.control.phase(self.env.now);
        if phase == Phase::Aborted {
            return Some(self.cut());
        }
        if !self.env.closing {
            self.begin_drain();
        }
        self.sweep_some();
        if self.sweep.is_none() && self.conns.is_empty() {
            return Some(Ended::default());
        }
        (phase == Phase::Overdue).then(|| self.cut())
    }

    /// Empties the accept queues, because to close a listener resets the connections that wait in its queue, and closes
    /// the listeners.
    fn begin_drain(&mut self) {
        self.env.closing = true;
        self.accept_rate.lift();
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
    /// are in the middle of something do so at the end of the turn that finishes it, and those that are likely to ask again with
    /// their next answer.
    fn sweep_some(&mut self) {
        let Some(from) = self.sweep else { return };
        let end = self.conns.used_slots();
        let since =
            self.control.closes_at().map_or(Duration::ZERO, |at| self.env.now.saturating_duration_since(at));
        let told = drain::goodbyes_until(since, end, self.control.times().timeout);
        let to = from.saturating_add(SWEEP_SLOTS).min(told);
        for index in from..to {
            let Some(key) = self.conns.key_at(index) else {
                continue;
            };
            if let Some(conn) = self.conns.get_mut(key) {
                conn.begin_drain();
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
                    ended.cut_off += u64::from(conn.is_admitted());
                    CloseReason::Cut
                }
            };
            self.close(key, reason);
        }
        ended
    }
}
