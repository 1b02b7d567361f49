//! The table of names: every metric that is the load generator's own, and nothing else has their names. Dashboards, rules and the
//! page `docs/metrics.md` are held against it.

use tidemark_program::metrics::Family;

use crate::record::Kind as Latency;

tidemark_program::metrics_table! {
    "tidemark-loadgen":
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
        "Quantiles of response in the last interval; quantile 1 is the maximum. Sum and count are of the whole run.";
    SERVICE_INTERVAL = Summary "tidemark_loadgen_service_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of service in the last interval; quantile 1 is the maximum. Sum and count are of the whole run.";
    LAG_INTERVAL = Summary "tidemark_loadgen_lag_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of lag in the last interval; quantile 1 is the maximum. Sum and count are of the whole run.";
    WAIT_INTERVAL = Summary "tidemark_loadgen_wait_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of wait in the last interval; quantile 1 is the maximum. Sum and count are of the whole run.";
    CONNECT_INTERVAL = Summary "tidemark_loadgen_connect_interval_seconds" "seconds" ["population", "run"]
        "Quantiles of connect in the last interval; quantile 1 is the maximum. Sum and count are of the whole run.";
    VALID = Gauge "tidemark_loadgen_valid" "1 or 0" ["run"]
        "1 while nothing is known that makes the run invalid, 0 once it is. Final in phase done.";
    TRUSTED = Gauge "tidemark_loadgen_trusted_percentile" "percentile" ["run"]
        "The highest percentile up to which the response is the target's alone: 100 is the maximum, 0 is not even the median. Absent in a closed loop.";
    SLO_OK = Gauge "tidemark_loadgen_slo_ok" "1 or 0" ["run", "rule"]
        "1 while the run so far keeps the rule, 0 while it violates it, absent while that is not judged. Final in phase done.";
    PHASE = Gauge "tidemark_loadgen_phase" "1 or 0" ["run", "phase"]
        "1 for the phase that the run is in, 0 for the others.";
    PHASE_START = Gauge "tidemark_loadgen_phase_start_timestamp_seconds" "seconds since the epoch" ["run", "phase"]
        "When a phase began. Absent before it has.";
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
