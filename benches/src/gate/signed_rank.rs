//! The one-sided signed-rank test of Wilcoxon ("Individual Comparisons by Ranking Methods", 1945), exact.
//!
//! Are the differences larger than zero? Under the hypothesis that they lie around zero symmetrically, each rank is as
//! likely on either side, and the distribution of the sum of the positive ones is counted out, not approximated.
//!
//! **Ties** share the mean of their ranks, and the distribution is that of these ranks: exact, given the ties.
//! **Zeros** are left out, as Wilcoxon did, and `n` is the number of the others: a zero speaks for neither side. Differences
//! of logarithms of nanoseconds are zero only where two figures are the same to the last bit, which hardly ever happens.

/// More differences than this are not tested: up to here every probability is exact in a double.
pub const N_MAX: usize = 52;

/// What the test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedRank {
    /// Differences that are not zero.
    pub n: usize,
    /// The sum of the ranks of the positive ones.
    pub w_plus: f64,
    /// The probability of such a sum or a larger one, when the differences lie around zero.
    pub p: f64,
}

/// Tests whether the differences lie above zero. All must be finite; of more than [`N_MAX`] the first are taken.
pub fn greater(differences: &[f64]) -> SignedRank {
    let mut nonzero: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).take(N_MAX).collect();
    nonzero.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let ranks = doubled_ranks(&nonzero);
    let w_plus = nonzero.iter().zip(&ranks).filter(|&(&d, _)| d > 0.0).map(|(_, &rank)| rank).sum();
    let p = sums(&ranks)[w_plus..].iter().sum();
    SignedRank { n: nonzero.len(), w_plus: w_plus as f64 / 2.0, p }
}

/// The largest `k` for which a sum of ranks below `k` has at most the probability `alpha`, for `n` differences without
/// ties; 0 when there is none. By symmetry also that of a sum above `n (n + 1) / 2 - k`.
pub fn critical(n: usize, alpha: f64) -> usize {
    let ranks: Vec<usize> = (1..=n.min(N_MAX)).collect();
    let mut below = 0.0;
    let mut is_rare = |&probability: &f64| {
        below += probability;
        below <= alpha
    };
    sums(&ranks).iter().take_while(|probability| is_rare(probability)).count()
}

/// Twice the rank of each value by its size, so that the mean rank of ties is a whole number. `sorted` by size.
fn doubled_ranks(sorted: &[f64]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(sorted.len());
    for ties in sorted.chunk_by(|a, b| a.abs().total_cmp(&b.abs()).is_eq()) {
        let first = ranks.len() + 1;
        ranks.extend(std::iter::repeat_n(2 * first + ties.len() - 1, ties.len()));
    }
    ranks
}

/// The probability of every sum of a subset in which each rank is with probability one half.
fn sums(ranks: &[usize]) -> Vec<f64> {
    let mut probabilities = vec![1.0];
    for &rank in ranks {
        let mut with = vec![0.0; probabilities.len() + rank];
        for (sum, probability) in probabilities.iter().enumerate() {
            with[sum] += probability / 2.0;
            with[sum + rank] += probability / 2.0;
        }
        probabilities = with;
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::reference;

    #[test]
    fn p_values_are_those_of_scipy() {
        let cases = reference::read().signed_rank;
        assert!((1..=40).all(|n| cases.iter().any(|case| case.differences.len() == n)));
        for case in &cases {
            let found = greater(&case.differences);
            assert!((found.w_plus - case.w_plus).abs() < 1e-9, "{case:?}: {found:?}");
            assert!((found.p - case.p).abs() <= 1e-12 * case.p.max(1e-3), "{case:?}: {found:?}");
        }
    }

    #[test]
    fn the_smallest_p_is_that_of_all_on_one_side() {
        for n in 1..=N_MAX {
            let differences: Vec<f64> = (1..=n).map(|d| d as f64).collect();
            assert_eq!(greater(&differences).p.to_bits(), 0.5_f64.powi(i32::try_from(n).unwrap()).to_bits());
        }
    }

    #[test]
    fn zeros_speak_for_neither_side() {
        let with = greater(&[0.0, 1.0, -2.0, 0.0, 3.0]);
        assert_eq!((with.n, with.p.to_bits()), (3, greater(&[1.0, -2.0, 3.0]).p.to_bits()));
        assert_eq!(greater(&[0.0, -0.0]), SignedRank { n: 0, w_plus: 0.0, p: 1.0 });
        assert_eq!(greater(&[]), SignedRank { n: 0, w_plus: 0.0, p: 1.0 });
    }

    #[test]
    fn critical_values_are_those_of_the_tables() {
        // Wilcoxon (1945) and every table since: one-sided, the largest sum that is significant is one less than k.
        for (n, alpha, k) in
            [(5, 0.05, 1), (10, 0.05, 11), (10, 0.005, 4), (20, 0.05, 61), (30, 0.01, 121), (4, 0.05, 0)]
        {
            assert_eq!(critical(n, alpha), k, "n = {n}, alpha = {alpha}");
        }
    }

    fn differences() -> impl Strategy<Value = Vec<f64>> {
        // Few values, so that there are ties and zeros.
        prop::collection::vec((-6i32..=6).prop_map(|d| f64::from(d) / 4.0), 1..14)
    }

    proptest! {
        #[test]
        fn the_distribution_is_that_of_all_signs(differences in differences()) {
            let nonzero: Vec<f64> = differences.into_iter().filter(|&d| d != 0.0).collect();
            let found = greater(&nonzero);
            let signs = 1u32 << nonzero.len();
            let as_large = (0..signs).filter(|signs| {
                let flipped: Vec<f64> = nonzero
                    .iter()
                    .enumerate()
                    .map(|(index, d)| if signs >> index & 1 == 1 { d.abs() } else { -d.abs() })
                    .collect();
                greater(&flipped).w_plus >= found.w_plus
            });
            let share = as_large.count() as f64 / f64::from(signs);
            prop_assert!((found.p - share).abs() < 1e-12, "{} and {share}", found.p);
        }

        #[test]
        fn scale_does_not_matter_and_the_other_side_is_the_mirror(differences in differences(), scale in 0.5..4.0) {
            let scaled: Vec<f64> = differences.iter().map(|d| d * 2.0_f64.powf(f64::round(scale))).collect();
            prop_assert_eq!(greater(&scaled).p.to_bits(), greater(&differences).p.to_bits());
            let mirrored: Vec<f64> = differences.iter().map(|d| -d).collect();
            let n = greater(&differences).n as f64;
            prop_assert!((greater(&mirrored).w_plus + greater(&differences).w_plus - n * (n + 1.0) / 2.0).abs() < 1e-9);
            prop_assert!(greater(&mirrored).p + greater(&differences).p >= 1.0 - 1e-12);
        }
    }
}
