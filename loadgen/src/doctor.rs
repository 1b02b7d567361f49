//! `doctor`: what this machine allows a run.

use tidemark_host::doctor::{Needs, Readings, Role, check, workers_needed};
use tidemark_program::Exit;

use crate::capacity;
use crate::cli::DoctorArgs;

/// Checks this machine for a run as [`crate::capacity`] would lay it out. Returns what is to be printed, and how the program ends.
pub fn run(args: &DoctorArgs) -> (String, Exit) {
    let readings = Readings::take();
    let checks = check(&needs(args.asked.connections, args.remote, &readings), &readings);
    args.asked.answer(&checks)
}

fn needs(connections: u64, is_remote: bool, readings: &Readings) -> Needs {
    let here = Needs {
        connections,
        role: if is_remote { Role::Loadgen } else { Role::Both },
        loopback: !is_remote,
        // Towards another machine there are only the addresses that this one has been given.
        source_addresses: if is_remote {
            1
        } else {
            capacity::sources_quick(
                connections,
                readings.port_range.unwrap_or(capacity::PORT_RANGE_DEFAULT),
                1,
            )
        },
        ..Needs::default()
    };
    let nofile = readings.nofile.hard;
    if capacity::tables_needed(connections, nofile) == 1 {
        return here;
    }
    // Where no number of workers suffices the check says so.
    let workers = workers_needed(&here, nofile).unwrap_or(1);
    Needs { workers, private_fd_tables: true, ..here }
}

#[cfg(test)]
mod tests {
    use tidemark_host::doctor::{Level, worst};
    use tidemark_host::limits::Nofile;
    use tidemark_host::proc::conntrack::Conntrack;
    use tidemark_host::proc::port_ranges::PortRanges;

    use super::*;

    /// A small machine with room for two million sockets; everything else is what this one has.
    fn machine() -> Readings {
        Readings {
            nofile: Nofile { soft: 20_000, hard: 20_000 },
            can_be_private: true,
            nr_open: Some(1_048_576),
            file_max: Some(2_466_170),
            files_open: Some(415),
            port_range: Some((32_768, 60_999)),
            memory_available_bytes: Some(24_000_000_000),
            cpus: Some(2),
            conntrack: None,
            reserved_ports: PortRanges::default(),
            tcp_mem_pages: Some([287_898, 383_867, 575_796]),
            tcp_mem_used_pages: Some(215),
            somaxconn: Some(4096),
            tcp_syncookies: Some(1),
            ..Readings::take()
        }
    }

    #[test]
    fn a_million_fit_where_the_limit_is_20_000_for_each_of_many_tables() {
        let checks = check(&needs(1_000_000, false, &machine()), &machine());
        assert!(worst(&checks) < Level::Fail, "{checks:?}");
        let few = check(&needs(10_000, false, &machine()), &machine());
        assert!(few.iter().any(|check| check.need == "10,072 in one table"), "{few:?}");
    }

    #[test]
    fn connection_tracking_stops_a_million_and_the_fix_is_told() {
        let tracked = Conntrack { count: 3, max: 262_144, ..Conntrack::default() };
        let machine = Readings { conntrack: Some(tracked), ..machine() };
        let checks = check(&needs(1_000_000, false, &machine), &machine);
        let failed: Vec<_> = checks.iter().filter(|check| check.level == Level::Fail).collect();
        assert_eq!(failed.iter().map(|check| check.name).collect::<Vec<_>>(), ["conntrack"]);
        assert!(failed[0].fix.as_ref().is_some_and(|fix| !fix.settings.is_empty()));
    }

    #[test]
    fn towards_another_machine_the_addresses_are_those_there_are() {
        let checks = check(&needs(100_000, true, &machine()), &machine());
        let level = |name| checks.iter().find(|check| check.name == name).map(|check| check.level);
        assert_eq!((level("ephemeral ports"), level("listen backlog")), (Some(Level::Fail), None));
    }
}
