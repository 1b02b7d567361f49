//! `generator`: what the load generator costs, in its own terms: the requests that one core makes beside wrk's, the part of them
//! that it can also keep as a rate, and its memory per connection.

mod closed;
mod memory;

use std::time::{Duration, Instant};

use serde::Serialize;
use tidemark_loadgen::report::{Population, Report};
use tidemark_program::Exit;

use crate::allowed::{Allowed, Apart};
use crate::cli::GeneratorArgs;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::loadgen::{Arrivals, Load, Target};
use crate::nginx::{self, Nginx};
use crate::results;
use crate::session::Session;

/// The part of its own closed loop's rate that it is to keep as an open loop.
const OPEN_LOOP_PART: f64 = 0.8;

/// An open loop that is not valid although others had neither CPU for longer than this part of its time is the load
/// generator's own miss: it is how far the rate may be off in a valid run.
const TAKEN_MAX: f64 = 0.01;

/// What every part has at hand.
struct Bench<'a> {
    session: &'a Session,
    args: &'a GeneratorArgs,
    apart: Apart,
}

#[derive(Debug, Serialize)]
struct Figures {
    nginx_version: String,
    closed_loop: closed::Figures,
    open_loop: OpenLoop,
    memory: memory::Figures,
}

#[derive(Debug, Serialize)]
struct OpenLoop {
    rate: f64,
    completed_per_s: f64,
    valid: bool,
    trusted_to: Option<f64>,
    /// Why it is not valid.
    reasons: Vec<String>,
    response_p50_us: f64,
    response_p99_us: f64,
    lag_p50_us: f64,
    lag_p99_us: f64,
    /// The largest part of the time that nginx or a worker waited for its CPU, or the hypervisor took away.
    taken_fraction: f64,
}

impl OpenLoop {
    /// `nginx_waited`: the part of the time that nginx waited for its CPU.
    fn new(rate: f64, report: &Report, nginx_waited: f64) -> Self {
        let population = report.populations.first();
        let us = |of: fn(&Population) -> u64| {
            population.map_or(f64::NAN, |population| of(population) as f64 / 1e3)
        };
        let generator = &report.generator;
        let taken = generator.workers.iter().map(|worker| worker.run_queue_fraction);
        let taken = taken.chain([generator.machine.steal_fraction, nginx_waited]);
        Self {
            rate,
            completed_per_s: population.map_or(0.0, |population| population.completed_per_s),
            valid: report.verdict.valid,
            trusted_to: report.verdict.trusted_to,
            reasons: report.verdict.reasons.iter().map(|reason| reason.text.clone()).collect(),
            response_p50_us: us(|population| population.response.p50_ns),
            response_p99_us: us(|population| population.response.p99_ns),
            lag_p50_us: us(|population| population.lag.p50_ns),
            lag_p99_us: us(|population| population.lag.p99_ns),
            taken_fraction: taken.fold(0.0, f64::max),
        }
    }

    fn judge(&self) -> Exit {
        match self.valid {
            false if self.taken_fraction > TAKEN_MAX => Exit::NotTrustworthy,
            is_valid => Exit::judged(is_valid),
        }
    }
}

/// Runs it.
///
/// # Errors
/// When it could not run, also where there is only one CPU, or nginx or wrk are not there.
pub fn run(session: &Session, args: &GeneratorArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let apart = allowed.apart().ok_or_else(|| {
        MeasureError::Host(
            "generator needs two CPUs, one for nginx and one for the load generator".to_owned(),
        )
    })?;
    let memory_points = crate::memory::points(session, args.low, args.high, &allowed)?;
    let nginx_version = nginx::version()?;
    let bench = Bench { session, args, apart };
    session.say(format_args!(
        "requests per second over {} connections for {} s a slot; {nginx_version} on CPU {}, the load generators on CPU {}",
        args.connections, args.seconds, apart.server, apart.client
    ));
    let nginx = Nginx::start(session, apart.server)?;
    let closed_loop = bench.closed_loops(nginx.target)?;
    let open_loop = bench.open_loop(&nginx, closed_loop.compared.head.median * OPEN_LOOP_PART)?;
    nginx.stop();
    let memory = bench.memory(memory_points)?;
    let exit = match open_loop.judge() {
        exit if closed_loop.is_met && memory.is_met() => exit,
        _ => Exit::JudgedBad,
    };
    results::keep(session, "generator", &Figures { nginx_version, closed_loop, open_loop, memory })?;
    Ok(exit)
}

impl Bench<'_> {
    fn load(&self, target: Target, connections: usize, arrivals: Arrivals) -> Load {
        Load {
            target,
            connections: connections as u64,
            pipeline: 1,
            arrivals,
            warmup: None,
            duration: Duration::from_secs(self.args.seconds),
            interval: None,
            cpu: Some(self.apart.client),
            output: self.session.results.join("generator"),
        }
    }

    fn open_loop(&self, nginx: &Nginx, rate: f64) -> Result<OpenLoop, MeasureError> {
        let rate = rate.floor();
        let target = Target::Http(nginx.target);
        let load = self.load(target, self.args.connections, Arrivals::Poisson(rate));
        let (before_ns, began) = (cpu_time::waited_ns(nginx.worker)?, Instant::now());
        let report = load.report(self.session)?;
        let waited_ns = cpu_time::waited_ns(nginx.worker)?.saturating_sub(before_ns);
        let nginx_waited = waited_ns as f64 / 1e9 / began.elapsed().as_secs_f64();
        let open_loop = OpenLoop::new(rate, &report, nginx_waited);
        self.session.say(format_args!(
            "open loop (Poisson) at {rate}/s, {OPEN_LOOP_PART} of that: {:.0}/s, response p50 {:.0} us and p99 {:.0} us, {}; valid: {}",
            open_loop.completed_per_s,
            open_loop.response_p50_us,
            open_loop.response_p99_us,
            open_loop.trusted_to.map_or("not trusted".to_owned(), |to| format!("trusted to p{to}")),
            match open_loop.judge() {
                Exit::NotTrustworthy => "cannot be told, others had the CPUs; run it again",
                exit => word(exit == Exit::Good),
            }
        ));
        for reason in &open_loop.reasons {
            self.session.say(format_args!("  {reason}"));
        }
        Ok(open_loop)
    }
}

const fn word(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_that_others_disturbed_is_no_miss() {
        let open_loop = |valid, taken_fraction| OpenLoop {
            rate: 80_000.0,
            completed_per_s: 80_000.0,
            valid,
            trusted_to: Some(99.0),
            reasons: Vec::new(),
            response_p50_us: 100.0,
            response_p99_us: 900.0,
            lag_p50_us: 1.0,
            lag_p99_us: 20.0,
            taken_fraction,
        };
        assert_eq!(open_loop(true, 0.2).judge(), Exit::Good);
        assert_eq!(open_loop(false, 0.001).judge(), Exit::JudgedBad);
        assert_eq!(open_loop(false, 0.2).judge(), Exit::NotTrustworthy);
    }
}
