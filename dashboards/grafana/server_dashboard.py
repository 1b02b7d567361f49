"""The dashboard of a server: what it holds, what it does, and what the machine under it runs short of."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builder

from frame import RUN_URL, SERVER_URL, frame, several
from panels import Look, Query, figure, graph, heat

UID = SERVER_URL.removeprefix("/d/")

# The server is read every five seconds.
STEP = "5s"

SERVER = 'job=~"$job", instance=~"$instance"'

RESIDENT = f"process_resident_memory_bytes{{{SERVER}}}"
OPEN_FDS = f"process_open_fds{{{SERVER}}}"
MAX_FDS = f"process_max_fds{{{SERVER}}}"

TO_RUN = (("Run at this time", RUN_URL),)


def rate(metric: str, matchers: str = "") -> str:
    """A counter's growth a second."""
    return f"rate({metric}{{{SERVER}{matchers}}}[$__rate_interval])"


def own(expr: str) -> str:
    """Of figures that every process has, those of servers: with all jobs chosen, others' would be among them."""
    return f"({expr} and on (job, instance) tidemark_build_info{{{SERVER}}})"


def by(labels: str, expr: str) -> str:
    """The sum over everything but the server and `labels`."""
    return f"sum by (instance, {labels}) ({expr})"


def build() -> builder.Dashboard:
    """The whole dashboard."""
    dashboard = frame(
        UID,
        "Tidemark / Server",
        "A server: connections and why they end, time per turn, bytes, HTTP, memory per connection, and the machine's limits.",
        ("Run", RUN_URL),
        "10s",
    )
    dashboard.with_variable(
        several("job", "Job", "The scrape job of the server.", "label_values(tidemark_build_info, job)")
    ).with_variable(
        several("instance", "Instance", "The servers.", 'label_values(tidemark_build_info{job=~"$job"}, instance)')
    )
    for row in (overview, connections, work, process, tcp, cpu):
        row(dashboard)
    return dashboard


def overview(dashboard: builder.Dashboard) -> None:
    """The state of the server at a glance."""
    dashboard.with_row(builder.Row("Overview"))
    dashboard.with_panel(
        figure(
            "Ready",
            "Whether every chosen server welcomes new connections. Not ready is starting or draining.",
            "none",
            Query(f"min(tidemark_ready{{{SERVER}}})", "ready"),
            STEP,
            [(None, "red"), (1, "green")],
            {"1": ("READY", "green"), "0": ("NOT READY", "red")},
        )
    )
    dashboard.with_panel(
        figure(
            "Build",
            "The version that runs, and its engine.",
            "none",
            Query(f"count by (version, engine) (tidemark_build_info{{{SERVER}}})", "{{version}} {{engine}}"),
            STEP,
            [(None, "blue")],
            show_name=True,
        )
    )
    dashboard.with_panel(
        figure(
            "Connections",
            "Connections that are open now, over the chosen servers.",
            "short",
            Query(f"sum(tidemark_connections_open{{{SERVER}}})", "open"),
            STEP,
            [(None, "blue")],
        )
    )
    dashboard.with_panel(
        figure(
            "Memory per connection",
            "Memory of the process in RAM over its open connections. The kernel's share, which is larger, is not in it; with few "
            "connections the process's own fixed part dominates.",
            "bytes",
            Query(
                f"sum{own(RESIDENT)} / (sum(tidemark_connections_open{{{SERVER}}}) > 0)",
                "per connection",
            ),
            STEP,
            [(None, "blue")],
        )
    )
    dashboard.with_panel(
        figure(
            "Rejected",
            "Connections a second that were accepted and turned away.",
            "cps",
            Query(f"sum({rate('tidemark_connections_rejected_total')})", "rejected"),
            STEP,
            [(None, "green"), (1e-9, "red")],
        )
    )
    dashboard.with_panel(
        figure(
            "Descriptors used",
            "How full the fullest descriptor table is, of all servers. At 100 % nothing more can be opened in it.",
            "percentunit",
            Query(f"max{own(f'tidemark_fd_table_fill_ratio{{{SERVER}}}')}", "used"),
            STEP,
            [(None, "green"), (0.75, "orange"), (0.9, "red")],
        )
    )


def connections(dashboard: builder.Dashboard) -> None:
    """How many there are, and how they come and go."""
    dashboard.with_row(builder.Row("Connections"))
    dashboard.with_panel(
        graph(
            "Open connections",
            "Connections that are open now.",
            "short",
            [Query(f"tidemark_connections_open{{{SERVER}}}", "{{instance}}")],
            STEP,
            Look(links=TO_RUN),
        )
    )
    dashboard.with_panel(
        graph(
            "Accepted and closed",
            "Connections a second that were let in, and that ended, by reason. Resets and errors are the peer's or the network's; "
            "cut is a drain whose deadline came.",
            "cps",
            [
                Query(rate("tidemark_connections_accepted_total"), "accepted {{instance}}"),
                Query(by("reason", rate("tidemark_connections_closed_total")), "closed: {{reason}} {{instance}}"),
            ],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Rejected by reason",
            "Connections a second that were accepted and turned away, because a limit was reached.",
            "cps",
            [Query(by("reason", rate("tidemark_connections_rejected_total")), "{{reason}} {{instance}}")],
            STEP,
            Look(stacked=True, links=TO_RUN),
        )
    )
    dashboard.with_panel(
        graph(
            "Accept pauses by reason",
            "Times a second that accepting paused because the machine lacked descriptors or memory, or by --accept-rate.",
            "ops",
            [Query(by("reason", rate("tidemark_accept_pauses_total")), "{{reason}} {{instance}}")],
            STEP,
            Look(stacked=True),
        )
    )
    dashboard.with_panel(
        graph(
            "Timeouts by kind",
            "Peers a second that ran out of time: idle, in a request head, or taking nothing of what they are owed (write).",
            "ops",
            [Query(by("kind", rate("tidemark_timeouts_total")), "{{kind}} {{instance}}")],
            STEP,
            Look(stacked=True),
        )
    )
    dashboard.with_panel(
        graph(
            "Servers by phase",
            "Where each stands: running, grace (not ready, still accepting), closing, overdue or aborted.",
            "short",
            [Query(by("phase", f"tidemark_phase{{{SERVER}}}"), "{{phase}} {{instance}}")],
            STEP,
            Look(stacked=True),
        )
    )


def work(dashboard: builder.Dashboard) -> None:
    """What the server does with its connections."""
    dashboard.with_row(builder.Row("Work"))
    buckets = rate("tidemark_loop_turn_seconds_bucket")
    dashboard.with_panel(
        heat(
            "Turn time, every turn",
            "How many turns of the workers' loops took how long, from the end of a wait for events to the next wait. Every "
            "connection of a worker waits while a turn lasts.",
            f"sum by (le) (increase(tidemark_loop_turn_seconds_bucket{{{SERVER}}}[$__rate_interval]))",
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Turn time percentiles",
            "From the histogram, so only as exact as its buckets, which are about a factor of two wide.",
            "s",
            [
                Query(f"histogram_quantile({quantile}, {by('le', buckets)})", f"{name} {{{{instance}}}}")
                for name, quantile in (("p50", "0.5"), ("p99", "0.99"), ("p99.9", "0.999"))
            ],
            STEP,
            Look(log_scale=True),
        )
    )
    dashboard.with_panel(
        graph(
            "Turns",
            "Turns of the workers' loops a second. Few and long is a busy server, many and short an idle one that is woken often.",
            "ops",
            [Query(rate("tidemark_loop_turn_seconds_count"), "{{instance}}")],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Bytes",
            "Bytes a second that were read from connections, and that the kernel took for sending.",
            "binBps",
            [
                Query(rate("tidemark_received_bytes_total"), "received {{instance}}"),
                Query(rate("tidemark_sent_bytes_total"), "sent {{instance}}"),
            ],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "HTTP requests by status",
            "HTTP requests answered a second, by status code. 503 is shedding.",
            "reqps",
            [Query(f"{by('status', rate('http_requests_total'))} > 0", "{{status}} {{instance}}")],
            STEP,
            Look(stacked=True, links=TO_RUN),
        )
    )


def process(dashboard: builder.Dashboard) -> None:
    """What the server itself takes."""
    dashboard.with_row(builder.Row("Process"))
    dashboard.with_panel(
        graph(
            "Memory per connection",
            "Memory of the process in RAM over its open connections, without the kernel's share.",
            "bytes",
            [
                Query(f"{own(RESIDENT)} / (tidemark_connections_open{{{SERVER}}} > 0)", "{{instance}}"),
            ],
            STEP,
            Look(log_scale=True),
        )
    )
    dashboard.with_panel(
        graph(
            "Memory",
            "Memory of the process in RAM, and its address space.",
            "bytes",
            [
                Query(own(RESIDENT), "resident {{instance}}"),
                Query(own(f"process_virtual_memory_bytes{{{SERVER}}}"), "virtual {{instance}}"),
            ],
            STEP,
            Look(log_scale=True),
        )
    )
    dashboard.with_panel(
        graph(
            "CPU of the process",
            "Cores in use, user and system time together.",
            "none",
            [Query(own(rate("process_cpu_seconds_total")), "{{instance}}")],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Descriptors",
            "Open descriptors and their limit, both summed over the descriptor tables of the process.",
            "short",
            [
                Query(own(OPEN_FDS), "open {{instance}}"),
                Query(own(MAX_FDS), "limit {{instance}}"),
                Query(f"tidemark_host_nofile_limit{{{SERVER}}}", "machine's limit for a table {{instance}}"),
            ],
            STEP,
            Look(dashed=".*limit .*"),
        )
    )
    dashboard.with_panel(
        graph(
            "Threads",
            "Threads of the process: workers, and a few for administration.",
            "short",
            [Query(own(f"process_threads{{{SERVER}}}"), "{{instance}}")],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Uptime",
            "Time since the process started. A fall to zero is a restart.",
            "s",
            [Query(own(f"time() - process_start_time_seconds{{{SERVER}}}"), "{{instance}}")],
            STEP,
        )
    )


def tcp(dashboard: builder.Dashboard) -> None:
    """What the kernel does with the connections. These figures are the machine's, or its network namespace's."""
    dashboard.with_row(builder.Row("Host: network"))
    dashboard.with_panel(
        graph(
            "TCP sockets by state",
            "Sockets in use, orphaned (closed, but not yet done), in TIME-WAIT, and allocated on the machine.",
            "short",
            [Query(f"tidemark_host_tcp_sockets{{{SERVER}}}", "{{state}} {{instance}}")],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "TCP memory",
            "Memory of all TCP sockets' buffers, and where the kernel begins to drop (the last figure of net.ipv4.tcp_mem).",
            "bytes",
            [
                Query(f"tidemark_host_tcp_memory_bytes{{{SERVER}}}", "used {{instance}}"),
                Query(f"tidemark_host_tcp_memory_limit_bytes{{{SERVER}}}", "limit {{instance}}"),
            ],
            STEP,
            Look(dashed="limit .*"),
        )
    )
    dashboard.with_panel(
        graph(
            "Listen queue",
            "Handshakes a second that were dropped because a listen queue was full, or for any reason.",
            "cps",
            [
                Query(rate("tidemark_host_listen_overflows_total"), "overflows {{instance}}"),
                Query(rate("tidemark_host_listen_drops_total"), "drops {{instance}}"),
            ],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Retransmits and dropped packets",
            "Segments a second that TCP sent again, and packets that were dropped before any protocol saw them.",
            "pps",
            [
                Query(rate("tidemark_host_tcp_retransmits_total"), "retransmits {{instance}}"),
                Query(rate("tidemark_host_softnet_dropped_total"), "softnet drops {{instance}}"),
            ],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Connection tracking",
            "Entries of the conntrack table, and its size. No data where connection tracking is not loaded.",
            "short",
            [
                Query(f"tidemark_host_conntrack_entries{{{SERVER}}}", "entries {{instance}}"),
                Query(f"tidemark_host_conntrack_limit{{{SERVER}}}", "limit {{instance}}"),
            ],
            STEP,
            Look(dashed="limit .*"),
        )
    )


def cpu(dashboard: builder.Dashboard) -> None:
    """Who has the processors."""
    dashboard.with_row(builder.Row("Host: CPU"))
    metric = "tidemark_host_cpu_seconds_total"
    for title, description, query, look in (
        (
            "CPU per core",
            "Share of each core that is busy with anything. One core at 100 % and others idle is a connection hash or a pin gone wrong.",
            Query(by("cpu", rate(metric, ', mode!~"idle|iowait"')), "cpu {{cpu}} {{instance}}"),
            Look(),
        ),
        (
            "Stolen CPU per core",
            "Share of each core that the hypervisor gave to others. Latencies measured meanwhile are not the server's alone.",
            Query(by("cpu", rate(metric, ', mode="steal"')), "cpu {{cpu}} {{instance}}"),
            Look(),
        ),
        (
            "CPU by mode",
            "Cores in use, by what for. softirq is the kernel's work for the network.",
            Query(by("mode", rate(metric, ', mode!="idle"')), "{{mode}} {{instance}}"),
            Look(stacked=True),
        ),
    ):
        unit = "none" if look.stacked else "percentunit"
        dashboard.with_panel(graph(title, description, unit, [query], STEP, look))
