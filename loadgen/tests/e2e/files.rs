//! The files of a run.

use std::fs;

use tidemark_loadgen::record::Kind;
use tidemark_loadgen::report::{Latency, Report};

use crate::processes::{FaultyServer, Loadgen};
use crate::results::{main_population, read_interval_log, report};

const STALL: [&str; 5] = ["stall", "--for", "50ms", "--every", "500ms"];

#[test]
fn the_interval_log_and_the_report_tell_the_same() {
    let server = FaultyServer::start(&STALL);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, "-r 1000 -c 10 -d 2500ms --warmup 250ms");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    let log = read_interval_log(&loadgen.results().join("latest/latency.hlog"));
    for kind in Kind::ALL {
        let logged = log.get(&format!("main.{}", kind.name())).map(Latency::from).unwrap_or_default();
        let Latency { count, p50_ns, p90_ns, p95_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns, .. } = logged;
        let told = population.latency(kind);
        assert!(told.count > 0, "{}", kind.name());
        assert_eq!(count, told.count, "{}", kind.name());
        assert_eq!([p50_ns, p90_ns, p95_ns], [told.p50_ns, told.p90_ns, told.p95_ns], "{}", kind.name());
        assert_eq!(
            [p99_ns, p99_9_ns, p99_99_ns],
            [told.p99_ns, told.p99_9_ns, told.p99_99_ns],
            "{}",
            kind.name()
        );
        assert_eq!(max_ns, told.max_ns, "{}", kind.name());
    }
    let rows = &report.series[0].rows;
    assert!(
        rows.len() >= 3
            && rows.iter().zip(1..).all(|(row, second)| (row.t_s - f64::from(second)).abs() < 1e-9),
        "{rows:?}"
    );
    let csv = fs::read_to_string(loadgen.results().join("latest/series.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + rows.len(), "a line for each row: {csv}");
    let last = rows.last().unwrap();
    assert!(
        csv.lines()
            .last()
            .unwrap()
            .starts_with(&format!("main,{},{},{}", last.t_s, last.connections_open, last.scheduled))
    );
    let hgrm = fs::read_to_string(loadgen.results().join("latest/main.response.hgrm")).unwrap();
    assert!(hgrm.contains(&format!("Total count    = {:12}]", population.response.count)), "{hgrm}");
    // What a worker that was late recorded across the end of the warm-up is in no row.
    let in_rows: u64 = rows.iter().map(|row| row.completed).sum();
    assert!(in_rows <= population.arrivals.completed, "{rows:?}");
}

#[test]
fn intervals_are_as_long_as_they_were_asked_to_be() {
    let server = FaultyServer::start(&STALL);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, "-r 1000 -c 10 -d 1s --warmup 250ms --interval 50ms");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert_eq!(report.run.interval_s.to_bits(), 0.05_f64.to_bits());
    let rows = &report.series[0].rows;
    // An interval in which a machine that is held up did nothing at all is in no row.
    assert!(rows.len() > 2 && rows.is_sorted_by(|row, next| row.t_s < next.t_s), "{rows:?}");
    for row in rows {
        let intervals = row.t_s / 0.05;
        assert!(row.t_s > 0.0 && (intervals - intervals.round()).abs() < 1e-6, "{rows:?}");
    }
    // Longer ones would end at some of these, too.
    assert!(rows.iter().any(|row| ((row.t_s / 0.05) % 2.0 - 1.0).abs() < 0.5), "{rows:?}");
    let in_rows: u64 = rows.iter().map(|row| row.completed).sum();
    assert!(in_rows <= population.arrivals.completed, "{rows:?}");
    let dir = loadgen.results().join("latest");
    let log = read_interval_log(&dir.join("latency.hlog"));
    assert_eq!(log["main.response"].len(), population.response.count);
    let lines = fs::read_to_string(dir.join("latency.hlog")).unwrap();
    let answered = rows.iter().filter(|row| row.completed > 0).count();
    assert!(
        lines.lines().filter(|line| line.starts_with("Tag=main.response,")).count() >= answered,
        "{lines}"
    );
    // What was written is read in the same intervals.
    let dir = dir.to_str().unwrap();
    let merged = loadgen.invoke(&["merge", dir, "-o", "merged", "--json", "-"]);
    let merged: Report = serde_json::from_str(&merged.stdout).unwrap();
    let ends = |report: &Report| report.series[0].rows.iter().map(|row| row.t_s).collect::<Vec<_>>();
    assert_eq!(ends(&merged), ends(&report));
}

#[test]
fn latest_is_the_newest_run_and_no_run_overwrites_another() {
    let server = FaultyServer::start(&STALL);
    let loadgen = Loadgen::new();
    let run = || {
        let finished = loadgen.run(&server.address, "-c 2 -d 50ms --warmup 0s");
        report(&loadgen, &finished).run.id
    };
    let first = run();
    let first_report = loadgen.results().join(&first).join("report.json");
    let before = fs::read(&first_report).unwrap();
    // Runs in the same second as well.
    let others = [run(), run()];
    assert_ne!(others[0], others[1]);
    assert!(!others.contains(&first));
    assert_eq!(fs::read(&first_report).unwrap(), before);
    let latest = fs::read_link(loadgen.results().join("latest")).unwrap();
    assert_eq!(latest.to_str(), Some(others[1].as_str()));
    let mut names: Vec<String> = fs::read_dir(loadgen.results().join("latest"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    // Of a closed loop: nobody waits for a connection, and nothing is taken up late.
    assert_eq!(
        names,
        [
            "latency.hlog",
            "main.connect.hgrm",
            "main.response.hgrm",
            "main.service.hgrm",
            "report.json",
            "series.csv"
        ]
    );
}

#[test]
fn json_on_standard_output_is_the_report_and_nothing_else() {
    let server = FaultyServer::start(&STALL);
    let loadgen = Loadgen::new();
    // Also with all that it says while it runs.
    let mut running = loadgen.start_run(&server.address, "-r 100 -c 2 -d 1s --warmup 0s --json -");
    running.await_line("1/1 s");
    let finished = running.finish();
    let written = fs::read_to_string(loadgen.results().join("latest/report.json")).unwrap();
    assert_eq!(finished.stdout, written);
    let again = loadgen.invoke(&["report", "results/latest", "--json", "-"]);
    assert_eq!((again.code, again.stdout), (finished.code, written));
    let told: Report = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(told.run.id, report(&loadgen, &finished).run.id);
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    let server = FaultyServer::start(&STALL);
    let loadgen = Loadgen::new();
    fs::write(loadgen.dir().join("occupied"), "").unwrap();
    let finished = loadgen.run(&server.address, "-c 2 -d 50ms --warmup 0s -o occupied/results");
    finished.assert_one_line(4, &["occupied/results", "--output"]);
}

#[test]
fn a_directory_that_is_named_latest_is_left_alone() {
    let server = FaultyServer::start(&STALL);
    let loadgen = Loadgen::new();
    let precious = loadgen.results().join("latest/precious");
    fs::create_dir_all(&precious).unwrap();
    let finished = loadgen.run(&server.address, "-c 2 -d 50ms --warmup 0s");
    assert_eq!(finished.code, Some(4), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("results/latest"), "{}", finished.stderr);
    // What was measured is not lost over it.
    assert!(finished.stdout.contains("connections"), "{}", finished.stdout);
    assert!(precious.is_dir());
}
