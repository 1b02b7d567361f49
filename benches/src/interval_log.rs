//! The interval log of a load generator's run (`latency.hlog`): the histograms of one tag, second by second.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogHistogram, IntervalLogIterator, LogEntry};

/// The histograms with this tag (`population.kind`, values in ns) by the second of the measurement that they are of,
/// from 0. What is from before the end of the warm-up is left out.
///
/// # Errors
/// When the log is damaged: where, and how.
pub fn seconds(log: &[u8], tag: &str, warmup: Duration) -> Result<Vec<(usize, Histogram<u64>)>, String> {
    let mut found = Vec::new();
    for (index, entry) in IntervalLogIterator::new(log).enumerate() {
        let entry = entry.map_err(|error| format!("entry {}: {error:?}", index + 1))?;
        let LogEntry::Interval(interval) = entry else { continue };
        if interval.tag().is_none_or(|found| found.as_str() != tag) {
            continue;
        }
        if let Some(second) = second(interval.start_timestamp(), warmup) {
            let histogram = decode(&interval).map_err(|why| format!("entry {}: {why}", index + 1))?;
            found.push((second, histogram));
        }
    }
    Ok(found)
}

/// Starts are written to the millisecond.
fn second(start: Duration, warmup: Duration) -> Option<usize> {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let into = (start + MILLISECOND).checked_sub(warmup)?;
    usize::try_from(into.as_secs()).ok()
}

fn decode(interval: &IntervalLogHistogram<'_>) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(interval.encoded_histogram()).map_err(|error| error.to_string())?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::SystemTime;

    use tidemark_loadgen::record::{Kind, Recording};
    use tidemark_loadgen::report::hlog::IntervalLog;

    use super::*;

    const WARMUP: Duration = Duration::from_millis(1500);

    /// A log as the load generator writes it: the warm-up, and two seconds of two kinds.
    fn log(directory: &tempfile::TempDir) -> PathBuf {
        let path = directory.path().join("latency.hlog");
        let mut log =
            IntervalLog::create(&path, SystemTime::now(), WARMUP, Duration::from_secs(1), "test").unwrap();
        let intervals: [&[(Kind, u64)]; 3] = [
            &[(Kind::Lag, 9_999)],
            &[(Kind::Response, 8_888), (Kind::Lag, 100), (Kind::Lag, 200)],
            &[(Kind::Lag, 300)],
        ];
        for (index, values) in (0..).zip(intervals) {
            let mut recording = Recording::new();
            for &(kind, value) in values {
                recording.record(kind, value);
            }
            log.write_interval(index, "main", &recording).unwrap();
        }
        log.flush().unwrap();
        path
    }

    #[test]
    fn the_seconds_of_one_tag_are_read_without_the_warm_up() {
        let directory = tempfile::tempdir().unwrap();
        let log = std::fs::read(log(&directory)).unwrap();
        let found = seconds(&log, "main.lag", WARMUP).unwrap();
        let found: Vec<_> =
            found.iter().map(|(second, histogram)| (*second, histogram.len(), histogram.max())).collect();
        assert_eq!(found, [(0, 2, 200), (1, 1, 300)]);
        assert!(seconds(&log, "idle.lag", WARMUP).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_log_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let text = String::from_utf8(std::fs::read(log(&directory)).unwrap()).unwrap();
        let damaged = text.replace("HISTF", "HISTX");
        assert_ne!(damaged, text);
        assert!(seconds(damaged.as_bytes(), "main.lag", WARMUP).is_err());
        // Its header is whole, its lines are none.
        assert!(seconds(b"#[Histogram log format version 1.3]\nno line\n", "main.lag", WARMUP).is_err());
    }
}
