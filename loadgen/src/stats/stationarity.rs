//! Are the two halves of a run alike? A percentile of a run that warms up, fills a queue or leaks while it is measured is that
//! of no state the target was ever in.
//!
//! Seconds that follow each other resemble each other, and a test that takes them for independent finds a difference in every
//! run. So they are first put together in batches (the method of batch means, Law, "Simulation Modeling and Analysis",
//! section 9.5.3), here by their medians, so that one second with a stall does not speak for its batch. The batches of
//! one half are then held against those of the other by the exact rank-sum test.
//!
//! A difference counts when it is both: not of chance, and large enough to matter.

use super::rank_sum;

/// Batches in a half, at the most.
pub const BATCHES_MAX: usize = 20;
/// With fewer batches in a half no arrangement of them is improbable enough.
pub const BATCHES_MIN: usize = 5;
/// A difference that is more probable than this is one of chance.
pub const LEVEL: f64 = 0.01;
/// Medians of the halves may differ by this part of the first.
pub const CHANGE_MAX: f64 = 0.1;

/// What the two halves of a run were like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halves {
    /// Median of the first half's batches.
    pub first: f64,
    /// Median of the second half's.
    pub second: f64,
    /// The probability of batches that lie as far apart, or further, in a run whose halves are alike.
    pub p: f64,
}

impl Halves {
    /// How much larger the second half is, as a part of the first.
    pub fn change(&self) -> f64 {
        if self.first == 0.0 { 0.0 } else { self.second / self.first - 1.0 }
    }

    /// Whether no difference shows that matters.
    pub fn are_alike(&self) -> bool {
        self.p >= LEVEL || self.change().abs() <= CHANGE_MAX
    }
}

/// Compares the halves of a run of `duration_s` by a figure of each interval: when the interval ended, and the figure.
/// Intervals may be missing; shorter ones than a second count for the second that they are in, longer ones for the one that they end
/// in. `None` when one of the halves has fewer than [`BATCHES_MIN`] batches: a run under ten seconds or intervals, or one with
/// gaps.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of seconds, under a day"
)]
pub fn compare(figures: &[(f64, f64)], duration_s: f64) -> Option<Halves> {
    let seconds = duration_s.max(0.0) as usize;
    let half = seconds / 2;
    let batch = half.div_ceil(BATCHES_MAX).max(1);
    let mut batches: [Vec<Vec<f64>>; 2] = [vec![Vec::new(); half / batch], vec![Vec::new(); half / batch]];
    for &(end_s, figure) in figures {
        // Ends of intervals are multiples of their length, but for what a float makes of them.
        let second = (end_s - 1e-6).ceil() as usize;
        // From both ends, so that what does not fill a batch is left out in the middle.
        let place = match second {
            1.. if second <= half => Some((0, (second - 1) / batch)),
            1.. if second <= seconds && second > seconds - half => Some((1, (seconds - second) / batch)),
            _ => None,
        };
        if let Some(values) = place.and_then(|(side, index)| batches[side].get_mut(index)) {
            values.push(figure);
        }
    }
    let [first, second] = batches.map(|batches| batches.into_iter().filter_map(median).collect::<Vec<_>>());
    if first.len().min(second.len()) < BATCHES_MIN {
        return None;
    }
    let p = rank_sum::two_sided(&first, &second);
    Some(Halves { first: median(first)?, second: median(second)?, p })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let high = *values.get(values.len() / 2)?;
    let low = values[(values.len() - 1) / 2];
    Some(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, LogNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn every_second(figures: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        figures.into_iter().zip(1u32..).map(|(figure, second)| (f64::from(second), figure)).collect()
    }

    #[test]
    fn ten_seconds_that_step_up_are_not_alike() {
        let step = every_second([100.0, 101.0, 102.0, 99.0, 98.0, 150.0, 151.0, 152.0, 149.0, 148.0]);
        let halves = compare(&step, 10.5).unwrap();
        assert_eq!((halves.first.to_bits(), halves.second.to_bits()), (100f64.to_bits(), 150f64.to_bits()));
        assert!((halves.p - 2.0 / 252.0).abs() < 1e-12, "{halves:?}");
        assert!((halves.change() - 0.5).abs() < 1e-12 && !halves.are_alike());
    }

    #[test]
    fn short_intervals_count_for_the_second_they_are_in() {
        let run = |of: fn(u32) -> f64| -> Vec<(f64, f64)> {
            (1u32..=500).map(|index| (f64::from(index) * 0.02, of(index.div_ceil(50)))).collect()
        };
        let halves = compare(&run(|second| if second <= 5 { 100.0 } else { 150.0 }), 10.0).unwrap();
        assert_eq!((halves.first.to_bits(), halves.second.to_bits()), (100f64.to_bits(), 150f64.to_bits()));
        assert!((halves.p - 2.0 / 252.0).abs() < 1e-12, "{halves:?}");
    }

    #[test]
    fn a_difference_of_chance_or_one_that_does_not_matter_is_none() {
        let small = every_second([100.0, 101.0, 102.0, 99.0, 98.0, 105.0, 106.0, 107.0, 104.0, 103.0]);
        let small = compare(&small, 10.0).unwrap();
        assert!(small.p < LEVEL && small.are_alike(), "{small:?}");
        let noise = every_second([100.0, 300.0, 100.0, 300.0, 100.0, 300.0, 100.0, 300.0, 100.0, 300.0]);
        let noise = compare(&noise, 10.0).unwrap();
        assert!(noise.change() > CHANGE_MAX && noise.are_alike(), "{noise:?}");
    }

    #[test]
    fn a_run_that_is_too_short_or_has_gaps_is_not_compared() {
        let steady = || vec![1.0; 9];
        assert_eq!(compare(&every_second(steady()), 9.9), None);
        assert_eq!(compare(&every_second(steady()), 10.0), None, "the last second is missing");
        assert_eq!(compare(&[], 100.0), None);
        assert_eq!(compare(&[], 0.0), None);
    }

    #[test]
    fn what_comes_after_the_measured_window_is_left_out() {
        let mut figures = vec![1.0; 10];
        figures.extend([50.0; 10]);
        assert!(compare(&every_second(figures), 10.0).unwrap().are_alike());
    }

    #[test]
    fn a_run_without_trend_is_rarely_found_to_have_one() {
        // Each second takes half of its figure from the one before, as seconds do.
        let scatter = LogNormal::new(0.0, 0.5).unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let found = (0..300).filter(|_| {
            let mut last = 1.0;
            let run = every_second((0..120).map(|_| {
                last = f64::midpoint(last, scatter.sample(&mut rng));
                last
            }));
            !compare(&run, 120.0).unwrap().are_alike()
        });
        // A hundredth by the level, and a little more for what the batches still have of each other.
        assert!(found.count() <= 12);
    }

    #[test]
    fn a_run_that_grows_by_a_half_is_found() {
        let scatter = LogNormal::new(0.0, 0.2).unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
        let found = (0..100).filter(|_| {
            let run = every_second(
                (0..60).map(|second| (1.0 + f64::from(second) / 60.0) * scatter.sample(&mut rng)),
            );
            !compare(&run, 60.0).unwrap().are_alike()
        });
        assert!(found.count() >= 97);
    }

    proptest! {
        #[test]
        fn the_halves_of_a_run_told_backwards_change_places(
            figures in prop::collection::vec(1.0..100.0f64, 10..200),
        ) {
            let duration_s = figures.len() as f64;
            let backwards = figures.iter().rev().copied().collect::<Vec<_>>();
            let forwards = compare(&every_second(figures), duration_s).unwrap();
            let backwards = compare(&every_second(backwards), duration_s).unwrap();
            prop_assert_eq!(forwards.first.to_bits(), backwards.second.to_bits());
            prop_assert!((forwards.p - backwards.p).abs() < 1e-9);
        }
    }
}
