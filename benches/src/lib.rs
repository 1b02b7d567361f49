//! Measurements of the real programs, each in processes of its own, over loopback or a way that takes time ([`far`]).
//!
//! A measurement starts what it needs ([`binaries`], [`process`], [`server`], [`loadgen`], [`stalling`], [`nginx`], [`wrk`],
//! [`peers`]), reads figures where they are exact ([`exchange`], [`closed_loop`], [`cpu_time`], [`disturbance`], [`idle`],
//! [`interval_log`], [`scrape`]), reduces them ([`statistics`], [`side_by_side`]) and keeps the raw ones ([`results`]). What a host allows is decided
//! in [`allowed`], which is pure. The measurements themselves are [`echo`], [`memory`], [`cpu`], [`http`], [`stall`], [`pacing`],
//! [`generator`], [`ramp`], [`probe`], [`scale`] and [`compare`].

pub mod allowed;
pub mod binaries;
pub mod cli;
pub mod closed_loop;
pub mod compare;
pub mod cpu;
pub mod cpu_time;
pub mod disturbance;
pub mod echo;
pub mod engine;
pub mod error;
pub mod exchange;
pub mod far;
pub mod gate;
pub mod generator;
pub mod http;
pub mod idle;
pub mod interrupt;
pub mod interval_log;
pub mod listening;
pub mod loadgen;
pub mod memory;
pub mod nginx;
pub mod pacing;
pub mod peers;
pub mod pinned;
pub mod probe;
pub mod process;
pub mod ramp;
pub mod results;
pub mod scale;
pub mod scrape;
pub mod server;
pub mod server_log;
pub mod session;
pub mod side_by_side;
pub mod stall;
pub mod stalling;
pub mod statistics;
pub mod wrk;
