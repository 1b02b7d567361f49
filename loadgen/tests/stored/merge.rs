//! Merging loses nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tidemark_loadgen::record::{HIGHEST_NS, Kind, Recording};
use tidemark_loadgen::report::merge::{self, Merged};
use tidemark_loadgen::report::stored::{LOG_NAME, Stored};
use tidemark_loadgen::report::{DropReport, Latency};
use tidemark_loadgen::schedule::Arrivals;
use tidemark_program::Exit;

use crate::decoder::Log;
use crate::runs::{Made, SECOND, STARTED_AT, answer, buckets};

const WORKERS: usize = 8;
const NAMES: [&str; 2] = ["active", "churn"];

fn merge(dirs: &[PathBuf], output: &Path) -> Result<Merged, String> {
    merge::merge(dirs, output, vec!["tidemark-loadgen".to_owned()]).map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn eight_logs_merged_are_one_recording_bucket_by_bucket(
        values in prop::collection::vec(
            (0usize..WORKERS, 0usize..2, 0usize..4, 0usize..5, prop_oneof![0u64..5000, 0..=HIGHEST_NS]),
            0..300,
        ),
        later_ms in prop::collection::vec(0u64..5000, WORKERS),
        interval_ms in prop_oneof![Just(1000), Just(100), Just(20), Just(10)],
    ) {
        let root = tempfile::tempdir().unwrap();
        let mut whole = [Recording::new(), Recording::new()];
        let intervals = || vec![Recording::new(); 4];
        let mut workers: Vec<[Vec<Recording>; 2]> = (0..WORKERS).map(|_| [intervals(), intervals()]).collect();
        for (worker, population, interval, kind, value_ns) in values {
            let kind = Kind::ALL[kind];
            for recording in [&mut workers[worker][population][interval], &mut whole[population]] {
                recording.record(kind, value_ns);
                recording.account.scheduled += 1;
                recording.account.completed += 1;
            }
        }
        let dirs: Vec<PathBuf> = workers.into_iter().zip(later_ms).enumerate().map(|(worker, (of, later_ms))| {
            let populations = NAMES.into_iter().zip(of).collect();
            let made = Made { started_at: STARTED_AT + Duration::from_millis(later_ms), interval: Duration::from_millis(interval_ms), populations };
            // Two of them may have recorded the same, and are two all the same.
            made.write_changed(&root.path().join(worker.to_string()), |report| report.run.argv.push(worker.to_string()))
        }).collect();
        let merged = merge(&dirs, &root.path().join("merged")).unwrap();
        let described = Log::decode(&fs::read_to_string(merged.dir.path.join(LOG_NAME)).unwrap());
        let stored = Stored::open(&merged.dir.path).unwrap();
        let totals = stored.totals().unwrap();
        for (index, whole) in whole.iter().enumerate() {
            let population = &merged.report.populations[index];
            prop_assert_eq!(population.arrivals.scheduled, whole.account.scheduled);
            let rows = &merged.report.series[index].rows;
            prop_assert!(rows.is_sorted_by(|one, next| one.t_s < next.t_s));
            for kind in Kind::ALL {
                let recorded = buckets(&whole.histogram(kind));
                prop_assert_eq!(&buckets(&totals[index].histogram(kind)), &recorded);
                prop_assert_eq!(&described.sum(&format!("{}.{}", NAMES[index], kind.name())), &recorded);
                prop_assert_eq!(population.latency(kind), &Latency::from(&*whole.histogram(kind)));
            }
        }
    }
}

#[test]
fn generators_that_worked_together_are_one_of_their_rates_together() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [Made::of([1000; 100]), Made::of([3000; 300])].map(|made| made.write(root.path()));
    let merged = merge(&dirs, &root.path().join("merged")).unwrap();
    let (report, part) = (&merged.report, Stored::open(&dirs[0]).unwrap().report);
    let population = &report.populations[0];
    assert_eq!((report.run.measured_s, population.completed_per_s), (1.0, 400.0));
    let rate = part.populations[0].arrivals_planned.rate().unwrap();
    assert_eq!(population.arrivals_planned, Arrivals::Poisson { rate: 2.0 * rate });
    assert_eq!(population.connections.requested, 2 * part.populations[0].connections.requested);
    // Their seconds are one second: a quarter of the answers took 1 us, the others 3 us.
    let [row] = report.series[0].rows[..] else { panic!("{:?}", report.series) };
    assert_eq!((row.completed, row.connections_open), (400, 20));
    assert_eq!((row.response_p50_ns, row.response_max_ns), (3001, 3001));
    assert_eq!(report.generator.workers.len(), 2 * part.generator.workers.len());
    assert_eq!(
        report.merged_from.iter().map(|part| &part.run).collect::<Vec<_>>(),
        ["20260102T030405Z", "20260102T030405Z-2"]
    );
    let told: Vec<&str> = report.verdict.warnings.iter().map(|finding| finding.text.as_str()).collect();
    assert!(told.iter().any(|text| text.contains("the same seed")), "{told:?}");
    assert_eq!(report.exit(), Exit::Good);
}

#[test]
fn runs_one_after_the_other_are_a_longer_one() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [Made::of([1000; 100]), Made::of([3000; 300]).later(Duration::from_secs(60))];
    let dirs = dirs.map(|made| made.write(root.path()));
    let merged = merge(&dirs, &root.path().join("merged")).unwrap();
    let (report, part) = (&merged.report, Stored::open(&dirs[0]).unwrap().report);
    let population = &report.populations[0];
    assert_eq!((report.run.measured_s, population.completed_per_s), (2.0, 200.0));
    assert_eq!(population.arrivals_planned, part.populations[0].arrivals_planned);
    let seconds: Vec<(f64, u64)> = report.series[0].rows.iter().map(|row| (row.t_s, row.completed)).collect();
    assert_eq!(seconds, [(1.0, 100), (61.0, 300)]);
    assert_eq!(report.verdict.warnings, part.verdict.warnings);
}

#[test]
fn short_intervals_keep_their_places_on_the_time_line() {
    let root = tempfile::tempdir().unwrap();
    let short = |value_ns: u64, later_ms: u64| {
        let interval = Duration::from_millis(20);
        Made { interval, ..Made::of([value_ns; 10]).later(Duration::from_millis(later_ms)) }
            .write(root.path())
    };
    let merged = merge(&[short(1000, 0), short(2000, 130)], &root.path().join("merged")).unwrap();
    let rows: Vec<(f64, u64)> =
        merged.report.series[0].rows.iter().map(|row| (row.t_s, row.response_max_ns)).collect();
    // It began 6.5 intervals later, which is told as 7.
    assert_eq!(rows, [(0.02, 1000), (0.16, 2000)]);
    assert_eq!(merged.report.run.interval_s.to_bits(), 0.02_f64.to_bits());
    let log = Log::decode(&fs::read_to_string(merged.dir.path.join(LOG_NAME)).unwrap());
    assert_eq!(log.sum("main.response").values().sum::<u64>(), 20);
}

#[test]
fn what_is_merged_can_be_merged_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = |values_ns: u64, later: u64| {
        Made::of([values_ns; 10]).later(Duration::from_millis(later * 1300)).write(root.path())
    };
    let dirs = [dir(1000, 0), dir(2000, 1), dir(3000, 2)];
    let at_once = merge(&dirs, &root.path().join("at-once")).unwrap().report;
    let first = merge(&dirs[..2], &root.path().join("first")).unwrap();
    let again = merge(&[first.dir.path, dirs[2].clone()], &root.path().join("again")).unwrap().report;
    assert_eq!(again.populations[0].response, at_once.populations[0].response);
    assert_eq!(again.populations[0].arrivals, at_once.populations[0].arrivals);
    assert!((again.run.measured_s - at_once.run.measured_s).abs() < 1e-9);
}

#[test]
fn one_that_is_invalid_makes_all_of_them_invalid() {
    let root = tempfile::tempdir().unwrap();
    let good = Made::of([1000; 100]).write(root.path());
    let bad = Made::of([1000; 100]).write_changed(root.path(), |report| {
        let invalid: tidemark_loadgen::report::Report =
            serde_json::from_str(include_str!("../e2e/reports/invalid.json")).unwrap();
        report.verdict = invalid.verdict;
        report.host.hostname = "elsewhere".to_owned();
        report.plan["workers"] = 1.into();
    });
    let report = merge(&[good, bad], &root.path().join("merged")).unwrap().report;
    assert_eq!(report.exit(), Exit::NotTrustworthy);
    assert!(report.verdict.trusted_to < Some(99.0));
    assert!(report.verdict.reasons.iter().all(|reason| reason.text.starts_with("run 20260102T030405Z-2: ")));
    let told =
        report.verdict.warnings.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn rules_that_all_had_are_held_against_all_together() {
    let root = tempfile::tempdir().unwrap();
    let rule = "main.service.max < 2us";
    let judged = |values_ns: u64| {
        Made::of([values_ns; 10]).write_changed(root.path(), |report| {
            report.verdict.trusted_to = Some(100.0);
            report.slo = tidemark_loadgen::slo::judge(&[rule.parse().unwrap()], true, &[]);
        })
    };
    let dirs = [judged(1000), judged(3000)];
    let report = merge(&dirs, &root.path().join("merged")).unwrap().report;
    assert_eq!(report.slo[0].ok, Some(false));
    assert_eq!(report.exit(), Exit::JudgedBad);
    let without = Made::of([1000; 10]).write(root.path());
    let report = merge(&[dirs[0].clone(), without], &root.path().join("merged")).unwrap().report;
    assert!(report.slo.is_empty());
    assert!(report.verdict.warnings.iter().any(|finding| finding.text.contains("different rules")));
}

#[test]
fn handshakes_and_recoveries_of_all_are_judged_together() {
    let root = tempfile::tempdir().unwrap();
    let made = |resent: u64, unanswered: u64, recovered_after_s: f64| {
        Made::of([1000; 10]).write_changed(root.path(), |report| {
            let population = &mut report.populations[0];
            population.handshakes.established = 10;
            population.handshakes.syn_retransmitted = resent;
            population.handshakes.unanswered = unanswered;
            let recovered_after_s = Some(recovered_after_s);
            population.drops = vec![DropReport { at_s: 1.0, dropped: 3, back: 3, recovered_after_s }];
            let rules = ["syn_resent <= 4", "recovery <= 2.5s"].map(|rule| rule.parse().unwrap());
            report.slo = tidemark_loadgen::slo::judge(&rules, true, &[]);
        })
    };
    let report = merge(&[made(2, 0, 1.0), made(0, 3, 2.5)], &root.path().join("merged")).unwrap().report;
    let judged = report.slo.iter().map(|judgement| (judgement.actual, judgement.ok));
    assert_eq!(judged.collect::<Vec<_>>(), [(Some(5.0), Some(false)), (Some(2.5e9), Some(true))]);
}

#[test]
fn what_does_not_belong_together_is_told_in_a_line() {
    let root = tempfile::tempdir().unwrap();
    let main = Made::of([1000; 10]).write(root.path());
    let named = |name: &'static str| {
        let mut second = Recording::new();
        answer(&mut second, 1000);
        Made {
            started_at: STARTED_AT,
            interval: SECOND,
            populations: vec![(name, vec![Recording::new(), second])],
        }
        .write(root.path())
    };
    let closed = Made::of([1000; 10]).write_changed(root.path(), |report| {
        report.populations[0].arrivals_planned = Arrivals::Closed;
    });
    let short = Made { interval: Duration::from_millis(100), ..Made::of([1000; 10]) }.write(root.path());
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&main, &link).unwrap();
    let output = root.path().join("merged");
    let pairs = [[main.clone(), named("idle")], [main.clone(), closed], [main.clone(), short], [main, link]];
    let told: Vec<String> = pairs
        .iter()
        .map(|dirs| merge(dirs, &output).unwrap_err().replace(&*root.path().to_string_lossy(), "DIR"))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
    assert!(!output.exists(), "nothing is written");
}
