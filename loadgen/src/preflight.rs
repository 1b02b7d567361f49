//! One exchange before the run: is there something that answers? So that a wrong port or protocol is told in one line at
//! once, and not after a whole run.

use std::io::{self, ErrorKind as IoErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::Type;
use thiserror::Error;

use crate::errors::ErrorKind;
use crate::plan::{Plan, PopulationPlan};
use crate::schedule::Arrivals;
use crate::session::{Script, Session};
use crate::socket;
use crate::target::Protocol;

/// The longest wait for the one reply, also when a run allows its requests more.
const REPLY_TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// What is read at once.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// What is wrong.
#[derive(Debug, Error)]
pub enum PreflightError {
    /// An address to connect from that is not this machine's.
    #[error("cannot connect from {address}: {source}; is it an address of this machine? (--source)")]
    Source {
        /// Where from.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No connection.
    #[error("cannot connect to {address}: {source}; is the server running, and is this its address?")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A connection, and no reply.
    #[error("{address} took the connection but sent no reply within {seconds} s; is it {expected}?")]
    Silent {
        /// The target.
        address: SocketAddr,
        /// How long was waited.
        seconds: f64,
        /// What the run takes it for.
        expected: &'static str,
    },
    /// The connection ended before the reply.
    #[error(
        "{address} closed the connection before it replied ({source}); is it {expected}, and is it full?"
    )]
    Ended {
        /// The target.
        address: SocketAddr,
        /// How it ended.
        source: io::Error,
        /// What the run takes it for.
        expected: &'static str,
    },
    /// Something else than the reply.
    #[error(
        "{address} replied with something else than {expected} would ({kind}); check the port and the scheme"
    )]
    Strange {
        /// The target.
        address: SocketAddr,
        /// What was wrong.
        kind: ErrorKind,
        /// What the run takes it for.
        expected: &'static str,
    },
    /// An HTTP error.
    #[error("{address} answered {path} with {kind}; check the path, and the payload if there is one")]
    Refused {
        /// The target.
        address: SocketAddr,
        /// The path asked for.
        path: String,
        /// The status.
        kind: ErrorKind,
    },
}

/// Does one exchange with the first port of a population's target, or only connects when it will never ask anything.
///
/// # Errors
/// When there is no connection, or no reply, or one that is none.
pub fn check(plan: &Plan, population: &PopulationPlan, script: &Script) -> Result<(), PreflightError> {
    let address = population.addresses[0];
    let expected = match &population.target.protocol {
        Protocol::Echo => "a TCP echo server",
        Protocol::Http { .. } => "an HTTP/1.1 server",
    };
    let timeout = plan.timeout.min(REPLY_TIMEOUT_MAX);
    for &from in &plan.connect.sources {
        // Binding is what tells whether an address is this machine's; nothing is sent.
        UdpSocket::bind(socket::local_address(from, address))
            .map_err(|source| PreflightError::Source { address: from, source })?;
    }
    let stream = connect(address, plan).map_err(|source| PreflightError::Connect { address, source })?;
    if population.arrivals == Arrivals::Idle {
        // Nothing will be asked, and so nothing is.
        return Ok(());
    }
    match exchange(stream, script, timeout) {
        Ok(None) => Ok(()),
        Ok(Some(kind)) => match &population.target.protocol {
            Protocol::Http { path } if matches!(kind, ErrorKind::Status(_)) => {
                Err(PreflightError::Refused { address, path: path.clone(), kind })
            }
            _ => Err(PreflightError::Strange { address, kind, expected }),
        },
        Err(error) if matches!(error.kind(), IoErrorKind::WouldBlock | IoErrorKind::TimedOut) => {
            Err(PreflightError::Silent { address, seconds: timeout.as_secs_f64(), expected })
        }
        Err(source) => Err(PreflightError::Ended { address, source, expected }),
    }
}

fn connect(address: SocketAddr, plan: &Plan) -> io::Result<TcpStream> {
    let source = plan.connect.sources.first().copied();
    let socket = socket::prepare(Type::STREAM, &plan.connect.socket, source, address)?;
    socket.connect_timeout(&address.into(), plan.connect.timeout)?;
    Ok(socket.into())
}

/// Returns what was wrong with the reply, if it came.
fn exchange(mut stream: TcpStream, script: &Script, timeout: Duration) -> io::Result<Option<ErrorKind>> {
    let deadline = Instant::now() + timeout;
    stream.set_write_timeout(Some(timeout))?;
    // The reply may have to be read while the request is still being written: an echo server stops reading when its
    // own output is stuck.
    let mut writer = stream.try_clone()?;
    let mut session = Session::new(script);
    let request = session.request(script, 0);
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || writer.write_all(request));
        let read = read_reply(&mut stream, &mut session, script, deadline);
        // Ends the writer, should the target have stopped reading.
        drop(stream.shutdown(std::net::Shutdown::Both));
        let written = writing.join().unwrap_or(Ok(()));
        match read {
            Ok(Some(kind)) => Ok(Some(kind)),
            Ok(None) => written.map(|()| None),
            // A reset is told once, to whoever asks first: when that was the writer, the reader only sees the end.
            Err(error) => match written {
                Err(reset) if reset.kind() == IoErrorKind::ConnectionReset => Err(reset),
                _ => Err(error),
            },
        }
    })
}

fn read_reply(
    stream: &mut TcpStream,
    session: &mut Session,
    script: &Script,
    deadline: Instant,
) -> io::Result<Option<ErrorKind>> {
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(IoErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let length = stream.read(&mut buffer)?;
        let reply = if length == 0 {
            match session.end_of_stream() {
                Ok(Some(reply)) => Ok(Some(reply)),
                _ => return Err(IoErrorKind::UnexpectedEof.into()),
            }
        } else {
            session.receive(script, &mut &buffer[..length], Some(0))
        };
        match reply {
            Ok(Some(reply)) => return Ok(reply.error),
            Ok(None) => {}
            Err(kind) => return Ok(Some(kind)),
        }
    }
}
