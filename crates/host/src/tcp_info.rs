//! What the kernel tells of one TCP connection (`TCP_INFO`, tcp(7)): as far as it says why a connection was slow to come
//! about.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// `TCP_ESTABLISHED` of the kernel's `tcp_states.h`, which the crate `libc` leaves out.
const ESTABLISHED: u8 = 1;

/// A TCP socket at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Whether the handshake is over and nobody has closed.
    pub is_established: bool,
    /// Segments sent again since the socket was made, SYNs included. Before anything was written to it, it is the SYNs alone.
    pub retransmits: u32,
    /// The smoothed round trip, us; right after the handshake that of SYN and SYN-ACK. 0 where none was measured. Where the
    /// SYN was sent again it says little: it is then taken from timestamps that count milliseconds.
    pub round_trip_us: u32,
}

/// Reads what the kernel tells of a TCP socket, in whatever state it is.
///
/// # Errors
/// `ENOTSOCK`, or `EOPNOTSUPP` and its like, when it is no TCP socket.
pub fn read(socket: impl AsFd) -> io::Result<TcpInfo> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).unwrap_or(0);
    // SAFETY: The descriptor is open as long as it is borrowed. The kernel writes at most `length` bytes to `info`, which is
    // that long, and the new length to `length`; both outlive the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The struct is made of integers, for which zero is a value as well: what an older kernel leaves out stays zero.
    let info = unsafe { info.assume_init() };
    Ok(TcpInfo {
        is_established: info.tcpi_state == ESTABLISHED,
        retransmits: info.tcpi_total_retrans,
        round_trip_us: info.tcpi_rtt,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_handshake_that_went_well_was_sent_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let info = read(&stream).unwrap();
        assert_eq!((info.is_established, info.retransmits), (true, 0));
        // A listener is a TCP socket too, and has measured nothing.
        assert_eq!(read(&listener).unwrap(), TcpInfo::default());
    }

    #[test]
    fn what_the_peer_has_closed_is_established_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert!(!read(&stream).unwrap().is_established);
    }

    #[test]
    fn what_is_no_tcp_socket_has_no_such_thing() {
        assert!(read(UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
        assert!(read(std::fs::File::open("/proc/self/status").unwrap()).is_err());
    }
}
