//! The connections of one population on one worker: sockets, sessions and the dispatcher that uses them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use tidemark_host::tcp_info;

use crate::clock::monotonic_ns;
use crate::dispatch::{ConnId, Dispatcher};
use crate::errors::ErrorKind;
use crate::handshake::RETRANSMIT_MIN_NS;
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
    dispatcher: Dispatcher,
    ramp: Ramp,
    handshakes: VecDeque<Handshake>,
    /// Connections that have been established once, or given up.
    settled: usize,
    /// Connections that used up their share of a turn's reads: the edge that announced the rest will not come again.
    unread: VecDeque<ConnId>,
    /// Connections open now; read by the live view.
    open: Arc<AtomicU64>,
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
    pub fn new(
        index: u8,
        first_number: usize,
        shared: Arc<Shared>,
        dispatcher: Dispatcher,
        ramp: Ramp,
        count: ConnId,
        open: Arc<AtomicU64>,
    ) -> Self {
        let conns = (0..count).map(|_| Conn {
            link: Link::Down,
            session: Session::new(&shared.script),
            unsent_bytes: 0,
            generation: 0,
            failures: 0,
            was_open: false,
            is_unread: false,
        });
        let conns = conns.collect();
        Self {
            index,
            first_number,
            shared,
            conns,
            dispatcher,
            ramp,
            handshakes: VecDeque::new(),
            settled: 0,
            unread: VecDeque::new(),
            open,
        }
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
        while let Some(conn) = self.dispatcher.expire(now_ns) {
            self.first_reply_timed_out(conn);
            self.renew(conn, now_ns);
            worked = true;
        }
        self.expire_handshakes(now_ns);
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
        self.send_due(all_read) || worked
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
    fn send_due(&mut self, may_wait: bool) -> bool {
        for sent in 0..SENDS_PER_TURN {
            if !may_wait && !self.dispatcher.has_free() {
                return sent > 0;
            }
            let Some(conn) = self.dispatcher.next(monotonic_ns()) else {
                return sent > 0;
            };
            let slot = &mut self.conns[conn as usize];
            let request = slot.session.request(&self.shared.script);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the plan bounds a request to well under 4 GiB"
            )]
            let request_bytes = request.len() as u32;
            slot.unsent_bytes = request_bytes;
            self.write(conn);
        }
        true
    }

    /// Writes what is unsent, as far as the socket takes it.
    fn write(&mut self, conn: ConnId) {
        let slot = &mut self.conns[conn as usize];
        let Link::Open { stream, .. } = &mut slot.link else {
            return;
        };
        while slot.unsent_bytes > 0 {
            match stream.write(slot.session.unsent(&self.shared.script, slot.unsent_bytes)) {
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.lose(conn, ErrorKind::of(&error)),
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
                slot.link = Link::Connecting { stream, since_ns };
                let deadline_ns = since_ns + self.shared.connect_timeout_ns;
                self.handshakes.push_back(Handshake { deadline_ns, conn, generation });
            }
            Err(error) => self.connect_failed(conn, ErrorKind::of(&error), since_ns),
        }
    }

    fn connect_failed(&mut self, conn: ConnId, kind: ErrorKind, now_ns: u64) {
        self.ramp.ended();
        let slot = &mut self.conns[conn as usize];
        slot.link = Link::Down;
        slot.failures = slot.failures.saturating_add(1);
        let gives_up = !slot.was_open && slot.failures >= ATTEMPTS_MAX;
        let recording = self.dispatcher.recording();
        recording.connection_error(kind);
        recording.handshakes.unanswered += u64::from(kind == ErrorKind::ConnectTimeout);
        if gives_up {
            recording.connections.failed += 1;
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
                Ok(None) if event.is_writable() => self.established(conn),
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
        self.send_due(false);
    }

    fn established(&mut self, conn: ConnId) {
        let now_ns = monotonic_ns();
        let slot = &mut self.conns[conn as usize];
        let Link::Connecting { stream, since_ns } = std::mem::replace(&mut slot.link, Link::Down) else {
            return;
        };
        // Asked now, while nothing but the SYN can have been sent again.
        let info = tcp_info::read(&stream).ok();
        slot.link = Link::Open { stream, before_first_reply: info.map(|info| info.retransmits) };
        slot.session = Session::new(&self.shared.script);
        slot.unsent_bytes = 0;
        self.settled += usize::from(!slot.was_open);
        slot.was_open = true;
        self.ramp.ended();
        self.open.fetch_add(1, Ordering::Relaxed);
        let recording = self.dispatcher.recording();
        recording.connections.opened += 1;
        recording.record(Kind::Connect, now_ns - since_ns);
        if let Some(info) = info {
            recording.handshakes.established(info);
        }
        self.dispatcher.connected(conn);
    }

    /// Reads until the socket is drained. A read that does not fill the buffer has drained it, except after the peer
    /// closed: then the end itself is still to be read.
    fn read(&mut self, io: &mut Io<'_>, conn: ConnId, peer_closed: bool) {
        for _ in 0..READS_PER_TURN {
            let Link::Open { stream, .. } = &mut self.conns[conn as usize].link else {
                return;
            };
            match stream.read(io.buffer) {
                Ok(0) => return self.end_of_stream(conn),
                Ok(length) => {
                    self.dispatcher.recording().received_bytes += length as u64;
                    self.receive(conn, &io.buffer[..length]);
                    if length < io.buffer.len() && !peer_closed {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.lose(conn, ErrorKind::of(&error)),
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
            let asked = self.dispatcher.is_busy(conn);
            let slot = &mut self.conns[conn as usize];
            // A reply that ends before its request has been sent whole answers something else.
            let early = slot.unsent_bytes > 0;
            match slot.session.receive(&self.shared.script, &mut input, asked) {
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

    /// Accounts for a reply. Returns whether the connection goes on.
    fn on_reply(&mut self, conn: ConnId, reply: Reply, now_ns: u64) -> bool {
        self.conns[conn as usize].failures = 0;
        self.first_reply(conn, reply.error.is_none(), now_ns);
        match reply.error {
            Some(kind) => self.dispatcher.answered_with_error(conn, kind),
            None => self.dispatcher.completed(conn, now_ns),
        }
        if reply.closes {
            self.dispatcher.disconnected(conn, ErrorKind::Closed);
            self.renew(conn, now_ns);
        }
        !reply.closes
    }

    /// Records what a connection's first reply tells of how late it was accepted, if this is the first.
    fn first_reply(&mut self, conn: ConnId, is_good: bool, now_ns: u64) {
        let Some(retransmits_before) = self.take_first(conn) else { return };
        let service_ns = now_ns.saturating_sub(self.dispatcher.sent_ns(conn));
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
            Ok(Some(reply)) if self.dispatcher.is_busy(conn) => {
                self.on_reply(conn, reply, monotonic_ns());
            }
            Ok(_) => self.lose(conn, ErrorKind::Closed),
            Err(kind) => self.lose(conn, kind),
        }
    }

    /// The connection ended without announcement, or is of no further use.
    fn lose(&mut self, conn: ConnId, kind: ErrorKind) {
        self.dispatcher.disconnected(conn, kind);
        let recording = self.dispatcher.recording();
        recording.connections.lost += 1;
        recording.connection_error(kind);
        let slot = &mut self.conns[conn as usize];
        slot.failures = slot.failures.saturating_add(1);
        self.close(conn);
        self.ramp.again(conn, self.conns[conn as usize].failures, monotonic_ns());
    }

    /// Closes a connection that the dispatcher has given up, and opens it again at once.
    fn renew(&mut self, conn: ConnId, now_ns: u64) {
        self.dispatcher.recording().connections.renewed += 1;
        self.close(conn);
        self.ramp.again(conn, 0, now_ns);
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
