//! What is measured: slots, each of fresh processes of one build, in blocks of four.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metric::Metric;
use crate::statistics::Side;

/// The figures of one build, measured once, with processes of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Which build.
    pub side: Side,
    /// Its figures, ns. All are positive.
    pub figures: BTreeMap<Metric, f64>,
    /// The part of the machine's CPU time that its host gave to others meanwhile.
    pub steal_fraction: f64,
    /// The part of the time that the server was ready to run and had no CPU.
    pub wait_fraction: f64,
}

/// Four slots one after the other, two of each build: ABBA or BAAB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// In the order they were measured.
    pub slots: [Slot; 4],
}
