//! The interval log as others read it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tidemark_loadgen::record::{HIGHEST_NS, Kind, Recording};
use tidemark_loadgen::report::hlog::IntervalLog;
use tidemark_loadgen::report::hlog::read::{Logged, Reader};

use crate::decoder::Log;
use crate::runs::{SECOND, STARTED_AT, WARMUP, buckets};

const NAMES: [&str; 2] = ["active", "heart-beat"];

/// Writes a log of these values, each of an interval, a population and a kind, and returns it with what was recorded.
fn logged(values: &[(usize, usize, usize, u64)]) -> (String, Vec<[Recording; 2]>) {
    let mut intervals: Vec<[Recording; 2]> = (0..4).map(|_| [Recording::new(), Recording::new()]).collect();
    for &(interval, population, kind, value_ns) in values {
        intervals[interval][population].record(Kind::ALL[kind], value_ns);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("latency.hlog");
    let mut log =
        IntervalLog::create(&path, SystemTime::UNIX_EPOCH + STARTED_AT, WARMUP, SECOND, "id").unwrap();
    for (index, recordings) in intervals.iter().enumerate() {
        for (name, recording) in NAMES.iter().zip(recordings) {
            log.write_interval(index as u64, name, recording).unwrap();
        }
    }
    log.flush().unwrap();
    (fs::read_to_string(path).unwrap(), intervals)
}

fn read_with_the_crate(text: &str) -> Vec<Logged> {
    let mut reader = Reader::new(Path::new("latency.hlog"), text.as_bytes()).unwrap();
    std::iter::from_fn(|| reader.next_logged().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_published_description_and_the_crate_decode_what_was_recorded(
        values in prop::collection::vec((0usize..4, 0usize..2, 0usize..5, prop_oneof![0u64..5000, 0..=HIGHEST_NS]), 0..200),
    ) {
        let (text, intervals) = logged(&values);
        let described = Log::decode(&text);
        prop_assert_eq!(&described.version, "1.3");
        prop_assert!((described.start_time_s - (STARTED_AT.as_secs_f64() - WARMUP.as_secs_f64())).abs() < 1e-3);
        let by_crate = read_with_the_crate(&text);
        let mut lines = described.intervals.iter().zip(&by_crate);
        for (index, recordings) in intervals.iter().enumerate() {
            for (name, recording) in NAMES.iter().zip(recordings) {
                for kind in Kind::ALL.into_iter().filter(|&kind| !recording.histogram(kind).is_empty()) {
                    let (line, logged) = lines.next().unwrap();
                    let tag = format!("{name}.{}", kind.name());
                    prop_assert_eq!((&line.tag, &logged.tag), (&tag, &tag));
                    let recorded = recording.histogram(kind);
                    prop_assert_eq!(&line.counts, &buckets(&recorded));
                    prop_assert_eq!(&buckets(&logged.values), &buckets(&recorded));
                    let (start_s, length_s) = if index == 0 { (0.0, 1.0) } else { (index as f64, 1.0) };
                    prop_assert_eq!((line.start_s, line.length_s), (start_s, length_s));
                    prop_assert!((line.max - recorded.max() as f64).abs() < 1.0);
                    prop_assert_eq!(logged.end, STARTED_AT + Duration::from_secs(index as u64));
                }
            }
        }
        prop_assert!(lines.next().is_none());
        prop_assert_eq!(described.intervals.len(), by_crate.len());
    }
}
