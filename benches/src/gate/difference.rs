//! What a block says: by how much head's figure is larger than base's.

use thiserror::Error;

use super::metric::Metric;
use super::slot::Block;
use crate::statistics::Side;

/// Blocks that no decision can be made on. That is a fault of the measurement, and never a verdict.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BlockError {
    /// A slot without the figure, or with one that is no time.
    #[error("block {}, slot {}: {} is {}, and should be a positive number of nanoseconds", block + 1, slot + 1, metric.name(), show(*value))]
    Figure {
        /// Which block, from 0.
        block: usize,
        /// Which slot of it, from 0.
        slot: usize,
        /// Which figure.
        metric: Metric,
        /// What it is; none when it is missing.
        value: Option<f64>,
    },
    /// A block that has not two slots of each build.
    #[error("block {}: {heads} of its 4 slots are head's, and should be 2", block + 1)]
    Sides {
        /// Which block, from 0.
        block: usize,
        /// Slots of head.
        heads: usize,
    },
}

fn show(value: Option<f64>) -> String {
    value.map_or_else(|| "missing".to_owned(), |value| value.to_string())
}

/// The difference of every block: the mean log of head's two figures less that of base's. A ratio of times becomes a
/// difference, and 5 % more weighs as much as 5 % less.
///
/// # Errors
/// When a block is not two slots of each build, or a figure is missing or not positive and finite.
pub fn of(blocks: &[Block], metric: Metric) -> Result<Vec<f64>, BlockError> {
    blocks.iter().enumerate().map(|(index, block)| of_block(index, block, metric)).collect()
}

fn of_block(index: usize, block: &Block, metric: Metric) -> Result<f64, BlockError> {
    let heads = block.slots.iter().filter(|slot| slot.side == Side::Head).count();
    if heads != 2 {
        return Err(BlockError::Sides { block: index, heads });
    }
    let mut difference = 0.0;
    for (place, slot) in block.slots.iter().enumerate() {
        let value = slot.figures.get(&metric).copied();
        let ns = value.filter(|ns| ns.is_finite() && *ns > 0.0);
        let ln = ns.ok_or(BlockError::Figure { block: index, slot: place, metric, value })?.ln();
        difference += match slot.side {
            Side::Head => ln / 2.0,
            Side::Base => -ln / 2.0,
        };
    }
    Ok(difference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::simulated::block;

    const METRIC: Metric = Metric::CpuPerEcho;

    #[test]
    fn it_is_the_log_of_the_ratio_whichever_comes_first() {
        use Side::{Base, Head};
        for (order, figures) in [
            ([Head, Base, Base, Head], [110.0, 100.0, 100.0, 110.0]),
            ([Base, Head, Head, Base], [100.0, 110.0, 110.0, 100.0]),
        ] {
            let found = of(&[block(order, figures)], METRIC).unwrap()[0];
            assert!((found - 1.1_f64.ln()).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn a_figure_that_is_none_is_told_with_its_place() {
        use Side::{Base, Head};
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let blocks = [
                block([Head, Base, Base, Head], [1.0; 4]),
                block([Base, Head, Head, Base], [1.0, 1.0, bad, 1.0]),
            ];
            let message = of(&blocks, METRIC).unwrap_err().to_string();
            assert!(message.starts_with("block 2, slot 3: cpu_per_echo is "), "{message}");
        }
        let mut missing = block([Head, Base, Base, Head], [1.0; 4]);
        missing.slots[0].figures.clear();
        let message = of(&[missing], METRIC).unwrap_err().to_string();
        assert_eq!(
            message,
            "block 1, slot 1: cpu_per_echo is missing, and should be a positive number of nanoseconds"
        );
    }

    #[test]
    fn three_slots_of_a_build_are_no_block() {
        use Side::{Base, Head};
        let message = of(&[block([Head, Head, Base, Head], [1.0; 4])], METRIC).unwrap_err().to_string();
        assert_eq!(message, "block 1: 3 of its 4 slots are head's, and should be 2");
    }
}
