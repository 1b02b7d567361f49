//! Two candidates side by side: measured in turn within one run, in blocks of four slots ([`block_order`]), and the ratio taken
//! within each block, so that a drift of the machine falls on both alike.

use serde::Serialize;

use crate::error::MeasureError;
use crate::session::Session;
use crate::statistics::{Side, Spread, block_order, geometric_mean};

/// What was measured of both.
#[derive(Clone, Debug, Serialize)]
pub struct SideBySide {
    /// Of a block's figures, the head's over the base's.
    pub ratio: Spread,
    /// The head's figures, a slot each.
    pub head: Spread,
    /// The base's figures, a slot each.
    pub base: Spread,
    /// All of them.
    pub blocks: Vec<Block>,
}

/// The figures of four slots.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Block {
    /// The head's, in their order.
    pub head: [f64; 2],
    /// The base's, in their order.
    pub base: [f64; 2],
    /// Of the geometric means.
    pub ratio: f64,
}

/// What the ratio is to keep.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// It may be no larger.
    AtMost(f64),
    /// It may be no smaller.
    AtLeast(f64),
}

impl Target {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(limit) => ratio <= limit,
            Self::AtLeast(limit) => ratio >= limit,
        }
    }
}

impl Block {
    fn new(head: [f64; 2], base: [f64; 2]) -> Self {
        let mean = |slots: [f64; 2]| geometric_mean(slots[0], slots[1]);
        Self { head, base, ratio: mean(head) / mean(base) }
    }
}

impl SideBySide {
    /// Measures both in so many blocks, with a line for each. `slot` measures one slot of a side.
    ///
    /// # Errors
    /// When a slot could not be measured.
    pub fn measure(
        session: &Session,
        [head, base]: [&str; 2],
        blocks: usize,
        mut slot: impl FnMut(Side) -> Result<f64, MeasureError>,
    ) -> Result<Self, MeasureError> {
        session.say(format_args!("  block  {head:>21}  {base:>21}    ratio"));
        let mut measured = Vec::new();
        for index in 0..blocks {
            let (mut head, mut base) = (Vec::new(), Vec::new());
            for side in block_order(index) {
                let figure = slot(side)?;
                match side {
                    Side::Head => head.push(figure),
                    Side::Base => base.push(figure),
                }
            }
            // Each order has both sides twice.
            let block = Block::new([head[0], head[1]], [base[0], base[1]]);
            session.say(format_args!(
                "  {:>5} {:>11.0} {:>10.0} {:>11.0} {:>10.0} {:>8.3}",
                index + 1,
                block.head[0],
                block.head[1],
                block.base[0],
                block.base[1],
                block.ratio
            ));
            measured.push(block);
        }
        Ok(Self::of(measured))
    }

    /// Of another figure of the same slots, in the order in which they were measured.
    pub fn of_slots(slots: &[(Side, f64)]) -> Self {
        let of = |block: &[(Side, f64)], wanted: Side| {
            let mut figures = block.iter().filter(|(side, _)| *side == wanted).map(|(_, figure)| *figure);
            std::array::from_fn(|_| figures.next().unwrap_or(f64::NAN))
        };
        let blocks = slots.chunks(4).map(|block| Block::new(of(block, Side::Head), of(block, Side::Base)));
        Self::of(blocks.collect())
    }

    fn of(blocks: Vec<Block>) -> Self {
        let slots = |of: fn(&Block) -> [f64; 2]| Spread::of(&blocks.iter().flat_map(of).collect::<Vec<_>>());
        Self {
            ratio: Spread::of(&blocks.iter().map(|block| block.ratio).collect::<Vec<_>>()),
            head: slots(|block| block.head),
            base: slots(|block| block.base),
            blocks,
        }
    }

    /// Says how the median ratio stands to its target, and returns whether that is met.
    pub fn judge(&self, session: &Session, target: Target) -> bool {
        let is_met = target.is_met(self.ratio.median);
        let Spread { min, lower_quartile, median, upper_quartile, max } = self.ratio;
        let (words, limit) = match target {
            Target::AtMost(limit) => ("at most", limit),
            Target::AtLeast(limit) => ("at least", limit),
        };
        session.say(format_args!(
            "median ratio {median:.3} (half of the blocks {lower_quartile:.3} to {upper_quartile:.3}, all {min:.3} to {max:.3}); \
             {words} {limit}: {}",
            if is_met { "met" } else { "MISSED" }
        ));
        is_met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_ratio_of_geometric_means() {
        let block = Block::new([12.0, 27.0], [9.0, 16.0]);
        assert!((block.ratio - 1.5).abs() < 1e-9, "{}", block.ratio);
    }

    #[test]
    fn another_figure_of_the_slots_is_put_into_the_same_blocks() {
        use Side::{Base, Head};
        let slots = [(Head, 12.0), (Base, 9.0), (Base, 16.0), (Head, 27.0), (Base, 1.0), (Head, 3.0)];
        let both = SideBySide::of_slots(&slots);
        assert!((both.blocks[0].ratio - 1.5).abs() < 1e-9, "{both:?}");
        // A block that was not finished has no ratio.
        assert!(both.blocks[1].ratio.is_nan());
    }

    #[test]
    fn a_target_is_a_limit_from_one_side() {
        assert!(Target::AtMost(1.03).is_met(1.03) && !Target::AtMost(1.03).is_met(1.04));
        assert!(Target::AtLeast(0.95).is_met(0.95) && !Target::AtLeast(0.95).is_met(0.94));
    }
}
