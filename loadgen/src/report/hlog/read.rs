//! Reads `latency.hlog` back, whatever has become of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::VERSION_COMMENT;
use crate::record::{HIGHEST_NS, LOWEST_NS, SIGNIFICANT_DIGITS};
use crate::report::read::{Line, Lines, ReadError, UNCHANGED};

/// A histogram of this program has 26 thousand buckets, and a count takes 9 bytes at the most.
const HISTOGRAM_BYTES_MAX: u64 = 256 * 1024;
/// Its base64, with room for the rest of the line; DEFLATE makes nothing larger by more than a few bytes.
const LINE_BYTES_MAX: u64 = 512 * 1024;
/// What begins the encoding of a histogram in V2 with DEFLATE, and what is inside.
const COOKIES: [u32; 2] = [0x1c84_9314, 0x1c84_9313];
/// In front of the counts: cookie, their length, normalizing index offset, digits, lowest and highest value, ratio.
const HEADER_BYTES: usize = 40;
/// More values than any machine records in an interval. Below it no sum over the intervals of a run overflows.
const COUNT_MAX: u64 = 1 << 40;

/// One line of the log: the latencies of one kind, population and interval.
#[derive(Debug)]
pub struct Logged {
    /// `population.kind`.
    pub tag: String,
    /// Its end, since the epoch.
    pub end: Duration,
    /// What was recorded.
    pub values: Histogram<u64>,
}

/// Reads a log line by line.
pub struct Reader<R> {
    lines: Lines<R>,
    started_at: Option<Duration>,
    deserializer: Deserializer,
    /// Whether the last line ends before its line break.
    pub is_cut: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a log.
    ///
    /// # Errors
    /// When it cannot be opened, or is none of version 1.3.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::begin(Lines::open(path, LINE_BYTES_MAX)?)
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads a log from memory or elsewhere; errors call it `path`.
    ///
    /// # Errors
    /// When it is none of version 1.3.
    pub fn new(path: &Path, input: R) -> Result<Self, ReadError> {
        Self::begin(Lines::new(path, input, LINE_BYTES_MAX))
    }

    fn begin(mut lines: Lines<R>) -> Result<Self, ReadError> {
        let is_known = matches!(lines.next_line()?, Some(Line::Whole(line)) if line.trim_ascii_end() == VERSION_COMMENT.as_bytes());
        if !is_known {
            let why = format!("not an interval log of version 1.3, which begins with {VERSION_COMMENT}");
            return Err(lines.error(why));
        }
        Ok(Self { lines, started_at: None, deserializer: Deserializer::new(), is_cut: false })
    }

    /// The next histogram; `None` at the end, or where the log was cut off in the middle of a line.
    ///
    /// # Errors
    /// When a line is none of the format, or its histogram is none of this program.
    pub fn next_logged(&mut self) -> Result<Option<Logged>, ReadError> {
        loop {
            let line = match self.lines.next_line()? {
                None => return Ok(None),
                Some(Line::Cut) => {
                    self.is_cut = true;
                    return Ok(None);
                }
                Some(Line::Whole(line)) => line,
            };
            match parse(line, &mut self.started_at, &mut self.deserializer) {
                Ok(None) => {}
                Ok(logged) => return Ok(logged),
                Err(why) => {
                    return Err(self.lines.error(format!("{why}; {UNCHANGED}")));
                }
            }
        }
    }

    /// An error about the line that was read last.
    pub fn error(&self, why: impl std::fmt::Display) -> ReadError {
        self.lines.error(why)
    }
}

/// What a line has: `None` for a comment, the legend, or the start time, which is kept.
fn parse(
    line: &[u8],
    started_at: &mut Option<Duration>,
    deserializer: &mut Deserializer,
) -> Result<Option<Logged>, String> {
    match IntervalLogIterator::new(line).next() {
        None => Ok(None),
        Some(Ok(LogEntry::StartTime(time))) => {
            *started_at = Some(time);
            Ok(None)
        }
        Some(Ok(LogEntry::BaseTime(_))) => {
            Err("a BaseTime, where starts are relative to StartTime".to_owned())
        }
        Some(Ok(LogEntry::Interval(interval))) => {
            let started_at = started_at.ok_or("an interval before any StartTime")?;
            let tag = interval.tag().ok_or("an interval without tag")?;
            Ok(Some(Logged {
                tag: tag.as_str().to_owned(),
                end: started_at
                    .saturating_add(interval.start_timestamp())
                    .saturating_add(interval.duration()),
                values: decode(interval.encoded_histogram(), deserializer)?,
            }))
        }
        Some(Err(_)) => Err("not a line of an interval log".to_owned()),
    }
}

/// A histogram in base64 of V2 with DEFLATE. What could make the decoder take much memory, or overflow, is turned away.
fn decode(text: &str, deserializer: &mut Deserializer) -> Result<Histogram<u64>, String> {
    let packed = STANDARD.decode(text).map_err(|error| format!("the histogram is not base64 ({error})"))?;
    let no_histogram = || "not a histogram in V2 with DEFLATE".to_owned();
    let deflated =
        packed.get(8..).filter(|_| number(&packed, 0) == Some(COOKIES[0])).ok_or_else(no_histogram)?;
    let mut bytes = Vec::new();
    let inflated = ZlibDecoder::new(deflated).take(HISTOGRAM_BYTES_MAX).read_to_end(&mut bytes);
    inflated.map_err(|error| format!("the histogram cannot be inflated ({error})"))?;
    let counts = bytes
        .get(HEADER_BYTES..)
        .filter(|_| number(&bytes, 0) == Some(COOKIES[1]))
        .ok_or_else(no_histogram)?;
    let is_whole = number(&bytes, 4).is_some_and(|length| length as usize <= counts.len());
    // The one count that has no negative, and so no number of empty buckets that it could stand for.
    let has_lowest_number = counts.windows(9).any(|count| count == [0xff; 9]);
    if !is_whole || has_lowest_number {
        return Err("the histogram is not whole".to_owned());
    }
    let has_our_bounds = number(&bytes, 12) == Some(u32::from(SIGNIFICANT_DIGITS))
        && bytes.get(16..24) == Some(&LOWEST_NS.to_be_bytes())
        && bytes.get(24..32) == Some(&HIGHEST_NS.to_be_bytes());
    if !has_our_bounds {
        return Err("the histogram has other bounds than 1 ns to 60 s in three digits".to_owned());
    }
    let histogram: Histogram<u64> = deserializer
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("the histogram is not whole ({error})"))?;
    if histogram.len() > COUNT_MAX {
        return Err(format!("the histogram has {} values, more than an interval can have", histogram.len()));
    }
    Ok(histogram)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes)
}
