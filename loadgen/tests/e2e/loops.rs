//! Runs against servers that do nothing wrong.

use tidemark_loadgen::schedule::{Arrivals, Schedule};

use crate::processes::{FaultyServer, Loadgen};
use crate::results::{failed_checks, main_population, report};

/// A server whose first stall is later than any test.
const WELL: [&str; 3] = ["stall", "--every", "1h"];

#[test]
fn an_open_loop_takes_every_arrival_of_its_schedule() {
    let server = FaultyServer::start(&WELL);
    for (arrival, arrivals) in
        [("constant", Arrivals::Constant { rate: 700.0 }), ("poisson", Arrivals::Poisson { rate: 700.0 })]
    {
        let loadgen = Loadgen::new();
        let options = format!("-r 700 -c 10 -d 1s --warmup 250ms --seed 3 --arrival {arrival}");
        let finished = loadgen.run(&server.address, &options);
        let report = report(&loadgen, &finished);
        let population = main_population(&report);
        let expected = Schedule::new(arrivals, 3, 0).unwrap().count_between(250_000_000, 1_250_000_000);
        assert_eq!(population.arrivals.scheduled, expected);
        assert_eq!(population.arrivals.completed, expected, "{finished:?}");
        assert_eq!(population.lag.count, expected, "each has been taken up");
        assert_eq!(failed_checks(&report), [""; 0], "{finished:?}");
    }
}

#[test]
fn the_warm_up_loads_the_target_and_is_not_measured() {
    let server = FaultyServer::start(&WELL);
    for options in ["-c 2", "-c 2 -r 1000"] {
        let loadgen = Loadgen::new();
        let options = format!("{options} -d 200ms --warmup 500ms --payload 100");
        let finished = loadgen.run(&server.address, &options);
        let report = report(&loadgen, &finished);
        let population = main_population(&report);
        assert!(population.arrivals.completed > 0, "{finished:?}");
        let before_the_window = population.sent_bytes / 100 - population.arrivals.scheduled;
        assert!(before_the_window >= 10, "{before_the_window} requests: {population:?}");
    }
}

#[test]
fn workers_share_the_schedule_and_the_connections() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, "-r 1000 -c 2000 --workers 3 -d 2s --warmup 0s");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert_eq!(report.generator.workers.len(), 3);
    assert_eq!(
        (population.connections.requested, population.connections.opened),
        (2000, 2000),
        "{finished:?}"
    );
    assert_eq!(population.connections.peak_open, 2000);
    assert_eq!(population.connect.count, 2000);
    let expected =
        Schedule::new(Arrivals::Poisson { rate: 1000.0 }, 1, 0).unwrap().count_between(0, 2_000_000_000);
    assert_eq!(population.arrivals.completed, expected);
    assert_eq!(failed_checks(&report), [""; 0], "{finished:?}");
}

#[test]
fn http_is_measured_like_echo() {
    let server = FaultyServer::start(&["stall", "--every", "1h", "--http"]);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.url("/health"), "-r 500 -c 10 -d 1s --warmup 0s");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert!(population.arrivals.scheduled > 0);
    assert_eq!(population.arrivals.completed, population.arrivals.scheduled, "{finished:?}");
    assert!(population.errors.is_empty(), "{:?}", population.errors);
    assert_eq!(failed_checks(&report), [""; 0], "{finished:?}");
}

#[test]
fn a_connection_that_is_closed_as_announced_is_renewed_and_no_error() {
    let server = FaultyServer::start(&["close"]);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.url("/"), "-c 4 -d 1s --warmup 0s");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert!(population.connections.renewed > 4, "{finished:?}");
    assert_eq!(population.connections.lost, 0);
    assert_eq!(population.arrivals.errored, 0, "{:?}", population.errors);
    assert!(population.arrivals.completed > 4);
    assert_eq!(failed_checks(&report), [""; 0], "{finished:?}");
    assert!(finished.stdout.contains("renewed"), "{}", finished.stdout);
}

#[test]
fn a_payload_that_fills_every_buffer_comes_back_whole() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, "-c 2 -d 1s --warmup 0s --payload 8000000");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert!(population.arrivals.completed > 0, "{finished:?}");
    assert_eq!(population.connections.lost, 0, "{:?}", population.errors);
    assert_eq!(failed_checks(&report), [""; 0], "{finished:?}");
}
