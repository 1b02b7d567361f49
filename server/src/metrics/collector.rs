//! Sums the shards up at every scrape.

use std::sync::Arc;
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto;
use tidemark_host::allocations::{self, Counted};
use tidemark_program::metrics::Family;
use tidemark_program::metrics::process::Process;

use super::host::{self, HostFigures};
use super::shard::{Count, STATUSES, Shard, TURN_BOUNDS_NS};
use super::{CloseReason, TABLES, table};
use crate::admission::RejectReason;
use crate::control::{Control, Phase};
use crate::listen::PauseReason;
use crate::timeouts::Timeout;

/// Reads the shards of all workers, and what the operating system knows of the process, at every scrape.
#[derive(Debug)]
pub struct ServerCollector {
    shards: Vec<Arc<Shard>>,
    control: Arc<Control>,
    engine: &'static str,
    process: Process,
    descs: Vec<Desc>,
}

impl ServerCollector {
    /// A collector over `shards`, one per worker.
    ///
    /// # Errors
    /// When a name or help text of the table is not valid for Prometheus, which a test excludes.
    pub fn new(
        shards: Vec<Arc<Shard>>,
        control: Arc<Control>,
        engine: &'static str,
        process: Process,
    ) -> prometheus::Result<ServerCollector> {
        let desc = |family: &Family| {
            let labels = family.labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, [].into())
        };
        let descs =
            TABLES.iter().flat_map(|table| table.rows).map(desc).collect::<prometheus::Result<_>>()?;
        Ok(ServerCollector { shards, control, engine, process, descs })
    }

    /// Sums one counter over the shards.
    fn sum(&self, count: impl Fn(&Shard) -> &Count) -> u64 {
        self.shards.iter().map(|shard| count(shard).get()).sum()
    }

    /// One series per reason (or other label value) of `labels`.
    fn by_label<'a>(
        &self,
        family: &Family,
        labels: impl Iterator<Item = &'a str>,
        count: impl Fn(&Shard, usize) -> &Count,
    ) -> proto::MetricFamily {
        let series = labels.enumerate().map(|(index, label)| {
            let value = self.sum(|shard| count(shard, index));
            family.sample(&[label], value as f64)
        });
        family.filled(series.collect())
    }

    fn connections(&self) -> Vec<proto::MetricFamily> {
        // Closed is read first, so that open cannot come out below zero: what is closed was accepted before.
        let closed: u64 =
            (0..CloseReason::ALL.len()).map(|index| self.sum(|shard| &shard.closed[index])).sum();
        let accepted = self.sum(|shard| &shard.accepted);
        let statuses: Vec<String> = STATUSES.iter().map(u16::to_string).collect();
        let statuses = statuses.iter().map(String::as_str).chain(["other"]);
        vec![
            table::OPEN.single(accepted.saturating_sub(closed) as f64),
            table::ACCEPTED.single(accepted as f64),
            self.by_label(
                &table::CLOSED,
                CloseReason::ALL.iter().map(|reason| reason.label()),
                |shard, i| &shard.closed[i],
            ),
            self.by_label(
                &table::REJECTED,
                RejectReason::ALL.iter().map(|reason| reason.label()),
                |shard, i| &shard.rejected[i],
            ),
            self.by_label(
                &table::PAUSES,
                PauseReason::ALL.iter().map(|reason| reason.label()),
                |shard, i| &shard.pauses[i],
            ),
            self.by_label(&table::TIMEOUTS, Timeout::ALL.iter().map(|kind| kind.label()), |shard, i| {
                &shard.timeouts[i]
            }),
            table::RECEIVED.single(self.sum(|shard| &shard.received_bytes) as f64),
            table::SENT.single(self.sum(|shard| &shard.sent_bytes) as f64),
            self.by_label(&table::HTTP_REQUESTS, statuses, |shard, i| &shard.http[i]),
        ]
    }

    fn turns(&self) -> proto::MetricFamily {
        let mut histogram = proto::Histogram::default();
        let mut buckets = Vec::with_capacity(TURN_BOUNDS_NS.len());
        let mut cumulative = 0;
        for (index, &bound_ns) in TURN_BOUNDS_NS.iter().enumerate() {
            cumulative += self.sum(|shard| &shard.turn.buckets[index]);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound_ns as f64 / 1e9);
            bucket.set_cumulative_count(cumulative);
            buckets.push(bucket);
        }
        cumulative += self.sum(|shard| &shard.turn.buckets[TURN_BOUNDS_NS.len()]);
        histogram.set_bucket(buckets);
        histogram.set_sample_count(cumulative);
        histogram.set_sample_sum(self.sum(|shard| &shard.turn.sum_ns) as f64 / 1e9);
        let mut metric = table::TURN.series(&[]);
        metric.set_histogram(histogram);
        table::TURN.filled(vec![metric])
    }

    fn state(&self) -> Vec<proto::MetricFamily> {
        let build = table::BUILD_INFO.sample(&[env!("CARGO_PKG_VERSION"), self.engine], 1.0);
        let now = self.control.phase(Instant::now());
        let phases = Phase::ALL
            .into_iter()
            .map(|phase| table::PHASE.sample(&[phase.label()], f64::from(u8::from(phase == now))));
        vec![
            table::READY.single(f64::from(u8::from(self.control.is_ready()))),
            table::PHASE.filled(phases.collect()),
            table::BUILD_INFO.filled(vec![build]),
        ]
    }
}

/// What was counted, where it is.
fn heap(counted: Option<Counted>) -> [proto::MetricFamily; 2] {
    [
        table::HEAP_ALLOCATIONS.optional(counted.map(|counted| counted.allocations as f64)),
        table::HEAP_BYTES.optional(counted.map(|counted| counted.live_bytes as f64)),
    ]
}

impl Collector for ServerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut families = self.connections();
        families.push(self.turns());
        families.extend(self.state());
        families.extend(heap(allocations::counted()));
        families.extend(self.process.families());
        families.extend(host::families(&HostFigures::read()));
        families
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemark_program::metrics::checks;
    use tidemark_program::metrics::process::FdTables;

    use super::*;
    use crate::drain::Times;

    fn collector(shards: Vec<Arc<Shard>>) -> ServerCollector {
        let control =
            Arc::new(Control::new(Vec::new(), Times { grace: Duration::ZERO, timeout: Duration::ZERO }));
        ServerCollector::new(shards, control, "epoll", Process::new(FdTables::Shared)).unwrap()
    }

    fn scrape(collector: ServerCollector) -> String {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(collector)).unwrap();
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn every_row_of_the_table_is_exported_as_it_is_declared_and_nothing_else() {
        let mut exported = collector(vec![Arc::new(Shard::default())]).collect();
        // What this machine does not have is shown by one that has it all.
        exported
            .retain(|family| !family.get_metric().is_empty() && !family.name().starts_with("tidemark_host_"));
        exported.extend(host::families(&host::tests::complete()));
        // What this build does not count is shown by one that does.
        exported.extend(heap(Some(Counted { allocations: 1, live_bytes: 1 })));
        assert_eq!(checks::exported(&TABLES, &exported), Vec::<String>::new());
    }

    #[test]
    fn a_scrape_of_this_machine_has_no_empty_family() {
        let text = scrape(collector(vec![Arc::new(Shard::default())]));
        let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        for (family, next) in told.iter().zip(text.split("# TYPE ").skip(1)) {
            assert!(next.lines().nth(1).is_some_and(|line| !line.starts_with('#')), "{family} is empty");
        }
        assert!(text.contains("tidemark_host_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} "), "{text}");
    }

    #[test]
    fn shards_are_added_up() {
        let shards: Vec<_> = (0..2).map(|_| Arc::new(Shard::default())).collect();
        shards[0].accepted.add(3);
        shards[1].accepted.add(4);
        shards[1].closed(CloseReason::Reset);
        shards[0].rejected(RejectReason::MaxConnections);
        shards[0].paused(PauseReason::ProcessDescriptors);
        shards[0].http_response(200);
        shards[1].http_response(200);
        shards[1].http_response(299);
        let text = scrape(collector(shards));
        for line in [
            "tidemark_connections_open 6",
            "tidemark_phase{phase=\"running\"} 1",
            "tidemark_phase{phase=\"closing\"} 0",
            "tidemark_connections_accepted_total 7",
            "tidemark_connections_closed_total{reason=\"reset\"} 1",
            "tidemark_connections_rejected_total{reason=\"max_connections\"} 1",
            "tidemark_accept_pauses_total{reason=\"emfile\"} 1",
            "http_requests_total{status=\"200\"} 2",
            "http_requests_total{status=\"other\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in:\n{text}");
        }
    }

    #[test]
    fn turns_are_counted_in_cumulative_buckets() {
        let shard = Arc::new(Shard::default());
        for turn in
            [Duration::ZERO, Duration::from_micros(10), Duration::from_micros(11), Duration::from_secs(2)]
        {
            shard.turn.observe(turn);
        }
        let text = scrape(collector(vec![shard]));
        for line in [
            "tidemark_loop_turn_seconds_bucket{le=\"0.00001\"} 2",
            "tidemark_loop_turn_seconds_bucket{le=\"0.000025\"} 3",
            "tidemark_loop_turn_seconds_bucket{le=\"1\"} 3",
            "tidemark_loop_turn_seconds_bucket{le=\"+Inf\"} 4",
            "tidemark_loop_turn_seconds_count 4",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in:\n{text}");
        }
    }
}
