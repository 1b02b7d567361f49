//! One connection: what it remembers between turns, and what it does in one.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags};
use socket2::SockRef;

use super::date::Date;
use crate::faults::Faults;
use crate::http::{CloseKind, Context, Progress, Session, write_head_timeout, write_no_room};
use crate::listen::Proto;
use crate::metrics::{CloseReason, Shard};
use crate::timeouts::{Timeout, Timeouts};

/// Size of a worker's read buffer, the most that one system call moves. Larger ones gain nothing once the call's own
/// cost is spread over this much.
const READ_BYTES: usize = 64 * 1024;

/// What one connection may read in one turn before the others have theirs.
const TURN_BYTES: usize = 256 * 1024;

/// What is still read from a peer that was told goodbye, so that a reset does not overtake its last answer.
const LINGER_BYTES: u32 = 1024 * 1024;

/// How long a peer may take to notice that it was told goodbye: a round trip, a retransmission, and some.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How many ticks a drain waits for a connection that came or spoke a moment ago, and is likely to be in the middle of saying something:
/// a second.
const AWAITED_TICKS: u32 = 11;

/// Refused HTTP connections that are kept until their peer has read the refusal. Beyond these they are closed at once,
/// at the risk that a peer which is still sending sees a reset instead.
pub(super) const TURNED_AWAY_MAX: usize = 128;

/// What a worker's connections share.
pub(super) struct Env {
    /// Every read goes here; nothing stays here between turns.
    buffer: Box<[u8]>,
    /// HTTP answers are made here; nothing stays here between turns.
    out: Vec<u8>,
    pub(super) shard: Arc<Shard>,
    pub(super) date: Date,
    pub(super) faults: Faults,
    timeouts: Timeouts,
    /// What `/ready` says.
    ready: bool,
    /// The server is stopping.
    pub(super) closing: bool,
    /// When this turn began. Nothing in a turn reads the clock again.
    pub(super) now: Instant,
    /// The tick that it began in, and when that ends.
    pub(super) tick: u32,
    tick_ends: Instant,
}

impl Env {
    pub(super) fn new(shard: Arc<Shard>, faults: Faults, timeouts: Timeouts) -> Env {
        let now = Instant::now();
        Env {
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            out: Vec::new(),
            shard,
            date: Date::default(),
            faults,
            timeouts,
            ready: false,
            closing: false,
            now,
            tick: timeouts.tick_at(now),
            tick_ends: now,
        }
    }

    pub(super) fn begin_turn(&mut self, ready: bool) {
        self.now = Instant::now();
        // Most turns are in the tick of the last one, and to compare is less than to divide.
        if self.now >= self.tick_ends {
            self.tick = self.timeouts.tick_at(self.now);
            self.tick_ends = self.timeouts.begin_of(self.tick + 1);
        }
        self.ready = ready;
    }
}

/// What a connection's turn ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing to do before the next event.
    Wait,
    /// It used up its share of the turn and has more to do.
    Again,
    /// The last answer is sent; read until the peer closes, then close.
    Linger(CloseReason),
    /// It is over.
    Close(CloseReason),
}

/// A connection in the table. Idle, it owns its descriptor and no memory.
#[derive(Debug)]
pub(super) struct Conn {
    stream: TcpStream,
    /// The kernel said that there is something to read, and it was not seen used up since.
    pub(super) readable: bool,
    /// The peer sends no more; a short read then does not mean that there will be another edge.
    peer_closed: bool,
    /// It stands in the loop's queue.
    pub(super) queued: bool,
    standing: Standing,
    /// The tick from which the timeout counts that applies now: when something last moved, or when a request head began.
    since: u32,
    /// The tick at which the engine is to look at the timeout; 0 when it is not.
    pub(super) armed: u32,
    talk: Talk,
    /// Only while output is unsent. As long as this is there, nothing is read.
    held: Option<Box<Held>>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// There was no room for it.
    TurnedAway,
    /// It is its peer's turn to speak: it has only just come, or a drain gives it time to ask once more.
    Awaited,
    /// Its peer has said something.
    Heard,
}

/// What is spoken.
#[derive(Debug)]
enum Talk {
    Echo,
    Http(Session),
    /// Nothing any more: what still comes is dropped, up to so many bytes.
    Linger {
        bytes_left: u32,
        reason: CloseReason,
    },
}

/// What a connection holds on to while the kernel takes no more output.
#[derive(Debug)]
struct Held {
    /// At most what one read can make: [`READ_BYTES`] raw, about twice that in HTTP.
    out: Vec<u8>,
    sent: usize,
    /// Input that was read and not yet looked at; at most [`READ_BYTES`].
    input: Vec<u8>,
    /// The output is the last.
    then: Option<CloseReason>,
}

/// How a write went.
enum Sent {
    All,
    /// The kernel took so many bytes and says when it takes more.
    Short(usize),
}

impl Conn {
    pub(super) fn new(fd: OwnedFd, proto: Proto, env: &Env) -> Conn {
        let talk = match proto {
            Proto::Echo => Talk::Echo,
            Proto::Http => Talk::Http(Session::new()),
        };
        Conn::with(fd, talk, Standing::Awaited, env)
    }

    /// An HTTP connection for which there is no room: it is told so, and goodbye.
    pub(super) fn turned_away(fd: OwnedFd, env: &mut Env) -> Conn {
        let mut conn = Conn::with(fd, lingering(CloseReason::Finished), Standing::TurnedAway, env);
        let mut answer = Vec::new();
        write_no_room(&mut answer, env.date.at(env.now));
        // A fresh socket has room for this; when it has not, the peer is gone.
        if conn.stream.write(&answer).is_ok() {
            env.shard.http_response(503);
        }
        conn.begin_linger(CloseReason::Finished);
        conn
    }

    fn with(fd: OwnedFd, talk: Talk, standing: Standing, env: &Env) -> Conn {
        Conn {
            stream: TcpStream::from(fd),
            readable: false,
            peer_closed: false,
            queued: false,
            standing,
            since: env.tick,
            armed: 0,
            talk,
            held: None,
        }
    }

    /// It holds a place of the admission, which it must give back.
    pub(super) fn is_admitted(&self) -> bool {
        self.standing != Standing::TurnedAway
    }

    /// Whether a drain may tell it goodbye now: not while something is under way, and not as long as it is awaited, because a goodbye
    /// and a request that pass each other on their ways leave a request without an answer. Best is right behind an answer.
    pub(super) fn may_go(&self, env: &Env) -> bool {
        self.is_idle() && (self.standing != Standing::Awaited || env.tick >= self.awaited_until())
    }

    fn awaited_until(&self) -> u32 {
        self.since.saturating_add(AWAITED_TICKS)
    }

    /// The drain comes to this connection: whoever spoke within the last second is likely to speak again, and leaves with its next
    /// answer. What has come by now is to be read first.
    pub(super) fn begin_drain(&mut self) {
        if self.standing == Standing::Heard && self.lingers_for().is_none() {
            self.standing = Standing::Awaited;
        }
        self.readable = true;
    }

    /// What the peer may be timed out for as things are, and when. A peer that was told goodbye has its own limit.
    fn timeout(&self, timeouts: &Timeouts) -> Option<(Timeout, u32)> {
        let kind = match &self.talk {
            Talk::Linger { .. } => return None,
            _ if self.held.is_some() => Timeout::Write,
            Talk::Http(session) if session.in_head() => Timeout::Head,
            Talk::Http(_) | Talk::Echo => Timeout::Idle,
        };
        Some((kind, timeouts.due(kind, self.since)?))
    }

    /// The tick at which the engine should look at this connection, when that is earlier than it does already. It is then taken to
    /// do so.
    #[inline]
    pub(super) fn arm(&mut self, timeouts: &Timeouts, closing: bool) -> Option<u32> {
        let due = if closing && self.standing == Standing::Awaited && self.is_idle() {
            self.awaited_until()
        } else {
            self.timeout(timeouts)?.1
        };
        (self.armed == 0 || due < self.armed).then(|| {
            self.armed = due;
            due
        })
    }

    /// The engine looks because a tick has come that was asked for. What follows if the peer has run out of time, and else
    /// nothing; [`Self::arm`] then says when to look again.
    pub(super) fn look(&mut self, env: &mut Env) -> Option<Next> {
        if self.armed > env.tick {
            // An earlier wish, which a later one has replaced.
            return None;
        }
        self.armed = 0;
        if env.closing && self.may_go(env) {
            // What came before the goodbye is still answered.
            self.readable = true;
            let next = self.turn(env);
            return Some(if matches!(next, Next::Wait) && self.may_go(env) {
                Next::Linger(CloseReason::Drain)
            } else {
                next
            });
        }
        let (kind, due) = self.timeout(&env.timeouts)?;
        if due > env.tick {
            return None;
        }
        env.shard.timed_out(kind);
        Some(match kind {
            Timeout::Idle => Next::Linger(CloseReason::IdleTimeout),
            Timeout::Head => {
                let mut answer = Vec::new();
                write_head_timeout(&mut answer, env.date.at(env.now));
                // Nothing is unsent, or the timeout would be another one: there is room, or the peer is gone.
                if self.stream.write(&answer).is_ok() {
                    env.shard.http_response(408);
                }
                Next::Linger(CloseReason::HeadTimeout)
            }
            Timeout::Write => {
                // What is owed would only follow a goodbye that nobody reads.
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                Next::Close(CloseReason::WriteTimeout)
            }
        })
    }

    /// Gives the socket back, when there is no slot for it.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.stream.into()
    }

    /// Remembers what an edge said.
    #[inline]
    pub(super) fn note(&mut self, readable: bool, peer_closed: bool) {
        self.peer_closed |= peer_closed;
        self.readable |= peer_closed || readable;
    }

    /// What is waited for: that the kernel takes more, and only then that more comes.
    pub(super) fn has_unsent(&self) -> bool {
        self.held.is_some()
    }

    /// No request has begun and no answer is unsent.
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_none()
            && match &self.talk {
                Talk::Echo => true,
                Talk::Http(session) => session.is_idle(),
                Talk::Linger { .. } => false,
            }
    }

    /// The reason it will be closed with, when it was told goodbye.
    pub(super) fn lingers_for(&self) -> Option<CloseReason> {
        match self.talk {
            Talk::Linger { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Why the kernel reports an error. One system call; errors are rare.
    pub(super) fn failure(&self) -> CloseReason {
        match (self.lingers_for(), self.stream.take_error()) {
            (Some(reason), _) => reason,
            (None, Ok(Some(error))) => Errno::from_io_error(&error).map_or(CloseReason::Error, reason_of),
            (None, _) => CloseReason::Error,
        }
    }

    /// Says goodbye. What the peer still sends is read and dropped, because to close with unread input would reset the
    /// connection, and the reset could overtake the last answer.
    pub(super) fn begin_linger(&mut self, reason: CloseReason) {
        // Fails only when the connection is gone, which the next read says, too.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.held = None;
        self.talk = lingering(reason);
        self.readable = true;
    }

    /// Does what can be done now: send what is unsent, and only then read and answer.
    #[inline]
    pub(super) fn turn(&mut self, env: &mut Env) -> Next {
        if self.held.is_some() {
            match self.flush(env) {
                Ok(()) => {}
                Err(next) => return next,
            }
        }
        match self.talk {
            Talk::Echo => self.echo(env),
            Talk::Http(_) => self.http(env),
            Talk::Linger { .. } => self.discard(env),
        }
    }

    /// Sends what is unsent. Afterwards nothing is held but input.
    fn flush(&mut self, env: &Env) -> Result<(), Next> {
        let Some(held) = &mut self.held else { return Ok(()) };
        match send(&self.stream, &held.out[held.sent..], &env.shard)? {
            Sent::Short(bytes) => {
                held.sent += bytes;
                if bytes > 0 {
                    self.since = env.tick;
                }
                return Err(Next::Wait);
            }
            Sent::All => self.since = env.tick,
        }
        if let Some(reason) = held.then {
            return Err(Next::Linger(reason));
        }
        if held.input.is_empty() {
            self.held = None;
        } else {
            held.out = Vec::new();
            held.sent = 0;
        }
        Ok(())
    }

    #[inline]
    fn echo(&mut self, env: &mut Env) -> Next {
        let mut turn_bytes = 0;
        while turn_bytes < TURN_BYTES {
            let bytes = match self.receive(env) {
                Ok(bytes) => bytes,
                Err(next) => return next,
            };
            match send(&self.stream, &env.buffer[..bytes], &env.shard) {
                Ok(Sent::All) => {}
                Ok(Sent::Short(sent)) => {
                    self.held = Some(Box::new(Held::new(&env.buffer[sent..bytes], &[], None)));
                    self.since = env.tick;
                    return Next::Wait;
                }
                Err(next) => return next,
            }
            turn_bytes += bytes;
            self.since = env.tick;
        }
        Next::Again
    }

    fn http(&mut self, env: &mut Env) -> Next {
        let mut turn_bytes = 0;
        while turn_bytes < TURN_BYTES {
            let bytes = match self.held.take() {
                Some(held) => {
                    env.buffer[..held.input.len()].copy_from_slice(&held.input);
                    held.input.len()
                }
                None => match self.receive(env) {
                    Ok(bytes) => bytes,
                    Err(next) => return next,
                },
            };
            if let Err(next) = self.answer(env, bytes) {
                return next;
            }
            turn_bytes += bytes;
        }
        Next::Again
    }

    /// Answers the first `bytes` of the buffer. `Ok` when all of it is used up and all answers are sent.
    fn answer(&mut self, env: &mut Env, bytes: usize) -> Result<(), Next> {
        let Talk::Http(session) = &mut self.talk else {
            return Ok(());
        };
        let was_in_head = session.in_head();
        let mut out = std::mem::take(&mut env.out);
        let context = Context { ready: env.ready, closing: env.closing, date: env.date.at(env.now) };
        let mut input = &env.buffer[..bytes];
        let result = loop {
            out.clear();
            let progress = session.advance(&mut input, &mut out, context, |status| {
                env.shard.http_response(status);
            });
            let then = match progress {
                Progress::Close(CloseKind::Finished) => Some(CloseReason::Finished),
                Progress::Close(CloseKind::BadRequest) => Some(CloseReason::BadRequest),
                Progress::NeedInput | Progress::OutputFull => None,
            };
            match send(&self.stream, &out, &env.shard) {
                Err(next) => break Err(next),
                Ok(Sent::Short(sent)) => {
                    let input = if then.is_none() { input } else { &[] };
                    self.held = Some(Box::new(Held::new(&out[sent..], input, then)));
                    break Err(Next::Wait);
                }
                Ok(Sent::All) => {}
            }
            match (then, progress) {
                // All that was sent is used up, so that closing at once cannot reset the connection. In a drain it is not the peer that
                // wanted it, and more may be on its way.
                (Some(CloseReason::Finished), _) if input.is_empty() && !self.readable && !env.closing => {
                    break Err(Next::Close(CloseReason::Finished));
                }
                (Some(reason), _) => break Err(Next::Linger(reason)),
                (None, Progress::OutputFull) => {}
                (None, _) => break Ok(()),
            }
        };
        env.out = out;
        // A head has so long from its first byte, however many come.
        if !(was_in_head && self.is_in_head()) {
            self.since = env.tick;
        }
        result
    }

    fn is_in_head(&self) -> bool {
        matches!(&self.talk, Talk::Http(session) if session.in_head())
    }

    fn discard(&mut self, env: &mut Env) -> Next {
        loop {
            let received = self.receive(env);
            let Talk::Linger { bytes_left, reason } = &mut self.talk else {
                return Next::Wait;
            };
            match received {
                Ok(bytes) => match bytes_left.checked_sub(u32::try_from(bytes).unwrap_or(u32::MAX)) {
                    Some(left) => *bytes_left = left,
                    None => return Next::Close(*reason),
                },
                Err(Next::Close(_)) => return Next::Close(*reason),
                Err(next) => return next,
            }
        }
    }

    /// Reads into the buffer. Gives how many bytes came, at least one, or what follows when none did.
    #[inline]
    fn receive(&mut self, env: &mut Env) -> Result<usize, Next> {
        while self.readable {
            match net::recv(&self.stream, &mut *env.buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Next::Close(CloseReason::Peer)),
                Ok((bytes, _)) => {
                    env.shard.received_bytes.add(bytes as u64);
                    if self.standing == Standing::Awaited {
                        self.standing = Standing::Heard;
                    }
                    env.faults.after_read(bytes);
                    // A short read has emptied the socket, and the next byte is a new edge; but there is no edge
                    // after the one that announced the end.
                    self.readable = bytes == env.buffer.len() || self.peer_closed;
                    return Ok(bytes);
                }
                Err(Errno::AGAIN) => self.readable = false,
                Err(Errno::INTR) => {}
                Err(error) => return Err(Next::Close(reason_of(error))),
            }
        }
        Err(Next::Wait)
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsRawFd for Conn {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Held {
    fn new(out: &[u8], input: &[u8], then: Option<CloseReason>) -> Held {
        Held { out: out.to_vec(), sent: 0, input: input.to_vec(), then }
    }
}

const fn lingering(reason: CloseReason) -> Talk {
    Talk::Linger { bytes_left: LINGER_BYTES, reason }
}

/// Writes once. A short write has filled the socket, so that the kernel reports the next edge.
#[inline]
fn send(stream: &TcpStream, bytes: &[u8], shard: &Shard) -> Result<Sent, Next> {
    if bytes.is_empty() {
        return Ok(Sent::All);
    }
    loop {
        match net::send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                shard.sent_bytes.add(sent as u64);
                return Ok(if sent == bytes.len() { Sent::All } else { Sent::Short(sent) });
            }
            Err(Errno::AGAIN) => return Ok(Sent::Short(0)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Next::Close(reason_of(error))),
        }
    }
}

fn reason_of(error: Errno) -> CloseReason {
    match error {
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED => CloseReason::Reset,
        _ => CloseReason::Error,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::net::TcpListener;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Reached only when something hangs.
    const DEADLINE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

    fn off() -> Timeouts {
        Timeouts::new(Instant::now(), Duration::ZERO, Duration::ZERO, Duration::ZERO)
    }

    /// A connection and its peer, which blocks.
    fn pair(proto: Proto) -> (Conn, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Conn::new(stream.into(), proto, &Env::new(Arc::default(), Faults::default(), off())), peer)
    }

    /// Waits for the socket as the loop would, and does a turn.
    fn next_turn(conn: &mut Conn, env: &mut Env) -> Next {
        let wanted = if conn.held.is_some() { PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [PollFd::new(&conn.stream, wanted)];
        assert_eq!(poll(&mut fds, Some(&DEADLINE)).unwrap(), 1, "nothing happened");
        conn.readable = true;
        conn.turn(env)
    }

    #[test]
    fn output_that_leaves_in_many_short_writes_arrives_whole() {
        let (mut conn, peer) = pair(Proto::Echo);
        // So small that what one read brought takes many writes.
        socket2::SockRef::from(&conn.stream).set_send_buffer_size(8 * 1024).unwrap();
        let sent: Vec<u8> = (0_u32..).flat_map(u32::to_le_bytes).take(256 * 1024).collect();
        let mut back = vec![0; sent.len()];
        let mut env = Env::new(Arc::default(), Faults::default(), off());
        let mut short_flushes = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| (&peer).write_all(&sent).unwrap());
            let reading = scope.spawn(|| (&peer).read_exact(&mut back).unwrap());
            while env.shard.sent_bytes.get() < sent.len() as u64 {
                let held_before = conn.held.is_some();
                assert!(matches!(next_turn(&mut conn, &mut env), Next::Wait | Next::Again));
                short_flushes += u32::from(held_before && conn.held.is_some());
            }
            reading.join().unwrap();
        });
        assert!(back == sent);
        assert!(short_flushes > 0, "what was held left in one write");
        assert!(conn.is_idle(), "nothing is held once all is sent");
    }

    #[test]
    fn a_turn_moves_no_more_than_its_share() {
        let (mut conn, peer) = pair(Proto::Echo);
        let mut env = Env::new(Arc::default(), Faults::default(), off());
        let total = 64 << 20;
        std::thread::scope(|scope| {
            let (mut writer, reader) = (&peer, &peer);
            scope.spawn(move || writer.write_all(&vec![0; total]).unwrap());
            scope.spawn(move || io::copy(&mut reader.take(total as u64), &mut io::sink()).unwrap());
            while env.shard.sent_bytes.get() < total as u64 {
                let before = env.shard.received_bytes.get();
                next_turn(&mut conn, &mut env);
                let moved = env.shard.received_bytes.get() - before;
                assert!(moved < (TURN_BYTES + READ_BYTES) as u64, "{moved} bytes in one turn");
            }
        });
    }

    #[test]
    fn an_idle_connection_owns_nothing_also_after_work() {
        let (mut conn, mut peer) = pair(Proto::Http);
        let mut env = Env::new(Arc::default(), Faults::default(), off());
        peer.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(next_turn(&mut conn, &mut env), Next::Wait);
        assert!(conn.is_idle() && conn.held.is_none());
        peer.write_all(b"GET /hea").unwrap();
        assert_eq!(next_turn(&mut conn, &mut env), Next::Wait);
        assert!(!conn.is_idle(), "a request has begun");
    }

    /// A connection whose peer was answered once, at a drain that begins in the same tick.
    fn in_a_drain(proto: Proto, request: &[u8]) -> (Conn, TcpStream, Env) {
        let (mut conn, mut peer) = pair(proto);
        let mut env = Env::new(Arc::default(), Faults::default(), off());
        peer.write_all(request).unwrap();
        assert_eq!(next_turn(&mut conn, &mut env), Next::Wait);
        env.closing = true;
        conn.begin_drain();
        assert_eq!(conn.turn(&mut env), Next::Wait);
        (conn, peer, env)
    }

    #[test]
    fn in_a_drain_one_that_spoke_a_moment_ago_leaves_with_its_next_answer() {
        let (mut conn, mut peer, mut env) = in_a_drain(Proto::Echo, b"hello");
        assert!(!conn.may_go(&env));
        peer.write_all(b"once more").unwrap();
        assert_eq!(next_turn(&mut conn, &mut env), Next::Wait);
        assert!(conn.may_go(&env));
        let (mut conn, mut peer, mut env) =
            in_a_drain(Proto::Http, b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(!conn.may_go(&env));
        peer.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(next_turn(&mut conn, &mut env), Next::Linger(CloseReason::Finished));
    }

    #[test]
    fn in_a_drain_one_that_says_nothing_more_goes_after_a_second() {
        let (mut conn, _peer, mut env) = in_a_drain(Proto::Echo, b"hello");
        assert_eq!(conn.arm(&off(), true), Some(env.tick + AWAITED_TICKS));
        env.tick += AWAITED_TICKS - 1;
        assert_eq!((conn.look(&mut env), conn.may_go(&env)), (None, false));
        env.tick += 1;
        assert_eq!(conn.look(&mut env), Some(Next::Linger(CloseReason::Drain)));
    }

    #[test]
    fn one_who_was_told_goodbye_is_read_from_only_so_much() {
        let (mut conn, mut peer) = pair(Proto::Echo);
        let mut env = Env::new(Arc::default(), Faults::default(), off());
        conn.begin_linger(CloseReason::BadRequest);
        std::thread::scope(|scope| {
            // Fails when the other end closes, which is the point.
            scope.spawn(move || while peer.write(&[0; 4096]).is_ok() {});
            let reason = loop {
                match next_turn(&mut conn, &mut env) {
                    Next::Wait | Next::Again => {}
                    Next::Close(reason) | Next::Linger(reason) => break reason,
                }
            };
            assert_eq!(reason, CloseReason::BadRequest);
            let read = env.shard.received_bytes.get();
            assert!(
                (u64::from(LINGER_BYTES)..u64::from(LINGER_BYTES) + READ_BYTES as u64 + 1).contains(&read),
                "{read}"
            );
            drop(conn);
        });
    }
}
