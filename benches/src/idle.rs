//! Connections that were used once and are then only held.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::error::MeasureError;
use crate::interrupt::Interrupt;

/// The one exchange on each connection.
const PING: &[u8; 64] = &[b't'; 64];

/// A target that takes longer for it is taken for dead.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections. Dropping them resets them, so that none stays behind in `TIME_WAIT` and takes a port from what comes
/// next.
#[derive(Debug, Default)]
pub struct Idle {
    streams: Vec<TcpStream>,
}

impl Idle {
    /// Opens connections until there are `connections`, with one echo on each: an answer proves that the server has
    /// accepted it, and what it keeps afterwards is what it keeps for a connection that was used.
    ///
    /// # Errors
    /// When one cannot be opened or does not answer, or when it is interrupted.
    pub fn grow_to(
        &mut self,
        connections: usize,
        target: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<(), MeasureError> {
        while self.streams.len() < connections {
            interrupt.check()?;
            let stream = open(target).map_err(MeasureError::io(format!(
                "open connection {} to {target}",
                self.streams.len() + 1
            )))?;
            self.streams.push(stream);
        }
        Ok(())
    }
}

fn open(target: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&target, REPLY_TIMEOUT)?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.write_all(PING)?;
    let mut reply = [0; PING.len()];
    stream.read_exact(&mut reply)?;
    if reply == *PING { Ok(stream) } else { Err(ErrorKind::InvalidData.into()) }
}
