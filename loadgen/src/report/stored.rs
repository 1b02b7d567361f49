//! A run read back from its directory, complete or cut off.

use std::fs::{DirEntry, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::hlog::read::Reader;
use super::read::{self, ReadError, UNCHANGED};
use super::units::Count;
use super::{Latency, Population, Report, SCHEMA_VERSION, partial};
use crate::record::{Kind, Recording};
use crate::scenario::is_interval;

/// A day of a hundred populations has less.
const REPORT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// The interval log in the directory of a run.
pub const LOG_NAME: &str = "latency.hlog";
/// The report in the directory of a run that came to its end.
pub const REPORT_NAME: &str = "report.json";

/// A run in its directory.
#[derive(Debug)]
pub struct Stored {
    /// The directory.
    pub path: PathBuf,
    /// Its report; of a run that was cut off, as far as it came.
    pub report: Report,
    /// Of a run that was cut off: how many intervals count, the ramp among them. What the log has beyond was not whole.
    intervals: Option<u64>,
}

impl Stored {
    /// Reads the directory of a run.
    ///
    /// # Errors
    /// When it is none, or is not as it was written.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let has = |name: &str| path.join(name).exists();
        if has(REPORT_NAME) {
            let report = read_report(&path.join(REPORT_NAME))?;
            return Ok(Self { path: path.to_owned(), report, intervals: None });
        }
        if !has(partial::FILE_NAME) {
            return Err(ReadError::new(path, why_no_results(path)));
        }
        let (report, last) = partial::read(&path.join(partial::FILE_NAME))?;
        let intervals = Some(last.map_or(0, |last| last.saturating_add(1)));
        let mut stored = Self { path: path.to_owned(), report, intervals };
        let totals = stored.totals()?;
        for (population, total) in stored.report.populations.iter_mut().zip(&totals) {
            for kind in Kind::ALL {
                *population.latency_mut(kind) = Latency::from(&*total.histogram(kind));
            }
        }
        Ok(stored)
    }

    /// When the measurement began, since the epoch.
    ///
    /// # Errors
    /// When the report does not say.
    pub fn started_at(&self) -> Result<Duration, ReadError> {
        let text = &self.report.run.started_at;
        let time = humantime::parse_rfc3339(text).ok();
        let since_epoch = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let why = || format!("run.started_at is no time: {text:?}; {UNCHANGED}");
        since_epoch.ok_or_else(|| ReadError::new(&self.path, why()))
    }

    /// The length of its intervals.
    ///
    /// # Errors
    /// When the report has one that no run can have.
    pub fn interval(&self) -> Result<Duration, ReadError> {
        let seconds = self.report.run.interval_s;
        let length = Duration::try_from_secs_f64(seconds).ok().filter(|&length| is_interval(length));
        let why = || format!("run.interval_s is no interval: {seconds}; {UNCHANGED}");
        length.ok_or_else(|| ReadError::new(&self.path, why()))
    }

    /// The intervals of its log, in the order they were written.
    ///
    /// # Errors
    /// When there is no log.
    pub fn intervals(&self) -> Result<Intervals<'_>, ReadError> {
        let log = self.path.join(LOG_NAME);
        Ok(Intervals {
            of: self,
            started_at: self.started_at()?,
            length: self.interval()?,
            reader: Reader::open(&log)?,
            log,
            index: 0,
        })
    }

    /// The histograms of each population, added up over all intervals. The rest of a recording is empty.
    ///
    /// # Errors
    /// When the log is not whole: it has other counts than the report.
    pub fn totals(&self) -> Result<Vec<Recording>, ReadError> {
        let mut totals: Vec<Recording> = self.report.populations.iter().map(|_| Recording::new()).collect();
        let mut intervals = self.intervals()?;
        while let Some(interval) = intervals.next_interval()? {
            totals[interval.population].add_histogram(interval.kind, &interval.values);
        }
        for (population, total) in self.report.populations.iter().zip(&totals) {
            for kind in Kind::ALL {
                self.check_count(population, kind, total.histogram(kind).len())?;
            }
        }
        Ok(totals)
    }

    /// Whether the log has as much as the report tells of.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_count(&self, population: &Population, kind: Kind, logged: u64) -> Result<(), ReadError> {
        let told = population.latency(kind).count;
        if logged == told {
            return Ok(());
        }
        let why = format!(
            "{} values of {}.{}, where the report has {}: one of the two was cut short or changed, and cannot be made whole \
             again; leave this run out",
            Count(logged),
            population.name,
            kind.name(),
            Count(told)
        );
        Err(ReadError::new(&self.path.join(LOG_NAME), why))
    }
}

fn read_report(path: &Path) -> Result<Report, ReadError> {
    let mut text = Vec::new();
    let read =
        File::open(path).and_then(|file| BufReader::new(file).take(REPORT_BYTES_MAX).read_to_end(&mut text));
    read.map_err(|error| ReadError::new(path, format!("{error}; {UNCHANGED}")))?;
    parse(path, &text)
}

/// A report from its JSON, of the version that this program knows.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Report, ReadError> {
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: u32,
    }
    let Versioned { schema_version } = read::json(path, 1, text)?;
    if schema_version != SCHEMA_VERSION {
        let why = format!(
            "schema_version {schema_version}, where this tidemark-loadgen reads {SCHEMA_VERSION}; use the one that wrote it"
        );
        return Err(ReadError::new(path, why));
    }
    let report: Report = read::json(path, 1, text)?;
    let names = report.populations.iter().map(|population| &population.name);
    match names.clone().find(|name| !is_name(name)) {
        Some(name) => {
            Err(ReadError::new(path, format!("{name:?} cannot be the name of a population; {UNCHANGED}")))
        }
        None if names.len() == 0 => Err(ReadError::new(path, format!("a run has a population; {UNCHANGED}"))),
        None => Ok(report),
    }
}

/// Names become tags and parts of file names.
fn is_name(name: &str) -> bool {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '/' | '"');
    !name.is_empty() && !name.starts_with('.') && !name.contains(is_bad)
}

/// Says what a directory without a report is instead, and what to give.
fn why_no_results(path: &Path) -> String {
    let has = |name: &str| path.join(name).exists();
    if !path.is_dir() {
        "no such directory; give that of a run, such as results/latest".to_owned()
    } else if has("search.json") {
        "the directory of a search, which is several runs; give one of those in it".to_owned()
    } else if let Some(run) = newest_run_in(path) {
        // A run that was killed is not `latest`.
        format!("the directory of several runs; give one of those in it: the newest is {run:?}")
    } else {
        "neither report.json nor report.partial.jsonl is in it, so it is not the directory of a run, or of one that was ended \
         before it measured anything; give another, such as results/latest"
            .to_owned()
    }
}

/// The name of the last run in a directory of several; ids begin with the time.
fn newest_run_in(path: &Path) -> Option<String> {
    let entries = path.read_dir().ok()?.filter_map(Result::ok);
    let is_run = |entry: &DirEntry| {
        let dir = entry.path();
        // Links to runs, such as `latest`, are none.
        entry.file_type().is_ok_and(|kind| kind.is_dir())
            && (dir.join(REPORT_NAME).exists() || dir.join(partial::FILE_NAME).exists())
    };
    let names = entries.filter(is_run).filter_map(|entry| entry.file_name().into_string().ok());
    names.max()
}

/// What one line of the log says, in terms of the report.
#[derive(Debug)]
pub struct Interval {
    /// Which: 0 is the ramp and the warm-up, `k` the k-th of the measurement.
    pub index: u64,
    /// Whose, as an index into [`Report::populations`].
    pub population: usize,
    /// Which latency.
    pub kind: Kind,
    /// What was recorded.
    pub values: hdrhistogram::Histogram<u64>,
}

/// The intervals of a run, as far as they were whole.
pub struct Intervals<'a> {
    of: &'a Stored,
    started_at: Duration,
    length: Duration,
    reader: Reader<BufReader<File>>,
    log: PathBuf,
    /// That of the line before.
    index: u64,
}

impl Intervals<'_> {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// When the log is not as it was written. Of a run that was cut off, the last line may end in the middle.
    pub fn next_interval(&mut self) -> Result<Option<Interval>, ReadError> {
        while let Some(logged) = self.reader.next_logged()? {
            let (population, kind) = self.place(&logged.tag).ok_or_else(|| {
                self.reader.error(format!(
                    "the report has no population and kind that is called '{}'; {UNCHANGED}",
                    logged.tag
                ))
            })?;
            let index = intervals_between(self.started_at, logged.end, self.length);
            if index < self.index {
                return Err(self
                    .reader
                    .error("is of an earlier time than the line above it; leave this run out"));
            }
            self.index = index;
            if self.of.intervals.is_none_or(|whole| index < whole) {
                return Ok(Some(Interval { index, population, kind, values: logged.values }));
            }
        }
        if self.reader.is_cut && self.of.intervals.is_none() {
            let why = "ends in the middle of a line, though the run came to its end: it was cut short since; copy it anew";
            return Err(ReadError::new(&self.log, why));
        }
        Ok(None)
    }

    fn place(&self, tag: &str) -> Option<(usize, Kind)> {
        let (name, kind) = tag.rsplit_once('.')?;
        let kind = Kind::ALL.into_iter().find(|of| of.name() == kind)?;
        let population = self.of.report.populations.iter().position(|population| population.name == name)?;
        Some((population, kind))
    }
}

/// Whole intervals from one time to a later one, to the nearest; 0 when it is not later. The log's times are to the millisecond,
/// and a start's.
pub(super) fn intervals_between(from: Duration, to: Duration, length: Duration) -> u64 {
    let nearest = to.saturating_sub(from).saturating_add(length / 2);
    u64::try_from(nearest.as_nanos() / length.as_nanos().max(1)).unwrap_or(u64::MAX)
}
