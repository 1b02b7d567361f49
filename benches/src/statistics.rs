//! How figures are reduced. Pure.

use serde::{Deserialize, Serialize};

/// Quantile `q` of 0 to 1 of the values, between neighbours in proportion; NaN when there are none.
///
/// Definition 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages" (1996): what R, `NumPy` and spreadsheets do.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = q.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
    let below = position as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// The median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// A median and how far the values lie around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Spread {
    pub min: f64,
    pub lower_quartile: f64,
    pub median: f64,
    pub upper_quartile: f64,
    pub max: f64,
}

impl Spread {
    /// Of the values; all NaN of nothing.
    pub fn of(values: &[f64]) -> Self {
        Self {
            min: quantile(values, 0.0),
            lower_quartile: quantile(values, 0.25),
            median: median(values),
            upper_quartile: quantile(values, 0.75),
            max: quantile(values, 1.0),
        }
    }
}

/// What one step in x adds to y, from two points (x, y). What both have in common is not in it.
pub fn slope(low: (f64, f64), high: (f64, f64)) -> f64 {
    (high.1 - low.1) / (high.0 - low.0)
}

/// The geometric mean of two positive figures, which treats a ratio and its inverse alike.
pub fn geometric_mean(a: f64, b: f64) -> f64 {
    (a * b).sqrt()
}

/// Which of two candidates a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The one that is measured.
    Head,
    /// The one that it is held against.
    Base,
}

/// The four slots of block `index`: ABBA and BAAB in turn. Within a block a steady drift of the machine falls on both
/// sides alike, and over two blocks neither side always comes first.
pub fn block_order(index: usize) -> [Side; 4] {
    use Side::{Base, Head};
    if index.is_multiple_of(2) { [Head, Base, Base, Head] } else { [Base, Head, Head, Base] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn medians_of_odd_and_even_many() {
        assert_near(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_near(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_near(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
        let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_near(spread.lower_quartile, 2.0);
        assert_near(spread.upper_quartile, 4.0);
        assert_near(spread.max, 5.0);
    }

    #[test]
    fn a_constant_part_is_not_in_the_slope() {
        assert_near(slope((2000.0, 1e6 + 2000.0 * 64.0), (15_000.0, 1e6 + 15_000.0 * 64.0)), 64.0);
    }

    proptest! {
        #[test]
        fn a_linear_drift_falls_on_both_sides_of_a_block_alike(index in 0usize..100, start in -10.0..10.0, step in -1.0..1.0) {
            let (mut head, mut base) = (0.0_f64, 0.0_f64);
            for (slot, side) in block_order(index).into_iter().enumerate() {
                let drift = start + step * slot as f64;
                match side { Side::Head => head += drift, Side::Base => base += drift }
            }
            prop_assert!((head - base).abs() < 1e-9);
        }

        #[test]
        fn blocks_take_turns_in_who_comes_first(index in 0usize..100) {
            prop_assert_ne!(block_order(index)[0], block_order(index + 1)[0]);
        }

        #[test]
        fn the_median_has_as_many_below_as_above(values in prop::collection::vec(-1e6..1e6, 1..50)) {
            let middle = median(&values);
            let below = values.iter().filter(|&&value| value < middle).count();
            let above = values.iter().filter(|&&value| value > middle).count();
            prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
        }
    }
}
