//! How many workers, descriptor tables and source addresses a number of connections needs on a machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tidemark_host::cpu::{self, CpuSet};
use tidemark_host::{fdtable, limits, proc::sysctl};

use crate::plan::PlanError;
use crate::scenario::Scenario;

/// Descriptors of a table that are not connections: standard streams, poll, timer, wake, log files, and some to spare.
const DESCRIPTORS_RESERVED: u64 = 64;
/// More worker threads than this are a mistake on any machine.
pub const WORKERS_MAX: u16 = 1024;
/// The share of the ephemeral ports of one pair of addresses that is counted on: others use the machine as well.
const PORTS_USABLE: f64 = 0.7;
/// The share of them that is found quickly. The kernel looks at every other port first (`__inet_hash_connect` steps by two), so that
/// beyond the half each connect looks through all of these in vain: 17,000 connects a second become 400.
const PORTS_QUICK: f64 = 0.45;
/// Source addresses a range may hold.
const SOURCES_MAX: u64 = 65_536;
/// The port range where the kernel does not tell it.
pub const PORT_RANGE_DEFAULT: (u16, u16) = (32_768, 60_999);

/// What the machine allows, as far as a plan depends on it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPUs this process may use.
    pub cpus: CpuSet,
    /// Descriptors per table.
    pub nofile: u64,
    /// Whether threads can have tables of their own.
    pub private_fd_tables: bool,
    /// Ephemeral ports, first and last.
    pub port_range: (u16, u16),
}

impl Machine {
    /// Reads this machine, raising the soft descriptor limit to the hard one.
    ///
    /// # Errors
    /// When the limit or the CPUs cannot be read.
    pub fn read() -> std::io::Result<Self> {
        Ok(Self {
            cpus: cpu::allowed()?,
            nofile: limits::raise_nofile()?.soft,
            private_fd_tables: fdtable::can_be_private(),
            port_range: sysctl::ip_local_port_range().unwrap_or(PORT_RANGE_DEFAULT),
        })
    }
}

/// Descriptor tables that this many connections need, of `nofile` descriptors each. The eventfds that wake the workers are in
/// every table, because they are opened before the tables part. More than [`WORKERS_MAX`] when no number suffices.
pub fn tables_needed(connections: u64, nofile: u64) -> u64 {
    let fits = |tables: &u64| connections.div_ceil(*tables) + DESCRIPTORS_RESERVED + tables <= nofile;
    (1..=u64::from(WORKERS_MAX)).find(fits).unwrap_or(u64::from(WORKERS_MAX) + 1)
}

/// Source addresses from which this many connections are quickly opened towards `target_ports` ports of one address.
pub fn sources_quick(connections: u64, port_range: (u16, u16), target_ports: u64) -> u64 {
    connections.div_ceil((ports(port_range, PORTS_QUICK) * target_ports).max(1))
}

/// A share of the ports of a range.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "under 2^16 and positive")]
fn ports((first, last): (u16, u16), share: f64) -> u64 {
    ((f64::from(last.saturating_sub(first)) + 1.0) * share) as u64
}

/// How many workers, and whether their descriptor tables must be their own.
///
/// # Errors
/// When the descriptors do not suffice: then with what would help.
pub fn workers(
    scenario: &Scenario,
    machine: &Machine,
    is_local: bool,
    notes: &mut Vec<String>,
) -> Result<(usize, bool), PlanError> {
    let connections = scenario.connections();
    let tables = tables_needed(connections, machine.nofile);
    let cpus = scenario.pin.as_ref().unwrap_or(&machine.cpus).len();
    // A local target needs CPUs as well.
    let wanted = if is_local && scenario.pin.is_none() { cpus.div_ceil(2) } else { cpus };
    let wanted = scenario.workers.map_or(wanted, usize::from);
    if tables == 1 {
        // Every one has a connection of the largest population at least.
        return Ok((wanted.min(usize::try_from(scenario.most_connections()).unwrap_or(usize::MAX)), false));
    }
    let limit =
        format!("{connections} connections need more than the {} descriptors of one table", machine.nofile);
    if !machine.private_fd_tables || tables > u64::from(WORKERS_MAX) {
        let fix = "raise the limit (ulimit -n), or allow unshare(CLONE_FILES) so that each worker has a table of its own";
        return Err(PlanError::Host(format!("{limit}; {fix}")));
    }
    let needed = usize::try_from(tables).unwrap_or(usize::MAX);
    if let Some(given) = scenario.workers
        && usize::from(given) < needed
    {
        return Err(PlanError::Host(format!(
            "{limit}: use --workers {needed} or more (or leave --workers out)"
        )));
    }
    if needed > wanted {
        notes.push(format!("workers: {needed} instead of {wanted}, because {limit}"));
    }
    Ok((wanted.max(needed), true))
}

/// What connects to one set of addresses.
#[derive(Clone, Debug)]
pub struct Towards<'a> {
    /// The addresses: one for each port.
    pub addresses: &'a [SocketAddr],
    /// Connections at once, those whose port is not free again yet included.
    pub connections: u64,
}

/// The local addresses, when they must or shall not be left to the kernel.
///
/// # Errors
/// When the range is not understood, or the ports do not suffice: then with what would help.
pub fn sources(
    source: Option<&str>,
    machine: &Machine,
    towards: &[Towards<'_>],
    notes: &mut Vec<String>,
) -> Result<Vec<IpAddr>, PlanError> {
    let given = source.map(parse_sources).transpose().map_err(PlanError::Usage)?;
    if let Some(given) = &given
        && towards.iter().any(|it| given[0].is_ipv4() != it.addresses[0].is_ipv4())
    {
        let why = "--source: the addresses are not of the target's family (IPv4 or IPv6)";
        return Err(PlanError::Usage(why.to_owned()));
    }
    let ports_usable = ports(machine.port_range, PORTS_USABLE);
    let needed =
        |it: &Towards<'_>| it.connections.div_ceil((ports_usable * it.addresses.len() as u64).max(1));
    // One set of sources does for all: a port that is taken towards one address is free towards another.
    let quick =
        |it: &Towards<'_>| sources_quick(it.connections, machine.port_range, it.addresses.len() as u64);
    let Some(most) = towards.iter().max_by_key(|it| (needed(it), quick(it))) else { return Ok(Vec::new()) };
    let (Towards { addresses, connections }, needed, quick) = (most, needed(most), quick(most));
    let per_source = ports_usable * addresses.len() as u64;
    let slow = |sources: u64| {
        format!(
            "about half or more of the ephemeral ports of {sources} source address{} will be taken, and the kernel finds the others slowly: \
             connecting takes longer with the last ones; --source {quick} addresses, or more target ports, avoid that",
            if sources == 1 { "" } else { "es" }
        )
    };
    if let Some(given) = given {
        if (given.len() as u64) < needed {
            let why = format!(
                "{connections} connections need {needed} source addresses towards {} target ports, --source names {}",
                addresses.len(),
                given.len()
            );
            return Err(PlanError::Host(format!(
                "{why}; name more, or serve on more ports (tcp://HOST:PORT-PORT)"
            )));
        }
        if (given.len() as u64) < quick {
            notes.push(slow(given.len() as u64));
        }
        return Ok(given);
    }
    if quick <= 1 {
        return Ok(Vec::new());
    }
    // Every address of 127.0.0.0/8 is this machine's own.
    if addresses.iter().all(|address| address.ip().is_loopback() && address.is_ipv4()) && quick < SOURCES_MAX
    {
        let quickly = ports(machine.port_range, PORTS_QUICK) * addresses.len() as u64;
        notes.push(format!(
            "source addresses: {quick} of 127.0.0.0/8, because the kernel finds some {quickly} ephemeral ports of one quickly"
        ));
        let first = u32::from(Ipv4Addr::LOCALHOST);
        #[expect(clippy::cast_possible_truncation, reason = "checked against SOURCES_MAX")]
        let addresses = (0..quick as u32).map(|offset| IpAddr::V4(Ipv4Addr::from(first + offset)));
        return Ok(addresses.collect());
    }
    if needed <= 1 {
        notes.push(slow(1));
        return Ok(Vec::new());
    }
    let fix = "add --source ADDR-RANGE, serve on more ports (tcp://HOST:PORT-PORT), or widen net.ipv4.ip_local_port_range";
    Err(PlanError::Host(format!(
        "{connections} connections need more than the about {per_source} ephemeral ports of one source address; {fix}"
    )))
}

/// The addresses of `--source`, at least one.
///
/// # Errors
/// When it is no range of addresses: what is wrong, and how to write one.
pub fn parse_sources(text: &str) -> Result<Vec<IpAddr>, String> {
    let error =
        |why: &str| format!("--source '{text}': {why}; write ADDR or ADDR-ADDR, such as 10.0.0.2-10.0.0.9");
    let parse = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| error("not an IP address"));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (parse(first)?, parse(last)?),
        None => (parse(text)?, parse(text)?),
    };
    let (first, last, is_v4) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            (u128::from(u32::from(first)), u128::from(u32::from(last)), true)
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => (u128::from(first), u128::from(last), false),
        _ => return Err(error("one address is IPv4 and the other IPv6")),
    };
    if first > last {
        return Err(error("the range runs backwards"));
    }
    if last - first >= u128::from(SOURCES_MAX) {
        return Err(error("the range has more than 65536 addresses"));
    }
    let address = |bits: u128| match u32::try_from(bits) {
        Ok(bits) if is_v4 => IpAddr::V4(Ipv4Addr::from(bits)),
        _ => IpAddr::V6(Ipv6Addr::from(bits)),
    };
    Ok((first..=last).map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_ranges_count_up() {
        assert_eq!(parse_sources("10.0.0.255-10.0.1.0").unwrap().len(), 2);
        assert_eq!(parse_sources("fd00::1-fd00::10").unwrap().len(), 16);
    }
}
