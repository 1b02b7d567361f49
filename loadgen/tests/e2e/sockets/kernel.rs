//! TCP sockets as this machine's kernel tells of them in `/proc/net/tcp` (proc(5)).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Nothing here takes a tenth of it.
const DEADLINE: Duration = Duration::from_secs(120);

/// A state, by its number in the kernel (`include/net/tcp_states.h`).
pub(crate) const ESTABLISHED: u8 = 1;
pub(crate) const SYN_SENT: u8 = 2;
pub(crate) const TIME_WAIT: u8 = 6;

#[derive(Debug)]
pub(crate) struct TcpSocket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: u8,
    /// Bytes that nobody has read.
    pub(crate) unread: u32,
    /// Times that what is not acknowledged was sent again.
    pub(crate) retransmits: u32,
}

/// All IPv4 ones of this network namespace.
pub(crate) fn tcp_sockets() -> Vec<TcpSocket> {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
    text.lines().skip(1).map(|line| parse(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

fn parse(line: &str) -> Option<TcpSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    let address = |text: &str| {
        let (ip, port) = text.split_once(':')?;
        // The address stands there as the number that its bytes are in memory.
        let ip = Ipv4Addr::from(hex(ip)?.to_ne_bytes());
        Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?)))
    };
    Some(TcpSocket {
        local: address(fields.get(1)?)?,
        remote: address(fields.get(2)?)?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        unread: hex(fields.get(4)?.split_once(':')?.1)?,
        retransmits: hex(fields.get(6)?)?,
    })
}

/// Looks again and again until `count` sockets are as `is_such` says.
pub(crate) fn await_sockets(count: usize, what: &str, is_such: impl Fn(&TcpSocket) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while tcp_sockets().iter().filter(|socket| is_such(socket)).count() < count {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
