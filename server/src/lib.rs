//! Tidemark's server: raw echo and HTTP for hundreds of thousands of connections per process.
//!
//! The binary is a thin shell around this library, so that tests and benchmarks run a [`Server`] in their own process
//! and measure its parts.
//!
//! The way of the data: command line ([`cli`]) to [`Config`] to a plan ([`capacity`]) to workers ([`engine`]), whose
//! listeners ([`listen`]) bring connections past the [`admission`] into the table ([`conns`]); what they do is counted
//! in shards ([`metrics`]) that the admin plane adds up. [`control`] tells all of them to stop.

mod admin;
pub mod admission;
pub mod app;
pub mod capacity;
pub mod cli;
pub mod config;
pub mod config_file;
pub mod conns;
pub mod control;
pub mod drain;
pub mod engine;
pub mod faults;
pub mod healthcheck;
pub mod http;
pub mod inherited;
pub mod listen;
mod memory_watch;
pub mod metrics;
mod server;
pub mod timeouts;
pub mod wheel;

pub use config::Config;
pub use engine::Engine;
pub use server::{Outcome, Running, Server, StartError, Stopper};
