//! Tables and queues of the kernel that drop connections when they are full.

use super::figures::count;
use super::{Check, Fix, Level, Needs, Readings, unreadable};

/// Closed flows stay in the table for up to two minutes, so it is advised to be this much larger than the need.
const CONNTRACK_SPARE: u64 = 2;

/// `None` where connection tracking is not loaded.
pub(super) fn conntrack(needs: &Needs, readings: &Readings) -> Option<Check> {
    let table = readings.conntrack?;
    // A loopback connection is one flow, although both its ends are here.
    let need = needs.connections.saturating_add(table.count);
    let (level, state) = match table.count {
        _ if need <= table.max => (Level::Ok, ""),
        // Loaded but without a rule that makes it track. That changes as soon as somebody adds one.
        0 => (Level::Warn, ", tracks nothing now"),
        _ => (Level::Fail, ", active"),
    };
    let advised = need.saturating_mul(CONNTRACK_SPARE);
    Some(Check {
        name: "conntrack",
        level,
        is: format!("{} flows{state}", count(table.max)),
        need: count(need),
        why: "When the table is full, new connections time out in silence, on loopback too.".to_owned(),
        fix: (level != Level::Ok).then(|| Fix::setting("net.netfilter.nf_conntrack_max", &advised)),
    })
}

pub(super) fn accept(needs: &Needs, readings: &Readings) -> Check {
    const NAME: &str = "listen backlog";
    let need = needs.backlog;
    let Some(is) = readings.somaxconn else {
        return unreadable(NAME, count(need), "net.core.somaxconn");
    };
    let enough = is >= need;
    Check {
        name: NAME,
        level: if enough { Level::Ok } else { Level::Warn },
        is: count(is),
        need: count(need),
        why: "A longer backlog is silently cut down to this, and a full one drops handshakes.".to_owned(),
        fix: (!enough).then(|| Fix::setting("net.core.somaxconn", &need)),
    }
}

pub(super) fn syn(needs: &Needs, readings: &Readings) -> Check {
    const NAME: &str = "SYN backlog";
    let need = needs.backlog;
    let Some(is) = readings.tcp_max_syn_backlog else {
        return unreadable(NAME, count(need), "net.ipv4.tcp_max_syn_backlog");
    };
    // With cookies the kernel does not look at this setting.
    let has_cookies = readings.tcp_syncookies.is_some_and(|cookies| cookies > 0);
    let enough = has_cookies || is >= need;
    Check {
        name: NAME,
        level: if enough { Level::Ok } else { Level::Warn },
        is: format!("{}, SYN cookies {}", count(is), if has_cookies { "on" } else { "off" }),
        need: if has_cookies { "any, with cookies".to_owned() } else { count(need) },
        why: "Without SYN cookies, SYNs beyond this are dropped and come again a second later.".to_owned(),
        fix: (!enough).then(|| Fix::setting("net.ipv4.tcp_max_syn_backlog", &need)),
    }
}
