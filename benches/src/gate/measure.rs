//! Measures slots: a fresh server of one build, and what it costs.
//!
//! Only the server differs between the two builds. The clients are the same: the closed loop of this program, and head's
//! load generator. Server and clients have a CPU each, the environment is empty, and paths and arguments are equally
//! long, because all of these move a process's stack. The server's file is copied anew for every slot: where the kernel
//! happens to put its pages decides on cache conflicts, and must not stay with one build for a whole run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemark_host::awake::Awake;
use tidemark_host::cpu::{self as affinity, CpuSet};
use tidemark_host::proc::stat;

use super::build::Build;
use super::metric::Metric;
use super::slot::Slot;
use crate::allowed::Apart;
use crate::binaries::Program;
use crate::closed_loop::ClosedLoop;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::exchange::Exchange;
use crate::interrupt::Interrupt;
use crate::loadgen::{Arrivals, Load, Target};
use crate::server::{Options, Server};
use crate::statistics::{self, Side};

/// The part of the exchanges that is done once more before, uncounted: caches, branch predictors, memory of sockets.
const WARM_UP_PARTS: u64 = 5;

/// A load generator that runs for so much longer than it was asked to hangs.
const LOAD_OVERTIME_MAX: Duration = Duration::from_secs(60);

/// What counts of the windows of a load: the part of them that the machine may disturb without being seen is the rest of it.
const WINDOWS_QUANTILE: f64 = 0.25;

/// How much is done in a slot. The same for both builds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Connections, in each part.
    pub connections: usize,
    /// Bytes of an echo.
    pub payload_bytes: usize,
    /// Echoes that are counted in the closed loop.
    pub echoes: u64,
    /// HTTP requests that are counted in the closed loop.
    pub http_requests: u64,
    /// Echoes per second in the open loop (Poisson, with the same seed in every slot).
    pub rate: f64,
    /// How long the open loop runs before it is measured.
    pub load_warmup_ms: u64,
    /// How long it is measured.
    pub load_ms: u64,
    /// It is measured in windows of this length, and what counts of a percentile is the lower quartile of what the windows have.
    /// What takes the machine away makes latencies longer and never shorter, and of many short windows some are spared. On a virtual
    /// machine that is disturbed in most tenths of a second, the lowest p99 of six loads of 0.2 s scattered by 35 % from slot to slot,
    /// and some minutes later the lower quartile of the p99 of 90 windows by 4 % (`docs/data/gate-*.jsonl.gz`); in `benches/recorded`
    /// it is 5 to 16 % within a run. In records of before it is 0: they have the lowest of six.
    #[serde(default)]
    pub window_ms: u64,
}

impl Default for Work {
    /// Some three seconds a slot, so that 40 blocks of four are done within ten minutes, and a fifth of a second or more of CPU time in
    /// each of its parts, so that a tick of the kernel's clock and a wake-up are far below a percent of it.
    fn default() -> Self {
        Self {
            connections: 100,
            payload_bytes: 64,
            echoes: 60_000,
            http_requests: 50_000,
            rate: 10_000.0,
            load_warmup_ms: 100,
            load_ms: 1_800,
            window_ms: 20,
        }
    }
}

impl Work {
    /// A part of it, above 0 and up to 1. The rate and the windows stay.
    #[must_use]
    pub fn part(self, part: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of what was whole"
        )]
        let scale = |count: u64| ((count as f64 * part) as u64).max(1);
        Self {
            echoes: scale(self.echoes),
            http_requests: scale(self.http_requests),
            load_warmup_ms: scale(self.load_warmup_ms),
            load_ms: scale(self.load_ms),
            ..self
        }
    }
}

/// How far the load generator trusted its own run. This is kept beside the figures and decides nothing: to leave out what
/// looks bad would leave out a slow build's slots first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    /// Whether what was run is what was planned.
    pub valid: bool,
    /// The highest percentile that is the server's alone.
    pub trusted_to: Option<f64>,
    /// Why it is not valid.
    pub reasons: Vec<String>,
}

/// One slot as it was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The figures.
    pub slot: Slot,
    /// Of its open loop, when there was one.
    pub trust: Option<Trust>,
    /// How long it took, processes started and ended.
    pub took: Duration,
}

/// A server to be measured.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// Its file.
    pub server: PathBuf,
    /// Flags of `serve` that it is given besides. Meant for faults that are injected.
    pub flags: Vec<String>,
}

impl From<&Build> for Contestant {
    fn from(build: &Build) -> Self {
        Self { server: build.server.clone(), flags: Vec::new() }
    }
}

/// Where slots are measured, and with what.
#[derive(Debug)]
pub struct Bench<'a> {
    /// What head is held against.
    pub base: Contestant,
    /// What is judged.
    pub head: Contestant,
    /// The load generator for both.
    pub loadgen: PathBuf,
    /// The CPUs.
    pub apart: Apart,
    /// How much is done.
    pub work: Work,
    /// What is measured. The parts of a slot that yield nothing of it are left out.
    pub metrics: Vec<Metric>,
    /// A directory for copies, and for what the load generator writes.
    pub scratch: &'a Path,
    /// Ctrl-C and SIGTERM.
    pub interrupt: &'a Interrupt,
}

impl Bench<'_> {
    /// Measures one slot.
    ///
    /// # Errors
    /// When a program fails, or does not do what it should. That is never a verdict.
    pub fn slot(&self, side: Side) -> Result<Measured, MeasureError> {
        let began = Instant::now();
        let server = self.start(side)?;
        let before = Readings::take(&server)?;
        let mut figures = BTreeMap::new();
        if self.measures(Metric::CpuPerEcho) {
            let echo = || Exchange::echo(self.work.payload_bytes);
            let ns = self.cpu_per_exchange_ns(&server, server.echo, self.work.echoes, echo)?;
            figures.insert(Metric::CpuPerEcho, ns);
        }
        if self.measures(Metric::CpuPerHttpRequest) {
            let http =
                server.http.ok_or_else(|| broken("it does not say where it serves HTTP".to_owned()))?;
            let get = || Exchange::get(http, "/health");
            let ns = self.cpu_per_exchange_ns(&server, http, self.work.http_requests, get)?;
            figures.insert(Metric::CpuPerHttpRequest, ns);
        }
        let mut trust = None;
        if self.measures(Metric::ResponseP50) || self.measures(Metric::ResponseP99) {
            let _awake =
                Awake::keep(self.apart.server).map_err(MeasureError::io("keep the server's CPU awake"))?;
            let report = self.load(server.echo)?;
            let windows = report.windows(self.work)?;
            let counted = |of: fn(&Window) -> u64| {
                let figures: Vec<f64> = windows.iter().map(|window| of(window) as f64).collect();
                statistics::quantile(&figures, WINDOWS_QUANTILE)
            };
            figures.insert(Metric::ResponseP50, counted(|window| window.response_p50_ns));
            figures.insert(Metric::ResponseP99, counted(|window| window.response_p99_ns));
            trust = Some(report.verdict.into());
        }
        figures.retain(|&metric, _| self.measures(metric));
        if let Some((metric, _)) = figures.iter().find(|&(_, &figure)| figure <= 0.0) {
            return Err(broken(format!("its {} is 0: nothing was measured", metric.name())));
        }
        let (steal_fraction, wait_fraction) = Readings::take(&server)?.since(&before);
        server.stop();
        let slot = Slot { side, figures, steal_fraction, wait_fraction };
        Ok(Measured { slot, trust, took: began.elapsed() })
    }

    fn measures(&self, metric: Metric) -> bool {
        self.metrics.contains(&metric)
    }

    fn start(&self, side: Side) -> Result<Server, MeasureError> {
        // Names of equal length.
        let (contestant, name) = match side {
            Side::Base => (&self.base, "base"),
            Side::Head => (&self.head, "head"),
        };
        let file = copy_anew(&contestant.server, &self.scratch.join(name))?;
        let mut command = Command::new(file);
        command.env_clear();
        let options =
            Options { cpu: Some(self.apart.server), workers: Some(1), http: true, ..Options::default() };
        Server::start_as(command, options, &contestant.flags, self.interrupt)
    }

    /// CPU time of the server per exchange. What is divided is exact: the CPU time of a server at rest before and after, and
    /// a number of exchanges that were done between the two.
    fn cpu_per_exchange_ns(
        &self,
        server: &Server,
        target: SocketAddr,
        count: u64,
        exchange: impl FnOnce() -> io::Result<Exchange> + Send,
    ) -> Result<f64, MeasureError> {
        let client_error = |error: io::Error| broken(error.to_string());
        // On a thread of its own, because only the client is to be pinned: what is started later inherits the affinity.
        let client = || {
            let cpu = CpuSet::new([self.apart.client]).map_err(io::Error::other);
            cpu.and_then(|cpu| affinity::pin(&cpu)).map_err(MeasureError::io("pin the client"))?;
            let mut client = exchange()
                .and_then(|exchange| ClosedLoop::connect(target, self.work.connections, exchange))
                .map_err(client_error)?;
            client.run(count.div_ceil(WARM_UP_PARTS)).map_err(client_error)?;
            let before_ns = cpu_time::at_rest_ns(server.pid(), self.interrupt)?;
            client.run(count).map_err(client_error)?;
            let after_ns = cpu_time::at_rest_ns(server.pid(), self.interrupt)?;
            Ok(after_ns.saturating_sub(before_ns) as f64 / count as f64)
        };
        std::thread::scope(|scope| scope.spawn(client).join()).unwrap_or_else(|panic| {
            // The thread's panic is this thread's panic.
            std::panic::resume_unwind(panic)
        })
    }

    fn load(&self, target: SocketAddr) -> Result<LoadReport, MeasureError> {
        let output = self.scratch.join("load");
        let (warmup, duration) =
            (Duration::from_millis(self.work.load_warmup_ms), Duration::from_millis(self.work.load_ms));
        let load = Load {
            target: Target::Echo(target),
            connections: self.work.connections as u64,
            pipeline: 1,
            arrivals: Arrivals::Poisson(self.work.rate),
            warmup: Some(warmup),
            duration,
            interval: Some(Duration::from_millis(self.work.window_ms)),
            cpu: Some(self.apart.client),
            output: output.clone(),
        };
        let said = self.scratch.join("load.stderr");
        let stderr =
            fs::File::create(&said).map_err(MeasureError::io(format!("write {}", said.display())))?;
        let mut command = Command::new(&self.loadgen);
        command.env_clear().stderr(stderr);
        let mut running = load.start_as(command)?;
        let within = warmup + duration + LOAD_OVERTIME_MAX;
        let failed = |why: String| MeasureError::Client { program: Program::Loadgen.name().to_owned(), why };
        let status = running.wait(self.interrupt, Some(within))?.ok_or_else(|| {
            let line = first_line(&said).map_or_else(String::new, |line| format!("; it said: {line}"));
            failed(format!("was not done after {} s{line}", within.as_secs()))
        })?;
        let report = running.report(status).map_err(|error| match (error, first_line(&said)) {
            // A head that is too old for this gate, most likely.
            (MeasureError::NoReport { .. }, Some(line)) => {
                failed(format!("gave no report ({status}); it is that of head, and said: {line}"))
            }
            (error, _) => error,
        })?;
        fs::remove_dir_all(&output).map_err(MeasureError::io(format!("remove {}", output.display())))?;
        Ok(report)
    }
}

/// Copies a program into a directory, in place of what was there. The new file has new pages.
fn copy_anew(program: &Path, directory: &Path) -> Result<PathBuf, MeasureError> {
    let copy = directory.join(Program::Server.name());
    let copied = fs::create_dir_all(directory)
        .and_then(|()| match fs::remove_file(&copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::copy(program, &copy),
        })
        .map_err(MeasureError::io(format!("copy {} to {}", program.display(), copy.display())));
    copied.map(|_| copy)
}

/// The first line of a file that has something in it.
fn first_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// A server that did not do what it should.
fn broken(why: String) -> MeasureError {
    MeasureError::Client { program: Program::Server.name().to_owned(), why }
}

/// The machine and the server's threads at one moment.
struct Readings {
    at: Instant,
    cpus: stat::CpuTimes,
    waited_ns: u64,
}

impl Readings {
    fn take(server: &Server) -> Result<Self, MeasureError> {
        Ok(Self {
            at: Instant::now(),
            cpus: stat::sum(&stat::read().map_err(MeasureError::io("read /proc/stat"))?),
            waited_ns: cpu_time::waited_ns(server.pid())?,
        })
    }

    /// The parts of the time that were stolen and waited.
    fn since(&self, earlier: &Self) -> (f64, f64) {
        let elapsed_ns = self.at.duration_since(earlier.at).as_nanos().max(1) as f64;
        let waited_ns = self.waited_ns.saturating_sub(earlier.waited_ns) as f64;
        (self.cpus.since(&earlier.cpus).steal_fraction(), waited_ns / elapsed_ns)
    }
}

/// What a slot needs of a report. No more, so that a head whose reports have changed elsewhere can still be judged.
#[derive(Debug, Deserialize)]
struct LoadReport {
    populations: Vec<Population>,
    series: Vec<Series>,
    verdict: Verdict,
}

#[derive(Debug, Deserialize)]
struct Population {
    response: Response,
    #[serde(default)]
    errors: BTreeMap<String, u64>,
    #[serde(default)]
    connection_errors: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Response {
    count: u64,
}

#[derive(Debug, Deserialize)]
struct Series {
    rows: Vec<Window>,
}

/// What was answered in a window of the load.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Window {
    /// When it ended.
    t_s: f64,
    completed: u64,
    response_p50_ns: u64,
    response_p99_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    valid: bool,
    trusted_to: Option<f64>,
    reasons: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    text: String,
}

impl LoadReport {
    /// The windows of the load, when the server did what it was asked. A latency of requests of which some failed is none: to fail
    /// is quick. And a window in which nothing was answered has none, which is no reason to leave it out: it is as slow as it is
    /// long.
    fn windows(&self, work: Work) -> Result<Vec<Window>, MeasureError> {
        let ([population], [series]) = (self.populations.as_slice(), self.series.as_slice()) else {
            return Err(broken(format!("its load has {} populations and not 1", self.populations.len())));
        };
        let errors: Vec<String> = population
            .errors
            .iter()
            .chain(&population.connection_errors)
            .filter(|&(_, &count)| count > 0)
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        if !errors.is_empty() {
            return Err(broken(format!("it failed under load: {}", errors.join(", "))));
        }
        if population.response.count == 0 {
            return Err(broken("it completed nothing under load".to_owned()));
        }
        let silent_ns = work.window_ms.saturating_mul(1_000_000);
        let silent =
            Window { t_s: 0.0, completed: 0, response_p50_ns: silent_ns, response_p99_ns: silent_ns };
        // One in which nothing was to be sent either, because the client was held up, is in no row.
        let count = work.load_ms.div_ceil(work.window_ms.max(1));
        let mut windows: Vec<Window> = (0..count).map(|_| silent).collect();
        for row in series.rows.iter().filter(|row| row.completed > 0) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates at what is no time"
            )]
            let end = (row.t_s * 1e3 / work.window_ms as f64).round() as usize;
            // What comes later are the stragglers of the last one.
            if let Some(window) = end.checked_sub(1).and_then(|index| windows.get_mut(index)) {
                *window = *row;
            }
        }
        Ok(windows)
    }
}

impl From<Verdict> for Trust {
    fn from(verdict: Verdict) -> Self {
        Self {
            valid: verdict.valid,
            trusted_to: verdict.trusted_to,
            reasons: verdict.reasons.into_iter().map(|finding| finding.text).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn work(load_ms: u64) -> Work {
        Work { load_ms, window_ms: 20, ..Work::default() }
    }

    fn report(errors: &serde_json::Value, count: u64) -> LoadReport {
        let row = |t_s: f64, completed: u64, p99_ns: u64| json!({"t_s": t_s, "completed": completed, "response_p50_ns": p99_ns / 2, "response_p99_ns": p99_ns, "scheduled": 9});
        serde_json::from_value(json!({
            "schema_version": 9,
            "populations": [{
                "response": { "count": count, "p50_ns": 50, "p99_ns": 99, "p75_ns": 75 },
                "errors": errors,
                "connection_errors": {},
            }],
            "series": [{
                "population": "main",
                "rows": [row(0.02, 200, 90), row(0.04, 0, 0), row(0.06, 200, 80), row(0.1, 200, 500), row(0.12, 3, 900)],
            }],
            "verdict": {
                "valid": false,
                "trusted_to": null,
                "reasons": [{ "check": "rate", "figure": 0.1, "limit": 0.01, "text": "the rate was off by 10 %" }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_run_that_is_not_to_be_trusted_keeps_its_figures_and_is_marked() {
        let report = report(&json!({}), 10_000);
        assert_eq!(report.windows(work(80)).unwrap().len(), 4);
        let trust = Trust::from(report.verdict);
        assert!(!trust.valid);
        assert_eq!(trust.reasons, ["the rate was off by 10 %"]);
    }

    #[test]
    fn a_window_without_an_answer_is_as_slow_as_it_is_long_and_stragglers_do_not_count() {
        let report = report(&json!({}), 603);
        let p99s_ns = |load_ms: u64| -> Vec<u64> {
            report.windows(work(load_ms)).unwrap().iter().map(|window| window.response_p99_ns).collect()
        };
        // The second has an empty row, the fourth none.
        assert_eq!(p99s_ns(100), [90, 20_000_000, 80, 20_000_000, 500]);
        assert_eq!(p99s_ns(90), p99s_ns(100), "the load ended within the last");
        assert_eq!(p99s_ns(10), [90]);
    }

    #[test]
    fn a_server_that_fails_requests_has_no_latency() {
        let message =
            report(&json!({"reset": 3, "timeout": 0}), 9_997).windows(work(80)).unwrap_err().to_string();
        assert_eq!(message, "tidemark-server: it failed under load: 3 reset");
        let message = report(&json!({}), 0).windows(work(80)).unwrap_err().to_string();
        assert_eq!(message, "tidemark-server: it completed nothing under load");
    }

    #[test]
    fn a_copy_is_a_new_file_each_time_and_runs() {
        use std::os::unix::fs::MetadataExt;
        let scratch = tempfile::tempdir().unwrap();
        let first = copy_anew(Path::new("/bin/true"), &scratch.path().join("base")).unwrap();
        let kept = fs::File::open(&first).unwrap();
        let second = copy_anew(Path::new("/bin/true"), &scratch.path().join("base")).unwrap();
        assert_eq!(first, second);
        let inode = |file: &fs::File| file.metadata().unwrap().ino();
        assert_ne!(inode(&kept), inode(&fs::File::open(&second).unwrap()));
        assert!(Command::new(second).status().unwrap().success());
    }
}
