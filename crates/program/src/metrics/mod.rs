//! What a scraper sees of a program: a table of names, series in the form that the encoder takes, and an endpoint.
//!
//! Each program has one table of its own ([`metrics_table!`](crate::metrics_table)); the figures that every process has
//! are in [`process`]. Nothing else has the names of metrics. [`checks`] hold a table to the conventions, to what is
//! exported, and to `docs/metrics.md`, which dashboards and rules are held against in turn.

pub mod checks;
pub mod endpoint;
mod family;
pub mod process;
mod table;

pub use family::{Family, Kind};
pub use table::Table;
