//! Slow drift: what no single run shows. Pure.
//!
//! Two questions, because there are two ways to become slow. **Many small steps**: each run says by how much its head is
//! slower than its base; are these above zero more than chance allows? (The exact signed-rank test, and the estimate of Hodges
//! and Lehmann for the size of a step.) **One step that was not noticed**: is there a place in the history after which the figures
//! lie higher than before? (The change-point test of Pettitt, "A Non-Parametric Approach to the Change-Point Problem", 1979;
//! its p by permutations instead of his approximation, which is none for short histories.)
//!
//! Steps are relative and may be of several machines; a change point is looked for among figures of one machine only.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::hodges_lehmann::HodgesLehmann;
use super::holm;
use super::signed_rank::{self, N_MAX};

/// The level of both tests over all metrics together: of a hundred looks at a history without drift, one is alarmed.
pub const ALPHA: f64 = 0.01;

/// With fewer runs than this a step on either side of a change point is one run.
const RUNS_MIN: usize = 8;

/// More runs than this are not looked at: the newest are what can still be acted on.
pub const RUNS_MAX: usize = N_MAX;

/// Orders that are tried. The smallest p is then one in ten thousand.
const PERMUTATIONS: usize = 9_999;

/// Many small steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Runs.
    pub runs: usize,
    /// By how much a run's head is slower than its base, as a part: the middle of them.
    pub each: f64,
    /// What that makes over all of them, when each run's base is the head of the one before.
    pub together: f64,
    /// The probability of such steps, were half of them below zero.
    pub p: f64,
}

/// One step in a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// The first run that is on the higher level.
    pub at: usize,
    /// By how much it is higher, as a part.
    pub change: f64,
    /// The probability of one as clear in a series of which the order says nothing.
    pub p: f64,
}

/// What was looked for in one metric's history.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drift {
    /// None with too few runs.
    pub steps: Option<Steps>,
    /// None with too few runs, or when the figures fall.
    pub change_point: Option<ChangePoint>,
}

/// Looks at one metric: `changes` is head against base of every run, as a part, and `levels_ns` the figures of head on one
/// machine, both oldest first.
pub fn of(changes: &[f64], levels_ns: &[f64]) -> Drift {
    Drift { steps: steps(newest(changes)), change_point: change_point(newest(levels_ns)) }
}

fn newest(values: &[f64]) -> &[f64] {
    &values[values.len().saturating_sub(RUNS_MAX)..]
}

/// The p of all tests of all metrics, adjusted for their number, in the order of `drifts`: of the steps and of the change point.
/// What was not tested has none.
pub fn adjusted(drifts: &[Drift]) -> Vec<[Option<f64>; 2]> {
    let all = || {
        drifts
            .iter()
            .flat_map(|drift| [drift.steps.map(|steps| steps.p), drift.change_point.map(|point| point.p)])
    };
    let mut adjusted = holm::adjust(&all().flatten().collect::<Vec<_>>()).into_iter();
    let flat: Vec<Option<f64>> = all().map(|p| p.and_then(|_| adjusted.next())).collect();
    let (pairs, _) = flat.as_chunks::<2>();
    pairs.to_vec()
}

fn steps(changes: &[f64]) -> Option<Steps> {
    let steps: Vec<f64> =
        changes.iter().map(|change| change.ln_1p()).filter(|step| step.is_finite()).collect();
    if steps.len() < RUNS_MIN {
        return None;
    }
    let each = HodgesLehmann::of(&steps).estimate();
    Some(Steps {
        runs: steps.len(),
        each: each.exp_m1(),
        together: (each * steps.len() as f64).exp_m1(),
        p: signed_rank::greater(&steps).p,
    })
}

fn change_point(levels_ns: &[f64]) -> Option<ChangePoint> {
    let mut levels: Vec<f64> =
        levels_ns.iter().copied().filter(|level| level.is_finite() && *level > 0.0).collect();
    if levels.len() < RUNS_MIN {
        return None;
    }
    let (at, statistic) = largest_rise(&levels)?;
    let mean_ln = |part: &[f64]| part.iter().map(|level| level.ln()).sum::<f64>() / part.len() as f64;
    let change = (mean_ln(&levels[at..]) - mean_ln(&levels[..at])).exp_m1();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut as_clear = 1;
    for _ in 0..PERMUTATIONS {
        levels.shuffle(&mut rng);
        as_clear += usize::from(largest_rise(&levels).is_some_and(|(_, other)| other >= statistic));
    }
    Some(ChangePoint { at, change, p: as_clear as f64 / (PERMUTATIONS + 1) as f64 })
}

/// Where the figures after a place are larger than those before it in most pairs, and by how many pairs: the one-sided
/// statistic of Pettitt. None when there is no such place.
fn largest_rise(levels: &[f64]) -> Option<(usize, i64)> {
    let sign = |a: f64, b: f64| i64::from(b > a) - i64::from(b < a);
    let mut rise = 0;
    let mut largest = None;
    // From one place to the next only the pairs of the figure that changes sides change.
    for (place, &moved) in levels.iter().enumerate().take(levels.len() - 1) {
        let (before, after) = (&levels[..place], &levels[place + 1..]);
        rise += after.iter().map(|&other| sign(moved, other)).sum::<i64>();
        rise -= before.iter().map(|&other| sign(other, moved)).sum::<i64>();
        if rise > 0 && largest.is_none_or(|(_, most)| rise > most) {
            largest = Some((place + 1, rise));
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::simulated::Normal;

    fn noisy(seed: u64, runs: usize, spread: f64, mut level: impl FnMut(usize) -> f64) -> Vec<f64> {
        let mut normal = Normal::seeded(seed);
        (0..runs).map(|run| level(run) + spread * normal.draw()).collect()
    }

    #[test]
    fn many_steps_of_a_hundredth_are_seen_though_none_of_them_is() {
        for seed in 0..20 {
            let changes = noisy(seed, 30, 0.01, |_| 0.01);
            let steps = of(&changes, &[]).steps.unwrap();
            assert!(steps.p < 0.001, "{steps:?}");
            assert!(
                (0.005..0.015).contains(&steps.each) && (0.16..0.56).contains(&steps.together),
                "{steps:?}"
            );
        }
    }

    #[test]
    fn one_step_is_found_where_it_is() {
        for seed in 0..20 {
            let levels = noisy(seed, 30, 200.0, |run| if run < 18 { 10_000.0 } else { 10_500.0 });
            let point = of(&[], &levels).change_point.unwrap();
            assert!(point.p < 0.005, "{point:?}");
            assert!(point.at.abs_diff(18) <= 2 && (0.03..0.07).contains(&point.change), "{point:?}");
        }
    }

    #[test]
    fn a_history_without_drift_hardly_ever_alarms() {
        let alarms = (0..300)
            .filter(|&seed| {
                let drift = of(&noisy(seed, 30, 0.02, |_| 0.0), &noisy(seed + 1000, 30, 300.0, |_| 10_000.0));
                adjusted(&[drift])[0].into_iter().flatten().any(|p| p <= ALPHA)
            })
            .count();
        // Six standard deviations above 3 of 300.
        assert!(alarms <= 13, "{alarms}");
    }

    #[test]
    fn what_becomes_faster_is_no_drift() {
        let levels: Vec<f64> = (0..20).map(|run| 10_000.0 - 100.0 * f64::from(run)).collect();
        let drift = of(&[-0.01; 20], &levels);
        assert_eq!(drift.change_point, None);
        assert!(drift.steps.unwrap().p > 0.99);
    }

    #[test]
    fn few_runs_say_nothing() {
        assert_eq!(of(&[0.1; 7], &[1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0]), Drift::default());
        assert_eq!(adjusted(&[Drift::default()]), [[None, None]]);
    }

    proptest! {
        /// The definition: the sum over all pairs across the place.
        #[test]
        fn the_rise_is_counted_as_it_is_defined(levels in prop::collection::vec(1_u8..20, 2..30)) {
            let levels: Vec<f64> = levels.into_iter().map(f64::from).collect();
            let at = |place: usize| -> i64 {
                let pairs = levels[..place].iter().flat_map(|a| levels[place..].iter().map(move |b| (a, b)));
                pairs.map(|(a, b)| i64::from(b > a) - i64::from(b < a)).sum()
            };
            let expected = (1..levels.len()).map(at).max().unwrap();
            prop_assert_eq!(largest_rise(&levels).map_or(0, |(_, rise)| rise), expected.max(0));
            if let Some((place, rise)) = largest_rise(&levels) {
                prop_assert_eq!(at(place), rise);
            }
        }
    }
}
