//! What is recorded: histograms and the account of arrivals, per worker and population.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use hdrhistogram::Histogram;

use crate::errors::ErrorKind;
use crate::handshake::Handshakes;

/// The shortest latency that is told apart.
pub const LOWEST_NS: u64 = 1;
/// The longest latency that is told apart: 60 s. What is longer is recorded as this and counted as saturated.
pub const HIGHEST_NS: u64 = 60_000_000_000;
/// Significant decimal digits that a histogram keeps: a figure read from it is within 0.1 %.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// Values of a kind that a recording keeps as they are before it enters them into its histogram. One of many workers has no more in an
/// interval, and then a quarter of a megabyte is neither touched nor read nor emptied for them.
const FRESH_MAX: usize = 512;

/// Lag below this is trusted whatever the response: it is what a wake-up costs.
pub const LAG_FLOOR_NS: u64 = 50_000;

/// The kinds of latency, in the order of every table and file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Intended send time to last byte of the reply: what users feel.
    Response,
    /// Sent to last byte of the reply: what the target did once it was asked.
    Service,
    /// Intended send time to taken up: the generator's own lateness, nothing else.
    Lag,
    /// Taken up to sent: no connection was free, or one had to be opened for a visit.
    Wait,
    /// Connection set-up: connect called to established.
    Connect,
}

impl Kind {
    /// All kinds, in display order.
    pub const ALL: [Self; 5] = [Self::Response, Self::Service, Self::Lag, Self::Wait, Self::Connect];

    /// The name in tables, files and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Service => "service",
            Self::Lag => "lag",
            Self::Wait => "wait",
            Self::Connect => "connect",
        }
    }
}

/// An empty latency histogram, in ns.
///
/// # Panics
/// Never: the bounds are constants that the crate accepts.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS).expect("constant bounds are valid")
}

/// Where arrivals whose intended time lies in the measured window ended up.
///
/// At the end of every run `scheduled` is the sum of the five outcomes; [`Account::balances`] is checked and a run whose
/// account does not balance is invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Arrivals that fell due in the measured window.
    pub scheduled: u64,
    /// Answered, correctly.
    pub completed: u64,
    /// Answered wrongly, or the connection failed under them.
    pub errored: u64,
    /// Not answered within the request timeout.
    pub timed_out: u64,
    /// Sent, and neither answered nor failed when the run ended.
    pub in_flight_at_end: u64,
    /// Never put on a connection.
    pub never_sent: u64,
}

impl Account {
    /// Whether every arrival ended in exactly one outcome.
    pub fn balances(&self) -> bool {
        self.scheduled == self.outcomes()
    }

    /// Arrivals that ended in some way.
    pub fn outcomes(&self) -> u64 {
        self.completed + self.errored + self.timed_out + self.in_flight_at_end + self.never_sent
    }

    /// Adds another worker's or interval's account.
    pub fn add(&mut self, other: &Self) {
        self.scheduled += other.scheduled;
        self.completed += other.completed;
        self.errored += other.errored;
        self.timed_out += other.timed_out;
        self.in_flight_at_end += other.in_flight_at_end;
        self.never_sent += other.never_sent;
    }
}

/// What happened to the connections of a population.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Connections established, reconnections included.
    pub opened: u64,
    /// Connections given up after their last attempt.
    pub failed: u64,
    /// Established connections that the peer or the network ended without announcing it.
    pub lost: u64,
    /// Connections that the peer closed as it had announced, or that were given up after a timeout, and opened again.
    pub renewed: u64,
    /// Connections that this end closed, because their visit was over.
    pub closed: u64,
}

impl Connections {
    /// Adds another worker's or interval's counts.
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.failed += other.failed;
        self.lost += other.lost;
        self.renewed += other.renewed;
        self.closed += other.closed;
    }
}

/// Connections that were dropped on purpose at one moment, and those of them that are open again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Dropped.
    pub dropped: u64,
    /// Open again.
    pub back: u64,
    /// How long it took the last of these.
    pub last_back_ns: u64,
}

impl Dropped {
    /// Adds another worker's or interval's counts.
    pub fn add(&mut self, other: &Self) {
        self.dropped += other.dropped;
        self.back += other.back;
        self.last_back_ns = self.last_back_ns.max(other.last_back_ns);
    }
}

/// Everything one worker records of one population in one interval.
///
/// A recording is owned by one thread at a time: the worker fills it, hands it over at the end of the interval in
/// exchange for an empty one, and the collector adds it up. So recording takes no lock.
#[derive(Clone, Debug)]
pub struct Recording {
    /// None of a kind of which there has been nothing, or little.
    histograms: [Option<Histogram<u64>>; Kind::ALL.len()],
    /// What is not in the histograms yet.
    fresh: [Vec<u64>; Kind::ALL.len()],
    /// Values beyond [`HIGHEST_NS`], recorded as that.
    pub saturated: u64,
    /// Where the arrivals ended up.
    pub account: Account,
    /// Arrivals in the measured window that were taken up before it ended.
    pub taken_up_in_time: u64,
    /// Of the scheduled requests those that no schedule has: the second and further ones of a visit, each intended when the reply
    /// before it came.
    pub follow_ups: u64,
    /// Visits of the measured window whose first request failed, or whose connection could not be opened.
    pub visits_failed: u64,
    /// Visits of the measured window that the target ended before their last request.
    pub visits_cut_short: u64,
    /// Replies that came within the measured window, whenever they were asked for: the throughput.
    pub completed_in_window: u64,
    /// Connection events.
    pub connections: Connections,
    /// Connections dropped on purpose, by the number of the plan's event.
    pub drops: BTreeMap<usize, Dropped>,
    /// How they came about, in all phases.
    pub handshakes: Handshakes,
    /// Why requests of the measured window failed.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Why connections could not be opened or were lost, in all phases.
    pub connection_errors: BTreeMap<ErrorKind, u64>,
    /// Bytes of requests that left, all phases.
    pub sent_bytes: u64,
    /// Bytes of replies that came, all phases.
    pub received_bytes: u64,
    /// Samples of the gaps between arrivals as they were taken up, ns: one of each worker, handed over at its end.
    pub gaps_by_worker_ns: Vec<Vec<u64>>,
}

impl Default for Recording {
    fn default() -> Self {
        Self::new()
    }
}

impl Recording {
    /// An empty recording.
    pub fn new() -> Self {
        Self {
            histograms: [const { None }; Kind::ALL.len()],
            // The place for all of them: recording allocates nothing but, once, a histogram.
            fresh: std::array::from_fn(|_| Vec::with_capacity(FRESH_MAX)),
            saturated: 0,
            account: Account::default(),
            taken_up_in_time: 0,
            follow_ups: 0,
            visits_failed: 0,
            visits_cut_short: 0,
            completed_in_window: 0,
            connections: Connections::default(),
            drops: BTreeMap::new(),
            handshakes: Handshakes::new(),
            errors: BTreeMap::new(),
            connection_errors: BTreeMap::new(),
            sent_bytes: 0,
            received_bytes: 0,
            gaps_by_worker_ns: Vec::new(),
        }
    }

    /// Records one latency, in ns.
    pub fn record(&mut self, kind: Kind, value_ns: u64) {
        if value_ns > HIGHEST_NS {
            self.saturated += 1;
        }
        let fresh = &mut self.fresh[kind as usize];
        fresh.push(value_ns);
        if fresh.len() >= FRESH_MAX {
            enter(self.histograms[kind as usize].get_or_insert_with(latency_histogram), fresh);
            fresh.clear();
        }
    }

    /// Counts one failed request.
    pub fn error(&mut self, kind: ErrorKind) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// Counts one connection that failed or was lost.
    pub fn connection_error(&mut self, kind: ErrorKind) {
        *self.connection_errors.entry(kind).or_default() += 1;
    }

    /// The scheduled requests that a schedule has.
    pub fn of_schedule(&self) -> u64 {
        self.account.scheduled.saturating_sub(self.follow_ups)
    }

    /// The histogram of one kind: a copy where not everything has been entered into it, as in what a worker records.
    pub fn histogram(&self, kind: Kind) -> Cow<'_, Histogram<u64>> {
        static NOTHING: OnceLock<Histogram<u64>> = OnceLock::new();
        let (histogram, fresh) = (&self.histograms[kind as usize], &self.fresh[kind as usize]);
        if fresh.is_empty() {
            return Cow::Borrowed(
                histogram.as_ref().unwrap_or_else(|| NOTHING.get_or_init(latency_histogram)),
            );
        }
        let mut whole = histogram.clone().unwrap_or_else(latency_histogram);
        enter(&mut whole, fresh);
        Cow::Owned(whole)
    }

    /// Adds a histogram of one kind, bucket by bucket.
    ///
    /// # Panics
    /// When it has other bounds than [`latency_histogram`].
    pub fn add_histogram(&mut self, kind: Kind, values: &Histogram<u64>) {
        let histogram = self.histograms[kind as usize].get_or_insert_with(latency_histogram);
        histogram.add(values).expect("the histogram has the bounds of a recording");
    }

    /// Adds another recording. Counts are added bucket by bucket, so nothing is lost. What is added is entered into the histograms.
    ///
    /// # Panics
    /// Never: all recordings have the same bounds.
    pub fn add(&mut self, other: &Self) {
        for kind in Kind::ALL {
            // An empty histogram is common (`wait`, `connect`) and its scan is not free.
            if let Some(theirs) = other.histograms[kind as usize].as_ref().filter(|theirs| !theirs.is_empty())
            {
                self.add_histogram(kind, theirs);
            }
            let fresh = &other.fresh[kind as usize];
            if !fresh.is_empty() {
                enter(self.histograms[kind as usize].get_or_insert_with(latency_histogram), fresh);
            }
        }
        self.saturated += other.saturated;
        self.account.add(&other.account);
        self.taken_up_in_time += other.taken_up_in_time;
        self.follow_ups += other.follow_ups;
        self.visits_failed += other.visits_failed;
        self.visits_cut_short += other.visits_cut_short;
        self.completed_in_window += other.completed_in_window;
        self.connections.add(&other.connections);
        for (&event, dropped) in &other.drops {
            self.drops.entry(event).or_default().add(dropped);
        }
        self.handshakes.add(&other.handshakes);
        add_errors(&mut self.errors, &other.errors);
        add_errors(&mut self.connection_errors, &other.connection_errors);
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.gaps_by_worker_ns.extend_from_slice(&other.gaps_by_worker_ns);
    }

    /// Takes out what was measured of requests, and leaves what is told of connections.
    #[must_use]
    pub fn split_requests(&mut self) -> Self {
        let mut requests = Self::new();
        for kind in [Kind::Response, Kind::Service, Kind::Lag, Kind::Wait] {
            std::mem::swap(&mut self.histograms[kind as usize], &mut requests.histograms[kind as usize]);
            std::mem::swap(&mut self.fresh[kind as usize], &mut requests.fresh[kind as usize]);
        }
        requests.saturated = std::mem::take(&mut self.saturated);
        requests.errors = std::mem::take(&mut self.errors);
        requests.account = std::mem::take(&mut self.account);
        requests.taken_up_in_time = std::mem::take(&mut self.taken_up_in_time);
        requests.follow_ups = std::mem::take(&mut self.follow_ups);
        requests.visits_failed = std::mem::take(&mut self.visits_failed);
        requests.visits_cut_short = std::mem::take(&mut self.visits_cut_short);
        requests.completed_in_window = std::mem::take(&mut self.completed_in_window);
        requests.gaps_by_worker_ns = std::mem::take(&mut self.gaps_by_worker_ns);
        requests
    }

    /// Empties it for the next interval, keeping its memory.
    pub fn clear(&mut self) {
        for histogram in self.histograms.iter_mut().flatten() {
            if !histogram.is_empty() {
                histogram.reset();
            }
        }
        self.fresh.iter_mut().for_each(Vec::clear);
        self.saturated = 0;
        self.account = Account::default();
        self.taken_up_in_time = 0;
        self.follow_ups = 0;
        self.visits_failed = 0;
        self.visits_cut_short = 0;
        self.completed_in_window = 0;
        self.connections = Connections::default();
        self.drops.clear();
        self.handshakes.clear();
        self.errors.clear();
        self.connection_errors.clear();
        self.sent_bytes = 0;
        self.received_bytes = 0;
        self.gaps_by_worker_ns.clear();
    }
}

fn enter(histogram: &mut Histogram<u64>, values: &[u64]) {
    for &value_ns in values {
        histogram.saturating_record(value_ns);
    }
}

/// Adds errors up, kind by kind.
pub fn add_errors(sum: &mut BTreeMap<ErrorKind, u64>, more: &BTreeMap<ErrorKind, u64>) {
    for (kind, count) in more {
        *sum.entry(*kind).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_beyond_the_range_is_kept_and_counted() {
        let mut recording = Recording::new();
        recording.record(Kind::Response, HIGHEST_NS + 1);
        assert_eq!(recording.saturated, 1);
        assert_eq!(recording.histogram(Kind::Response).len(), 1);
    }

    #[test]
    fn clearing_leaves_nothing_behind() {
        let mut recording = Recording::new();
        recording.record(Kind::Lag, 10);
        recording.error(ErrorKind::Reset);
        recording.account.scheduled = 3;
        recording.connections.opened = 4;
        recording.clear();
        assert!(Kind::ALL.iter().all(|&kind| recording.histogram(kind).is_empty()));
        assert!(recording.errors.is_empty());
        assert_eq!(recording.account, Account::default());
        assert_eq!(recording.connections, Connections::default());
    }

    proptest! {
        #[test]
        fn merging_equals_recording_into_one(values in prop::collection::vec(1u64..HIGHEST_NS, 0..3 * FRESH_MAX), split in 0..3 * FRESH_MAX) {
            let split = split.min(values.len());
            let mut whole = Recording::new();
            let (mut left, mut right) = (Recording::new(), Recording::new());
            for (index, &value) in values.iter().enumerate() {
                whole.record(Kind::Service, value);
                if index < split { left.record(Kind::Service, value) } else { right.record(Kind::Service, value) }
            }
            left.add(&right);
            prop_assert_eq!(left.histogram(Kind::Service), whole.histogram(Kind::Service));
            prop_assert_eq!(left.histogram(Kind::Service).len(), values.len() as u64);
            // What is added up has nothing that would have to be copied.
            let mut sum = Recording::new();
            sum.add(&left);
            prop_assert!(matches!(sum.histogram(Kind::Service), Cow::Borrowed(_)));
            prop_assert_eq!(sum.histogram(Kind::Service), whole.histogram(Kind::Service));
        }
    }
}
