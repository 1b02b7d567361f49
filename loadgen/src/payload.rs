//! How long requests are: the same each time, or a mix of lengths that is kept exactly. Pure and seeded.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// Lengths of a mix that take turns. A weight is kept to a thousandth, and a uniform mix has so many different lengths at most.
const TURNS: u32 = 1000;
/// Different lengths of a uniform mix: an HTTP request of each is made beforehand.
const UNIFORM_LENGTHS: u32 = 50;

/// The length of a request's payload, bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Payload {
    /// Always the same.
    Fixed {
        /// The length.
        bytes: u32,
    },
    /// Any length of a range alike.
    Uniform {
        /// The shortest.
        min_bytes: u32,
        /// The longest.
        max_bytes: u32,
    },
    /// Some lengths, each with its part.
    Weighted {
        /// Length, and how often it comes beside the others.
        lengths: Vec<(u32, f64)>,
    },
}

impl Payload {
    /// The longest that occurs.
    pub fn max_bytes(&self) -> u32 {
        match self {
            Self::Fixed { bytes } => *bytes,
            Self::Uniform { max_bytes, .. } => *max_bytes,
            Self::Weighted { lengths } => lengths.iter().map(|&(bytes, _)| bytes).max().unwrap_or(0),
        }
    }

    /// The shortest that occurs.
    pub fn min_bytes(&self) -> u32 {
        match self {
            Self::Fixed { bytes } => *bytes,
            Self::Uniform { min_bytes, .. } => *min_bytes,
            Self::Weighted { lengths } => lengths.iter().map(|&(bytes, _)| bytes).min().unwrap_or(0),
        }
    }

    /// The lengths in the order in which requests have them, over and over: each as often as it should be, shuffled by the seed.
    pub fn turns(&self, seed: u64) -> Vec<u32> {
        let mut turns = match self {
            Self::Fixed { bytes } => return vec![*bytes],
            Self::Uniform { min_bytes, max_bytes } => {
                let range = u64::from(max_bytes - min_bytes) + 1;
                let count = u64::from(UNIFORM_LENGTHS).min(range);
                // The middles of as many equal parts of the range; all of it when it is short.
                (0..count).map(|part| min_bytes + low((2 * part + 1) * range / (2 * count))).collect()
            }
            Self::Weighted { lengths } => weighted(lengths),
        };
        turns.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        turns
    }
}

/// A part of a range of 32 bits.
fn low(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Each length as often as its weight says: the parts are cut at the rounded sums of the weights, so that no error adds up.
fn weighted(lengths: &[(u32, f64)]) -> Vec<u32> {
    let all: f64 = lengths.iter().map(|&(_, weight)| weight).sum();
    let mut turns = Vec::with_capacity(TURNS as usize);
    let mut sum = 0.0;
    for &(bytes, weight) in lengths {
        sum += weight;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to TURNS")]
        let until = (sum / all * f64::from(TURNS)).round() as usize;
        // Also the rarest comes once.
        let until = until.max(turns.len() + 1);
        turns.resize(until, bytes);
    }
    turns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fixed_length_is_that() {
        let fixed = Payload::Fixed { bytes: 64 };
        assert_eq!((fixed.turns(1), fixed.min_bytes(), fixed.max_bytes()), (vec![64], 64, 64));
    }

    #[test]
    fn weights_are_kept() {
        let mix = Payload::Weighted { lengths: vec![(64, 90.0), (1024, 9.0), (65_536, 1.0)] };
        let turns = mix.turns(7);
        let count = |bytes| turns.iter().filter(|&&it| it == bytes).count();
        assert_eq!((count(64), count(1024), count(65_536)), (900, 90, 10));
        assert_eq!((mix.min_bytes(), mix.max_bytes()), (64, 65_536));
        let rare = Payload::Weighted { lengths: vec![(1, 1e6), (2, 1.0)] };
        assert!(rare.turns(1).contains(&2));
    }

    #[test]
    fn the_order_is_the_seeds() {
        let mix = Payload::Uniform { min_bytes: 1, max_bytes: 100_000 };
        assert_eq!(mix.turns(1), mix.turns(1));
        assert_ne!(mix.turns(1), mix.turns(2));
    }

    proptest! {
        #[test]
        fn a_uniform_mix_has_the_mean_of_its_range(min_bytes in 0_u32..1_000_000, range in 0_u32..1_000_000, seed: u64) {
            let max_bytes = min_bytes + range;
            let turns = Payload::Uniform { min_bytes, max_bytes }.turns(seed);
            prop_assert!(turns.iter().all(|bytes| (min_bytes..=max_bytes).contains(bytes)));
            let mean = turns.iter().map(|&bytes| f64::from(bytes)).sum::<f64>() / turns.len() as f64;
            prop_assert!((mean - f64::midpoint(f64::from(min_bytes), f64::from(max_bytes))).abs() <= 1.0);
        }
    }
}
