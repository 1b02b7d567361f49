//! The result as a table for people.

use std::fmt::Write as _;

use super::handshakes;
use super::units::{Count, Ns, Percent, Percentile};
use super::{Latency, Population, Report};
use crate::record::Kind;
use crate::schedule::Arrivals;
use crate::slo::Judgement;
use crate::verdict::{Check, Finding};

const COLUMN_WIDTH: usize = 9;

/// A ramp that took less is no news.
const RAMP_SHOWN_FROM_S: f64 = 1.0;

/// Renders the report. Lines end in `\n`.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    for (index, population) in report.populations.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        heading(&mut out, report, population);
        latencies(&mut out, report, population);
        accounts(&mut out, population);
    }
    generator(&mut out, report);
    verdict(&mut out, report);
    rules(&mut out, &report.slo);
    out
}

// Writing to a String cannot fail, so the results of `writeln!` on it are dropped throughout.

fn heading(out: &mut String, report: &Report, population: &Population) {
    let arrivals = match population.arrivals_planned {
        Arrivals::Idle => "held".to_owned(),
        Arrivals::Closed => "closed loop".to_owned(),
        Arrivals::Every { period_s, .. } => format!("one request each in {period_s} s"),
        Arrivals::Constant { rate } => format!("{}/s constant", rate_text(rate)),
        Arrivals::Poisson { rate } => format!("{}/s poisson", rate_text(rate)),
    };
    let connections = match population.requests_per_connection {
        None => format!("{} connections, {arrivals}", Count(population.connections.requested)),
        Some(1) => format!("a connection for each request, {arrivals}"),
        Some(requests) => format!("a connection for {requests} requests, {arrivals}"),
    };
    // The name of the only one says nothing.
    let name = if report.populations.len() > 1 { format!("{}: ", population.name) } else { String::new() };
    let target = if population.target.is_empty() { &report.target } else { &population.target };
    let _ = writeln!(
        out,
        "{name}{target}: {connections}, {:.1} s measured, seed {}\n",
        report.run.measured_s, report.run.seed
    );
}

fn rate_text(rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are positive and bounded"
    )]
    let whole = rate as u64;
    if rate.fract() == 0.0 { Count(whole).to_string() } else { rate.to_string() }
}

fn latencies(out: &mut String, report: &Report, population: &Population) {
    if Kind::ALL.iter().all(|&kind| population.latency(kind).count == 0) {
        return;
    }
    let _ = write!(out, "{:10}", "");
    for (percentile, _) in columns(&Latency::default()) {
        let _ = write!(out, "{:>COLUMN_WIDTH$}", Percentile(percentile));
    }
    let _ = writeln!(out, "{:>11}", "count");
    for kind in Kind::ALL {
        let latency = population.latency(kind);
        if latency.count == 0 {
            continue;
        }
        let _ = write!(out, "{:10}", kind.name());
        for (percentile, value_ns) in columns(latency) {
            let mark = if is_beyond_trust(report, kind, percentile) { "*" } else { " " };
            let _ = write!(out, "{:>width$}{mark}", Ns(value_ns), width = COLUMN_WIDTH - 1);
        }
        let _ = writeln!(out, "{:>11}", Count(latency.count));
    }
    let _ = writeln!(out);
}

fn columns(latency: &Latency) -> [(f64, u64); 7] {
    [
        (50.0, latency.p50_ns),
        (90.0, latency.p90_ns),
        (95.0, latency.p95_ns),
        (99.0, latency.p99_ns),
        (99.9, latency.p99_9_ns),
        (99.99, latency.p99_99_ns),
        (100.0, latency.max_ns),
    ]
}

pub(super) fn is_beyond_trust(report: &Report, kind: Kind, percentile: f64) -> bool {
    let is_judged = matches!(kind, Kind::Response | Kind::Service) && report.is_open_loop();
    is_judged && report.verdict.trusted_to.is_none_or(|limit| percentile > limit)
}

fn accounts(out: &mut String, population: &Population) {
    let connections = &population.connections;
    let mut line = format!("{} opened", Count(connections.opened));
    for (count, what) in [(connections.failed, "failed"), (connections.lost, "lost")] {
        let _ = write!(line, ", {} {what}", Count(count));
    }
    if connections.renewed > 0 {
        let _ = write!(line, ", {} renewed", Count(connections.renewed));
    }
    if connections.closed > 0 {
        let _ = write!(line, ", {} closed after their visit", Count(connections.closed));
    }
    let _ = writeln!(out, "connections  {line}");
    handshakes::write_lines(out, &population.handshakes);
    for drop in &population.drops {
        let back = match drop.recovered_after_s {
            Some(after_s) => format!("all back after {after_s:.3} s"),
            None => format!("{} back at the end", Count(drop.back)),
        };
        let _ = writeln!(out, "dropped      {} at {} s, {back}", Count(drop.dropped), drop.at_s);
    }
    if population.arrivals_planned != Arrivals::Idle {
        requests(out, population);
    }
    for (label, errors) in [("errors", &population.errors), ("conn errors", &population.connection_errors)] {
        if !errors.is_empty() {
            let errors: Vec<String> =
                errors.iter().map(|(kind, count)| format!("{kind} {}", Count(*count))).collect();
            let _ = writeln!(out, "{label:12} {}", errors.join(", "));
        }
    }
}

fn requests(out: &mut String, population: &Population) {
    let arrivals = &population.arrivals;
    let _ = writeln!(
        out,
        "arrivals     {} scheduled = {} completed + {} errored + {} timed out + {} in flight + {} never sent",
        Count(arrivals.scheduled),
        Count(arrivals.completed),
        Count(arrivals.errored),
        Count(arrivals.timed_out),
        Count(arrivals.in_flight_at_end),
        Count(arrivals.never_sent)
    );
    let _ = writeln!(out, "completed    {:.0}/s in the measured window", population.completed_per_s);
}

fn generator(out: &mut String, report: &Report) {
    let generator = &report.generator;
    let busy: Vec<String> =
        generator.workers.iter().map(|worker| Percent(worker.work_fraction).to_string()).collect();
    let shown = if busy.len() > 4 {
        format!("{} and {} more", busy[..4].join(", "), busy.len() - 4)
    } else {
        busy.join(", ")
    };
    // Of a run that was cut off it is not known.
    if !busy.is_empty() {
        let _ = writeln!(
            out,
            "generator    {} worker{}, busy {shown}; host stole {} of the CPU time",
            busy.len(),
            if busy.len() == 1 { "" } else { "s" },
            Percent(generator.machine.steal_fraction)
        );
    }
    if report.run.ramp_s >= RAMP_SHOWN_FROM_S && report.merged_from.is_empty() {
        // Visits begin after it.
        let held = report.populations.iter().filter(|it| it.requests_per_connection.is_none());
        let opened: u64 = held.map(|it| it.connections.requested.saturating_sub(it.connections.failed)).sum();
        let _ = writeln!(
            out,
            "ramp         {:.1} s for {} connections: {:.0}/s",
            report.run.ramp_s,
            Count(opened),
            opened as f64 / report.run.ramp_s
        );
    }
    if !report.merged_from.is_empty() {
        let runs: Vec<&str> = report.merged_from.iter().map(|part| part.run.as_str()).collect();
        let _ = writeln!(out, "merged       {} runs: {}", runs.len(), runs.join(", "));
    }
    for note in &report.plan_notes() {
        let _ = writeln!(out, "note         {note}");
    }
    let _ = writeln!(out);
}

fn verdict(out: &mut String, report: &Report) {
    let verdict = &report.verdict;
    let _ = writeln!(out, "{}{}", state(report), passed(&verdict.checks));
    if let Some(why) = &verdict.trust_ends_because {
        let _ = writeln!(out, "  * {why}");
    }
    let list = |out: &mut String, label: &str, findings: &[Finding]| {
        for finding in findings {
            let _ = writeln!(out, "  {label}: {}", finding.text);
        }
    };
    list(out, "because", &verdict.reasons);
    list(out, "note", &verdict.warnings);
}

/// How many checks there were: those that are not ok follow with their figures, the others are in the report.
fn passed(checks: &[Check]) -> String {
    let ok = checks.iter().filter(|check| check.ok).count();
    if checks.is_empty() { String::new() } else { format!(" ({ok} of {} checks passed)", checks.len()) }
}

/// Whether the run is valid, and how far it is trusted.
pub(super) fn state(report: &Report) -> String {
    let trust = match report.verdict.trusted_to {
        _ if !report.verdict.valid => return "INVALID".to_owned(),
        Some(limit) if limit >= 100.0 => ", trusted to the maximum".to_owned(),
        Some(limit) => format!(", trusted to {}", Percentile(limit)),
        None if report.is_open_loop() => ", trusted nowhere".to_owned(),
        None => String::new(),
    };
    format!("VALID{trust}")
}

/// Each rule with its figure and how it stands.
pub(crate) fn rules(out: &mut String, judgements: &[Judgement]) {
    let width = judgements.iter().map(|judgement| judgement.rule.chars().count()).max().unwrap_or(0);
    for judgement in judgements {
        let actual = judgement.shown();
        let stands = match (judgement.ok, &judgement.not_judged_because) {
            (Some(true), _) => "ok".to_owned(),
            (Some(false), _) => "VIOLATED".to_owned(),
            (None, Some(why)) => format!("not judged: {why}"),
            (None, None) => "not judged".to_owned(),
        };
        let _ = writeln!(out, "slo          {:width$}  {actual:>10}  {stands}", judgement.rule);
    }
}
