//! Sockets of the load generator: what is set on them and why.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::net::TcpStream;
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use crate::cli::{Linger, SocketArgs, Switch};

/// What is set on every socket, and what the kernel made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Options {
    /// Whether a small request leaves at once (`TCP_NODELAY`), or waits for the acknowledgement of what was sent before
    /// (Nagle's algorithm, RFC 896).
    pub nodelay: bool,
    /// `SO_SNDBUF`; without it the kernel sizes the buffer as it goes.
    pub send_buffer: Option<Buffer>,
    /// `SO_RCVBUF`, likewise.
    pub receive_buffer: Option<Buffer>,
    /// How a connection is closed.
    pub linger: Linger,
}

/// A socket buffer of a fixed size. The kernel doubles what is asked for, to make room for its own bookkeeping, and keeps it
/// within limits (socket(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// What is asked for.
    pub asked_bytes: u32,
    /// What the kernel gives.
    pub got_bytes: usize,
}

impl Options {
    /// What the arguments ask for. A socket is made and closed again, to see what the kernel gives.
    ///
    /// # Errors
    /// When the kernel refuses a socket or an option.
    pub fn new(args: &SocketArgs) -> io::Result<Self> {
        let probe = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let send_buffer = args.send_buffer.map(|asked_bytes| {
            set_send_buffer(&probe, asked_bytes)?;
            Ok::<_, io::Error>(Buffer { asked_bytes, got_bytes: probe.send_buffer_size()? })
        });
        let receive_buffer = args.receive_buffer.map(|asked_bytes| {
            set_receive_buffer(&probe, asked_bytes)?;
            Ok::<_, io::Error>(Buffer { asked_bytes, got_bytes: probe.recv_buffer_size()? })
        });
        Ok(Self {
            nodelay: args.nodelay != Some(Switch::Off),
            send_buffer: send_buffer.transpose()?,
            receive_buffer: receive_buffer.transpose()?,
            linger: args.linger.unwrap_or_default(),
        })
    }

    /// What the user should know of buffers that are not of the size asked for.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let buffers = [
            ("--send-buffer", "net.core.wmem_max", self.send_buffer),
            ("--receive-buffer", "net.core.rmem_max", self.receive_buffer),
        ];
        buffers.into_iter().filter_map(|(flag, limit, buffer)| buffer?.note(flag, limit))
    }

    fn set(&self, socket: &Socket) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        // Before connect: the SYN tells the peer how far the window will ever be scaled (RFC 7323).
        if let Some(buffer) = self.receive_buffer {
            set_receive_buffer(socket, buffer.asked_bytes)?;
        }
        if let Some(buffer) = self.send_buffer {
            set_send_buffer(socket, buffer.asked_bytes)?;
        }
        if self.linger == Linger::Reset {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    }
}

impl Buffer {
    fn note(self, flag: &str, limit: &str) -> Option<String> {
        let Self { asked_bytes, got_bytes } = self;
        let doubled = u64::from(asked_bytes) * 2;
        match (got_bytes as u64).cmp(&doubled) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some(format!(
                "{flag} {asked_bytes}: the kernel gives {got_bytes} bytes, twice the most it allows; raise {limit}"
            )),
            std::cmp::Ordering::Greater => {
                Some(format!("{flag} {asked_bytes}: the kernel gives {got_bytes} bytes, the least there is"))
            }
        }
    }
}

fn set_send_buffer(socket: &Socket, bytes: u32) -> io::Result<()> {
    socket.set_send_buffer_size(bytes as usize)
}

fn set_receive_buffer(socket: &Socket, bytes: u32) -> io::Result<()> {
    socket.set_recv_buffer_size(bytes as usize)
}

/// A non-blocking socket with a connect to `target` under way, from `source` when one is given.
///
/// # Errors
/// What the kernel says: no descriptor, no free port, no route, refused at once.
pub fn connect(options: &Options, source: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = prepare(Type::STREAM.nonblocking(), options, source, target)?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// A socket that is ready to connect to `target`, from `source` when one is given.
///
/// # Errors
/// What the kernel says: no descriptor, not an address of this machine.
pub fn prepare(
    kind: Type,
    options: &Options,
    source: Option<IpAddr>,
    target: SocketAddr,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
    options.set(&socket)?;
    if let Some(source) = source {
        choose_port_at_connect(&socket)?;
        socket.bind(&local_address(source, target).into())?;
    }
    Ok(socket)
}

/// The address to bind to for connections from `source` to `target`. One that is valid on one link only needs the
/// interface, which is that of the target.
pub fn local_address(source: IpAddr, target: SocketAddr) -> SocketAddr {
    match (source, target) {
        (IpAddr::V6(source), SocketAddr::V6(target)) if source.is_unicast_link_local() => {
            SocketAddrV6::new(source, 0, 0, target.scope_id()).into()
        }
        _ => SocketAddr::new(source, 0),
    }
}

/// Sets `IP_BIND_ADDRESS_NO_PORT`: bind then takes no port, and connect chooses one knowing the whole 4-tuple. Without it
/// a source address is used up after one range of ephemeral ports, whatever the number of targets. IPv6 sockets take it, too.
fn choose_port_at_connect(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the descriptor is open, and the option's value is a c_int that outlives the call, of the length given.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn socket_with(args: &SocketArgs) -> Socket {
        let target = "127.0.0.1:1".parse().unwrap();
        prepare(Type::STREAM, &Options::new(args).unwrap(), None, target).unwrap()
    }

    #[test]
    fn what_is_asked_for_is_set() {
        let usual = socket_with(&SocketArgs::default());
        assert_eq!((usual.tcp_nodelay().unwrap(), usual.linger().unwrap()), (true, None));
        let other = SocketArgs {
            nodelay: Some(Switch::Off),
            send_buffer: Some(20_000),
            receive_buffer: Some(30_000),
            linger: Some(Linger::Reset),
        };
        let (options, socket) = (Options::new(&other).unwrap(), socket_with(&other));
        assert!(!socket.tcp_nodelay().unwrap());
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        assert_eq!(Some(socket.send_buffer_size().unwrap()), options.send_buffer.map(|b| b.got_bytes));
        assert_eq!(Some(socket.recv_buffer_size().unwrap()), options.receive_buffer.map(|b| b.got_bytes));
    }

    #[test]
    fn a_buffer_that_the_kernel_does_not_give_is_told() {
        let note = |asked_bytes, got_bytes| Buffer { asked_bytes, got_bytes }.note("--send-buffer", "wmem");
        assert_eq!(note(10_000, 20_000), None);
        assert!(note(10_000_000, 425_984).unwrap().ends_with("twice the most it allows; raise wmem"));
        assert!(note(1, 4_608).unwrap().ends_with("gives 4608 bytes, the least there is"));
        let smallest = SocketArgs { send_buffer: Some(1), receive_buffer: Some(1), ..SocketArgs::default() };
        assert_eq!(Options::new(&smallest).unwrap().notes().count(), 2);
    }

    /// Both families: on an IPv6 socket the option is one of the IPv4 level as well.
    #[test]
    fn the_port_is_chosen_when_it_connects() {
        for host in ["127.0.0.1", "::1"] {
            let source: IpAddr = host.parse().unwrap();
            let Ok(listener) = TcpListener::bind((source, 0)) else {
                println!("skipped: this host has no {host}");
                continue;
            };
            let target = listener.local_addr().unwrap();
            let options = Options::new(&SocketArgs::default()).unwrap();
            let socket = prepare(Type::STREAM, &options, Some(source), target).unwrap();
            let port_of = |socket: &Socket| socket.local_addr().unwrap().as_socket().unwrap().port();
            assert_eq!(port_of(&socket), 0);
            socket.connect(&target.into()).unwrap();
            assert_ne!(port_of(&socket), 0);
        }
    }

    #[test]
    fn a_link_local_source_is_bound_on_the_targets_link() {
        let target: SocketAddr = "[fe80::1%7]:80".parse().unwrap();
        let scope = |source: &str| match local_address(source.parse().unwrap(), target) {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(_) => panic!("of another family"),
        };
        assert_eq!((scope("fe80::2"), scope("fd00::2")), (7, 0));
    }
}
