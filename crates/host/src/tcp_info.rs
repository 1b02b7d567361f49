//! What the kernel tells of one TCP connection (`TCP_INFO`, tcp(7)): as far as it says why a connection was slow to come
//! about.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// A TCP socket at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
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
    Ok(TcpInfo { retransmits: info.tcpi_total_retrans, round_trip_us: info.tcpi_rtt })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_handshake_that_went_well_was_sent_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(read(&stream).unwrap().retransmits, 0);
        // A listener is a TCP socket too, and has measured nothing.
        assert_eq!(read(&listener).unwrap(), TcpInfo::default());
    }

    #[test]
    fn what_is_no_tcp_socket_has_no_such_thing() {
        assert!(read(UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
        assert!(read(std::fs::File::open("/proc/self/status").unwrap()).is_err());
    }
}
