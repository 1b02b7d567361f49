//! The estimate of Hodges and Lehmann (1963) that goes with the signed-rank test: the median of the means of all pairs
//! (Walsh averages), each value paired with itself included.
//!
//! Its bounds come from turning the test around (Hollander and Wolfe, "Nonparametric Statistical Methods", section 3.3):
//! they are the values at which the test would just not reject, which are Walsh averages, too. The level is kept or
//! exceeded, never missed. Too few differences for a level leave the bound without end.

use super::signed_rank::critical;

/// An estimate of where differences lie, and the Walsh averages that its bounds are taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct HodgesLehmann {
    n: usize,
    /// Ascending.
    walsh: Vec<f64>,
}

impl HodgesLehmann {
    /// Of at least one difference; all must be finite.
    pub fn of(differences: &[f64]) -> Self {
        let pairs = differences
            .iter()
            .enumerate()
            .flat_map(|(index, a)| differences[index..].iter().map(move |b| (a + b) / 2.0));
        let mut walsh: Vec<f64> = pairs.collect();
        walsh.sort_by(f64::total_cmp);
        Self { n: differences.len(), walsh }
    }

    /// The estimate; NaN of nothing.
    pub fn estimate(&self) -> f64 {
        let last = self.walsh.len().saturating_sub(1);
        let middle = |index: usize| self.walsh.get(index).copied().unwrap_or(f64::NAN);
        f64::midpoint(middle(last / 2), middle(last.div_ceil(2)))
    }

    /// The value that the differences lie below, but for an error with the probability `alpha`.
    pub fn upper(&self, alpha: f64) -> f64 {
        match critical(self.n, alpha) {
            0 => f64::INFINITY,
            k => self.walsh[self.walsh.len() - k],
        }
    }

    /// The value that they lie above, likewise.
    pub fn lower(&self, alpha: f64) -> f64 {
        match critical(self.n, alpha) {
            0 => f64::NEG_INFINITY,
            k => self.walsh[k - 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::reference;
    use crate::gate::signed_rank::greater;

    #[test]
    fn estimates_and_bounds_are_those_of_the_enumeration_in_python() {
        for case in &reference::read().hodges_lehmann {
            let found = HodgesLehmann::of(&case.differences);
            let near = |a: f64, b: Option<f64>| b.map_or(a.is_infinite(), |b| (a - b).abs() < 1e-12);
            assert!(near(found.estimate(), Some(case.estimate)), "{case:?}: {}", found.estimate());
            assert!(near(found.lower(case.alpha), case.lower), "{case:?}: {}", found.lower(case.alpha));
            assert!(near(found.upper(case.alpha), case.upper), "{case:?}: {}", found.upper(case.alpha));
        }
    }

    #[test]
    fn too_few_differences_bound_nothing() {
        let found = HodgesLehmann::of(&[1.0, 2.0, 3.0]);
        assert_eq!(found.upper(0.05).to_bits(), f64::INFINITY.to_bits());
        assert_eq!(found.lower(0.05).to_bits(), f64::NEG_INFINITY.to_bits());
        assert!(HodgesLehmann::of(&[]).estimate().is_nan());
    }

    fn differences() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-1.0_f64..1.0, 5..30)
    }

    proptest! {
        #[test]
        fn the_bound_is_where_the_test_begins_to_reject(differences in differences(), alpha in 0.01..0.2) {
            let bound = HodgesLehmann::of(&differences).lower(alpha);
            prop_assume!(bound.is_finite());
            let p_against = |value: f64| greater(&differences.iter().map(|d| d - value).collect::<Vec<_>>()).p;
            prop_assert!(p_against(bound - 1e-9) <= alpha, "just below it, it is rejected that they lie there");
            prop_assert!(p_against(bound + 1e-9) > alpha, "and just above it is not");
        }

        #[test]
        fn a_shift_shifts_and_a_mirror_mirrors(differences in differences(), shift in -3.0_f64..3.0) {
            let here = HodgesLehmann::of(&differences);
            let there = HodgesLehmann::of(&differences.iter().map(|d| d + shift).collect::<Vec<_>>());
            prop_assert!((here.estimate() + shift - there.estimate()).abs() < 1e-9);
            let mirror = HodgesLehmann::of(&differences.iter().map(|d| -d).collect::<Vec<_>>());
            prop_assert!((here.upper(0.05) + mirror.lower(0.05)).abs() < 1e-9 || here.upper(0.05).is_infinite());
            prop_assert!(here.lower(0.05) <= here.estimate() && here.estimate() <= here.upper(0.05));
        }
    }
}
