//! Why a measurement gave no figures.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::gate::difference::BlockError;
use crate::statistics::Side;
use tidemark_program::Exit;

/// Why a measurement gave no figures.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A program is not where it should be.
    #[error("{} is missing; build it with `cargo build --release {cargo_args}`", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What builds it.
        cargo_args: &'static str,
    },
    /// Flags that contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The host does not allow it.
    #[error("{0}")]
    Host(String),
    /// A call of the operating system failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended before it listened.
    #[error("{program} ended before it was ready ({status}); it said:\n{said}")]
    EndedEarly {
        /// Which.
        program: String,
        /// How.
        status: String,
        /// Its last lines.
        said: String,
    },
    /// A program does not listen.
    #[error("{program} was not ready within {} s", within.as_secs())]
    NotReady {
        /// Which.
        program: String,
        /// How long was waited.
        within: Duration,
    },
    /// The load generator could not run. It has said why.
    #[error("tidemark-loadgen gave no report ({status})")]
    NoReport {
        /// How it ended.
        status: ExitStatus,
    },
    /// A report that is not understood.
    #[error("the report of tidemark-loadgen is not understood (are both of one build?): {0}")]
    Report(#[from] serde_json::Error),
    /// Slots that no decision can be made on.
    #[error("what was measured cannot be judged: {0}")]
    Blocks(#[from] BlockError),
    /// A target of ours did not do what an echo server does.
    #[error("{program}: {why}")]
    Client {
        /// The target.
        program: String,
        /// What it did.
        why: String,
    },
    /// A slot of the gate.
    #[error("{within}, {side}: {source}")]
    Slot {
        /// Where in the run.
        within: String,
        /// Which build.
        side: &'static str,
        /// What went wrong.
        source: Box<Self>,
    },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted; all that was started has been ended")]
    Interrupted,
}

impl MeasureError {
    /// For `map_err`: what was tried, in words that follow "cannot".
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }

    /// Names the slot that it came in. An interruption is of no slot.
    #[must_use]
    pub fn in_slot(self, within: &str, side: Side) -> Self {
        let side = match side {
            Side::Base => "base",
            Side::Head => "head",
        };
        match self {
            Self::Interrupted => self,
            source => Self::Slot { within: within.to_owned(), side, source: Box::new(source) },
        }
    }

    /// The exit code that it means.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Slot { source, .. } => source.exit(),
            Self::Usage(_) => Exit::Usage,
            Self::Interrupted => Exit::NotTrustworthy,
            _ => Exit::CouldNotRun,
        }
    }
}
