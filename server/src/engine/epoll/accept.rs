//! Accepting: in bounded batches, with the listener put back by hand, and never in a spin.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;

use super::conn::Conn;
use super::{EngineError, LINGER_TIMEOUT, Loop};
use crate::admission::RejectReason;
use crate::conns::Key;
use crate::http::write_no_room;
use crate::listen::{AcceptFailure, Accepted, PauseReason, Proto, accept};

/// Connections accepted per turn. An accept with its registration takes some 10 us, so that a storm of connections
/// delays those that are open by less than a millisecond per turn.
const ACCEPT_BATCH: usize = 64;

/// How long accepting rests when the host lacks something, unless a connection closes before.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Refused HTTP connections that are kept until their peer has read the refusal. Beyond these they are closed at once,
/// at the risk that a peer which is still sending sees a reset instead.
const TURNED_AWAY_MAX: usize = 128;

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
        if !self.admission.enter() {
            return self.turn_away(fd, proto, RejectReason::MaxConnections);
        }
        match self.insert(Conn::new(fd, proto)) {
            Ok(_) => {
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
        let fd = conn.as_raw_fd();
        let key = self.conns.insert(conn).map_err(|conn| (conn, RejectReason::WorkerFull))?;
        let both = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut SourceFd(&fd), key.token(), both).is_err()
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
            Proto::Echo => {
                // Closes with a reset instead of the usual goodbye. When that fails, the goodbye does, too.
                let _ = socket2::SockRef::from(&fd).set_linger(Some(Duration::ZERO));
            }
            Proto::Http => self.refuse_http(fd),
        }
    }

    fn refuse_http(&mut self, fd: OwnedFd) {
        let mut answer = Vec::new();
        write_no_room(&mut answer, self.env.date.at(self.env.now));
        let mut stream = TcpStream::from(fd);
        // A fresh socket has room for this; when it has not, the peer is gone.
        if stream.write(&answer).is_ok() {
            self.env.shard.http_response(503);
        }
        if self.turned_away >= TURNED_AWAY_MAX {
            return;
        }
        let mut conn = Conn::turned_away(stream.into());
        conn.begin_linger(crate::metrics::CloseReason::Finished);
        if let Ok(key) = self.insert(conn) {
            self.turned_away += 1;
            self.lingering.push_back((self.env.now + LINGER_TIMEOUT, key));
            self.serve(key);
        }
    }
}
