//! Which connection sends which arrival, and what is recorded of it: the core of a worker, without sockets or clock.
//!
//! The caller passes the time in and does the I/O. So the whole of it runs in virtual time in tests, against simulated
//! targets that stall, fail and lose connections.
//!
//! The times of a request, in order: *intended* (from the schedule), *taken up* (the generator noticed that it is due),
//! *sent* (a connection was free), *done* (the last byte of the reply was read).
//! `lag` = taken up - intended, `wait` = sent - taken up, `service` = done - sent, `response` = done - intended.

use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;

use crate::errors::ErrorKind;
use crate::gaps::GapSample;
use crate::record::{Kind, Recording};
use crate::schedule::Share;

/// Arrivals that may wait for a free connection on one worker before the run is ended: at 16 bytes each, 64 MiB.
/// A target that is this far behind will not catch up, and nothing here may grow without bound.
pub const WAITING_MAX: usize = 4 * 1024 * 1024;

/// Deadlines below which nothing is gained by dropping those of requests that are done.
const DEADLINES_MIN: usize = 64;

/// A connection's number within one population of one worker.
pub type ConnId = u32;

/// The phases of a run, in monotonic ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The schedule's origin; the warm-up begins.
    pub start_ns: u64,
    /// Arrivals intended from here on are measured.
    pub from_ns: u64,
    /// No arrival is intended from here on; the drain begins.
    pub until_ns: u64,
    /// What is not done by now is censored: it enters `response` at its age.
    pub drain_until_ns: u64,
}

impl Window {
    /// Whether an arrival that was taken up counts. None is taken up from `until_ns` on, so that needs no check, and a run
    /// that is ended early still accounts for all that it took up.
    fn measures(&self, intended_ns: u64) -> bool {
        intended_ns >= self.from_ns
    }
}

/// What sets the pace of a population's requests.
#[derive(Clone, Debug)]
pub enum Pace {
    /// Nothing does: connections are held.
    Idle,
    /// The replies: a connection asks again when its reply has come and it has thought for so long.
    Closed {
        /// The think time; 0 is none.
        think_ns: u64,
    },
    /// A schedule, of which any free connection takes the next arrival.
    Any(Share),
    /// A schedule, of which each arrival is of one connection; they take turns.
    Turns(Share),
    /// A schedule of visits: a connection is opened, asks so many times, one after the other, and is closed.
    Visits {
        /// When they begin.
        share: Share,
        /// Requests of each; at least 1.
        requests: u16,
    },
}

impl From<Option<Share>> for Pace {
    fn from(schedule: Option<Share>) -> Self {
        schedule.map_or(Self::Closed { think_ns: 0 }, Self::Any)
    }
}

/// Whether a connection goes on after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does.
    Stays,
    /// Its visit is over: the caller closes it.
    Leaves,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not established.
    Down,
    /// Established, nothing in flight; where connections visit, not established and free to be opened.
    Free,
    /// Being opened for a visit.
    Opening,
    /// A request is in flight.
    Busy,
    /// In a visit, between two requests.
    Between,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Of the request in flight; of a connection that thinks, when it will have thought.
    intended_ns: u64,
    /// Of a connection that is being opened, when its visit was taken up.
    sent_ns: u64,
    state: State,
    /// Whether `free` holds this connection. A connection lost while it is free leaves its entry behind, which is
    /// skipped when its turn comes and never doubled.
    queued: bool,
    /// Requests that are left of its visit.
    left: u16,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    intended_ns: u64,
    taken_up_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    sent_ns: u64,
    conn: ConnId,
}

/// [`Pace`], with what is to be remembered of it.
#[derive(Debug)]
enum Source {
    Idle,
    Closed {
        think_ns: u64,
        /// Connections that think, in the order in which they will have thought. Entries of those that were lost meanwhile are skipped.
        thinking: VecDeque<(u64, ConnId)>,
        /// It was found to have come to its end.
        is_over: bool,
    },
    Any(Peekable<Share>),
    Turns {
        share: Peekable<Share>,
        /// Whose turn is next.
        next: ConnId,
        /// Arrivals whose connection was not free, by connection.
        held: BTreeMap<ConnId, VecDeque<Waiting>>,
        /// How many these are.
        held_count: usize,
        /// Connections that have become free and have such arrivals.
        ready: VecDeque<ConnId>,
    },
    Visits {
        share: Peekable<Share>,
        requests: u16,
        /// Connections whose visit goes on with another request. Entries of those that were lost meanwhile are skipped.
        ready: VecDeque<ConnId>,
    },
}

impl From<Pace> for Source {
    fn from(pace: Pace) -> Self {
        match pace {
            Pace::Idle => Self::Idle,
            Pace::Closed { think_ns } => Self::Closed { think_ns, thinking: VecDeque::new(), is_over: false },
            Pace::Any(share) => Self::Any(share.peekable()),
            Pace::Turns(share) => Self::Turns {
                share: share.peekable(),
                next: 0,
                held: BTreeMap::new(),
                held_count: 0,
                ready: VecDeque::new(),
            },
            Pace::Visits { share, requests } => {
                Self::Visits { share: share.peekable(), requests, ready: VecDeque::new() }
            }
        }
    }
}

impl Source {
    fn share(&mut self) -> Option<&mut Peekable<Share>> {
        match self {
            Self::Idle | Self::Closed { .. } => None,
            Self::Any(share) | Self::Turns { share, .. } | Self::Visits { share, .. } => Some(share),
        }
    }

    const fn is_visits(&self) -> bool {
        matches!(self, Self::Visits { .. })
    }
}

/// Assigns the arrivals of one population on one worker to its connections, and records what becomes of them.
#[derive(Debug)]
pub struct Dispatcher {
    source: Source,
    /// `None` until the ramp is over.
    window: Option<Window>,
    timeout_ns: u64,
    slots: Vec<Slot>,
    free: VecDeque<ConnId>,
    waiting: VecDeque<Waiting>,
    /// In order of sending. Entries of requests that are done are skipped when they come to the front.
    deadlines: VecDeque<Deadline>,
    /// Requests that were sent and have not ended, and visits that are being opened.
    in_flight: usize,
    gaps: GapSample,
    recording: Recording,
}

impl Dispatcher {
    /// A dispatcher over `connections` connections, none of them established.
    /// A request that is not answered `timeout_ns` after it was sent has timed out.
    ///
    /// # Panics
    /// When there are more connections than fit a [`ConnId`].
    pub fn new(pace: impl Into<Pace>, connections: usize, timeout_ns: u64) -> Self {
        let source = Source::from(pace.into());
        let slot = Slot { intended_ns: 0, sent_ns: 0, state: State::Down, queued: false, left: 0 };
        let mut dispatcher = Self {
            source,
            window: None,
            timeout_ns,
            slots: vec![slot; connections],
            free: VecDeque::with_capacity(connections),
            waiting: VecDeque::new(),
            deadlines: VecDeque::new(),
            in_flight: 0,
            gaps: GapSample::default(),
            recording: Recording::new(),
        };
        if dispatcher.source.is_visits() {
            let count = ConnId::try_from(connections).expect("a plan's connections fit");
            (0..count).for_each(|conn| dispatcher.put_free(conn));
        }
        dispatcher
    }

    /// Starts the schedule.
    pub fn begin(&mut self, window: Window) {
        self.window = Some(window);
        self.spread_thinking(window.start_ns);
    }

    /// Those that think begin one after the other within the first think time, and not all at once.
    fn spread_thinking(&mut self, start_ns: u64) {
        let Source::Closed { think_ns: think_ns @ 1.., thinking, .. } = &mut self.source else { return };
        thinking.clear();
        let free: Vec<ConnId> = (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.state == State::Free)
            .map(|(conn, _)| conn)
            .collect();
        for (index, &conn) in free.iter().enumerate() {
            let due_ns = start_ns + *think_ns / free.len() as u64 * index as u64;
            self.slots[conn as usize].intended_ns = due_ns;
            thinking.push_back((due_ns, conn));
        }
    }

    /// Ends the arrivals at `at_ns` if they would go on longer; the drain keeps its length.
    pub fn end_early(&mut self, at_ns: u64) {
        if let Some(window) = &mut self.window {
            let drain_ns = window.drain_until_ns - window.until_ns;
            window.until_ns = window.until_ns.min(at_ns);
            window.drain_until_ns = window.until_ns + drain_ns;
        }
    }

    /// The connection is established. Returns whether the request that it was opened for is to be sent now.
    pub fn connected(&mut self, conn: ConnId, now_ns: u64) -> bool {
        let slot = self.slots[conn as usize];
        if slot.state != State::Opening {
            debug_assert_eq!(slot.state, State::Down);
            self.release(conn, now_ns);
            return false;
        }
        if self.is_measured(slot.intended_ns) {
            self.recording.record(Kind::Wait, now_ns - slot.sent_ns);
        }
        self.in_flight -= 1;
        self.put_in_flight(conn, slot.intended_ns, now_ns);
        true
    }

    /// What is recorded; the worker adds connection events to it.
    pub fn recording(&mut self) -> &mut Recording {
        &mut self.recording
    }

    /// Hands the recording over in exchange for an empty one.
    pub fn swap_recording(&mut self, empty: Recording) -> Recording {
        std::mem::replace(&mut self.recording, empty)
    }

    /// When there is next something to send, monotonic ns: the next intended time, or in a closed loop the start, as long as
    /// a connection is free.
    pub fn next_arrival_ns(&mut self) -> Option<u64> {
        let window = self.window?;
        match &self.source {
            Source::Idle | Source::Closed { is_over: true, .. } => None,
            Source::Closed { think_ns: 0, .. } => (!self.free.is_empty()).then_some(window.start_ns),
            Source::Closed { thinking, .. } => thinking.front().map(|&(due_ns, _)| due_ns),
            Source::Turns { ready, .. } | Source::Visits { ready, .. } if !ready.is_empty() => {
                Some(window.start_ns)
            }
            _ => self.next_intended_ns(),
        }
    }

    fn next_intended_ns(&mut self) -> Option<u64> {
        let window = self.window?;
        let at_ns = window.start_ns + self.source.share()?.peek()?;
        (at_ns < window.until_ns).then_some(at_ns)
    }

    /// When the oldest request in flight times out, monotonic ns.
    pub fn next_timeout_ns(&mut self) -> Option<u64> {
        self.forget_done_deadlines();
        Some(self.deadlines.front()?.sent_ns + self.timeout_ns)
    }

    /// When the newest request was sent, if any is in flight, monotonic ns.
    pub fn newest_in_flight_ns(&self) -> Option<u64> {
        self.deadlines.back().filter(|_| self.in_flight > 0).map(|newest| newest.sent_ns)
    }

    /// Whether more arrivals wait for a connection than is sane.
    pub fn backlog_is_full(&self) -> bool {
        self.waiting_count() >= WAITING_MAX
    }

    fn waiting_count(&self) -> usize {
        let held_count = if let Source::Turns { held_count, .. } = &self.source { *held_count } else { 0 };
        self.waiting.len() + held_count
    }

    /// Whether a connection is free. While replies are still being read, arrivals are only sent and not made to wait: their
    /// connection may be the next to be read, and that it was not yet is the generator's lateness.
    pub fn has_free(&self) -> bool {
        match &self.source {
            Source::Closed { think_ns: 1.., .. } => true,
            Source::Turns { next, ready, .. } => {
                let is_free = |slot: &Slot| slot.state == State::Free;
                !ready.is_empty() || self.slots.get(*next as usize).is_some_and(is_free)
            }
            Source::Visits { ready, .. } => !ready.is_empty() || !self.free.is_empty(),
            _ => !self.free.is_empty(),
        }
    }

    /// The connection to send a request on now, if an arrival is due and a connection is free; where connections visit it may have
    /// to be opened first. Called until it returns `None`, with a fresh time for each call: that time is when the arrival counts as
    /// taken up and as sent.
    pub fn next(&mut self, now_ns: u64) -> Option<ConnId> {
        let window = self.window?;
        match &self.source {
            Source::Idle => None,
            Source::Closed { .. } => self.next_closed(now_ns, window),
            Source::Any(_) => self.next_of_any(now_ns, window),
            Source::Turns { .. } => self.next_in_turn(now_ns, window),
            Source::Visits { .. } => self.next_of_visits(now_ns, window).or_else(|| self.next_visit(now_ns)),
        }
    }

    fn next_of_any(&mut self, now_ns: u64, window: Window) -> Option<ConnId> {
        self.take_up_due(now_ns);
        if self.waiting.is_empty() {
            return None;
        }
        let conn = self.pop_free()?;
        let arrival = self.waiting.pop_front()?;
        self.send(conn, arrival, now_ns, window);
        Some(conn)
    }

    /// In a closed loop a connection that is free, and has thought, is itself the arrival.
    fn next_closed(&mut self, now_ns: u64, window: Window) -> Option<ConnId> {
        let Source::Closed { think_ns, is_over, .. } = &mut self.source else { return None };
        *is_over |= now_ns >= window.until_ns;
        if now_ns < window.start_ns || *is_over {
            return None;
        }
        if *think_ns == 0 {
            let conn = self.pop_free()?;
            self.count_scheduled(now_ns, window);
            self.put_in_flight(conn, now_ns, now_ns);
            return Some(conn);
        }
        let (intended_ns, conn) = self.next_thought(now_ns)?;
        self.count_scheduled(intended_ns, window);
        self.record_lag(intended_ns, now_ns, window);
        self.put_in_flight(conn, intended_ns, now_ns);
        Some(conn)
    }

    /// A connection that has thought, and since when.
    fn next_thought(&mut self, now_ns: u64) -> Option<(u64, ConnId)> {
        let Source::Closed { thinking, .. } = &mut self.source else { return None };
        while let Some(&(due_ns, conn)) = thinking.front().filter(|(due_ns, _)| *due_ns <= now_ns) {
            thinking.pop_front();
            let slot = &self.slots[conn as usize];
            if slot.state == State::Free && slot.intended_ns == due_ns {
                return Some((due_ns, conn));
            }
        }
        None
    }

    /// What is due is sent on the connection whose turn it is; when that is not free, it waits for just that one.
    fn next_in_turn(&mut self, now_ns: u64, window: Window) -> Option<ConnId> {
        if let Some((conn, arrival)) = self.pop_ready() {
            self.send(conn, arrival, now_ns, window);
            return Some(conn);
        }
        loop {
            let intended_ns = self.next_intended_ns().filter(|&intended_ns| intended_ns <= now_ns)?;
            if self.backlog_is_full() {
                return None;
            }
            self.take_next();
            self.count_scheduled(intended_ns, window);
            self.record_lag(intended_ns, now_ns, window);
            let arrival = Waiting { intended_ns, taken_up_ns: now_ns };
            let count = self.slots.len();
            let Source::Turns { next, held, held_count, .. } = &mut self.source else { return None };
            let conn = *next;
            *next = if conn as usize + 1 == count { 0 } else { conn + 1 };
            if self.slots[conn as usize].state == State::Free {
                self.send(conn, arrival, now_ns, window);
                return Some(conn);
            }
            held.entry(conn).or_default().push_back(arrival);
            *held_count += 1;
        }
    }

    /// An arrival that has waited for its connection, which is free now.
    fn pop_ready(&mut self) -> Option<(ConnId, Waiting)> {
        let Source::Turns { held, held_count, ready, .. } = &mut self.source else { return None };
        while let Some(conn) = ready.pop_front() {
            if self.slots[conn as usize].state != State::Free {
                continue;
            }
            let Some(arrivals) = held.get_mut(&conn) else { continue };
            let arrival = arrivals.pop_front();
            if arrivals.is_empty() {
                held.remove(&conn);
            }
            if let Some(arrival) = arrival {
                *held_count -= 1;
                return Some((conn, arrival));
            }
        }
        None
    }

    /// The next request of a visit that has begun: it is intended when the reply before it has come.
    fn next_of_visits(&mut self, now_ns: u64, window: Window) -> Option<ConnId> {
        let Source::Visits { ready, .. } = &mut self.source else { return None };
        while let Some(conn) = ready.pop_front() {
            let slot = self.slots[conn as usize];
            if slot.state == State::Between {
                self.count_scheduled(slot.intended_ns, window);
                self.recording.follow_ups += u64::from(window.measures(slot.intended_ns));
                self.recording.taken_up_in_time += u64::from(window.measures(slot.intended_ns));
                self.put_in_flight(conn, slot.intended_ns, now_ns);
                return Some(conn);
            }
        }
        None
    }

    /// A visit that is due, on a connection that is now to be opened.
    fn next_visit(&mut self, now_ns: u64) -> Option<ConnId> {
        self.take_up_due(now_ns);
        if self.waiting.is_empty() {
            return None;
        }
        let conn = self.pop_free()?;
        let arrival = self.waiting.pop_front()?;
        let Source::Visits { requests, .. } = &self.source else { return None };
        let slot = &mut self.slots[conn as usize];
        slot.state = State::Opening;
        slot.left = *requests;
        slot.intended_ns = arrival.intended_ns;
        slot.sent_ns = arrival.taken_up_ns;
        self.in_flight += 1;
        Some(conn)
    }

    /// Whether the connection is to be opened for a visit.
    pub fn is_opening(&self, conn: ConnId) -> bool {
        self.slots[conn as usize].state == State::Opening
    }

    /// Takes up one arrival when a connection can send it at once, and otherwise all that are due: those wait, and it
    /// must not look like lateness of the generator.
    fn take_up_due(&mut self, now_ns: u64) {
        let Some(window) = self.window else { return };
        while self.waiting.is_empty() || self.free.is_empty() {
            match self.next_intended_ns() {
                Some(intended_ns) if intended_ns <= now_ns && !self.backlog_is_full() => {
                    self.take_next();
                    self.count_scheduled(intended_ns, window);
                    self.record_lag(intended_ns, now_ns, window);
                    if window.measures(intended_ns) {
                        self.gaps.taken_up(intended_ns, now_ns);
                    }
                    self.waiting.push_back(Waiting { intended_ns, taken_up_ns: now_ns });
                }
                _ => return,
            }
        }
    }

    fn take_next(&mut self) {
        if let Some(share) = self.source.share() {
            share.next();
        }
    }

    fn record_lag(&mut self, intended_ns: u64, now_ns: u64, window: Window) {
        if window.measures(intended_ns) {
            self.recording.record(Kind::Lag, now_ns - intended_ns);
            self.recording.taken_up_in_time += u64::from(now_ns < window.until_ns);
        }
    }

    fn count_scheduled(&mut self, intended_ns: u64, window: Window) {
        self.recording.account.scheduled += u64::from(window.measures(intended_ns));
    }

    fn send(&mut self, conn: ConnId, arrival: Waiting, now_ns: u64, window: Window) {
        if window.measures(arrival.intended_ns) {
            self.recording.record(Kind::Wait, now_ns - arrival.taken_up_ns);
        }
        self.put_in_flight(conn, arrival.intended_ns, now_ns);
    }

    fn put_in_flight(&mut self, conn: ConnId, intended_ns: u64, now_ns: u64) {
        let slot = &mut self.slots[conn as usize];
        slot.state = State::Busy;
        slot.intended_ns = intended_ns;
        slot.sent_ns = now_ns;
        self.in_flight += 1;
        self.forget_done_deadlines();
        self.compact_deadlines();
        self.deadlines.push_back(Deadline { sent_ns: now_ns, conn });
    }

    fn forget_done_deadlines(&mut self) {
        while let Some(oldest) = self.deadlines.front() {
            let slot = &self.slots[oldest.conn as usize];
            if slot.state == State::Busy && slot.sent_ns == oldest.sent_ns {
                return;
            }
            self.deadlines.pop_front();
        }
    }

    /// One request that is never answered keeps its place at the front, and what was sent after it queues up behind, done or
    /// not. At most one in each connection's place is not done, so this is rare and leaves few.
    fn compact_deadlines(&mut self) {
        if self.deadlines.len() <= 2 * self.slots.len() + DEADLINES_MIN {
            return;
        }
        let slots = &self.slots;
        self.deadlines.retain(|deadline| {
            let slot = &slots[deadline.conn as usize];
            slot.state == State::Busy && slot.sent_ns == deadline.sent_ns
        });
    }

    fn pop_free(&mut self) -> Option<ConnId> {
        loop {
            let conn = self.free.pop_front()?;
            let slot = &mut self.slots[conn as usize];
            slot.queued = false;
            if slot.state == State::Free {
                return Some(conn);
            }
        }
    }

    /// The connection has nothing in flight any more, and may ask again.
    fn release(&mut self, conn: ConnId, now_ns: u64) {
        match &mut self.source {
            Source::Closed { think_ns: think_ns @ 1.., thinking, .. } => {
                // Nobody thinks before the start: those who come just before it would be ahead of those who are in the queue.
                let from_ns = self.window.map_or(now_ns, |window| now_ns.max(window.start_ns));
                let due_ns = from_ns + *think_ns;
                thinking.push_back((due_ns, conn));
                let slot = &mut self.slots[conn as usize];
                slot.state = State::Free;
                slot.intended_ns = due_ns;
            }
            Source::Turns { held, ready, .. } => {
                self.slots[conn as usize].state = State::Free;
                if held.contains_key(&conn) {
                    ready.push_back(conn);
                }
            }
            _ => self.put_free(conn),
        }
    }

    fn put_free(&mut self, conn: ConnId) {
        let slot = &mut self.slots[conn as usize];
        slot.state = State::Free;
        if !slot.queued {
            slot.queued = true;
            self.free.push_back(conn);
        }
    }

    /// The connection is gone. One that visits may be opened again at any time for another visit.
    fn put_down(&mut self, conn: ConnId) {
        if self.source.is_visits() {
            self.put_free(conn);
        } else {
            self.slots[conn as usize].state = State::Down;
        }
    }

    /// A reply has come: what becomes of its connection.
    fn after_reply(&mut self, conn: ConnId, now_ns: u64) -> Fate {
        let Source::Visits { ready, .. } = &mut self.source else {
            self.release(conn, now_ns);
            return Fate::Stays;
        };
        let slot = &mut self.slots[conn as usize];
        slot.left -= 1;
        if slot.left > 0 && self.window.is_some_and(|window| now_ns < window.until_ns) {
            slot.state = State::Between;
            slot.intended_ns = now_ns;
            ready.push_back(conn);
            return Fate::Stays;
        }
        self.put_free(conn);
        Fate::Leaves
    }

    /// Whether a request is in flight on the connection.
    pub fn is_busy(&self, conn: ConnId) -> bool {
        self.slots[conn as usize].state == State::Busy
    }

    /// When the request in flight on the connection was sent, monotonic ns.
    pub fn sent_ns(&self, conn: ConnId) -> u64 {
        self.slots[conn as usize].sent_ns
    }

    /// The reply has come, whole and right.
    pub fn completed(&mut self, conn: ConnId, now_ns: u64) -> Fate {
        let slot = self.end_flight(conn);
        let is_in_window =
            self.window.is_some_and(|window| (window.from_ns..window.until_ns).contains(&now_ns));
        self.recording.completed_in_window += u64::from(is_in_window);
        if self.is_measured(slot.intended_ns) {
            self.recording.account.completed += 1;
            self.recording.record(Kind::Response, now_ns - slot.intended_ns);
            self.recording.record(Kind::Service, now_ns - slot.sent_ns);
        }
        self.after_reply(conn, now_ns)
    }

    /// A reply has come that is an error (an HTTP status of 400 and above). It enters no latency: a fast failure must
    /// not make the target look fast.
    pub fn answered_with_error(&mut self, conn: ConnId, kind: ErrorKind, now_ns: u64) -> Fate {
        let slot = self.end_flight(conn);
        self.count_errored(slot, kind);
        self.after_reply(conn, now_ns)
    }

    /// The connection is gone; a request in flight on it has failed.
    pub fn disconnected(&mut self, conn: ConnId, kind: ErrorKind) {
        let slot = self.slots[conn as usize];
        if slot.state == State::Between && self.is_measured(slot.intended_ns) {
            self.recording.visits_cut_short += 1;
        }
        if matches!(self.slots[conn as usize].state, State::Busy | State::Opening) {
            let slot = self.end_flight(conn);
            self.count_errored(slot, kind);
        }
        self.put_down(conn);
    }

    fn count_errored(&mut self, slot: Slot, kind: ErrorKind) {
        if self.is_measured(slot.intended_ns) {
            if let Source::Visits { requests, .. } = &self.source {
                self.recording.visits_failed += u64::from(slot.left == *requests);
            }
            self.recording.account.errored += 1;
            self.recording.error(kind);
        }
    }

    /// The oldest request that has timed out, as the connection that the caller must now close. It enters `response` and `service`
    /// at its age.
    pub fn expire(&mut self, now_ns: u64) -> Option<ConnId> {
        if self.next_timeout_ns()? > now_ns {
            return None;
        }
        let conn = self.deadlines.pop_front()?.conn;
        self.time_out(conn, now_ns);
        Some(conn)
    }

    /// A request has timed out, or stands behind one on its connection that has: nobody waits for it any more. It enters `response` and
    /// `service` at its age.
    pub fn time_out(&mut self, conn: ConnId, now_ns: u64) {
        let slot = self.end_flight(conn);
        if self.is_measured(slot.intended_ns) {
            self.recording.account.timed_out += 1;
            self.recording.error(ErrorKind::Timeout);
            self.recording.record(Kind::Response, now_ns - slot.intended_ns);
            self.recording.record(Kind::Service, now_ns - slot.sent_ns);
        }
        self.put_down(conn);
    }

    fn end_flight(&mut self, conn: ConnId) -> Slot {
        let slot = self.slots[conn as usize];
        debug_assert!(matches!(slot.state, State::Busy | State::Opening), "a reply belongs to a request");
        self.in_flight -= 1;
        slot
    }

    fn is_measured(&self, intended_ns: u64) -> bool {
        self.window.is_some_and(|window| window.measures(intended_ns))
    }

    /// Whether the run is over for this dispatcher: no arrival is to come, and all are done or the drain has ended.
    pub fn is_finished(&mut self, now_ns: u64) -> bool {
        let Some(window) = self.window else { return false };
        if now_ns < window.until_ns || self.next_intended_ns().is_some_and(|_| now_ns < window.drain_until_ns)
        {
            return false;
        }
        (self.in_flight == 0 && self.waiting_count() == 0) || now_ns >= window.drain_until_ns
    }

    /// When it may next be found finished without anything else happening, monotonic ns: at the end of the measurement, and at
    /// that of the drain.
    pub fn next_end_ns(&self, now_ns: u64) -> Option<u64> {
        let window = self.window?;
        [window.until_ns, window.drain_until_ns].into_iter().find(|&end_ns| end_ns > now_ns)
    }

    /// Ends the run: what is not done is censored and enters `response`, and `service` or `wait`, at its age, so that a stall
    /// at the end cannot vanish.
    pub fn finish(&mut self, now_ns: u64) {
        let Some(window) = self.window else { return };
        for index in 0..self.slots.len() {
            let slot = self.slots[index];
            let of_sent = match slot.state {
                State::Busy => Kind::Service,
                State::Opening => Kind::Wait,
                _ => continue,
            };
            if window.measures(slot.intended_ns) {
                self.recording.account.in_flight_at_end += 1;
                self.recording.record(Kind::Response, now_ns.saturating_sub(slot.intended_ns));
                self.recording.record(of_sent, now_ns.saturating_sub(slot.sent_ns));
            }
        }
        if let Source::Turns { held, held_count, .. } = &mut self.source {
            self.waiting.extend(std::mem::take(held).into_values().flatten());
            *held_count = 0;
        }
        while let Some(arrival) = self.waiting.pop_front() {
            if window.measures(arrival.intended_ns) {
                self.recording.record(Kind::Wait, now_ns.saturating_sub(arrival.taken_up_ns));
            }
            self.never_sent(arrival.intended_ns, now_ns, window);
        }
        while let Some(intended_ns) = self.next_intended_ns() {
            self.take_next();
            self.count_scheduled(intended_ns, window);
            self.never_sent(intended_ns, now_ns, window);
        }
        self.recording.gaps_by_worker_ns.push(self.gaps.take());
    }

    fn never_sent(&mut self, intended_ns: u64, now_ns: u64, window: Window) {
        if window.measures(intended_ns) {
            self.recording.account.never_sent += 1;
            self.recording.record(Kind::Response, now_ns.saturating_sub(intended_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Account;
    use crate::schedule::{Arrivals, Schedule};

    const MS: u64 = 1_000_000;
    /// An arrival every 10 ms from 1 s on, measured from 1.1 s to 1.2 s.
    const WINDOW: Window =
        Window { start_ns: 1000 * MS, from_ns: 1100 * MS, until_ns: 1200 * MS, drain_until_ns: 1300 * MS };

    fn dispatcher(connections: u32) -> Dispatcher {
        let schedule =
            Schedule::new(Arrivals::Constant { rate: 100.0 }, 0, 0).map(|schedule| schedule.share(0, 1));
        ready(Dispatcher::new(schedule, connections as usize, 50 * MS), connections)
    }

    fn ready(mut dispatcher: Dispatcher, connections: u32) -> Dispatcher {
        (0..connections).for_each(|conn| assert!(!dispatcher.connected(conn, 0)));
        dispatcher.begin(WINDOW);
        dispatcher
    }

    /// Answers everything at once up to the given time.
    fn run_until(dispatcher: &mut Dispatcher, until_ms: u64) {
        while let Some(due_ns) = dispatcher.next_arrival_ns().filter(|&due_ns| due_ns < until_ms * MS) {
            let conn = dispatcher.next(due_ns).expect("a connection is free");
            dispatcher.completed(conn, due_ns);
        }
    }

    fn max(dispatcher: &mut Dispatcher, kind: Kind) -> u64 {
        let histogram = dispatcher.recording().histogram(kind);
        histogram.lowest_equivalent(histogram.max())
    }

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let mut dispatcher = dispatcher(1);
        assert_eq!(dispatcher.next_arrival_ns(), Some(1000 * MS));
        assert_eq!(dispatcher.next(1000 * MS - 1), None);
        assert_eq!(dispatcher.next(1000 * MS), Some(0));
    }

    #[test]
    fn the_warm_up_is_sent_and_not_measured() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1100);
        assert_eq!(dispatcher.recording().account, Account::default());
        run_until(&mut dispatcher, 1300);
        let account = Account { scheduled: 10, completed: 10, ..Account::default() };
        assert_eq!(dispatcher.recording().account, account);
        assert!(dispatcher.is_finished(1200 * MS));
    }

    #[test]
    fn the_throughput_is_of_the_window_and_not_of_the_drain() {
        let mut dispatcher = dispatcher(2);
        run_until(&mut dispatcher, 1090);
        let first = dispatcher.next(1090 * MS).unwrap();
        dispatcher.completed(first, 1100 * MS);
        run_until(&mut dispatcher, 1190);
        let last = dispatcher.next(1190 * MS).unwrap();
        dispatcher.completed(last, 1200 * MS);
        let recording = dispatcher.recording();
        assert_eq!((recording.account.completed, recording.completed_in_window), (10, 10));
    }

    #[test]
    fn lateness_of_the_generator_is_lag_and_not_wait() {
        let mut dispatcher = dispatcher(2);
        run_until(&mut dispatcher, 1100);
        // Two arrivals are due, and both are noticed late; connections were free all the time.
        let late_ns = 1112 * MS;
        let first = dispatcher.next(late_ns).unwrap();
        let second = dispatcher.next(late_ns + MS).unwrap();
        dispatcher.completed(first, late_ns + 2 * MS);
        dispatcher.completed(second, late_ns + 2 * MS);
        let recording = dispatcher.recording();
        assert_eq!((recording.histogram(Kind::Lag).len(), recording.histogram(Kind::Wait).max()), (2, 0));
        assert_eq!(max(&mut dispatcher, Kind::Lag) / MS, 11);
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 13);
        assert_eq!(max(&mut dispatcher, Kind::Service) / MS, 1);
    }

    #[test]
    fn a_busy_connection_makes_arrivals_wait_with_their_clock_running() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1100);
        assert_eq!(dispatcher.next(1100 * MS), Some(0));
        assert_eq!(dispatcher.next(1110 * MS), None);
        assert_eq!(dispatcher.next(1120 * MS), None);
        dispatcher.completed(0, 1125 * MS);
        assert_eq!(dispatcher.next(1125 * MS), Some(0));
        dispatcher.completed(0, 1126 * MS);
        assert_eq!((max(&mut dispatcher, Kind::Lag), max(&mut dispatcher, Kind::Wait) / MS), (0, 14));
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 24);
    }

    #[test]
    fn a_connection_lost_while_free_is_not_used_and_not_doubled() {
        let mut dispatcher = dispatcher(2);
        dispatcher.disconnected(0, ErrorKind::Reset);
        assert_eq!(dispatcher.next(1000 * MS), Some(1));
        dispatcher.connected(0, 1000 * MS);
        assert_eq!(dispatcher.next(1010 * MS), Some(0));
        assert_eq!(dispatcher.next(1020 * MS), None);
    }

    #[test]
    fn a_timeout_enters_the_response_at_its_age() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1100);
        assert_eq!(dispatcher.next(1100 * MS), Some(0));
        assert_eq!(dispatcher.next_timeout_ns(), Some(1150 * MS));
        assert_eq!(dispatcher.expire(1149 * MS), None);
        assert_eq!(dispatcher.expire(1150 * MS), Some(0));
        assert_eq!(dispatcher.recording().account.timed_out, 1);
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 49);
    }

    #[test]
    fn a_request_that_is_never_answered_does_not_pile_up_those_after_it() {
        let schedule =
            Schedule::new(Arrivals::Constant { rate: 100_000.0 }, 0, 0).map(|schedule| schedule.share(0, 1));
        let mut dispatcher = ready(Dispatcher::new(schedule, 2, u64::MAX / 2), 2);
        assert_eq!(dispatcher.next(1000 * MS), Some(0));
        for step in 1..10_000 {
            assert_eq!(dispatcher.next(1000 * MS + step * 10_000), Some(1));
            dispatcher.completed(1, 1000 * MS + step * 10_000 + 1);
        }
        assert!(dispatcher.deadlines.len() <= 2 * 2 + DEADLINES_MIN + 1, "{}", dispatcher.deadlines.len());
        assert_eq!(dispatcher.next_timeout_ns(), Some(1000 * MS + u64::MAX / 2));
    }

    #[test]
    fn what_is_not_done_at_the_end_is_censored_at_its_age() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1150);
        assert_eq!(dispatcher.next(1150 * MS), Some(0));
        assert_eq!(dispatcher.next(1170 * MS), None);
        assert!(!dispatcher.is_finished(1299 * MS));
        assert!(dispatcher.is_finished(1300 * MS));
        dispatcher.finish(1300 * MS);
        let account = dispatcher.recording().account;
        let expected =
            Account { scheduled: 10, completed: 5, in_flight_at_end: 1, never_sent: 4, ..Account::default() };
        assert_eq!(account, expected);
        assert!(account.balances());
        assert_eq!(dispatcher.recording().histogram(Kind::Response).len(), 10);
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 149);
    }

    #[test]
    fn an_error_reply_is_no_latency() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1190);
        assert_eq!(dispatcher.next(1190 * MS), Some(0));
        dispatcher.answered_with_error(0, ErrorKind::Status(503), 1190 * MS);
        let recording = dispatcher.recording();
        assert_eq!((recording.account.completed, recording.account.errored), (9, 1));
        assert_eq!(recording.histogram(Kind::Response).len(), 9);
        assert_eq!(recording.errors[&ErrorKind::Status(503)], 1);
    }

    #[test]
    fn a_closed_loop_asks_again_only_when_the_reply_has_come() {
        let mut dispatcher = ready(Dispatcher::new(None, 1, 50 * MS), 1);
        assert_eq!(dispatcher.next_arrival_ns(), Some(1000 * MS));
        assert_eq!(dispatcher.next(999 * MS), None);
        assert_eq!(dispatcher.next(1150 * MS), Some(0));
        assert_eq!((dispatcher.next(1150 * MS), dispatcher.next_arrival_ns()), (None, None));
        dispatcher.completed(0, 1170 * MS);
        assert_eq!(dispatcher.next_arrival_ns(), Some(1000 * MS));
        let recording = dispatcher.recording();
        assert_eq!((recording.account.scheduled, recording.account.completed), (1, 1));
        assert_eq!(recording.histogram(Kind::Lag).len(), 0);
        assert_eq!((dispatcher.next(1200 * MS), dispatcher.next_arrival_ns()), (None, None));
        assert!(dispatcher.is_finished(1200 * MS));
    }

    #[test]
    fn the_end_is_due_also_when_no_arrival_and_no_reply_is() {
        let mut dispatcher = dispatcher(1);
        assert_eq!(dispatcher.next_end_ns(1000 * MS), Some(1200 * MS));
        run_until(&mut dispatcher, 1199);
        assert_eq!((dispatcher.next_arrival_ns(), dispatcher.in_flight), (None, 0));
        assert_eq!(dispatcher.next_end_ns(1199 * MS), Some(1200 * MS));
        assert!(dispatcher.is_finished(1200 * MS));
        // With a request that is never answered it is the drain's.
        assert_eq!(dispatcher.next_end_ns(1200 * MS), Some(1300 * MS));
        assert_eq!(dispatcher.next_end_ns(1300 * MS), None);
    }

    #[test]
    fn a_run_that_is_ended_early_balances() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1145);
        assert_eq!(dispatcher.next(1150 * MS), Some(0));
        dispatcher.end_early(1150 * MS);
        assert!(!dispatcher.is_finished(1151 * MS));
        dispatcher.completed(0, 1152 * MS);
        assert!(dispatcher.is_finished(1152 * MS));
        dispatcher.finish(1152 * MS);
        let account = dispatcher.recording().account;
        assert_eq!((account.scheduled, account.completed), (6, 6));
    }

    /// Three connections that take turns, a request on each in 30 ms, begun at 1 s.
    fn taking_turns() -> Dispatcher {
        let every = Arrivals::Every { period_s: 0.03, connections: 3 };
        let share = Schedule::new(every, 0, 0).unwrap().share(0, 1);
        ready(Dispatcher::new(Pace::Turns(share), 3, 500 * MS), 3)
    }

    #[test]
    fn connections_that_take_turns_are_asked_one_after_the_other() {
        let mut dispatcher = taking_turns();
        for turn in 0..9 {
            let due_ns = u64::from(1000 + 10 * turn) * MS;
            assert_eq!(dispatcher.next_arrival_ns(), Some(due_ns));
            assert_eq!(dispatcher.next(due_ns), Some(turn % 3));
            dispatcher.completed(turn % 3, due_ns + MS);
        }
    }

    #[test]
    fn a_turn_waits_for_its_own_connection_and_for_no_other() {
        let mut dispatcher = taking_turns();
        assert_eq!((dispatcher.next(1000 * MS), dispatcher.next(1010 * MS)), (Some(0), Some(1)));
        dispatcher.completed(1, 1011 * MS);
        assert_eq!(dispatcher.next(1020 * MS), Some(2));
        dispatcher.completed(2, 1021 * MS);
        // The first has not answered: its turn waits, that of the second does not.
        assert_eq!((dispatcher.next(1030 * MS), dispatcher.next(1040 * MS)), (None, Some(1)));
        dispatcher.completed(0, 1042 * MS);
        assert_eq!(dispatcher.next_arrival_ns(), Some(1000 * MS), "at once");
        assert_eq!((dispatcher.next(1042 * MS), dispatcher.next(1042 * MS)), (Some(0), None));
    }

    #[test]
    fn turns_of_a_connection_that_never_comes_back_are_never_sent() {
        let mut dispatcher = taking_turns();
        dispatcher.disconnected(0, ErrorKind::Reset);
        for turn in 0..20 {
            let now_ns = (1000 + 10 * turn) * MS;
            while let Some(conn) = dispatcher.next(now_ns) {
                dispatcher.completed(conn, now_ns);
            }
        }
        assert!(!dispatcher.is_finished(1200 * MS));
        dispatcher.finish(1300 * MS);
        let account = dispatcher.recording().account;
        assert!(account.balances() && account.never_sent == 3, "{account:?}");
    }

    #[test]
    fn those_who_think_begin_one_after_the_other_and_ask_again_when_they_have_thought() {
        let mut dispatcher = ready(Dispatcher::new(Pace::Closed { think_ns: 40 * MS }, 2, 500 * MS), 2);
        assert_eq!((dispatcher.next(1000 * MS), dispatcher.next(1000 * MS)), (Some(0), None));
        assert_eq!(dispatcher.next_arrival_ns(), Some(1020 * MS));
        assert_eq!(dispatcher.next(1020 * MS), Some(1));
        dispatcher.completed(0, 1100 * MS);
        assert_eq!((dispatcher.next(1139 * MS), dispatcher.next_arrival_ns()), (None, Some(1140 * MS)));
        // It was due at 1140; the generator is late by 2 ms.
        assert_eq!(dispatcher.next(1142 * MS), Some(0));
        dispatcher.completed(0, 1150 * MS);
        // Rounded down: 2 and 10 ms.
        assert_eq!(max(&mut dispatcher, Kind::Lag) / MS, 1);
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 9);
        assert_eq!(dispatcher.recording().account.completed, 1, "the first one was the warm-up");
    }

    #[test]
    fn one_who_is_lost_while_thinking_asks_only_when_it_has_thought_anew() {
        let mut dispatcher = ready(Dispatcher::new(Pace::Closed { think_ns: 40 * MS }, 1, 500 * MS), 1);
        assert_eq!(dispatcher.next(1000 * MS), Some(0));
        dispatcher.completed(0, 1010 * MS);
        dispatcher.disconnected(0, ErrorKind::Closed);
        dispatcher.connected(0, 1030 * MS);
        assert_eq!(dispatcher.next(1050 * MS), None);
        assert_eq!(dispatcher.next(1070 * MS), Some(0));
    }

    /// Visits of two requests, one begun every 10 ms from 1 s on, on two connections at most.
    fn visited() -> Dispatcher {
        let share = Schedule::new(Arrivals::Constant { rate: 100.0 }, 0, 0).unwrap().share(0, 1);
        let mut dispatcher = Dispatcher::new(Pace::Visits { share, requests: 2 }, 2, 50 * MS);
        dispatcher.begin(WINDOW);
        dispatcher
    }

    #[test]
    fn a_visit_opens_asks_as_often_as_it_should_and_leaves() {
        let mut dispatcher = visited();
        for visit in 0..10 {
            let now_ns = (1000 + 10 * visit) * MS;
            let conn = dispatcher.next(now_ns).expect("a visit is due");
            assert!(dispatcher.is_opening(conn) && !dispatcher.is_busy(conn));
            assert!(dispatcher.connected(conn, now_ns + MS));
            assert_eq!(dispatcher.completed(conn, now_ns + 2 * MS), Fate::Stays);
            assert_eq!(dispatcher.next(now_ns + 2 * MS), Some(conn));
            assert!(!dispatcher.is_opening(conn));
            assert_eq!(dispatcher.completed(conn, now_ns + 3 * MS), Fate::Leaves);
        }
        assert_eq!(dispatcher.recording().account, Account::default(), "all of this was the warm-up");
    }

    /// Turns every visit away that is due before `end_ns`.
    fn refuse_until(dispatcher: &mut Dispatcher, end_ns: u64) {
        while let Some(due_ns) = dispatcher.next_arrival_ns().filter(|&due_ns| due_ns < end_ns) {
            let conn = dispatcher.next(due_ns).unwrap();
            dispatcher.disconnected(conn, ErrorKind::Refused);
        }
    }

    #[test]
    fn the_handshake_of_a_visit_is_in_wait_and_in_response() {
        let mut dispatcher = visited();
        refuse_until(&mut dispatcher, 1150 * MS);
        let conn = dispatcher.next(1150 * MS).unwrap();
        assert!(dispatcher.connected(conn, 1153 * MS));
        dispatcher.completed(conn, 1154 * MS);
        let recording = dispatcher.recording();
        assert_eq!((recording.account.scheduled, recording.account.errored, recording.follow_ups), (6, 5, 0));
        assert_eq!(max(&mut dispatcher, Kind::Wait) / MS, 2);
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 3);
        assert_eq!(max(&mut dispatcher, Kind::Service) / MS, 0);
    }

    #[test]
    fn visits_wait_when_as_many_as_allowed_are_open() {
        let mut dispatcher = visited();
        let (first, second) = (dispatcher.next(1000 * MS), dispatcher.next(1010 * MS));
        assert_eq!((first, second, dispatcher.next(1020 * MS)), (Some(0), Some(1), None));
        assert!(dispatcher.connected(0, 1021 * MS));
        dispatcher.disconnected(0, ErrorKind::Reset);
        assert_eq!(dispatcher.next(1022 * MS), Some(0), "the place is free again");
        assert!(dispatcher.is_opening(0));
    }

    #[test]
    fn who_only_holds_connections_is_over_when_the_time_is() {
        let mut dispatcher = ready(Dispatcher::new(Pace::Idle, 3, 50 * MS), 3);
        assert_eq!((dispatcher.next(1100 * MS), dispatcher.next_arrival_ns()), (None, None));
        assert!(!dispatcher.is_finished(1199 * MS) && dispatcher.is_finished(1200 * MS));
        dispatcher.finish(1200 * MS);
        assert_eq!(dispatcher.recording().account, Account::default());
    }

    #[test]
    fn a_visit_that_fails_at_once_and_one_that_is_cut_short_are_counted_as_such() {
        let mut dispatcher = visited();
        refuse_until(&mut dispatcher, 1150 * MS);
        let conn = dispatcher.next(1150 * MS).unwrap();
        assert!(dispatcher.connected(conn, 1151 * MS));
        assert_eq!(dispatcher.completed(conn, 1152 * MS), Fate::Stays);
        dispatcher.disconnected(conn, ErrorKind::Closed);
        let recording = dispatcher.recording();
        assert_eq!((recording.visits_failed, recording.visits_cut_short), (5, 1));
        assert_eq!((recording.of_schedule(), recording.account.errored), (6, 5));
    }

    #[test]
    fn what_stands_behind_a_timeout_is_censored_at_its_age_too() {
        let mut dispatcher = dispatcher(2);
        run_until(&mut dispatcher, 1100);
        let (first, second) = (dispatcher.next(1100 * MS).unwrap(), dispatcher.next(1110 * MS).unwrap());
        assert_eq!(dispatcher.expire(1150 * MS), Some(first));
        dispatcher.time_out(second, 1150 * MS);
        let account = dispatcher.recording().account;
        assert_eq!((account.timed_out, account.errored), (2, 0));
        assert_eq!(dispatcher.recording().histogram(Kind::Response).len(), 2);
        assert_eq!(dispatcher.expire(1200 * MS), None);
    }

    #[test]
    fn those_who_come_just_before_the_start_do_not_think_ahead_of_the_others() {
        let mut dispatcher = Dispatcher::new(Pace::Closed { think_ns: 40 * MS }, 2, 500 * MS);
        dispatcher.connected(0, 900 * MS);
        dispatcher.begin(WINDOW);
        dispatcher.connected(1, 950 * MS);
        assert_eq!((dispatcher.next(1000 * MS), dispatcher.next(1039 * MS)), (Some(0), None));
        assert_eq!(dispatcher.next(1040 * MS), Some(1));
    }
}
