//! Buckets of a Prometheus histogram that count exactly what an HDR histogram holds.
//!
//! A slot of the HDR histogram covers `[low, next_low - 1]` ns, and with three significant digits each power of two
//! from 2048 on is cut into 1024 slots of equal width, below that into single nanoseconds. So every eighth of a power of two
//! is the beginning of a slot. A bucket's bound `le` is inclusive: it is that beginning less one nanosecond, which is
//! the end of the slot before. No slot reaches over a bound, and the counts are exact.

use hdrhistogram::Histogram;

use crate::record::Kind;

/// The first bound is just under 2^10 ns, about a microsecond.
const FIRST_EXPONENT: u32 = 10;
/// The last bound is just under 2^37 ns, 137 s.
const LAST_EXPONENT: u32 = 37;
/// Bounds in each doubling: a bucket is at most an eighth wide.
const PER_DOUBLING: usize = 8;
/// All bounds; what is above the last is only in the count.
pub(super) const BOUNDS: usize = (LAST_EXPONENT - FIRST_EXPONENT) as usize * PER_DOUBLING + 1;

/// The upper bounds, inclusive, in ns.
pub(super) const BOUNDS_NS: [u64; BOUNDS] = {
    let mut bounds = [0; BOUNDS];
    let mut index = 0;
    let mut start = 1 << FIRST_EXPONENT;
    while index < BOUNDS {
        let eighths = (PER_DOUBLING + index % PER_DOUBLING) as u64;
        bounds[index] = start / PER_DOUBLING as u64 * eighths - 1;
        index += 1;
        if index.is_multiple_of(PER_DOUBLING) {
            start *= 2;
        }
    }
    bounds
};

/// What a Prometheus histogram shows, added up over the intervals.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    /// Not cumulative; the last one counts what is above every bound.
    counts: [u64; BOUNDS + 1],
    /// In ns.
    sum: f64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { counts: [0; BOUNDS + 1], sum: 0.0 }
    }
}

impl Buckets {
    /// Adds what a histogram holds, in one pass over it.
    pub(super) fn add(&mut self, histogram: &Histogram<u64>) {
        let mut index = 0;
        for slot in histogram.iter_recorded() {
            let (value_ns, count) = (slot.value_iterated_to(), slot.count_at_value());
            index += BOUNDS_NS[index..].iter().take_while(|&&bound_ns| bound_ns < value_ns).count();
            self.counts[index] += count;
            self.sum += histogram.median_equivalent(value_ns) as f64 * count as f64;
        }
    }

    /// How many values are at most each bound.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        BOUNDS_NS.iter().zip(&self.counts).map(move |(&bound_ns, count)| {
            sum += count;
            (bound_ns, sum)
        })
    }

    /// How many values there are.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, ns, each taken as the middle of its slot.
    pub(super) fn sum_ns(&self) -> f64 {
        self.sum
    }
}

/// The quantiles that are shown of an interval; 1 is the maximum.
pub(super) const QUANTILES: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

/// The quantiles of one interval by kind, ns; `None` where it has no values.
pub(super) type Quantiles = [Option<[u64; QUANTILES.len()]>; Kind::ALL.len()];

/// The quantiles of a histogram, ns; `None` when it is empty.
pub(super) fn quantiles(histogram: &Histogram<u64>) -> Option<[u64; QUANTILES.len()]> {
    let value_at = |quantile| {
        if quantile < 1.0 { histogram.value_at_quantile(quantile) } else { histogram.max() }
    };
    (!histogram.is_empty()).then(|| QUANTILES.map(value_at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{HIGHEST_NS, latency_histogram};

    #[test]
    fn bounds_are_the_eighths_of_every_power_of_two_less_one() {
        assert_eq!(BOUNDS_NS[..9], [1023, 1151, 1279, 1407, 1535, 1663, 1791, 1919, 2047]);
        assert_eq!(BOUNDS_NS[BOUNDS - 2..], [(15 << 33) - 1, (1 << 37) - 1]);
        assert!(BOUNDS_NS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn no_slot_of_the_histogram_reaches_over_a_bound() {
        let histogram = latency_histogram();
        for bound_ns in BOUNDS_NS.into_iter().filter(|&bound_ns| bound_ns <= HIGHEST_NS) {
            assert_eq!(histogram.highest_equivalent(bound_ns), bound_ns);
        }
    }

    /// Values at and beside the bounds, where a mistake would show, and others.
    fn value_ns() -> impl Strategy<Value = u64> {
        let beside = (0..BOUNDS, 0u64..4).prop_map(|(index, off)| BOUNDS_NS[index] + off - 1);
        prop_oneof![0u64..5_000, 1u64..=HIGHEST_NS, beside].prop_map(|value_ns| value_ns.min(HIGHEST_NS))
    }

    proptest! {
        #[test]
        fn the_count_at_a_bound_is_that_of_the_values_up_to_it(
            intervals in prop::collection::vec(prop::collection::vec(value_ns(), 0..40), 1..4),
        ) {
            let mut buckets = Buckets::default();
            for interval in &intervals {
                let mut histogram = latency_histogram();
                for &value_ns in interval {
                    histogram.record(value_ns).expect("in range");
                }
                buckets.add(&histogram);
            }
            let values = intervals.concat();
            for (bound_ns, count) in buckets.cumulative() {
                let expected = values.iter().filter(|&&value_ns| value_ns <= bound_ns).count();
                prop_assert_eq!(count, expected as u64, "up to {} ns", bound_ns);
            }
            prop_assert_eq!(buckets.count(), values.len() as u64);
            let sum: u64 = values.iter().sum();
            prop_assert!((buckets.sum_ns() - sum as f64).abs() <= sum as f64 * 0.0005 + values.len() as f64);
        }
    }
}
