//! Starts and stops a server: plan, probe, workers, admin plane.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidemark_host::wake::Wake;
use tidemark_host::{cpu, fdtable, limits};
use tidemark_program::metrics::endpoint::Endpoint;
use tidemark_program::metrics::process::{self, Process};
use tracing::{error, info, warn};

use crate::admin;
use crate::admission::{Admission, Reserve};
use crate::capacity::{self, Allowed, CapacityError, Plan, Wanted};
use crate::config::{Config, ConfigError, FdTables, Pin, Workers};
use crate::control::Control;
use crate::drain::Times;
use crate::engine::{Ended, Engine, EngineError, Worker};
use crate::inherited::Inherited;
use crate::listen::{self, BindError, Listen, Proto};
use crate::memory_watch::{self, MemoryWatch};
use crate::metrics::{ServerCollector, Shard};
use crate::timeouts::Timeouts;

/// After an abort, how long workers may take to notice. One that is stuck must not keep the process from ending.
const ABORT_TIMEOUT: Duration = Duration::from_secs(2);
/// How the names of the workers' threads begin.
const WORKER_THREADS: &str = "worker-";

/// Why a server could not start. When this is returned, nothing of it runs any more.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host does not allow it.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// A listener could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A worker could not start.
    #[error("worker {index}: {reason}")]
    Worker {
        /// Which.
        index: usize,
        /// What it said.
        reason: String,
    },
    /// A call of the operating system failed.
    #[error("{call}: {source}")]
    Io {
        /// Which.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The metrics could not be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn io_error(call: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Io { call, source }
}

/// What threads tell the one that waits for them.
enum Report {
    /// A worker's listeners accept.
    Bound { index: usize, addrs: Vec<SocketAddr> },
    /// A worker has ended.
    Ended { index: usize, result: Result<Ended, WorkerFailure> },
    /// Somebody wants everything to end at once.
    Aborted,
}

/// Why a worker ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
enum WorkerFailure {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("descriptor table: {0}")]
    FdTable(io::Error),
    #[error("pin: {0}")]
    Pin(io::Error),
    #[error("panicked: {0}")]
    Panic(String),
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Connections that had an unfinished answer when the drain's deadline came.
    pub cut_off: u64,
    /// Workers that ended by an error or a panic.
    pub failed_workers: usize,
    /// It was ended at once instead of drained.
    pub aborted: bool,
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a server in this process. When this returns, all its listeners accept.
    ///
    /// Raises the process's soft limit on open files to the hard one. With private descriptor tables the workers get a
    /// copy of what this process has open, so a socket that was open before closes for its peer only when the server
    /// has ended, too.
    ///
    /// # Errors
    /// When the configuration contradicts itself, the host does not allow it, or a port is in use.
    pub fn start(config: Config) -> Result<Running, StartError> {
        Server::start_with(config, Vec::new())
    }

    /// The same, with sockets that listen already besides those of the configuration.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(config: Config, inherited: Vec<Inherited>) -> Result<Running, StartError> {
        let listens = config.listens(inherited.len())?;
        // In a private table there are the copies of all workers' sockets besides.
        let plan = plan(&config, listens.len() + 2 * inherited.len())?;
        for addr in listens.iter().map(|listen| listen.addr).chain([config.admin]) {
            listen::probe(addr)?;
        }
        info!(
            engine = config.engine.name(),
            workers = plan.workers,
            fd_tables = if plan.private_tables { "private" } else { "shared" },
            max_connections = plan.max_connections,
            limited_by = plan.limit.name(),
            "starting"
        );
        let engine = config.engine;
        let mut running = Running::new(config, plan, inherited)?;
        running.start_worker(listens.clone())?;
        // The ports that the first worker got are those that the others share.
        let resolved: Vec<Listen> =
            listens.iter().zip(&running.addrs).map(|(listen, &addr)| Listen { addr, ..*listen }).collect();
        if engine.keeps_to_a_thread() {
            for _ in 1..plan.workers {
                running.start_worker(resolved.clone())?;
            }
        }
        running.listens = resolved;
        running.start_admin()?;
        running.watch_memory()?;
        for listen in running.listening() {
            info!(proto = listen.proto.name(), addr = %listen.addr, "listening");
        }
        info!(proto = "admin", addr = %running.admin_addr(), "listening");
        running.control.set_started();
        info!("ready");
        Ok(running)
    }
}

fn plan(config: &Config, listeners: usize) -> Result<Plan, StartError> {
    let allowed_cpus = cpu::allowed().map_err(io_error("sched_getaffinity"))?;
    let nofile = limits::raise_nofile().map_err(io_error("setrlimit"))?;
    let allowed = Allowed {
        nofile: nofile.soft,
        cpus: allowed_cpus.len(),
        private_tables: config.fd_tables != FdTables::Shared
            && config.engine.keeps_to_a_thread()
            && fdtable::can_be_private(),
        available_bytes: memory_watch::available_bytes(),
    };
    let wanted = Wanted {
        workers: match config.workers {
            Workers::Auto => None,
            Workers::Fixed(workers) => Some(workers.get()),
        },
        workers_at_least: match &config.pin {
            Pin::Cpus(cpus) => cpus.len(),
            Pin::Off | Pin::Allowed => allowed.cpus,
        },
        max_connections: config.max_connections,
        fd_tables: config.fd_tables,
        listeners,
        connection_bytes: config.engine.connection_bytes(),
    };
    Ok(capacity::plan(wanted, allowed)?)
}

/// Asks a running server to stop, from any thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    control: Arc<Control>,
    reports: Sender<Report>,
}

impl Stopper {
    /// Begins the drain. Returns at once; [`Running::wait`] tells when it is over.
    pub fn stop(&self) {
        self.control.drain();
    }

    /// Ends everything at once, without regard for what is under way.
    pub fn abort(&self) {
        // First, so that the workers' ends do not overtake it. Nobody waits any more when this fails.
        let _ = self.reports.send(Report::Aborted);
        self.control.abort();
    }
}

/// A server that runs. Dropping it aborts it and waits for its threads.
#[derive(Debug)]
pub struct Running {
    config: Config,
    plan: Plan,
    timeouts: Timeouts,
    control: Arc<Control>,
    admission: Arc<Admission>,
    wakes: Vec<Wake>,
    shards: Vec<Arc<Shard>>,
    sender: Sender<Report>,
    reports: Receiver<Report>,
    workers: Vec<JoinHandle<()>>,
    /// Workers that have not reported their end.
    alive: usize,
    admin: Option<Endpoint>,
    memory_watch: Option<MemoryWatch>,
    listens: Vec<Listen>,
    inherited: Arc<[Inherited]>,
    /// What the first worker's listeners got.
    addrs: Vec<SocketAddr>,
}

impl Running {
    fn new(config: Config, plan: Plan, inherited: Vec<Inherited>) -> Result<Running, StartError> {
        let wakes: io::Result<Vec<Wake>> = (0..plan.workers).map(|_| Wake::new()).collect();
        let wakes = wakes.map_err(io_error("eventfd"))?;
        let (sender, reports) = mpsc::channel();
        let Config { idle_timeout, head_timeout, write_timeout, .. } = config;
        let times = Times { grace: config.grace, timeout: config.drain_timeout };
        Ok(Running {
            timeouts: Timeouts::new(Instant::now(), idle_timeout, head_timeout, write_timeout),
            control: Arc::new(Control::new(wakes.clone(), times)),
            admission: Arc::new(Admission::new(plan.max_connections)),
            wakes,
            shards: (0..plan.workers).map(|_| Arc::new(Shard::default())).collect(),
            sender,
            reports,
            config,
            plan,
            workers: Vec::with_capacity(plan.workers),
            alive: 0,
            admin: None,
            memory_watch: None,
            listens: Vec::new(),
            inherited: inherited.into(),
            addrs: Vec::new(),
        })
    }

    /// Starts the next worker and waits until its listeners accept.
    fn start_worker(&mut self, listens: Vec<Listen>) -> Result<(), StartError> {
        let index = self.workers.len();
        let bound = self.sender.clone();
        let worker = Worker {
            index,
            listens,
            inherited: Arc::clone(&self.inherited),
            backlog: self.config.backlog,
            accept_rate: self.config.accept_rate.map(|rate| f64::from(rate) / self.workers_in_all() as f64),
            timeouts: self.timeouts,
            faults: self.config.faults,
            connections_max: self.connections_per_worker(),
            shards: self.shards_of(index),
            admission: Arc::clone(&self.admission),
            control: Arc::clone(&self.control),
            wake: self.wakes[index].clone(),
            on_bound: Box::new(move |addrs| {
                // Nobody listens any more when this fails, and then the wake says so, too.
                let _ = bound.send(Report::Bound { index, addrs });
            }),
        };
        let place = Place {
            engine: self.config.engine,
            private_tables: self.plan.private_tables,
            pin: self.config.pin.clone(),
        };
        let reports = self.sender.clone();
        let thread = std::thread::Builder::new()
            .name(format!("{WORKER_THREADS}{index}"))
            .spawn(move || {
                let result = place.run(worker);
                let _ = reports.send(Report::Ended { index, result });
            })
            .map_err(io_error("thread"))?;
        self.workers.push(thread);
        self.alive += 1;
        self.wait_bound()
    }

    /// Where connections move between threads these are one worker.
    fn shards_of(&self, worker: usize) -> Vec<Arc<Shard>> {
        if self.config.engine.keeps_to_a_thread() {
            vec![Arc::clone(&self.shards[worker])]
        } else {
            self.shards.clone()
        }
    }

    fn workers_in_all(&self) -> usize {
        if self.config.engine.keeps_to_a_thread() { self.plan.workers } else { 1 }
    }

    fn connections_per_worker(&self) -> u32 {
        if self.config.engine.keeps_to_a_thread() {
            self.plan.per_worker
        } else {
            u32::try_from(self.plan.max_connections).unwrap_or(u32::MAX)
        }
    }

    fn wait_bound(&mut self) -> Result<(), StartError> {
        match self.reports.recv() {
            Ok(Report::Bound { index, addrs }) => {
                if index == 0 {
                    self.addrs = addrs;
                }
                Ok(())
            }
            Ok(Report::Ended { index, result }) => {
                self.alive -= 1;
                Err(match result {
                    Err(WorkerFailure::Engine(EngineError::Bind(error))) => StartError::Bind(error),
                    Err(failure) => StartError::Worker { index, reason: failure.to_string() },
                    Ok(_) => StartError::Worker { index, reason: "ended before it began".to_owned() },
                })
            }
            // Nobody has a stopper yet, and this struct holds a sender, so that neither can be.
            Ok(Report::Aborted) | Err(_) => {
                Err(StartError::Worker { index: self.workers.len() - 1, reason: "aborted".to_owned() })
            }
        }
    }

    fn start_admin(&mut self) -> Result<(), StartError> {
        let fd_tables = if self.plan.private_tables {
            process::FdTables::PrivateTo(WORKER_THREADS)
        } else {
            process::FdTables::Shared
        };
        let collector = ServerCollector::new(
            self.shards.clone(),
            Arc::clone(&self.control),
            self.config.engine.name(),
            Process::new(fd_tables),
        )?;
        self.admin = Some(admin::start(self.config.admin, collector, Arc::clone(&self.control))?);
        Ok(())
    }

    fn watch_memory(&mut self) -> Result<(), StartError> {
        if self.config.memory_reserve > 0 {
            let reserve = Reserve { bytes: self.config.memory_reserve };
            let watch = MemoryWatch::start(reserve, Arc::clone(&self.admission));
            self.memory_watch = Some(watch.map_err(io_error("thread"))?);
        }
        Ok(())
    }

    fn addrs_of(&self, proto: Proto) -> Vec<SocketAddr> {
        self.listening().filter(|listen| listen.proto == proto).map(|listen| listen.addr).collect()
    }

    /// Where connections are accepted, ports as bound.
    fn listening(&self) -> impl Iterator<Item = Listen> {
        let inherited = self.inherited.iter().map(|it| Listen { proto: it.proto, addr: it.addr });
        self.listens.iter().copied().chain(inherited)
    }

    /// Where raw echo is served, ports as bound.
    pub fn echo_addrs(&self) -> Vec<SocketAddr> {
        self.addrs_of(Proto::Echo)
    }

    /// Where HTTP is served, ports as bound.
    pub fn http_addrs(&self) -> Vec<SocketAddr> {
        self.addrs_of(Proto::Http)
    }

    /// Where metrics, health and readiness are served, port as bound.
    #[expect(clippy::missing_panics_doc, reason = "a server that was given out has its admin plane")]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.as_ref().expect("started before this server is given out").address()
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> u64 {
        self.admission.open()
    }

    /// A handle to stop this server with, for other threads.
    pub fn stopper(&self) -> Stopper {
        Stopper { control: Arc::clone(&self.control), reports: self.sender.clone() }
    }

    /// Begins the drain. Returns at once; [`Running::wait`] tells when it is over.
    pub fn stop(&self) {
        self.control.drain();
    }

    /// Waits until the server has ended, which it does when it is told to or when a worker fails.
    pub fn wait(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut deadline = None;
        while self.alive > 0 {
            let report = match deadline {
                None => self.reports.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    self.reports.recv_timeout(Instant::saturating_duration_since(&deadline, Instant::now()))
                }
            };
            match report {
                Ok(Report::Bound { .. }) => {}
                Ok(Report::Aborted) => {
                    outcome.aborted = true;
                    deadline.get_or_insert(Instant::now() + ABORT_TIMEOUT);
                }
                Ok(Report::Ended { index, result }) => self.count_end(index, result, &mut outcome),
                Err(_) => {
                    warn!(workers = self.alive, "workers did not end in time and are left behind");
                    self.workers.clear();
                    break;
                }
            }
        }
        info!(cut_off = outcome.cut_off, "stopped");
        outcome
    }

    fn count_end(&mut self, index: usize, result: Result<Ended, WorkerFailure>, outcome: &mut Outcome) {
        self.alive -= 1;
        match result {
            Ok(ended) => outcome.cut_off += ended.cut_off,
            Err(failure) => {
                error!(worker = index, %failure, "a worker failed; the server stops");
                outcome.failed_workers += 1;
                // The others still finish what they have begun.
                self.control.drain();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.alive > 0 && !self.workers.is_empty() {
            self.control.abort();
        }
        for worker in self.workers.drain(..) {
            // A panic was caught and reported.
            let _ = worker.join();
        }
    }
}

/// Where and with what a worker runs.
struct Place {
    engine: Engine,
    private_tables: bool,
    pin: Pin,
}

impl Place {
    /// Prepares the calling thread and runs the worker on it. A panic becomes a failure, so that it is reported and
    /// the server stops, instead of going on with a part of its connections dead.
    fn run(self, worker: Worker) -> Result<Ended, WorkerFailure> {
        let run = AssertUnwindSafe(|| {
            if self.private_tables {
                fdtable::make_private().map_err(WorkerFailure::FdTable)?;
            }
            self.pin_thread(worker.index)?;
            Ok(self.engine.run(worker)?)
        });
        catch_unwind(run).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(WorkerFailure::Panic(text.unwrap_or_default()))
        })
    }

    fn pin_thread(&self, index: usize) -> Result<(), WorkerFailure> {
        let cpus = match &self.pin {
            Pin::Off => return Ok(()),
            Pin::Allowed => cpu::allowed().map_err(WorkerFailure::Pin)?,
            Pin::Cpus(cpus) => cpus.clone(),
        };
        // Threads that a worker starts have its CPUs.
        let cpus = if self.engine.keeps_to_a_thread() { cpus.for_worker(index) } else { cpus };
        cpu::pin(&cpus).map_err(WorkerFailure::Pin)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::num::NonZero;

    use super::*;
    use crate::faults::Faults;

    fn worker(on_bound: Box<dyn FnOnce(Vec<SocketAddr>) + Send>) -> Worker {
        let wake = Wake::new().unwrap();
        Worker {
            index: 0,
            listens: vec![Listen { proto: Proto::Echo, addr: ([127, 0, 0, 1], 0).into() }],
            inherited: Arc::new([]),
            backlog: 1,
            accept_rate: None,
            timeouts: Timeouts::new(Instant::now(), Duration::ZERO, Duration::ZERO, Duration::ZERO),
            faults: Faults::default(),
            connections_max: 1,
            shards: vec![Arc::default()],
            admission: Arc::new(Admission::new(1)),
            control: Arc::new(Control::new(
                vec![wake.clone()],
                Times { grace: Duration::ZERO, timeout: Duration::ZERO },
            )),
            wake,
            on_bound,
        }
    }

    #[test]
    fn a_panic_of_a_worker_is_its_failure_with_its_words() {
        for engine in Engine::ALL {
            let place = Place { engine, private_tables: false, pin: Pin::Off };
            let failure = place.run(worker(Box::new(|addrs| panic!("bound {}", addrs.len())))).unwrap_err();
            assert_eq!(failure.to_string(), "panicked: bound 1");
        }
    }

    #[test]
    fn a_worker_that_fails_stops_the_server_and_is_counted() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config =
            Config { echo: vec![any.into()], admin: any, fd_tables: FdTables::Shared, ..Config::default() };
        let mut running = Server::start(config).unwrap();
        let workers = running.alive;
        // As if there had been one more.
        running.alive += 1;
        let result = Err(WorkerFailure::Panic("boom".to_owned()));
        running.sender.send(Report::Ended { index: workers, result }).unwrap();
        assert_eq!(running.wait(), Outcome { failed_workers: 1, ..Outcome::default() });
    }

    #[test]
    fn a_panic_at_work_takes_no_more_with_it_than_it_must_and_the_server_drains() {
        for engine in Engine::ALL {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let running = Server::start(Config {
                engine,
                echo: vec![any.into()],
                admin: any,
                workers: Workers::Fixed(NonZero::new(2).unwrap()),
                grace: Duration::from_secs(600),
                faults: Faults { fault_panic_bytes: 13, ..Faults::default() },
                ..Config::default()
            })
            .unwrap();
            let mut streams: Vec<TcpStream> =
                (0..32).map(|_| TcpStream::connect(running.echo_addrs()[0]).unwrap()).collect();
            assert!(streams.iter_mut().all(is_served));
            let (control, stopper) = (Arc::clone(&running.control), running.stopper());
            let waiting = std::thread::spawn(|| running.wait());

            let mut unlucky = streams.remove(0);
            unlucky.write_all(&[0; 13]).unwrap();
            assert!(!matches!(unlucky.read(&mut [0]), Ok(1..)));
            let deadline = Instant::now() + Duration::from_secs(60);
            while control.is_ready() {
                assert!(Instant::now() < deadline, "the server goes on as if nothing had happened");
                std::thread::yield_now();
            }
            let served = streams.iter_mut().filter_map(|stream| is_served(stream).then_some(())).count();
            match engine {
                // A loop ends with all of its connections; those of the other worker are at least one, or 31 tosses fell alike.
                Engine::Epoll => assert!((1..=31).contains(&served), "{served}"),
                Engine::Tokio | Engine::TokioSteal => assert_eq!(served, 31, "{}", engine.name()),
            }
            stopper.abort();
            assert_eq!(
                waiting.join().unwrap(),
                Outcome { failed_workers: 1, aborted: true, cut_off: 0 },
                "{}",
                engine.name()
            );
        }
    }

    fn is_served(stream: &mut TcpStream) -> bool {
        let mut back = [0; 2];
        stream.write_all(b"in").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"in"
    }

    #[test]
    fn pinning_to_a_cpu_that_is_not_there_is_a_failure() {
        let place =
            Place { engine: Engine::Epoll, private_tables: false, pin: Pin::Cpus("1023".parse().unwrap()) };
        let failure = place.run(worker(Box::new(|_| {}))).unwrap_err();
        assert!(failure.to_string().starts_with("pin: cannot run on CPUs 1023"), "{failure}");
    }
}
