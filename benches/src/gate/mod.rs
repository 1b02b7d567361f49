//! The performance gate: is head slower than base?
//!
//! The data goes one way: two builds -> [`slot`]s in interleaved blocks -> paired statistics -> verdict -> exit code.

pub mod build;
pub mod cli;
pub mod measure;
pub mod metric;
pub mod present;
pub mod record;
pub mod report;
pub mod slot;
