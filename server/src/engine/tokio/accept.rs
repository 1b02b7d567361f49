//! The task of one listener: in bounded batches, pausing when the host lacks something.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::tenant::Tenant;
use super::{Shared, unwatched, watch, with_shard};
use crate::admission::RejectReason;
use crate::engine::conn::{Conn, TURNED_AWAY_MAX};
use crate::engine::{ACCEPT_BATCH, ACCEPT_PAUSE, EngineError};
use crate::listen::{AcceptFailure, Accepted, PauseReason, Proto, accept, reset};

/// A listener that accepts until the drain begins.
pub(super) struct Accepting {
    listener: AsyncFd<TcpListener>,
    proto: Proto,
    shared: Arc<Shared>,
    /// What accepting was last paused for, until the queue was seen empty again.
    trouble: Option<PauseReason>,
}

/// How a batch ended.
enum Batch {
    /// The queue is empty.
    Empty,
    /// There may be more.
    More,
    /// Something is lacking for so long, or until a connection ends.
    Pause(Duration),
    /// The listener is broken.
    Broken,
}

impl Accepting {
    /// Registers the listener.
    pub(super) fn new(
        listener: TcpListener,
        proto: Proto,
        shared: Arc<Shared>,
    ) -> Result<Accepting, EngineError> {
        let listener = watch(listener, Interest::READABLE).map_err(|(_, error)| unwatched(error))?;
        Ok(Accepting { listener, proto, shared, trouble: None })
    }

    /// Accepts until the drain begins, and then what still waits in the queue.
    pub(super) async fn run(mut self) {
        loop {
            let closing = Arc::clone(&self.shared);
            let closing = closing.closing.notified();
            if self.shared.is_closing() {
                break;
            }
            let ready = either(closing, self.listener.readable()).await;
            match ready {
                Either::Left(()) => break,
                Either::Right(Ok(mut guard)) => guard.clear_ready(),
                // The runtime ends.
                Either::Right(Err(_)) => return,
            }
            loop {
                match self.batch(ACCEPT_BATCH) {
                    Batch::Empty => break,
                    Batch::More => tokio::task::yield_now().await,
                    Batch::Pause(pause) => {
                        let shared = Arc::clone(&self.shared);
                        let changed = either(shared.ended.notified(), shared.closing.notified());
                        let _ = either(changed, tokio::time::sleep(pause)).await;
                    }
                    Batch::Broken => return,
                }
                if self.shared.is_closing() {
                    break;
                }
            }
        }
        self.shared.accept_rate().lift();
        // Nothing that can go wrong here matters to a listener that closes next.
        self.batch(self.shared.backlog as usize + 1);
    }

    fn batch(&mut self, size: usize) -> Batch {
        for _ in 0..size {
            let token = self.shared.accept_rate().take(Instant::now());
            if let Err(wait) = token {
                self.slow_down();
                return Batch::Pause(wait);
            }
            match accept(self.listener.get_ref()) {
                Accepted::Conn(fd) => self.admit(fd),
                Accepted::Empty => {
                    self.trouble = None;
                    return Batch::Empty;
                }
                Accepted::Failed(AcceptFailure::Retry, _) => {}
                Accepted::Failed(AcceptFailure::Pause(reason), error) => {
                    self.pause(reason, &error);
                    return Batch::Pause(ACCEPT_PAUSE);
                }
                Accepted::Failed(AcceptFailure::Fatal, error) => {
                    self.shared.fail(EngineError::io("accept")(error));
                    return Batch::Broken;
                }
            }
        }
        Batch::More
    }

    fn slow_down(&mut self) {
        // A rate that is kept for long is one pause.
        if self.trouble.replace(PauseReason::Rate) != Some(PauseReason::Rate) {
            with_shard(|shard| shard.paused(PauseReason::Rate));
        }
    }

    fn pause(&mut self, reason: PauseReason, error: &std::io::Error) {
        with_shard(|shard| shard.paused(reason));
        // Once per trouble, not once per pause: a log that fills the disk is the next shortage.
        if self.trouble.replace(reason) != Some(reason) {
            tracing::warn!(reason = reason.label(), %error, "accepting pauses until there is room again");
        }
    }

    /// Gives a connection its task, or turns it away.
    fn admit(&self, fd: OwnedFd) {
        let shared = &self.shared;
        if let Err(reason) = shared.admission.enter() {
            return self.turn_away(fd, reason);
        }
        let number = shared.open.fetch_add(1, Ordering::AcqRel);
        if number >= shared.connections_max {
            return self.refuse(fd, RejectReason::WorkerFull);
        }
        // A thread that accepts has what its connections share.
        let Some(conn) = shared.with_env(|env| Conn::new(fd, self.proto, env)) else { return };
        match Tenant::new(conn, number, Arc::clone(shared)) {
            Ok(tenant) => {
                with_shard(|shard| shard.accepted.add(1));
                shared.faults.for_connection();
                tokio::spawn(tenant.run());
            }
            Err(fd) => self.refuse(fd, RejectReason::Register),
        }
    }

    /// Gives its place back and turns it away.
    fn refuse(&self, fd: OwnedFd, reason: RejectReason) {
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        self.shared.admission.leave();
        self.turn_away(fd, reason);
    }

    fn turn_away(&self, fd: OwnedFd, reason: RejectReason) {
        let shared = &self.shared;
        with_shard(|shard| shard.rejected(reason));
        match self.proto {
            Proto::Echo => reset(fd),
            Proto::Http => {
                let Some(conn) = shared.with_env(|env| Conn::turned_away(fd, env)) else { return };
                if shared.turned_away.fetch_add(1, Ordering::AcqRel) >= TURNED_AWAY_MAX {
                    shared.turned_away.fetch_sub(1, Ordering::AcqRel);
                    return;
                }
                match Tenant::new(conn, 0, Arc::clone(shared)) {
                    Ok(tenant) => drop(tokio::spawn(tenant.linger())),
                    Err(_) => drop(shared.turned_away.fetch_sub(1, Ordering::AcqRel)),
                }
            }
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.shared.accepting.fetch_sub(1, Ordering::AcqRel);
        if std::thread::panicking() {
            self.shared.panicked();
        }
        self.shared.ended.notify_waiters();
    }
}

/// What came first.
enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Waits for the first of two.
async fn either<A: Future, B: Future>(left: A, right: B) -> Either<A::Output, B::Output> {
    let (mut left, mut right) = (std::pin::pin!(left), std::pin::pin!(right));
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        if let Poll::Ready(left) = left.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(left));
        }
        right.as_mut().poll(cx).map(Either::Right)
    })
    .await
}
