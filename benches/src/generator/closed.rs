//! The load generator and wrk in closed loop against the same nginx, in turn.

use std::net::SocketAddr;

use serde::Serialize;

use super::{Bench, word};
use crate::error::MeasureError;
use crate::loadgen::{Arrivals, Target};
use crate::statistics::{Side, Spread, block_order, geometric_mean};
use crate::wrk;

/// The least that its requests per second are to be, as a multiple of wrk's.
const RATIO_MIN: f64 = 0.95;

#[derive(Debug, Serialize)]
pub(super) struct Figures {
    target_ratio: f64,
    ratio: Spread,
    /// Requests per second.
    pub(super) loadgen: Spread,
    /// Requests per second.
    wrk: Spread,
    connections: usize,
    seconds_per_slot: u64,
    blocks: Vec<Block>,
}

impl Figures {
    pub(super) fn is_met(&self) -> bool {
        self.ratio.median >= RATIO_MIN
    }
}

/// Requests per second, in two slots each.
#[derive(Clone, Copy, Debug, Serialize)]
struct Block {
    loadgen: [f64; 2],
    wrk: [f64; 2],
    ratio: f64,
}

impl Block {
    fn new(loadgen: [f64; 2], wrk: [f64; 2]) -> Self {
        let mean = |slots: [f64; 2]| geometric_mean(slots[0], slots[1]);
        Self { loadgen, wrk, ratio: mean(loadgen) / mean(wrk) }
    }
}

impl Bench<'_> {
    /// Blocks of four slots, as in [`cpu`](crate::cpu).
    pub(super) fn closed_loops(&self, nginx: SocketAddr) -> Result<Figures, MeasureError> {
        self.session.say(format_args!("  block  {:>21}  {:>21}    ratio", "tidemark-loadgen", "wrk -t1"));
        let mut blocks = Vec::new();
        for index in 0..self.args.blocks {
            let block = self.block(nginx, index)?;
            self.session.say(format_args!(
                "  {:>5} {:>11.0} {:>10.0} {:>11.0} {:>10.0} {:>8.3}",
                index + 1,
                block.loadgen[0],
                block.loadgen[1],
                block.wrk[0],
                block.wrk[1],
                block.ratio
            ));
            blocks.push(block);
        }
        let slots = |of: fn(&Block) -> [f64; 2]| Spread::of(&blocks.iter().flat_map(of).collect::<Vec<_>>());
        let figures = Figures {
            target_ratio: RATIO_MIN,
            ratio: Spread::of(&blocks.iter().map(|block| block.ratio).collect::<Vec<_>>()),
            loadgen: slots(|block| block.loadgen),
            wrk: slots(|block| block.wrk),
            connections: self.args.connections,
            seconds_per_slot: self.args.seconds,
            blocks,
        };
        let Spread { min, lower_quartile, median, upper_quartile, max } = figures.ratio;
        self.session.say(format_args!(
            "median ratio {median:.3} (half of the blocks {lower_quartile:.3} to {upper_quartile:.3}, all {min:.3} to {max:.3}); \
             at least {RATIO_MIN}: {}",
            word(figures.is_met())
        ));
        Ok(figures)
    }

    fn block(&self, nginx: SocketAddr, index: usize) -> Result<Block, MeasureError> {
        let (mut loadgen, mut wrk) = (Vec::new(), Vec::new());
        for side in block_order(index) {
            match side {
                Side::Head => loadgen.push(self.loadgen_slot(nginx)?),
                Side::Base => wrk.push(self.wrk_slot(nginx)?),
            }
        }
        // Each order has both sides twice.
        Ok(Block::new([loadgen[0], loadgen[1]], [wrk[0], wrk[1]]))
    }

    /// Its warm-up of a second does not count.
    fn loadgen_slot(&self, nginx: SocketAddr) -> Result<f64, MeasureError> {
        let load = self.load(Target::Http(nginx), self.args.connections, Arrivals::Closed);
        let report = load.report(self.session)?;
        Ok(report.populations.iter().map(|population| population.completed_per_s).sum())
    }

    /// wrk has no warm-up: a run of a second before does not count.
    fn wrk_slot(&self, nginx: SocketAddr) -> Result<f64, MeasureError> {
        let run = |seconds| wrk::run(self.session, self.apart.client, self.args.connections, seconds, nginx);
        run(1)?;
        Ok(run(self.args.seconds)?.requests_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_ratio_of_geometric_means() {
        let block = Block::new([30.0, 30.0], [12.0, 27.0]);
        assert!((block.ratio - 30.0 / 18.0).abs() < 1e-9, "{}", block.ratio);
    }
}
