//! The table of names: every metric of the load generator, and nothing else has their names. Dashboards, rules and the page
//! `docs/metrics.md` are held against it.

use crate::record::Kind as Latency;

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
    /// The labels that its series carry, besides `le` of a histogram and `quantile` of a summary.
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
    /// Quantiles of the newest values, and count and sum of all.
    Summary,
}

/// The histogram and the quantiles that show a kind of latency.
pub(super) const fn of_latency(kind: Latency) -> (&'static Family, &'static Family) {
    match kind {
        Latency::Response => (&RESPONSE, &RESPONSE_INTERVAL),
        Latency::Service => (&SERVICE, &SERVICE_INTERVAL),
        Latency::Lag => (&LAG, &LAG_INTERVAL),
        Latency::Wait => (&WAIT, &WAIT_INTERVAL),
        Latency::Connect => (&CONNECT, &CONNECT_INTERVAL),
    }
}

impl Kind {
    /// The name in the text format.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
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
        /// Every metric of the load generator. Dashboards and rules build on these names.
        pub const FAMILIES: &[Family] = &[$($konst),*];
    };
}

families! {
    BUILD_INFO = Gauge "tidemark_loadgen_build_info" "1" ["version"]
        "Always 1; the label tells what runs.";
    CONNECTIONS_OPEN = Gauge "tidemark_loadgen_connections_open" "connections" ["population", "run"]
        "Connections that are open now.";
    CONNECTIONS_TARGET = Gauge "tidemark_loadgen_connections_target" "connections" ["population", "run"]
        "Connections that the plan holds open.";
    ARRIVALS = Counter "tidemark_loadgen_arrivals_total" "arrivals" ["population", "run", "outcome"]
        "Arrivals of the measured window, by outcome. At the end of a run, scheduled is the sum of all others.";
    ARRIVALS_TARGET = Gauge "tidemark_loadgen_arrivals_target_per_second" "arrivals per second" ["population", "run"]
        "Arrivals that the plan asks for. Absent in a closed loop.";
    ERRORS = Counter "tidemark_loadgen_errors_total" "errors" ["population", "run", "kind"]
        "Errors of requests and connections in all phases, by kind. A kind that has not occurred is absent.";
    RESPONSE = Histogram "tidemark_loadgen_response_seconds" "seconds" ["population", "run"]
        "Latency from the intended send time to the end of the reply: what users feel.";
    SERVICE = Histogram "tidemark_loadgen_service_seconds" "seconds" ["population", "run"]
        "Latency from the actual send time to the end of the reply: what the target did once it was asked.";
    LAG = Histogram "tidemark_loadgen_lag_seconds" "seconds" ["population", "run"]
        "Time from the intended send time until the arrival was taken up: the generator's own lateness.";
    WAIT = Histogram "tidemark_loadgen_wait_seconds" "seconds" ["population", "run"]
        "Time from the take-up of an arrival to its send time: no connection was free.";
    CONNECT = Histogram "tidemark_loadgen_connect_seconds" "seconds" ["population", "run"]
        "Time from the call of connect until the connection was established.";
    RESPONSE_INTERVAL = Summary "tidemark_loadgen_response_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of response in the last interval of a second; quantile 1 is the maximum. Sum and count are of the whole run.";
    SERVICE_INTERVAL = Summary "tidemark_loadgen_service_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of service in the last interval of a second; quantile 1 is the maximum. Sum and count are of the whole run.";
    LAG_INTERVAL = Summary "tidemark_loadgen_lag_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of lag in the last interval of a second; quantile 1 is the maximum. Sum and count are of the whole run.";
    WAIT_INTERVAL = Summary "tidemark_loadgen_wait_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of wait in the last interval of a second; quantile 1 is the maximum. Sum and count are of the whole run.";
    CONNECT_INTERVAL = Summary "tidemark_loadgen_connect_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of connect in the last interval of a second; quantile 1 is the maximum. Sum and count are of the whole run.";
    VALID = Gauge "tidemark_loadgen_valid" "1 or 0" ["run"]
        "1 while nothing is known that makes the run invalid, 0 once it is. Final in phase done.";
    TRUSTED = Gauge "tidemark_loadgen_trusted_percentile" "percentile" ["run"]
        "The highest percentile up to which the response is the target's alone: 100 is the maximum, 0 is not even the median. Absent in a closed loop.";
    PHASE = Gauge "tidemark_loadgen_phase" "1 or 0" ["run", "phase"]
        "1 for the phase that the run is in, 0 for the others.";
    PHASE_START = Gauge "tidemark_loadgen_phase_start_timestamp_seconds" "seconds since the epoch" ["run", "phase"]
        "When a phase began. Absent before it has.";
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
        let expected = section("tidemark-loadgen");
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
