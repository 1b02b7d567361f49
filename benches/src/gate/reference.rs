//! Figures that `SciPy` and an enumeration gave, which the statistics are held against; `testdata/make.py` made them.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    pub(super) signed_rank: Vec<SignedRankCase>,
    pub(super) hodges_lehmann: Vec<HodgesLehmannCase>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SignedRankCase {
    pub(super) differences: Vec<f64>,
    pub(super) w_plus: f64,
    pub(super) p: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct HodgesLehmannCase {
    pub(super) differences: Vec<f64>,
    pub(super) alpha: f64,
    pub(super) estimate: f64,
    pub(super) lower: Option<f64>,
    pub(super) upper: Option<f64>,
}

pub(super) fn read() -> Reference {
    serde_json::from_str(include_str!("testdata/statistics.json")).unwrap()
}
