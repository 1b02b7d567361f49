//! The load generator as its users meet it: the real program, against real servers that misbehave.
//!
//! No test depends on how fast the machine is. A machine that is held up makes latencies longer and never shorter, and may
//! cost a run its trust; it never changes what is counted.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod faults;
mod files;
mod killed;
mod loops;
mod metrics;
mod processes;
mod results;
mod scenarios;
mod search;
mod shown;
mod signals;
mod slo;
mod sockets;
mod stall;
mod starved;
mod usage;
