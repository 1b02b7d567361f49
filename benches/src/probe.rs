//! `probe`: what a thousand connections feel that are asked something, alone and beside many that say nothing.
//!
//! The server and the probes are the same in both cases. The quiet connections are another process's, which comes and goes within the run,
//! so that nothing but their number differs.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde::Serialize;
use tidemark_loadgen::report::Report;
use tidemark_loadgen::report::units::Count;
use tidemark_program::Exit;

use crate::allowed::{Allowed, Apart};
use crate::cli::ProbeArgs;
use crate::error::MeasureError;
use crate::loadgen::{self, Arrivals, Load, Running, Target};
use crate::results;
use crate::scrape;
use crate::server::{CONNECTIONS_SPARE, Options, Server};
use crate::session::Session;
use crate::side_by_side::{self, SideBySide};
use crate::statistics::Side;

/// What the median and the 99th percentile may be at most, as multiples of those without the others.
const P50_RATIO_MAX: f64 = 1.2;
const P99_RATIO_MAX: f64 = 1.5;

/// Probes, each on a connection of its own, and requests per second over all of them.
const PROBES: u64 = 1_000;
const RATE: f64 = 1_000.0;

/// How long the quiet ones may take to come, or to be gone.
const COMING_TIMEOUT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The gauge of the server that tells whether they are there.
const OPEN: &str = "tidemark_connections_open";

#[derive(Debug, Serialize)]
struct Figures {
    quiet_connections: u64,
    probes: u64,
    rate: f64,
    /// Response in us: beside the quiet ones, and alone.
    p50: SideBySide,
    p99: SideBySide,
}

struct Bench<'a> {
    session: &'a Session,
    args: &'a ProbeArgs,
    apart: Apart,
    server: &'a Server,
    quiet: Option<Running>,
    /// Of each slot, in their order.
    p99_us: Vec<(Side, f64)>,
}

/// Runs it.
///
/// # Errors
/// When it could not run, also where there is only one CPU.
pub fn run(session: &Session, args: &ProbeArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let apart = allowed.apart().ok_or_else(|| {
        MeasureError::Host("probe needs two CPUs, one for the server and one for the probes".to_owned())
    })?;
    let server = Server::start(
        session,
        Options {
            cpu: Some(apart.server),
            max_connections: Some(args.connections + PROBES + CONNECTIONS_SPARE),
            ..Options::default()
        },
    )?;
    session.say(format_args!(
        "response p50 of {} probes at {RATE} requests a second, in us, beside {} quiet connections and alone; server on CPU {}, probes on CPU {}",
        Count(PROBES),
        Count(args.connections),
        apart.server,
        apart.client
    ));
    let mut bench = Bench { session, args, apart, server: &server, quiet: None, p99_us: Vec::new() };
    let names = ["beside the quiet ones", "alone"];
    let p50 = SideBySide::measure(session, names, args.blocks, |side| bench.slot(side))?;
    bench.leave()?;
    let p99 = SideBySide::of_slots(&bench.p99_us);
    server.stop();
    let judge = |what: &str, of: &SideBySide, limit| {
        session.say(format_args!("{what}: {:.0} us beside {:.0} us", of.head.median, of.base.median));
        of.judge(session, side_by_side::Target::AtMost(limit))
    };
    let are_met = [judge("p50", &p50, P50_RATIO_MAX), judge("p99", &p99, P99_RATIO_MAX)];
    let figures = Figures { quiet_connections: args.connections, probes: PROBES, rate: RATE, p50, p99 };
    results::keep(session, "probe", &figures)?;
    Ok(Exit::judged(are_met == [true, true]))
}

impl Bench<'_> {
    /// The median of one run, us.
    fn slot(&mut self, side: Side) -> Result<f64, MeasureError> {
        match side {
            Side::Head => self.come()?,
            Side::Base => self.leave()?,
        }
        let load = Load {
            target: Target::Echo(self.server.echo),
            connections: PROBES,
            pipeline: 1,
            arrivals: Arrivals::Poisson(RATE),
            warmup: None,
            duration: self.args.duration,
            interval: None,
            cpu: Some(self.apart.client),
            output: self.session.results.join("probe"),
        };
        let report = load.report(self.session)?;
        let of = |ns: fn(&Report) -> Option<u64>| ns(&report).map_or(f64::NAN, |ns| ns as f64 / 1e3);
        self.p99_us.push((side, of(|report| Some(report.populations.first()?.response.p99_ns))));
        Ok(of(|report| Some(report.populations.first()?.response.p50_ns)))
    }

    /// Has the quiet connections there.
    fn come(&mut self) -> Result<(), MeasureError> {
        if self.quiet.is_some() {
            return Ok(());
        }
        let scenario = self.session.results.join("probe.toml");
        let text = format!(
            "target = \"tcp://{}\"\nduration = \"24h\"\nwarmup = \"0s\"\n\n[[population]]\nname = \"quiet\"\nconnections = {}\n",
            self.server.echo, self.args.connections
        );
        std::fs::create_dir_all(&self.session.results)
            .and_then(|()| std::fs::write(&scenario, text))
            .map_err(MeasureError::io(format!("write {}", scenario.display())))?;
        let mut args: Vec<OsString> = vec!["run".into(), "--scenario".into(), scenario.into()];
        args.extend(["--output".into(), self.session.results.join("probe").into()]);
        // So that nothing of them is left behind beside the probes that are alone.
        args.extend(["--linger".into(), "reset".into()]);
        self.quiet = Some(loadgen::start(self.session, &args)?);
        self.wait_until(|open, wanted| open >= wanted)
    }

    /// Has them gone.
    fn leave(&mut self) -> Result<(), MeasureError> {
        let Some(quiet) = self.quiet.take() else { return Ok(()) };
        quiet.stop();
        self.wait_until(|open, _| open < PROBES)
    }

    fn wait_until(&mut self, is_so: fn(open: u64, wanted: u64) -> bool) -> Result<(), MeasureError> {
        let deadline = Instant::now() + COMING_TIMEOUT;
        while Instant::now() < deadline {
            let open = scrape::metric(self.server.admin, OPEN)
                .map_err(MeasureError::io("read the server's metrics"))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count; as saturates"
            )]
            if is_so(open as u64, self.args.connections) {
                return Ok(());
            }
            let status = match &mut self.quiet {
                Some(quiet) => quiet.wait(&self.session.interrupt, Some(LOOK_EVERY))?,
                None => self.session.interrupt.pause(LOOK_EVERY).map(|()| None)?,
            };
            if let Some(status) = status {
                return Err(MeasureError::NoReport { status });
            }
        }
        Err(MeasureError::Host("the quiet connections did not come or go in time".to_owned()))
    }
}
