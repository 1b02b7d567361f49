//! The validated configuration of a server, and the name and default of every limit.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use tidemark_host::cpu::CpuSet;

use crate::engine::Engine;
use crate::faults::Faults;
use crate::listen::{Listen, Proto};

/// Where raw echo is served when neither `--echo` nor `--http` is given.
pub const DEFAULT_ECHO: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7000);
/// Where HTTP is served when neither `--echo` nor `--http` is given.
pub const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// Metrics and readiness are for the operator: by default only this machine reaches them.
pub const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// Connections that wait to be accepted, per listener. The kernel's own default for `net.core.somaxconn`, to which it
/// cuts larger values down without saying so.
pub const DEFAULT_BACKLOG: u32 = 4096;
/// As long as nothing else is said, a stop takes no longer than most supervisors wait before they kill.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are what this server is made to hold.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::ZERO;
/// A head is a packet or two; whoever needs longer holds a connection on purpose.
pub const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that takes nothing for so long holds memory of ours, and has most likely gone.
pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// A drain beyond this is a mistake in the unit.
pub const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Addresses to listen on. Each worker opens every one of them.
pub const LISTENERS_MAX: usize = 256;
/// A connection table has 32-bit slots, and no machine of today holds a hundredth of them.
pub const MAX_CONNECTIONS_MAX: u64 = 1 << 30;

/// How many worker threads to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Workers {
    /// One per allowed CPU, or more when private descriptor tables need more to hold `--max-connections`.
    #[default]
    Auto,
    /// Exactly so many.
    Fixed(NonZeroUsize),
}

/// Which CPUs the workers run on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pin {
    /// The scheduler decides.
    #[default]
    Off,
    /// Each worker has one of the allowed CPUs, in turn.
    Allowed,
    /// Each worker has one of these CPUs, in turn.
    Cpus(CpuSet),
}

/// Whether workers share one descriptor table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum FdTables {
    /// One table for the process: the limit on open files is for all workers together.
    Shared,
    /// One table per worker: the limit on open files is for each worker.
    Private,
    /// Private where the kernel permits it and --max-connections fit, else shared.
    #[default]
    Auto,
}

/// `ADDR:PORT` or `ADDR:FIRST-LAST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddrRange {
    ip: IpAddr,
    first_port: u16,
    last_port: u16,
}

/// Why an address is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// Not of the form.
    #[error(
        "expected ADDR:PORT or ADDR:PORT-PORT with a literal address, such as 0.0.0.0:7000 or [::1]:7000-7015"
    )]
    Form,
    /// A range that runs backwards or begins at port 0.
    #[error("the port range must begin above 0 and not run backwards")]
    Range,
}

impl AddrRange {
    /// The addresses, one per port.
    pub fn addrs(self) -> impl Iterator<Item = SocketAddr> {
        (self.first_port..=self.last_port).map(move |port| SocketAddr::new(self.ip, port))
    }
}

impl From<SocketAddr> for AddrRange {
    fn from(addr: SocketAddr) -> AddrRange {
        AddrRange { ip: addr.ip(), first_port: addr.port(), last_port: addr.port() }
    }
}

impl FromStr for AddrRange {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<AddrRange, AddrError> {
        let (_, ports) = text.rsplit_once(':').ok_or(AddrError::Form)?;
        let Some((_, last)) = ports.split_once('-') else {
            return text.parse::<SocketAddr>().map(AddrRange::from).map_err(|_| AddrError::Form);
        };
        let first: SocketAddr = text[..text.len() - last.len() - 1].parse().map_err(|_| AddrError::Form)?;
        let last_port = last.parse().map_err(|_| AddrError::Form)?;
        if first.port() == 0 || last_port < first.port() {
            return Err(AddrError::Range);
        }
        Ok(AddrRange { ip: first.ip(), first_port: first.port(), last_port })
    }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip, self.first_port).fmt(f)?;
        if self.last_port > self.first_port { write!(f, "-{}", self.last_port) } else { Ok(()) }
    }
}

/// What a server is to do. [`Config::listens`] checks what no single field can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What runs the connections.
    pub engine: Engine,
    /// Worker threads.
    pub workers: Workers,
    /// CPUs of the workers.
    pub pin: Pin,
    /// Where raw echo is served.
    pub echo: Vec<AddrRange>,
    /// Where HTTP is served.
    pub http: Vec<AddrRange>,
    /// Where metrics, health and readiness are served.
    pub admin: SocketAddr,
    /// Connections at a time over all workers. `None`: as many as the descriptor tables hold.
    pub max_connections: Option<u64>,
    /// Connections accepted per second, over all workers. `None`: as fast as they come.
    pub accept_rate: Option<u32>,
    /// Turn connections away while less memory than this is left, in bytes; zero is never.
    pub memory_reserve: u64,
    /// Connections that wait to be accepted, per listener.
    pub backlog: u32,
    /// Descriptor tables.
    pub fd_tables: FdTables,
    /// After a stop was asked for, go on for so long without being ready.
    pub grace: Duration,
    /// After that, what is unfinished by then is cut off.
    pub drain_timeout: Duration,
    /// Close a connection on which nothing was exchanged for so long; zero is never.
    pub idle_timeout: Duration,
    /// Answer a request head that takes longer than this with 408; zero is never.
    pub head_timeout: Duration,
    /// Reset a connection whose peer takes nothing of what it is owed for so long; zero is never.
    pub write_timeout: Duration,
    /// Slow-downs on purpose; there are none but with the feature `bench-faults`.
    pub faults: Faults,
}

impl Default for Config {
    /// What `tidemark-server serve` without a flag does, except that nothing is listened on.
    fn default() -> Config {
        Config {
            engine: Engine::default(),
            workers: Workers::Auto,
            pin: Pin::Off,
            echo: Vec::new(),
            http: Vec::new(),
            admin: DEFAULT_ADMIN,
            max_connections: None,
            accept_rate: None,
            memory_reserve: 0,
            backlog: DEFAULT_BACKLOG,
            fd_tables: FdTables::Auto,
            grace: Duration::ZERO,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            head_timeout: DEFAULT_HEAD_TIMEOUT,
            write_timeout: DEFAULT_WRITE_TIMEOUT,
            faults: Faults::default(),
        }
    }
}

/// What is wrong with a configuration as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing to serve.
    #[error("nothing to serve; give at least one --echo or --http address")]
    NoListener,
    /// Too many addresses.
    #[error("{count} addresses to listen on are more than {LISTENERS_MAX}; use smaller port ranges")]
    TooManyListeners {
        /// How many were given.
        count: usize,
    },
    /// Private tables where connections move between threads.
    #[error(
        "--engine tokio-steal moves connections between threads, which --fd-tables private forbids; use --engine tokio, or \
         --fd-tables shared"
    )]
    StealsBetweenTables,
    /// One address is given twice, or a wildcard covers another one.
    #[error("{first} and {second} are the same port; give each --echo, --http and --admin a port of its own")]
    Overlap {
        /// One of the two.
        first: SocketAddr,
        /// The other.
        second: SocketAddr,
    },
}

impl Config {
    /// Every address to listen on, echo first; none is enough when `inherited` sockets listen already.
    ///
    /// # Errors
    /// When there is none, there are too many, or two of them (the admin address included) are the same port: workers
    /// share ports with `SO_REUSEPORT`, so the kernel would not object and mix the two up.
    pub fn listens(&self, inherited: usize) -> Result<Vec<Listen>, ConfigError> {
        if self.fd_tables == FdTables::Private && !self.engine.keeps_to_a_thread() {
            return Err(ConfigError::StealsBetweenTables);
        }
        let of = |proto, ranges: &[AddrRange]| -> Vec<Listen> {
            ranges.iter().flat_map(|range| range.addrs()).map(|addr| Listen { proto, addr }).collect()
        };
        let mut listens = of(Proto::Echo, &self.echo);
        listens.extend(of(Proto::Http, &self.http));
        match listens.len() {
            0 if inherited == 0 => return Err(ConfigError::NoListener),
            count if count > LISTENERS_MAX => return Err(ConfigError::TooManyListeners { count }),
            _ => {}
        }
        let addrs: Vec<SocketAddr> = listens.iter().map(|listen| listen.addr).chain([self.admin]).collect();
        for (index, &second) in addrs.iter().enumerate() {
            if let Some(&first) = addrs[..index].iter().find(|&&first| overlaps(first, second)) {
                return Err(ConfigError::Overlap { first, second });
            }
        }
        Ok(listens)
    }
}

fn overlaps(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip()
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && a.port() != 0 && same_ip
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Result<AddrRange, AddrError> {
        text.parse()
    }

    #[test]
    fn a_range_is_one_address_per_port() {
        let addrs: Vec<_> =
            range("127.0.0.1:7000-7002").unwrap().addrs().map(|addr| addr.to_string()).collect();
        assert_eq!(addrs, ["127.0.0.1:7000", "127.0.0.1:7001", "127.0.0.1:7002"]);
        assert_eq!(range("[::1]:0").unwrap().addrs().count(), 1);
        assert_eq!(range("[::]:65535-65535").unwrap().addrs().count(), 1);
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            ":",
            "7000",
            "localhost:7000",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "::1:x",
            "1.1.1.1:1-x",
        ] {
            assert_eq!(range(text), Err(AddrError::Form), "{text}");
        }
        for text in ["127.0.0.1:0-5", "127.0.0.1:9-8"] {
            assert_eq!(range(text), Err(AddrError::Range), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_range_reads_back_as_it_is_written(ip: [u8; 4], a in 1_u16.., b in 1_u16..) {
            let range = AddrRange { ip: IpAddr::from(ip), first_port: a.min(b), last_port: a.max(b) };
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:.\\[\\]é-]{0,24}") {
            let _ = range(&text);
        }
    }

    fn config(echo: &[&str], http: &[&str]) -> Config {
        let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Config { echo: ranges(echo), http: ranges(http), ..Config::default() }
    }

    #[test]
    fn two_on_one_port_are_refused() {
        for (echo, http) in [
            (&["127.0.0.1:7000"][..], &["127.0.0.1:7000"][..]),
            (&["127.0.0.1:7000", "0.0.0.0:7000"], &[]),
            (&["127.0.0.1:7000-7005"], &["0.0.0.0:7005"]),
            (&["127.0.0.1:9464"], &[]),
        ] {
            assert!(
                matches!(config(echo, http).listens(0), Err(ConfigError::Overlap { .. })),
                "{echo:?} {http:?}"
            );
        }
        let apart =
            config(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:7000"], &["127.0.0.1:7000", "[::]:7000"]);
        assert_eq!(apart.listens(0).unwrap().len(), 5);
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert_eq!(Config::default().listens(0), Err(ConfigError::NoListener));
        let wide = config(&["127.0.0.1:1-257"], &[]);
        assert_eq!(wide.listens(0), Err(ConfigError::TooManyListeners { count: 257 }));
    }
}
