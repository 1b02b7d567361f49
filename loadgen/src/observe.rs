//! What the machine did to the run: stolen CPU, dropped packets and connections, CPU used.

use serde::{Deserialize, Serialize};
use tidemark_host::proc::conntrack::{self, Conntrack};
use tidemark_host::proc::netstat::{self, TcpCounters};
use tidemark_host::proc::softnet::{self, Softnet};
use tidemark_host::proc::stat::{self, CpuTimes};
use tidemark_host::proc::{cpu_time, schedstat::Schedstat};

/// The counters of the machine at one moment. What cannot be read counts as zero: it explains nothing then, and is no
/// reason to fail a run.
#[derive(Clone, Debug)]
pub struct Reading {
    cpus: Vec<CpuTimes>,
    tcp: TcpCounters,
    softnet: Softnet,
    conntrack: Option<Conntrack>,
    cpu_ns: u64,
}

impl Reading {
    /// Reads the counters now.
    pub fn take() -> Self {
        Self {
            cpus: stat::read().unwrap_or_default(),
            tcp: netstat::read().unwrap_or_default(),
            softnet: softnet::read().unwrap_or_default(),
            conntrack: conntrack::read().ok().flatten(),
            cpu_ns: cpu_time::self_ns(),
        }
    }

    /// What happened since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Observed {
        let cpus = self.cpus.iter().zip(&earlier.cpus).map(|(now, then)| now.since(then));
        let tcp = self.tcp.since(&earlier.tcp);
        let conntrack = self.conntrack.zip(earlier.conntrack).map(|(now, then)| now.since(&then));
        Observed {
            steal_fraction: stat::sum(&cpus.collect::<Vec<_>>()).steal_fraction(),
            listen_overflows: tcp.listen_overflows,
            listen_drops: tcp.listen_drops,
            retransmits: tcp.retrans_segs,
            syn_retransmits: tcp.syn_retrans,
            softnet_dropped: self.softnet.since(&earlier.softnet).dropped,
            conntrack_dropped: conntrack
                .map_or(0, |counts| counts.drop + counts.early_drop + counts.insert_failed),
            cpu_s: (self.cpu_ns - earlier.cpu_ns) as f64 / 1e9,
        }
    }
}

/// What happened on this machine between two readings. Counters are those of the network namespace, so they speak of the
/// target only when it runs here as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Observed {
    /// The part of all CPU time that the hypervisor gave to others.
    pub steal_fraction: f64,
    /// Connections dropped because an accept queue was full.
    pub listen_overflows: u64,
    /// Connections and SYNs dropped by listeners for any reason.
    pub listen_drops: u64,
    /// TCP segments sent again.
    pub retransmits: u64,
    /// SYNs and SYN-ACKs sent again.
    pub syn_retransmits: u64,
    /// Packets dropped because a CPU's input queue was full.
    pub softnet_dropped: u64,
    /// Packets or flows that connection tracking dropped.
    pub conntrack_dropped: u64,
    /// CPU time of this process.
    pub cpu_s: f64,
}

/// Time a worker's thread was ready to run and had no CPU, as a fraction of `elapsed_ns`.
pub fn run_queue_fraction(sched: &Schedstat, elapsed_ns: u64) -> f64 {
    sched.wait_ns as f64 / elapsed_ns.max(1) as f64
}
