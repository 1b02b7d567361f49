//! What a run left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use jsonschema::Validator;
use tidemark_loadgen::report::{ArrivalCounts, Population, Report};

use crate::processes::{Finished, Loadgen};

/// Checks that a machine which is busy with other things may fail. All others are about what was counted.
const CHECKS_OF_THE_MACHINE: [&str; 7] = [
    "rate",
    "arrival_process",
    "trust",
    "starved",
    "listen_overflows",
    "softnet_dropped",
    "conntrack_dropped",
];

/// The report of the newest run, after what holds for every report has been checked.
#[track_caller]
pub(crate) fn report(loadgen: &Loadgen, finished: &Finished) -> Report {
    let path = loadgen.results().join("latest/report.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    let report: Report = serde_json::from_str(&text).unwrap();
    assert_schema(&text);
    assert_eq!(report.schema_version, 1);
    assert_eq!(report.verdict.valid, report.verdict.reasons.is_empty(), "{:?}", report.verdict);
    assert_eq!(finished.code, Some(if report.verdict.valid { 0 } else { 3 }), "{finished:?}");
    let decided = report.verdict.checks.iter().filter(|check| check.decides);
    assert_eq!(report.verdict.valid, decided.fold(true, |ok, check| ok & check.ok), "{:?}", report.verdict);
    for population in &report.populations {
        let arrivals = &population.arrivals;
        assert_balances(arrivals);
        let served = arrivals.completed + arrivals.timed_out + arrivals.in_flight_at_end;
        // A visit whose connection was still being opened at the end was not served at all.
        let is_visited = population.requests_per_connection.is_some();
        assert!(population.service.count == served || is_visited && population.service.count < served);
        assert_eq!(population.response.count, population.arrivals.scheduled - population.arrivals.errored);
    }
    report
}

/// Checks a report against the schema that others check it against.
#[track_caller]
pub(crate) fn assert_schema(report: &str) {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
        let schema = serde_json::from_str(include_str!("../../schema/report.schema.json")).unwrap();
        jsonschema::draft202012::new(&schema).unwrap()
    });
    let report = serde_json::from_str(report).unwrap();
    let errors: Vec<String> =
        SCHEMA.iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

fn assert_balances(arrivals: &ArrivalCounts) {
    let ArrivalCounts { scheduled, completed, errored, timed_out, in_flight_at_end, never_sent } = *arrivals;
    assert_eq!(scheduled, completed + errored + timed_out + in_flight_at_end + never_sent, "{arrivals:?}");
}

/// The one population of a run from the command line.
pub(crate) fn main_population(report: &Report) -> &Population {
    assert_eq!(report.populations.len(), 1);
    &report.populations[0]
}

/// The names of the checks that failed, without those that a busy machine fails.
pub(crate) fn failed_checks(report: &Report) -> Vec<&str> {
    let checks = report.verdict.reasons.iter().map(|finding| finding.check.as_str());
    checks.filter(|check| !CHECKS_OF_THE_MACHINE.contains(check)).collect()
}

/// The histograms of an interval log, added up by tag. A line that a kill tore apart is left out.
pub(crate) fn read_interval_log(path: &Path) -> BTreeMap<String, Histogram<u64>> {
    let mut log = fs::read(path).unwrap();
    log.truncate(log.iter().rposition(|&byte| byte == b'\n').unwrap() + 1);
    let mut sums = BTreeMap::<String, Histogram<u64>>::new();
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        let bytes = from_base64(interval.encoded_histogram());
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        let tag = interval.tag().unwrap().as_str().to_owned();
        match sums.get_mut(&tag) {
            Some(sum) => sum.add(&histogram).unwrap(),
            None => drop(sums.insert(tag, histogram)),
        }
    }
    sums
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().take_while(|&byte| byte != b'=');
    let digits: Vec<u32> = digits
        .map(|byte| {
            ALPHABET.iter().position(|&digit| digit == byte).and_then(|value| value.try_into().ok()).unwrap()
        })
        .collect();
    let groups = digits.chunks(4).flat_map(|group| {
        let bits = group.iter().enumerate().fold(0, |bits, (index, digit)| bits | digit << (18 - 6 * index));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    groups.collect()
}
