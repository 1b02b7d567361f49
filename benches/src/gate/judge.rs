//! From the statistics' decision to what is reported.

use super::metric::Metric;
use super::report::{MetricResult, Verdict};
use super::slot::Block;
use crate::statistics::{Side, median};

/// x
pub const LOOKS: [usize; 3] = [12, 24, 40];

/// x
pub fn next_look(done: usize) -> Option<usize> {
    LOOKS.into_iter().find(|&look| look > done)
}
/// x
pub fn order(seed: u64, index: usize) -> [Side; 4] {
    let _ = seed;
    crate::statistics::block_order(index)
}
/// x
pub fn is_decided(_blocks: &[Block], _metrics: &[Metric]) -> bool {
    false
}
/// x
pub fn results(blocks: &[Block], metrics: &[Metric]) -> Vec<MetricResult> {
    metrics
        .iter()
        .map(|&metric| MetricResult {
            metric,
            verdict: Verdict::Inconclusive,
            base_ns: median_of(blocks, Side::Base, metric),
            head_ns: median_of(blocks, Side::Head, metric),
            change: None,
            interval: None,
            p_value: None,
            margin: metric.margin(),
            detectable: None,
        })
        .collect()
}

/// The median over all slots of a build; 0 when there is none.
fn median_of(blocks: &[Block], side: Side, metric: Metric) -> f64 {
    let slots = blocks.iter().flat_map(|block| &block.slots).filter(|slot| slot.side == side);
    let figures: Vec<f64> = slots.filter_map(|slot| slot.figures.get(&metric).copied()).collect();
    if figures.is_empty() { 0.0 } else { median(&figures) }
}
