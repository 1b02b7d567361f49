//! What the machine does with sockets, memory and CPUs, read on a scrape.

use prometheus::proto;
use tidemark_host::limits;
use tidemark_host::proc::conntrack::{self, Conntrack};
use tidemark_host::proc::netstat::{self, TcpCounters};
use tidemark_host::proc::sockstat::{self, Sockstat, page_bytes};
use tidemark_host::proc::softnet::{self, Softnet};
use tidemark_host::proc::stat::{self, CpuTimes, ticks_per_second};
use tidemark_host::proc::sysctl;

use super::table;

/// The machine at one moment. What cannot be read is `None`, or not in the list.
#[derive(Clone, Debug, Default)]
pub(super) struct HostFigures {
    sockets: Option<Sockstat>,
    tcp_mem_limit_pages: Option<u64>,
    tcp: Option<TcpCounters>,
    softnet: Option<Softnet>,
    conntrack: Option<Conntrack>,
    nofile_limit: u64,
    cpus: Vec<CpuTimes>,
}

impl HostFigures {
    /// The figures now.
    pub(super) fn read() -> HostFigures {
        HostFigures {
            sockets: sockstat::read().ok(),
            tcp_mem_limit_pages: sysctl::tcp_mem().ok().map(|[_, _, high]| high),
            tcp: netstat::read().ok(),
            softnet: softnet::read().ok(),
            conntrack: conntrack::read().ok().flatten(),
            nofile_limit: limits::nofile().hard,
            cpus: stat::read().unwrap_or_default(),
        }
    }
}

/// The `tidemark_host_*` families.
pub(super) fn families(figures: &HostFigures) -> Vec<proto::MetricFamily> {
    let HostFigures { sockets, tcp_mem_limit_pages, tcp, softnet, conntrack, nofile_limit, cpus } = figures;
    let limit_bytes = tcp_mem_limit_pages.map(|pages| pages as f64 * page_bytes() as f64);
    let of_tcp = |field: fn(&TcpCounters) -> u64| tcp.as_ref().map(|tcp| field(tcp) as f64);
    vec![
        socket_states(sockets.as_ref()),
        table::HOST_TCP_MEMORY.optional(sockets.map(|sockets| sockets.mem_bytes() as f64)),
        table::HOST_TCP_MEMORY_LIMIT.optional(limit_bytes),
        table::HOST_LISTEN_OVERFLOWS.optional(of_tcp(|tcp| tcp.listen_overflows)),
        table::HOST_LISTEN_DROPS.optional(of_tcp(|tcp| tcp.listen_drops)),
        table::HOST_RETRANSMITS.optional(of_tcp(|tcp| tcp.retrans_segs)),
        table::HOST_SOFTNET_DROPPED.optional(softnet.map(|softnet| softnet.dropped as f64)),
        table::HOST_CONNTRACK_ENTRIES.optional(conntrack.map(|conntrack| conntrack.count as f64)),
        table::HOST_CONNTRACK_LIMIT.optional(conntrack.map(|conntrack| conntrack.max as f64)),
        table::HOST_NOFILE_LIMIT.single(*nofile_limit as f64),
        cpu_times(cpus),
    ]
}

fn socket_states(sockets: Option<&Sockstat>) -> proto::MetricFamily {
    let family = &table::HOST_SOCKETS;
    let states = sockets.map(|sockets| {
        [("inuse", sockets.inuse), ("orphan", sockets.orphan), ("tw", sockets.tw), ("alloc", sockets.alloc)]
    });
    let series = states.into_iter().flatten().map(|(state, count)| family.sample(&[state], count as f64));
    family.filled(series.collect())
}

fn cpu_times(cpus: &[CpuTimes]) -> proto::MetricFamily {
    let family = &table::HOST_CPU;
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second().max(1) as f64;
    let series = cpus.iter().flat_map(|times| {
        let cpu = times.cpu.to_string();
        let modes = [
            ("user", times.user),
            ("nice", times.nice),
            ("system", times.system),
            ("idle", times.idle),
            ("iowait", times.iowait),
            ("irq", times.irq),
            ("softirq", times.softirq),
            ("steal", times.steal),
        ];
        modes.map(|(mode, ticks)| family.sample(&[&cpu, mode], seconds(ticks)))
    });
    family.filled(series.collect())
}

#[cfg(test)]
pub(super) mod tests {
    use prometheus::{TEXT_FORMAT, TextEncoder};

    use super::*;

    /// A machine on which everything can be read.
    pub(in super::super) fn complete() -> HostFigures {
        HostFigures {
            sockets: Some(Sockstat { inuse: 1, orphan: 2, tw: 3, alloc: 4, mem_pages: 5 }),
            tcp_mem_limit_pages: Some(6),
            tcp: Some(TcpCounters {
                listen_overflows: 7,
                listen_drops: 8,
                retrans_segs: 9,
                ..Default::default()
            }),
            softnet: Some(Softnet { dropped: 10, ..Default::default() }),
            conntrack: Some(Conntrack { count: 11, max: 12, ..Default::default() }),
            nofile_limit: 13,
            cpus: vec![CpuTimes { cpu: 1, steal: 14 * ticks_per_second(), ..Default::default() }],
        }
    }

    #[test]
    fn each_figure_has_its_own_name() {
        let text = TextEncoder::new().encode_to_string(&families(&complete())).expect(TEXT_FORMAT);
        let page = page_bytes();
        for line in [
            "tidemark_host_tcp_sockets{state=\"inuse\"} 1",
            "tidemark_host_tcp_sockets{state=\"orphan\"} 2",
            "tidemark_host_tcp_sockets{state=\"tw\"} 3",
            "tidemark_host_tcp_sockets{state=\"alloc\"} 4",
            &format!("tidemark_host_tcp_memory_bytes {}", 5 * page),
            &format!("tidemark_host_tcp_memory_limit_bytes {}", 6 * page),
            "tidemark_host_listen_overflows_total 7",
            "tidemark_host_listen_drops_total 8",
            "tidemark_host_tcp_retransmits_total 9",
            "tidemark_host_softnet_dropped_total 10",
            "tidemark_host_conntrack_entries 11",
            "tidemark_host_conntrack_limit 12",
            "tidemark_host_nofile_limit 13",
            "tidemark_host_cpu_seconds_total{cpu=\"1\",mode=\"user\"} 0",
            "tidemark_host_cpu_seconds_total{cpu=\"1\",mode=\"steal\"} 14",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in:\n{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_absent_and_not_zero() {
        let figures = HostFigures { nofile_limit: 13, ..HostFigures::default() };
        let told = families(&figures);
        let told: Vec<_> = told.iter().filter(|family| !family.get_metric().is_empty()).collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].name(), "tidemark_host_nofile_limit");
    }
}
