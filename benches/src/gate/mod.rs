//! The performance gate: is head slower than base?
//!
//! The data goes one way: two builds -> [`slot`]s in interleaved blocks -> paired statistics -> verdict -> exit code.

pub mod build;
pub mod measure;
pub mod metric;
pub mod record;
pub mod slot;
