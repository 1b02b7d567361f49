//! What the server counts: the table of names, the shards that workers write, and the collector that sums them up.
//!
//! Each worker has a shard of its own and is its only writer, so counting is a plain load and store: no lock, no
//! locked instruction, and no cache line that two workers write. Scrapes read the shards and add them up. A scrape may
//! see one counter of a worker a moment newer than another; every counter is exact by itself and never goes back.
//!
//! A scrape reads these counters and a handful of `/proc` files, and never walks the table of connections: what it costs
//! does not depend on how many there are.

mod collector;
mod host;
mod shard;
mod table;

use tidemark_program::metrics::{Table, process};

pub use self::collector::ServerCollector;
pub use self::shard::{CloseReason, Count, Shard, TurnHistogram};

/// What a server exports: its own, and what every process has.
pub const TABLES: [Table; 2] = [table::TABLE, process::TABLE];
