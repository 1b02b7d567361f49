//! What the server counts: the table of names, the shards that workers write, and the collector that sums them up.
//!
//! Each worker has a shard of its own and is its only writer, so counting is a plain load and store: no lock, no
//! locked instruction, and no cache line that two workers write. Scrapes read the shards and add them up. A scrape may
//! see one counter of a worker a moment newer than another; every counter is exact by itself and never goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::admission::RejectReason;
use crate::control::Control;
use crate::listen::PauseReason;
use crate::process::Process;

/// One row of the table of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The metric's name, with its unit last.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// How it is to be read.
    pub kind: Kind,
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

macro_rules! families {
    ($($konst:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(const $konst: Family =
            Family { name: $name, help: $help, kind: Kind::$kind, labels: &[$($label),*] };)*
        /// Every metric of the server. Dashboards and rules build on these names.
        pub const FAMILIES: &[Family] = &[$($konst),*];
    };
}

families! {
    OPEN = Gauge "tidemark_connections_open" [] "Connections that are open now.";
    ACCEPTED = Counter "tidemark_connections_accepted_total" [] "Connections that were accepted and let in.";
    CLOSED = Counter "tidemark_connections_closed_total" ["reason"] "Connections that ended, by reason.";
    REJECTED = Counter "tidemark_connections_rejected_total" ["reason"]
        "Connections that were accepted and turned away, by reason.";
    PAUSES = Counter "tidemark_accept_pauses_total" ["reason"]
        "Times that accepting was paused because the host lacked something, by reason.";
    RECEIVED = Counter "tidemark_received_bytes_total" [] "Bytes read from connections.";
    SENT = Counter "tidemark_sent_bytes_total" [] "Bytes that the kernel took for sending.";
    HTTP_REQUESTS = Counter "http_requests_total" ["status"] "HTTP requests answered, by status code.";
    TURN = Histogram "tidemark_loop_turn_seconds" []
        "Time a worker took from the return of its wait for events to the next wait.";
    READY = Gauge "tidemark_ready" [] "1 while new connections are welcome, 0 while starting or draining.";
    BUILD_INFO = Gauge "tidemark_build_info" ["version", "engine"] "Always 1; the labels tell what runs.";
    CPU = Counter "process_cpu_seconds_total" [] "User and system CPU time of the process.";
    OPEN_FDS = Gauge "process_open_fds" [] "Open descriptors of the process, summed over its descriptor tables.";
    MAX_FDS = Gauge "process_max_fds" [] "Limit on open descriptors of one descriptor table.";
    VIRTUAL = Gauge "process_virtual_memory_bytes" [] "Address space of the process.";
    RESIDENT = Gauge "process_resident_memory_bytes" [] "Memory of the process that is in RAM.";
    START_TIME = Gauge "process_start_time_seconds" [] "Start of the process, in seconds since the epoch.";
    THREADS = Gauge "process_threads" [] "Threads of the process.";
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed, and got everything that was owed to it.
    Peer,
    /// The peer reset the connection.
    Reset,
    /// Another error of the connection.
    Error,
    /// An HTTP exchange ended with `connection: close`.
    Finished,
    /// The request was malformed or beyond a limit.
    BadRequest,
    /// The server was stopped while the connection was idle.
    Drain,
    /// The drain's deadline came before the connection was finished.
    Cut,
}

impl CloseReason {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [CloseReason; 7] = [
        CloseReason::Peer,
        CloseReason::Reset,
        CloseReason::Error,
        CloseReason::Finished,
        CloseReason::BadRequest,
        CloseReason::Drain,
        CloseReason::Cut,
    ];

    /// The value of the metric's `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            CloseReason::Peer => "peer",
            CloseReason::Reset => "reset",
            CloseReason::Error => "error",
            CloseReason::Finished => "finished",
            CloseReason::BadRequest => "bad_request",
            CloseReason::Drain => "drain",
            CloseReason::Cut => "cut",
        }
    }
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`. Only the shard's own worker may call this: two writers would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        // A load and a store, where fetch_add would lock the cache line for other writers that do not exist.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// What was added up to now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the turn histogram, in nanoseconds: 10 us to 1 s in steps of about 2.
const TURN_BOUNDS_NS: [u64; 16] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
];

/// A histogram with one writer and fixed buckets.
#[derive(Debug, Default)]
pub struct TurnHistogram {
    /// Not cumulative; the last one counts what is above every bound.
    buckets: [Count; TURN_BOUNDS_NS.len() + 1],
    sum_ns: Count,
}

impl TurnHistogram {
    /// Counts one turn.
    #[inline]
    pub fn observe(&self, turn: Duration) {
        let turn_ns = u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX);
        // Nearly every turn falls in one of the first buckets, so that a walk beats a binary search.
        let bucket =
            TURN_BOUNDS_NS.iter().position(|&bound| turn_ns <= bound).unwrap_or(TURN_BOUNDS_NS.len());
        self.buckets[bucket].add(1);
        self.sum_ns.add(turn_ns);
    }
}

/// The status codes that have a series of their own. Everything else is counted under `other`.
const STATUSES: [u16; 16] = [200, 400, 404, 405, 408, 411, 413, 414, 415, 417, 426, 431, 500, 501, 503, 505];

/// The counters of one worker.
///
/// Aligned to two cache lines, because x86 fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shard {
    /// Connections let in.
    pub accepted: Count,
    /// Bytes read.
    pub received_bytes: Count,
    /// Bytes the kernel took.
    pub sent_bytes: Count,
    /// Turns of the loop.
    pub turn: TurnHistogram,
    closed: [Count; CloseReason::ALL.len()],
    rejected: [Count; RejectReason::ALL.len()],
    pauses: [Count; PauseReason::ALL.len()],
    http: [Count; STATUSES.len() + 1],
}

impl Shard {
    /// Counts a connection that ended.
    pub fn closed(&self, reason: CloseReason) {
        self.closed[reason as usize].add(1);
    }

    /// Counts a connection that was turned away.
    pub fn rejected(&self, reason: RejectReason) {
        self.rejected[reason as usize].add(1);
    }

    /// Counts a pause of accepting.
    pub fn paused(&self, reason: PauseReason) {
        self.pauses[reason as usize].add(1);
    }

    /// Counts an HTTP response.
    #[inline]
    pub fn http_response(&self, status: u16) {
        let index = STATUSES.iter().position(|&known| known == status).unwrap_or(STATUSES.len());
        self.http[index].add(1);
    }
}

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
        let descs = FAMILIES.iter().map(desc).collect::<prometheus::Result<_>>()?;
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
            sample(family, &[label], value as f64)
        });
        filled(family, series.collect())
    }

    fn connections(&self) -> Vec<proto::MetricFamily> {
        // Closed is read first, so that open cannot come out below zero: what is closed was accepted before.
        let closed: u64 =
            (0..CloseReason::ALL.len()).map(|index| self.sum(|shard| &shard.closed[index])).sum();
        let accepted = self.sum(|shard| &shard.accepted);
        let statuses: Vec<String> = STATUSES.iter().map(u16::to_string).collect();
        let statuses = statuses.iter().map(String::as_str).chain(["other"]);
        vec![
            single(&OPEN, accepted.saturating_sub(closed) as f64),
            single(&ACCEPTED, accepted as f64),
            self.by_label(&CLOSED, CloseReason::ALL.iter().map(|reason| reason.label()), |shard, i| {
                &shard.closed[i]
            }),
            self.by_label(&REJECTED, RejectReason::ALL.iter().map(|reason| reason.label()), |shard, i| {
                &shard.rejected[i]
            }),
            self.by_label(&PAUSES, PauseReason::ALL.iter().map(|reason| reason.label()), |shard, i| {
                &shard.pauses[i]
            }),
            single(&RECEIVED, self.sum(|shard| &shard.received_bytes) as f64),
            single(&SENT, self.sum(|shard| &shard.sent_bytes) as f64),
            self.by_label(&HTTP_REQUESTS, statuses, |shard, i| &shard.http[i]),
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
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        filled(&TURN, vec![metric])
    }

    fn process_state(&self) -> Vec<proto::MetricFamily> {
        let now = self.process.read();
        vec![
            single(&CPU, now.cpu_seconds),
            single(&OPEN_FDS, now.open_fds as f64),
            single(&MAX_FDS, now.max_fds as f64),
            single(&VIRTUAL, now.virtual_bytes as f64),
            single(&RESIDENT, now.resident_bytes as f64),
            single(&START_TIME, now.start_seconds),
            single(&THREADS, now.threads as f64),
        ]
    }

    fn state(&self) -> Vec<proto::MetricFamily> {
        let build = sample(&BUILD_INFO, &[env!("CARGO_PKG_VERSION"), self.engine], 1.0);
        vec![single(&READY, f64::from(u8::from(self.control.is_ready()))), filled(&BUILD_INFO, vec![build])]
    }
}

impl Collector for ServerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut families = self.connections();
        families.push(self.turns());
        families.extend(self.state());
        families.extend(self.process_state());
        families
    }
}

/// One series of `family` with its label values in the order of the table.
fn sample(family: &Family, label_values: &[&str], value: f64) -> proto::Metric {
    let labels = family.labels.iter().zip(label_values).map(|(name, value)| {
        let mut label = proto::LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    });
    let mut metric = proto::Metric::from_label(labels.collect());
    match family.kind {
        Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge | Kind::Histogram => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

fn filled(family: &Family, series: Vec<proto::Metric>) -> proto::MetricFamily {
    let mut filled = proto::MetricFamily::default();
    filled.set_name(family.name.to_owned());
    filled.set_help(family.help.to_owned());
    filled.set_field_type(match family.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    filled.set_metric(series);
    filled
}

fn single(family: &Family, value: f64) -> proto::MetricFamily {
    filled(family, vec![sample(family, &[], value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector(shards: Vec<Arc<Shard>>) -> ServerCollector {
        let control = Arc::new(Control::new(Vec::new(), Duration::ZERO));
        ServerCollector::new(shards, control, "epoll", Process::new(Vec::new())).unwrap()
    }

    fn scrape(collector: ServerCollector) -> String {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(collector)).unwrap();
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn every_row_of_the_table_is_exported_as_it_is_declared_and_nothing_else() {
        let text = scrape(collector(vec![Arc::new(Shard::default())]));
        for family in FAMILIES {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            assert!(
                text.contains(&format!("# TYPE {} {kind}\n", family.name)),
                "{} in:\n{text}",
                family.name
            );
            let series =
                text.lines().find(|line| line.starts_with(family.name)).expect("at least one series");
            for label in family.labels {
                assert!(series.contains(&format!("{label}=\"")), "{label} in {series}");
            }
        }
        assert_eq!(text.matches("# TYPE ").count(), FAMILIES.len());
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

    #[test]
    fn reasons_stand_in_the_order_of_their_discriminants() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
