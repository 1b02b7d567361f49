//! A server that stops for 100 ms in every second: an open loop shows all of it, a closed loop hides it.

use tidemark_loadgen::report::Latency;
use tidemark_loadgen::schedule::{Arrivals, Schedule};

use crate::processes::{FaultyServer, Loadgen};
use crate::results::{main_population, report};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
const STALL_NS: u64 = 100 * MS;
const EVERY_NS: u64 = S;
const STALL: [&str; 5] = ["stall", "--for", "100ms", "--every", "1s"];
const RATE: f64 = 2000.0;
const SEED: u64 = 1;
const WARMUP_NS: u64 = S / 2;
const DURATION_NS: u64 = 4 * S;
const QUANTILES: [f64; 3] = [0.95, 0.99, 0.999];

/// The quantiles of the response that a server would have that answers at once except in stalls, when its stalls are
/// `phase_ns` off the start of the schedule.
fn law(arrivals_ns: &[u64], phase_ns: u64) -> [u64; 3] {
    let waits_ns = arrivals_ns.iter().map(|at_ns| STALL_NS.saturating_sub((at_ns + phase_ns) % EVERY_NS));
    let mut waits_ns: Vec<u64> = waits_ns.collect();
    waits_ns.sort_unstable();
    QUANTILES.map(|quantile| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index of a short list"
        )]
        let rank = (waits_ns.len() as f64 * quantile).ceil() as usize;
        waits_ns[rank - 1]
    })
}

/// The least that the law allows for this very schedule: how many of its arrivals meet a stall depends on when the
/// server was started. With random arrivals that makes 10 % of a difference at p95.
fn least_by_law(arrivals: Arrivals) -> [u64; 3] {
    let schedule = Schedule::new(arrivals, SEED, 0).unwrap();
    let measured = schedule.skip_while(|&at| at < WARMUP_NS).take_while(|&at| at < WARMUP_NS + DURATION_NS);
    let arrivals_ns: Vec<u64> = measured.collect();
    let phases_ns = (0..EVERY_NS).step_by(5_000_000);
    let laws = phases_ns.map(|phase_ns| law(&arrivals_ns, phase_ns));
    laws.reduce(|least, one| std::array::from_fn(|index| least[index].min(one[index]))).unwrap()
}

fn measure(arrival: &str) -> Latency {
    let server = FaultyServer::start(&STALL);
    let loadgen = Loadgen::new();
    let options = format!("-r {RATE} -c 50 -d 4s --warmup 500ms --seed {SEED} --arrival {arrival}");
    let finished = loadgen.run(&server.address, &options);
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert_eq!(population.arrivals.errored + population.arrivals.timed_out, 0, "{finished:?}");
    population.response
}

/// The lower side is tight: nothing makes a response shorter than the stall it met. The upper side is what no busy
/// machine can reach with nine tenths of the arrivals meeting no stall.
#[track_caller]
fn assert_law(response: &Latency, least_ns: [u64; 3]) {
    let actual_ns = [response.p95_ns, response.p99_ns, response.p99_9_ns];
    for ((quantile, actual), least) in QUANTILES.into_iter().zip(actual_ns).zip(least_ns) {
        assert!(
            actual as f64 >= least as f64 * 0.98,
            "q{quantile} is {actual} ns, the law says at least {least} ns"
        );
    }
    assert!(response.p50_ns < 50 * MS, "{response:?}");
}

#[test]
fn constant_arrivals_feel_every_stall() {
    let least_ns = least_by_law(Arrivals::Constant { rate: RATE });
    // The law itself, as a check of the arithmetic above.
    assert!(least_ns[0] >= 49 * MS && least_ns[1] >= 89 * MS && least_ns[2] >= 98 * MS, "{least_ns:?}");
    assert_law(&measure("constant"), least_ns);
}

#[test]
fn poisson_arrivals_feel_every_stall() {
    let least_ns = least_by_law(Arrivals::Poisson { rate: RATE });
    assert!(least_ns[0] >= 40 * MS && least_ns[1] >= 87 * MS && least_ns[2] >= 97 * MS, "{least_ns:?}");
    assert_law(&measure("poisson"), least_ns);
}

#[test]
fn a_closed_loop_hides_the_stall_and_says_so() {
    let server = FaultyServer::start(&STALL);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, "-c 4 -d 3s --warmup 0s");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert!(population.service.max_ns >= STALL_NS * 9 / 10, "a stall was met: {:?}", population.service);
    // Four of all requests of a second meet it: with more than 80 a second they are less than a twentieth.
    assert!(population.service.p95_ns < 25 * MS, "{:?}", population.service);
    assert!(
        report.verdict.warnings.iter().any(|finding| finding.check == "closed_loop"),
        "{:?}",
        report.verdict
    );
    assert!(finished.stdout.contains("closed loop"), "{}", finished.stdout);
}
