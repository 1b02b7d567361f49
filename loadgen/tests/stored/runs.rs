//! Directories of runs that never were, made by the code that makes those of real ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use tidemark_loadgen::record::{Kind, Recording};
use tidemark_loadgen::report::files::RunDir;
use tidemark_loadgen::report::hlog::IntervalLog;
use tidemark_loadgen::report::stored::LOG_NAME;
use tidemark_loadgen::report::{ArrivalCounts, Latency, Population, Report, Series, SeriesRow};

pub(crate) const WARMUP: Duration = Duration::from_secs(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// When a run began, unless a test says otherwise; not on a whole second.
pub(crate) const STARTED_AT: Duration = Duration::from_millis(1_767_323_045_250);

/// One run: of each population its name and its intervals, the ramp first.
pub(crate) struct Made {
    pub(crate) started_at: Duration,
    pub(crate) interval: Duration,
    pub(crate) populations: Vec<(&'static str, Vec<Recording>)>,
}

impl Made {
    /// A run of one population with these responses in its first second; each is recorded as every kind.
    pub(crate) fn of(responses_ns: impl IntoIterator<Item = u64>) -> Self {
        let mut second = Recording::new();
        for value_ns in responses_ns {
            answer(&mut second, value_ns);
        }
        Self {
            started_at: STARTED_AT,
            interval: SECOND,
            populations: vec![("main", vec![Recording::new(), second])],
        }
    }

    pub(crate) fn later(mut self, by: Duration) -> Self {
        self.started_at += by;
        self
    }

    /// Writes its directory under `root`.
    pub(crate) fn write(&self, root: &Path) -> PathBuf {
        self.write_changed(root, |_| {})
    }

    /// The same with a report that is changed before it is written.
    pub(crate) fn write_changed(&self, root: &Path, change: impl FnOnce(&mut Report)) -> PathBuf {
        let started_at = SystemTime::UNIX_EPOCH + self.started_at;
        let dir = RunDir::create(root, started_at).unwrap();
        let mut log =
            IntervalLog::create(&dir.path.join(LOG_NAME), started_at, WARMUP, self.interval, &dir.id)
                .unwrap();
        let intervals = self.populations.iter().map(|(_, intervals)| intervals.len()).max().unwrap();
        for index in 0..intervals {
            for (name, recordings) in &self.populations {
                if let Some(recording) = recordings.get(index) {
                    log.write_interval(index as u64, name, recording).unwrap();
                }
            }
        }
        log.flush().unwrap();
        let mut report = self.report(&dir.id, intervals - 1);
        change(&mut report);
        let totals = self.totals();
        dir.finish(&report, &totals.iter().collect::<Vec<_>>()).unwrap();
        dir.path
    }

    pub(crate) fn totals(&self) -> Vec<Recording> {
        let sum = |intervals: &Vec<Recording>| {
            let mut sum = Recording::new();
            for interval in intervals {
                sum.add(interval);
            }
            sum
        };
        self.populations.iter().map(|(_, intervals)| sum(intervals)).collect()
    }

    /// What is not made from the recordings is that of a run that was once.
    fn report(&self, id: &str, measured: usize) -> Report {
        let mut report = fixture();
        let interval_s = self.interval.as_secs_f64();
        let measured_s = measured as f64 * interval_s;
        report.run.interval_s = interval_s;
        id.clone_into(&mut report.run.id);
        report.run.started_at =
            humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + self.started_at).to_string();
        (report.run.duration_s, report.run.measured_s) = (measured_s, measured_s);
        report.plan["warmup_s"] = WARMUP.as_secs_f64().into();
        let planned = report.populations[0].clone();
        let totals = self.totals();
        let populations = self.populations.iter().zip(&totals);
        report.populations =
            populations.map(|((name, _), total)| population(name, &planned, total, measured_s)).collect();
        let rows = |intervals: &[Recording]| {
            let rows = intervals.iter().enumerate().skip(1);
            rows.map(|(index, recording)| SeriesRow::new(index as f64 * interval_s, 10, recording)).collect()
        };
        let series = self.populations.iter();
        report.series = series
            .map(|(name, intervals)| Series { population: (*name).to_owned(), rows: rows(intervals) })
            .collect();
        report
    }
}

pub(crate) fn fixture() -> Report {
    serde_json::from_str(include_str!("../e2e/reports/trusted_to_p99.json")).unwrap()
}

fn population(name: &str, planned: &Population, total: &Recording, measured_s: f64) -> Population {
    let latency = |kind| Latency::from(&*total.histogram(kind));
    Population {
        name: name.to_owned(),
        arrivals: ArrivalCounts::from(&total.account),
        response: latency(Kind::Response),
        service: latency(Kind::Service),
        lag: latency(Kind::Lag),
        wait: latency(Kind::Wait),
        connect: latency(Kind::Connect),
        completed_per_s: total.account.completed as f64 / measured_s,
        ..planned.clone()
    }
}

/// Records an arrival that was answered after `value_ns`.
pub(crate) fn answer(recording: &mut Recording, value_ns: u64) {
    for kind in Kind::ALL {
        recording.record(kind, value_ns);
    }
    recording.account.scheduled += 1;
    recording.account.completed += 1;
}

/// Bucket by bucket: counts by the lowest value of their bucket.
pub(crate) fn buckets(histogram: &Histogram<u64>) -> BTreeMap<u64, u64> {
    let buckets = histogram.iter_recorded();
    buckets
        .map(|bucket| (histogram.lowest_equivalent(bucket.value_iterated_to()), bucket.count_at_value()))
        .collect()
}
