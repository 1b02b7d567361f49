//! A preflight check: does this machine allow what is asked of it, why does that matter, and which command changes it?
//!
//! [`Readings::take`] reads the machine; [`check`] is pure, so that every verdict is tested with made-up readings.

use serde::{Deserialize, Serialize};

use crate::proc::port_ranges::PortRanges;

mod descriptors;
mod figures;
mod fix;
mod lookups;
mod machine;
mod memory;
mod ports;
mod queues;
mod readings;
mod table;

pub use descriptors::workers_needed;
pub use fix::{Fix, SETTINGS_FILE, Setting};
pub use memory::{COMFORTABLE_PERCENT, SOCKET_BYTES};
pub use readings::Readings;
pub use table::{render, render_settings};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Enough.
    Ok,
    /// It will run, but the figures may be worse or rarer than they should be.
    Warn,
    /// It cannot work.
    Fail,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What the machine has.
    pub is: String,
    /// What is needed.
    pub need: String,
    /// What happens otherwise, in one plain sentence.
    pub why: String,
    /// What to do; `None` when it is good, and where nothing can be said.
    pub fix: Option<Fix>,
}

/// What is to run on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Accepts the connections.
    Server,
    /// Opens the connections.
    Loadgen,
    /// Two processes, one of each.
    #[default]
    Both,
}

/// What is asked of the machine. `..Needs::default()` fills in a small run of both ends on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// What is to run here.
    pub role: Role,
    /// Connections open at the same time.
    pub connections: u64,
    /// Worker threads per process; 0 counts as 1.
    pub workers: u64,
    /// Whether each worker is to have its own descriptor table.
    pub private_fd_tables: bool,
    /// Whether the other end of each connection is on this machine, too.
    pub loopback: bool,
    /// How many ports of the target the load generator connects to; 0 counts as 1.
    pub target_ports: u64,
    /// How many local addresses the load generator connects from; 0 counts as 1.
    pub source_addresses: u64,
    /// The backlog that the server asks of each listener.
    pub backlog: u64,
    /// The ports that the server listens on; empty when unknown.
    pub served_ports: PortRanges,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            role: Role::Both,
            connections: 1000,
            workers: 1,
            private_fd_tables: false,
            loopback: true,
            target_ports: 1,
            source_addresses: 1,
            backlog: 4096,
            served_ports: PortRanges::default(),
        }
    }
}

impl Needs {
    fn serves(&self) -> bool {
        self.role != Role::Loadgen
    }

    fn connects(&self) -> bool {
        self.role != Role::Server
    }

    /// How many ends of each connection are on this machine.
    fn ends(&self) -> u64 {
        if self.role == Role::Both || self.loopback { 2 } else { 1 }
    }

    /// Sockets on this machine.
    fn sockets(&self) -> u64 {
        self.connections.saturating_mul(self.ends())
    }
}

/// Holds the needs against the readings. Checks that do not concern the role are left out; a reading that is missing
/// becomes a warning.
pub fn check(needs: &Needs, readings: &Readings) -> Vec<Check> {
    let mut checks =
        vec![descriptors::per_table(needs, readings), descriptors::private_tables(needs, readings)];
    checks.push(descriptors::nr_open(needs, readings));
    checks.push(descriptors::file_max(needs, readings));
    if needs.connects() {
        checks.push(ports::ephemeral(needs, readings));
    }
    checks.extend(ports::served(needs, readings));
    checks.push(memory::sockets(needs, readings));
    checks.push(memory::tcp_mem(needs, readings));
    checks.extend(lookups::sockets(needs, readings));
    checks.extend(queues::conntrack(needs, readings));
    if needs.serves() {
        checks.push(queues::accept(needs, readings));
        checks.push(queues::syn(needs, readings));
    }
    checks.push(machine::cpus(needs, readings));
    checks.push(machine::clock(readings));
    checks
}

/// The worst level of all; [`Level::Ok`] when there is no check.
pub fn worst(checks: &[Check]) -> Level {
    checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok)
}

/// A check whose reading is missing.
fn unreadable(name: &'static str, need: String, what: &str) -> Check {
    let why = format!("{what} could not be read, so nothing can be said.");
    Check { name, level: Level::Warn, is: "unknown".to_owned(), need, why, fix: None }
}

#[cfg(test)]
mod tests;
