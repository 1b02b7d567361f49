//! What the checks look at.

use crate::limits::{self, Nofile};
use crate::proc::conntrack::{self, Conntrack};
use crate::proc::port_ranges::PortRanges;
use crate::proc::{meminfo, sockstat, sysctl};
use crate::{cgroup, cpu, facts, fdtable};

/// Everything read from the machine. `None` is what could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// Descriptors per table.
    pub nofile: Nofile,
    /// Whether a thread can have a descriptor table of its own.
    pub can_be_private: bool,
    /// How far root may raise the limit per table.
    pub nr_open: Option<u64>,
    /// Open files that the machine allows.
    pub file_max: Option<u64>,
    /// Open files that it has.
    pub files_open: Option<u64>,
    /// First and last ephemeral port.
    pub port_range: Option<(u16, u16)>,
    /// Ports left out of that range.
    pub reserved_ports: PortRanges,
    /// Memory that can be had: of the machine, or of the container where that is less.
    pub memory_available_bytes: Option<u64>,
    /// Low, pressure and high mark of all TCP buffers together.
    pub tcp_mem_pages: Option<[u64; 3]>,
    /// What they hold now.
    pub tcp_mem_used_pages: Option<u64>,
    /// Buckets of the table in which the kernel looks up sockets; `None` where it does not tell.
    pub tcp_ehash_buckets: Option<u64>,
    /// The size of a page.
    pub page_bytes: u64,
    /// Connection tracking; `None` where it is not loaded.
    pub conntrack: Option<Conntrack>,
    /// What a listener's backlog is cut down to.
    pub somaxconn: Option<u64>,
    /// Half-open connections per listener where SYN cookies are off.
    pub tcp_max_syn_backlog: Option<u64>,
    /// SYN cookies: 0 off. `None` where the kernel is built without.
    pub tcp_syncookies: Option<u64>,
    /// CPUs that this process may use.
    pub cpus: Option<u64>,
    /// What the kernel reads the time from; empty when unknown.
    pub clocksource: String,
    /// What it could read it from.
    pub clocksources_available: Vec<String>,
}

impl Readings {
    /// Reads this machine. Never fails.
    pub fn take() -> Self {
        let machine = meminfo::read().ok().map(|memory| memory.available_bytes);
        Self {
            nofile: limits::nofile(),
            can_be_private: fdtable::can_be_private(),
            nr_open: sysctl::nr_open().ok(),
            file_max: sysctl::file_max().ok(),
            files_open: sysctl::files_open().ok(),
            port_range: sysctl::ip_local_port_range().ok(),
            reserved_ports: sysctl::ip_local_reserved_ports().unwrap_or_default(),
            memory_available_bytes: machine.into_iter().chain(cgroup::memory_headroom_bytes()).min(),
            tcp_mem_pages: sysctl::tcp_mem().ok(),
            tcp_mem_used_pages: sockstat::read().ok().map(|sockets| sockets.mem_pages),
            tcp_ehash_buckets: sysctl::tcp_ehash_buckets().ok(),
            page_bytes: sockstat::page_bytes(),
            conntrack: conntrack::read().ok().flatten(),
            somaxconn: sysctl::somaxconn().ok(),
            tcp_max_syn_backlog: sysctl::tcp_max_syn_backlog().ok(),
            tcp_syncookies: sysctl::tcp_syncookies().ok(),
            cpus: cpu::allowed().ok().map(|cpus| cpus.len() as u64),
            clocksource: facts::clocksource(),
            clocksources_available: facts::clocksources_available(),
        }
    }
}
