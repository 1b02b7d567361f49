//! The performance gate: is head slower than base?
//!
//! Two tiers. [`tier_a`] counts what comes out the same each time, and holds it against budgets. For the statistical tier the data
//! goes one way: two [`build`]s -> [`slot`]s in interleaved blocks ([`order`], [`measure`], [`tier_b`]) -> paired
//! [`difference`]s -> statistics ([`signed_rank`], [`hodges_lehmann`], [`holm`], [`detectable`]) -> [`decision`] -> [`report`]
//! -> files and tables ([`present`]) -> exit code. The commands are [`run`], [`decide`], [`selftest`] and [`history`].

pub mod budget;
pub mod build;
pub mod cli;
pub mod course;
pub mod decide;
pub mod decision;
pub mod detectable;
pub mod difference;
pub mod drift;
pub mod history;
pub mod hodges_lehmann;
pub mod holm;
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
pub mod tier_a;
pub mod tier_b;
pub mod verdict;
