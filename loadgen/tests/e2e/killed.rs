//! A run that is killed leaves everything up to its last whole second, and `report`, `merge` and `compare` read it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use rustix::process::Signal;
use tidemark_loadgen::record::Kind;
use tidemark_loadgen::report::{Latency, Report};
use tidemark_loadgen::verdict::Ended;

use crate::processes::{FaultyServer, Finished, Loadgen};
use crate::results::{assert_schema, main_population, read_interval_log};

const WELL: [&str; 3] = ["stall", "--every", "1h"];

/// Kills a run when `whole` seconds of it are in its log, and returns its directory.
fn killed_after(loadgen: &Loadgen, server: &FaultyServer, whole: u32) -> PathBuf {
    let mut running = loadgen.start_run(&server.address, "-r 500 -c 4 -d 600s --warmup 250ms");
    // A second is shown as it is logged: when the next is shown, the one before is in the file.
    running.await_line(&format!("{}/600 s", whole + 1));
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, None);
    let mut dirs = fs::read_dir(loadgen.results()).unwrap().map(|entry| entry.unwrap().path());
    let dir = dirs.next().unwrap();
    assert_eq!(dirs.next(), None, "no link to a run that has no result");
    dir
}

fn reported(finished: &Finished) -> Report {
    let report: Report =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    assert_schema(&finished.stdout);
    report
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_run_that_is_killed_can_be_read_up_to_its_last_second() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    // Any second will do, and in the course of time it is every one.
    let whole = process::id() % 3 + 1;
    let dir = killed_after(&loadgen, &server, whole);
    let finished = loadgen.invoke(&["report", text(&dir), "--json", "-"]);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let report = reported(&finished);
    assert_eq!(report.run.ended, Ended::CutOff);
    assert!(report.run.measured_s >= f64::from(whole), "{:?}", report.run);
    assert_eq!(report.run.id, dir.file_name().unwrap().to_str().unwrap());
    assert!(report.run.argv.contains(&"600s".to_owned()));
    assert_eq!(report.plan["duration_s"], 600.0);
    assert!(!report.verdict.valid);
    let population = main_population(&report);
    assert!(population.arrivals.completed > 0);
    assert_eq!(population.connections.opened, 4);
    let seconds: Vec<f64> = report.series[0].rows.iter().map(|row| row.t_s).collect();
    assert_eq!(seconds.last(), Some(&report.run.measured_s), "{seconds:?}");
    assert!(seconds.len() >= whole as usize, "a row a second: {seconds:?}");
    // The log as anybody reads it. A kill between two writes may leave it a second ahead of the report.
    let log = read_interval_log(&dir.join("latency.hlog"));
    for kind in Kind::ALL {
        let told = population.latency(kind);
        let logged = Latency::from(&log[&format!("main.{}", kind.name())]);
        assert!(told.count > 0 && told.count <= logged.count, "{}: {told:?} {logged:?}", kind.name());
    }
    let table = loadgen.invoke(&["report", text(&dir)]);
    assert_eq!(table.code, Some(3), "{table:?}");
    assert!(table.stdout.contains("INVALID") && table.stdout.contains("cut off after"), "{}", table.stdout);
}

#[test]
fn a_run_that_was_killed_is_merged_and_compared_with_one_that_was_not() {
    let server = FaultyServer::start(&WELL);
    let (loadgen, other) = (Loadgen::new(), Loadgen::new());
    let killed = killed_after(&loadgen, &server, 1);
    other.run(&server.address, "-r 500 -c 4 -d 1s --warmup 250ms");
    let whole = other.results().join("latest");
    let count = |dir: &Path| {
        let report = reported(&loadgen.invoke(&["report", text(dir), "--json", "-"]));
        main_population(&report).response.count
    };
    let merged = loadgen.invoke(&["merge", text(&killed), text(&whole), "-o", "merged", "--json", "-"]);
    assert_eq!(merged.code, Some(3), "{merged:?}");
    let report = reported(&merged);
    assert_eq!(main_population(&report).response.count, count(&killed) + count(&whole));
    assert_eq!(report.merged_from.len(), 2);
    assert_eq!(report.exit() as i32, 3);
    let written = fs::read_to_string(loadgen.dir().join("merged/latest/report.json")).unwrap();
    assert_eq!(written, merged.stdout);
    let again = loadgen.invoke(&["report", "merged/latest", "--json", "-"]);
    assert_eq!((again.code, again.stdout), (Some(3), written));
    let compared = loadgen.invoke(&["compare", text(&killed), "merged/latest"]);
    assert_eq!(compared.code, Some(3), "{compared:?}");
    assert!(compared.stdout.contains("response  p99.9"), "{}", compared.stdout);
}

#[test]
fn what_cannot_be_read_is_told_in_a_line() {
    let loadgen = Loadgen::new();
    for args in [
        ["report", "nowhere"].as_slice(),
        &["merge", "nowhere", "-o", "merged"],
        &["compare", ".", "nowhere"],
    ] {
        let finished = loadgen.invoke(args);
        finished.assert_one_line(2, &["give"]);
    }
}
