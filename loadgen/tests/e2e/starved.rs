//! A generator that cannot do what it was asked to, beside processes that take its CPU or by a rate beyond it: it never passes
//! its own lateness off as the target's.

use tidemark_host::cpu;
use tidemark_loadgen::record::LAG_FLOOR_NS;
use tidemark_loadgen::report::{Population, Report};
use tidemark_loadgen::verdict::{LAG_FRACTION_MAX, RUN_QUEUE_FRACTION_MAX};

use crate::processes::{BusyLoop, FaultyServer, Finished, Loadgen};
use crate::results::{main_population, report};

const WELL: [&str; 3] = ["stall", "--every", "1h"];
/// A histogram tells a figure within 0.1 %.
const ROUNDING: f64 = 1.003;

/// A CPU that this test may use, and busy loops on it.
fn busy_cpu(loops: usize) -> (usize, Vec<BusyLoop>) {
    let cpu = *cpu::allowed().unwrap().ids().last().unwrap();
    (cpu, (0..loops).map(|_| BusyLoop::on(cpu)).collect())
}

/// The figures of one percentile: lag, and response.
fn at_percentiles(population: &Population) -> [(f64, u64, u64); 7] {
    let (lag, response) = (&population.lag, &population.response);
    [
        (50.0, lag.p50_ns, response.p50_ns),
        (90.0, lag.p90_ns, response.p90_ns),
        (95.0, lag.p95_ns, response.p95_ns),
        (99.0, lag.p99_ns, response.p99_ns),
        (99.9, lag.p99_9_ns, response.p99_9_ns),
        (99.99, lag.p99_99_ns, response.p99_99_ns),
        (100.0, lag.max_ns, response.max_ns),
    ]
}

/// What holds on every machine, however fast and however busy: where the lag is large beside the response the run is not
/// trusted, and where it is large at the median the run is INVALID.
#[track_caller]
fn assert_honest(report: &Report) {
    for (percentile, lag_ns, response_ns) in at_percentiles(main_population(report)) {
        let allowed_ns = (response_ns as f64 * LAG_FRACTION_MAX).max(LAG_FLOOR_NS as f64);
        if lag_ns as f64 > allowed_ns * ROUNDING {
            let trusted_to = report.verdict.trusted_to;
            assert!(
                trusted_to.is_none_or(|trusted| trusted < percentile),
                "p{percentile}: lag {lag_ns} ns of {response_ns} ns, trusted to {trusted_to:?}"
            );
            assert!(report.verdict.lateness.is_some(), "{:?}", report.verdict);
            if percentile <= 50.0 {
                assert!(report.verdict.reasons.iter().any(|reason| reason.check == "trust"));
            }
        }
    }
}

/// INVALID, in the report, in the table and as the exit code, with a reason whose figure is beyond its limit.
#[track_caller]
fn assert_invalid(finished: &Finished, report: &Report, checks: &[&str]) {
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(!report.verdict.valid && finished.stdout.contains("\nINVALID"), "{finished:?}");
    let reason = report.verdict.reasons.iter().find(|reason| checks.contains(&reason.check.as_str()));
    let reason = reason.unwrap_or_else(|| panic!("none of {checks:?}: {:?}", report.verdict.reasons));
    assert!(reason.figure > reason.limit, "{reason:?}");
    assert!(finished.stdout.contains(&format!("because: {}", reason.text)), "{finished:?}");
}

#[test]
fn a_generator_with_a_quarter_of_a_cpu_is_invalid_and_says_who_had_the_rest() {
    let (cpu, _loops) = busy_cpu(3);
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    // Its worker would always run: what is due next is so near that it does not sleep.
    let finished = loadgen.run(&server.address, &format!("-r 20000 -c 10 -d 1s --warmup 0s --pin {cpu}"));
    let report = report(&loadgen, &finished);
    assert_honest(&report);
    assert_invalid(&finished, &report, &["trust", "rate", "arrival_process"]);
    let lateness = report.verdict.lateness.unwrap();
    assert_eq!(
        finished.stdout.contains("for a CPU that others used"),
        lateness.run_queue_fraction >= 0.001,
        "{finished:?}"
    );
}

/// With few connections it is unread replies that arrivals wait for, besides being taken up late. That must not pass for
/// the target's doing.
#[test]
fn a_generator_beside_one_busy_loop_does_not_blame_the_target_alone() {
    let (cpu, _loops) = busy_cpu(1);
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, &format!("-r 5000 -c 4 -d 1s --warmup 0s --pin {cpu}"));
    let report = report(&loadgen, &finished);
    assert_honest(&report);
    let waited = report.generator.workers[0].run_queue_fraction;
    if waited >= 0.1 && report.verdict.trusted_to < Some(100.0) {
        assert!(finished.stdout.contains("for a CPU that others used"), "{finished:?}");
    }
}

#[test]
fn a_rate_beyond_any_generator_is_invalid() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    // A send each 100 ns, on one thread.
    let finished = loadgen.run(&server.address, "-r 10000000 -c 100 --workers 1 -d 300ms --warmup 0s");
    let report = report(&loadgen, &finished);
    assert_honest(&report);
    assert_invalid(&finished, &report, &["trust", "rate", "fell_behind", "never_sent"]);
}

#[test]
fn a_closed_loop_without_the_cpu_of_its_plan_is_invalid() {
    let (cpu, _loops) = busy_cpu(3);
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, &format!("-c 50 -d 1s --warmup 0s --pin {cpu}"));
    let report = report(&loadgen, &finished);
    // Where the kernel does not tell of waiting, there is nothing to judge by.
    if report.generator.workers[0].run_queue_fraction > RUN_QUEUE_FRACTION_MAX {
        assert_invalid(&finished, &report, &["starved"]);
    } else {
        assert!(report.verdict.reasons.iter().all(|reason| reason.check != "starved"), "{finished:?}");
    }
}
