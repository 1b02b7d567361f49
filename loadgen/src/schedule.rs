//! Intended send times: pure, seeded, without a clock.
//!
//! A schedule is an iterator of nanosecond offsets from the start of the run. Every worker walks the same schedule
//! and takes each n-th arrival of it ([`Schedule::share`]), so the set of intended times depends on the seed alone
//! and not on how many workers there are. Walking past the others' arrivals costs about 10 ns each.
//!
//! Arrivals are made in *operational time*, in which one is expected per unit: 0, 1, 2 for constant ones, the points of a Poisson
//! process of rate 1 else. A profile of the rate maps that to real time by the inverse of the integral of the rate, so that a ramp is exact
//! (Cinlar, "Introduction to Stochastic Processes", 1975, section 4.7).

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
    /// Not at all: connections are held, and watched.
    Idle,
    /// Each connection sends its next request when the previous reply has come, and the think time is over.
    Closed,
    /// Open loop, a request on every connection once in a period, their phases spread evenly over it.
    Every {
        /// The period, seconds.
        period_s: f64,
        /// Connections of the population.
        connections: u32,
    },
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
    /// Arrivals per second that were asked for; `None` where replies set the pace, or nothing arrives.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Idle | Self::Closed => None,
            Self::Every { period_s, connections } => Some(f64::from(connections) / period_s),
            Self::Constant { rate } | Self::Poisson { rate } => Some(rate),
        }
    }

    /// Arrivals per second that were to be independent of each other.
    pub fn poisson_rate(self) -> Option<f64> {
        match self {
            Self::Poisson { rate } => Some(rate),
            _ => None,
        }
    }
}

/// How the rate of arrivals rises, or falls, before it is what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateRamp {
    /// The rate at the start of the schedule, per second.
    pub from: f64,
    /// How long until the rate is that of the arrivals, seconds; it changes linearly.
    pub over_s: f64,
}

/// The rate over time: linear from `from` to `rate` in the first `over_s` seconds, then constant.
#[derive(Clone, Copy, Debug)]
struct Profile {
    rate: f64,
    from: f64,
    over_s: f64,
}

impl Profile {
    const fn constant(rate: f64) -> Self {
        Self { rate, from: rate, over_s: 0.0 }
    }

    /// When the integral of the rate reaches `count`, ns.
    fn at_ns(&self, count: f64) -> f64 {
        let in_ramp = f64::midpoint(self.from, self.rate) * self.over_s;
        if count >= in_ramp {
            // The usual case, and without a ramp the exact one.
            return self.over_s * NS_PER_S + (count - in_ramp) * NS_PER_S / self.rate;
        }
        // from t + slope t^2 / 2 = count, in the form that loses no digits when the slope is small.
        let slope = (self.rate - self.from) / self.over_s;
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        2.0 * count / (self.from + root) * NS_PER_S
    }
}

/// One worker's part of a [`Schedule`].
#[derive(Clone, Debug)]
pub struct Share {
    schedule: Schedule,
    worker: u64,
    workers: u64,
    /// Who takes the next one.
    turn: u64,
    /// Arrivals come in rounds of so many, of which each is dealt anew; 0 when they do not.
    round: u64,
    /// How many of the round have been dealt.
    dealt: u64,
}

impl Iterator for Share {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        loop {
            let at_ns = self.schedule.next()?;
            let is_mine = self.turn == self.worker;
            // Counted, because to divide would be the most of it.
            self.turn = if self.turn + 1 == self.workers { 0 } else { self.turn + 1 };
            if self.round > 0 {
                self.dealt += 1;
                if self.dealt == self.round {
                    (self.dealt, self.turn) = (0, 0);
                }
            }
            if is_mine {
                return Some(at_ns);
            }
        }
    }
}

/// The intended times of one population, ns after the start of the run, in order and without end.
#[derive(Clone, Debug)]
pub struct Schedule {
    process: Process,
    profile: Profile,
    /// Arrivals made so far.
    index: u64,
    /// Connections that take turns; 0 when any may take an arrival.
    turns: u64,
}

#[derive(Clone, Debug)]
enum Process {
    Constant,
    Poisson { at: f64, rng: Box<Xoshiro256PlusPlus> },
}

impl Schedule {
    /// The schedule of an open-loop population; `None` where there are no intended times beforehand.
    /// `stream` is the population's index: populations of one run never share random numbers.
    pub fn new(arrivals: Arrivals, seed: u64, stream: usize) -> Option<Self> {
        let rate = arrivals.rate()?;
        let process = match arrivals {
            Arrivals::Poisson { .. } => {
                let mut rng = Box::new(Xoshiro256PlusPlus::seed_from_u64(seed));
                for _ in 0..stream {
                    rng.jump();
                }
                Process::Poisson { at: 0.0, rng }
            }
            _ => Process::Constant,
        };
        let turns = match arrivals {
            Arrivals::Every { connections, .. } => connections.into(),
            _ => 0,
        };
        Some(Self { process, profile: Profile::constant(rate), index: 0, turns })
    }

    /// The same with a rate that changes at the start.
    #[must_use]
    pub fn ramped(mut self, ramp: Option<RateRamp>) -> Self {
        if let Some(RateRamp { from, over_s }) = ramp {
            self.profile = Profile { rate: self.profile.rate, from, over_s };
        }
        self
    }

    /// The arrivals that worker `worker` of `workers` takes. Where connections take turns these are the arrivals of its own: of
    /// every round the `worker`-th and each `workers`-th after it, in the order of its connections.
    pub fn share(self, worker: usize, workers: usize) -> Share {
        let (worker, workers) = (worker as u64, workers as u64);
        Share { round: self.turns, schedule: self, worker, workers, turn: 0, dealt: 0 }
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
        let count = match &mut self.process {
            // From the index, not by adding gaps up, so that rounding never accumulates.
            Process::Constant => self.index as f64,
            Process::Poisson { at, rng } => {
                let gap: f64 = Exp1.sample(rng);
                *at += gap;
                *at
            }
        };
        self.index += 1;
        Some(self.profile.at_ns(count) as u64)
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
        assert!(Schedule::new(Arrivals::Idle, 1, 0).is_none());
    }

    #[test]
    fn every_connection_has_its_turn_once_in_a_period() {
        let every = Arrivals::Every { period_s: 10.0, connections: 4 };
        let times: Vec<u64> = Schedule::new(every, 1, 0).unwrap().take(6).map(|ns| ns / 1_000_000).collect();
        assert_eq!(times, [0, 2500, 5000, 7500, 10_000, 12_500]);
        // Of five connections the first worker of two has three: the turns begin anew with each round.
        let every = Arrivals::Every { period_s: 5.0, connections: 5 };
        let share = |worker| {
            let share = Schedule::new(every, 1, 0).unwrap().share(worker, 2);
            share.take(5).map(|ns| ns / 1_000_000_000).collect::<Vec<u64>>()
        };
        assert_eq!((share(0), share(1)), (vec![0, 2, 4, 5, 7], vec![1, 3, 6, 8, 11]));
    }

    /// The integral of the rate up to `t_s`.
    fn integral(rate: f64, RateRamp { from, over_s }: RateRamp, t_s: f64) -> f64 {
        let ramped_s = t_s.min(over_s);
        let at_end = from + (rate - from) * ramped_s / over_s;
        f64::midpoint(from, at_end) * ramped_s + rate * (t_s - ramped_s)
    }

    #[test]
    fn a_ramp_from_nothing_has_its_arrivals_where_the_integral_says() {
        let ramp = RateRamp { from: 0.0, over_s: 10.0 };
        let schedule = Schedule::new(Arrivals::Constant { rate: 100.0 }, 1, 0).unwrap().ramped(Some(ramp));
        let times: Vec<u64> = schedule.clone().take(502).map(|ns| ns / 1_000).collect();
        // 5 t^2 = k, and after ten seconds one every 10 ms.
        assert_eq!((times[0], times[5], times[20], times[125]), (0, 1_000_000, 2_000_000, 5_000_000));
        assert_eq!((times[500], times[501]), (10_000_000, 10_010_000));
        assert_eq!(schedule.count_between(0, 10_000_000_000), 500);
    }

    proptest! {
        #[test]
        fn workers_share_one_schedule(
            seed: u64, rate in 1.0..1e6, workers in 1usize..9, connections in 1u32..50, kind in 0..3, ramp: bool
        ) {
            let arrivals = match kind {
                0 => Arrivals::Constant { rate },
                1 => Arrivals::Poisson { rate },
                _ => Arrivals::Every { period_s: f64::from(connections) / rate, connections },
            };
            let ramp = ramp.then_some(RateRamp { from: rate / 3.0, over_s: 100.0 / rate });
            let schedule = Schedule::new(arrivals, seed, 0).unwrap().ramped(ramp);
            let mut whole: Vec<u64> = schedule.clone().take(400).collect();
            let end = whole[399];
            whole.retain(|&at| at < end);
            let mut shared: Vec<u64> = (0..workers)
                .filter(|worker| kind < 2 || *worker < connections as usize)
                .flat_map(|worker| schedule.clone().share(worker, workers).take_while(|&at| at < end))
                .collect();
            shared.sort_unstable();
            prop_assert_eq!(shared, whole);
        }

        #[test]
        fn a_ramp_is_inverted_exactly(
            rate in 1.0..1e6, from in 0.0..1e6, over_s in 0.001..1000.0, count in 0.0..1e9,
        ) {
            let at_s = Profile { rate, from, over_s }.at_ns(count) / NS_PER_S;
            let back = integral(rate, RateRamp { from, over_s }, at_s);
            prop_assert!((back - count).abs() <= 1e-6 * (1.0 + count), "{} arrivals by {} s, not {}", back, at_s, count);
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
