//! Is head slower than base? Pure: blocks in, decision out.
//!
//! Per metric a block yields one difference ([`difference`]). The decision may be taken at three numbers of blocks, the
//! looks; each spends a part of the false alarms that are allowed altogether, so that looking early costs nothing:
//!
//! - **FAIL** when some metric's differences lie above `ln(1 + 2 %)` by the one-sided exact signed-rank test, its p adjusted for
//!   the number of metrics, at the look's level. The levels add up to 1 %: of a hundred comparisons of builds that differ by no
//!   more than 2 %, at most one fails, however the noise is distributed, as long as it is symmetric within blocks. That
//!   it is, the random order of the slots sees to.
//! - **PASS** when every metric's upper bound lies under its margin. Each look has a third of 5 %, and no correction for
//!   the number of metrics is due: all have to be under their margins, so that the chance of a wrong PASS is that of the one that
//!   is over (an intersection-union test).
//! - Otherwise more blocks, and after the last look **INCONCLUSIVE**.
//!
//! A block in which others took the machine away is left out, by what both builds together suffered in it and never by
//! its figures: whoever may choose by outcome can prove anything.

use serde::{Deserialize, Serialize};

use super::detectable;
use super::difference::{self, BlockError};
use super::hodges_lehmann::HodgesLehmann;
use super::holm;
use super::metric::Metric;
use super::signed_rank;
use super::slot::Block;
use crate::statistics::{Side, median};

/// A number of blocks at which a decision may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// So many clean blocks.
    pub blocks: usize,
    /// The false alarms that this look may raise.
    pub alpha: f64,
}

/// The looks. With fewer than 12 blocks four metrics cannot be told from chance at such levels (2^-12 is 0.00024).
pub const LOOKS: [Look; 3] =
    [Look { blocks: 12, alpha: 0.002 }, Look { blocks: 24, alpha: 0.003 }, Look { blocks: 40, alpha: 0.005 }];

/// What head may be worse by without being slower: less than what moving code about in a binary does by itself.
pub const DELTA0: f64 = 0.02;

/// The wrong PASSes that are allowed, over all looks.
pub const PASS_ALPHA: f64 = 0.05;

/// The level of the interval that is shown, on either side.
const INTERVAL_ALPHA: f64 = 0.025;

/// A block is left out when its host gave more than this part of the machine's time to others, or its server was kept waiting
/// for a CPU for more than this part: a tenth of it is already what the gate is to find.
pub const DISTURBED_MAX: f64 = 0.05;

/// When more than this part of the blocks had to be left out, what is left is no sample of anything.
pub const LEFT_OUT_MAX: f64 = 0.5;

/// Whether head is slower. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is not, or by less than the margin.
    Pass,
    /// This cannot be told from these blocks.
    Inconclusive,
    /// It is.
    Fail,
}

/// What was decided on a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricDecision {
    /// Which.
    pub metric: Metric,
    /// FAIL and PASS by itself; the whole passes when all do.
    pub verdict: Verdict,
    /// Median of base's slots, ns.
    pub base_ns: f64,
    /// Median of head's slots, ns.
    pub head_ns: f64,
    /// How much larger head's figure is, as a part of base's: the estimate of Hodges and Lehmann.
    pub change: f64,
    /// The interval that it lies in with 95 %; none where there are too few blocks.
    pub interval: Option<(f64, f64)>,
    /// The bound that is held against the margin; none where there are too few blocks.
    pub upper: Option<f64>,
    /// What the bound must be under.
    pub margin: f64,
    /// The probability of such differences, were head slower by [`DELTA0`] and no more.
    pub p: f64,
    /// It, adjusted for the number of metrics.
    pub p_adjusted: f64,
    /// The smallest slow-down that so many blocks of such noise would have failed in four of five runs; none when so
    /// few fail at nothing.
    pub detectable: Option<f64>,
}

/// A decision, or that there is none yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// FAIL when any metric fails, PASS when all pass.
    pub verdict: Verdict,
    /// Clean blocks that it stands on: those of the look it was taken at.
    pub blocks: usize,
    /// Blocks that were left out, of those that were measured.
    pub left_out: usize,
    /// How many clean blocks the next look needs; none when this is final.
    pub next_look: Option<usize>,
    /// Metric by metric; empty before the first look.
    pub metrics: Vec<MetricDecision>,
    /// Why it is not a PASS, a sentence each.
    pub reasons: Vec<String>,
}

/// Whether others had so much of the machine in this block that it is left out.
pub fn is_disturbed(block: &Block) -> bool {
    let mean = |of: fn(&super::slot::Slot) -> f64| {
        block.slots.iter().map(of).sum::<f64>() / block.slots.len() as f64
    };
    mean(|slot| slot.steal_fraction) > DISTURBED_MAX || mean(|slot| slot.wait_fraction) > DISTURBED_MAX
}

/// Decides on `metrics` from the blocks so far, in the order they were measured. Blocks after the first look that decides
/// change nothing any more.
///
/// # Errors
/// When a block is not what it should be.
pub fn decide(blocks: &[Block], metrics: &[Metric]) -> Result<Decision, BlockError> {
    let mut decision = METHOD.decide(blocks, metrics)?;
    let Some(look) = LOOKS.iter().find(|look| look.blocks == decision.blocks) else { return Ok(decision) };
    let clean = clean(blocks);
    for result in &mut decision.metrics {
        let differences = difference::of(&clean[..look.blocks], result.metric)?;
        result.detectable = detectable::slow_down(&differences, look.alpha / metrics.len() as f64, DELTA0);
    }
    Ok(decision)
}

/// The blocks that are not left out.
fn clean(blocks: &[Block]) -> Vec<Block> {
    blocks.iter().filter(|block| !is_disturbed(block)).cloned().collect()
}

/// The parts of the decision that a mutant of it might get wrong. There is one method; tests make others and show that they are
/// worse.
struct Method {
    looks: &'static [Look],
    /// One difference per block.
    differences: fn(&[Block], Metric) -> Result<Vec<f64>, BlockError>,
    /// The p of differences that may lie above zero.
    p: fn(&[f64]) -> f64,
    /// For the number of metrics.
    adjust: fn(&[f64]) -> Vec<f64>,
}

const METHOD: Method = Method {
    looks: &LOOKS,
    differences: difference::of,
    p: |differences| signed_rank::greater(differences).p,
    adjust: holm::adjust,
};

impl Method {
    fn decide(&self, blocks: &[Block], metrics: &[Metric]) -> Result<Decision, BlockError> {
        // Every block is looked at, also one that is left out: a figure that is none is a fault wherever it stands.
        for &metric in metrics {
            difference::of(blocks, metric)?;
        }
        let clean = clean(blocks);
        let left_out = blocks.len() - clean.len();
        let mut taken = Decision {
            verdict: Verdict::Inconclusive,
            blocks: 0,
            left_out,
            next_look: self.looks.first().map(|look| look.blocks),
            metrics: Vec::new(),
            reasons: Vec::new(),
        };
        for (index, look) in self.looks.iter().enumerate().take_while(|(_, look)| look.blocks <= clean.len())
        {
            taken.metrics = self.judge(&clean[..look.blocks], *look, metrics)?;
            taken.blocks = look.blocks;
            taken.verdict = overall(&taken.metrics);
            let is_decided = taken.verdict != Verdict::Inconclusive;
            taken.next_look = self.looks.get(index + 1).map(|next| next.blocks).filter(|_| !is_decided);
            if is_decided {
                break;
            }
        }
        let first_look = self.looks.first().map_or(0, |look| look.blocks);
        if taken.next_look.is_some()
            && left_out > first_look
            && left_out as f64 > LEFT_OUT_MAX * blocks.len() as f64
        {
            taken.next_look = None;
        }
        taken.reasons = reasons(&taken, first_look);
        Ok(taken)
    }

    fn judge(
        &self,
        blocks: &[Block],
        look: Look,
        metrics: &[Metric],
    ) -> Result<Vec<MetricDecision>, BlockError> {
        let differences: Vec<Vec<f64>> =
            metrics.iter().map(|&metric| (self.differences)(blocks, metric)).collect::<Result<_, _>>()?;
        let p_values: Vec<f64> = differences
            .iter()
            .map(|differences| {
                let beyond: Vec<f64> = differences.iter().map(|d| d - DELTA0.ln_1p()).collect();
                (self.p)(&beyond)
            })
            .collect();
        let adjusted = (self.adjust)(&p_values);
        let each = metrics.iter().zip(&differences).zip(p_values.iter().zip(&adjusted));
        Ok(each
            .map(|((&metric, differences), (&p, &p_adjusted))| {
                let location = HodgesLehmann::of(differences);
                let upper = finite(location.upper(PASS_ALPHA / self.looks.len() as f64));
                let verdict = if p_adjusted <= look.alpha {
                    Verdict::Fail
                } else if upper.is_some_and(|upper| upper < metric.margin()) {
                    Verdict::Pass
                } else {
                    Verdict::Inconclusive
                };
                let interval =
                    finite(location.lower(INTERVAL_ALPHA)).zip(finite(location.upper(INTERVAL_ALPHA)));
                MetricDecision {
                    metric,
                    verdict,
                    base_ns: median_of(blocks, Side::Base, metric),
                    head_ns: median_of(blocks, Side::Head, metric),
                    change: location.estimate().exp_m1(),
                    interval,
                    upper,
                    margin: metric.margin(),
                    p,
                    p_adjusted,
                    detectable: None,
                }
            })
            .collect())
    }
}

/// A bound on the log scale as a part; none when there is none.
fn finite(bound: f64) -> Option<f64> {
    bound.is_finite().then(|| bound.exp_m1())
}

fn overall(metrics: &[MetricDecision]) -> Verdict {
    metrics.iter().map(|metric| metric.verdict).max().unwrap_or(Verdict::Inconclusive)
}

fn median_of(blocks: &[Block], side: Side, metric: Metric) -> f64 {
    let slots = blocks.iter().flat_map(|block| &block.slots).filter(|slot| slot.side == side);
    median(&slots.filter_map(|slot| slot.figures.get(&metric).copied()).collect::<Vec<_>>())
}

fn reasons(decision: &Decision, first_look: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    if decision.verdict == Verdict::Inconclusive && decision.left_out > 0 {
        reasons.push(format!(
            "{} blocks were left out because others had more than {:.0} % of the machine; use a quieter one",
            decision.left_out,
            DISTURBED_MAX * 100.0
        ));
    }
    if decision.metrics.is_empty() {
        reasons.push(format!("there are fewer than the {first_look} clean blocks that the first look needs"));
    }
    reasons.extend(decision.metrics.iter().filter_map(|metric| {
        let (name, change) = (metric.metric.name(), metric.change * 100.0);
        match metric.verdict {
            Verdict::Pass => None,
            Verdict::Fail => Some(format!(
                "{name} is {change:+.1} %, which is more than {:.0} % and no chance (p = {:.5})",
                DELTA0 * 100.0,
                metric.p_adjusted
            )),
            Verdict::Inconclusive => Some(format!(
                "{name} is {change:+.1} %, and may be up to {} (its margin is {:.0} %)",
                metric
                    .upper
                    .map_or_else(|| "anything".to_owned(), |upper| format!("{:+.1} %", upper * 100.0)),
                metric.margin * 100.0
            )),
        }
    }));
    reasons
}

#[cfg(test)]
mod tests;
