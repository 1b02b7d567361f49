//! What every program of the project shows to the outside in the same way: how it ends ([`Exit`]), and what a scraper
//! sees of it ([`metrics`]), and how a check of the machine is printed ([`doctor`]).
//!
//! The crate knows nothing of the programs. What a program measures, and what it is called, is its own.

pub mod doctor;
mod exit;
pub mod metrics;

pub use exit::Exit;
