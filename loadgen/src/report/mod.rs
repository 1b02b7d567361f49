//! The report of a run: what is written to `report.json` and shown as a table.
//!
//! Its shape is an interface: fields are added, and `schema_version` goes up when one changes its meaning or goes away.

pub mod compare;
pub mod confidence;
pub mod csv;
pub mod difference;
pub mod files;
pub mod handshakes;
pub mod hgrm;
pub mod hlog;
pub mod merge;
pub mod partial;
pub mod read;
pub mod stored;
pub mod table;
pub mod units;

#[cfg(test)]
mod schema;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tidemark_host::facts::{self, Facts};
use tidemark_program::Exit;

use self::handshakes::HandshakeFigures;
use crate::dispatch::Window;
use crate::errors::ErrorKind;
use crate::observe::{Observed, run_queue_fraction};
use crate::plan::{EventPlan, Plan, PopulationPlan};
use crate::record::{Account, Dropped, Kind, Recording};
use crate::run::{Outcome, PopulationResult};
use crate::scenario::INTERVAL;
use crate::schedule::Arrivals;
use crate::slo::{self, Judgement, Measured, Standing};
use crate::verdict::{self, Ended, Verdict};

/// The version of the shape of [`Report`].
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// The version of this shape: it goes up when a field changes its meaning or goes away.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA_VERSION)))]
    pub schema_version: u32,
    /// Which run it was.
    pub run: Run,
    /// The machine that the generator ran on.
    pub host: Facts,
    /// The target as the user wrote it.
    pub target: String,
    /// The plan as it was run.
    pub plan: serde_json::Value,
    /// The results, by population.
    pub populations: Vec<Population>,
    /// A row an interval, by population.
    pub series: Vec<Series>,
    /// What the generator did and suffered.
    pub generator: Generator,
    /// Whether all this can be trusted.
    pub verdict: Verdict,
    /// The rules that the run was to keep, each held against it.
    #[serde(default)]
    pub slo: Vec<Judgement>,
    /// The runs that it is merged from; empty for a run itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<Part>,
}

/// One of the runs that a report is merged from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Part {
    /// Its id.
    pub run: String,
    /// When its measurement began, RFC 3339 in UTC.
    pub started_at: String,
    /// How long it measured.
    pub measured_s: f64,
    /// The machine that its generator ran on.
    pub hostname: String,
    /// Whether it was valid.
    pub valid: bool,
}

/// Identity of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// The name of its directory.
    pub id: String,
    /// When the measurement began, RFC 3339 in UTC.
    pub started_at: String,
    /// Length of the measured window as planned.
    pub duration_s: f64,
    /// Length of the measured window as it was.
    pub measured_s: f64,
    /// Length of an interval of the series and the interval log.
    #[serde(default = "a_second")]
    pub interval_s: f64,
    /// From the start of the workers until every connection was open or given up; of merged runs the longest.
    #[serde(default)]
    pub ramp_s: f64,
    /// How it ended.
    pub ended: Ended,
    /// The command line.
    pub argv: Vec<String>,
    /// Seed of the arrival times.
    pub seed: u64,
    /// Version of the load generator.
    pub version: String,
}

/// The length of all intervals before there was a choice.
fn a_second() -> f64 {
    INTERVAL.as_secs_f64()
}

/// The results of one population.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Population {
    /// Its name.
    pub name: String,
    /// What it talked to, as the user wrote it.
    #[serde(default)]
    pub target: String,
    /// How its requests, or visits, were to arrive.
    pub arrivals_planned: Arrivals,
    /// Requests of a visit; none where connections are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_connection: Option<u16>,
    /// Its connections.
    pub connections: ConnectionCounts,
    /// What became of connections that were dropped on purpose, by event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<DropReport>,
    /// Where its arrivals ended up.
    pub arrivals: ArrivalCounts,
    /// Intended to done.
    pub response: Latency,
    /// Sent to done.
    pub service: Latency,
    /// Intended to taken up.
    pub lag: Latency,
    /// Taken up to sent.
    pub wait: Latency,
    /// Connection set-up.
    pub connect: Latency,
    /// Why connection set-up took so long, in all phases.
    #[serde(default)]
    pub handshakes: HandshakeFigures,
    /// Replies within the measured window, per second of it; those of the drain are in `arrivals` and not here.
    pub completed_per_s: f64,
    /// Why requests failed, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Why connections could not be opened or were lost, in all phases, by kind.
    pub connection_errors: BTreeMap<String, u64>,
    /// Bytes of requests, all phases.
    pub sent_bytes: u64,
    /// Bytes of replies, all phases.
    pub received_bytes: u64,
}

impl Population {
    /// The latency of one kind.
    pub fn latency(&self, kind: Kind) -> &Latency {
        match kind {
            Kind::Response => &self.response,
            Kind::Service => &self.service,
            Kind::Lag => &self.lag,
            Kind::Wait => &self.wait,
            Kind::Connect => &self.connect,
        }
    }

    pub(crate) fn latency_mut(&mut self, kind: Kind) -> &mut Latency {
        match kind {
            Kind::Response => &mut self.response,
            Kind::Service => &mut self.service,
            Kind::Lag => &mut self.lag,
            Kind::Wait => &mut self.wait,
            Kind::Connect => &mut self.connect,
        }
    }
}

/// What happened to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConnectionCounts {
    /// Asked for.
    pub requested: u64,
    /// Established, again included.
    pub opened: u64,
    /// Given up.
    pub failed: u64,
    /// Ended unannounced by the target or the network.
    pub lost: u64,
    /// Closed as announced, or after a timeout, and opened again.
    pub renewed: u64,
    /// Closed by the generator, because their visit was over.
    #[serde(default)]
    pub closed: u64,
    /// The most that were open at the end of an interval.
    pub peak_open: u64,
}

/// Connections that were dropped on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DropReport {
    /// When, seconds after the measurement began.
    pub at_s: f64,
    /// How many.
    pub dropped: u64,
    /// How many of them were open again before the end.
    pub back: u64,
    /// How long until the last of them was; none when not all were.
    pub recovered_after_s: Option<f64>,
}

/// Where arrivals ended up; the first is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArrivalCounts {
    /// Due in the measured window.
    pub scheduled: u64,
    /// Answered, correctly.
    pub completed: u64,
    /// Answered wrongly, or failed.
    pub errored: u64,
    /// Not answered in time.
    pub timed_out: u64,
    /// Not answered when the run ended.
    pub in_flight_at_end: u64,
    /// Never put on a connection.
    pub never_sent: u64,
}

impl From<&Account> for ArrivalCounts {
    fn from(account: &Account) -> Self {
        Self {
            scheduled: account.scheduled,
            completed: account.completed,
            errored: account.errored,
            timed_out: account.timed_out,
            in_flight_at_end: account.in_flight_at_end,
            never_sent: account.never_sent,
        }
    }
}

/// A latency distribution in figures, ns; all zero when nothing was recorded. Quantiles are those of the histogram:
/// within 0.1 % above the recorded value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Latency {
    pub count: u64,
    pub min_ns: u64,
    pub mean_ns: f64,
    pub stdev_ns: f64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p95_ns: u64,
    pub p99_ns: u64,
    pub p99_9_ns: u64,
    pub p99_99_ns: u64,
    pub max_ns: u64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let quantile = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            stdev_ns: histogram.stdev(),
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p95_ns: quantile(0.95),
            p99_ns: quantile(0.99),
            p99_9_ns: quantile(0.999),
            p99_99_ns: quantile(0.9999),
            max_ns: histogram.max(),
        }
    }
}

/// The course of one population over time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Series {
    /// Name of the population.
    pub population: String,
    /// A row an interval.
    pub rows: Vec<SeriesRow>,
}

/// One interval. Latencies are of what was done in it, also when it was intended earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct SeriesRow {
    /// End of the interval, seconds after the measurement began.
    pub t_s: f64,
    pub connections_open: u64,
    pub scheduled: u64,
    pub completed: u64,
    pub errored: u64,
    pub timed_out: u64,
    pub response_p50_ns: u64,
    pub response_p99_ns: u64,
    pub response_max_ns: u64,
    pub service_p50_ns: u64,
    pub service_p99_ns: u64,
    pub lag_p50_ns: u64,
    pub lag_p99_ns: u64,
    pub lag_max_ns: u64,
}

impl SeriesRow {
    /// The row of an interval that ended `t_s` seconds after the measurement began.
    pub fn new(t_s: f64, connections_open: u64, recording: &Recording) -> Self {
        let [response, service, lag] =
            [Kind::Response, Kind::Service, Kind::Lag].map(|kind| recording.histogram(kind));
        Self {
            t_s,
            connections_open,
            scheduled: recording.account.scheduled,
            completed: recording.account.completed,
            errored: recording.account.errored,
            timed_out: recording.account.timed_out,
            response_p50_ns: response.value_at_quantile(0.5),
            response_p99_ns: response.value_at_quantile(0.99),
            response_max_ns: response.max(),
            service_p50_ns: service.value_at_quantile(0.5),
            service_p99_ns: service.value_at_quantile(0.99),
            lag_p50_ns: lag.value_at_quantile(0.5),
            lag_p99_ns: lag.value_at_quantile(0.99),
            lag_max_ns: lag.max(),
        }
    }
}

/// What the generator did and suffered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Generator {
    /// CPU time of the whole process from the start of the schedule to its end.
    pub cpu_s: f64,
    /// Each worker.
    pub workers: Vec<WorkerReport>,
    /// The machine meanwhile.
    pub machine: Observed,
}

/// One worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkerReport {
    /// The part of its time spent on events and sends. At 1 it is the bottleneck.
    pub work_fraction: f64,
    /// The part of its time that it was ready to run and had no CPU.
    pub run_queue_fraction: f64,
    /// Its CPU time, spinning included.
    pub cpu_s: f64,
}

impl Report {
    /// Makes the report of a run.
    pub fn new(plan: &Plan, outcome: &Outcome, run_id: &str, argv: Vec<String>) -> Self {
        let populations: Vec<Population> = plan
            .populations
            .iter()
            .zip(&outcome.populations)
            .map(|(of, result)| {
                let latency = |kind| Latency::from(&*result.total.histogram(kind));
                population(&plan.events, of, &result.total, result.peak_open, outcome.measured_s(), latency)
            })
            .collect();
        let series = plan
            .populations
            .iter()
            .zip(&outcome.populations)
            .map(|(plan, result)| Series { population: plan.name.clone(), rows: result.rows.clone() });
        let verdict = judge(plan, outcome);
        let slo = judge_rules(plan, outcome, verdict.valid);
        Self {
            schema_version: SCHEMA_VERSION,
            run: Run {
                id: run_id.to_owned(),
                started_at: rfc3339(outcome.started_at),
                duration_s: plan.duration.as_secs_f64(),
                measured_s: outcome.measured_s(),
                interval_s: plan.interval.as_secs_f64(),
                ramp_s: outcome.ramp.as_secs_f64(),
                ended: outcome.ended,
                argv,
                seed: plan.seed,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            host: facts::facts(),
            target: plan.target.to_string(),
            plan: serde_json::to_value(plan).unwrap_or_default(),
            populations,
            series: series.collect(),
            generator: generator(outcome),
            verdict,
            slo,
            merged_from: Vec::new(),
        }
    }

    /// What is known of a run before it begins: everything but results. Should it be cut off, this is what it was.
    pub fn begun(plan: &Plan, started_at: SystemTime, run_id: &str, argv: Vec<String>) -> Self {
        let nothing = |_| PopulationResult {
            total: Recording::new(),
            rows: Vec::new(),
            peak_open: 0,
            expected_arrivals: None,
        };
        let outcome = Outcome {
            started_at,
            ramp: Duration::ZERO,
            window: Window { start_ns: 0, from_ns: 0, until_ns: 0, drain_until_ns: 0 },
            ended: Ended::CutOff,
            populations: plan.populations.iter().map(nothing).collect(),
            workers: Vec::new(),
            observed: Observed::default(),
        };
        Self::new(plan, &outcome, run_id, argv)
    }

    /// How a program ends that has made this report: INVALID speaks about no rule, so it comes first.
    pub fn exit(&self) -> Exit {
        match (self.verdict.valid, Standing::of(&self.slo)) {
            (false, _) | (true, Standing::NotJudged) => Exit::NotTrustworthy,
            (true, Standing::Violated) => Exit::JudgedBad,
            (true, Standing::Kept) => Exit::Good,
        }
    }

    /// Whether arrivals had intended times of their own.
    pub fn is_open_loop(&self) -> bool {
        self.populations.iter().any(|population| population.arrivals_planned.rate().is_some())
    }

    /// What was decided for the user, and why.
    pub fn plan_notes(&self) -> Vec<String> {
        let notes = self.plan.get("notes").and_then(serde_json::Value::as_array);
        notes.into_iter().flatten().filter_map(|note| note.as_str().map(str::to_owned)).collect()
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// The results of a population from what was counted in total, and what `latency` tells of each kind.
pub(crate) fn population(
    events: &[EventPlan],
    plan: &PopulationPlan,
    total: &Recording,
    peak_open: u64,
    measured_s: f64,
    latency: impl Fn(Kind) -> Latency,
) -> Population {
    Population {
        name: plan.name.clone(),
        target: plan.target.to_string(),
        arrivals_planned: plan.arrivals,
        requests_per_connection: plan.requests_per_connection,
        connections: ConnectionCounts {
            requested: plan.connections.into(),
            opened: total.connections.opened,
            failed: total.connections.failed,
            lost: total.connections.lost,
            renewed: total.connections.renewed,
            closed: total.connections.closed,
            peak_open,
        },
        drops: total
            .drops
            .iter()
            .filter_map(|(&event, dropped)| drop_report(events, event, dropped))
            .collect(),
        arrivals: ArrivalCounts::from(&total.account),
        response: latency(Kind::Response),
        service: latency(Kind::Service),
        lag: latency(Kind::Lag),
        wait: latency(Kind::Wait),
        connect: latency(Kind::Connect),
        handshakes: HandshakeFigures::from(&total.handshakes),
        completed_per_s: if measured_s > 0.0 { total.completed_in_window as f64 / measured_s } else { 0.0 },
        errors: by_name(&total.errors),
        connection_errors: by_name(&total.connection_errors),
        sent_bytes: total.sent_bytes,
        received_bytes: total.received_bytes,
    }
}

fn drop_report(events: &[EventPlan], event: usize, dropped: &Dropped) -> Option<DropReport> {
    let is_whole = dropped.back == dropped.dropped;
    Some(DropReport {
        at_s: events.get(event)?.at.as_secs_f64(),
        dropped: dropped.dropped,
        back: dropped.back,
        recovered_after_s: is_whole.then_some(dropped.last_back_ns as f64 / 1e9),
    })
}

fn by_name(errors: &BTreeMap<ErrorKind, u64>) -> BTreeMap<String, u64> {
    errors.iter().map(|(kind, count)| (kind.to_string(), *count)).collect()
}

fn generator(outcome: &Outcome) -> Generator {
    let workers = outcome.workers.iter().map(|worker| WorkerReport {
        work_fraction: worker.busy_ns as f64 / worker.elapsed_ns.max(1) as f64,
        run_queue_fraction: run_queue_fraction(&worker.sched, worker.elapsed_ns),
        cpu_s: worker.sched.run_ns as f64 / 1e9,
    });
    Generator { cpu_s: outcome.observed.cpu_s, workers: workers.collect(), machine: outcome.observed }
}

/// The verdict of the run is that of its populations together: valid when all are, trusted as far as the least.
fn judge(plan: &Plan, outcome: &Outcome) -> Verdict {
    let judged = plan.populations.iter().zip(&outcome.populations).map(|(plan_of, result)| {
        let verdict = verdict::judge(&verdict::Facts {
            is_open_loop: plan_of.is_open_loop(),
            usage: plan_of.usage(),
            end_rate: plan_of.rate_at(plan.warmup + plan.duration),
            poisson_rate: plan_of.poisson_rate(),
            expected_arrivals: result.expected_arrivals,
            total: &result.total,
            rows: &result.rows,
            connections_requested: plan_of.connections.into(),
            is_pinned: plan.pin.is_some(),
            workers: &outcome.workers,
            observed: &outcome.observed,
            ended: outcome.ended,
            measured_s: outcome.measured_s(),
            planned_s: plan.duration.as_secs_f64(),
        });
        (plan_of.name.as_str(), verdict)
    });
    let mut judged: Vec<(&str, Verdict)> = judged.collect();
    verdict::name_differences(&mut judged);
    let is_open = plan.populations.iter().map(PopulationPlan::is_open_loop);
    let verdicts = is_open.zip(judged.into_iter().map(|(_, verdict)| verdict));
    verdict::together(verdicts)
}

fn judge_rules(plan: &Plan, outcome: &Outcome, is_valid: bool) -> Vec<Judgement> {
    let measured = plan.populations.iter().zip(&outcome.populations).map(|(plan, result)| Measured {
        name: &plan.name,
        is_open_loop: plan.is_open_loop(),
        total: &result.total,
        measured_s: outcome.measured_s(),
        is_over: true,
    });
    slo::judge(&plan.slo, is_valid, &measured.collect::<Vec<_>>())
}
