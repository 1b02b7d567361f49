//! The bar that the server is held to: the least that an echo server on epoll can do. One thread, edge-triggered, one
//! wait for many events, one receive and one send per echo. No limits, no timeouts, no metrics, no drain.
//!
//! `bare-epoll-echo [CPU]` prints `listening ADDR` and serves until it is killed.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, listen, recv, send, sockopt};
use tidemark_host::cpu;

/// As large as the server's, so that both read the same in one call.
const READ_BYTES: usize = 64 * 1024;
const EVENTS_MAX: usize = 1024;
/// More than any client here opens at a time.
const BACKLOG: i32 = 4096;

fn main() -> anyhow::Result<()> {
    if let Some(cpus) = std::env::args().nth(1) {
        cpu::pin(&cpus.parse()?)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The standard library listens with a backlog of its own choice; a second call changes it.
    listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    writeln!(io::stdout(), "listening {}", listener.local_addr()?)?;
    serve(&listener)?;
    Ok(())
}

fn serve(listener: &TcpListener) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let listener_number = number(listener);
    epoll::add(&epoll, listener, EventData::new_u64(listener_number), EventFlags::IN)?;
    // Sockets by descriptor number: all that safe code needs to own them, and one load on the way of an echo.
    let mut sockets: Vec<Option<OwnedFd>> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let index = event.data.u64();
            if index == listener_number {
                accept_all(listener, &epoll, &mut sockets)?;
                continue;
            }
            let Some(slot) = usize::try_from(index).ok().and_then(|index| sockets.get_mut(index)) else {
                continue;
            };
            if slot.as_ref().is_some_and(|socket| !echo(socket, &mut buffer)) {
                *slot = None;
            }
        }
    }
}

/// Sends back what there is. False when the connection is over, also when its peer does not read: there is no buffer.
fn echo(socket: &OwnedFd, buffer: &mut [u8]) -> bool {
    loop {
        let bytes = match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return false,
            Ok((bytes, _)) => bytes,
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        };
        if send(socket, &buffer[..bytes], SendFlags::NOSIGNAL) != Ok(bytes) {
            return false;
        }
        // A short receive has emptied the socket, and the next byte is a new edge.
        if bytes < buffer.len() {
            return true;
        }
    }
}

fn accept_all(listener: &TcpListener, epoll: &OwnedFd, sockets: &mut Vec<Option<OwnedFd>>) -> io::Result<()> {
    loop {
        let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        sockopt::set_tcp_nodelay(&socket, true)?;
        let index = number(&socket);
        epoll::add(epoll, &socket, EventData::new_u64(index), EventFlags::IN | EventFlags::ET)?;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if sockets.len() <= index {
            sockets.resize_with(index + 1, || None);
        }
        sockets[index] = Some(socket);
    }
}

fn number(socket: &impl AsRawFd) -> u64 {
    u64::from(socket.as_raw_fd().unsigned_abs())
}
