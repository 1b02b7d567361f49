//! `stall`: a server that stops for 100 ms in every second, measured in open and in closed loop.
//!
//! A tenth of all arrivals falls into a stall, each waits for what is left of it, and what is left is evenly spread from
//! 0 to 100 ms. So a part q of all arrivals above 0.9 responds within `100 ms * (q - 0.9) / 0.1`: 50, 90 and 99 ms at the
//! 95th, 99th and 99.9th percentile. A closed loop asks each connection once per stall and hides that.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;
use tidemark_host::cpu::{self, CpuSet};
use tidemark_loadgen::report::{Latency, Report};
use tidemark_program::Exit;

use crate::binaries::Program;
use crate::cli::StallArgs;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::listening::{self, Started};
use crate::loadgen::{Arrivals, Load, Target};
use crate::results;
use crate::scale::{Allowed, Apart};
use crate::session::Session;
use crate::statistics::median;

const STALL_MS: f64 = 100.0;
const PERIOD_MS: f64 = 1000.0;
/// Echoes per second. Evenly spaced, so that every stall catches the same share of them and three runs are enough.
const RATE: f64 = 2000.0;
const CONNECTIONS: u64 = 50;

/// How far a figure may be from the law, in percent.
const TARGET_PERCENT: f64 = 3.0;

const QUANTILES: [f64; 3] = [0.95, 0.99, 0.999];

/// In every second, which has one stall: 1 % of the lowest figure of the law. It leaves the rest of the tolerance to what
/// is judged.
const SERVER_WAIT_MAX_MS: f64 = 0.5;

/// The highest of them, as a percentile.
const JUDGED_PERCENTILE: f64 = 99.9;

#[derive(Debug, Serialize)]
struct Figures {
    target_percent: f64,
    quantiles: [f64; 3],
    /// ms, as the law has it.
    law_ms: [f64; 3],
    /// ms, median of the runs.
    response_ms: [f64; 3],
    deviation_percent: [f64; 3],
    open_loop: Vec<Run>,
    closed_loop: Run,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Run {
    response_ms: [f64; 3],
    service_ms: [f64; 3],
    /// The percentile up to which the load generator trusts its own figures; none at all in a closed loop.
    trusted_to: Option<f64>,
    /// ms in every second that the server wanted to run and had no CPU. That lengthens its stalls, and is neither the
    /// law's doing nor the load generator's.
    server_waited_ms: f64,
}

/// The response time in ms within which a part `q` of all arrivals is answered, for a server that answers at once when
/// it does not stall.
fn law_ms(q: f64) -> f64 {
    let stalled = STALL_MS / PERIOD_MS;
    STALL_MS * ((q - (1.0 - stalled)) / stalled).max(0.0)
}

fn quantiles_ms(latency: &Latency) -> [f64; 3] {
    [latency.p95_ns, latency.p99_ns, latency.p99_9_ns].map(|ns| ns as f64 / 1e6)
}

impl Run {
    fn of(report: &Report, server_waited_ms: f64) -> Self {
        let population = report.populations.first();
        let latency = |of: fn(&tidemark_loadgen::report::Population) -> &Latency| {
            population.map_or([f64::NAN; 3], |population| quantiles_ms(of(population)))
        };
        Self {
            response_ms: latency(|population| &population.response),
            service_ms: latency(|population| &population.service),
            trusted_to: report.verdict.trusted_to,
            server_waited_ms,
        }
    }
}

impl Run {
    /// Whether both programs had a CPU when they needed one: the generator is trusted as far as it is judged, and the
    /// server's stalls were as long as they were meant to be.
    fn is_undisturbed(&self) -> bool {
        self.trusted_to.is_some_and(|to| to >= JUDGED_PERCENTILE)
            && self.server_waited_ms <= SERVER_WAIT_MAX_MS
    }
}

/// Runs it.
///
/// # Errors
/// When it could not run.
pub fn run(session: &Session, args: &StallArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let apart = allowed.apart();
    let server = start_server(session, &allowed, apart)?;
    let load = |arrivals| Load {
        target: Target::Echo(server.told),
        connections: CONNECTIONS,
        arrivals,
        warmup: None,
        duration: args.duration,
        cpu: apart.map(|apart| apart.client),
        output: session.results.join("stall"),
    };
    session.say(format_args!(
        "a server that stops for {STALL_MS} ms in every {PERIOD_MS} ms; {CONNECTIONS} connections, {RATE} echoes per second"
    ));
    session.say("                                    p95 ms    p99 ms  p99.9 ms");
    say_row(session, "law", QUANTILES.map(law_ms));
    let mut open_loop = Vec::new();
    for _ in 0..args.runs {
        let run = measure(session, &server, &load(Arrivals::Constant(RATE)))?;
        let trust = run.trusted_to.map_or("not trusted".to_owned(), |to| format!("trusted to p{to}"));
        let row = format!("response, {trust}");
        say_row_with(
            session,
            &row,
            run.response_ms,
            &format!("  server waited {:.2} ms/s", run.server_waited_ms),
        );
        open_loop.push(run);
    }
    let closed_loop = measure(session, &server, &load(Arrivals::Closed))?;
    server.process.stop();
    let figures = figures(open_loop, closed_loop);
    say_row(session, "response, median of the runs", figures.response_ms);
    say_row(session, "deviation from the law, %", figures.deviation_percent);
    say_row(session, "closed loop service", figures.closed_loop.service_ms);
    let exit = judge(&figures);
    let verdict = match exit {
        Exit::Good => "met",
        Exit::NotTrustworthy => {
            "cannot be told, others used the CPUs of the server or of the load generator; run it again"
        }
        _ => "MISSED",
    };
    session.say(format_args!("within {TARGET_PERCENT} % of the law: {verdict}"));
    results::keep(session, "stall", &figures)?;
    Ok(exit)
}

/// Starts it on the CPU that the load generator does not have. It has no flag for that and inherits its CPU.
fn start_server(
    session: &Session,
    allowed: &Allowed,
    apart: Option<Apart>,
) -> Result<Started<SocketAddr>, MeasureError> {
    let mut command = Command::new(session.binaries.path(Program::FaultyServer)?);
    command.args(["stall", "--for", "100ms", "--every", "1s"]);
    let pin = |cpus: &CpuSet| cpu::pin(cpus).map_err(MeasureError::io("pin the server"));
    if let Some(apart) = apart {
        let one = CpuSet::new([apart.server]).map_err(io::Error::other);
        pin(&one.map_err(MeasureError::io("pin the server"))?)?;
    }
    let server = listening::start_plain(Program::FaultyServer.name(), &mut command, &session.interrupt);
    pin(&allowed.cpus)?;
    server
}

fn measure(session: &Session, server: &Started<SocketAddr>, load: &Load) -> Result<Run, MeasureError> {
    let pid = server.process.pid();
    let (before_ns, began) = (cpu_time::waited_ns(pid)?, Instant::now());
    let report = load.report(session)?;
    let waited_ns = cpu_time::waited_ns(pid)?.saturating_sub(before_ns);
    Ok(Run::of(&report, waited_ns as f64 / 1e6 / began.elapsed().as_secs_f64()))
}

fn say_row(session: &Session, name: &str, figures: [f64; 3]) {
    say_row_with(session, name, figures, "");
}

fn say_row_with(session: &Session, name: &str, figures: [f64; 3], remark: &str) {
    let [p95, p99, p99_9] = figures;
    session.say(format_args!("  {name:<32}{p95:>8.2}{p99:>10.2}{p99_9:>10.2}{remark}"));
}

fn figures(open_loop: Vec<Run>, closed_loop: Run) -> Figures {
    let law_ms = QUANTILES.map(law_ms);
    let response_ms: [f64; 3] = std::array::from_fn(|index| {
        let runs: Vec<f64> = open_loop.iter().map(|run| run.response_ms[index]).collect();
        median(&runs)
    });
    Figures {
        target_percent: TARGET_PERCENT,
        quantiles: QUANTILES,
        law_ms,
        response_ms,
        deviation_percent: std::array::from_fn(|index| 100.0 * (response_ms[index] / law_ms[index] - 1.0)),
        open_loop,
        closed_loop,
    }
}

/// A miss counts only when most runs were undisturbed.
fn judge(figures: &Figures) -> Exit {
    let is_met = figures.deviation_percent.iter().all(|deviation| deviation.abs() <= TARGET_PERCENT);
    let undisturbed = figures.open_loop.iter().filter(|run| run.is_undisturbed());
    if !is_met && undisturbed.count() * 2 <= figures.open_loop.len() {
        return Exit::NotTrustworthy;
    }
    Exit::judged(is_met)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_is_50_90_and_99_ms() {
        for (law, expected) in QUANTILES.map(law_ms).into_iter().zip([50.0, 90.0, 99.0]) {
            assert!((law - expected).abs() < 1e-9, "{law} is not {expected}");
        }
        assert!(law_ms(0.5).abs() < 1e-9);
    }

    fn run(response_ms: [f64; 3]) -> Run {
        Run { response_ms, service_ms: [1.0; 3], trusted_to: Some(100.0), server_waited_ms: 0.1 }
    }

    #[test]
    fn one_disturbed_run_of_three_does_not_decide() {
        let good = run([50.5, 89.0, 99.5]);
        let disturbed = run([80.0, 120.0, 300.0]);
        assert_eq!(judge(&figures(vec![good, disturbed, good], good)), Exit::Good);
        assert_eq!(judge(&figures(vec![disturbed, good, disturbed], good)), Exit::JudgedBad);
        let untrusted = Run { trusted_to: Some(99.0), ..disturbed };
        assert_eq!(judge(&figures(vec![untrusted, good, untrusted], good)), Exit::NotTrustworthy);
        let delayed = Run { server_waited_ms: 1.5, ..disturbed };
        assert_eq!(judge(&figures(vec![delayed, good, delayed], good)), Exit::NotTrustworthy);
        let hidden = run([0.1, 0.1, 99.0]);
        assert_eq!(judge(&figures(vec![hidden], good)), Exit::JudgedBad);
    }
}
