//! The connections of one population on one worker: sockets, sessions and the dispatcher that uses them.
//!
//! Sends and receives go to the kernel without the C library, which of a process with several threads makes each of them a
//! cancellation point, with two locked instructions around it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags};
use tidemark_host::tcp_info::{self, TcpInfo};

use crate::clock::monotonic_ns;
use crate::dispatch::{ConnId, Dispatcher, Fate, Window};
use crate::errors::ErrorKind;
use crate::handshake::RETRANSMIT_MIN_NS;
use crate::outstanding::{Asked, Outstanding};
use crate::ramp::{ATTEMPTS_MAX, Ramp};
use crate::record::{Kind, Recording};
use crate::session::{Reply, Script, Session};
use crate::socket;

/// Requests sent in one turn before replies are looked at again: a burst of due arrivals must not starve the replies.
const SENDS_PER_TURN: usize = 64;
/// Connections opened in one turn before events are looked at again: an opening takes 10 to 20 us, and every handshake that
/// ends meanwhile is noticed that much later, which would show in `connect`.
const CONNECTS_PER_TURN: usize = 4;
/// A reply within this time of its request is polled for without sleeping, where the worker has a CPU to itself. To wake up
/// costs up to 100 us, which is at most a tenth of what takes longer.
const PROMPT_REPLY_NS: u64 = 1_000_000;
/// Reads of one connection in one turn, so that a large reply cannot starve the others; it goes on in the next turn.
const READS_PER_TURN: usize = 16;

/// Where connections go and where they come from.
#[derive(Debug)]
pub struct Endpoints {
    /// The target's addresses: one for each of its ports.
    pub targets: Vec<SocketAddr>,
    /// Local addresses to connect from; empty lets the kernel choose.
    pub sources: Vec<IpAddr>,
}

impl Endpoints {
    /// The addresses of the run's `number`-th connection: sources take turns first, then ports, so that every pair of
    /// them gets its share of the ephemeral ports.
    fn of(&self, number: usize) -> (Option<IpAddr>, SocketAddr) {
        let source_count = self.sources.len().max(1);
        let source = self.sources.get(number % source_count).copied();
        (source, self.targets[number / source_count % self.targets.len()])
    }
}

/// What the connections of a population have in common, on every worker.
#[derive(Debug)]
pub struct Shared {
    /// Requests and the matching of replies.
    pub script: Script,
    /// Where to connect to and from.
    pub endpoints: Endpoints,
    /// What is set on the sockets.
    pub socket: socket::Options,
    /// A handshake that takes longer has failed.
    pub connect_timeout_ns: u64,
    /// Requests that may be in flight on one connection; at least 1.
    pub depth: u8,
}

#[derive(Debug)]
enum Link {
    /// No socket; the ramp knows when there will be one, unless the connection has been given up.
    Down,
    Connecting {
        stream: TcpStream,
        since_ns: u64,
    },
    Open {
        stream: TcpStream,
        /// Segments sent again before it was established, as far as the kernel told; `None` from its first reply on.
        before_first_reply: Option<u32>,
    },
}

#[derive(Debug)]
struct Conn {
    link: Link,
    session: Session,
    /// Bytes of the current request that the socket has not taken yet.
    unsent_bytes: u32,
    /// Goes up with every socket, so that events of an earlier one are told apart.
    generation: u32,
    /// Failures in a row.
    failures: u8,
    /// Whether it has ever been established: then it is opened again without end.
    was_open: bool,
    /// Whether it stands in `unread`.
    is_unread: bool,
    /// The drop on purpose that it has not been open since; its number in the pool.
    missing_since: Option<u16>,
}

/// A part of the connections that is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedDrop {
    /// The number of the plan's event.
    pub event: usize,
    /// When, ns after the measurement begins.
    pub at_ns: u64,
    /// Which part, 0 to 1.
    pub share: f64,
}

#[derive(Clone, Copy, Debug)]
struct Handshake {
    deadline_ns: u64,
    conn: ConnId,
    generation: u32,
}

/// What a pool needs of the worker's loop to do I/O.
pub struct Io<'a> {
    /// Where sockets are registered.
    pub registry: &'a Registry,
    /// The worker's one read buffer.
    pub buffer: &'a mut [u8],
}

/// One population's connections on one worker.
#[derive(Debug)]
pub struct Pool {
    index: u8,
    /// The number, over all workers, of this pool's first connection.
    first_number: usize,
    shared: Arc<Shared>,
    conns: Vec<Conn>,
    /// What was asked on them and is not answered.
    outstanding: Outstanding,
    dispatcher: Dispatcher,
    ramp: Ramp,
    handshakes: VecDeque<Handshake>,
    /// Connections that have been established once, or given up.
    settled: usize,
    /// Connections that used up their share of a turn's reads: the edge that announced the rest will not come again.
    unread: VecDeque<ConnId>,
    /// Connections open now; read by the live view.
    open: Arc<AtomicU64>,
    /// Connections are opened for a visit each, and by no ramp.
    is_visited: bool,
    /// What is to be dropped and when, ns after the measurement begins; in order.
    drops: VecDeque<PlannedDrop>,
    /// When the measurement begins, monotonic ns; `None` until that is known.
    measured_from_ns: Option<u64>,
    /// The drops so far: the number of the plan's event, and when it was.
    dropped: Vec<(usize, u64)>,
    /// Requests made so far, and those of the other workers before them: which length comes next.
    asked: u64,
}

/// Generations are told apart modulo 2^24: an event would have to be 16 million sockets old to be mistaken.
const GENERATION_BITS: u32 = 24;
const CONN_BITS: u32 = 32;

/// Takes a token apart: pool index, generation, connection.
pub fn split_token(token: Token) -> (usize, u32, ConnId) {
    let bits = token.0;
    let generation = (bits >> CONN_BITS) & ((1 << GENERATION_BITS) - 1);
    #[expect(clippy::cast_possible_truncation, reason = "the fields were put there with these widths")]
    (bits >> (CONN_BITS + GENERATION_BITS), generation as u32, bits as ConnId)
}

impl Pool {
    /// A pool without connections; the ramp opens them.
    #[expect(clippy::too_many_arguments, reason = "each is another thing that a worker's plan has")]
    pub fn new(
        index: u8,
        first_number: usize,
        shared: Arc<Shared>,
        dispatcher: Dispatcher,
        ramp: Ramp,
        count: ConnId,
        open: Arc<AtomicU64>,
        is_visited: bool,
        drops: VecDeque<PlannedDrop>,
    ) -> Self {
        let conns = (0..count).map(|_| Conn {
            link: Link::Down,
            session: Session::new(&shared.script),
            unsent_bytes: 0,
            generation: 0,
            failures: 0,
            was_open: false,
            is_unread: false,
            missing_since: None,
        });
        let conns: Vec<Conn> = conns.collect();
        let outstanding = Outstanding::new(conns.len(), shared.depth);
        Self {
            index,
            first_number,
            shared,
            // A ramp of visits is over before it begins.
            settled: if is_visited { conns.len() } else { 0 },
            outstanding,
            conns,
            dispatcher,
            ramp,
            handshakes: VecDeque::new(),
            unread: VecDeque::new(),
            open,
            is_visited,
            drops,
            measured_from_ns: None,
            dropped: Vec::new(),
            asked: first_number as u64,
        }
    }

    /// Starts the schedule.
    pub fn begin(&mut self, window: Window) {
        self.measured_from_ns = Some(window.from_ns);
        self.dispatcher.begin(window);
    }

    fn next_drop_ns(&self) -> Option<u64> {
        Some(self.measured_from_ns? + self.drops.front()?.at_ns)
    }

    /// The schedule and the account.
    pub fn dispatcher(&mut self) -> &mut Dispatcher {
        &mut self.dispatcher
    }

    /// Whether every connection has been established once or given up. One that was lost again does not count as missing:
    /// a target that turns connections away would otherwise keep the ramp going for ever.
    pub fn is_ramped(&self) -> bool {
        self.settled == self.conns.len()
    }

    /// When something is next due, monotonic ns.
    pub fn next_due_ns(&mut self) -> Option<u64> {
        if !self.unread.is_empty() {
            return Some(0);
        }
        let due = [
            self.dispatcher.next_arrival_ns(),
            self.dispatcher.next_timeout_ns(),
            self.ramp.next_attempt_ns(),
            self.handshakes.front().map(|handshake| handshake.deadline_ns),
            self.next_drop_ns(),
        ];
        due.into_iter().flatten().min()
    }

    /// Until when a reply may come so soon that a sleeping worker would be late for it, monotonic ns.
    pub fn expects_reply_until_ns(&self) -> Option<u64> {
        self.dispatcher.newest_in_flight_ns().map(|sent_ns| sent_ns + PROMPT_REPLY_NS)
    }

    /// Does what is due now. `all_read` says that no reply is known to be unread. Returns whether it did anything that took
    /// time.
    pub fn advance(&mut self, io: &mut Io<'_>, now_ns: u64, all_read: bool) -> bool {
        let mut worked = false;
        while let Some(place) = self.dispatcher.expire(now_ns) {
            let conn = place / self.depth();
            self.first_reply_timed_out(conn);
            // What was asked behind it has waited for nothing, too, and is no failure of the target's.
            for place in self.places(conn).filter(|&place| self.dispatcher.is_busy(place)).collect::<Vec<_>>()
            {
                self.dispatcher.time_out(place, now_ns);
            }
            self.give_up(conn, ErrorKind::Timeout);
            self.renew(conn, now_ns);
            worked = true;
        }
        self.expire_handshakes(now_ns);
        while self.next_drop_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            let Some(due) = self.drops.pop_front() else { break };
            self.drop_part(due, now_ns);
            worked = true;
        }
        for _ in 0..CONNECTS_PER_TURN {
            let Some(conn) = self.ramp.next(now_ns) else { break };
            self.connect(io, conn);
            worked = true;
        }
        for _ in 0..self.unread.len() {
            let Some(conn) = self.unread.pop_front() else { break };
            self.conns[conn as usize].is_unread = false;
            // The end may have been announced with the edge that was used up, so it is read for as well.
            self.read(io, conn, true);
            worked = true;
        }
        let all_read = all_read && self.unread.is_empty();
        self.send_due(io, all_read) || worked
    }

    /// Closes a part of the open connections, those that have something in flight no less than others, and has them opened again as
    /// after a failure.
    fn drop_part(&mut self, PlannedDrop { event, share, .. }: PlannedDrop, now_ns: u64) {
        let open = |conn: &Conn| matches!(conn.link, Link::Open { .. });
        let chosen: Vec<ConnId> =
            (0..).zip(&self.conns).filter(|(_, conn)| open(conn)).map(|(conn, _)| conn).collect();
        // Evenly over all: whenever the sum of the shares has grown by one.
        let mut sum = 0.0;
        for conn in chosen {
            sum += share;
            // The sum of many small shares may lack a trifle of what they come to.
            if sum + 1e-9 < 1.0 {
                continue;
            }
            sum -= 1.0;
            self.give_up(conn, ErrorKind::Dropped);
            self.dispatcher.recording().drops.entry(event).or_default().dropped += 1;
            self.close(conn);
            self.conns[conn as usize].missing_since = u16::try_from(self.dropped.len()).ok();
            self.ramp.again(conn, 1, now_ns);
        }
        self.dropped.push((event, now_ns));
    }

    fn expire_handshakes(&mut self, now_ns: u64) {
        while let Some(&Handshake { deadline_ns, conn, generation }) = self.handshakes.front() {
            let slot = &self.conns[conn as usize];
            let is_pending = slot.generation == generation && matches!(slot.link, Link::Connecting { .. });
            if is_pending && deadline_ns > now_ns {
                return;
            }
            self.handshakes.pop_front();
            if is_pending {
                self.connect_failed(conn, ErrorKind::ConnectTimeout, now_ns);
            }
        }
    }

    /// Sends what is due on connections that are free; what finds none waits if `may_wait`. Returns whether anything was
    /// sent.
    fn send_due(&mut self, io: &Io<'_>, may_wait: bool) -> bool {
        for sent in 0..SENDS_PER_TURN {
            if !may_wait && !self.dispatcher.has_free() {
                return sent > 0;
            }
            let Some(place) = self.dispatcher.next(monotonic_ns()) else {
                return sent > 0;
            };
            if self.is_visited && self.dispatcher.is_opening(place) {
                self.ramp.began();
                self.connect(io, place);
            } else {
                self.ask(place);
            }
        }
        true
    }

    /// Places that a connection has with the dispatcher: so many requests may be in flight on it.
    fn depth(&self) -> ConnId {
        self.shared.depth.into()
    }

    fn places(&self, conn: ConnId) -> Range<ConnId> {
        let depth = self.depth();
        conn * depth..(conn + 1) * depth
    }

    /// The connection is gone, with what was asked on it.
    fn give_up(&mut self, conn: ConnId, kind: ErrorKind) {
        for place in self.places(conn) {
            self.dispatcher.disconnected(place, kind);
        }
        self.outstanding.clear(conn);
    }

    fn ask(&mut self, place: ConnId) {
        let (conn, lane) = (place / self.depth(), place % self.depth());
        let turn = self.shared.script.turn(self.asked);
        self.asked += 1;
        // Below the depth, which is of 8 bits.
        self.outstanding.push(conn, Asked { turn, lane: u8::try_from(lane).unwrap_or(0) });
        let slot = &mut self.conns[conn as usize];
        slot.session.request(&self.shared.script, turn);
        let is_stuck = slot.unsent_bytes > 0;
        slot.unsent_bytes += self.shared.script.request_bytes(turn);
        // Behind what the socket has not taken yet it goes when that does.
        if !is_stuck {
            self.write(conn);
        }
    }

    /// Writes what is unsent, as far as the socket takes it.
    fn write(&mut self, conn: ConnId) {
        let slot = &mut self.conns[conn as usize];
        let Link::Open { stream, .. } = &mut slot.link else {
            return;
        };
        while slot.unsent_bytes > 0 {
            let turns = self.outstanding.newest_first(conn).map(|asked| asked.turn);
            let unsent = slot.session.unsent(&self.shared.script, slot.unsent_bytes, turns);
            match net::send(&*stream, unsent, SendFlags::NOSIGNAL) {
                Ok(written) => {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "no more was written than was unsent"
                    )]
                    let written_bytes = written as u32;
                    slot.unsent_bytes -= written_bytes;
                    self.dispatcher.recording().sent_bytes += written as u64;
                }
                // The socket's buffer is full: the next writable edge goes on from here.
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => return self.lose(conn, ErrorKind::of(&error.into())),
            }
        }
    }

    fn connect(&mut self, io: &Io<'_>, conn: ConnId) {
        let since_ns = monotonic_ns();
        let (source, target) = self.shared.endpoints.of(self.first_number + conn as usize);
        let slot = &mut self.conns[conn as usize];
        slot.generation = (slot.generation + 1) & ((1 << GENERATION_BITS) - 1);
        let generation = slot.generation;
        let bits = usize::from(self.index) << (CONN_BITS + GENERATION_BITS)
            | (generation as usize) << CONN_BITS
            | conn as usize;
        let opened = socket::connect(&self.shared.socket, source, target).and_then(|mut stream| {
            io.registry.register(&mut stream, Token(bits), Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                // Over loopback the handshake is over when connect returns: to be told by the poll would only be later. Over any other
                // way this costs a system call, whose answer is no.
                let now_ns = monotonic_ns();
                let info = tcp_info::read(&stream).ok();
                slot.link = Link::Connecting { stream, since_ns };
                if info.is_some_and(|info| info.is_established) {
                    self.established(conn, now_ns, info);
                } else {
                    let deadline_ns = since_ns + self.shared.connect_timeout_ns;
                    self.handshakes.push_back(Handshake { deadline_ns, conn, generation });
                }
            }
            Err(error) => self.connect_failed(conn, ErrorKind::of(&error), since_ns),
        }
    }

    fn connect_failed(&mut self, conn: ConnId, kind: ErrorKind, now_ns: u64) {
        self.ramp.ended();
        let slot = &mut self.conns[conn as usize];
        let sent_ns = match std::mem::replace(&mut slot.link, Link::Down) {
            Link::Connecting { since_ns, .. } => since_ns,
            Link::Down | Link::Open { .. } => now_ns,
        };
        slot.failures = slot.failures.saturating_add(1);
        let gives_up = !slot.was_open && slot.failures >= ATTEMPTS_MAX;
        let recording = self.dispatcher.recording();
        recording.connection_error(kind);
        if kind == ErrorKind::ConnectTimeout {
            recording.handshakes.unanswered += 1;
            recording.handshakes.ramp_slowed += u64::from(self.ramp.resent(sent_ns, now_ns));
        }
        if self.is_visited {
            // The visit has failed, and is not tried again: the next one is due by itself.
            self.give_up(conn, kind);
        } else if gives_up {
            self.dispatcher.recording().connections.failed += 1;
            self.settled += 1;
        } else {
            self.ramp.again(conn, slot.failures, now_ns);
        }
    }

    /// Handles one event of the poll. Events of a socket that is gone are told by their generation and dropped.
    pub fn on_event(&mut self, io: &mut Io<'_>, generation: u32, conn: ConnId, event: &Event) {
        let Some(slot) = self.conns.get_mut(conn as usize) else {
            return;
        };
        if slot.generation != generation {
            return;
        }
        if let Link::Connecting { stream, .. } = &slot.link {
            match stream.take_error() {
                Ok(None) if event.is_writable() => {
                    let now_ns = monotonic_ns();
                    // Asked now, while nothing but the SYN can have been sent again.
                    let info = tcp_info::read(stream).ok();
                    self.established(conn, now_ns, info);
                }
                Ok(None) => return,
                Ok(Some(error)) | Err(error) => {
                    return self.connect_failed(conn, ErrorKind::of(&error), monotonic_ns());
                }
            }
        }
        if event.is_writable() && self.conns[conn as usize].unsent_bytes > 0 {
            self.write(conn);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(io, conn, event.is_read_closed() || event.is_error());
        }
        self.send_due(io, false);
    }

    /// A handshake was over at `now_ns`; `info` is what the kernel tells of it, if it does.
    fn established(&mut self, conn: ConnId, now_ns: u64, info: Option<TcpInfo>) {
        let slot = &mut self.conns[conn as usize];
        let Link::Connecting { stream, since_ns } = std::mem::replace(&mut slot.link, Link::Down) else {
            return;
        };
        slot.link = Link::Open { stream, before_first_reply: info.map(|info| info.retransmits) };
        slot.session = Session::new(&self.shared.script);
        slot.unsent_bytes = 0;
        self.settled += usize::from(!slot.was_open);
        slot.was_open = true;
        let dropped = slot.missing_since.take().and_then(|drop| self.dropped.get(usize::from(drop)));
        self.ramp.ended();
        let is_resent = info.is_some_and(|info| info.retransmits > 0);
        let is_slower = is_resent && self.ramp.resent(since_ns, now_ns);
        self.open.fetch_add(1, Ordering::Relaxed);
        let recording = self.dispatcher.recording();
        recording.handshakes.ramp_slowed += u64::from(is_slower);
        recording.connections.opened += 1;
        recording.record(Kind::Connect, now_ns - since_ns);
        if let Some(info) = info {
            recording.handshakes.established(info);
        }
        if let Some(&(event, dropped_ns)) = dropped {
            let dropped = recording.drops.entry(event).or_default();
            dropped.back += 1;
            dropped.last_back_ns = now_ns - dropped_ns;
        }
        self.outstanding.clear(conn);
        for place in self.places(conn) {
            // A fresh time: to ask the kernel about the connection was no part of the request.
            if self.dispatcher.connected(place, monotonic_ns()) {
                self.ask(place);
            }
        }
    }

    /// Reads until the socket is drained. A read that does not fill the buffer has drained it, except after the peer
    /// closed: then the end itself is still to be read.
    fn read(&mut self, io: &mut Io<'_>, conn: ConnId, peer_closed: bool) {
        for _ in 0..READS_PER_TURN {
            let Link::Open { stream, .. } = &mut self.conns[conn as usize].link else {
                return;
            };
            match net::recv(&*stream, &mut *io.buffer, RecvFlags::empty()) {
                Ok((0, _)) => return self.end_of_stream(conn),
                Ok((length, _)) => {
                    self.dispatcher.recording().received_bytes += length as u64;
                    self.receive(conn, &io.buffer[..length]);
                    if length < io.buffer.len() && !peer_closed {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => return self.lose(conn, ErrorKind::of(&error.into())),
            }
        }
        let slot = &mut self.conns[conn as usize];
        if matches!(slot.link, Link::Open { .. }) && !slot.is_unread {
            slot.is_unread = true;
            self.unread.push_back(conn);
        }
    }

    fn receive(&mut self, conn: ConnId, mut input: &[u8]) {
        let now_ns = monotonic_ns();
        loop {
            let oldest = self.outstanding.oldest(conn).map(|asked| asked.turn);
            // A reply that ends before its request has been sent whole answers something else.
            let early = self.is_oldest_unsent(conn);
            let slot = &mut self.conns[conn as usize];
            match slot.session.receive(&self.shared.script, &mut input, oldest) {
                Ok(Some(_)) if early => return self.lose(conn, ErrorKind::WrongReply),
                Ok(Some(reply)) => {
                    if !self.on_reply(conn, reply, now_ns) {
                        return;
                    }
                }
                Ok(None) => return,
                Err(kind) => return self.lose(conn, kind),
            }
        }
    }

    /// Whether of the oldest request something has not been sent.
    fn is_oldest_unsent(&self, conn: ConnId) -> bool {
        let unsent_bytes = self.conns[conn as usize].unsent_bytes;
        if unsent_bytes == 0 {
            return false;
        }
        let younger = usize::from(self.outstanding.count(conn)).saturating_sub(1);
        let of_younger = self.outstanding.newest_first(conn).take(younger);
        unsent_bytes > of_younger.map(|asked| self.shared.script.request_bytes(asked.turn)).sum()
    }

    /// Accounts for a reply. Returns whether the connection goes on.
    fn on_reply(&mut self, conn: ConnId, reply: Reply, now_ns: u64) -> bool {
        self.conns[conn as usize].failures = 0;
        let Some(asked) = self.outstanding.pop(conn) else { return true };
        let place = conn * self.depth() + ConnId::from(asked.lane);
        self.first_reply(conn, place, reply.error.is_none(), now_ns);
        let fate = match reply.error {
            Some(kind) => self.dispatcher.answered_with_error(place, kind, now_ns),
            None => self.dispatcher.completed(place, now_ns),
        };
        if fate == Fate::Leaves {
            self.dispatcher.recording().connections.closed += 1;
            self.close(conn);
            return false;
        }
        if reply.closes {
            self.give_up(conn, ErrorKind::Closed);
            self.renew(conn, now_ns);
        }
        !reply.closes
    }

    /// Records what a connection's first reply tells of how late it was accepted, if this is the first.
    fn first_reply(&mut self, conn: ConnId, place: ConnId, is_good: bool, now_ns: u64) {
        let Some(retransmits_before) = self.take_first(conn) else { return };
        let service_ns = now_ns.saturating_sub(self.dispatcher.sent_ns(place));
        let resent = service_ns >= RETRANSMIT_MIN_NS && self.retransmits(conn) > retransmits_before;
        let handshakes = &mut self.dispatcher.recording().handshakes;
        handshakes.first_request_retransmitted += u64::from(resent);
        if is_good {
            handshakes.first_reply.saturating_record(service_ns);
        }
    }

    /// The same when it did not come in time.
    fn first_reply_timed_out(&mut self, conn: ConnId) {
        let Some(retransmits_before) = self.take_first(conn) else { return };
        let resent = self.retransmits(conn) > retransmits_before;
        let handshakes = &mut self.dispatcher.recording().handshakes;
        handshakes.first_request_retransmitted += u64::from(resent);
        handshakes.first_reply_timed_out += 1;
    }

    fn take_first(&mut self, conn: ConnId) -> Option<u32> {
        match &mut self.conns[conn as usize].link {
            Link::Open { before_first_reply, .. } => before_first_reply.take(),
            Link::Down | Link::Connecting { .. } => None,
        }
    }

    /// Segments sent again on the connection so far, as far as the kernel tells.
    fn retransmits(&self, conn: ConnId) -> u32 {
        match &self.conns[conn as usize].link {
            Link::Open { stream, .. } => tcp_info::read(stream).map_or(0, |info| info.retransmits),
            Link::Down | Link::Connecting { .. } => 0,
        }
    }

    fn end_of_stream(&mut self, conn: ConnId) {
        match self.conns[conn as usize].session.end_of_stream() {
            Ok(Some(reply)) if self.outstanding.count(conn) > 0 => {
                self.on_reply(conn, reply, monotonic_ns());
            }
            Ok(_) => self.lose(conn, ErrorKind::Closed),
            Err(kind) => self.lose(conn, kind),
        }
    }

    /// The connection ended without announcement, or is of no further use.
    fn lose(&mut self, conn: ConnId, kind: ErrorKind) {
        self.give_up(conn, kind);
        let recording = self.dispatcher.recording();
        recording.connections.lost += 1;
        recording.connection_error(kind);
        let slot = &mut self.conns[conn as usize];
        slot.failures = slot.failures.saturating_add(1);
        self.close(conn);
        if !self.is_visited {
            self.ramp.again(conn, self.conns[conn as usize].failures, monotonic_ns());
        }
    }

    /// Closes a connection that the dispatcher has given up, and opens it again at once.
    fn renew(&mut self, conn: ConnId, now_ns: u64) {
        self.dispatcher.recording().connections.renewed += 1;
        self.close(conn);
        if !self.is_visited {
            self.ramp.again(conn, 0, now_ns);
        }
    }

    fn close(&mut self, conn: ConnId) {
        let slot = &mut self.conns[conn as usize];
        slot.link = Link::Down;
        slot.unsent_bytes = 0;
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends the run for this pool: censors what is not done.
    pub fn finish(&mut self, now_ns: u64) {
        self.dispatcher.finish(now_ns);
    }

    /// Hands over what was recorded, in exchange for an empty recording.
    pub fn swap_recording(&mut self, empty: Recording) -> Recording {
        self.dispatcher.swap_recording(empty)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_pair_of_source_and_port_has_the_same_share() {
        let endpoints = Endpoints {
            targets: [7, 8, 9].map(|port| SocketAddr::from(([127, 0, 0, 1], port))).to_vec(),
            sources: [2, 3].map(|last| IpAddr::from([127, 0, 0, last])).to_vec(),
        };
        let mut shares = BTreeMap::new();
        for number in 0..60 {
            *shares.entry(endpoints.of(number)).or_insert(0) += 1;
        }
        assert_eq!(shares.into_values().collect::<Vec<_>>(), [10; 6]);
        let of_the_kernels_choice = Endpoints { sources: Vec::new(), ..endpoints };
        assert_eq!(of_the_kernels_choice.of(4), (None, of_the_kernels_choice.targets[1]));
    }
}
