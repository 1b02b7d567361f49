//! `latency.hlog`: the HdrHistogram interval log, version 1.3, which the Java tools read too.
//!
//! One line for each interval, population and kind that has values: tag `population.kind`, start relative to the log's start
//! time, length of the interval, its maximum, and the histogram, both in ns; in V2 with DEFLATE, base64.

pub mod read;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::record::{Kind, Recording};

/// How a log of this version begins.
const VERSION_COMMENT: &str = "#[Histogram log format version 1.3]";
/// More than the lines of an interval take: they leave with one write, so that a kill does not tear them apart.
const INTERVAL_BYTES: usize = 1024 * 1024;

/// Writes the log as the run goes: whatever ends the run, what was logged is readable.
pub struct IntervalLog {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    warmup: Duration,
    interval: Duration,
}

impl IntervalLog {
    /// Begins the log of a run whose measurement began at `started_at`, after `warmup`, and is told in intervals of this length.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(
        path: &Path,
        started_at: SystemTime,
        warmup: Duration,
        interval: Duration,
        run_id: &str,
    ) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(INTERVAL_BYTES, File::create(path)?);
        let mut serializer = V2DeflateSerializer::new();
        let mut header = IntervalLogWriterBuilder::new();
        header
            .add_comment(VERSION_COMMENT.trim_start_matches('#'))
            .add_comment(&format!(
                "[tidemark-loadgen run {run_id}: latencies in ns, tags are population.kind]"
            ))
            .with_start_time(started_at - warmup)
            .begin_log_with(&mut file, &mut serializer)?;
        file.flush()?;
        Ok(Self { file, serializer, warmup, interval })
    }

    /// Logs what was recorded of a population in an interval: 0 is the warm-up, `k` the k-th of the measurement. Its name
    /// has no comma, space or line break: names of populations are checked for that.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_interval(&mut self, index: u64, population: &str, recording: &Recording) -> io::Result<()> {
        let (start, length) = match index.checked_sub(1) {
            None => (Duration::ZERO, self.warmup),
            Some(earlier) => {
                let interval_ns = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
                let earlier = Duration::from_nanos(interval_ns.saturating_mul(earlier));
                (self.warmup.saturating_add(earlier), self.interval)
            }
        };
        for kind in Kind::ALL {
            let values = recording.histogram(kind);
            if !values.is_empty() {
                self.write(&format!("{population}.{}", kind.name()), start, length, &values)?;
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        tag: &str,
        start: Duration,
        length: Duration,
        values: &Histogram<u64>,
    ) -> io::Result<()> {
        let tag = Tag::new(tag).ok_or(io::ErrorKind::InvalidInput)?;
        // A writer without headers writes nothing but the line; keeping one would borrow from this struct itself.
        let mut writer =
            IntervalLogWriterBuilder::new().begin_log_with(&mut self.file, &mut self.serializer)?;
        writer.write_histogram(values, start, length, Some(tag)).map_err(io::Error::other)
    }

    /// Makes what was logged so far readable by others.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
