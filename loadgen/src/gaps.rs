//! Did the arrivals come as they were declared? A sample of the gaps between them as they were taken up, and its test.
//!
//! A schedule is Poisson by its making; what was made of it is another question. A generator that wakes up every few
//! milliseconds takes up its arrivals in bursts, and its target meets another load than the one that was asked for.
//!
//! An arrival counts as taken up at its intended time when it was at most [`LAG_FLOOR_NS`] late, and otherwise that much
//! earlier than it was: the same lateness that the trust limit takes for what a wake-up costs. So a generator that keeps up
//! is judged by its schedule, and one that does not by what it did.

use crate::record::LAG_FLOOR_NS;
use crate::stats::anderson_darling::{self, AndersonDarling};
use crate::stats::erlang;

/// Gaps of a worker that are tested, at the most. Enough to tell another process from a Poisson process, and few enough to let one pass
/// in which a tenth of the arrivals were late: how far that reaches is what the trust limit says.
pub const GAPS_MAX: usize = 128;
/// Fewer gaps are not tested.
pub const GAPS_MIN: usize = 50;
/// How far A² of a worker's part of Poisson arrivals may go: chance alone takes one worker in a million beyond it.
pub const A2_MAX: f64 = 12.5;

/// An even sample of the gaps between the arrivals that one worker takes up. Its memory is taken once; to keep a gap costs an
/// addition, and mostly not even that.
#[derive(Clone, Debug)]
pub struct GapSample {
    last_ns: Option<u64>,
    /// Every so many gaps one is kept.
    stride: u64,
    /// Gaps until the next that is kept.
    until_next: u64,
    gaps_ns: Vec<u64>,
}

impl Default for GapSample {
    fn default() -> Self {
        Self { last_ns: None, stride: 1, until_next: 0, gaps_ns: Vec::with_capacity(GAPS_MAX) }
    }
}

impl GapSample {
    /// An arrival was taken up. Both times never run backwards from one arrival to the next.
    pub fn taken_up(&mut self, intended_ns: u64, taken_up_ns: u64) {
        let at_ns = intended_ns.max(taken_up_ns.saturating_sub(LAG_FLOOR_NS));
        let Some(last_ns) = self.last_ns.replace(at_ns) else { return };
        if self.until_next > 0 {
            self.until_next -= 1;
            return;
        }
        if self.gaps_ns.len() == GAPS_MAX {
            thin(&mut self.gaps_ns);
            self.stride *= 2;
        }
        self.gaps_ns.push(at_ns.saturating_sub(last_ns));
        self.until_next = self.stride - 1;
    }

    /// What was kept, ns. The sample is empty afterwards, and does not go on.
    pub fn take(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.gaps_ns)
    }
}

/// Leaves every second gap, from the first on.
fn thin(gaps_ns: &mut Vec<u64>) {
    let mut index = 0;
    gaps_ns.retain(|_| {
        index += 1;
        index % 2 == 1
    });
}

/// Tests whether the gaps of each worker are those of workers that share Poisson arrivals of `rate` per second in turn: then
/// a worker's gap is the sum of as many exponential ones as there are workers. Returns the worst of them; `None` when
/// none has gaps enough.
///
/// The gaps of one worker are apart in time and so independent. Those of two overlap, and are not put together.
pub fn test(gaps_by_worker_ns: &[Vec<u64>], rate: f64, workers: usize) -> Option<AndersonDarling> {
    let enough = gaps_by_worker_ns.iter().filter(|gaps_ns| workers > 0 && gaps_ns.len() >= GAPS_MIN);
    let tested = enough.map(|gaps_ns| {
        // Times are whole nanoseconds: a gap of 0 is one of less.
        let place = |&gap_ns: &u64| erlang::cdf(workers, (gap_ns as f64).max(0.5) * rate / 1e9);
        anderson_darling::uniform(gaps_ns.iter().map(place).collect())
    });
    tested.max_by(|one, other| one.a2.total_cmp(&other.a2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Arrivals, Schedule};

    const MS: u64 = 1_000_000;
    const S: u64 = 1000 * MS;
    const RATE: f64 = 20_000.0;

    /// The gaps of `workers` that share the arrivals of ten seconds, each taken up when `taken_up` says.
    fn gaps(arrivals: Arrivals, workers: usize, seed: u64, taken_up: impl Fn(u64) -> u64) -> Vec<Vec<u64>> {
        let share = |worker| {
            let schedule = Schedule::new(arrivals, seed, 0).unwrap().share(worker, workers);
            let mut sample = GapSample::default();
            for intended_ns in schedule.take_while(|&at_ns| at_ns < 10 * S) {
                sample.taken_up(intended_ns, taken_up(intended_ns));
            }
            sample.take()
        };
        (0..workers).map(share).collect()
    }

    fn poisson(workers: usize, seed: u64, taken_up: impl Fn(u64) -> u64) -> f64 {
        let gaps = gaps(Arrivals::Poisson { rate: RATE }, workers, seed, taken_up);
        test(&gaps, RATE, workers).unwrap().a2
    }

    #[test]
    fn what_keeps_up_is_as_declared_on_any_number_of_workers() {
        for workers in [1, 2, 3, 4, 16, 300] {
            let worst =
                (0..20).map(|seed| poisson(workers, seed, |intended_ns| intended_ns)).fold(0.0, f64::max);
            assert!(worst < A2_MAX, "{workers} workers: {worst}");
        }
    }

    #[test]
    fn the_probability_is_even_for_arrivals_as_declared() {
        for workers in [1, 4] {
            let first_of = |seed| {
                let mut all =
                    gaps(Arrivals::Poisson { rate: 50.0 }, workers, seed, |intended_ns| intended_ns);
                all.truncate(1);
                test(&all, 50.0, workers).unwrap().p
            };
            let found: Vec<f64> = (0..1000).map(first_of).collect();
            let count = |below: f64| found.iter().filter(|&&p| p < below).count();
            // 100 and 500 are expected, with a standard error of 10 and 16.
            assert!(count(0.1).abs_diff(100) <= 40 && count(0.5).abs_diff(500) <= 64, "{workers} workers");
        }
    }

    #[test]
    fn one_worker_of_many_that_takes_up_in_bursts_is_found() {
        let arrivals = Arrivals::Poisson { rate: RATE };
        let mut all = gaps(arrivals, 8, 1, |intended_ns| intended_ns);
        all[5] = gaps(arrivals, 8, 1, |intended_ns| intended_ns.next_multiple_of(10 * MS)).swap_remove(5);
        assert!(test(&all, RATE, 8).unwrap().a2 > A2_MAX);
    }

    #[test]
    fn what_a_wake_up_costs_is_no_other_process() {
        let late = |intended_ns: u64| intended_ns + intended_ns % LAG_FLOOR_NS;
        let [kept, late] = [poisson(1, 1, |intended_ns| intended_ns), poisson(1, 1, late)];
        assert_eq!(kept.to_bits(), late.to_bits());
    }

    #[test]
    fn bursts_are_another_process() {
        // Taken up once in a millisecond, twenty at a time.
        for workers in [1, 2, 4] {
            let a2 = poisson(workers, 1, |intended_ns| intended_ns.next_multiple_of(MS));
            assert!(a2 > A2_MAX, "{workers} workers: {a2}");
        }
    }

    #[test]
    fn a_tenth_of_the_arrivals_late_is_left_to_the_trust_limit() {
        // The generator stands still for 5 ms in every 50.
        let a2 = poisson(1, 1, |intended_ns| match intended_ns % (50 * MS) {
            into if into < 5 * MS => intended_ns - into + 5 * MS + into / 100,
            _ => intended_ns,
        });
        assert!(a2 < A2_MAX, "{a2}");
    }

    #[test]
    fn other_arrivals_than_declared_are_told() {
        let even = gaps(Arrivals::Constant { rate: RATE }, 1, 1, |intended_ns| intended_ns);
        assert!(test(&even, RATE, 1).unwrap().a2 > A2_MAX);
        let twice = gaps(Arrivals::Poisson { rate: 2.0 * RATE }, 1, 1, |intended_ns| intended_ns);
        assert!(test(&twice, RATE, 1).unwrap().a2 > A2_MAX);
        // Two workers that each walk the whole schedule.
        let both = gaps(Arrivals::Poisson { rate: RATE }, 1, 1, |intended_ns| intended_ns);
        assert!(test(&both, RATE, 2).unwrap().a2 > A2_MAX);
    }

    #[test]
    fn a_rate_of_a_few_nanoseconds_a_gap_is_as_declared() {
        let rate = 10_000_000.0;
        let schedule = Schedule::new(Arrivals::Poisson { rate }, 1, 0).unwrap();
        let mut sample = GapSample::default();
        schedule.take(1_000_000).for_each(|at_ns| sample.taken_up(at_ns, at_ns));
        assert!(test(&[sample.take()], rate, 1).unwrap().a2 < A2_MAX / 2.0);
    }

    #[test]
    fn few_gaps_are_not_tested() {
        let few = vec![1; GAPS_MIN - 1];
        assert_eq!(test(&[few.clone(), few.clone()], RATE, 2), None);
        let enough = vec![1; GAPS_MIN];
        assert_eq!(test(&[few, enough.clone()], RATE, 2).unwrap().n, GAPS_MIN);
        assert_eq!(test(&[enough], RATE, 0), None);
    }

    #[test]
    fn the_sample_is_even_and_bounded() {
        for arrivals in [10, 128, 129, 130, 1000, 1025, 5000, 100_000_u64] {
            let mut sample = GapSample::default();
            // The n-th gap is n.
            for index in 0..=arrivals {
                let at_ns = index * (index + 1) / 2;
                sample.taken_up(at_ns, at_ns);
            }
            let stride = sample.stride;
            let kept = sample.take();
            assert!(kept.len() as u64 >= arrivals.min(GAPS_MAX as u64 / 2), "{} of {arrivals}", kept.len());
            assert!(kept.len() <= GAPS_MAX);
            assert!(kept.iter().zip(0..).all(|(&gap, place)| gap == 1 + place * stride), "{kept:?}");
        }
    }
}
