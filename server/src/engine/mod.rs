//! The contract between the server and the engines that run its connections.
//!
//! # What an engine is given
//! [`Engine::run`] is called once per worker, on a thread that is already pinned and already has its own descriptor
//! table where the configuration says so. It gets a [`Worker`]: the addresses to listen on, the limits, a shard of
//! counters for each of its threads, of which nobody else is a writer, the admission that all workers share, and the control with
//! its wake.
//!
//! # What it must do
//! - Open its listeners itself, on that thread ([`listen::open`]): a descriptor that was opened
//!   elsewhere may not exist in this thread's table. All workers listen on the same addresses.
//! - Call [`Worker::on_bound`] when every listener accepts; or return an error.
//! - Take a place from the admission for each connection it serves and give it back when that one ends; turn away
//!   those for which there is none (raw: reset; HTTP: 503 and close), counted by reason.
//! - Serve: echo every byte in order; HTTP as [`http::Session`](crate::http::Session) says. While output of a
//!   connection is unsent, do not read from it. What came before a peer's half-close is still answered.
//! - Time peers out as [`timeouts`](crate::timeouts) says: idle (a goodbye), in a request head (408 and a goodbye, however
//!   steadily it trickles), and taking nothing of what they are owed (a reset).
//! - Sort accept errors with [`listen::classify`]: retry, pause on a timer, fail.
//! - Look at [`Control::phase`](crate::control::Control::phase) whenever the wake fires. Draining: accept no more,
//!   finish what is under way, close what is idle, cut the rest off at the deadline, and return how many were cut.
//!   Aborted: return at once.
//! - Close every connection so that the peer gets what was already written.
//!
//! # What it must not do
//! - Hold more memory per idle connection than [`Engine::connection_bytes`] says.
//! - Hold more than a bounded amount for any connection, whatever the peer sends or does not read.
//! - Let one connection keep the others waiting: work per connection and turn is bounded.
//! - Block, sleep, spin, or end because of anything a peer or a shortage on the host does.
//! - Send or drop descriptors of its connections on another thread.

mod conn;
mod date;
mod epoll;
mod tokio;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tidemark_host::wake::Wake;

use crate::admission::Admission;
use crate::control::Control;
use crate::faults::Faults;
use crate::inherited::Inherited;
use crate::listen::{self, BindError, Listen, Proto};
use crate::metrics::Shard;
use crate::timeouts::Timeouts;

/// Connections accepted per turn. An accept with its registration takes some 10 us, so that a storm of connections
/// delays those that are open by less than a millisecond per turn.
const ACCEPT_BATCH: usize = 64;

/// How long accepting rests when the host lacks something, unless a connection closes before.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What runs the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Engine {
    /// A thread per core, each with its own listeners and an edge-triggered epoll loop.
    #[default]
    Epoll,
    /// A tokio runtime per core, each with its own listeners, and a task per connection.
    Tokio,
    /// One tokio runtime over all cores, whose threads take tasks from each other.
    TokioSteal,
}

impl Engine {
    /// Every engine there is.
    pub const ALL: [Engine; 3] = [Engine::Epoll, Engine::Tokio, Engine::TokioSteal];

    /// The name on the command line, in logs and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Epoll => "epoll",
            Engine::Tokio => "tokio",
            Engine::TokioSteal => "tokio-steal",
        }
    }

    /// Whether a connection stays on the thread that accepted it. Where it does not, all threads must share one descriptor
    /// table, and they are one worker.
    pub const fn keeps_to_a_thread(self) -> bool {
        !matches!(self, Engine::TokioSteal)
    }

    /// The most memory that an idle connection takes in this process.
    pub const fn connection_bytes(self) -> u64 {
        match self {
            Engine::Epoll => 64,
            Engine::Tokio | Engine::TokioSteal => 1024,
        }
    }

    /// Runs one worker until it is told to stop.
    ///
    /// # Errors
    /// When the worker cannot start, or its event loop itself is broken. Never because of a connection.
    pub fn run(self, worker: Worker) -> Result<Ended, EngineError> {
        match self {
            Engine::Epoll => epoll::run(worker),
            Engine::Tokio => tokio::run_on_this_thread(worker),
            Engine::TokioSteal => tokio::run_on_threads(worker),
        }
    }
}

/// How a worker ended after it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Connections with an unfinished answer at the deadline, or at an abort.
    pub cut_off: u64,
}

/// Why a worker could not go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A listener could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The connection table could not be made.
    #[error(transparent)]
    Table(#[from] crate::conns::TableTooLarge),
    /// A system call that the loop cannot do without failed.
    #[error("{call}: {source}")]
    Io {
        /// Which.
        call: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A task panicked. Its connection is lost, and what it left behind is not to be trusted.
    #[error("a task panicked")]
    TaskPanicked,
}

impl EngineError {
    /// Wraps the error of `call`.
    pub fn io(call: &'static str) -> impl FnOnce(std::io::Error) -> EngineError {
        move |source| EngineError::Io { call, source }
    }
}

/// What one worker is given.
pub struct Worker {
    /// Counts from 0.
    pub index: usize,
    /// Where to listen. Port 0 only for the first worker; the others get the ports that it was given.
    pub listens: Vec<Listen>,
    /// Sockets that listen already, shared by all workers.
    pub inherited: Arc<[Inherited]>,
    /// Connections that wait to be accepted, per listener.
    pub backlog: u32,
    /// Size of the connection table.
    pub connections_max: u32,
    /// Connections that this worker may accept per second; more are left in the backlog.
    pub accept_rate: Option<f64>,
    /// How long peers may do nothing.
    pub timeouts: Timeouts,
    /// Slow-downs on purpose: to be called after every read and for every connection.
    pub faults: Faults,
    /// Counters, a shard for each thread that is to run connections; at least one. Each has one writer at a time.
    pub shards: Vec<Arc<Shard>>,
    /// Shared by all workers.
    pub admission: Arc<Admission>,
    /// Shared by all workers.
    pub control: Arc<Control>,
    /// Becomes readable when the control's phase changes.
    pub wake: Wake,
    /// To be called when all listeners accept, with their addresses in the order of `listens`.
    pub on_bound: Box<dyn FnOnce(Vec<SocketAddr>) + Send>,
}

impl Worker {
    /// Opens its listeners, those of `listens` first. To be called on the thread that uses them.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open_listeners(&self) -> Result<Vec<(TcpListener, Proto)>, EngineError> {
        let mut listeners = Vec::new();
        for listen in &self.listens {
            listeners.push((listen::open(listen.addr, self.backlog)?, listen.proto));
        }
        for inherited in &*self.inherited {
            // A descriptor of this thread's own table, which the worker may close.
            listeners
                .push((inherited.listener.try_clone().map_err(EngineError::io("dup"))?, inherited.proto));
        }
        Ok(listeners)
    }
}
