//! One thread, one poll: accepts, reads, and lets the fault decide what goes back.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::net::{self, RecvFlags, SendFlags};
use socket2::{Domain, SockRef, Socket, Type};

use crate::fault::{Fault, Session};
use crate::stall::Stalls;

/// Connections that may wait to be accepted: more than a load generator opens while one that is slow is busy.
const BACKLOG: i32 = 4096;
const EVENTS_PER_TURN: usize = 1024;
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// While the server stops, a connection that it owes as much is read no further.
const OWED_BYTES_MAX: usize = 1024 * 1024;
const LISTENER: Token = Token(usize::MAX);
const PARENT: Token = Token(usize::MAX - 1);

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    session: Session,
    /// What the socket has not taken yet, or is not given while the server stops. Otherwise nothing is read while there is any.
    unsent: Vec<u8>,
    /// Closes as soon as everything is sent.
    ends: bool,
    /// There may be more to read: an edge has come, and no read has fallen short since.
    is_readable: bool,
    /// The peer sends no more, and of that there is no other edge.
    peer_closed: bool,
}

/// The server and its connections, by token.
#[derive(Debug)]
pub(crate) struct Server {
    poll: Poll,
    listener: TcpListener,
    fault: Fault,
    stalls: Option<Stalls>,
    /// Whom something came from since the server stopped.
    owed: Vec<usize>,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    /// Over all connections.
    replies: u64,
}

impl Server {
    /// A server that listens.
    ///
    /// # Errors
    /// What the kernel says to the address, or to standard input where `exit_with_parent` needs to watch it.
    pub(crate) fn bind(address: SocketAddr, fault: Fault, exit_with_parent: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        if exit_with_parent {
            let stdin = io::stdin().as_raw_fd();
            poll.registry().register(&mut SourceFd(&stdin), PARENT, Interest::READABLE)?;
        }
        let stalls = match &fault {
            Fault::Stall { length, every, .. } => Some(Stalls::new(*length, *every, Instant::now())),
            _ => None,
        };
        let buffer = vec![0; READ_BUFFER_BYTES];
        Ok(Self {
            poll,
            listener,
            fault,
            stalls,
            owed: Vec::new(),
            conns: Vec::new(),
            free: Vec::new(),
            buffer,
            replies: 0,
        })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the parent is gone.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            let timeout: Option<Duration> = self.stalls.as_ref().map(|stalls| stalls.timeout(Instant::now()));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            // Before anything is served: what came since a stop should have begun waits until it is over.
            if let Some(began) = self.stalls.as_mut().and_then(|stalls| stalls.update(Instant::now())) {
                self.release(began);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    // Nothing is ever written there, so this is its end.
                    PARENT => return Ok(()),
                    Token(index) => self.turn(index, event.is_readable(), event.is_read_closed()),
                }
            }
        }
    }

    /// Sends what is owed since a stop, and tells how far that was from what the stop should have been.
    fn release(&mut self, began: Instant) {
        for index in std::mem::take(&mut self.owed) {
            self.turn(index, false, false);
        }
        let Some(stalls) = &mut self.stalls else { return };
        // Who does not want to know has closed the pipe.
        drop(writeln!(io::stdout(), "late_us {:.1}", stalls.released(began, Instant::now())));
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            if matches!(self.fault, Fault::Reset) {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                continue;
            }
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.conns.len());
            self.poll.registry().register(
                &mut stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            let conn = Conn {
                stream,
                session: Session::default(),
                unsent: Vec::new(),
                ends: false,
                is_readable: false,
                peer_closed: false,
            };
            if index == self.conns.len() {
                self.conns.push(Some(conn));
            } else {
                self.conns[index] = Some(conn);
            }
        }
    }

    /// Serves one connection until its socket has no more to give or takes no more.
    fn turn(&mut self, index: usize, is_readable: bool, peer_closed: bool) {
        // An event of a connection that ended earlier in this batch.
        let Some(conn) = self.conns.get_mut(index).and_then(Option::as_mut) else { return };
        conn.peer_closed |= peer_closed;
        conn.is_readable |= is_readable || peer_closed;
        let result = if self.stalls.as_ref().is_some_and(Stalls::is_stopped) {
            self.owed.push(index);
            hold(conn, &self.fault, &mut self.replies, &mut self.buffer)
        } else {
            serve(conn, &self.fault, &mut self.replies, &mut self.buffer)
        };
        if !matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.conns[index] = None;
            self.free.push(index);
        }
    }
}

/// Returns when the connection has ended; `WouldBlock` when it goes on with its next event.
fn serve(conn: &mut Conn, fault: &Fault, replies: &mut u64, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        while !conn.unsent.is_empty() {
            let written = net::send(&conn.stream, &conn.unsent, SendFlags::NOSIGNAL)?;
            conn.unsent.drain(..written);
        }
        if conn.ends {
            return Ok(());
        }
        // To ask once more would double what a request costs.
        if !conn.is_readable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if read(conn, fault, replies, buffer)? == 0 {
            return Ok(());
        }
    }
}

/// Reads, and keeps what there is to send. Returns as [`serve`] does.
fn hold(conn: &mut Conn, fault: &Fault, replies: &mut u64, buffer: &mut [u8]) -> io::Result<()> {
    while conn.is_readable && !conn.ends && conn.unsent.len() < OWED_BYTES_MAX {
        // The end is left to be found when everything has been sent.
        if read(conn, fault, replies, buffer)? == 0 {
            break;
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Reads once and answers that. Returns the bytes read; 0 at the end.
fn read(conn: &mut Conn, fault: &Fault, replies: &mut u64, buffer: &mut [u8]) -> io::Result<usize> {
    let (length, _) = net::recv(&conn.stream, &mut *buffer, RecvFlags::empty())?;
    conn.is_readable = length == buffer.len() || conn.peer_closed;
    if length > 0 {
        if let Fault::Slow { service } = fault {
            take(*service);
        }
        conn.ends = conn.session.answer(fault, replies, &buffer[..length], &mut conn.unsent);
    }
    Ok(length)
}

/// The whole server is busy for this long.
#[expect(clippy::disallowed_methods, reason = "the sleep is the fault itself, not a wait for something")]
fn take(service: Duration) {
    std::thread::sleep(service);
}
