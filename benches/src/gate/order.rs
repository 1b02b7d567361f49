//! Which build a slot is for: blocks of four, ABBA or BAAB, at random.
//!
//! Within a block a steady drift falls on both builds alike. Between blocks it is a coin that decides who comes first: were it
//! a pattern, whatever on the machine has the same period would be taken for a difference between the builds.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::statistics::Side;

/// The orders of blocks, without end: the same for the same seed.
#[derive(Clone, Debug)]
pub struct Orders {
    rng: Xoshiro256PlusPlus,
}

impl Orders {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }
}

impl Iterator for Orders {
    type Item = [Side; 4];

    fn next(&mut self) -> Option<[Side; 4]> {
        use Side::{Base, Head};
        Some(if self.rng.random() { [Head, Base, Base, Head] } else { [Base, Head, Head, Base] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order_and_another_gives_another() {
        let first = |seed| Orders::new(seed).take(40).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn each_side_is_in_each_place_as_often() {
        let orders: Vec<_> = Orders::new(1).take(10_000).collect();
        for place in 0..4 {
            let heads = orders.iter().filter(|order| order[place] == Side::Head).count();
            // Six standard deviations of 10,000 coins.
            assert!(heads.abs_diff(5_000) < 300, "{heads} at {place}");
        }
        assert!(
            orders.iter().all(|order| order[0] == order[3] && order[1] == order[2] && order[0] != order[1])
        );
    }

    #[test]
    fn a_block_says_nothing_of_the_next() {
        let orders: Vec<_> = Orders::new(1).take(10_001).collect();
        let same = orders.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(same.abs_diff(5_000) < 300, "{same}");
    }
}
