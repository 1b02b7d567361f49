use super::*;
use crate::gate::order::Orders;
use crate::gate::simulated::{Normal, blocks};

mod mutants;

const ONE: [Metric; 1] = [Metric::CpuPerEcho];

/// Noise of a machine at work: a slow walk, a scatter of 2 %, and now and then a burst that a slot does not get over.
fn rough(seed: u64) -> impl FnMut(usize, Metric) -> f64 {
    let mut normal = Normal::seeded(seed);
    let mut walk = 0.0;
    move |_, _| {
        walk = 0.98 * walk + 0.02 * normal.draw();
        let burst = if normal.chance(0.05) { 0.3 * normal.draw().abs() } else { 0.0 };
        walk + 0.02 * normal.draw() + burst
    }
}

/// A run of at most 40 blocks.
fn run(seed: u64, metrics: &[Metric], slow_down: f64) -> Decision {
    METHOD.decide(&blocks(Orders::new(seed).take(40), metrics, slow_down, rough(seed)), metrics).unwrap()
}

#[test]
fn the_same_build_hardly_ever_fails() {
    let fails = (0..400).filter(|&seed| run(seed, &Metric::ALL, 0.0).verdict == Verdict::Fail).count();
    // 1 % is allowed at a slow-down of 2 %; at none it is far less.
    assert_eq!(fails, 0);
}

#[test]
fn a_slow_down_that_is_allowed_fails_in_one_of_a_hundred_at_most() {
    let fails = (0..400).filter(|&seed| run(seed, &Metric::ALL, DELTA0).verdict == Verdict::Fail).count();
    // Six standard deviations above 4 of 400.
    assert!(fails <= 16, "{fails}");
}

#[test]
fn a_slow_down_of_a_tenth_fails() {
    for seed in 0..50 {
        let decision = run(seed, &ONE, 0.10);
        assert_eq!(decision.verdict, Verdict::Fail, "{decision:?}");
        assert!((0.05..0.15).contains(&decision.metrics[0].change), "{decision:?}");
        assert!(decision.reasons[0].starts_with("cpu_per_echo is +"), "{:?}", decision.reasons);
    }
}

#[test]
fn a_speed_up_passes() {
    for seed in 0..50 {
        let decision = run(seed, &ONE, -0.10);
        assert_eq!((decision.verdict, decision.reasons.len()), (Verdict::Pass, 0), "{decision:?}");
    }
}

#[test]
fn a_quiet_machine_decides_at_the_first_look_and_later_blocks_change_nothing() {
    let mut normal = Normal::seeded(1);
    let all = blocks(Orders::new(1).take(40), &ONE, 0.0, |_, _| 0.005 * normal.draw());
    let early = decide(&all[..12], &ONE).unwrap();
    assert_eq!((early.verdict, early.blocks, early.next_look), (Verdict::Pass, 12, None));
    assert_eq!(decide(&all, &ONE).unwrap(), early);
}

#[test]
fn between_the_looks_there_is_no_decision() {
    let mut normal = Normal::seeded(1);
    let all = blocks(Orders::new(1).take(40), &ONE, 0.035, |_, _| 0.1 * normal.draw());
    for (count, next) in [(0, 12), (11, 12), (12, 24), (23, 24), (24, 40), (39, 40)] {
        let decision = decide(&all[..count], &ONE).unwrap();
        assert_eq!(
            (decision.verdict, decision.next_look),
            (Verdict::Inconclusive, Some(next)),
            "{count} blocks"
        );
    }
    let last = decide(&all, &ONE).unwrap();
    assert!(last.metrics[0].detectable.is_some_and(|slow_down| slow_down > last.metrics[0].margin));
    assert_eq!((last.verdict, last.next_look, last.blocks), (Verdict::Inconclusive, None, 40));
    assert!(last.reasons[0].contains("may be up to +"), "{:?}", last.reasons);
}

#[test]
fn one_metric_is_enough_to_fail_and_all_must_pass() {
    let mut normal = Normal::seeded(1);
    let mut all = blocks(Orders::new(1).take(12), &Metric::ALL, 0.0, |_, _| 0.005 * normal.draw());
    assert_eq!(decide(&all, &Metric::ALL).unwrap().verdict, Verdict::Pass);
    for slot in all.iter_mut().flat_map(|block| &mut block.slots).filter(|slot| slot.side == Side::Head) {
        *slot.figures.get_mut(&Metric::ResponseP99).unwrap() *= 1.2;
    }
    let decision = decide(&all, &Metric::ALL).unwrap();
    assert_eq!(decision.verdict, Verdict::Fail);
    let failed: Vec<Metric> = decision
        .metrics
        .iter()
        .filter(|metric| metric.verdict == Verdict::Fail)
        .map(|metric| metric.metric)
        .collect();
    assert_eq!(failed, [Metric::ResponseP99]);
}

#[test]
fn blocks_are_left_out_by_what_the_machine_did_and_not_by_their_figures() {
    let mut all = blocks(Orders::new(1).take(24), &ONE, 0.0, rough(1));
    let before = decide(&all, &ONE).unwrap();
    // Wild figures stay.
    all[3].slots[0].figures.insert(Metric::CpuPerEcho, 1e9);
    assert_eq!(decide(&all, &ONE).unwrap().left_out, before.left_out);
    // What one build suffered counts as much as what the other did.
    for place in 0..4 {
        let mut disturbed = all.clone();
        disturbed[3].slots[place].steal_fraction = 4.1 * DISTURBED_MAX;
        disturbed[5].slots[place].wait_fraction = 4.1 * DISTURBED_MAX;
        disturbed[7].slots[place].wait_fraction = 3.9 * DISTURBED_MAX;
        let decision = decide(&disturbed, &ONE).unwrap();
        assert_eq!((decision.left_out, decision.blocks), (2, 12), "slot {place}");
    }
}

#[test]
fn a_machine_that_others_use_ends_in_inconclusive_and_says_so() {
    let mut all = blocks(Orders::new(1).take(40), &ONE, 0.0, rough(1));
    for slot in all.iter_mut().flat_map(|block| &mut block.slots) {
        slot.wait_fraction = 0.5;
    }
    let short = decide(&all[..12], &ONE).unwrap();
    assert_eq!(short.next_look, Some(12), "it may get better");
    let decision = decide(&all[..13], &ONE).unwrap();
    assert_eq!((decision.verdict, decision.next_look, decision.left_out), (Verdict::Inconclusive, None, 13));
    assert!(decision.reasons[0].starts_with("13 blocks were left out"), "{:?}", decision.reasons);
}

#[test]
fn a_figure_that_is_none_is_no_verdict_even_in_a_block_that_is_left_out() {
    let mut all = blocks(Orders::new(1).take(13), &ONE, 0.0, rough(1));
    all[12].slots[1].steal_fraction = 1.0;
    all[12].slots[1].figures.clear();
    assert!(decide(&all, &ONE).unwrap_err().to_string().starts_with("block 13, slot 2: "));
}
