//! What of a wanted run this host allows. Pure.

use std::io;

use tidemark_host::cpu::CpuSet;
use tidemark_host::proc::meminfo;
use tidemark_host::{cgroup, cpu, fdtable, limits};

/// Descriptors of a table that are not for connections, with room for what either program opens besides.
const FDS_RESERVED: u64 = 256;

/// What a loopback connection may take of the machine: two sockets in the kernel (about 5 KiB), buffers of both while
/// an exchange is under way, and the state of both programs.
const BYTES_PER_CONNECTION: u64 = 16 * 1024;

/// The part of the free memory that a run may take.
const MEMORY_PARTS: u64 = 2;

/// The rate is cut to this part when both ends have to share one CPU: it then does more than twice the work, switches
/// between them, and the generator cannot spin.
const SHARED_CPU_PARTS: f64 = 4.0;

/// What the host allows.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// CPUs that may be used.
    pub cpus: CpuSet,
    /// Descriptors per table.
    pub nofile: u64,
    /// Whether a thread can have a descriptor table of its own.
    pub private_tables: bool,
    /// Memory to be had; `None` when unknown.
    pub memory_bytes: Option<u64>,
}

impl Allowed {
    /// This host, after the soft limit was raised.
    ///
    /// # Errors
    /// When the affinity of this thread cannot be read.
    pub fn read() -> io::Result<Self> {
        let machine = meminfo::read().ok().map(|memory| memory.available_bytes);
        Ok(Self {
            cpus: cpu::allowed()?,
            nofile: limits::nofile().soft,
            private_tables: fdtable::can_be_private(),
            memory_bytes: [machine, cgroup::memory_headroom_bytes()].into_iter().flatten().min(),
        })
    }

    /// The connections that one process holds in one descriptor table.
    pub const fn per_table(&self) -> u64 {
        self.nofile.saturating_sub(FDS_RESERVED)
    }

    /// One CPU for the server and another one for the generator, as far from each other as the numbering tells;
    /// `None` when there is only one.
    pub fn apart(&self) -> Option<Apart> {
        match self.cpus.ids() {
            [server, .., client] => Some(Apart { server: *server, client: *client }),
            _ => None,
        }
    }
}

/// A CPU for each end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    /// The server's.
    pub server: usize,
    /// The generator's.
    pub client: usize,
}

/// A run as it can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    /// Connections.
    pub connections: u64,
    /// Echoes per second.
    pub rate: f64,
    /// The CPUs; `None` when both ends share one.
    pub apart: Option<Apart>,
    /// What was scaled down: from what, to what, and why.
    pub notes: Vec<String>,
}

/// Cuts a wanted run down to what the host allows.
pub fn scale(connections: u64, rate: f64, allowed: &Allowed) -> Scaled {
    let mut scaled = Scaled { connections, rate, apart: allowed.apart(), notes: Vec::new() };
    if scaled.apart.is_none() {
        scaled.rate = rate / SHARED_CPU_PARTS;
        scaled.notes.push(format!(
            "rate: {} instead of {rate} per second, and the two programs are not pinned apart, because there is only one CPU",
            scaled.rate
        ));
    }
    if !allowed.private_tables {
        let why = format!(
            "a process may open {} files here and private descriptor tables are forbidden; raise it with ulimit -n",
            allowed.nofile
        );
        scaled.limit(allowed.per_table(), &why);
    }
    if let Some(bytes) = allowed.memory_bytes {
        let why = format!(
            "only {} MiB of memory are free and a connection may take {} KiB of both ends",
            bytes >> 20,
            BYTES_PER_CONNECTION >> 10
        );
        scaled.limit(bytes / MEMORY_PARTS / BYTES_PER_CONNECTION, &why);
    }
    scaled
}

impl Scaled {
    fn limit(&mut self, connections: u64, why: &str) {
        // A run without any connection is none; the programs then say themselves what is missing.
        let connections = connections.max(1);
        if connections < self.connections {
            self.notes
                .push(format!("connections: {connections} instead of {}, because {why}", self.connections));
            self.connections = connections;
        }
    }
}

/// The two numbers of idle connections between which memory is measured, cut down to what one table holds.
pub fn points(low: usize, high: usize, allowed: &Allowed) -> (usize, usize) {
    let most = usize::try_from(allowed.per_table()).unwrap_or(usize::MAX).max(2);
    let cut_high = high.min(most);
    // In proportion, so that the slope still spans most of the range.
    let cut_low = if cut_high < high { low * cut_high / high } else { low };
    (cut_low.min(cut_high - 1), cut_high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowed(cpus: &str) -> Allowed {
        Allowed {
            cpus: cpus.parse().unwrap(),
            nofile: 20_000,
            private_tables: true,
            memory_bytes: Some(8 << 30),
        }
    }

    #[test]
    fn a_machine_that_is_large_enough_changes_nothing() {
        let scaled = scale(10_000, 20_000.0, &allowed("0-3"));
        assert_eq!(
            scaled,
            Scaled {
                connections: 10_000,
                rate: 20_000.0,
                apart: Some(Apart { server: 0, client: 3 }),
                notes: Vec::new()
            }
        );
    }

    #[test]
    fn one_cpu_is_shared_at_a_lower_rate() {
        let scaled = scale(10_000, 20_000.0, &allowed("2"));
        assert_eq!((scaled.apart, scaled.rate), (None, 5_000.0));
        assert_eq!(
            scaled.notes,
            [
                "rate: 5000 instead of 20000 per second, and the two programs are not pinned apart, because there is only one CPU"
            ]
        );
    }

    #[test]
    fn few_descriptors_limit_only_where_tables_cannot_be_private() {
        let few = Allowed { nofile: 1024, ..allowed("0-1") };
        assert!(scale(10_000, 1.0, &few).notes.is_empty());
        let shared = Allowed { private_tables: false, ..few };
        let scaled = scale(10_000, 1.0, &shared);
        assert_eq!(scaled.connections, 768);
        assert_eq!(
            scaled.notes,
            [
                "connections: 768 instead of 10000, because a process may open 1024 files here and private descriptor tables are forbidden; raise it with ulimit -n"
            ]
        );
    }

    #[test]
    fn little_memory_limits() {
        let small = Allowed { memory_bytes: Some(64 << 20), ..allowed("0-1") };
        let scaled = scale(10_000, 1.0, &small);
        assert_eq!(scaled.connections, 2048);
        assert_eq!(
            scaled.notes,
            [
                "connections: 2048 instead of 10000, because only 64 MiB of memory are free and a connection may take 16 KiB of both ends"
            ]
        );
    }

    #[test]
    fn memory_points_shrink_together() {
        assert_eq!(points(2_000, 15_000, &allowed("0")), (2_000, 15_000));
        let few = Allowed { nofile: 1024, ..allowed("0") };
        assert_eq!(points(2_000, 15_000, &few), (102, 768));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_scaled_up_and_every_cut_is_told(
            connections in 1u64..2_000_000, rate in 1.0..1e6, nofile in 0u64..100_000, private_tables: bool,
            memory in 0u64..(64 << 30), last_cpu in 0usize..64,
        ) {
            let cpus = CpuSet::new(0..=last_cpu).unwrap();
            let allowed = Allowed { cpus, nofile, private_tables, memory_bytes: Some(memory) };
            let scaled = scale(connections, rate, &allowed);
            prop_assert!(scaled.connections >= 1 && scaled.connections <= connections && scaled.rate <= rate);
            let is_cut = scaled.connections < connections || scaled.rate < rate;
            prop_assert_eq!(is_cut, !scaled.notes.is_empty());
            prop_assert!(scaled.apart.is_none_or(|apart| apart.server != apart.client));
        }

        #[test]
        fn memory_points_are_two(low in 1usize..10_000, more in 1usize..100_000, nofile in 0u64..200_000) {
            let (cut_low, cut_high) = points(low, low + more, &Allowed { nofile, ..allowed("0") });
            prop_assert!(cut_low < cut_high && cut_high <= low + more && cut_low <= low);
        }
    }
}
