//! Blocks as a machine might yield them, for tests: noise of known kinds, drift, and slow-downs of a known size.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::metric::Metric;
use super::slot::{Block, Slot};
use crate::statistics::Side;

/// A standard normal variate.
#[derive(Debug)]
pub(super) struct Normal(Xoshiro256PlusPlus);

impl Normal {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// By Box and Muller.
    pub(super) fn draw(&mut self) -> f64 {
        let [a, b]: [f64; 2] = [self.0.random(), self.0.random()];
        (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// True with the probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }
}

/// A block with one metric.
pub(super) fn block(order: [Side; 4], figures: [f64; 4]) -> Block {
    let slot = |(side, ns)| Slot {
        side,
        figures: BTreeMap::from([(Metric::CpuPerEcho, ns)]),
        steal_fraction: 0.0,
        wait_fraction: 0.0,
    };
    Block { slots: [0, 1, 2, 3].map(|place| slot((order[place], figures[place]))) }
}

/// Makes blocks: the log of a figure is what `noise` says of the slot's number and metric, and more by `slow_down` when it is
/// head's.
pub(super) fn blocks(
    orders: impl Iterator<Item = [Side; 4]>,
    metrics: &[Metric],
    slow_down: f64,
    mut noise: impl FnMut(usize, Metric) -> f64,
) -> Vec<Block> {
    let mut number = 0;
    let mut slot = |side| {
        let mut figure = |&metric: &Metric| {
            let head = if side == Side::Head { slow_down.ln_1p() } else { 0.0 };
            (metric, 10_000.0 * (noise(number, metric) + head).exp())
        };
        let figures = metrics.iter().map(&mut figure).collect();
        number += 1;
        Slot { side, figures, steal_fraction: 0.0, wait_fraction: 0.0 }
    };
    orders.map(|order| Block { slots: order.map(&mut slot) }).collect()
}
