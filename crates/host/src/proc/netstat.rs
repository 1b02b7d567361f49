//! `/proc/net/netstat` and `/proc/net/snmp`: what TCP counts, in this network namespace, since it exists.

use std::io;

use super::{ParseError, number, read_file};

const NETSTAT: &str = "net/netstat";
const SNMP: &str = "net/snmp";

/// Declares [`TcpCounters`] with, per field, the section and the kernel's name of the counter, so that these are
/// stated once.
macro_rules! tcp_counters {
    ($($(#[$doc:meta])* $field:ident = $section:ident $name:literal,)+) => {
        /// Counters of TCP in this network namespace. A counter that the running kernel does not have is 0.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct TcpCounters {
            $($(#[$doc])* pub $field: u64,)+
        }

        impl TcpCounters {
            /// What was added since an earlier reading.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(earlier.$field),)+ }
            }
        }

        /// # Errors
        /// When `netstat` has no section `TcpExt` or `snmp` no section `Tcp`, or a counter is damaged.
        pub fn parse(netstat: &str, snmp: &str) -> Result<TcpCounters, ParseError> {
            let (ext, tcp) = (Section::find(netstat, NETSTAT, "TcpExt")?, Section::find(snmp, SNMP, "Tcp")?);
            Ok(TcpCounters { $($field: $section!(ext, tcp).counter($name)?,)+ })
        }
    };
}

/// Which of the two sections a counter is in.
macro_rules! ext {
    ($ext:ident, $tcp:ident) => {
        $ext
    };
}
macro_rules! tcp {
    ($ext:ident, $tcp:ident) => {
        $tcp
    };
}

tcp_counters! {
    /// Connections dropped because the accept queue of a listener was full.
    listen_overflows = ext "ListenOverflows",
    /// Connections and SYNs dropped by a listener for any reason, `listen_overflows` included.
    listen_drops = ext "ListenDrops",
    /// How often a SYN queue was full and the SYN was answered with a cookie.
    syn_queue_full_cookies = ext "TCPReqQFullDoCookies",
    /// How often a SYN queue was full and the SYN was dropped.
    syn_queue_full_drops = ext "TCPReqQFullDrop",
    /// Retransmission timers that fired.
    timeouts = ext "TCPTimeouts",
    /// SYNs and SYN-ACKs sent again.
    syn_retrans = ext "TCPSynRetrans",
    /// Connections aborted because TCP was out of memory or had too many orphans.
    abort_on_memory = ext "TCPAbortOnMemory",
    /// Connections aborted because their data was never acknowledged.
    abort_on_timeout = ext "TCPAbortOnTimeout",
    /// How often TCP came under memory pressure (`net.ipv4.tcp_mem`).
    memory_pressures = ext "TCPMemoryPressures",
    /// Segments dropped because the socket was locked and its backlog full.
    backlog_drops = ext "TCPBacklogDrop",
    /// Segments dropped because the receive queue was full.
    receive_queue_drops = ext "TCPRcvQDrop",
    /// TIME-WAIT sockets that were dropped early (`net.ipv4.tcp_max_tw_buckets`).
    time_wait_overflows = ext "TCPTimeWaitOverflow",
    /// Segments retransmitted.
    retrans_segs = tcp "RetransSegs",
    /// Segments sent, without the retransmitted ones.
    out_segs = tcp "OutSegs",
    /// Connections opened from here.
    active_opens = tcp "ActiveOpens",
    /// Connections opened from elsewhere.
    passive_opens = tcp "PassiveOpens",
    /// Handshakes that failed.
    attempt_fails = tcp "AttemptFails",
    /// Established connections that were reset.
    established_resets = tcp "EstabResets",
}

/// The counters now.
///
/// # Errors
/// When a file cannot be read, or is not as documented.
pub fn read() -> io::Result<TcpCounters> {
    Ok(parse(&read_file("/proc/net/netstat")?, &read_file("/proc/net/snmp")?)?)
}

/// A section is a line of names and below it a line of values, both starting with `Section:`.
struct Section<'a> {
    file: &'static str,
    names: &'a str,
    values: &'a str,
}

impl<'a> Section<'a> {
    fn find(text: &'a str, file: &'static str, section: &str) -> Result<Self, ParseError> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(section)?.strip_prefix(':'));
        let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
            return Err(ParseError::new(file, format!("section {section} is missing or truncated")));
        };
        if names.split_whitespace().count() != values.split_whitespace().count() {
            return Err(ParseError::new(file, format!("section {section} has not one value per name")));
        }
        Ok(Self { file, names, values })
    }

    fn counter(&self, name: &str) -> Result<u64, ParseError> {
        let column = self.names.split_whitespace().position(|column| column == name);
        match column.and_then(|column| self.values.split_whitespace().nth(column)) {
            Some(value) => number(value, self.file, name),
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT_TEXT: &str = "\
TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts TCPAbortOnMemory TCPSynRetrans
TcpExt: 1 20 30 4 5 6
IpExt: InNoRoutes ListenDrops
IpExt: 0 999
";
    const SNMP_TEXT: &str = "\
Ip: Forwarding DefaultTTL
Ip: 2 64
Tcp: RtoAlgorithm MaxConn ActiveOpens OutSegs RetransSegs
Tcp: 1 -1 29 5448 7
";

    #[test]
    fn finds_counters_by_name_in_their_own_section() {
        let counters = parse(NETSTAT_TEXT, SNMP_TEXT).expect("real");
        let expected = TcpCounters {
            listen_overflows: 20,
            listen_drops: 30,
            timeouts: 4,
            abort_on_memory: 5,
            syn_retrans: 6,
            retrans_segs: 7,
            out_segs: 5448,
            active_opens: 29,
            ..TcpCounters::default()
        };
        assert_eq!(counters, expected);
    }

    #[test]
    fn since_subtracts_and_never_wraps() {
        let earlier = TcpCounters { listen_drops: 3, timeouts: 9, ..TcpCounters::default() };
        let later = TcpCounters { listen_drops: 10, timeouts: 1, retrans_segs: 2, ..TcpCounters::default() };
        let added = TcpCounters { listen_drops: 7, retrans_segs: 2, ..TcpCounters::default() };
        assert_eq!(later.since(&earlier), added);
    }

    #[test]
    fn refuses_damaged_files() {
        parse("", SNMP_TEXT).expect_err("no netstat");
        parse(NETSTAT_TEXT, "").expect_err("no snmp");
        parse("TcpExt: ListenDrops\n", SNMP_TEXT).expect_err("names without values");
        parse("TcpExt: ListenDrops\nTcpExt:\n", SNMP_TEXT).expect_err("too few values");
        parse("TcpExt: ListenDrops\nTcpExt: x\n", SNMP_TEXT).expect_err("not a number");
        parse("TcpExt: ListenDrops\nTcpExt: 99999999999999999999\n", SNMP_TEXT).expect_err("above u64");
    }

    #[test]
    fn this_kernel_counts() {
        read().expect("/proc/net/netstat and snmp");
    }
}
