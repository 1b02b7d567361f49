//! The table in which the kernel looks up the socket of each packet.

use super::figures::count;
use super::{Check, Fix, Level, Needs, Readings};

/// More sockets than this in a bucket are noticed. At 7.6 of them, two million sockets in the table that a kernel makes by itself, a
/// machine spent a fifth of its CPU time on walking through them, each in memory that no cache holds (`__inet_lookup_established`, Linux
/// 6.18).
const SOCKETS_PER_BUCKET_MAX: u64 = 2;

/// The largest table that the kernel makes for a network namespace.
const BUCKETS_MAX: u64 = 1 << 24;

/// `None` where the kernel does not tell, as before Linux 6.1.
pub(super) fn sockets(needs: &Needs, readings: &Readings) -> Option<Check> {
    let buckets = readings.tcp_ehash_buckets?;
    let sockets = needs.sockets();
    let needed = sockets.div_ceil(SOCKETS_PER_BUCKET_MAX).min(BUCKETS_MAX);
    let enough = buckets >= needed;
    Some(Check {
        name: "socket hash",
        level: if enough { Level::Ok } else { Level::Warn },
        is: format!("{} buckets", count(buckets)),
        need: format!("{} for {} sockets", count(needed), count(sockets)),
        why:
            "Every packet looks its socket up in a bucket, which takes the longer the more sockets share it."
                .to_owned(),
        fix: (!enough).then(|| enlarge(sockets.min(BUCKETS_MAX).next_power_of_two())),
    })
}

/// The table of the machine itself is made when it starts, and never again.
fn enlarge(buckets: u64) -> Fix {
    Fix {
        command: Some(format!(
            "sudo sysctl -w net.ipv4.tcp_child_ehash_entries={buckets}   # for network namespaces made from then on, such as those of containers"
        )),
        lasting: Some(format!(
            "and for the machine itself, on the kernel's command line: thash_entries={buckets}"
        )),
        ..Fix::default()
    }
}
