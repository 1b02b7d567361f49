//! A server that stops for 100 ms in every second, under open-loop load, lets a tenth of all arrivals wait, for between 0
//! and 100 ms, evenly. So `P(response > x) = (1 - x / 100 ms) / 10`, and the response has p95 50 ms, p99 90 ms and
//! p99.9 99 ms whatever the rate. A load generator that shows less omits what it should have sent.

use tidemark_loadgen::record::{Kind, Recording};
use tidemark_loadgen::schedule::Arrivals;

use crate::simulation::{Fate, MS, S, START_NS, Simulation, US, window};

/// Replies after 30 us, but stands still during the first 100 ms of every second.
fn stalling(_: u64, now_ns: u64) -> Fate {
    const WORK_NS: u64 = 30 * US;
    let into_second_ns = now_ns % S;
    Fate::Replies(WORK_NS + (100 * MS).saturating_sub(into_second_ns))
}

fn stalled(arrivals: Arrivals, connections: u32, duration_ns: u64) -> Recording {
    let window = window(S, duration_ns, 2 * S);
    Simulation::new(arrivals, connections, 10 * S, window, stalling).run(window)
}

#[track_caller]
fn assert_near(what: &str, actual_ns: u64, expected_ns: u64, tolerance: f64) {
    let off = actual_ns as f64 / expected_ns as f64 - 1.0;
    assert!(off.abs() <= tolerance, "{what} is {actual_ns} ns, {:.2} % off {expected_ns} ns", off * 100.0);
}

/// `p95_tolerance`: how far chance may take the part of the arrivals that meets a stall.
#[track_caller]
fn assert_law(arrivals: Arrivals, connections: u32, p95_tolerance: f64) {
    let recording = stalled(arrivals, connections, 60 * S);
    let response = recording.histogram(Kind::Response);
    assert_near("p95", response.value_at_quantile(0.95), 50 * MS, p95_tolerance);
    assert_near("p99", response.value_at_quantile(0.99), 90 * MS, 0.01);
    assert_near("p99.9", response.value_at_quantile(0.999), 99 * MS, 0.01);
    let median_ns = response.value_at_quantile(0.5);
    assert!(median_ns < 100 * US, "the median is {median_ns} ns");
    // The stall is the target's doing: nothing of it may pass for lateness of the generator.
    assert!(recording.histogram(Kind::Lag).max() <= US, "lag {}", recording.histogram(Kind::Lag).max());
    assert!(recording.account.balances(), "{:?}", recording.account);
    assert_eq!(recording.account.completed, recording.account.scheduled);
}

#[test]
fn constant_arrivals_feel_every_stall() {
    for connections in [10, 50, 1000] {
        assert_law(Arrivals::Constant { rate: 2000.0 }, connections, 0.01);
    }
}

#[test]
fn poisson_arrivals_feel_every_stall() {
    // 120,000 arrivals: the tenth that meets a stall varies by 0.9 %, and p95 with it.
    for connections in [10, 50, 1000] {
        assert_law(Arrivals::Poisson { rate: 2000.0 }, connections, 0.03);
    }
}

#[test]
fn the_share_of_arrivals_that_waits_is_in_response_and_not_in_service() {
    let recording = stalled(Arrivals::Constant { rate: 2000.0 }, 10, 60 * S);
    // The first ten of the 200 arrivals of each stall take a connection; the other 190 wait, for 95 ms and less.
    let service_p99_ns = recording.histogram(Kind::Service).value_at_quantile(0.99);
    assert!(service_p99_ns < 100 * US, "service p99 {service_p99_ns} ns");
    assert_near("wait p99", recording.histogram(Kind::Wait).value_at_quantile(0.99), 85 * MS, 0.01);
}

#[test]
fn a_closed_loop_hides_the_stall() {
    let recording = stalled(Arrivals::Closed, 10, 5 * S);
    let service = recording.histogram(Kind::Service);
    assert!(service.max() >= 99 * MS, "the stall was met");
    let p99_ns = service.value_at_quantile(0.99);
    assert!(p99_ns < 100 * US, "service p99 {p99_ns} ns");
    assert!(recording.account.balances(), "{:?}", recording.account);
}

#[test]
fn a_stall_that_outlasts_the_run_cannot_vanish() {
    let window = window(0, 10 * S, S);
    // Stops for good with the last second of the measurement.
    let stops_ns = START_NS + 9 * S;
    let fate = |_, now_ns| if now_ns < stops_ns { Fate::Replies(30 * US) } else { Fate::NeverReplies(0) };
    let arrivals = Arrivals::Constant { rate: 1000.0 };
    let recording = Simulation::new(arrivals, 50, 60 * S, window, fate).run(window);
    assert_eq!(recording.account.in_flight_at_end, 50);
    assert_eq!(recording.account.never_sent, 950);
    // A tenth of all arrivals has aged between 1 and 2 s.
    let response = recording.histogram(Kind::Response);
    assert_near("p95", response.value_at_quantile(0.95), 1500 * MS, 0.01);
    assert_near("max", response.max(), 2 * S, 0.01);
}
