//! A load generator whose numbers can be trusted: it measures from the intended send time, accounts for every
//! arrival, and declares its own run invalid when the generator was the bottleneck.
//!
//! Data flows one way: `argv, file -> Scenario -> Plan -> Schedule -> worker <-> session -> Recorder -> merge -> Report -> files,
//! table, verdict, exit code`. [`schedule`], [`dispatch`], [`record`], [`gaps`], [`verdict`], [`stats`], [`slo`] and [`search`] are
//! pure: they take time and facts as arguments and touch neither sockets nor clocks; [`search::steps`] runs what a search asks for.

pub mod capacity;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod dispatch;
pub mod doctor;
pub mod errors;
pub mod gaps;
pub mod handshake;
pub mod interrupt;
pub mod live;
pub mod metrics;
pub mod observe;
pub mod outstanding;
pub mod pacer;
pub mod payload;
pub mod plan;
pub mod pool;
pub mod preflight;
pub mod ramp;
pub mod record;
pub mod report;
pub mod resolve;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod search;
pub mod session;
pub mod slo;
pub mod socket;
pub mod stats;
pub mod target;
pub mod verdict;
pub mod worker;
