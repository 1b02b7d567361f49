//! `latency.hlog`: the HdrHistogram interval log, version 1.3, which the Java tools read too.
//!
//! One line for each second, population and kind that has values: tag `population.kind`, start relative to the log's start
//! time, length of the interval, its maximum, and the histogram, both in ns; in V2 with DEFLATE, base64.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

/// Writes the log as the run goes: whatever ends the run, what was logged is readable.
pub struct IntervalLog {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
}

impl IntervalLog {
    /// Begins a log. Starts of intervals are relative to `started_at`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, started_at: SystemTime, run_id: &str) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut serializer = V2DeflateSerializer::new();
        let mut header = IntervalLogWriterBuilder::new();
        header
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(&format!(
                "[tidemark-loadgen run {run_id}: latencies in ns, tags are population.kind]"
            ))
            .with_start_time(started_at)
            .begin_log_with(&mut file, &mut serializer)?;
        file.flush()?;
        Ok(Self { file, serializer })
    }

    /// Logs one histogram. `tag` has no comma, space or line break: names of populations are checked for that.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(
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
