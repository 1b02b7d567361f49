//! Local ports: enough for the connections to open, and none of them one that is served.

use super::figures::count;
use super::{Check, Fix, Level, Needs, Readings, Setting, unreadable};
use crate::proc::port_ranges::PortRanges;

/// All ports that an unprivileged process may use.
const WIDEST_RANGE: (u16, u16) = (1024, 65535);

/// From here on, in percent of all ports, the kernel's search for a free one is slow: it looks at every other port first, and then
/// finds all of these taken (`__inet_hash_connect`).
const QUICK_PERCENT: u64 = 50;

/// Ports for one pair of a source address and a target port.
fn per_pair(range: (u16, u16), reserved: &PortRanges) -> u64 {
    (u64::from(range.1.saturating_sub(range.0)) + 1).saturating_sub(reserved.count_within(range))
}

pub(super) fn ephemeral(needs: &Needs, readings: &Readings) -> Check {
    const NAME: &str = "ephemeral ports";
    let Some(range) = readings.port_range else {
        return unreadable(NAME, count(needs.connections), "net.ipv4.ip_local_port_range");
    };
    let (sources, targets) = (needs.source_addresses.max(1), needs.target_ports.max(1));
    let ports = per_pair(range, &readings.reserved_ports);
    let capacity = ports.saturating_mul(sources).saturating_mul(targets);
    let level = match needs.connections {
        connections if connections > capacity => Level::Fail,
        connections if connections > capacity / 100 * QUICK_PERCENT => Level::Warn,
        _ => Level::Ok,
    };
    let is = if sources == 1 && targets == 1 {
        count(ports)
    } else {
        format!("{} x {} sources x {} targets", count(ports), count(sources), count(targets))
    };
    Check {
        name: NAME,
        level,
        is,
        need: count(needs.connections),
        why: "Each connection needs a local port of its own per source address and target port, and the last half is slow to find."
            .to_owned(),
        fix: (level != Level::Ok).then(|| widen_or_multiply(needs, readings, ports)),
    }
}

/// More addresses or ports, which needs no privilege, and the wider range where that alone is enough.
fn widen_or_multiply(needs: &Needs, readings: &Readings, ports: u64) -> Fix {
    let (sources, targets) = (needs.source_addresses.max(1), needs.target_ports.max(1));
    let wanted = (needs.connections / QUICK_PERCENT).saturating_add(1).saturating_mul(100);
    let pairs = wanted.div_ceil(ports.max(1));
    let loopback = if needs.loopback { " (on loopback any of 127.0.0.0/8)" } else { "" };
    let mut fix = Fix::advice(format!(
        "without privileges: at least {} source addresses{loopback} or {} target ports",
        count(pairs.div_ceil(targets)),
        count(pairs.div_ceil(sources)),
    ));
    let reserved = readings.reserved_ports.union(&needs.served_ports);
    let widened = per_pair(WIDEST_RANGE, &reserved).saturating_mul(sources).saturating_mul(targets);
    if widened >= wanted {
        if reserved != readings.reserved_ports {
            fix.settings.push(reserve(&reserved));
        }
        let (low, high) = WIDEST_RANGE;
        fix.settings.push(Setting::new("net.ipv4.ip_local_port_range", &format!("{low} {high}")));
    }
    fix
}

fn reserve(ports: &PortRanges) -> Setting {
    Setting::new("net.ipv4.ip_local_reserved_ports", ports)
}

/// `None` when nothing is known of served ports.
pub(super) fn served(needs: &Needs, readings: &Readings) -> Option<Check> {
    const NAME: &str = "served ports";
    let served = &needs.served_ports;
    if served.ranges().is_empty() {
        return None;
    }
    let need = "reserved, or not ephemeral".to_owned();
    let Some(range) = readings.port_range else {
        return Some(unreadable(NAME, need, "net.ipv4.ip_local_port_range"));
    };
    let (low, high) = range;
    let reserved = readings.reserved_ports.union(served);
    // What reserving them all would take out of the range.
    let exposed = reserved.count_within(range) - readings.reserved_ports.count_within(range);
    let place = if exposed > 0 {
        format!("{exposed} of {served} inside {low}-{high}")
    } else if served.count_within(range) > 0 {
        format!("{served} reserved")
    } else {
        format!("{served} outside {low}-{high}")
    };
    Some(Check {
        name: NAME,
        level: if exposed > 0 { Level::Warn } else { Level::Ok },
        is: place,
        need,
        why: "An outgoing connection may take such a port, and the server can then not bind it.".to_owned(),
        fix: (exposed > 0).then(|| Fix { settings: vec![reserve(&reserved)], ..Fix::default() }),
    })
}
