//! `/proc/net/sockstat` and `sockstat6`: how many sockets there are and what memory they take.

use std::io;

use super::{ParseError, keyed, number, read_file};

const FILE: &str = "net/sockstat";

/// TCP sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockstat {
    /// In use in this network namespace, IPv4 and IPv6, TIME-WAIT not included.
    pub inuse: u64,
    /// Without a process, still sending what was written. IPv4 and IPv6, machine-wide.
    pub orphan: u64,
    /// In TIME-WAIT, in this network namespace.
    pub tw: u64,
    /// Allocated, machine-wide.
    pub alloc: u64,
    /// Pages that all TCP buffers of the machine hold together; `net.ipv4.tcp_mem` bounds that.
    pub mem_pages: u64,
}

impl Sockstat {
    /// [`Self::mem_pages`] in bytes.
    pub fn mem_bytes(&self) -> u64 {
        self.mem_pages.saturating_mul(page_bytes())
    }
}

/// The size of a memory page.
pub fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// The sockets now.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn read() -> io::Result<Sockstat> {
    // Absent where IPv6 is switched off at boot.
    let v6 = read_file("/proc/net/sockstat6").unwrap_or_default();
    Ok(parse(&read_file("/proc/net/sockstat")?, &v6)?)
}

/// # Errors
/// When `sockstat` has no line `TCP:`, or a number is missing or damaged. `sockstat6` may be empty.
pub fn parse(sockstat: &str, sockstat6: &str) -> Result<Sockstat, ParseError> {
    let value = |text, protocol, name| -> Result<Option<u64>, ParseError> {
        let Some(mut fields) = keyed::fields(text, protocol) else {
            return Ok(None);
        };
        // Pairs of a name and a value.
        while let (Some(key), Some(value)) = (fields.next(), fields.next()) {
            if key == name {
                return number(value, FILE, name).map(Some);
            }
        }
        Err(ParseError::new(FILE, format!("{protocol} has no {name}")))
    };
    let tcp =
        |name| value(sockstat, "TCP", name)?.ok_or_else(|| ParseError::new(FILE, "the line TCP is missing"));
    let inuse6 = value(sockstat6, "TCP6", "inuse")?.unwrap_or(0);
    Ok(Sockstat {
        inuse: tcp("inuse")?.saturating_add(inuse6),
        orphan: tcp("orphan")?,
        tw: tcp("tw")?,
        alloc: tcp("alloc")?,
        mem_pages: tcp("mem")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "sockets: used 12\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 215\nUDP: inuse 7 mem 8\n";

    #[test]
    fn adds_ipv6_where_there_is_any() {
        let expected = Sockstat { inuse: 1, orphan: 2, tw: 3, alloc: 4, mem_pages: 215 };
        assert_eq!(parse(V4, ""), Ok(expected));
        assert_eq!(parse(V4, "TCP6: inuse 10\nUDP6: inuse 3\n"), Ok(Sockstat { inuse: 11, ..expected }));
        assert_eq!(expected.mem_bytes(), 215 * page_bytes());
    }

    #[test]
    fn refuses_damaged_files() {
        for text in
            ["", "UDP: inuse 7\n", "TCP: inuse 1 orphan\n", "TCP: inuse x orphan 2 tw 3 alloc 4 mem 5\n"]
        {
            parse(text, "").expect_err(text);
        }
        parse(V4, "TCP6: inuse 99999999999999999999\n").expect_err("above u64");
    }

    #[test]
    fn an_open_socket_shows() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback address");
        assert!(read().expect("/proc/net/sockstat").inuse >= 1);
        drop(listener);
    }
}
