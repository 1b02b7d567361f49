//! The arrivals of a run: the seed alone decides when they are intended, they are as independent of each other as was declared,
//! and a generator that takes them up otherwise is found out.

use proptest::prelude::*;
use tidemark_loadgen::dispatch::{Dispatcher, Window};
use tidemark_loadgen::gaps::{self, A2_MAX};
use tidemark_loadgen::record::Recording;
use tidemark_loadgen::schedule::{Arrivals, Schedule};
use tidemark_loadgen::stats::anderson_darling::{self, AndersonDarling};

use crate::simulation::{MS, S, START_NS, US, window};

/// Lets `workers` take up their arrivals in turn, each when `taken_up` says for its intended time, and answers at once.
/// Returns when the arrivals were due, in order, and what was recorded.
fn take_up(
    arrivals: Arrivals,
    seed: u64,
    workers: usize,
    window: Window,
    taken_up: impl Fn(u64) -> u64,
) -> (Vec<u64>, Recording) {
    let mut due_ns = Vec::new();
    let mut total = Recording::new();
    for worker in 0..workers {
        let schedule = Schedule::new(arrivals, seed, 0).map(|schedule| schedule.share(worker, workers));
        let mut dispatcher = Dispatcher::new(schedule, 1, S);
        dispatcher.connected(0, 0);
        dispatcher.begin(window);
        while let Some(intended_ns) = dispatcher.next_arrival_ns() {
            due_ns.push(intended_ns - window.start_ns);
            let now_ns = taken_up(intended_ns);
            let conn = dispatcher.next(now_ns).expect("it is due, and the connection is free");
            dispatcher.completed(conn, now_ns);
        }
        dispatcher.finish(window.drain_until_ns);
        total.add(&dispatcher.swap_recording(Recording::new()));
    }
    due_ns.sort_unstable();
    (due_ns, total)
}

proptest! {
    #[test]
    fn the_same_seed_makes_the_same_arrivals_on_any_number_of_workers(
        seed: u64,
        rate in 1.0..20_000.0,
        constant: bool,
    ) {
        let arrivals = if constant { Arrivals::Constant { rate } } else { Arrivals::Poisson { rate } };
        let window = window(100 * MS, 200 * MS, 0);
        let (alone, recorded) = take_up(arrivals, seed, 1, window, |intended_ns| intended_ns);
        let schedule = Schedule::new(arrivals, seed, 0).unwrap();
        prop_assert_eq!(&alone, &schedule.take_while(|&at_ns| at_ns < 300 * MS).collect::<Vec<_>>());
        for workers in [2, 4] {
            let (shared, together) = take_up(arrivals, seed, workers, window, |intended_ns| intended_ns);
            prop_assert_eq!(&alone, &shared, "on {} workers", workers);
            prop_assert_eq!(recorded.account, together.account);
        }
    }
}

/// Held against an exponential of the mean that was asked for, and against one of their own mean.
fn test_gaps(due_ns: &[u64], rate: f64) -> [AndersonDarling; 2] {
    let gaps: Vec<f64> = due_ns.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
    let places = gaps.iter().map(|gap| -f64::exp_m1(-gap * rate / 1e9)).collect();
    [anderson_darling::uniform(places), anderson_darling::exponential(gaps)]
}

#[test]
fn poisson_gaps_pass_anderson_darling_at_one_in_a_hundred() {
    let rate = 5000.0;
    for workers in [1, 2, 4] {
        let (due_ns, _) =
            take_up(Arrivals::Poisson { rate }, 1, workers, window(0, 20 * S, 0), |intended_ns| intended_ns);
        assert!(due_ns.len() > 99_000);
        for tested in test_gaps(&due_ns, rate) {
            assert!(tested.p >= 0.01, "{tested:?}");
        }
    }
}

#[test]
fn of_many_seeds_one_in_a_hundred_fails_at_one_in_a_hundred() {
    let rate = 1000.0;
    let mut failed = [0, 0];
    for seed in 0..1000 {
        let due_ns: Vec<u64> =
            Schedule::new(Arrivals::Poisson { rate }, seed, 0).unwrap().take(501).collect();
        for (failed, tested) in failed.iter_mut().zip(test_gaps(&due_ns, rate)) {
            *failed += u32::from(tested.p < 0.01);
        }
    }
    // Ten are expected of each, with a standard error of three. None would be as bad as many: a test that never fails.
    assert!(failed.iter().all(|failed| (2..=22).contains(failed)), "{failed:?}");
}

/// A² of the gaps that a run of ten seconds records.
fn recorded(arrivals: Arrivals, workers: usize, taken_up: impl Fn(u64) -> u64) -> f64 {
    let (_, total) = take_up(arrivals, 1, workers, window(S, 10 * S, 0), taken_up);
    let rate = arrivals.rate().expect("an open loop");
    gaps::test(&total.gaps_by_worker_ns, rate, workers).expect("there are many").a2
}

#[test]
fn a_generator_that_keeps_up_has_the_gaps_of_its_schedule() {
    let arrivals = Arrivals::Poisson { rate: 20_000.0 };
    for workers in [1, 2, 4] {
        assert!(recorded(arrivals, workers, |intended_ns| intended_ns + 40 * US) < A2_MAX / 2.0);
    }
}

#[test]
fn a_generator_that_wakes_up_every_few_milliseconds_is_found_out() {
    let arrivals = Arrivals::Poisson { rate: 20_000.0 };
    for workers in [1, 2, 4] {
        let ticks = |intended_ns: u64| START_NS + (intended_ns - START_NS).next_multiple_of(4 * MS);
        assert!(recorded(arrivals, workers, ticks) > A2_MAX);
    }
}
