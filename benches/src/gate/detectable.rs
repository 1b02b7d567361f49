//! The smallest slow-down that a run would have found: what a PASS is worth.
//!
//! The differences that were measured, centred, stand for the noise; they are spread by `sqrt(n / (n - 1))`, because
//! differences lie closer to their own centre than to that of the noise. Drawn from them with replacement and shifted by a supposed
//! slow-down they make a run as it might have been, and the share of such runs that fail is the power. The same draws serve
//! for every slow-down, so that the power rises with it and the smallest can be found by halving.
//!
//! So few differences tell little of the noise's tails: on fresh runs of normal noise, what is said to be found in four of five
//! is found in three to four of five.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::hodges_lehmann::HodgesLehmann;
use super::signed_rank;

/// The share of runs in which the slow-down must be found.
pub const POWER: f64 = 0.8;

/// Runs that are drawn. The power is then known to about 3 %, which is less than the noise that it is taken from is known to.
const DRAWS: usize = 200;

/// A slow-down of more than a hundredfold needs no statistics.
const LARGEST_LN: f64 = 4.6;

/// Halvings of the range: to a hundredth of a per cent.
const HALVINGS: usize = 16;

/// The slow-down, as a part, that a test at the level `alpha` against `delta0` finds in four of five runs with such differences;
/// none when not even the largest is found, as with too few blocks.
pub fn slow_down(differences: &[f64], alpha: f64, delta0: f64) -> Option<f64> {
    let n = differences.len();
    let most = n * (n + 1) / 2;
    // The sum of the positive ranks from which on the test rejects; none reaches it when k is 0.
    let rejects_from = most + 1 - signed_rank::critical(n, alpha);
    let centre = HodgesLehmann::of(differences).estimate();
    let spread = (n as f64 / n.saturating_sub(1).max(1) as f64).sqrt();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let draws: Vec<Vec<f64>> = (0..DRAWS)
        .map(|_| {
            (0..n).map(|_| spread * (differences[rng.random_range(0..n)] - centre) - delta0.ln_1p()).collect()
        })
        .collect();
    let is_found = |slow_down_ln: f64| {
        let found = draws.iter().filter(|draw| positive_ranks(draw, slow_down_ln) >= rejects_from);
        found.count() as f64 >= POWER * DRAWS as f64
    };
    if !is_found(LARGEST_LN) {
        return None;
    }
    let (mut low, mut high) = (0.0, LARGEST_LN);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_found(middle) { high = middle } else { low = middle }
    }
    Some(high.exp_m1())
}

/// The sum of the ranks of those that are positive when all are shifted. Ties count in the order they come: they are
/// drawn from the same difference, and so on the same side.
fn positive_ranks(values: &[f64], shift: f64) -> usize {
    let mut shifted: Vec<f64> = values.iter().map(|value| value + shift).collect();
    shifted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    shifted.iter().zip(1..).filter(|&(&value, _)| value > 0.0).map(|(_, rank)| rank).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::simulated::Normal;

    const DELTA0: f64 = 0.02;
    const ALPHA: f64 = 0.0005;

    #[test]
    fn it_is_found_in_about_four_of_five_fresh_runs() {
        for (n, spread) in [(12, 0.01), (24, 0.03), (40, 0.05)] {
            let mut noise = Normal::seeded(7);
            let mut fresh =
                |shift: f64| -> Vec<f64> { (0..n).map(|_| shift + spread * noise.draw()).collect() };
            // The estimate of one run is as uncertain as that run's spread, so the middle of several is held to account.
            let mut estimates: Vec<f64> =
                (0..31).map(|_| slow_down(&fresh(0.0), ALPHA, DELTA0).unwrap()).collect();
            estimates.sort_by(f64::total_cmp);
            let shift = estimates[15].ln_1p();
            let found = (0..1000)
                .filter(|_| {
                    let beyond: Vec<f64> = fresh(shift).iter().map(|d| d - DELTA0.ln_1p()).collect();
                    signed_rank::greater(&beyond).p <= ALPHA
                })
                .count();
            assert!((550..=920).contains(&found), "{n} blocks: {found} of 1000 at {shift}");
        }
    }

    #[test]
    fn more_blocks_and_less_noise_find_less() {
        let mut noise = Normal::seeded(3);
        let draws: Vec<f64> = (0..40).map(|_| noise.draw()).collect();
        let scaled = |n: usize, spread: f64| {
            slow_down(&draws[..n].iter().map(|d| d * spread).collect::<Vec<_>>(), ALPHA, DELTA0).unwrap()
        };
        assert!(scaled(12, 0.01) < scaled(12, 0.03));
        assert!(scaled(40, 0.03) < scaled(12, 0.03));
        assert!(scaled(40, 0.001) > DELTA0, "less than what is allowed is never found");
    }

    #[test]
    fn too_few_blocks_find_nothing() {
        assert_eq!(slow_down(&[0.001, -0.001, 0.0], ALPHA, DELTA0), None);
    }
}
