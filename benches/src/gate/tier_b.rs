//! Tier B: measures blocks until it is decided, the last look is reached, or time runs out.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tidemark_loadgen::report::units::Percent;

use super::budget;
use super::decision::{self, Decision, Verdict};
use super::measure::Bench;
use super::metric::Metric;
use super::order::Orders;
use super::present::figures::{Change, or_dash};
use super::record::{Header, SlotLine, Writer, blocks};
use super::report::{Ended, Times};
use super::slot::Block;
use crate::error::MeasureError;
use crate::statistics::{Side, geometric_mean};

/// When to end.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// When it all began.
    pub began: Instant,
    /// How long it may take from then on.
    pub budget: Duration,
}

/// Measures and judges. Every slot is in the file at `record` as soon as it is measured.
///
/// # Errors
/// When a slot cannot be measured. That is never a verdict.
pub fn measure(
    bench: &Bench<'_>,
    header: &Header,
    record: &Path,
    until: Until,
    mut say: impl FnMut(&str),
) -> Result<Times, MeasureError> {
    let mut writer = Writer::create(record, header)?;
    say("warming up: a slot of each build that does not count");
    for side in [Side::Base, Side::Head] {
        bench.slot(side).map_err(|error| error.in_slot("the warm-up", side))?;
    }
    // What came before is no part of a block's time, but of the budget.
    let budget = until.budget.saturating_sub(until.began.elapsed());
    let began = Instant::now();
    let mut orders = Orders::new(header.seed);
    let mut slots = Vec::new();
    loop {
        let measured = blocks(&slots);
        let decision = decision::decide(&measured, &header.metrics)?;
        let done = measured.len();
        // Blocks that were disturbed are replaced, so a look may need more than it has blocks.
        let wanted = decision.next_look.map(|look| done + look - (done - decision.left_out));
        let ended = match wanted {
            None if decision.verdict == Verdict::Inconclusive => Some(Ended::NoLook),
            None => Some(Ended::Decided),
            Some(wanted) if !budget::suffices(budget, began.elapsed(), done, wanted) => {
                Some(Ended::OutOfTime)
            }
            Some(_) => None,
        };
        if let Some(ended) = ended {
            return Ok(times(ended, header, decision, slots));
        }
        for (position, side) in orders.next().into_iter().flatten().enumerate() {
            let measured =
                bench.slot(side).map_err(|error| error.in_slot(&format!("block {}", done + 1), side))?;
            let slot = SlotLine::new(done, position, measured);
            writer.slot(&slot)?;
            slots.push(slot);
        }
        if let Some(block) = blocks(&slots).last() {
            say(&line(done + 1, wanted, block, &header.metrics));
        }
    }
}

/// The result of slots that were measured or recorded.
pub fn times(ended: Ended, header: &Header, decision: Decision, slots: Vec<SlotLine>) -> Times {
    Times {
        ended,
        blocks: slots.len() / 4,
        work: header.work,
        metrics: header.metrics.clone(),
        decision,
        slots,
    }
}

/// A block as it is shown as soon as it is done.
fn line(number: usize, wanted: Option<usize>, block: &Block, metrics: &[Metric]) -> String {
    let order: String =
        block.slots.iter().map(|slot| if slot.side == Side::Head { 'H' } else { 'B' }).collect();
    let mut line = format!("block {number:>2} of {:>2} {order}", wanted.unwrap_or(number));
    for &metric in metrics {
        let _ = write!(line, "  {} {}", metric.name(), or_dash(change(block, metric).map(Change)));
    }
    let stolen = block.slots.iter().map(|slot| slot.steal_fraction).sum::<f64>() / 4.0;
    let _ = write!(line, "  stolen {}", Percent(stolen));
    if decision::is_disturbed(block) {
        line.push_str("  left out: disturbed");
    }
    line
}

/// Head against base within a block.
fn change(block: &Block, metric: Metric) -> Option<f64> {
    let mean = |side| {
        let mut figures =
            block.slots.iter().filter(|slot| slot.side == side).map(|slot| slot.figures.get(&metric));
        Some(geometric_mean(*figures.next()??, *figures.next()??))
    };
    Some(mean(Side::Head)? / mean(Side::Base)? - 1.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::gate::slot::Slot;

    #[test]
    fn a_block_is_a_line() {
        let slot = |side, figure| Slot {
            side,
            figures: BTreeMap::from([(Metric::CpuPerEcho, figure)]),
            steal_fraction: 0.01,
            wait_fraction: 0.0,
        };
        let block = Block {
            slots: [
                slot(Side::Head, 110.0),
                slot(Side::Base, 100.0),
                slot(Side::Base, 100.0),
                slot(Side::Head, 110.0),
            ],
        };
        let line = line(3, Some(12), &block, &[Metric::CpuPerEcho, Metric::ResponseP99]);
        assert_eq!(line, "block  3 of 12 HBBH  cpu_per_echo +10.0 %  response_p99 -  stolen 1.00 %");
    }
}
