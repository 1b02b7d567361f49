//! Figures of `SciPy` that the statistics are held against; `testdata/make.py` made them.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    pub(super) uniform: Vec<UniformCase>,
    pub(super) known_tail: Vec<TailCase>,
    pub(super) exponential: Vec<ExponentialCase>,
    pub(super) erlang: Vec<ErlangCase>,
    pub(super) rank_sum: Vec<RankSumCase>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UniformCase {
    pub(super) values: Vec<f64>,
    pub(super) a2: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct TailCase {
    pub(super) a2: f64,
    pub(super) p: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExponentialCase {
    pub(super) values: Vec<f64>,
    pub(super) a2: f64,
    /// At 15, 10, 5, 2.5 and 1 %.
    pub(super) critical: [f64; 5],
}

#[derive(Debug, Deserialize)]
pub(super) struct ErlangCase {
    pub(super) shape: usize,
    pub(super) x: f64,
    pub(super) p: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct RankSumCase {
    pub(super) first: Vec<f64>,
    pub(super) second: Vec<f64>,
    pub(super) p: f64,
}

pub(super) fn read() -> Reference {
    serde_json::from_str(include_str!("testdata/statistics.json")).unwrap()
}
