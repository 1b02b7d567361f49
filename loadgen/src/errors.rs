//! Why a request or a connection failed, in the words of the report.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use crate::report::units::Count;

/// What went wrong, as counted in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// Nothing listens there.
    Refused,
    /// The handshake did not finish in time.
    ConnectTimeout,
    /// No route, or the network is down.
    Unreachable,
    /// Every local port towards the target is taken (EADDRNOTAVAIL).
    PortsExhausted,
    /// This process or host has no descriptor left (EMFILE, ENFILE).
    DescriptorsExhausted,
    /// The peer reset the connection.
    Reset,
    /// The peer closed the connection without announcing it.
    Closed,
    /// No reply within the request timeout.
    Timeout,
    /// The reply was not what was sent, or more than was asked for.
    WrongReply,
    /// The reply was not HTTP/1.1.
    Malformed,
    /// An HTTP status of 400 and above.
    Status(u16),
    /// This end dropped the connection, because the scenario says so.
    Dropped,
    /// Any other error number of the operating system.
    Os(i32),
}

impl ErrorKind {
    /// Classifies an error of a socket call.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable,
            io::ErrorKind::AddrNotAvailable => Self::PortsExhausted,
            _ => Self::of_errno(error.raw_os_error().unwrap_or(0)),
        }
    }

    fn of_errno(errno: i32) -> Self {
        use rustix::io::Errno;
        match Errno::from_raw_os_error(errno) {
            Errno::MFILE | Errno::NFILE => Self::DescriptorsExhausted,
            // Linux answers EAGAIN to a connect that finds no free port on some paths.
            Errno::ADDRNOTAVAIL | Errno::AGAIN => Self::PortsExhausted,
            _ => Self::Os(errno),
        }
    }
}

impl fmt::Display for ErrorKind {
    /// The key in `report.json` and in the table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Dropped => f.write_str("dropped"),
            Self::ConnectTimeout => f.write_str("connect_timeout"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::PortsExhausted => f.write_str("ports_exhausted"),
            Self::DescriptorsExhausted => f.write_str("descriptors_exhausted"),
            Self::Reset => f.write_str("reset"),
            Self::Closed => f.write_str("closed"),
            Self::Timeout => f.write_str("timeout"),
            Self::WrongReply => f.write_str("wrong_reply"),
            Self::Malformed => f.write_str("malformed"),
            Self::Status(status) => write!(f, "status_{status}"),
            Self::Os(errno) => write!(f, "os_error_{errno}"),
        }
    }
}

/// Errors and how often, in one line.
pub fn error_list(errors: &BTreeMap<ErrorKind, u64>) -> String {
    let list: Vec<String> = errors.iter().map(|(kind, count)| format!("{kind} {}", Count(*count))).collect();
    if list.is_empty() { "no error was told".to_owned() } else { list.join(", ") }
}
