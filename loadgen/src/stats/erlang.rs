//! The distribution of Erlang: the sum of some exponential values of mean 1. Its tail is the probability that a Poisson variable
//! of mean `x` is smaller than the number of the summands.

/// The probability that the sum of `shape` exponential values of mean 1 is at most `x`. Both must be above 0.
pub fn cdf(shape: usize, x: f64) -> f64 {
    let k = shape as f64;
    // The Poisson probability of exactly `shape - 1`, by logarithms: for many summands its factors leave a double's range.
    let log_factorial: f64 = (2..shape).map(|factor| (factor as f64).ln()).sum();
    let last = ((k - 1.0) * x.ln() - x - log_factorial).exp();
    // The side that is the smaller one is added up, so that it keeps its digits.
    if x < k {
        series(last, |step| x / (k + step))
    } else {
        1.0 - last - series(last, |step| ((k - 1.0 - step) / x).max(0.0))
    }
}

/// The sum of the terms that follow `first`, each from the one before by a factor that becomes smaller.
fn series(first: f64, factor: impl Fn(f64) -> f64) -> f64 {
    let (mut term, mut sum, mut step) = (first, 0.0, 0.0);
    loop {
        term *= factor(step);
        sum += term;
        step += 1.0;
        if term <= sum * f64::EPSILON / 4.0 {
            return sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference;

    #[test]
    fn the_probability_is_that_of_scipys_gamma() {
        let cases = reference::read().erlang;
        assert!(cases.iter().any(|case| case.shape == 1024));
        for case in &cases {
            let found = cdf(case.shape, case.x);
            assert!((found - case.p).abs() <= 1e-11 * case.p.max(1e-3), "{case:?}: {found}");
        }
    }

    #[test]
    fn one_summand_is_an_exponential() {
        for x in [1e-9, 0.3, 1.0, 7.0] {
            assert!((cdf(1, x) + f64::exp_m1(-x)).abs() < 1e-15, "{x}");
        }
    }

    #[test]
    fn the_ends_are_nothing_and_all() {
        for shape in [1, 2, 4, 1024] {
            assert!(cdf(shape, 1e-300) < 1e-290);
            assert!((cdf(shape, 1e6) - 1.0).abs() < 1e-15);
        }
    }
}
