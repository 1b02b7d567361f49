//! The epoll engine: a loop per worker, edge-triggered.
//!
//! The calls of every turn go to the kernel without the C library: of a process with several threads that makes each of them a
//! cancellation point, with two locked instructions around it.
//!
//! A turn of the loop is one wait and then the work that it brought: the connections with events, those that were put
//! back because they used up their share of the turn before, and a batch of accepts. A connection is registered once,
//! for both directions, and never again; what an edge said is remembered in its slot until it is used up.

mod accept;
mod stop;

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use tidemark_host::wake::Wake;

use super::conn::{Conn, Env, LINGER_TIMEOUT, Next};
use super::{Ended, EngineError, Worker};
use crate::admission::{AcceptRate, Admission};
use crate::conns::{Conns, Key, Slot};
use crate::control::{Control, Phase};
use crate::listen::{PauseReason, Proto};
use crate::metrics::CloseReason;
use crate::timeouts::Timeouts;
use crate::wheel::Wheel;

/// Events taken per wait. Enough to spread the cost of the wait, few enough that a turn stays short (12 bytes each).
const EVENTS_MAX: usize = 1024;

/// The wheel may hold so many entries more than there are connections before those of connections that have ended are thrown out.
const WHEEL_SPARE: usize = 4096;

/// While idle connections are told goodbye, some at a time, the loop comes back so often.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// The reserved key of the wake; listeners follow it.
const WAKE: u32 = 0;

const _: () = assert!(size_of::<Slot<Conn>>() <= 56, "an idle connection costs its slot and nothing else");

/// One worker's loop.
struct Loop {
    epoll: OwnedFd,
    wake: Wake,
    control: Arc<Control>,
    admission: Arc<Admission>,
    backlog: u32,
    timeouts: Timeouts,
    accept_rate: AcceptRate,
    listeners: Vec<Listener>,
    /// Listeners that may have connections waiting: their edge has come, and their queue was not seen empty since.
    acceptable: VecDeque<usize>,
    /// While this is set nothing is accepted, until then or until a connection is closed.
    accept_paused_until: Option<Instant>,
    /// What accepting was last paused for, until a queue was seen empty again.
    accept_trouble: Option<PauseReason>,
    conns: Conns<Conn>,
    /// Connections that used up their share of the last turn; each at most once.
    queued: VecDeque<Key>,
    /// Connections that were told goodbye, with the time until which the peer may answer it. In the order of that time.
    lingering: VecDeque<(Instant, Key)>,
    /// How many of them were never admitted.
    turned_away: usize,
    /// While draining: the slot from which on connections have not been visited.
    sweep: Option<u32>,
    /// When to look at whose timeout.
    wheel: Wheel<Key>,
    env: Env,
}

/// A listening socket.
struct Listener {
    socket: TcpListener,
    proto: Proto,
    /// It stands in `acceptable`.
    acceptable: bool,
}

/// Runs one worker until it is told to stop.
pub(super) fn run(worker: Worker) -> Result<Ended, EngineError> {
    let looping = Loop::new(&worker)?;
    let addrs: io::Result<Vec<_>> =
        looping.listeners.iter().map(|listener| listener.socket.local_addr()).collect();
    (worker.on_bound)(addrs.map_err(EngineError::io("getsockname"))?);
    looping.run()
}

impl Loop {
    fn new(worker: &Worker) -> Result<Loop, EngineError> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)
            .map_err(|error| EngineError::io("epoll_create")(error.into()))?;
        register(&epoll, &worker.wake, Key::reserved(WAKE), EventFlags::IN)
            .map_err(EngineError::io("epoll_ctl"))?;
        let listeners: Vec<Listener> = worker
            .open_listeners()?
            .into_iter()
            .map(|(socket, proto)| Listener { socket, proto, acceptable: false })
            .collect();
        for (index, listener) in listeners.iter().enumerate() {
            register(&epoll, &listener.socket, listener_key(index), EventFlags::IN)
                .map_err(EngineError::io("epoll_ctl"))?;
        }
        Ok(Loop {
            epoll,
            wake: worker.wake.clone(),
            control: Arc::clone(&worker.control),
            admission: Arc::clone(&worker.admission),
            backlog: worker.backlog,
            listeners,
            acceptable: VecDeque::new(),
            accept_paused_until: None,
            accept_trouble: None,
            conns: Conns::with_capacity(worker.connections_max)?,
            queued: VecDeque::new(),
            lingering: VecDeque::new(),
            turned_away: 0,
            sweep: None,
            timeouts: worker.timeouts,
            accept_rate: AcceptRate::new(worker.accept_rate, Instant::now()),
            wheel: Wheel::new(worker.timeouts.tick_at(Instant::now())),
            env: Env::new(Arc::clone(&worker.shards[0]), worker.faults, worker.timeouts),
        })
    }

    fn run(mut self) -> Result<Ended, EngineError> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            let timeout = self.timeout().map(whole_ms);
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(EngineError::io("epoll_wait")(error.into())),
            }
            self.env.begin_turn(self.control.is_ready());
            for event in &events {
                self.take_event(event);
            }
            self.serve_queued();
            self.accept_batch()?;
            self.end_lingering();
            self.time_out();
            if self.control.phase(self.env.now) >= Phase::Closing
                && let Some(ended) = self.stop_step()
            {
                return Ok(ended);
            }
            self.env.shard.turn.observe(self.env.now.elapsed());
        }
    }

    /// How long to wait for events: not at all while there is other work, else until the next thing is due.
    fn timeout(&self) -> Option<Duration> {
        let accepting = !self.acceptable.is_empty() && self.accept_paused_until.is_none();
        if accepting || !self.queued.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.sweep.is_some() {
            return Some(SWEEP_PAUSE);
        }
        let goodbye = self.lingering.front().map(|&(until, _)| until);
        let phase = self.control.next_change(self.env.now);
        let timeout = self.wheel.next_tick().map(|tick| self.timeouts.begin_of(tick));
        let due = earlier(earlier(self.accept_paused_until, goodbye), earlier(phase, timeout))?;
        Some(due.saturating_duration_since(self.env.now))
    }

    fn take_event(&mut self, event: &Event) {
        let key = Key::from_bits(event.data.u64());
        match key.reserved_number() {
            Some(WAKE) => self.wake.clear(),
            Some(number) => self.put_acceptable(number as usize - 1),
            None => {
                // An event of a former tenant finds nothing here.
                let Some(conn) = self.conns.get_mut(key) else {
                    return;
                };
                let flags = event.flags;
                if flags.contains(EventFlags::ERR) {
                    let reason = conn.failure();
                    return self.close(key, reason);
                }
                conn.note(
                    flags.contains(EventFlags::IN),
                    flags.intersects(EventFlags::RDHUP | EventFlags::HUP),
                );
                self.serve(key);
            }
        }
    }

    /// Gives each connection that was put back one more turn.
    fn serve_queued(&mut self) {
        for _ in 0..self.queued.len() {
            let Some(key) = self.queued.pop_front() else {
                return;
            };
            if let Some(conn) = self.conns.get_mut(key) {
                conn.queued = false;
                self.serve(key);
            }
        }
    }

    /// One turn of one connection, and what follows from it.
    fn serve(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let next = conn.turn(&mut self.env);
        // What nearly every turn ends with, and then there is nearly never anything to do.
        if matches!(next, Next::Wait) && !self.env.closing {
            if let Some(tick) = conn.arm(&self.timeouts, false) {
                self.wheel.insert(key, tick);
            }
            return;
        }
        self.follow(key, next);
    }

    /// What follows from a turn.
    fn follow(&mut self, key: Key, mut next: Next) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if self.env.closing && matches!(next, Next::Wait) && conn.may_go(&self.env) {
            next = Next::Linger(CloseReason::Drain);
        }
        if let Next::Linger(reason) = next {
            conn.begin_linger(reason);
            self.lingering.push_back((self.env.now + LINGER_TIMEOUT, key));
            next = conn.turn(&mut self.env);
        }
        match next {
            Next::Wait => {
                if let Some(tick) = conn.arm(&self.timeouts, self.env.closing) {
                    self.wheel.insert(key, tick);
                }
            }
            Next::Linger(_) => {}
            Next::Again if conn.queued => {}
            Next::Again => {
                conn.queued = true;
                self.queued.push_back(key);
            }
            Next::Close(reason) => self.close(key, reason),
        }
    }

    /// Takes a connection out of the table. Its descriptor closes, which ends its registration, too.
    fn close(&mut self, key: Key, reason: CloseReason) {
        let Some(conn) = self.conns.remove(key) else {
            return;
        };
        if conn.is_admitted() {
            self.env.shard.closed(reason);
            self.admission.leave();
        } else {
            self.turned_away -= 1;
        }
        // A descriptor has become free: what was lacking may be there now.
        self.accept_paused_until = None;
    }

    /// Looks at the connections whose timeout may have come.
    fn time_out(&mut self) {
        let tick = self.env.tick;
        if self.wheel.next_tick().is_none_or(|next| next > tick) {
            return;
        }
        let mut due = Vec::new();
        self.wheel.advance(tick, |key| due.push(key));
        for key in due {
            // Of most only the slot is left, or they have been heard of since.
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let next = conn.look(&mut self.env).unwrap_or(Next::Wait);
            self.follow(key, next);
        }
        if self.wheel.len() > WHEEL_SPARE + 2 * self.conns.len() as usize {
            let conns = &mut self.conns;
            self.wheel.retain(|key| conns.get_mut(key).is_some());
        }
    }

    /// Closes connections whose peers have not noticed in time that they were told goodbye.
    fn end_lingering(&mut self) {
        while let Some(&(until, key)) = self.lingering.front() {
            let gone = self.conns.get_mut(key).is_none();
            if !gone && until > self.env.now {
                return;
            }
            self.lingering.pop_front();
            if let Some(reason) = self.conns.get_mut(key).and_then(|conn| conn.lingers_for()) {
                self.close(key, reason);
            }
        }
    }
}

/// Of what may be due, what is first.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn listener_key(index: usize) -> Key {
    // The configuration allows far fewer listeners than numbers.
    Key::reserved(WAKE + 1 + u32::try_from(index).unwrap_or(u32::MAX - 1))
}

/// Rounded up, so that the loop does not spin through the last millisecond: that is as fine as the call's older form can wait, and
/// the newer one is not everywhere.
fn whole_ms(timeout: Duration) -> Timespec {
    let ms = timeout.as_nanos().div_ceil(1_000_000);
    let ms = i64::try_from(ms).unwrap_or(i64::from(i32::MAX)).min(i64::from(i32::MAX));
    Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }
}

/// Edge-triggered: an event is told once.
fn register(epoll: &OwnedFd, source: &impl AsFd, key: Key, wanted: EventFlags) -> io::Result<()> {
    Ok(epoll::add(epoll, source, EventData::new_u64(key.bits()), wanted | EventFlags::ET)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_no_earlier_than_what_is_due() {
        for (timeout, expected) in [
            (Duration::ZERO, (0, 0)),
            (Duration::from_nanos(1), (0, 1_000_000)),
            (Duration::from_micros(1_999_001), (2, 0)),
            (Duration::MAX, (2_147_483, 647_000_000)),
        ] {
            let timespec = whole_ms(timeout);
            assert_eq!((timespec.tv_sec, timespec.tv_nsec), expected, "{timeout:?}");
        }
    }

    #[test]
    fn what_is_due_first_is_found() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert_eq!(earlier(Some(later), Some(now)), Some(now));
        assert_eq!((earlier(None, Some(now)), earlier(Some(now), None)), (Some(now), Some(now)));
        assert_eq!(earlier(None, None), None);
    }
}
