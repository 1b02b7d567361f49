//! A run from beginning to end: check the target, start the workers, ramp, measure, collect.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tidemark_host::cpu;
use tidemark_host::wake::Wake;

use crate::clock::monotonic_ns;
use crate::collect::Collector;
use crate::dispatch::Window;
use crate::errors::{ErrorKind, error_list};
use crate::interrupt::Interrupts;
use crate::live::Live;
use crate::metrics::{Listening, Metrics, Phase, Watch};
use crate::observe::{Observed, Reading};
use crate::plan::{Plan, PopulationPlan};
use crate::pool::{Endpoints, PlannedDrop, Shared};
use crate::preflight::{self, PreflightError};
use crate::record::Recording;
use crate::report::files::RunDir;
use crate::report::{Report, SeriesRow};
use crate::schedule::Arrivals;
use crate::session::Script;
use crate::verdict::Ended;
use crate::worker::{self, Command, Message, PoolPlan, WorkerPlan, WorkerStats};

/// Between the order to begin and the start of the schedule, so that every worker has heard it.
const START_NOTICE_NS: u64 = 50_000_000;
/// Between the order to end early and the end of the schedule, likewise.
const END_NOTICE_NS: u64 = 100_000_000;
/// How often the ramp is redrawn on a terminal.
const RAMP_REDRAW: Duration = Duration::from_millis(250);
/// Niceness of the threads that collect and show: they share the generator's CPUs, and the workers go first.
pub(crate) const COLLECTOR_NICE: i32 = 10;
/// How the names of the workers' threads begin.
pub(crate) const WORKER_THREADS: &str = "worker-";

/// Why there is no result.
#[derive(Debug, Error)]
pub enum RunError {
    /// The target did not pass the one exchange before the run.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// Not one connection could be opened.
    #[error(
        "not one of {requested} connections could be opened ({why}); is the target up, and does it have room?"
    )]
    NoConnection {
        /// Connections asked for.
        requested: u64,
        /// The errors, by kind.
        why: String,
    },
    /// Ctrl-C before the measurement began.
    #[error("interrupted before the measurement began: there is nothing to report")]
    Interrupted,
    /// A worker could not go on.
    #[error("a worker could not go on: {0}; see `tidemark-loadgen doctor`")]
    Worker(String),
    /// The results cannot be written.
    #[error("cannot write results to {path}: {source}; choose another place with --output")]
    Output {
        /// Where they were to go.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The metrics cannot be served.
    #[error(
        "cannot serve metrics on {address}: {source}; choose another address with --metrics, port 0 takes a free one"
    )]
    Metrics {
        /// Where they were to be.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The machine refused something that a run cannot do without.
    #[error("cannot {what}: {source}")]
    Host {
        /// What it refused.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What came out of a run.
#[derive(Debug)]
pub struct Outcome {
    /// When the measurement began.
    pub started_at: SystemTime,
    /// How long it took to open the connections.
    pub ramp: Duration,
    /// The phases as they were.
    pub window: Window,
    /// How it ended.
    pub ended: Ended,
    /// In the order of the plan's populations.
    pub populations: Vec<PopulationResult>,
    /// In the order of the workers.
    pub workers: Vec<WorkerStats>,
    /// The machine between the start of the schedule and its end.
    pub observed: Observed,
}

impl Outcome {
    /// Length of the measured window, s.
    pub fn measured_s(&self) -> f64 {
        self.window.until_ns.saturating_sub(self.window.from_ns) as f64 / 1e9
    }

    /// Everything recorded, by population.
    pub fn totals(&self) -> Vec<&Recording> {
        self.populations.iter().map(|result| &result.total).collect()
    }
}

/// What came out of one population.
#[derive(Debug)]
pub struct PopulationResult {
    /// All intervals added up.
    pub total: Recording,
    /// A row for each interval of the measurement.
    pub rows: Vec<SeriesRow>,
    /// The most connections open at the end of an interval.
    pub peak_open: u64,
    /// Arrivals that a fresh copy of the schedule has in the measured window; `None` in a closed loop.
    pub expected_arrivals: Option<u64>,
}

/// A run that is over, and still shown to scrapers.
#[derive(Debug)]
pub struct Completed {
    /// What came out of it.
    pub outcome: Outcome,
    /// Where its results go.
    pub dir: RunDir,
    metrics: Option<Metrics>,
    /// Signals come in here.
    inbox: Receiver<Message>,
}

impl Completed {
    /// Shows the final figures to scrapers for as long as the plan says, or until a signal. Whoever has ended the run by a
    /// signal waits for nothing more.
    pub fn linger(self, plan: &Plan, report: &Report, live: &Live) {
        let (Some(metrics), Some(asked)) = (&self.metrics, plan.metrics) else { return };
        metrics.board.finish(&report.verdict, &report.slo);
        if asked.linger.is_zero() || self.outcome.ended == Ended::Interrupted {
            return;
        }
        live.say(&format!(
            "the metrics stay at http://{}/metrics for {} (Ctrl-C ends it)",
            metrics.address(),
            humantime::format_duration(asked.linger)
        ));
        let until = Instant::now() + asked.linger;
        // What the workers said last is of no interest any more; a signal is, and the end of the time.
        while self
            .inbox
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .is_ok_and(|message| !matches!(message, Message::Interrupted))
        {}
    }
}

/// Does one exchange with the target, so that a wrong port or protocol is told at once.
///
/// # Errors
/// When there is no reply, or one that is none.
pub fn check(plan: &Plan) -> Result<(), RunError> {
    let mut asked: Vec<&PopulationPlan> = Vec::new();
    for population in &plan.populations {
        let is_idle = population.arrivals == Arrivals::Idle;
        // Whom another population has asked already is there.
        if asked.iter().any(|it| it.target == population.target && (is_idle || it.arrivals != Arrivals::Idle))
        {
            continue;
        }
        preflight::check(plan, population, &script(plan, population))?;
        asked.push(population);
    }
    Ok(())
}

fn script(plan: &Plan, population: &PopulationPlan) -> Script {
    Script::new(&population.target, &population.payload, plan.seed)
}

/// Runs a plan that has been checked. Results go to a new directory under `output`.
///
/// # Errors
/// When there is nothing to report; what was measured before a failure is in the directory's interval log.
pub fn run(plan: &Plan, output: &Path, live: &Live, interrupts: &Interrupts) -> Result<Completed, RunError> {
    let listening = plan.metrics.map(|metrics| listen(metrics.address)).transpose()?;
    if let Some(listening) = &listening {
        live.announce(&format!("metrics at http://{}/metrics", listening.address));
    }
    // Before the ramp: a place that cannot be written to is told before a long one.
    let dir = RunDir::create(output, SystemTime::now()).map_err(|source| output_error(output, source))?;
    run_into(dir, plan, live, listening, interrupts)
}

fn listen(address: SocketAddr) -> Result<Listening, RunError> {
    Listening::on(address).map_err(|source| RunError::Metrics { address, source })
}

/// The error of signals that cannot be heard.
pub fn no_signals(source: io::Error) -> RunError {
    RunError::Host { what: "listen for signals", source }
}

/// The error of a result that cannot be written to `path`.
pub fn output_error(path: &Path, source: io::Error) -> RunError {
    RunError::Output { path: path.display().to_string(), source }
}

fn run_into(
    dir: RunDir,
    plan: &Plan,
    live: &Live,
    listening: Option<Listening>,
    interrupts: &Interrupts,
) -> Result<Completed, RunError> {
    let (messages, inbox) = mpsc::channel();
    interrupts.tell(messages.clone());
    let result = run_workers(&dir, plan, live, listening, messages, &inbox);
    if result.is_err() {
        dir.discard_if_empty();
    }
    let (outcome, metrics) = result?;
    Ok(Completed { outcome, dir, metrics, inbox })
}

fn run_workers(
    dir: &RunDir,
    plan: &Plan,
    live: &Live,
    listening: Option<Listening>,
    messages: Sender<Message>,
    inbox: &Receiver<Message>,
) -> Result<(Outcome, Option<Metrics>), RunError> {
    let open: Vec<Arc<AtomicU64>> = plan.populations.iter().map(|_| Arc::default()).collect();
    let metrics = listening
        .map(|listening| Metrics::start(plan, &dir.id, open.clone(), listening))
        .transpose()
        .map_err(|source| RunError::Host { what: "start the thread of the metrics", source })?;
    let began = Instant::now();
    let workers = Workers::start(plan, open, &messages)?;
    drop(messages);
    // It is fine to run without: the workers are then only a little later.
    let _ = rustix::process::nice(COLLECTOR_NICE);
    let outcome = ramp(plan, live, &workers, inbox)
        .and_then(|()| measure(dir, plan, live, &workers, inbox, metrics.as_ref(), began.elapsed()));
    live.finish();
    workers.end();
    Ok((outcome?, metrics))
}

/// Tells the board when phases begin, or are planned to.
fn show_phases(metrics: Option<&Metrics>, starts: &[(Phase, u64)]) {
    let (now, now_ns) = (SystemTime::now(), monotonic_ns());
    let Some(metrics) = metrics else { return };
    for &(phase, start_ns) in starts {
        // All lie in the future: each is told ahead, so that every worker hears of it in time.
        metrics.board.set_phase(phase, now + Duration::from_nanos(start_ns.saturating_sub(now_ns)));
    }
}

fn measure(
    dir: &RunDir,
    plan: &Plan,
    live: &Live,
    workers: &Workers,
    inbox: &Receiver<Message>,
    metrics: Option<&Metrics>,
    ramp: Duration,
) -> Result<Outcome, RunError> {
    let mut window = window_from(plan, monotonic_ns() + START_NOTICE_NS);
    let started_at = SystemTime::now() + Duration::from_nanos(START_NOTICE_NS) + plan.warmup;
    let to_output = |source| output_error(&dir.path, source);
    let phases =
        [(Phase::Warmup, window.start_ns), (Phase::Measure, window.from_ns), (Phase::Drain, window.until_ns)];
    show_phases(metrics, &phases);
    let watch = metrics.map(|metrics| Watch::new(plan, Arc::clone(&metrics.board)));
    let mut collector =
        Collector::create(plan, dir, started_at, workers.spares.clone(), workers.open.clone(), watch)
            .map_err(to_output)?;
    let before = Reading::take();
    workers.command(Command::Begin(window));
    let mut ended = Ended::AsPlanned;
    let mut stats = Vec::with_capacity(plan.workers);
    while stats.len() < plan.workers {
        match inbox.recv().unwrap_or_else(|_| Message::Failed("all workers are gone".to_owned())) {
            Message::Interval { worker, index, recordings } => {
                collector.add(worker, index, recordings, live).map_err(to_output)?;
            }
            Message::Done(worker_stats) => stats.push(worker_stats),
            Message::Failed(why) => return Err(RunError::Worker(why)),
            Message::Ramped { .. } => {}
            message @ (Message::Interrupted | Message::BacklogFull) => {
                if ended == Ended::AsPlanned {
                    live.say("ending early: waiting for the replies in flight (Ctrl-C again ends at once)");
                    let is_by_hand = matches!(message, Message::Interrupted);
                    ended = if is_by_hand { Ended::Interrupted } else { Ended::BacklogFull };
                    window.until_ns = window.until_ns.min(monotonic_ns() + END_NOTICE_NS);
                    workers.command(Command::EndEarly(window.until_ns));
                    show_phases(metrics, &[(Phase::Drain, window.until_ns)]);
                }
            }
        }
    }
    let observed = Reading::take().since(&before);
    let populations = collector.finish(live).map_err(to_output)?;
    let populations = populations.into_iter().enumerate().map(|(index, sums)| {
        let expected_arrivals = expected_arrivals(plan, index, window);
        PopulationResult { total: sums.total, rows: sums.rows, peak_open: sums.peak_open, expected_arrivals }
    });
    let populations = populations.collect();
    Ok(Outcome { started_at, ramp, window, ended, populations, workers: stats, observed })
}

fn window_from(plan: &Plan, start_ns: u64) -> Window {
    let from_ns = start_ns + ns(plan.warmup);
    let until_ns = from_ns + ns(plan.duration);
    Window { start_ns, from_ns, until_ns, drain_until_ns: until_ns + ns(plan.drain) }
}

/// What a fresh copy of the schedule has in the measured window.
fn expected_arrivals(plan: &Plan, population: usize, window: Window) -> Option<u64> {
    let schedule = plan.populations[population].schedule(plan.seed, population)?;
    let [from_ns, until_ns] =
        [window.from_ns, window.until_ns].map(|at_ns| at_ns.saturating_sub(window.start_ns));
    Some(schedule.count_between(from_ns, until_ns))
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits until every connection is open or has been given up.
fn ramp(plan: &Plan, live: &Live, workers: &Workers, inbox: &Receiver<Message>) -> Result<(), RunError> {
    let requested = plan.held_connections();
    let mut ramped = 0;
    let mut errors = BTreeMap::<ErrorKind, u64>::new();
    while ramped < plan.workers {
        let message = if live.is_redrawn() {
            live.ramp(workers.open_connections(), requested);
            match inbox.recv_timeout(RAMP_REDRAW) {
                Err(RecvTimeoutError::Timeout) => continue,
                received => received.ok(),
            }
        } else {
            inbox.recv().ok()
        };
        match message {
            Some(Message::Ramped { errors: more }) => {
                ramped += 1;
                for (kind, count) in more {
                    *errors.entry(kind).or_default() += count;
                }
            }
            Some(Message::Interrupted) => return Err(RunError::Interrupted),
            Some(Message::Failed(why)) => return Err(RunError::Worker(why)),
            None => return Err(RunError::Worker("all workers are gone".to_owned())),
            Some(Message::Interval { .. } | Message::BacklogFull | Message::Done(_)) => {}
        }
    }
    // Visits have not begun, and are no part of the ramp.
    if workers.open_connections() == 0 && plan.held_connections() > 0 {
        return Err(RunError::NoConnection { requested, why: error_list(&errors) });
    }
    live.say(&format!("{} of {requested} connections are open; the load begins", workers.open_connections()));
    Ok(())
}

/// The worker threads and what reaches them.
struct Workers {
    threads: Vec<JoinHandle<()>>,
    commands: Vec<Sender<Command>>,
    spares: Vec<Sender<Recording>>,
    wakes: Vec<Wake>,
    /// Connections open, by population.
    open: Vec<Arc<AtomicU64>>,
}

impl Workers {
    fn start(plan: &Plan, open: Vec<Arc<AtomicU64>>, messages: &Sender<Message>) -> Result<Self, RunError> {
        if let Some(pin) = &plan.pin {
            // Also this thread: what it does must not fall on a CPU that was left to the target.
            cpu::pin(pin).map_err(|source| RunError::Host { what: "run on the CPUs of --pin", source })?;
        }
        let shared: Vec<Arc<Shared>> = plan.populations.iter().map(|of| shared(plan, of)).collect();
        let mut workers =
            Self { threads: Vec::new(), commands: Vec::new(), spares: Vec::new(), wakes: Vec::new(), open };
        // All before the first thread: a thread with a descriptor table of its own sees only what was open by then.
        for _ in 0..plan.workers {
            let wake = Wake::new().map_err(|source| RunError::Host { what: "make an eventfd", source })?;
            workers.wakes.push(wake);
        }
        for index in 0..plan.workers {
            let (command, commands) = mpsc::channel();
            let (spare, spares) = mpsc::channel();
            workers.commands.push(command);
            workers.spares.push(spare);
            let pools = plan.populations.iter().enumerate().map(|(population, _)| {
                pool_plan(plan, population, index, &shared[population], &workers.open[population])
            });
            let worker_plan = WorkerPlan {
                index,
                pools: pools.collect(),
                private_fd_table: plan.private_fd_tables,
                pin: plan.pin.as_ref().map(|pin| pin.for_worker(index)),
                spin_ns: plan.spin_ns,
                interval_ns: ns(plan.interval),
                wake: workers.wakes[index].clone(),
                commands,
                spares,
                messages: messages.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("{WORKER_THREADS}{index}"));
            let thread = thread
                .spawn(move || worker::run(worker_plan))
                .map_err(|source| RunError::Host { what: "start a worker thread", source });
            match thread {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => {
                    workers.end();
                    return Err(error);
                }
            }
        }
        Ok(workers)
    }

    fn command(&self, command: Command) {
        for (sender, wake) in self.commands.iter().zip(&self.wakes) {
            // A worker that is gone has said why.
            let _ = sender.send(command);
            wake.wake();
        }
    }

    fn open_connections(&self) -> u64 {
        self.open.iter().map(|open| open.load(Ordering::Relaxed)).sum()
    }

    fn end(self) {
        self.command(Command::End);
        for thread in self.threads {
            // A panic has been caught and told inside.
            drop(thread.join());
        }
    }
}

fn shared(plan: &Plan, population: &PopulationPlan) -> Arc<Shared> {
    Arc::new(Shared {
        script: script(plan, population),
        endpoints: Endpoints { targets: population.addresses.clone(), sources: plan.connect.sources.clone() },
        socket: plan.connect.socket,
        connect_timeout_ns: ns(plan.connect.timeout),
        depth: population.pipeline,
    })
}

/// What is to be dropped of a population, in order.
fn drops(plan: &Plan, population: usize) -> VecDeque<PlannedDrop> {
    let events = plan.events.iter().enumerate();
    let events = events.filter(|(_, event)| event.populations.contains(&population));
    events
        .map(|(index, event)| PlannedDrop { event: index, at_ns: ns(event.at), share: event.share })
        .collect()
}

/// The share of a population that worker `index` takes: connections in blocks of which the first may be longer by one, arrivals in
/// turn. So where connections take turns each worker has as many as it has turns.
fn pool_plan(
    plan: &Plan,
    population: usize,
    index: usize,
    shared: &Arc<Shared>,
    open: &Arc<AtomicU64>,
) -> PoolPlan {
    let of: &PopulationPlan = &plan.populations[population];
    let (workers, connections) = (plan.workers as u64, u64::from(of.connections));
    let first_of = |index: u64| connections / workers * index + index.min(connections % workers);
    let (first, next) = (first_of(index as u64), first_of(index as u64 + 1));
    let earlier: u64 = plan.populations[..population].iter().map(|other| u64::from(other.connections)).sum();
    PoolPlan {
        shared: Arc::clone(shared),
        pace: of.pace(plan.seed, population, index, plan.workers),
        first_number: usize::try_from(earlier + first).unwrap_or(usize::MAX),
        connections: u32::try_from(next - first).unwrap_or(u32::MAX),
        request_timeout_ns: ns(plan.timeout),
        connect_rate: plan.connect.rate / plan.workers as f64,
        connects_in_flight: plan.connect.in_flight.div_ceil(plan.workers),
        open: Arc::clone(open),
        drops: drops(plan, population),
    }
}
