//! The test of Anderson and Darling ("A Test of Goodness of Fit", 1954): do values come from a distribution?
//!
//! It weighs the distance between the values and the distribution most in the tails, so it sees bursts and gaps. There are
//! two cases, by what is known beforehand (Stephens, "EDF Statistics for Goodness of Fit and Some Comparisons", 1974):
//!
//! - [`uniform`]: everything is known, Stephens' case 0. A value is put through its own distribution function first, and
//!   is then uniform on 0 to 1. Arrivals are judged like this, because their rate is the plan's.
//! - [`exponential`]: the values are exponential, with a mean that is estimated from them. That is what `SciPy`'s
//!   `anderson(x, "expon")` tests.

use std::f64::consts::PI;

/// The least probability that is told; the rounding of the sums is of this size.
pub const P_MIN: f64 = 1e-12;

/// What the test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AndersonDarling {
    /// How many values there were.
    pub n: usize,
    /// The statistic A²; the larger, the further off. 0 without values.
    pub a2: f64,
    /// The probability of such a statistic or a larger one when the values do come from the distribution, not below
    /// [`P_MIN`].
    pub p: f64,
}

/// Tests values against the uniform distribution on 0 to 1.
///
/// The probability is that of infinitely many values. For five and more the difference does not matter (Stephens 1974).
pub fn uniform(mut values: Vec<f64>) -> AndersonDarling {
    values.sort_by(f64::total_cmp);
    let a2 = statistic(&values);
    AndersonDarling { n: values.len(), a2, p: p_of_known(a2) }
}

/// Tests values, all of them at least 0 and not all 0, against the exponential distribution with their own mean.
pub fn exponential(mut values: Vec<f64>) -> AndersonDarling {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.sort_by(f64::total_cmp);
    for value in &mut values {
        *value = -f64::exp_m1(-*value / mean);
    }
    let a2 = statistic(&values);
    AndersonDarling { n: values.len(), a2, p: p_of_estimated(a2, values.len()) }
}

/// A² of values on 0 to 1, in order.
fn statistic(sorted: &[f64]) -> f64 {
    if sorted.is_empty() {
        return 0.0;
    }
    let n = sorted.len() as f64;
    let pairs = sorted.iter().zip(sorted.iter().rev()).enumerate();
    let sum: f64 = pairs
        .map(|(index, (&low, &high))| {
            // The logarithm of nothing is not finite. What is so near an end counts as if it were this near.
            let low = low.max(f64::MIN_POSITIVE);
            let high = (1.0 - high).max(f64::EPSILON / 2.0);
            (2.0 * index as f64 + 1.0) * (low.ln() + high.ln())
        })
        .sum();
    -n - sum / n
}

/// The upper tail of A² of infinitely many values from a distribution that is known: one minus the series at the end of
/// Anderson and Darling's paper of 1954.
fn p_of_known(a2: f64) -> f64 {
    // All that is left of the probability there is less than the rounding.
    const A2_MAX: f64 = 30.0;
    if a2 <= 0.0 {
        return 1.0;
    }
    if a2 > A2_MAX {
        return P_MIN;
    }
    let mut sum = 0.0;
    // The binomial coefficient of -1/2 over j, which alternates.
    let mut coefficient = 1.0;
    for j in 0.. {
        let odd = 4.0 * f64::from(j) + 1.0;
        let rate = odd * odd * PI * PI / (8.0 * a2);
        let term = coefficient * odd * (-rate).exp() * weight(a2, rate);
        sum += term;
        if rate > 1.0 && term.abs() < f64::EPSILON {
            break;
        }
        coefficient *= -(2.0 * f64::from(j) + 1.0) / (2.0 * f64::from(j) + 2.0);
    }
    (1.0 - (2.0 * PI).sqrt() / a2 * sum).clamp(P_MIN, 1.0)
}

/// The integral of `exp(a2 / (8 (1 + w²)) - rate w²)` over w from 0 without end. It is even and falls off like a bell, so the
/// trapezoidal rule gives it to the last digits.
fn weight(a2: f64, rate: f64) -> f64 {
    const STEP: f64 = 0.02;
    // exp(-6.6²) is beyond the last digit.
    const STEPS: u32 = 330;
    let height = |step: u32| {
        let squared = (f64::from(step) * STEP).powi(2);
        (a2 / (8.0 * (1.0 + squared / rate)) - squared).exp()
    };
    let sum: f64 = height(0) / 2.0 + (1..=STEPS).map(height).sum::<f64>();
    sum * STEP / rate.sqrt()
}

/// The same for an exponential distribution whose mean was estimated: the modification of Stephens (1974), and the
/// curves through its percentage points of D'Agostino and Stephens ("Goodness-of-Fit Techniques", 1986, section 4.9).
fn p_of_estimated(a2: f64, n: usize) -> f64 {
    // Where the last curve has its lowest point; beyond, p is less than that.
    const MODIFIED_MAX: f64 = 10.03;
    let modified = (a2 * (1.0 + 0.6 / n.max(1) as f64)).min(MODIFIED_MAX);
    let curve = |a: f64, b: f64, c: f64| (a + b * modified + c * modified * modified).exp();
    let p = match modified {
        ..0.26 => 1.0 - curve(-12.2204, 67.459, -110.3),
        0.26..0.51 => 1.0 - curve(-6.1327, 20.218, -18.663),
        0.51..0.95 => curve(0.9209, -3.353, 0.3),
        _ => curve(0.731, -3.009, 0.15),
    };
    p.clamp(P_MIN, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::reference;

    #[test]
    fn the_statistic_is_that_of_scipy() {
        let reference = reference::read();
        assert!(reference.uniform.len() >= 20 && reference.exponential.len() >= 20);
        for case in &reference.uniform {
            let found = uniform(case.values.clone());
            assert!((found.a2 - case.a2).abs() <= 1e-9 * case.a2.max(1.0), "{case:?}: {found:?}");
        }
        for case in &reference.exponential {
            let found = exponential(case.values.clone());
            assert!((found.a2 - case.a2).abs() <= 1e-9 * case.a2.max(1.0), "{case:?}: {found:?}");
        }
    }

    #[test]
    fn the_probability_of_a_known_distribution_is_that_of_its_chi_squares() {
        for case in &reference::read().known_tail {
            let p = p_of_known(case.a2);
            assert!((p - case.p).abs() <= 1e-10 + 1e-6 * case.p, "{case:?}: {p}");
        }
    }

    #[test]
    fn percentage_points_of_a_known_distribution_are_those_of_the_table() {
        // Stephens (1974), table 1; the last with the digits of Lewis, "Distribution of the Anderson-Darling Statistic" (1961).
        for (level, a2) in [(0.15, 1.610), (0.10, 1.933), (0.05, 2.492), (0.025, 3.070), (0.01, 3.857)] {
            let p = p_of_known(a2);
            assert!((p / level - 1.0).abs() < 0.03, "A2 {a2} has p {p}, the table says {level}");
        }
    }

    #[test]
    fn scipys_critical_values_of_an_exponential_have_their_levels() {
        for case in &reference::read().exponential {
            for (&critical, level) in case.critical.iter().zip([0.15, 0.10, 0.05, 0.025, 0.01]) {
                let p = p_of_estimated(critical, case.values.len());
                // SciPy rounds the values to three digits; the curves are within a few hundredths of the points.
                assert!((p / level - 1.0).abs() < 0.05, "A2 {critical} has p {p}, SciPy says {level}");
            }
        }
    }

    #[test]
    fn the_curves_of_an_exponential_meet() {
        for seam in [0.26, 0.51, 0.95] {
            let [below, above] = [seam - 1e-9, seam + 1e-9].map(|a2| p_of_estimated(a2, usize::MAX));
            assert!((below - above).abs() < 0.01, "{below} and {above} at {seam}");
        }
        assert!(p_of_estimated(1e9, 10) < 1e-6);
    }

    #[test]
    fn what_is_at_the_very_ends_is_finite() {
        let found = uniform(vec![0.0, 1.0, 0.5]);
        assert!(found.a2.is_finite() && found.a2 > 0.0, "{found:?}");
        assert_eq!(uniform(Vec::new()), AndersonDarling { n: 0, a2: 0.0, p: 1.0 });
    }

    proptest! {
        #[test]
        fn the_probability_falls(a2 in 0.01..40.0f64, more in 0.0..5.0f64) {
            prop_assert!(p_of_known(a2 + more) <= p_of_known(a2) + 1e-12);
        }

        #[test]
        fn the_order_and_the_side_do_not_matter(values in prop::collection::vec(1e-6..0.999_999, 1..60)) {
            let mirrored: Vec<f64> = values.iter().rev().map(|value| 1.0 - value).collect();
            let (one, other) = (uniform(values).a2, uniform(mirrored).a2);
            prop_assert!((one - other).abs() <= 1e-6 * one.max(1.0), "{} and {}", one, other);
        }

        #[test]
        fn the_scale_of_an_exponential_does_not_matter(values in prop::collection::vec(1e-3..10.0, 2..60), scale in 0.01..1e9) {
            let scaled: Vec<f64> = values.iter().map(|value| value * scale).collect();
            let (one, other) = (exponential(values).a2, exponential(scaled).a2);
            prop_assert!((one - other).abs() <= 1e-6 * one.max(1.0), "{} and {}", one, other);
        }
    }
}
