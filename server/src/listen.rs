//! Listening sockets: how they are opened, and what an error from `accept` means.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, Socket, Type};

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proto {
    /// Every byte comes back.
    Echo,
    /// HTTP/1.1: `/health`, `/ready`, `/echo`.
    Http,
}

impl Proto {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Proto::Echo => "echo",
            Proto::Http => "http",
        }
    }
}

/// One address to listen on. Port 0 lets the kernel choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listen {
    /// What is spoken there.
    pub proto: Proto,
    /// Where.
    pub addr: SocketAddr,
}

/// Why a listening socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {}", advice(.source))]
pub struct BindError {
    /// The address that was asked for.
    pub addr: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

/// The kernel's answer with what to do about it, in one line.
fn advice(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; stop the process that has it (`ss -ltnp` shows it) or choose another port"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "{source}; ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE, choose a higher one"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{source}; no interface has this address (`ip address` lists them)")
        }
        _ => source.to_string(),
    }
}

/// Checks that nobody listens on `addr` yet. Port 0 is always free.
///
/// Workers share a port with `SO_REUSEPORT`, and so would a second server of the same user: it would start without
/// complaint and silently take part of the first one's connections. A socket without that option is refused where any
/// other listens, also when one of the two is the wildcard address.
///
/// # Errors
/// The address and the kernel's refusal.
pub fn probe(addr: SocketAddr) -> Result<(), BindError> {
    if addr.port() == 0 {
        return Ok(());
    }
    let bound = stream_socket(addr).and_then(|socket| socket.bind(&addr.into()));
    bound.map_err(|source| BindError { addr, source })
}

/// Opens a nonblocking listener that other workers can open again on the same port.
///
/// The kernel silently cuts `backlog` down to `net.core.somaxconn`.
///
/// # Errors
/// The address and the kernel's refusal.
pub fn open(addr: SocketAddr, backlog: u32) -> Result<TcpListener, BindError> {
    let opened = || -> io::Result<TcpListener> {
        let socket = stream_socket(addr)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // An accepted socket inherits this from its listener on Linux, which spares a system call per connection.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    };
    opened().map_err(|source| BindError { addr, source })
}

fn stream_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a former server in TIME_WAIT must not keep this one from starting.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // `[::]:7000` and `0.0.0.0:7000` then are two addresses, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// What came of one try to accept.
#[derive(Debug)]
pub enum Accepted {
    /// A nonblocking, close-on-exec connection with Nagle's algorithm off.
    Conn(OwnedFd),
    /// No connection waits; the kernel tells when one does.
    Empty,
    /// No connection came of it, for the reason classified.
    Failed(AcceptFailure, io::Error),
}

/// Takes one connection out of the listener's queue: one system call.
pub fn accept(listener: &TcpListener) -> Accepted {
    match rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(conn) => Accepted::Conn(conn),
        Err(rustix::io::Errno::AGAIN) => Accepted::Empty,
        Err(errno) => Accepted::Failed(classify(errno.raw_os_error()), errno.into()),
    }
}

/// Closes a connection with a reset instead of the usual goodbye, so that its peer knows at once and nothing of it stays here.
#[expect(clippy::needless_pass_by_value, reason = "it is closed when this returns")]
pub fn reset(conn: OwnedFd) {
    // When this fails, the goodbye does, too.
    let _ = socket2::SockRef::from(&conn).set_linger(Some(Duration::ZERO));
}

/// What to do after `accept` failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFailure {
    /// This one connection is gone; the next may be fine.
    Retry,
    /// The host lacks something that trying again at once will not bring; wait, then go on.
    Pause(PauseReason),
    /// The listener itself is broken, which only a defect of this program explains.
    Fatal,
}

/// What was lacking when accepting was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// This descriptor table is full (EMFILE).
    ProcessDescriptors,
    /// The host's limit on open files is reached (ENFILE).
    HostDescriptors,
    /// The kernel has no buffer space (ENOBUFS) or memory (ENOMEM).
    Memory,
    /// `--accept-rate` connections a second have come.
    Rate,
    /// An error that this program does not know; it is treated with the same patience.
    Unknown,
}

impl PauseReason {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [PauseReason; 5] = [
        PauseReason::ProcessDescriptors,
        PauseReason::HostDescriptors,
        PauseReason::Memory,
        PauseReason::Rate,
        PauseReason::Unknown,
    ];

    /// The value of the metric's `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            PauseReason::ProcessDescriptors => "emfile",
            PauseReason::HostDescriptors => "enfile",
            PauseReason::Memory => "enomem",
            PauseReason::Rate => "accept_rate",
            PauseReason::Unknown => "other",
        }
    }
}

/// Sorts an error number of `accept` by what it asks for. Pure.
///
/// Linux hands errors that are already pending on the new connection out through `accept`; `accept(2)` lists them and
/// asks to treat them as a retry. EPERM is a firewall's refusal of that one connection.
pub fn classify(errno: i32) -> AcceptFailure {
    match errno {
        libc::ECONNABORTED
        | libc::EINTR
        | libc::EPERM
        | libc::EPROTO
        | libc::ENOPROTOOPT
        | libc::ENETDOWN
        | libc::ENETUNREACH
        | libc::EHOSTDOWN
        | libc::EHOSTUNREACH
        | libc::ENONET
        | libc::EOPNOTSUPP
        | libc::ETIMEDOUT => AcceptFailure::Retry,
        libc::EMFILE => AcceptFailure::Pause(PauseReason::ProcessDescriptors),
        libc::ENFILE => AcceptFailure::Pause(PauseReason::HostDescriptors),
        libc::ENOBUFS | libc::ENOMEM => AcceptFailure::Pause(PauseReason::Memory),
        libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT => AcceptFailure::Fatal,
        _ => AcceptFailure::Pause(PauseReason::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn errors_are_sorted_by_what_they_ask_for() {
        for errno in [libc::ECONNABORTED, libc::EINTR, libc::EPROTO, libc::EPERM, libc::ENETDOWN] {
            assert_eq!(classify(errno), AcceptFailure::Retry);
        }
        assert_eq!(classify(libc::EMFILE), AcceptFailure::Pause(PauseReason::ProcessDescriptors));
        assert_eq!(classify(libc::ENFILE), AcceptFailure::Pause(PauseReason::HostDescriptors));
        assert_eq!(classify(libc::ENOBUFS), AcceptFailure::Pause(PauseReason::Memory));
        assert_eq!(classify(libc::ENOMEM), AcceptFailure::Pause(PauseReason::Memory));
        for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
            assert_eq!(classify(errno), AcceptFailure::Fatal);
        }
    }

    #[test]
    fn an_unknown_error_never_ends_the_server() {
        for errno in 200..4096 {
            assert_eq!(classify(errno), AcceptFailure::Pause(PauseReason::Unknown));
        }
    }

    #[test]
    fn pause_reasons_stand_in_the_order_of_their_discriminants() {
        for (index, reason) in PauseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn two_workers_share_a_port_that_a_second_server_does_not_get() {
        let first = open(ANY_PORT, 8).unwrap();
        let addr = first.local_addr().unwrap();
        let second = open(addr, 8).unwrap();
        let refused = probe(addr).unwrap_err();
        assert_eq!(refused.source.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().starts_with(&format!("cannot listen on {addr}: the port is in use")));
        let wildcard = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), addr.port());
        assert!(probe(wildcard).is_err(), "the wildcard address includes the one in use");
        drop((first, second));
        probe(addr).unwrap();
    }

    #[test]
    fn an_accepted_connection_is_nonblocking_and_has_no_delay() {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let listener = open(ANY_PORT, 8).unwrap();
        assert!(matches!(accept(&listener), Accepted::Empty));
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let deadline = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&deadline)).unwrap(), 1);
        let Accepted::Conn(conn) = accept(&listener) else { panic!("poll said that a connection waits") };
        let stream = TcpStream::from(conn);
        assert!(stream.nodelay().unwrap());
        let read = io::Read::read(&mut &stream, &mut [0]);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn ipv4_and_ipv6_have_ports_of_their_own() {
        // Somebody else may have the IPv4 port by chance, but hardly every time.
        let both = (0..16).any(|_| {
            let Ok(v6) = open("[::]:0".parse().unwrap(), 8) else {
                return true;
            }; // a host may have no IPv6 at all
            let port = v6.local_addr().unwrap().port();
            open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), 8).is_ok()
        });
        assert!(both);
    }
}
