//! The two-sided rank-sum test of Wilcoxon ("Individual Comparisons by Ranking Methods", 1945; Mann and Whitney, 1947), exact:
//! are the values of one sample larger than those of another?
//!
//! When both come from the same distribution, every choice of ranks for the first is as likely. The distribution of their sum
//! is counted out, not approximated. Ties share the mean of their ranks, and the distribution is that of these ranks: exact,
//! given the ties.

/// More values than this in a sample are not tested: up to here the count takes a moment, and every probability is exact to
/// the rounding of a double.
pub const N_MAX: usize = 50;

/// The probability of ranks that lie as far to one side as these, or further, when both samples come from one
/// distribution: twice that of the nearer side, as `SciPy` has it. All values must be finite; of more than [`N_MAX`] the first are
/// taken. 1 when a sample is empty.
pub fn two_sided(first: &[f64], second: &[f64]) -> f64 {
    let first = &first[..first.len().min(N_MAX)];
    let second = &second[..second.len().min(N_MAX)];
    let ranks = doubled_ranks(first, second);
    let sum: usize = ranks.iter().filter(|&&(is_first, _)| is_first).map(|&(_, rank)| rank).sum();
    let probabilities = sums(&ranks, first.len());
    let at_most: f64 = probabilities[..=sum].iter().sum();
    let at_least: f64 = probabilities[sum..].iter().sum();
    (2.0 * at_most.min(at_least)).min(1.0)
}

/// For each value, whether it is of the first sample, and twice its rank among all, so that the mean rank of ties is a whole
/// number.
fn doubled_ranks(first: &[f64], second: &[f64]) -> Vec<(bool, usize)> {
    let mut values: Vec<(bool, f64)> = first.iter().map(|&value| (true, value)).collect();
    values.extend(second.iter().map(|&value| (false, value)));
    values.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let mut ranks = Vec::with_capacity(values.len());
    for ties in values.chunk_by(|(_, a), (_, b)| a.total_cmp(b).is_eq()) {
        let rank = 2 * ranks.len() + ties.len() + 1;
        ranks.extend(ties.iter().map(|&(is_first, _)| (is_first, rank)));
    }
    ranks
}

/// The probability of every sum of `chosen` of the ranks, when each choice is as likely.
fn sums(ranks: &[(bool, usize)], chosen: usize) -> Vec<f64> {
    let total: usize = ranks.iter().map(|&(_, rank)| rank).sum();
    // ways[k][sum]: the share of all choices of k of the ranks so far that have this sum.
    let mut ways = vec![vec![0.0; total + 1]; chosen + 1];
    ways[0][0] = 1.0;
    let mut largest = 0;
    for (seen, &(_, rank)) in ranks.iter().enumerate() {
        let now = seen as f64 + 1.0;
        largest += rank;
        for k in (0..=chosen.min(seen + 1)).rev() {
            // A choice of k among one more leaves the new one out with (now - k) / now, and takes it with k / now.
            let (taken, left_out) = (k as f64 / now, (now - k as f64) / now);
            let (fewer, these) = ways.split_at_mut(k);
            for sum in (0..=largest).rev() {
                let without = if k <= seen { these[0][sum] } else { 0.0 };
                let with = if k > 0 && sum >= rank { fewer[k - 1][sum - rank] } else { 0.0 };
                these[0][sum] = left_out * without + taken * with;
            }
        }
    }
    ways.swap_remove(chosen)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::reference;

    #[test]
    fn p_values_are_those_of_scipy() {
        let cases = reference::read().rank_sum;
        assert!(cases.len() >= 40);
        for case in &cases {
            let p = two_sided(&case.first, &case.second);
            assert!((p - case.p).abs() <= 1e-10 * case.p.max(1e-3), "{case:?}: {p}");
        }
    }

    #[test]
    fn the_smallest_p_is_that_of_one_above_the_other() {
        let halves = |n: u32| -> (Vec<f64>, Vec<f64>) {
            ((0..n).map(f64::from).collect(), (n..2 * n).map(f64::from).collect())
        };
        // Two in 252 choices of five among ten; one of six in 924.
        for (n, choices) in [(5, 252.0), (6, 924.0)] {
            let (low, high) = halves(n);
            assert!((two_sided(&low, &high) - 2.0 / choices).abs() < 1e-15);
            assert!((two_sided(&high, &low) - 2.0 / choices).abs() < 1e-15);
        }
        let (low, high) = halves(50);
        assert!(two_sided(&low, &high) < 1e-28);
    }

    #[test]
    fn nothing_to_compare_is_no_difference() {
        for (first, second) in [(&[][..], &[][..]), (&[1.0][..], &[][..]), (&[3.0, 3.0][..], &[3.0][..])] {
            assert!((two_sided(first, second) - 1.0).abs() < 1e-15);
        }
    }

    fn samples() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        // Few values, so that there are ties.
        let sample = || prop::collection::vec((-6i32..=6).prop_map(f64::from), 1..8);
        (sample(), sample())
    }

    proptest! {
        #[test]
        fn the_distribution_is_that_of_all_choices((first, second) in samples()) {
            let all: Vec<f64> = first.iter().chain(&second).copied().collect();
            let ranks = doubled_ranks(&first, &second);
            let sum_of = |pick: &dyn Fn(usize) -> bool| -> usize {
                ranks.iter().enumerate().filter(|&(index, _)| pick(index)).map(|(_, &(_, rank))| rank).sum()
            };
            let observed: usize = ranks.iter().filter(|&&(is_first, _)| is_first).map(|&(_, rank)| rank).sum();
            let choices: Vec<u32> =
                (0..1u32 << all.len()).filter(|choice| choice.count_ones() as usize == first.len()).collect();
            let share = |holds: &dyn Fn(usize) -> bool| {
                let found = choices.iter().filter(|&&choice| holds(sum_of(&|index| choice >> index & 1 == 1)));
                found.count() as f64 / choices.len() as f64
            };
            let expected = (2.0 * share(&|sum| sum <= observed).min(share(&|sum| sum >= observed))).min(1.0);
            let p = two_sided(&first, &second);
            prop_assert!((p - expected).abs() < 1e-12, "{} and {}", p, expected);
        }

        #[test]
        fn the_samples_may_be_swapped((first, second) in samples()) {
            prop_assert!((two_sided(&first, &second) - two_sided(&second, &first)).abs() < 1e-12);
        }
    }
}
