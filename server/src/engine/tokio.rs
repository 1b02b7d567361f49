//! The tokio engines: a task per connection, on a runtime per worker (`tokio`) or on one for all (`tokio-steal`).
//!
//! A task does what the epoll engine does in its turns, with the same [`Conn`]; what differs is who waits. An idle connection
//! costs its task and tokio's registration of its socket. It owns no buffer: tokio says that the socket is readable, and it is then
//! read into the buffer of the thread that the task happens to run on.

mod accept;
mod tenant;

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tidemark_host::wake::Wake;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdRegisterError};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use super::conn::{Conn, Env};
use super::{Ended, EngineError, Worker};
use crate::admission::{AcceptRate, Admission};
use crate::control::{Control, Phase};
use crate::faults::Faults;
use crate::metrics::{CloseReason, Shard};
use crate::timeouts::Timeouts;

/// How long threads may take to end after the last connection has. They have nothing left to do.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

thread_local! {
    /// What the connections on this thread share. There while the thread runs tasks.
    static ENV: RefCell<Option<Env>> = const { RefCell::new(None) };
}

/// Counts something on the shard of this thread; none when it has none.
fn with_shard<T>(count: impl FnOnce(&Shard) -> T) -> Option<T> {
    ENV.with_borrow(|env| Some(count(&env.as_ref()?.shard)))
}

/// What the tasks of a worker share.
#[derive(Debug)]
struct Shared {
    control: Arc<Control>,
    admission: Arc<Admission>,
    faults: Faults,
    timeouts: Timeouts,
    accept_rate: Mutex<AcceptRate>,
    backlog: u32,
    connections_max: u32,
    /// Connections that have a task, those that were turned away not included.
    open: AtomicU32,
    /// Connections that were turned away and have a task until their peer has read it.
    turned_away: AtomicUsize,
    /// Listeners that still accept.
    accepting: AtomicUsize,
    is_closing: AtomicBool,
    /// Connections that were open when the drain began.
    to_go: AtomicU32,
    /// Told once, when the drain begins.
    closing: Arc<Notify>,
    /// A connection has ended: there is room for another, and it may have been the last.
    ended: Notify,
    /// Something went wrong that the worker cannot live with.
    failed: Notify,
    failure: Mutex<Option<EngineError>>,
    /// Connections that ended with the runtime instead of by themselves, by reason.
    left: [AtomicU64; CloseReason::ALL.len()],
    cut_off: AtomicU64,
}

impl Shared {
    /// The bucket that all listeners of the worker take from.
    fn accept_rate(&self) -> MutexGuard<'_, AcceptRate> {
        self.accept_rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// The worker cannot go on.
    fn fail(&self, error: EngineError) {
        self.remember(error);
        self.failed.notify_one();
    }

    /// A task has panicked, and its connection is lost. What it left behind is not to be trusted for long, but the others may finish.
    fn panicked(&self) {
        self.remember(EngineError::TaskPanicked);
        self.control.drain();
    }

    /// The first failure is the one that is told.
    fn remember(&self, error: EngineError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn failure(&self) -> Option<EngineError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether nothing is left to be finished.
    fn is_empty(&self) -> bool {
        self.accepting.load(Ordering::Acquire) == 0
            && self.open.load(Ordering::Acquire) == 0
            && self.turned_away.load(Ordering::Acquire) == 0
    }

    /// A turn of a connection, with what those of this thread share.
    fn with_env<T>(&self, turn: impl FnOnce(&mut Env) -> T) -> Option<T> {
        ENV.with_borrow_mut(|env| {
            let env = env.as_mut()?;
            env.begin_turn(self.control.is_ready());
            env.closing = self.is_closing();
            let result = turn(env);
            env.shard.turn.observe(env.now.elapsed());
            Some(result)
        })
    }
}

/// Runs one worker on a runtime of the calling thread.
pub(super) fn run_on_this_thread(worker: Worker) -> Result<Ended, EngineError> {
    ENV.set(Some(Env::new(Arc::clone(&worker.shards[0]), worker.faults, worker.timeouts)));
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let result = run(runtime.map_err(EngineError::io("epoll_create"))?, worker);
    ENV.set(None);
    result
}

/// Runs one worker on a runtime with a thread for each shard.
pub(super) fn run_on_threads(worker: Worker) -> Result<Ended, EngineError> {
    let env = |shard: &Arc<Shard>| Env::new(Arc::clone(shard), worker.faults, worker.timeouts);
    let envs: Vec<Env> = worker.shards.iter().map(env).collect();
    let threads = envs.len();
    let envs = Mutex::new(envs);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        // Threads for blocking calls are started alike; there are no such calls, and such a thread would get no shard.
        .max_blocking_threads(1)
        .thread_name("worker-0")
        .on_thread_start(move || ENV.set(envs.lock().unwrap_or_else(PoisonError::into_inner).pop()))
        .enable_io()
        .enable_time()
        .build();
    run(runtime.map_err(EngineError::io("epoll_create"))?, worker)
}

fn run(runtime: Runtime, worker: Worker) -> Result<Ended, EngineError> {
    let shared = Arc::new(Shared {
        control: Arc::clone(&worker.control),
        admission: Arc::clone(&worker.admission),
        faults: worker.faults,
        timeouts: worker.timeouts,
        accept_rate: Mutex::new(AcceptRate::new(worker.accept_rate, std::time::Instant::now())),
        backlog: worker.backlog,
        connections_max: worker.connections_max,
        open: AtomicU32::new(0),
        turned_away: AtomicUsize::new(0),
        accepting: AtomicUsize::new(worker.listens.len() + worker.inherited.len()),
        is_closing: AtomicBool::new(false),
        to_go: AtomicU32::new(0),
        closing: Arc::new(Notify::new()),
        ended: Notify::new(),
        failed: Notify::new(),
        failure: Mutex::new(None),
        left: [const { AtomicU64::new(0) }; CloseReason::ALL.len()],
        cut_off: AtomicU64::new(0),
    });
    let spare = Arc::clone(&worker.shards[0]);
    let result = runtime.block_on(until_stopped(worker, &shared));
    // Tasks that are left end here, each with its connection.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    count_left(&shared, &spare);
    result?;
    match shared.failure() {
        Some(failure) => Err(failure),
        None => Ok(Ended { cut_off: shared.cut_off.load(Ordering::Acquire) }),
    }
}

/// Counts the connections that ended with the runtime. Its threads have ended, so that this one may write to a shard of theirs.
fn count_left(shared: &Shared, spare: &Shard) {
    for reason in CloseReason::ALL {
        for _ in 0..shared.left[reason as usize].load(Ordering::Acquire) {
            spare.closed(reason);
        }
    }
}

/// Has the runtime watch a socket, or gives it back.
fn watch<T: Owner>(owner: T, interest: Interest) -> Result<AsyncFd<T>, (T, io::Error)> {
    // SAFETY: An owner holds one open descriptor for as long as it lives, and always names the same; it is not taken out of
    // what is made here before that is dropped.
    unsafe { AsyncFd::register_with_interest(owner, interest) }.map_err(AsyncFdRegisterError::into_parts)
}

fn unwatched(error: io::Error) -> EngineError {
    EngineError::io("epoll_ctl")(error)
}

/// Something that holds one descriptor open from its beginning to its end.
trait Owner: AsRawFd {}

impl Owner for Conn {}
impl Owner for TcpListener {}
impl Owner for Wake {}

/// The life of a worker: until it is drained, its deadline comes, it is aborted, or it fails.
async fn until_stopped(worker: Worker, shared: &Arc<Shared>) -> Result<(), EngineError> {
    let wake = watch(worker.wake.clone(), Interest::READABLE).map_err(|(_, error)| unwatched(error))?;
    let listeners = worker.open_listeners()?;
    let addrs: io::Result<Vec<SocketAddr>> =
        listeners.iter().map(|(listener, _)| listener.local_addr()).collect();
    let addrs = addrs.map_err(EngineError::io("getsockname"))?;
    for (listener, proto) in listeners {
        let accept = accept::Accepting::new(listener, proto, Arc::clone(shared))?;
        tokio::spawn(accept.run());
    }
    (worker.on_bound)(addrs);
    loop {
        let now = std::time::Instant::now();
        match shared.control.phase(now) {
            Phase::Running | Phase::Grace => {}
            Phase::Closing if shared.is_closing() && shared.is_empty() => return Ok(()),
            Phase::Closing => {
                if !shared.is_closing.load(Ordering::Acquire) {
                    shared.to_go.store(shared.open.load(Ordering::Acquire), Ordering::Release);
                    shared.is_closing.store(true, Ordering::Release);
                    shared.closing.notify_waiters();
                }
            }
            Phase::Overdue | Phase::Aborted => return Ok(()),
        }
        let next_change = shared.control.next_change(now).map(tokio::time::Instant::from_std);
        if !wait(&wake, shared, next_change).await {
            return Ok(());
        }
    }
}

/// Waits until there may be something to decide. False when the worker has failed.
async fn wait(wake: &AsyncFd<Wake>, shared: &Shared, until: Option<tokio::time::Instant>) -> bool {
    let mut woken = std::pin::pin!(wake.readable());
    let mut failed = std::pin::pin!(shared.failed.notified());
    let mut ended = std::pin::pin!(shared.ended.notified());
    // Before the last look, so that what happens in between is not missed.
    let _ = ended.as_mut().enable();
    if shared.is_closing() && shared.is_empty() {
        return true;
    }
    let sleep = async {
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    let mut sleep = std::pin::pin!(sleep);
    std::future::poll_fn(|cx| {
        if failed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        if let Poll::Ready(ready) = woken.as_mut().poll(cx) {
            if let Ok(mut guard) = ready {
                wake.get_ref().clear();
                guard.clear_ready();
            }
            return Poll::Ready(true);
        }
        // While it runs, the end of one connection is nothing to decide on.
        let ends = shared.is_closing() && ended.as_mut().poll(cx).is_ready();
        if ends || sleep.as_mut().poll(cx).is_ready() { Poll::Ready(true) } else { Poll::Pending }
    })
    .await
}
