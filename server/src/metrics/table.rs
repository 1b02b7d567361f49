//! The table of names: every metric of the server, and nothing else has their names. Dashboards, rules and the page
//! `docs/metrics.md` are held against it.

/// One row of the table of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The metric's name, with its unit last.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// The labels that its series carry.
    pub labels: &'static [&'static str],
}

/// A metric's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per bucket, and a sum.
    Histogram,
}

impl Kind {
    /// The name in the text format.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($konst:ident = $kind:ident $name:literal $unit:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $konst: Family = Family {
            name: $name,
            help: $help,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
        };)*
        /// Every metric of the server. Dashboards and rules build on these names.
        pub const FAMILIES: &[Family] = &[$($konst),*];
    };
}

families! {
    OPEN = Gauge "tidemark_connections_open" "connections" []
        "Connections that are open now.";
    ACCEPTED = Counter "tidemark_connections_accepted_total" "connections" []
        "Connections that were accepted and let in.";
    CLOSED = Counter "tidemark_connections_closed_total" "connections" ["reason"]
        "Connections that ended, by reason.";
    REJECTED = Counter "tidemark_connections_rejected_total" "connections" ["reason"]
        "Connections that were accepted and turned away, by reason.";
    PAUSES = Counter "tidemark_accept_pauses_total" "pauses" ["reason"]
        "Times that accepting was paused because the host lacked something, by reason.";
    RECEIVED = Counter "tidemark_received_bytes_total" "bytes" []
        "Bytes read from connections.";
    SENT = Counter "tidemark_sent_bytes_total" "bytes" []
        "Bytes that the kernel took for sending.";
    HTTP_REQUESTS = Counter "http_requests_total" "requests" ["status"]
        "HTTP requests answered, by status code.";
    TURN = Histogram "tidemark_loop_turn_seconds" "seconds" []
        "Time a worker took from the return of its wait for events to the next wait.";
    READY = Gauge "tidemark_ready" "1 or 0" []
        "1 while new connections are welcome, 0 while starting or draining.";
    BUILD_INFO = Gauge "tidemark_build_info" "1" ["version", "engine"]
        "Always 1; the labels tell what runs.";
    HOST_SOCKETS = Gauge "tidemark_host_tcp_sockets" "sockets" ["state"]
        "TCP sockets: inuse and tw (TIME-WAIT) of this network namespace, orphan and alloc of the machine.";
    HOST_TCP_MEMORY = Gauge "tidemark_host_tcp_memory_bytes" "bytes" []
        "Memory that all TCP buffers of the machine hold.";
    HOST_TCP_MEMORY_LIMIT = Gauge "tidemark_host_tcp_memory_limit_bytes" "bytes" []
        "Memory of TCP buffers above which the kernel gives no more (the last number of net.ipv4.tcp_mem).";
    HOST_LISTEN_OVERFLOWS = Counter "tidemark_host_listen_overflows_total" "connections" []
        "Connections dropped because an accept queue of this network namespace was full.";
    HOST_LISTEN_DROPS = Counter "tidemark_host_listen_drops_total" "connections" []
        "Connections and SYNs dropped by listeners of this network namespace for any reason, overflows included.";
    HOST_RETRANSMITS = Counter "tidemark_host_tcp_retransmits_total" "segments" []
        "TCP segments of this network namespace that were sent again.";
    HOST_SOFTNET_DROPPED = Counter "tidemark_host_softnet_dropped_total" "packets" []
        "Packets dropped because the input queue of a CPU was full. The kernel counts in 32 bits per CPU.";
    HOST_CONNTRACK_ENTRIES = Gauge "tidemark_host_conntrack_entries" "flows" []
        "Flows that connection tracking holds. Absent where it is not loaded.";
    HOST_CONNTRACK_LIMIT = Gauge "tidemark_host_conntrack_limit" "flows" []
        "Flows that connection tracking can hold. Absent where it is not loaded.";
    HOST_NOFILE_LIMIT = Gauge "tidemark_host_nofile_limit" "descriptors" []
        "The highest limit on open descriptors of one descriptor table that this process may set (the hard RLIMIT_NOFILE).";
    HOST_CPU = Counter "tidemark_host_cpu_seconds_total" "seconds" ["cpu", "mode"]
        "Time that each CPU of the machine spent, by mode. Steal is what the hypervisor took away.";
    CPU = Counter "process_cpu_seconds_total" "seconds" []
        "User and system CPU time of the process.";
    OPEN_FDS = Gauge "process_open_fds" "descriptors" []
        "Open descriptors of the process, summed over its descriptor tables.";
    MAX_FDS = Gauge "process_max_fds" "descriptors" []
        "Limit on open descriptors of one descriptor table.";
    VIRTUAL = Gauge "process_virtual_memory_bytes" "bytes" []
        "Address space of the process.";
    RESIDENT = Gauge "process_resident_memory_bytes" "bytes" []
        "Memory of the process that is in RAM.";
    START_TIME = Gauge "process_start_time_seconds" "seconds since the epoch" []
        "Start of the process, in seconds since the epoch.";
    THREADS = Gauge "process_threads" "threads" []
        "Threads of the process.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of the page that a program's table makes, between its two marks.
    fn section(program: &str) -> String {
        let mut lines = vec![
            format!("<!-- {program}: made from its table of names -->"),
            "| name | type | labels | unit | meaning |".to_owned(),
            "|---|---|---|---|---|".to_owned(),
        ];
        lines.extend(FAMILIES.iter().map(|family| {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let Family { name, help, kind, unit, .. } = family;
            format!("| `{name}` | {} | {} | {unit} | {help} |", kind.name(), labels.join(", "))
        }));
        lines.push(format!("<!-- end of {program} -->"));
        lines.join("\n")
    }

    #[test]
    fn the_page_has_the_table_as_it_is() {
        let page = include_str!("../../../docs/metrics.md");
        let expected = section("tidemark-server");
        assert!(page.contains(&expected), "docs/metrics.md must have this:\n{expected}\n");
    }

    #[test]
    fn no_name_is_there_twice() {
        for (index, family) in FAMILIES.iter().enumerate() {
            assert!(FAMILIES[..index].iter().all(|other| other.name != family.name), "{}", family.name);
        }
    }

    #[test]
    fn names_are_those_of_the_conventions() {
        for Family { name, help, kind, unit, .. } in FAMILIES {
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            for suffix in ["bytes", "seconds"] {
                let base = name.strip_suffix("_total").unwrap_or(name);
                assert_eq!(base.ends_with(suffix), unit.starts_with(suffix), "{name} in {unit}");
            }
            assert!(help.ends_with('.') && !unit.is_empty(), "{name}");
        }
    }
}
