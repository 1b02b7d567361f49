//! The task of one connection.

use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep};

use super::{Shared, watch, with_shard};
use crate::drain;
use crate::engine::conn::{Conn, LINGER_TIMEOUT, Next};
use crate::metrics::CloseReason;

/// A connection and its place in the server. However its task ends, the place is given back and the end is counted.
pub(super) struct Tenant {
    fd: AsyncFd<Conn>,
    shared: Arc<Shared>,
    /// When to look at its timeout; in a box, because most connections have none.
    timer: Option<Pin<Box<Sleep>>>,
    /// Until when it may stay idle after the drain has begun.
    goodbye: Option<Pin<Box<Sleep>>>,
    /// How many were there when it came.
    number: u32,
    /// Why it has ended; none as long as it has not.
    ended: Option<CloseReason>,
}

/// That the drain begins. Awaited from the first wait of a task to its end, and not anew in each: to put oneself on the list of those
/// who are told, and off it, takes a lock twice.
struct Closing<'a> {
    notified: Pin<&'a mut OwnedNotified>,
    is_awaited: bool,
}

impl Closing<'_> {
    /// Has the task woken when it happens; true when it has happened. Once is enough: a task has the same waker for life, and when
    /// it is woken it looks at the flag.
    fn begin(&mut self, cx: &mut Context<'_>) -> bool {
        !std::mem::replace(&mut self.is_awaited, true) && self.notified.as_mut().poll(cx).is_ready()
    }
}

/// What a wait ended with.
enum Woken {
    /// Something happened on the socket.
    Socket,
    /// It is time to look at the timeout.
    Timer,
    /// The drain has begun.
    Closing,
    /// It has been idle for as long as a drain lets it.
    Goodbye,
    /// The runtime ends.
    Over,
}

impl Tenant {
    /// Registers a connection that holds a place. When that fails the place is still the caller's.
    pub(super) fn new(conn: Conn, number: u32, shared: Arc<Shared>) -> Result<Tenant, OwnedFd> {
        match watch(conn, Interest::READABLE | Interest::WRITABLE) {
            Ok(fd) => Ok(Tenant { fd, shared, timer: None, goodbye: None, number, ended: None }),
            Err((conn, _)) => Err(conn.into_fd()),
        }
    }

    /// Serves it to its end.
    #[expect(
        clippy::manual_async_fn,
        reason = "its future would hold the tenant twice, as argument and as variable"
    )]
    pub(super) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            // The drain is told once; afterwards it is known.
            let mut told = false;
            let mut closing = Closing {
                notified: pin!(Arc::clone(&self.shared.closing).notified_owned()),
                is_awaited: false,
            };
            let mut next = Some(Next::Wait);
            loop {
                next = match next {
                    Some(Next::Wait) => match self.wait(told, Some(&mut closing)).await {
                        Woken::Socket => self.turn(told),
                        Woken::Timer => self.look(),
                        Woken::Closing => {
                            told = true;
                            self.goodbye = Some(Box::pin(tokio::time::sleep_until(self.goodbye_at())));
                            Some(Next::Wait)
                        }
                        Woken::Goodbye => {
                            self.goodbye = None;
                            self.fd.get_mut().begin_drain();
                            self.turn(told)
                        }
                        Woken::Over => return,
                    },
                    Some(Next::Again) => {
                        tokio::task::yield_now().await;
                        self.turn(told)
                    }
                    Some(Next::Linger(reason)) => {
                        self.fd.get_mut().begin_linger(reason);
                        // In a box, because few connections linger and every task is as large as its largest state.
                        return Box::pin(self.linger()).await;
                    }
                    Some(Next::Close(reason)) => {
                        self.end(reason);
                        return;
                    }
                    // This thread has nothing any more that a connection could do a turn with.
                    None => return,
                };
            }
        }
    }

    /// Says why it ends; that is counted when this is dropped.
    fn end(&mut self, reason: CloseReason) {
        self.ended = Some(reason);
    }

    /// A turn with what those on this thread share; none when this thread has nothing any more.
    fn turn(&mut self, closing: bool) -> Option<Next> {
        let (fd, shared) = (&mut self.fd, &self.shared);
        shared.with_env(|env| {
            let conn = fd.get_mut();
            let next = conn.turn(env);
            if closing && matches!(next, Next::Wait) && conn.may_go(env) {
                return Next::Linger(CloseReason::Drain);
            }
            next
        })
    }

    /// Looks whether the peer has run out of time.
    fn look(&mut self) -> Option<Next> {
        let (fd, shared) = (&mut self.fd, &self.shared);
        shared.with_env(|env| fd.get_mut().look(env).unwrap_or(Next::Wait))
    }

    /// Not all at once: their clients come back somewhere else.
    fn goodbye_at(&self) -> Instant {
        let control = &self.shared.control;
        let of = self.shared.to_go.load(Ordering::Acquire);
        let begin = control.closes_at().map_or_else(Instant::now, Instant::from_std);
        begin + drain::goodbye_after(self.number.min(of), of, control.times().timeout)
    }

    /// Sets the timer to the next time to look.
    fn arm(&mut self, closing: bool) {
        if self.shared.timeouts.are_off() && !closing {
            return;
        }
        if let Some(tick) = self.fd.get_mut().arm(&self.shared.timeouts, closing) {
            let at = Instant::from_std(self.shared.timeouts.begin_of(tick));
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
    }

    /// Waits for what the connection needs next.
    async fn wait(&mut self, told: bool, closing: Option<&mut Closing<'_>>) -> Woken {
        // Before its goodbye has come a drain has not come to it, either.
        self.arm(told && self.goodbye.is_none());
        let mut closing = closing.filter(|_| !told);
        let (fd, timer, goodbye) = (&mut self.fd, &mut self.timer, &mut self.goodbye);
        let shared = &self.shared;
        poll_fn(|cx| {
            if let Some(closing) = &mut closing
                && (shared.is_closing() || closing.begin(cx))
            {
                return Poll::Ready(Woken::Closing);
            }
            if let Some(goodbye) = goodbye
                && goodbye.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Woken::Goodbye);
            }
            // A timer that has come true stays so until it is set again, and is not looked at before.
            if fd.get_ref().armed != 0
                && let Some(timer) = timer
                && timer.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Woken::Timer);
            }
            let polled = if fd.get_ref().has_unsent() {
                fd.poll_write_ready_mut(cx)
            } else {
                fd.poll_read_ready_mut(cx)
            };
            let Ok(mut guard) = ready!(polled) else { return Poll::Ready(Woken::Over) };
            let ready = guard.ready();
            // Before it is read: what comes from here on is another edge.
            guard.clear_ready();
            guard.get_inner_mut().note(ready.is_readable(), ready.is_read_closed());
            Poll::Ready(Woken::Socket)
        })
        .await
    }

    /// Reads and drops until the peer has noticed the goodbye, but not for long.
    pub(super) async fn linger(mut self) {
        let Some(reason) = self.fd.get_ref().lingers_for() else { return };
        self.goodbye = None;
        let noticed = async {
            loop {
                match self.turn(false) {
                    Some(Next::Wait) => match self.wait(true, None).await {
                        Woken::Socket | Woken::Timer | Woken::Closing | Woken::Goodbye => {}
                        Woken::Over => return,
                    },
                    Some(Next::Again) => tokio::task::yield_now().await,
                    Some(Next::Linger(_) | Next::Close(_)) | None => return,
                }
            }
        };
        // Noticed or not, it is over.
        let _ = tokio::time::timeout(LINGER_TIMEOUT, noticed).await;
        self.end(reason);
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let (conn, shared) = (self.fd.get_ref(), &self.shared);
        if conn.is_admitted() {
            self.ended.map_or_else(|| left_behind(conn, shared), |reason| count(shared, reason));
            shared.admission.leave();
            shared.open.fetch_sub(1, Ordering::AcqRel);
        } else {
            shared.turned_away.fetch_sub(1, Ordering::AcqRel);
        }
        if std::thread::panicking() {
            shared.panicked();
        }
        shared.ended.notify_waiters();
    }
}

/// Counts the end of a connection, on the shard of this thread.
fn count(shared: &Shared, reason: CloseReason) {
    if with_shard(|shard| shard.closed(reason)).is_none() {
        shared.left[reason as usize].fetch_add(1, Ordering::AcqRel);
    }
}

/// The task was dropped before its connection was done.
fn left_behind(conn: &Conn, shared: &Shared) {
    let reason = match conn.lingers_for() {
        Some(reason) => reason,
        None if conn.is_idle() => CloseReason::Drain,
        None => {
            shared.cut_off.fetch_add(1, Ordering::AcqRel);
            CloseReason::Cut
        }
    };
    // The thread that drops it may be none of the workers'.
    shared.left[reason as usize].fetch_add(1, Ordering::AcqRel);
}
