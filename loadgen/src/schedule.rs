//! Intended send times: pure, seeded, without a clock.
//!
//! A schedule is an iterator of nanosecond offsets from the start of the run. Every worker walks the same schedule
//! and takes each n-th arrival of it ([`Schedule::share`]), so the set of intended times depends on the seed alone
//! and not on how many workers there are. Walking past the others' arrivals costs about 10 ns each.

use std::iter::{Skip, StepBy};

use rand::SeedableRng;
use rand_distr::{Distribution, Exp1};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

const NS_PER_S: f64 = 1e9;

/// How requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Arrivals {
    /// Each connection sends its next request when the previous reply has come.
    Closed,
    /// Open loop, one arrival every `1 / rate` seconds.
    Constant {
        /// Arrivals per second over the whole population.
        rate: f64,
    },
    /// Open loop, exponentially distributed gaps with mean `1 / rate` seconds: independent users.
    Poisson {
        /// Arrivals per second over the whole population.
        rate: f64,
    },
}

impl Arrivals {
    /// Arrivals per second that were asked for; `None` in a closed loop.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Closed => None,
            Self::Constant { rate } | Self::Poisson { rate } => Some(rate),
        }
    }
}

/// One worker's part of a [`Schedule`].
pub type Share = StepBy<Skip<Schedule>>;

/// The intended times of one population, ns after the start of the run, in order and without end.
#[derive(Clone, Debug)]
pub struct Schedule {
    gaps: Gaps,
    /// Arrivals made so far.
    index: u64,
}

#[derive(Clone, Debug)]
enum Gaps {
    Constant { rate: f64 },
    Poisson { mean_ns: f64, at_ns: f64, rng: Box<Xoshiro256PlusPlus> },
}

impl Schedule {
    /// The schedule of an open-loop population; `None` for a closed loop, which has no intended times of its own.
    /// `stream` is the population's index: populations of one run never share random numbers.
    pub fn new(arrivals: Arrivals, seed: u64, stream: usize) -> Option<Self> {
        let gaps = match arrivals {
            Arrivals::Closed => return None,
            Arrivals::Constant { rate } => Gaps::Constant { rate },
            Arrivals::Poisson { rate } => {
                let mut rng = Box::new(Xoshiro256PlusPlus::seed_from_u64(seed));
                for _ in 0..stream {
                    rng.jump();
                }
                Gaps::Poisson { mean_ns: NS_PER_S / rate, at_ns: 0.0, rng }
            }
        };
        Some(Self { gaps, index: 0 })
    }

    /// The arrivals that worker `worker` of `workers` takes.
    pub fn share(self, worker: usize, workers: usize) -> Share {
        self.skip(worker).step_by(workers)
    }

    /// How many arrivals are intended in `[from_ns, until_ns)`.
    pub fn count_between(self, from_ns: u64, until_ns: u64) -> u64 {
        let arrivals = self.skip_while(|&at| at < from_ns).take_while(|&at| at < until_ns);
        arrivals.count() as u64
    }
}

impl Iterator for Schedule {
    type Item = u64;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are positive and under 2^53 ns"
    )]
    fn next(&mut self) -> Option<u64> {
        let at_ns = match &mut self.gaps {
            // From the index, not by adding gaps up, so that rounding never accumulates.
            Gaps::Constant { rate } => self.index as f64 * NS_PER_S / *rate,
            Gaps::Poisson { mean_ns, at_ns, rng } => {
                let gap: f64 = Exp1.sample(rng);
                *at_ns += gap * *mean_ns;
                *at_ns
            }
        };
        self.index += 1;
        Some(at_ns as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn poisson(rate: f64, seed: u64) -> Schedule {
        Schedule::new(Arrivals::Poisson { rate }, seed, 0).unwrap()
    }

    #[test]
    fn constant_arrivals_never_drift() {
        let schedule = Schedule::new(Arrivals::Constant { rate: 3.0 }, 1, 0).unwrap();
        let times: Vec<u64> = schedule.take(30_001).step_by(3000).collect();
        let whole_seconds: Vec<u64> = (0..=10).map(|k| k * 1_000_000_000_000).collect();
        assert_eq!(times, whole_seconds);
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_deviation_of_an_exponential() {
        let times: Vec<u64> = poisson(1000.0, 7).take(200_000).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Mean and standard deviation are both 1 ms; the standard error over 200,000 gaps is 0.22 %.
        assert!((mean / 1e6 - 1.0).abs() < 0.01, "mean {mean}");
        assert!((variance.sqrt() / 1e6 - 1.0).abs() < 0.02, "deviation {}", variance.sqrt());
    }

    #[test]
    fn the_stream_of_a_seed_is_fixed() {
        let first: Vec<u64> = poisson(1000.0, 1).take(4).collect();
        insta::assert_debug_snapshot!(first);
    }

    #[test]
    fn populations_of_one_run_have_streams_of_their_own() {
        let arrivals = Arrivals::Poisson { rate: 1000.0 };
        let a: Vec<u64> = Schedule::new(arrivals, 1, 0).unwrap().take(10).collect();
        let b: Vec<u64> = Schedule::new(arrivals, 1, 1).unwrap().take(10).collect();
        assert_ne!(a, b);
    }

    #[test]
    fn a_closed_loop_has_no_schedule() {
        assert!(Schedule::new(Arrivals::Closed, 1, 0).is_none());
    }

    proptest! {
        #[test]
        fn workers_share_one_schedule(seed: u64, rate in 1.0..1e6, workers in 1usize..9, constant: bool) {
            let arrivals = if constant { Arrivals::Constant { rate } } else { Arrivals::Poisson { rate } };
            let schedule = Schedule::new(arrivals, seed, 0).unwrap();
            let whole: Vec<u64> = schedule.clone().take(400).collect();
            let mut shared: Vec<u64> = (0..workers)
                .flat_map(|worker| {
                    let share = schedule.clone().share(worker, workers);
                    share.take(400usize.saturating_sub(worker).div_ceil(workers))
                })
                .collect();
            shared.sort_unstable();
            prop_assert_eq!(shared, whole);
        }

        #[test]
        fn times_are_in_order(seed: u64, rate in 0.01..1e7) {
            let times: Vec<u64> = poisson(rate, seed).take(200).collect();
            prop_assert!(times.is_sorted());
        }

        #[test]
        fn the_count_is_that_of_the_times(seed: u64, from in 0u64..1_000_000_000, length in 0u64..1_000_000_000) {
            let counted = poisson(1000.0, seed).count_between(from, from + length);
            let times = poisson(1000.0, seed).take_while(|&at| at < from + length);
            prop_assert_eq!(counted, times.filter(|&at| at >= from).count() as u64);
        }
    }
}
