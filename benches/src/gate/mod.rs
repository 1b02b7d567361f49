//! The performance gate: is head slower than base?
//!
//! The data goes one way: two builds -> [`slot`]s in interleaved blocks -> paired statistics -> verdict -> exit code.

pub mod budget;
pub mod build;
pub mod cli;
pub mod course;
pub mod decide;
pub mod history;
pub mod judge;
pub mod measure;
pub mod metric;
pub mod present;
pub mod record;
pub mod report;
pub mod run;
pub mod selftest;
pub mod slot;
pub mod tier_b;
pub mod verdict;
