//! The load generator and wrk in closed loop against the same nginx, in turn.

use std::net::SocketAddr;

use serde::Serialize;

use super::Bench;
use crate::error::MeasureError;
use crate::loadgen::{Arrivals, Target};
use crate::side_by_side::{self, SideBySide};
use crate::statistics::Side;
use crate::wrk;

/// The least that its requests per second are to be, as a multiple of wrk's.
const RATIO_MIN: f64 = 0.95;

#[derive(Debug, Serialize)]
pub(super) struct Figures {
    target_ratio: f64,
    connections: usize,
    seconds_per_slot: u64,
    #[serde(skip)]
    pub(super) is_met: bool,
    /// Requests per second: the load generator's, and wrk's.
    #[serde(flatten)]
    pub(super) compared: SideBySide,
}

impl Bench<'_> {
    pub(super) fn closed_loops(&self, nginx: SocketAddr) -> Result<Figures, MeasureError> {
        let names = ["tidemark-loadgen", "wrk -t1"];
        let compared = SideBySide::measure(self.session, names, self.args.blocks, |side| match side {
            Side::Head => self.loadgen_slot(nginx),
            Side::Base => self.wrk_slot(nginx),
        })?;
        Ok(Figures {
            target_ratio: RATIO_MIN,
            connections: self.args.connections,
            seconds_per_slot: self.args.seconds,
            is_met: compared.judge(self.session, side_by_side::Target::AtLeast(RATIO_MIN)),
            compared,
        })
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
