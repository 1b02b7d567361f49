//! `report.partial.jsonl`: the report of a run that is not over, so that one that is killed leaves more than its interval log.
//!
//! The first line is a [`Report`] from before the measurement; then comes a [`Progress`] after each interval. Latencies are in
//! `latency.hlog` alone, and only counted here. The file goes when `report.json` has come.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::read::{self, Line, Lines, ReadError, UNCHANGED};
use super::{Population, Report, Series, SeriesRow};
use crate::report::units::Count;
use crate::verdict::{Ended, Finding};

/// Its name in the directory of the run.
pub const FILE_NAME: &str = "report.partial.jsonl";
/// Far more than a line takes with a hundred populations.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where a run stood at the end of an interval.
#[derive(Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Which interval: 0 is the ramp and the warm-up, `k` the k-th of the measurement.
    pub interval: u64,
    /// What has been counted so far.
    pub populations: Vec<Population>,
    /// The row of each population, where something happened in this interval.
    pub rows: Vec<Option<SeriesRow>>,
}

/// Writes the file as the run goes.
#[derive(Debug)]
pub struct Writer {
    file: File,
}

impl Writer {
    /// Begins it with what is known before the measurement.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(dir: &Path, begun: &Report) -> io::Result<Self> {
        let mut writer = Self { file: File::create(dir.join(FILE_NAME))? };
        writer.line(begun)?;
        Ok(writer)
    }

    /// Adds an interval, whose latencies others can read in the interval log by now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, progress: &Progress) -> io::Result<()> {
        self.line(progress)
    }

    fn line(&mut self, content: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(content)?;
        line.push(b'\n');
        // In one write, so that a kill leaves whole lines.
        self.file.write_all(&line)
    }
}

/// What is known of a run that was cut off, and up to the end of which interval, if one was whole. Latencies have no more than
/// their count.
///
/// # Errors
/// When the file cannot be read, or is not as it was written.
pub fn read(path: &Path) -> Result<(Report, Option<u64>), ReadError> {
    let mut lines = Lines::open(path, LINE_BYTES_MAX)?;
    let Some(Line::Whole(first)) = lines.next_line()? else {
        let why = "the run was ended before it began to measure: there is nothing to report";
        return Err(ReadError::new(path, why));
    };
    let mut report = super::stored::parse(path, first)?;
    let mut interval = None;
    let mut number = 1;
    while let Some(Line::Whole(line)) = lines.next_line()? {
        number += 1;
        let progress: Progress = read::json(path, number, line)?;
        interval = Some(progress.interval);
        take_over(&mut report, progress).map_err(|why| lines.error(why))?;
    }
    report.run.measured_s = report.run.duration_s.min(interval.unwrap_or(0) as f64 * report.run.interval_s);
    cut_off(&mut report);
    Ok((report, interval))
}

fn take_over(report: &mut Report, progress: Progress) -> Result<(), String> {
    let names = |populations: &[Population]| populations.iter().map(|of| of.name.clone()).collect::<Vec<_>>();
    if names(&report.populations) != names(&progress.populations)
        || progress.rows.len() != report.series.len()
    {
        return Err(format!("other populations than in line 1; {UNCHANGED}"));
    }
    report.populations = progress.populations;
    for (Series { rows, .. }, row) in report.series.iter_mut().zip(progress.rows) {
        rows.extend(row);
    }
    Ok(())
}

/// Closes the accounts, and gives the verdict on a run that did not come to its end.
fn cut_off(report: &mut Report) {
    let mut open = 0_u64;
    for arrivals in report.populations.iter_mut().map(|population| &mut population.arrivals) {
        let done = [arrivals.completed, arrivals.errored, arrivals.timed_out, arrivals.never_sent];
        let done = done.into_iter().fold(0, u64::saturating_add);
        arrivals.in_flight_at_end = arrivals.scheduled.saturating_sub(done);
        open = open.saturating_add(arrivals.in_flight_at_end);
    }
    report.run.ended = Ended::CutOff;
    let (measured_s, duration_s) = (report.run.measured_s, report.run.duration_s);
    let text = format!(
        "the run was cut off after {} s of {duration_s} s: it was killed, or it crashed; {} requests were \
         unanswered then and are in no latency",
        (measured_s * 1e3).round() / 1e3,
        Count(open)
    );
    report.verdict.valid = false;
    report.verdict.trusted_to = None;
    report.verdict.trust_ends_because = None;
    report.verdict.warnings.clear();
    report.verdict.reasons =
        vec![Finding { check: "ended".to_owned(), figure: measured_s, limit: duration_s, text }];
    for judgement in &mut report.slo {
        judgement.actual = None;
    }
}
