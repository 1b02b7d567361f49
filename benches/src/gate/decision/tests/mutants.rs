//! What would go wrong if a rule of the method were another: each mutant breaks what the method keeps.

use super::*;
use crate::statistics::block_order;

/// Runs of a hundred, by seed, that fail.
fn fails(method: &Method, one: impl Fn(u64) -> Vec<Block>, metrics: &[Metric]) -> usize {
    let runs = (0..100).map(|seed| method.decide(&one(seed), metrics).unwrap());
    runs.filter(|decision| decision.verdict == Verdict::Fail).count()
}

fn with<T>(change: impl FnOnce(&mut Method) -> T) -> Method {
    let mut method = Method { ..METHOD };
    change(&mut method);
    method
}

/// Every block whose number is even runs while something else does, for its first and last quarter: eight slots are its
/// period. Base and head are the same.
fn periodic(number: usize) -> f64 {
    if [0, 3, 5, 6].contains(&(number % 8)) { 0.1 } else { 0.0 }
}

#[test]
fn a_fixed_order_takes_a_period_of_the_machine_for_a_slow_down() {
    let random = |seed| {
        let mut normal = Normal::seeded(seed);
        blocks(Orders::new(seed).take(40), &ONE, 0.0, move |number, _| {
            periodic(number) + 0.005 * normal.draw()
        })
    };
    let fixed = |seed| {
        let mut normal = Normal::seeded(seed);
        let noise = move |number, _: Metric| periodic(number) + 0.005 * normal.draw();
        blocks((0..40).map(block_order), &ONE, 0.0, noise)
    };
    assert_eq!(fails(&METHOD, fixed, &ONE), 100);
    assert!(fails(&METHOD, random, &ONE) <= 2);
}

/// The figures of both builds, each by size: what belongs to a block is lost.
#[expect(clippy::unnecessary_wraps, reason = "it stands where the method's own may fail")]
fn pooled(blocks: &[Block], metric: Metric) -> Result<Vec<f64>, BlockError> {
    let of = |side| {
        let slots = blocks.iter().flat_map(|block| &block.slots).filter(move |slot| slot.side == side);
        slots.map(|slot| slot.figures[&metric].ln()).collect::<Vec<f64>>()
    };
    let (head, base) = (of(Side::Head), of(Side::Base));
    let typical = median(&base);
    Ok(head.into_iter().step_by(2).map(|ln| ln - typical).collect())
}

#[test]
fn pooled_samples_drown_a_slow_down_in_the_drift() {
    let drifting = |seed| {
        let mut normal = Normal::seeded(seed);
        blocks(Orders::new(seed).take(40), &ONE, 0.05, move |number, _| {
            0.01 * number as f64 + 0.005 * normal.draw()
        })
    };
    assert_eq!(fails(&METHOD, drifting, &ONE), 100);
    assert_eq!(fails(&with(|method| method.differences = pooled), drifting, &ONE), 0);
}

fn swapped(blocks: &[Block], metric: Metric) -> Result<Vec<f64>, BlockError> {
    Ok(difference::of(blocks, metric)?.into_iter().map(|d| -d).collect())
}

#[test]
fn swapped_labels_fail_what_is_faster_and_pass_what_is_slower() {
    let mutant = with(|method| method.differences = swapped);
    let of = |slow_down| move |seed| blocks(Orders::new(seed).take(40), &ONE, slow_down, rough(seed));
    assert_eq!([fails(&METHOD, of(0.15), &ONE), fails(&METHOD, of(-0.15), &ONE)], [100, 0]);
    assert_eq!([fails(&mutant, of(0.15), &ONE), fails(&mutant, of(-0.15), &ONE)], [0, 100]);
}

#[test]
fn three_blocks_never_decide_whatever_the_slow_down() {
    const THREE: [Look; 1] = [Look { blocks: 3, alpha: 0.002 }];
    let mutant = with(|method| method.looks = &THREE);
    let tripled = |seed| blocks(Orders::new(seed).take(12), &ONE, 2.0, rough(seed));
    assert_eq!(fails(&METHOD, tripled, &ONE), 100);
    assert_eq!(fails(&mutant, tripled, &ONE), 0);
    // And the method takes none with fewer than it needs: the smallest p must be within reach of the first level.
    let smallest = 0.5_f64.powi(i32::try_from(LOOKS[0].blocks).unwrap()) * Metric::ALL.len() as f64;
    assert!(smallest <= LOOKS[0].alpha);
    assert_eq!(decide(&tripled(1)[..11], &ONE).unwrap().verdict, Verdict::Inconclusive);
}

#[test]
fn without_holm_a_metric_fails_that_is_one_of_many() {
    // Of twelve differences only the two smallest are negative: p is 4 / 2^12, under 0.002, and four times that is not.
    let order = block_order(0);
    let mut blocks = blocks(std::iter::repeat_n(order, 12), &Metric::ALL, 0.0, |_, _| 0.0);
    for (index, block) in blocks.iter_mut().enumerate() {
        let change =
            if index < 2 { 0.02 - 0.001 * (index + 1) as f64 } else { 0.02 + 0.001 * (index + 1) as f64 };
        for slot in block.slots.iter_mut().filter(|slot| slot.side == Side::Head) {
            *slot.figures.get_mut(&Metric::ResponseP50).unwrap() *= 1.0 + change;
        }
    }
    let mutant = with(|method| method.adjust = <[f64]>::to_vec);
    let [real, raw] = [&METHOD, &mutant].map(|method| method.decide(&blocks, &Metric::ALL).unwrap());
    assert!(raw.metrics[2].p <= LOOKS[0].alpha && real.metrics[2].p_adjusted > LOOKS[0].alpha, "{real:?}");
    assert_eq!(raw.verdict, Verdict::Fail);
    assert_ne!(real.verdict, Verdict::Fail);
}

#[test]
fn a_two_sided_test_fails_what_is_faster() {
    let two_sided = |differences: &[f64]| {
        let mirrored: Vec<f64> = differences.iter().map(|d| -d).collect();
        (2.0 * signed_rank::greater(differences).p.min(signed_rank::greater(&mirrored).p)).min(1.0)
    };
    let mutant = with(|method| method.p = two_sided);
    let faster = |seed| blocks(Orders::new(seed).take(40), &ONE, -0.15, rough(seed));
    assert_eq!(fails(&METHOD, faster, &ONE), 0);
    assert!(fails(&mutant, faster, &ONE) >= 90);
}
