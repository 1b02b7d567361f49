//! Adds up what the workers hand over, interval by interval, and logs each interval as soon as it is whole.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::SystemTime;

use crate::live::Live;
use crate::metrics::Watch;
use crate::plan::{EventPlan, Plan, PopulationPlan};
use crate::record::{Kind, Recording};
use crate::report::files::RunDir;
use crate::report::hlog::IntervalLog;
use crate::report::partial::{self, Progress};
use crate::report::stored::LOG_NAME;
use crate::report::{self, Latency, Report, SeriesRow};

/// Adds recordings up. Interval 0 is the ramp and the warm-up; interval `k` ends `k` times their length into the measurement.
pub struct Collector {
    populations: Vec<PopulationPlan>,
    events: Vec<EventPlan>,
    duration_s: f64,
    interval_s: f64,
    /// Intervals of the measured window.
    measured: u64,
    log: IntervalLog,
    partial: partial::Writer,
    totals: Vec<Recording>,
    rows: Vec<Vec<SeriesRow>>,
    peak_open: Vec<u64>,
    open: Vec<Arc<AtomicU64>>,
    /// Intervals that some worker has not handed over yet, by population.
    pending: BTreeMap<usize, Vec<Recording>>,
    /// Emptied sums of intervals that are over, for those to come.
    empty: Vec<Vec<Recording>>,
    /// Intervals handed over, by worker.
    handed_over: Vec<usize>,
    spares: Vec<Sender<Recording>>,
    /// Shows each interval to scrapers.
    watch: Option<Watch>,
}

impl Collector {
    /// A collector that logs to `latency.hlog` in `dir`, and keeps the report of the run so far there. `spares` takes emptied recordings back to each worker, `open` has
    /// the number of open connections of each population, `watch` shows each interval to scrapers.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn create(
        plan: &Plan,
        dir: &RunDir,
        started_at: SystemTime,
        spares: Vec<Sender<Recording>>,
        open: Vec<Arc<AtomicU64>>,
        watch: Option<Watch>,
    ) -> io::Result<Self> {
        let begun = Report::begun(plan, started_at, &dir.id, std::env::args().collect());
        Ok(Self {
            populations: plan.populations.clone(),
            events: plan.events.clone(),
            duration_s: plan.duration.as_secs_f64(),
            interval_s: plan.interval.as_secs_f64(),
            measured: plan.intervals(),
            log: IntervalLog::create(
                &dir.path.join(LOG_NAME),
                started_at,
                plan.warmup,
                plan.interval,
                &dir.id,
            )?,
            partial: partial::Writer::begin(&dir.path, &begun)?,
            totals: nothing(&plan.populations),
            rows: plan.populations.iter().map(|_| Vec::new()).collect(),
            peak_open: vec![0; plan.populations.len()],
            open,
            pending: BTreeMap::new(),
            empty: Vec::new(),
            handed_over: vec![0; plan.workers],
            spares,
            watch,
        })
    }

    /// Takes what one worker recorded in one interval, and logs the intervals that this completes.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn add(
        &mut self,
        worker: usize,
        index: usize,
        recordings: Vec<Recording>,
        live: &Live,
    ) -> io::Result<()> {
        self.handed_over[worker] = index + 1;
        let sums = self
            .pending
            .entry(index)
            .or_insert_with(|| self.empty.pop().unwrap_or_else(|| nothing(&self.populations)));
        for (sum, mut recording) in sums.iter_mut().zip(recordings) {
            sum.add(&recording);
            if index == 0 {
                // The ramp leaves traces all over it, of which the memory would stay for the whole run.
                recording = Recording::new();
            } else {
                recording.clear();
            }
            // A worker that is done needs none.
            drop(self.spares[worker].send(recording));
        }
        // A worker that ended hands over no more, and later intervals wait for `finish`.
        let complete = self.handed_over.iter().copied().min().unwrap_or(0);
        self.log_until(complete, live)
    }

    fn log_until(&mut self, end: usize, live: &Live) -> io::Result<()> {
        while let Some(entry) = self.pending.first_entry() {
            if *entry.key() >= end {
                break;
            }
            let (index, mut recordings) = entry.remove_entry();
            if index == 0 {
                self.carry_over(&mut recordings);
            }
            let mut rows = Vec::with_capacity(recordings.len());
            for (population, recording) in recordings.iter_mut().enumerate() {
                rows.push(self.log_interval(population, index, recording, live)?);
                self.totals[population].add(recording);
                if let Some(watch) = &self.watch {
                    watch.interval(population, index, recording);
                }
                recording.clear();
            }
            self.empty.push(recordings);
            // First the log: what the report of the run so far counts is there.
            self.log.flush()?;
            self.partial.add(&self.progress(index, rows))?;
            if let Some(watch) = &self.watch {
                watch.judge(index, &self.totals);
            }
        }
        Ok(())
    }

    /// A worker that is late across the beginning of the measurement has measured some of it in interval 0: that belongs to
    /// interval 1.
    fn carry_over(&mut self, ramp: &mut [Recording]) {
        if ramp.iter().all(|recording| recording.account.scheduled == 0) {
            return;
        }
        let first = self.pending.entry(1).or_insert_with(|| nothing(&self.populations));
        for (sum, recording) in first.iter_mut().zip(ramp) {
            sum.add(&recording.split_requests());
        }
    }

    fn log_interval(
        &mut self,
        population: usize,
        index: usize,
        recording: &Recording,
        live: &Live,
    ) -> io::Result<Option<SeriesRow>> {
        self.log.write_interval(index as u64, &self.populations[population].name, recording)?;
        let open = self.open[population].load(Ordering::Relaxed);
        self.peak_open[population] = self.peak_open[population].max(open);
        let is_empty = recording.account.scheduled == 0 && recording.histogram(Kind::Response).is_empty();
        if index == 0 || is_empty {
            return Ok(None);
        }
        let row = SeriesRow::new(index as f64 * self.interval_s, open, recording);
        // What still came in after the last is in the result.
        if index as u64 <= self.measured {
            live.interval(&row, self.interval_s, self.duration_s);
        }
        self.rows[population].push(row);
        Ok(Some(row))
    }

    /// Where the run stands. The latencies are in the log: of them a count is enough to tell whether the log has them all.
    fn progress(&self, index: usize, rows: Vec<Option<SeriesRow>>) -> Progress {
        let measured_s = self.duration_s.min(index as f64 * self.interval_s);
        let populations = self.populations.iter().zip(&self.totals).zip(&self.peak_open);
        let populations = populations.map(|((plan, total), &peak_open)| {
            let counted = |kind| Latency { count: total.histogram(kind).len(), ..Latency::default() };
            report::population(&self.events, plan, total, peak_open, measured_s, counted)
        });
        Progress { interval: index as u64, populations: populations.collect(), rows }
    }

    /// Logs what is left, and returns the sums, in the order of the populations.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn finish(mut self, live: &Live) -> io::Result<Vec<Sums>> {
        self.log_until(usize::MAX, live)?;
        let sums = self.totals.into_iter().zip(self.rows).zip(self.peak_open);
        Ok(sums.map(|((total, rows), peak_open)| Sums { total, rows, peak_open }).collect())
    }
}

fn nothing(populations: &[PopulationPlan]) -> Vec<Recording> {
    populations.iter().map(|_| Recording::new()).collect()
}

/// What came together of one population.
#[derive(Debug)]
pub struct Sums {
    /// All intervals added up.
    pub total: Recording,
    /// A row for each interval of the measurement.
    pub rows: Vec<SeriesRow>,
    /// The most connections open at the end of an interval.
    pub peak_open: u64,
}
