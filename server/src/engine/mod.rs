//! The contract between the server and the engines that run its connections.
//!
//! # What an engine is given
//! [`Engine::run`] is called once per worker, on a thread that is already pinned and already has its own descriptor
//! table where the configuration says so. It gets a [`Worker`]: the addresses to listen on, the limits, one shard of
//! counters of which it is the only writer, the admission that all workers share, and the control with its wake.
//!
//! # What it must do
//! - Open its listeners itself, on that thread ([`listen::open`](crate::listen::open)): a descriptor that was opened
//!   elsewhere may not exist in this thread's table. All workers listen on the same addresses.
//! - Call [`Worker::on_bound`] when every listener accepts; or return an error.
//! - Take a place from the admission for each connection it serves and give it back when that one ends; turn away
//!   those for which there is none (raw: reset; HTTP: 503 and close), counted by reason.
//! - Serve: echo every byte in order; HTTP as [`http::Session`](crate::http::Session) says. While output of a
//!   connection is unsent, do not read from it. What came before a peer's half-close is still answered.
//! - Sort accept errors with [`listen::classify`](crate::listen::classify): retry, pause on a timer, fail.
//! - Look at [`Control::phase`](crate::control::Control::phase) whenever the wake fires. Draining: accept no more,
//!   finish what is under way, close what is idle, cut the rest off at the deadline, and return how many were cut.
//!   Aborted: return at once.
//! - Close every connection so that the peer gets what was already written.
//!
//! # What it must not do
//! - Hold memory per idle connection beyond its slot of at most 64 bytes (a task-based engine states its own figure).
//! - Hold more than a bounded amount for any connection, whatever the peer sends or does not read.
//! - Let one connection keep the others waiting: work per connection and turn is bounded.
//! - Block, sleep, spin, or end because of anything a peer or a shortage on the host does.
//! - Send or drop descriptors of its connections on another thread.

mod epoll;

use std::net::SocketAddr;
use std::sync::Arc;

use tidemark_host::wake::Wake;

use crate::admission::Admission;
use crate::control::Control;
use crate::faults::Faults;
use crate::listen::{BindError, Listen};
use crate::metrics::Shard;

/// What runs the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Engine {
    /// A thread per core, each with its own listeners and an edge-triggered epoll loop.
    #[default]
    Epoll,
}

impl Engine {
    /// Every engine there is.
    pub const ALL: [Engine; 1] = [Engine::Epoll];

    /// The name on the command line, in logs and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Epoll => "epoll",
        }
    }

    /// Runs one worker until it is told to stop.
    ///
    /// # Errors
    /// When the worker cannot start, or its event loop itself is broken. Never because of a connection.
    pub fn run(self, worker: Worker) -> Result<Ended, EngineError> {
        match self {
            Engine::Epoll => epoll::run(worker),
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
    /// Connections that wait to be accepted, per listener.
    pub backlog: u32,
    /// Size of the connection table.
    pub connections_max: u32,
    /// Slow-downs on purpose: to be called after every read and for every connection.
    pub faults: Faults,
    /// This worker's counters.
    pub shard: Arc<Shard>,
    /// Shared by all workers.
    pub admission: Arc<Admission>,
    /// Shared by all workers.
    pub control: Arc<Control>,
    /// Becomes readable when the control's phase changes.
    pub wake: Wake,
    /// To be called when all listeners accept, with their addresses in the order of `listens`.
    pub on_bound: Box<dyn FnOnce(Vec<SocketAddr>) + Send>,
}
