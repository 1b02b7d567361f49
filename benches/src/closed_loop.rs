//! A client that does an exact number of exchanges, so that what a server spent can be divided by what it did.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::exchange::{self, Exchange};

/// Without any reply for this long the target is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// More than a reply, so that one that is too long shows.
const READ_BYTES: usize = 2 * exchange::BYTES_MAX;

const EVENTS_MAX: usize = 1024;

/// Connections to one server, each with at most one request in flight.
#[derive(Debug)]
pub struct ClosedLoop {
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    exchange: Exchange,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Conn {
    stream: std::net::TcpStream,
    /// Bytes of the current reply that have come.
    received: usize,
}

impl ClosedLoop {
    /// Opens the connections, one after the other.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn connect(target: SocketAddr, connections: usize, exchange: Exchange) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut conns = Vec::with_capacity(connections);
        for index in 0..connections {
            let stream = std::net::TcpStream::connect(target)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut source = SourceFd(&stream.as_raw_fd());
            poll.registry().register(&mut source, Token(index), Interest::READABLE)?;
            conns.push(Conn { stream, received: 0 });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            conns,
            exchange,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Does exactly `count` exchanges over all connections. When this returns, every reply has been read.
    ///
    /// # Errors
    /// When the target closes, replies wrongly, or is silent for ten seconds.
    pub fn run(&mut self, count: u64) -> io::Result<()> {
        let (mut unsent, mut unanswered) = (count, count);
        for conn in &mut self.conns {
            if unsent > 0 {
                unsent -= 1;
                send(&mut conn.stream, self.exchange.request())?;
            }
        }
        while unanswered > 0 {
            match self.poll.poll(&mut self.events, Some(SILENCE_MAX)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.events.is_empty() {
                return Err(ErrorKind::TimedOut.into());
            }
            for event in &self.events {
                let conn = &mut self.conns[event.token().0];
                if conn.receive(&self.exchange, &mut self.buffer)? {
                    unanswered -= 1;
                    if unsent > 0 {
                        unsent -= 1;
                        send(&mut conn.stream, self.exchange.request())?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Conn {
    /// Whether the reply is complete now. With one request in flight one read gets all there is.
    fn receive(&mut self, exchange: &Exchange, buffer: &mut [u8]) -> io::Result<bool> {
        let bytes = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if !exchange.accepts(self.received, &buffer[..bytes]) {
            return Err(io::Error::new(ErrorKind::InvalidData, "the reply is not the one it should be"));
        }
        self.received += bytes;
        let is_complete = self.received == exchange.reply_bytes();
        if is_complete {
            self.received = 0;
        }
        Ok(is_complete)
    }
}

/// The socket is empty whenever this is called, so that the whole request fits.
fn send(stream: &mut std::net::TcpStream, request: &[u8]) -> io::Result<()> {
    match stream.write(request)? {
        bytes if bytes == request.len() => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Serves `connections` connections until their clients close, and counts the bytes. `answer` is what it does to them.
    fn serve(connections: usize, answer: fn(&mut [u8])) -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let total = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&total);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().take(connections).map_while(Result::ok) {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
                        count.fetch_add(bytes as u64, Ordering::SeqCst);
                        answer(&mut buffer[..bytes]);
                        if stream.write_all(&buffer[..bytes]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (addr, total)
    }

    #[test]
    fn exactly_so_many_echoes_are_done() {
        let (addr, total) = serve(5, |_| {});
        let mut client = ClosedLoop::connect(addr, 5, Exchange::echo(64).unwrap()).unwrap();
        for (count, sum) in [(1, 1), (3, 4), (1000, 1004), (0, 1004)] {
            client.run(count).unwrap();
            assert_eq!(total.load(Ordering::SeqCst), sum * 64);
        }
    }

    #[test]
    fn a_reply_of_other_bytes_is_an_error() {
        let (addr, _) = serve(1, |bytes| bytes[0] ^= 1);
        let mut client = ClosedLoop::connect(addr, 1, Exchange::echo(64).unwrap()).unwrap();
        assert_eq!(client.run(1).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
