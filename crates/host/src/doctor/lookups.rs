//! The table in which the kernel looks up the socket of each packet.

use super::figures::count;
use super::{Check, Fix, Level, Needs, Readings, Setting};

/// As many sockets may share a bucket. At 7.6, two million sockets in the table that a kernel makes by itself, a machine spent a fifth of
/// its CPU time on walking through them, each in memory that no cache holds (`__inet_lookup_established`, Linux 6.18), and at a half of
/// one a third of that. From where on it shows lies between, and was not measured.
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
        // One for each socket is advised, of which it is known what it gives.
        fix: (!enough).then(|| enlarge(sockets.min(BUCKETS_MAX).next_power_of_two())),
    })
}

/// The table of the machine itself is made when it starts, and never again. So it is no setting of the fix: `scripts/tune-host` would
/// change nothing for the machine that it runs on.
fn enlarge(buckets: u64) -> Fix {
    let of_namespaces = Setting::new("net.ipv4.tcp_child_ehash_entries", &buckets).command();
    Fix {
        command: Some(format!(
            "{of_namespaces}   # for network namespaces made from then on, such as those of containers"
        )),
        lasting: Some(format!(
            "and for the machine itself, on the kernel's command line: thash_entries={buckets}"
        )),
        ..Fix::default()
    }
}
