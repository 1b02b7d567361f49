//! How sure a percentile is: intervals by order statistics. Pure.
//!
//! Of `n` independent values the number below the true q-quantile is binomial with `n` and `q`, whatever the distribution of
//! the values. So the `l`-th and the `u`-th smallest value enclose the quantile with at least the probability that this
//! number lies in `l..u` (David and Nagaraja, Order Statistics, section 7.1). Requests of one run are not quite independent: what
//! stalls one stalls its neighbours. The intervals are therefore the least that there is of doubt.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// How often such an interval encloses the true quantile.
pub const CONFIDENCE: f64 = 0.95;
/// The quantile of the normal distribution that leaves half of the rest above it.
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;
/// Beyond this variance the binomial distribution is the normal one, to less than a thousandth of a standard deviation; below
/// it every probability is added up, which takes less than a millisecond.
const EXACT_VARIANCE_MAX: f64 = 1e6;
/// Probabilities that are this part of the highest one change no sum.
const NEGLIGIBLE: f64 = 1e-18;

/// Where a quantile lies with [`CONFIDENCE`]. Both ends include the width of the histogram's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// It is not below; 0 when the values are too few to say.
    pub low_ns: u64,
    /// It is not above; `None` when the values are too few to say.
    pub high_ns: Option<u64>,
}

impl Interval {
    /// The interval of a quantile between 0 and 1, both excluded; `None` when there are no values. The maximum has none.
    pub fn of_quantile(histogram: &Histogram<u64>, quantile: f64) -> Option<Self> {
        if histogram.is_empty() || quantile <= 0.0 || quantile >= 1.0 {
            return None;
        }
        let (low_rank, high_rank) = ranks(histogram.len(), quantile);
        let low_ns = low_rank.and_then(|rank| value_of_rank(histogram, rank));
        let high_ns = high_rank.and_then(|rank| value_of_rank(histogram, rank));
        Some(Self {
            low_ns: low_ns.map_or(0, |value| histogram.lowest_equivalent(value)),
            high_ns: high_ns.map(|value| histogram.highest_equivalent(value)),
        })
    }

    /// Whether both may be the same quantile.
    pub fn overlaps(&self, other: &Self) -> bool {
        let reaches = |from: u64, to: Option<u64>| to.is_none_or(|to| from <= to);
        reaches(self.low_ns, other.high_ns) && reaches(other.low_ns, self.high_ns)
    }
}

/// The `rank`-th smallest value, from 1, as its bucket tells it.
fn value_of_rank(histogram: &Histogram<u64>, rank: u64) -> Option<u64> {
    let mut passed = 0_u64;
    let at_rank = |bucket: &u64| {
        passed = passed.saturating_add(*bucket);
        passed >= rank
    };
    let mut at_rank = at_rank;
    histogram
        .iter_recorded()
        .find(|bucket| at_rank(&bucket.count_at_value()))
        .map(|bucket| bucket.value_iterated_to())
}

/// The ranks, from 1 to `count`, whose values enclose the quantile: the highest that is above it, and the lowest that is
/// below it, in less than half of what [`CONFIDENCE`] leaves.
fn ranks(count: u64, quantile: f64) -> (Option<u64>, Option<u64>) {
    let variance = count as f64 * quantile * (1.0 - quantile);
    let (low, high) = if variance <= EXACT_VARIANCE_MAX {
        exact_ranks(count, quantile)
    } else {
        let (mean, reach) = (count as f64 * quantile, NORMAL_QUANTILE * variance.sqrt());
        (whole((mean - reach).floor()), whole((mean + reach).ceil()).saturating_add(1))
    };
    ((low >= 1).then_some(low), (high <= count).then_some(high))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "never negative, and saturates")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// From 0 to `count + 1`. Goes from the most probable number in both directions, for there the ratio of one probability to the
/// next is known exactly; the usual continued fraction of the incomplete beta function does not converge for large counts.
fn exact_ranks(count: u64, quantile: f64) -> (u64, u64) {
    let odds = quantile / (1.0 - quantile);
    let mode = whole((count as f64 + 1.0) * quantile).min(count);
    let step_down = |(number, weight): &(u64, f64)| {
        let below = number.checked_sub(1)?;
        Some((below, weight * *number as f64 / ((count - below) as f64 * odds)))
    };
    let step_up = |(number, weight): &(u64, f64)| {
        let above = number + 1;
        (above <= count).then(|| (above, weight * odds * (count - number) as f64 / above as f64))
    };
    let is_of_weight = |(_, weight): &(u64, f64)| *weight > NEGLIGIBLE;
    let down: Vec<_> =
        std::iter::successors(Some((mode, 1.0)), step_down).skip(1).take_while(is_of_weight).collect();
    let up: Vec<_> = std::iter::successors(Some((mode, 1.0)), step_up).take_while(is_of_weight).collect();
    let total: f64 = down.iter().chain(&up).map(|(_, weight)| weight).sum();
    let tail = total * (1.0 - CONFIDENCE) / 2.0;
    let ascending = down.iter().rev().chain(&up);
    let descending = up.iter().rev().chain(&down);
    // `l` is the least number that is no longer in the lower tail: P(number < l) is at most the tail.
    let low = first_outside(ascending, tail);
    let high = first_outside(descending, tail) + 1;
    (low, high)
}

/// The first number at which the weights, added up, exceed the tail.
fn first_outside<'a>(numbers: impl Iterator<Item = &'a (u64, f64)>, tail: f64) -> u64 {
    let mut sum = 0.0;
    let mut outside = numbers.skip_while(|(_, weight)| {
        sum += weight;
        sum <= tail
    });
    outside.next().map_or(0, |(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::record::latency_histogram;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = latency_histogram();
        for value in values {
            histogram.record(value).unwrap();
        }
        histogram
    }

    #[test]
    fn ranks_are_those_of_the_tables() {
        // Of the median, as in every table of the sign test.
        assert_eq!(ranks(5, 0.5), (None, None));
        assert_eq!(ranks(6, 0.5), (Some(1), Some(6)));
        assert_eq!(ranks(10, 0.5), (Some(2), Some(9)));
        assert_eq!(ranks(25, 0.5), (Some(8), Some(18)));
        assert_eq!(ranks(100, 0.5), (Some(40), Some(61)));
        // 0.99^n is the probability that nothing lies above: 2.5 % is passed at 368.
        assert_eq!(ranks(367, 0.99).1, None);
        assert_eq!(ranks(368, 0.99).1, Some(368));
    }

    #[test]
    fn the_interval_has_the_values_of_its_ranks() {
        let histogram = of(1..=100);
        let interval = Interval::of_quantile(&histogram, 0.5).unwrap();
        assert_eq!(interval, Interval { low_ns: 40, high_ns: Some(61) });
        // Beyond 2048 ns a bucket is wider than 1 ns, and all of it may hold the value.
        let interval = Interval::of_quantile(&of([4096; 10]), 0.5).unwrap();
        assert_eq!(interval, Interval { low_ns: 4096, high_ns: Some(4099) });
    }

    #[test]
    fn too_few_values_leave_it_open() {
        let interval = Interval::of_quantile(&of(1..=100), 0.999).unwrap();
        assert_eq!(interval.high_ns, None);
        assert_eq!(Interval::of_quantile(&of([7]), 0.5).unwrap(), Interval { low_ns: 0, high_ns: None });
        assert_eq!(Interval::of_quantile(&of([]), 0.5), None);
        assert_eq!(Interval::of_quantile(&of([7]), 1.0), None);
    }

    #[test]
    fn intervals_that_share_a_value_overlap() {
        let interval = |low_ns, high_ns| Interval { low_ns, high_ns };
        assert!(interval(1, Some(5)).overlaps(&interval(5, Some(9))));
        assert!(!interval(1, Some(5)).overlaps(&interval(6, Some(9))));
        assert!(!interval(6, None).overlaps(&interval(1, Some(5))));
        assert!(interval(6, None).overlaps(&interval(9, None)));
    }

    #[test]
    fn it_encloses_the_true_quantile_as_often_as_it_says() {
        const SAMPLES: u32 = 2000;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        for (quantile, truth) in [(0.5, 500), (0.9, 900), (0.99, 990)] {
            let enclosed = (0..SAMPLES).filter(|_| {
                let histogram = of((0..500).map(|_| rng.random_range(1..=1000)));
                let interval = Interval::of_quantile(&histogram, quantile).unwrap();
                interval.low_ns <= truth && interval.high_ns.is_none_or(|high| truth <= high)
            });
            let share = enclosed.count() as f64 / f64::from(SAMPLES);
            // Never less, and not by far more: whole ranks make it a little wider.
            assert!((0.94..0.985).contains(&share), "q{quantile}: {share}");
        }
    }

    #[test]
    fn where_exact_gives_way_to_normal_the_two_agree() {
        let (low, high) = exact_ranks(4_000_000, 0.5);
        assert_eq!(ranks(4_000_000, 0.5), (Some(low), Some(high)));
        let above = ranks(4_000_004, 0.5);
        assert!(
            above.0.unwrap().abs_diff(low) <= 4 && above.1.unwrap().abs_diff(high) <= 4,
            "{above:?} {low} {high}"
        );
    }

    proptest! {
        #[test]
        fn it_holds_the_quantile_of_the_sample(values in prop::collection::vec(1u64..60_000_000_000, 1..300), quantile in 0.001f64..0.999) {
            let histogram = of(values);
            let interval = Interval::of_quantile(&histogram, quantile).unwrap();
            let at_quantile = histogram.value_at_quantile(quantile);
            prop_assert!(interval.low_ns <= at_quantile);
            prop_assert!(interval.high_ns.is_none_or(|high| at_quantile <= high), "{interval:?} {at_quantile}");
        }

        #[test]
        fn any_count_has_ranks(count in 1u64.., quantile in 1e-9f64..0.999_999_999) {
            let (low, high) = ranks(count, quantile);
            prop_assert!(low.is_none_or(|low| low <= count) && high.is_none_or(|high| high <= count));
            prop_assert!(low.zip(high).is_none_or(|(low, high)| low < high));
        }
    }
}
