//! Several runs as one: those of generators that worked at the same time, or of one that worked again.
//!
//! Nothing is lost: histograms are added bucket by bucket, out of the interval logs, and every percentile is read from the
//! sums. Intervals of different runs that ended nearest to the same one of the first are one interval of the merged log.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::files::RunDir;
use super::hlog::IntervalLog;
use super::read::ReadError;
use super::stored::{Interval, Intervals, LOG_NAME, Stored, intervals_between};
use super::{
    ArrivalCounts, ConnectionCounts, Generator, Latency, Part, Population, Report, Run, SCHEMA_VERSION,
    Series, SeriesRow, difference,
};
use crate::observe::Observed;
use crate::record::{Account, Connections, Dropped, Kind, Recording};
use crate::run::{self, RunError};
use crate::scenario::INTERVAL;
use crate::schedule::Arrivals;
use crate::slo::{self, Measured, Rule};
use crate::verdict::{self, Ended, Finding, Verdict};

/// Why there is no merged run.
#[derive(Debug, Error)]
pub enum MergeError {
    /// A run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The runs do not belong together.
    #[error("{0}")]
    Unlike(String),
    /// The result cannot be written.
    #[error(transparent)]
    Output(#[from] RunError),
}

/// What came of it.
#[derive(Debug)]
pub struct Merged {
    /// The report of all runs together.
    pub report: Report,
    /// Where it is.
    pub dir: RunDir,
}

/// Merges the runs in `dirs` into a new directory under `output`.
///
/// # Errors
/// When one cannot be read, they do not belong together, or the result cannot be written.
pub fn merge(dirs: &[PathBuf], output: &Path, argv: Vec<String>) -> Result<Merged, MergeError> {
    let runs = dirs.iter().map(|dir| Stored::open(dir)).collect::<Result<Vec<_>, _>>()?;
    check_alike(&runs)?;
    for run in &runs {
        // What is wrong with any of the logs is told before there is a directory.
        run.totals()?;
    }
    let times = Times::of(&runs)?;
    let dir =
        RunDir::create(output, SystemTime::now()).map_err(|source| run::output_error(output, source))?;
    let sums = add_up(&runs, &times, &dir)?;
    let (report, totals) = together(&runs, &times, sums, &dir.id, argv)?;
    let finished = dir.finish(&report, &totals.iter().collect::<Vec<_>>());
    finished.map_err(|(path, source)| run::output_error(&path, source))?;
    Ok(Merged { report, dir })
}

/// Whether the figures of the runs may be added.
fn check_alike(runs: &[Stored]) -> Result<(), MergeError> {
    let Some((first, others)) = runs.split_first() else {
        return Err(MergeError::Unlike("there is no run to merge; give the directories of some".to_owned()));
    };
    let populations =
        |run: &Stored| run.report.populations.iter().map(described).collect::<Vec<_>>().join(", ");
    for other in others {
        let (ours, theirs) = (populations(first), populations(other));
        if ours != theirs {
            return Err(MergeError::Unlike(format!(
                "{} has the populations {ours}, and {} has {theirs}: only runs of the same populations can be merged",
                first.path.display(),
                other.path.display()
            )));
        }
    }
    let length = first.interval()?;
    for other in others {
        let theirs = other.interval()?;
        if theirs != length {
            return Err(MergeError::Unlike(format!(
                "{} has intervals of {}, and {} of {}: only runs with the same --interval can be merged",
                first.path.display(),
                humantime::format_duration(length),
                other.path.display(),
                humantime::format_duration(theirs)
            )));
        }
    }
    // Two runs may well begin in the same second, but no two are the same in every figure.
    let told: Vec<_> = runs.iter().map(|run| serde_json::to_value(&run.report).ok()).collect();
    for (index, run) in runs.iter().enumerate() {
        if let Some(twin) = told[..index].iter().position(|other| *other == told[index]) {
            return Err(MergeError::Unlike(format!(
                "{} and {} are the same run, which would count twice; give each run once",
                runs[twin].path.display(),
                run.path.display()
            )));
        }
    }
    Ok(())
}

fn described(population: &Population) -> String {
    let arrivals = match population.arrivals_planned {
        Arrivals::Idle => "held",
        Arrivals::Closed => "closed",
        Arrivals::Every { .. } => "every",
        Arrivals::Constant { .. } => "constant",
        Arrivals::Poisson { .. } => "poisson",
    };
    format!("{} ({arrivals})", population.name)
}

/// When the runs measured, on one time line.
struct Times {
    /// When the first began, since the epoch.
    started_at: Duration,
    /// Its warm-up.
    warmup: Duration,
    /// The length of the intervals of all of them.
    interval: Duration,
    /// When each began after the first, in whole intervals.
    shifts: Vec<u64>,
    /// How long at least one of them measured, and should have.
    measured_s: f64,
    /// As planned.
    duration_s: f64,
    /// Whether some of them measured at the same time.
    overlap: bool,
}

impl Times {
    fn of(runs: &[Stored]) -> Result<Self, ReadError> {
        let starts = runs.iter().map(Stored::started_at).collect::<Result<Vec<_>, _>>()?;
        let (first, started_at) =
            starts.iter().copied().enumerate().min_by_key(|(_, start)| *start).unwrap_or_default();
        let offsets: Vec<Duration> = starts.iter().map(|start| start.saturating_sub(started_at)).collect();
        let offsets_s: Vec<f64> = offsets.iter().map(Duration::as_secs_f64).collect();
        let covered = |length: fn(&Run) -> f64| {
            let windows =
                offsets_s.iter().zip(runs).map(|(&from, run)| (from, from + length(&run.report.run)));
            covered_s(windows.collect())
        };
        let warmup_s =
            runs.get(first).and_then(|run| run.report.plan.get("warmup_s")?.as_f64()).unwrap_or_default();
        // A warm-up that began before the epoch is none.
        let warmup = Duration::try_from_secs_f64(warmup_s).ok().filter(|warmup| *warmup <= started_at);
        let interval = runs.first().map_or(Ok(INTERVAL), Stored::interval)?;
        let measured_s = covered(|run| run.measured_s);
        let sum_s: f64 = runs.iter().map(|run| run.report.run.measured_s).sum();
        Ok(Self {
            started_at,
            warmup: warmup.unwrap_or_default(),
            interval,
            shifts: starts.iter().map(|&start| intervals_between(started_at, start, interval)).collect(),
            measured_s,
            duration_s: covered(|run| run.duration_s),
            // A millisecond is as much as start times tell.
            overlap: measured_s + 0.001 < sum_s,
        })
    }
}

/// The length of the union of some windows, each from and to.
fn covered_s(mut windows: Vec<(f64, f64)>) -> f64 {
    windows.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut covered_until = f64::NEG_INFINITY;
    let mut covered_s = 0.0;
    for (from, to) in windows {
        covered_s += (to - from.max(covered_until)).max(0.0);
        covered_until = covered_until.max(to);
    }
    covered_s
}

/// What the interval logs come to, by population.
struct Sums {
    totals: Vec<Recording>,
    rows: Vec<Vec<SeriesRow>>,
}

/// What the rows of all runs counted in one interval.
#[derive(Default)]
struct Counted {
    account: Account,
    open: u64,
}

/// The log of one run, at its next interval.
struct Source<'a> {
    intervals: Intervals<'a>,
    shift: u64,
    next: Option<Interval>,
}

impl Source<'_> {
    fn advance(&mut self) -> Result<(), ReadError> {
        self.next = self.intervals.next_interval()?;
        Ok(())
    }

    /// Takes the next line if it belongs to this interval of the merged log.
    fn take(&mut self, index: u64) -> Result<Option<Interval>, ReadError> {
        if self.index() != Some(index) {
            return Ok(None);
        }
        let taken = self.next.take();
        self.advance()?;
        Ok(taken)
    }

    fn index(&self) -> Option<u64> {
        self.next.as_ref().map(|interval| interval.index.saturating_add(self.shift))
    }
}

/// Adds the logs up, interval by interval, and writes the log of them together.
fn add_up(runs: &[Stored], times: &Times, dir: &RunDir) -> Result<Sums, MergeError> {
    let output = |source: io::Error| run::output_error(&dir.path, source);
    let names: Vec<&str> =
        runs[0].report.populations.iter().map(|population| population.name.as_str()).collect();
    let started_at = SystemTime::UNIX_EPOCH + times.started_at;
    let mut log =
        IntervalLog::create(&dir.path.join(LOG_NAME), started_at, times.warmup, times.interval, &dir.id)
            .map_err(output)?;
    let mut sources = Vec::with_capacity(runs.len());
    for (run, &shift) in runs.iter().zip(&times.shifts) {
        let mut source = Source { intervals: run.intervals()?, shift, next: None };
        source.advance()?;
        sources.push(source);
    }
    let mut counted: Vec<BTreeMap<u64, Counted>> =
        names.iter().map(|name| counted(runs, times, name)).collect();
    let mut rows: Vec<BTreeMap<u64, SeriesRow>> = names.iter().map(|_| BTreeMap::new()).collect();
    let mut totals: Vec<Recording> = names.iter().map(|_| Recording::new()).collect();
    let mut interval = totals.clone();
    while let Some(index) = sources.iter().filter_map(Source::index).min() {
        for source in &mut sources {
            while let Some(logged) = source.take(index)? {
                interval[logged.population].add_histogram(logged.kind, &logged.values);
            }
        }
        for (population, name) in names.iter().enumerate() {
            log.write_interval(index, name, &interval[population]).map_err(output)?;
            totals[population].add(&interval[population]);
            if let Some(counts) = counted[population].remove(&index) {
                rows[population].insert(index, row(times, index, &counts, &mut interval[population]));
            }
            interval[population].clear();
        }
    }
    log.flush().map_err(output)?;
    // Intervals in which something was counted, but no latency.
    for ((rows, counted), empty) in rows.iter_mut().zip(counted).zip(&mut interval) {
        for (index, counts) in counted {
            rows.insert(index, row(times, index, &counts, empty));
        }
    }
    Ok(Sums { totals, rows: rows.into_iter().map(|rows| rows.into_values().collect()).collect() })
}

fn row(times: &Times, index: u64, counts: &Counted, interval: &mut Recording) -> SeriesRow {
    interval.account = counts.account;
    SeriesRow::new(index as f64 * times.interval.as_secs_f64(), counts.open, interval)
}

/// What the rows of all runs counted, by interval of the merged run.
fn counted(runs: &[Stored], times: &Times, population: &str) -> BTreeMap<u64, Counted> {
    let interval_s = times.interval.as_secs_f64();
    let mut counted = BTreeMap::<u64, Counted>::new();
    for (run, shift) in runs.iter().zip(&times.shifts) {
        let series = run.report.series.iter().filter(|series| series.population == population);
        for row in series.flat_map(|series| &series.rows) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates at what is no time"
            )]
            let index = (row.t_s / interval_s).round() as u64;
            let counts = counted.entry(index.saturating_add(*shift)).or_default();
            add(&mut counts.open, row.connections_open);
            add(&mut counts.account.scheduled, row.scheduled);
            add(&mut counts.account.completed, row.completed);
            add(&mut counts.account.errored, row.errored);
            add(&mut counts.account.timed_out, row.timed_out);
        }
    }
    counted
}

/// Counts out of a file may be anything, and a sum of them is no reason to panic.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// The report of the runs together, and the totals that it is made of.
fn together(
    runs: &[Stored],
    times: &Times,
    sums: Sums,
    run_id: &str,
    argv: Vec<String>,
) -> Result<(Report, Vec<Recording>), ReadError> {
    let Sums { mut totals, rows } = sums;
    let first = &runs[0].report;
    let populations: Vec<Population> = totals
        .iter_mut()
        .zip(&rows)
        .enumerate()
        .map(|(index, (total, rows))| population(runs, times, index, total, rows))
        .collect();
    let named = |(population, rows): (&Population, Vec<SeriesRow>)| Series {
        population: population.name.clone(),
        rows,
    };
    let mut verdict = verdict(runs, times);
    let rules = rules(runs, &mut verdict)?;
    let measured = populations.iter().zip(&totals).map(|(population, total)| Measured {
        name: &population.name,
        is_open_loop: population.arrivals_planned.rate().is_some(),
        total,
        measured_s: times.measured_s,
        is_over: true,
    });
    let slo = slo::judge(&rules, verdict.valid, &measured.collect::<Vec<_>>());
    let ended = runs.iter().map(|run| run.report.run.ended).find(|ended| *ended != Ended::AsPlanned);
    let report = Report {
        schema_version: SCHEMA_VERSION,
        run: Run {
            id: run_id.to_owned(),
            started_at: super::rfc3339(SystemTime::UNIX_EPOCH + times.started_at),
            duration_s: times.duration_s,
            measured_s: times.measured_s,
            interval_s: times.interval.as_secs_f64(),
            ramp_s: runs.iter().map(|run| run.report.run.ramp_s).fold(0.0, f64::max),
            ended: ended.unwrap_or(Ended::AsPlanned),
            argv,
            seed: first.run.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        host: first.host.clone(),
        target: first.target.clone(),
        plan: first.plan.clone(),
        series: populations.iter().zip(rows).map(named).collect(),
        populations,
        generator: generator(runs),
        verdict,
        slo,
        merged_from: runs.iter().map(part).collect(),
    };
    Ok((report, totals))
}

fn part(run: &Stored) -> Part {
    let report = &run.report;
    Part {
        run: report.run.id.clone(),
        started_at: report.run.started_at.clone(),
        measured_s: report.run.measured_s,
        hostname: report.host.hostname.clone(),
        valid: report.verdict.valid,
    }
}

/// One population of all runs. Its counts are entered into `total` as well.
fn population(
    runs: &[Stored],
    times: &Times,
    index: usize,
    total: &mut Recording,
    rows: &[SeriesRow],
) -> Population {
    let parts = || runs.iter().map(|run| (&run.report.run, &run.report.populations[index]));
    let mut sum = runs[0].report.populations[index].clone();
    for (_, part) in parts().skip(1) {
        add_counts(&mut sum, part);
    }
    // The sum over the runs is more than there were at once, unless they worked at the same time: then it is in the rows.
    let peaks = parts()
        .map(|(_, part)| part.connections.peak_open)
        .chain(rows.iter().map(|row| row.connections_open));
    sum.connections.peak_open = peaks.max().unwrap_or(0);
    for kind in Kind::ALL {
        *sum.latency_mut(kind) = Latency::from(&*total.histogram(kind));
    }
    let per_s = |per_s: fn(&Population) -> f64| {
        let count: f64 = parts().map(|(run, part)| per_s(part) * run.measured_s).sum();
        if times.measured_s > 0.0 { count / times.measured_s } else { 0.0 }
    };
    sum.completed_per_s = per_s(|part| part.completed_per_s);
    let planned_is_same = parts().all(|(_, part)| part.arrivals_planned == sum.arrivals_planned);
    if let Arrivals::Constant { rate } | Arrivals::Poisson { rate } = &mut sum.arrivals_planned
        && (times.overlap || !planned_is_same)
    {
        *rate = per_s(|part| part.arrivals_planned.rate().unwrap_or_default());
    }
    enter_counts(total, &sum, times.measured_s);
    sum
}

/// Adds what was counted. Each field is named, so that a new one is not forgotten here; what is no count is seen to elsewhere.
fn add_counts(sum: &mut Population, part: &Population) {
    let Population {
        name: _,
        target: _,
        arrivals_planned: _,
        requests_per_connection: _,
        connections: ConnectionCounts { requested, opened, failed, lost, renewed, closed, peak_open: _ },
        handshakes,
        drops,
        arrivals: ArrivalCounts { scheduled, completed, errored, timed_out, in_flight_at_end, never_sent },
        response: _,
        service: _,
        lag: _,
        wait: _,
        connect: _,
        completed_per_s: _,
        errors,
        connection_errors,
        sent_bytes,
        received_bytes,
    } = part;
    let connections = &mut sum.connections;
    let arrivals = &mut sum.arrivals;
    for (sum, more) in [
        (&mut connections.requested, requested),
        (&mut connections.opened, opened),
        (&mut connections.failed, failed),
        (&mut connections.lost, lost),
        (&mut connections.renewed, renewed),
        (&mut connections.closed, closed),
        (&mut arrivals.scheduled, scheduled),
        (&mut arrivals.completed, completed),
        (&mut arrivals.errored, errored),
        (&mut arrivals.timed_out, timed_out),
        (&mut arrivals.in_flight_at_end, in_flight_at_end),
        (&mut arrivals.never_sent, never_sent),
        (&mut sum.sent_bytes, sent_bytes),
        (&mut sum.received_bytes, received_bytes),
    ] {
        add(sum, *more);
    }
    sum.handshakes.add_counts(handshakes);
    sum.drops.extend(drops);
    for (sums, more) in [(&mut sum.errors, errors), (&mut sum.connection_errors, connection_errors)] {
        for (kind, count) in more {
            add(sums.entry(kind.clone()).or_default(), *count);
        }
    }
}

/// What rules are held against beside the latencies.
fn enter_counts(total: &mut Recording, sum: &Population, measured_s: f64) {
    let ArrivalCounts { scheduled, completed, errored, timed_out, in_flight_at_end, never_sent } =
        sum.arrivals;
    total.account = Account { scheduled, completed, errored, timed_out, in_flight_at_end, never_sent };
    let ConnectionCounts { opened, failed, lost, renewed, closed, .. } = sum.connections;
    total.connections = Connections { opened, failed, lost, renewed, closed };
    total.handshakes.established = sum.handshakes.established;
    total.handshakes.syn_retransmitted = sum.handshakes.syn_retransmitted;
    total.handshakes.unanswered = sum.handshakes.unanswered;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no time is negative")]
    let drops = sum.drops.iter().map(|drop| Dropped {
        dropped: drop.dropped,
        back: drop.back,
        last_back_ns: (drop.recovered_after_s.unwrap_or_default() * 1e9).round() as u64,
    });
    total.drops = drops.enumerate().collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, and saturates")]
    let completed_in_window = (sum.completed_per_s * measured_s).round() as u64;
    total.completed_in_window = completed_in_window;
}

/// What the generators did, all workers one after the other.
fn generator(runs: &[Stored]) -> Generator {
    let mut sum = runs[0].report.generator.clone();
    for Generator { cpu_s, workers, machine } in runs[1..].iter().map(|run| &run.report.generator) {
        sum.cpu_s += cpu_s;
        sum.workers.extend(workers);
        add_observed(&mut sum.machine, machine);
    }
    sum
}

/// What generators on one machine saw at the same time is in it more than once; a fraction is the highest that was seen.
fn add_observed(sum: &mut Observed, more: &Observed) {
    let Observed {
        steal_fraction,
        listen_overflows,
        listen_drops,
        retransmits,
        syn_retransmits,
        softnet_dropped,
        conntrack_dropped,
        cpu_s,
    } = more;
    sum.steal_fraction = sum.steal_fraction.max(*steal_fraction);
    sum.cpu_s += cpu_s;
    for (sum, more) in [
        (&mut sum.listen_overflows, listen_overflows),
        (&mut sum.listen_drops, listen_drops),
        (&mut sum.retransmits, retransmits),
        (&mut sum.syn_retransmits, syn_retransmits),
        (&mut sum.softnet_dropped, softnet_dropped),
        (&mut sum.conntrack_dropped, conntrack_dropped),
    ] {
        add(sum, *more);
    }
}

/// Valid when all are, trusted as far as the least trusted, with what sets the runs apart.
fn verdict(runs: &[Stored], times: &Times) -> Verdict {
    let is_common = |finding: &Finding| {
        runs.iter().all(|run| run.report.verdict.warnings.iter().any(|other| other == finding))
    };
    let verdicts = runs.iter().map(|run| {
        let mut verdict = run.report.verdict.clone();
        let common = |finding: &&mut Finding| !is_common(finding);
        for finding in verdict.reasons.iter_mut().chain(verdict.warnings.iter_mut().filter(common)) {
            finding.text = format!("run {}: {}", run.report.run.id, finding.text);
        }
        for check in &mut verdict.checks {
            if !runs.iter().all(|run| run.report.verdict.checks.contains(check)) {
                check.what = format!("run {}: {}", run.report.run.id, check.what);
            }
        }
        (run.report.is_open_loop(), verdict)
    });
    let mut verdict = verdict::together(verdicts);
    let (first, others) = (&runs[0].report, &runs[1..]);
    for other in others.iter().map(|run| &run.report) {
        for (what, difference) in
            [("plan", difference::of_plans(first, other)), ("host", difference::of_hosts(first, other))]
        {
            let text =
                |told| format!("run {} had another {what} than {}: {told}", other.run.id, first.run.id);
            verdict.warnings.extend(difference.map(text).map(warning));
        }
        if times.overlap && other.run.seed == first.run.seed && first.is_open_loop() {
            let text = format!(
                "runs {} and {} have the same seed: if they ran at the same time their arrivals came together; give each \
                 its own --seed",
                first.run.id, other.run.id
            );
            verdict.warnings.push(warning(text));
        }
    }
    verdict
}

fn warning(text: String) -> Finding {
    Finding { check: "merged".to_owned(), figure: 0.0, limit: 0.0, text }
}

/// The rules that all runs were to keep. Where they differ nothing is judged, and that is told.
fn rules(runs: &[Stored], verdict: &mut Verdict) -> Result<Vec<Rule>, ReadError> {
    let texts =
        |run: &Stored| run.report.slo.iter().map(|judgement| judgement.rule.clone()).collect::<Vec<_>>();
    let first = texts(&runs[0]);
    if runs.iter().any(|run| texts(run) != first) {
        verdict.warnings.push(warning("the runs had different rules: none is judged".to_owned()));
        return Ok(Vec::new());
    }
    let parsed = first.iter().map(|text| text.parse::<Rule>());
    parsed.collect::<Result<_, _>>().map_err(|error| ReadError::new(&runs[0].path, format!("slo: {error}")))
}
