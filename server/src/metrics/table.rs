//! The table of names: every metric that is the server's own, and nothing else has their names. Dashboards, rules and the
//! page `docs/metrics.md` are held against it.

tidemark_program::metrics_table! {
    "tidemark-server":
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
    TIMEOUTS = Counter "tidemark_timeouts_total" "connections" ["kind"]
        "Peers that ran out of time: idle, in a request head, or taking nothing of what they are owed (write).";
    RECEIVED = Counter "tidemark_received_bytes_total" "bytes" []
        "Bytes read from connections.";
    SENT = Counter "tidemark_sent_bytes_total" "bytes" []
        "Bytes that the kernel took for sending.";
    HTTP_REQUESTS = Counter "http_requests_total" "requests" ["status"]
        "HTTP requests answered, by status code.";
    TURN = Histogram "tidemark_loop_turn_seconds" "seconds" []
        "Time from the return of a worker's wait for events to the next wait; with the tokio engines, of one connection's turn.";
    READY = Gauge "tidemark_ready" "1 or 0" []
        "1 while new connections are welcome, 0 while starting or draining.";
    PHASE = Gauge "tidemark_phase" "1 or 0" ["phase"]
        "1 for where the server stands: running, grace (not ready, still accepting), closing, overdue or aborted.";
    BUILD_INFO = Gauge "tidemark_build_info" "1" ["version", "engine"]
        "Always 1; the labels tell what runs.";
    HEAP_ALLOCATIONS = Counter "tidemark_heap_allocations_total" "allocations" []
        "Times that memory was asked for. Absent unless built with the feature count-allocations.";
    HEAP_BYTES = Gauge "tidemark_heap_bytes" "bytes" []
        "Memory that was asked for and not given back. Absent unless built with the feature count-allocations.";
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
}

#[cfg(test)]
mod tests {
    use tidemark_program::metrics::checks;

    use super::TABLE;

    #[test]
    fn the_table_is_as_it_should_be() {
        let page = include_str!("../../../docs/metrics.md");
        assert_eq!([checks::names(&TABLE), checks::page(&TABLE, page)].concat(), Vec::<String>::new());
    }
}
