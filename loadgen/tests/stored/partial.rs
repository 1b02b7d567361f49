//! Runs that were cut off: what is whole counts, and what is not does no harm.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemark_loadgen::record::{Kind, Recording};
use tidemark_loadgen::report::merge;
use tidemark_loadgen::report::partial::{self, Progress};
use tidemark_loadgen::report::stored::{LOG_NAME, REPORT_NAME, Stored};
use tidemark_loadgen::report::{ArrivalCounts, Latency, Population, table};
use tidemark_loadgen::verdict::Ended;
use tidemark_program::Exit;

use crate::runs::{Made, SECOND, STARTED_AT, answer};

/// A run of two populations with three seconds, of which one arrival is never answered.
fn three_seconds() -> Made {
    let second = |values_ns: &[u64]| {
        let mut second = Recording::new();
        for &value_ns in values_ns {
            answer(&mut second, value_ns);
        }
        second
    };
    let mut active = vec![second(&[]), second(&[1000; 10]), second(&[2000; 10]), second(&[3000; 10])];
    active[1].account.scheduled += 1;
    let heartbeat = vec![second(&[]), second(&[]), second(&[5000]), second(&[6000])];
    Made {
        started_at: STARTED_AT,
        interval: SECOND,
        populations: vec![("active", active), ("heartbeat", heartbeat)],
    }
}

/// Leaves of a run what is there when it is killed after `whole` intervals, the ramp among them; the log has all of them.
pub(crate) fn cut_off(made: &Made, root: &Path, whole: usize) -> PathBuf {
    let dir = made.write(root);
    let mut begun = Stored::open(&dir).unwrap().report;
    for entry in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name() != LOG_NAME {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let rows: Vec<_> = begun.series.iter_mut().map(|series| std::mem::take(&mut series.rows)).collect();
    begun.run.duration_s = 60.0;
    begun.generator.workers.clear();
    for population in &mut begun.populations {
        *population = counted(population, &Recording::new());
    }
    let mut writer = partial::Writer::begin(&dir, &begun).unwrap();
    for index in 0..whole {
        let populations = made.populations.iter().zip(&begun.populations).map(|((_, intervals), known)| {
            let mut sum = Recording::new();
            for interval in &intervals[..=index] {
                sum.add(interval);
            }
            counted(known, &sum)
        });
        let rows = rows.iter().map(|rows| index.checked_sub(1).map(|second| rows[second]));
        writer
            .add(&Progress {
                interval: index as u64,
                populations: populations.collect(),
                rows: rows.collect(),
            })
            .unwrap();
    }
    dir
}

/// A population as far as it is told while a run goes.
fn counted(known: &Population, sum: &Recording) -> Population {
    let count = |kind| Latency { count: sum.histogram(kind).len(), ..Latency::default() };
    Population {
        arrivals: ArrivalCounts::from(&sum.account),
        response: count(Kind::Response),
        service: count(Kind::Service),
        lag: count(Kind::Lag),
        wait: count(Kind::Wait),
        connect: count(Kind::Connect),
        ..known.clone()
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn what_was_whole_is_told_and_what_came_after_is_not() {
    let root = tempfile::tempdir().unwrap();
    let made = three_seconds();
    let dir = cut_off(&made, root.path(), 3);
    // As a kill may leave them.
    append(&dir.join(partial::FILE_NAME), "{\"interval\":3,\"popul");
    append(&dir.join(LOG_NAME), "Tag=active.response,4.000,1.0");
    let stored = Stored::open(&dir).unwrap();
    let report = &stored.report;
    assert_eq!((report.run.ended, report.run.measured_s), (Ended::CutOff, 2.0));
    assert_eq!(report.exit(), Exit::NotTrustworthy);
    for (population, (_, intervals)) in report.populations.iter().zip(&made.populations) {
        let mut whole = intervals[1].clone();
        whole.add(&intervals[2]);
        for kind in Kind::ALL {
            assert_eq!(population.latency(kind), &Latency::from(&*whole.histogram(kind)), "{}", kind.name());
        }
        assert_eq!(population.arrivals.completed, whole.account.completed);
    }
    assert_eq!(report.populations[0].arrivals.in_flight_at_end, 1);
    assert_eq!(report.series.iter().map(|series| series.rows.len()).collect::<Vec<_>>(), [2, 2]);
    insta::assert_snapshot!(table::render(report));
}

#[test]
fn a_run_with_short_intervals_is_told_up_to_the_last_of_them() {
    let root = tempfile::tempdir().unwrap();
    let made = Made { interval: Duration::from_millis(100), ..three_seconds() };
    let report = Stored::open(&cut_off(&made, root.path(), 3)).unwrap().report;
    assert_eq!(report.run.measured_s.to_bits(), 0.2_f64.to_bits());
    assert_eq!(report.populations[0].response.count, 20);
    let text = &report.verdict.reasons[0].text;
    assert!(text.starts_with("the run was cut off after 0.2 s of 60 s"), "{text}");
}

#[test]
fn a_run_that_was_cut_off_at_once_has_nothing_in_it() {
    let root = tempfile::tempdir().unwrap();
    let report = Stored::open(&cut_off(&three_seconds(), root.path(), 0)).unwrap().report;
    assert!(report.verdict.reasons[0].text.starts_with("the run was cut off after 0 s of 60 s"));
}

#[test]
fn it_can_be_merged_with_one_that_came_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let made = three_seconds();
    let dirs = [made.write(root.path()), cut_off(&made, root.path(), 2)];
    let merged = merge::merge(&dirs, &root.path().join("merged"), Vec::new()).unwrap();
    let report = merged.report;
    assert_eq!(report.populations[0].response.count, 40);
    assert_eq!((report.run.ended, report.exit()), (Ended::CutOff, Exit::NotTrustworthy));
    assert!(merged.dir.path.join(REPORT_NAME).exists());
    assert!(merged.dir.path.join("heartbeat.response.hgrm").exists());
}

#[test]
fn a_report_that_is_there_counts_more_than_what_it_grew_from() {
    let root = tempfile::tempdir().unwrap();
    let made = three_seconds();
    let dir = made.write(root.path());
    // Killed between the last two steps.
    fs::write(dir.join(partial::FILE_NAME), "garbage").unwrap();
    assert_eq!(Stored::open(&dir).unwrap().report.run.ended, Ended::AsPlanned);
}
