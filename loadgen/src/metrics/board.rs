//! The figures of a run as they stand: written by the collector once an interval, read on a scrape.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus::proto::MetricFamily;
use tidemark_program::metrics::process::{FdTables, Process};

use super::buckets::{Buckets, Quantiles, quantiles};
use super::export::{self, Population, Snapshot};
use super::phases::{Phase, Phases};
use crate::errors::ErrorKind;
use crate::plan::{Plan, PopulationPlan};
use crate::record::{Account, Kind, Recording};
use crate::run::WORKER_THREADS;
use crate::slo::Judgement;
use crate::verdict::Verdict;

/// The figures of one run.
#[derive(Debug)]
pub struct Board {
    run: String,
    plans: Vec<PopulationPlan>,
    open: Vec<Arc<AtomicU64>>,
    process: Process,
    /// Held by the collector for well under a millisecond an interval, and by a scrape while it copies the figures.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phases: Phases,
    valid: bool,
    trusted: Option<f64>,
    slo: Vec<Judgement>,
    populations: Vec<Figures>,
}

/// What was added up of one population.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) account: Account,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) latencies: [Buckets; Kind::ALL.len()],
    pub(super) interval: Quantiles,
}

impl Figures {
    fn add(&mut self, recording: &Recording) {
        self.account.add(&recording.account);
        for (kind, count) in &recording.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
        for (sum, kind) in self.latencies.iter_mut().zip(Kind::ALL) {
            sum.add(&recording.histogram(kind));
        }
    }
}

impl Board {
    /// A run whose ramp begins now.
    pub(super) fn new(plan: &Plan, run_id: &str, open: Vec<Arc<AtomicU64>>) -> Self {
        let now = SystemTime::now();
        let fd_tables =
            if plan.private_fd_tables { FdTables::PrivateTo(WORKER_THREADS) } else { FdTables::Shared };
        let state = State {
            phases: Phases::connecting(now),
            valid: true,
            trusted: None,
            slo: Vec::new(),
            populations: vec![Figures::default(); plan.populations.len()],
        };
        Self {
            run: run_id.to_owned(),
            plans: plan.populations.clone(),
            open,
            process: Process::new(fd_tables),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters that a panic left half added are still the best there is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A phase begins, or is planned to begin then.
    pub fn set_phase(&self, phase: Phase, start: SystemTime) {
        self.state().phases.set(phase, start);
    }

    /// Adds what a population recorded in an interval. The gauges show this interval if `is_shown`; what comes in after the
    /// last whole one is only counted.
    pub(super) fn add(&self, population: usize, recording: &Recording, is_shown: bool) {
        let latest = is_shown.then(|| Kind::ALL.map(|kind| quantiles(&recording.histogram(kind))));
        let mut state = self.state();
        let Some(figures) = state.populations.get_mut(population) else { return };
        figures.add(recording);
        if let Some(latest) = latest {
            figures.interval = latest;
        }
    }

    /// The judgement so far. `trusted` is `None` in a closed loop.
    pub(super) fn judged(&self, valid: bool, trusted: Option<f64>, slo: Vec<Judgement>) {
        let mut state = self.state();
        (state.valid, state.trusted, state.slo) = (valid, trusted, slo);
    }

    /// The run is over, and this is what it came to.
    pub fn finish(&self, verdict: &Verdict, slo: &[Judgement]) {
        self.judged(verdict.valid, export::trusted(self.is_open_loop(), verdict), slo.to_vec());
        self.set_phase(Phase::Done, SystemTime::now());
    }

    fn is_open_loop(&self) -> bool {
        self.plans.iter().any(PopulationPlan::is_open_loop)
    }

    /// Everything, for a scrape.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let (phases, valid, trusted, slo, figures) = {
            let state = self.state();
            (state.phases, state.valid, state.trusted, state.slo.clone(), state.populations.clone())
        };
        let populations = self.plans.iter().zip(&self.open).zip(&figures);
        let populations = populations.map(|((plan, open), figures)| Population {
            plan,
            open: open.load(Ordering::Relaxed),
            figures,
        });
        let snapshot = Snapshot {
            run: &self.run,
            now: SystemTime::now(),
            phases,
            valid,
            trusted,
            slo: &slo,
            populations: populations.collect(),
        };
        let mut families = export::families(&snapshot);
        families.extend(self.process.families());
        families
    }
}
