//! `doctor`: what this machine allows a run, as a table.

use tidemark_host::doctor::{Level, Needs, Readings, Role, check, render, worst};
use tidemark_host::{fdtable, limits};

use crate::capacity;

/// Checks this machine for a local run of `connections` connections, as [`crate::capacity`] would lay it out. Returns the table
/// and whether it can carry them.
pub fn run(connections: u64) -> (String, bool) {
    let readings = Readings::take();
    let needs = needs(connections, fdtable::can_be_private(), limits::nofile().hard);
    let checks = check(&needs, &readings);
    (render(&checks), worst(&checks) < Level::Fail)
}

fn needs(connections: u64, private_fd_tables: bool, nofile: u64) -> Needs {
    let tables = capacity::tables_needed(connections, nofile);
    Needs {
        role: Role::Loadgen,
        connections,
        workers: tables,
        private_fd_tables: private_fd_tables && tables > 1,
        source_addresses: capacity::sources_needed(connections, capacity::PORT_RANGE_DEFAULT, 1),
        ..Needs::default()
    }
}
