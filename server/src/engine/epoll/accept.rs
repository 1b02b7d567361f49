//! Accepting: in bounded batches, with the listener put back by hand, and never in a spin.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::{EngineError, Loop, register};
use crate::admission::RejectReason;
use crate::conns::Key;
use crate::engine::conn::{Conn, LINGER_TIMEOUT, TURNED_AWAY_MAX};
use crate::engine::{ACCEPT_BATCH, ACCEPT_PAUSE};
use crate::listen::{AcceptFailure, Accepted, PauseReason, Proto, accept, reset};

impl Loop {
    /// Notes that a listener's queue is not empty. The kernel says so once: until the queue was seen empty there will be
    /// no other edge.
    pub(super) fn put_acceptable(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index)
            && !listener.acceptable
        {
            listener.acceptable = true;
            self.acceptable.push_back(index);
        }
    }

    /// Accepts at most a batch, over all listeners in turn.
    pub(super) fn accept_batch(&mut self) -> Result<(), EngineError> {
        if self.accept_paused_until.is_some_and(|until| self.env.now < until) {
            return Ok(());
        }
        self.accept_paused_until = None;
        let mut budget = ACCEPT_BATCH;
        while let Some(index) = self.acceptable.pop_front() {
            self.listeners[index].acceptable = false;
            if !self.accept_from(index, &mut budget)? {
                self.put_acceptable(index);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Accepts from one listener until its queue is empty (then true), the budget is used up, or something is lacking.
    pub(super) fn accept_from(&mut self, index: usize, budget: &mut usize) -> Result<bool, EngineError> {
        while *budget > 0 {
            if let Err(wait) = self.accept_rate.take(self.env.now) {
                self.slow_down(wait);
                return Ok(false);
            }
            *budget -= 1;
            let listener = &self.listeners[index];
            match accept(&listener.socket) {
                Accepted::Conn(fd) => self.admit(fd, listener.proto),
                Accepted::Empty => {
                    self.accept_trouble = None;
                    return Ok(true);
                }
                Accepted::Failed(AcceptFailure::Retry, _) => {}
                Accepted::Failed(AcceptFailure::Pause(reason), error) => {
                    self.pause_accepting(reason, &error);
                    return Ok(false);
                }
                Accepted::Failed(AcceptFailure::Fatal, error) => {
                    return Err(EngineError::io("accept")(error));
                }
            }
        }
        Ok(false)
    }

    fn slow_down(&mut self, wait: Duration) {
        self.accept_paused_until = Some(self.env.now + wait);
        // A rate that is kept for long is one pause.
        if self.accept_trouble.replace(PauseReason::Rate) != Some(PauseReason::Rate) {
            self.env.shard.paused(PauseReason::Rate);
        }
    }

    fn pause_accepting(&mut self, reason: PauseReason, error: &std::io::Error) {
        self.accept_paused_until = Some(self.env.now + ACCEPT_PAUSE);
        self.env.shard.paused(reason);
        // Once per trouble, not once per pause: a log that fills the disk is the next shortage.
        if self.accept_trouble.replace(reason) != Some(reason) {
            tracing::warn!(reason = reason.label(), %error, "accepting pauses until there is room again");
        }
    }

    /// Puts a connection in the table, or turns it away.
    fn admit(&mut self, fd: OwnedFd, proto: Proto) {
        if let Err(reason) = self.admission.enter() {
            return self.turn_away(fd, proto, reason);
        }
        match self.insert(Conn::new(fd, proto, &self.env)) {
            Ok(key) => {
                if let Some(conn) = self.conns.get_mut(key)
                    && let Some(tick) = conn.arm(&self.timeouts, self.env.closing)
                {
                    self.wheel.insert(key, tick);
                }
                self.env.shard.accepted.add(1);
                self.env.faults.for_connection();
            }
            Err((conn, reason)) => {
                self.admission.leave();
                self.turn_away(conn.into_fd(), proto, reason);
            }
        }
    }

    fn insert(&mut self, conn: Conn) -> Result<Key, (Conn, RejectReason)> {
        let key = self.conns.insert(conn).map_err(|conn| (conn, RejectReason::WorkerFull))?;
        let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP;
        let registered = self.conns.get_mut(key).map(|conn| register(&self.epoll, conn, key, wanted));
        if matches!(registered, Some(Err(_)))
            && let Some(conn) = self.conns.remove(key)
        {
            return Err((conn, RejectReason::Register));
        }
        Ok(key)
    }

    /// Raw connections are reset, so that the peer knows at once and nothing of them stays here. HTTP gets an answer.
    fn turn_away(&mut self, fd: OwnedFd, proto: Proto, reason: RejectReason) {
        self.env.shard.rejected(reason);
        match proto {
            Proto::Echo => reset(fd),
            Proto::Http => self.refuse_http(fd),
        }
    }

    fn refuse_http(&mut self, fd: OwnedFd) {
        let conn = Conn::turned_away(fd, &mut self.env);
        if self.turned_away >= TURNED_AWAY_MAX {
            return;
        }
        if let Ok(key) = self.insert(conn) {
            self.turned_away += 1;
            self.lingering.push_back((self.env.now + LINGER_TIMEOUT, key));
            self.serve(key);
        }
    }
}
