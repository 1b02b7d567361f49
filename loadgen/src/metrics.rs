//! What a scraper sees of a run: the table of names, the board that the collector writes once an interval, and the endpoint
//! that shows it.
//!
//! The workers know nothing of it. What they hand over once an interval goes into the interval log and the report, and from
//! there onto the board.

mod board;
mod buckets;
mod export;
mod listening;
mod phases;
mod so_far;
mod table;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tidemark_program::metrics::endpoint::Endpoint;
use tidemark_program::metrics::{Table, process};

use self::board::Board;
pub use self::listening::Listening;
pub use self::phases::Phase;
pub use self::so_far::Watch;
use crate::plan::Plan;

/// What a load generator exports: its own, and what every process has.
pub const TABLES: [Table; 2] = [table::TABLE, process::TABLE];

/// The figures of one run, served until this is dropped.
#[derive(Debug)]
pub struct Metrics {
    /// Where the figures are put.
    pub board: Arc<Board>,
    endpoint: Endpoint,
}

impl Metrics {
    /// Serves the figures of a run whose ramp begins now. `open` has the open connections of each population.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        plan: &Plan,
        run_id: &str,
        open: Vec<Arc<AtomicU64>>,
        listening: Listening,
    ) -> io::Result<Self> {
        let board = Arc::new(Board::new(plan, run_id, open));
        let endpoint = listening.serve(Arc::clone(&board), plan.pin.clone())?;
        Ok(Self { board, endpoint })
    }

    /// Where they are served.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }
}
