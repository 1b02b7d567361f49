//! What this machine is and what it allows: limits, `/proc`, descriptor tables, CPU affinity and a preflight check.
//!
//! The crate knows nothing of the products that use it. Every `/proc` reader is split in two: a pure `parse` that is
//! tested on literal (also hostile) file contents and never panics, and a thin `read` above it.
//!
//! Linux only.

pub mod allocations;
pub mod awake;
pub mod cgroup;
pub mod cpu;
pub mod doctor;
pub mod facts;
pub mod fdtable;
pub mod limits;
pub mod proc;
pub mod tcp_info;
pub mod tun;
pub mod wake;
