//! The performance gate: is head slower than base?
//!
//! The data goes one way: two builds -> [`slot`]s in interleaved blocks ([`order`]) -> paired [`difference`]s -> statistics
//! ([`signed_rank`], [`hodges_lehmann`], [`holm`], [`detectable`]) -> [`decision`] -> exit code.

pub mod budget;
pub mod build;
pub mod cli;
pub mod course;
pub mod decide;
pub mod decision;
pub mod detectable;
pub mod difference;
pub mod history;
pub mod hodges_lehmann;
pub mod holm;
pub mod judge;
pub mod measure;
pub mod metric;
pub mod order;
pub mod present;
pub mod record;
#[cfg(test)]
mod reference;
pub mod report;
pub mod run;
pub mod selftest;
pub mod signed_rank;
#[cfg(test)]
mod simulated;
pub mod slot;
pub mod tier_b;
pub mod verdict;
