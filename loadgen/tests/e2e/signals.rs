//! Ctrl-C, once and twice.

use std::time::Duration;

use rustix::process::Signal;
use tidemark_loadgen::verdict::Ended;

use crate::processes::{FaultyServer, Loadgen};
use crate::results::{failed_checks, main_population, report};

const WELL: [&str; 3] = ["stall", "--every", "1h"];
const EXIT_SECOND_SIGNAL: i32 = 130;

fn interrupt_with(signal: Signal) {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let mut running = loadgen.start_run(&server.address, "-r 1000 -c 10 -d 600s --warmup 0s");
    running.await_line("1/600 s");
    running.signal(signal);
    let finished = running.finish();
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let report = report(&loadgen, &finished);
    assert_eq!(report.run.ended, Ended::Interrupted);
    assert!(
        report.run.measured_s >= 1.0 && report.run.measured_s < report.run.duration_s,
        "{:?}",
        report.run
    );
    let arrivals = main_population(&report).arrivals;
    assert!(arrivals.scheduled >= 900, "the first second is in the report: {arrivals:?}");
    assert_eq!(failed_checks(&report), ["ended"], "{finished:?}");
    assert!(finished.stdout.contains("interrupted"), "{}", finished.stdout);
}

#[test]
fn the_first_ends_the_run_with_a_report() {
    interrupt_with(Signal::INT);
}

#[test]
fn sigterm_does_the_same() {
    interrupt_with(Signal::TERM);
}

#[test]
fn the_second_ends_the_program_at_once() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    // Replies that do not come keep the drain open for its full two seconds.
    let mut running = loadgen.start_run(&server.address, "-r 1000 -c 10 -d 600s --warmup 0s");
    running.await_line("1/600 s");
    server.freeze();
    running.signal(Signal::INT);
    assert!(!running.ends_within(Duration::from_millis(200)), "the replies in flight are waited for");
    // Again until it is heard: a signal that comes while the same one is pending is lost.
    while !running.ends_within(Duration::from_millis(50)) {
        running.signal(Signal::INT);
    }
    let finished = running.finish();
    assert_eq!(finished.code, Some(EXIT_SECOND_SIGNAL), "{finished:?}");
    assert_eq!(finished.stdout, "");
}
