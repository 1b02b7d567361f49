//! Open descriptors: per table, and on the whole machine.

use super::figures::count;
use super::{Check, Fix, Level, Needs, Readings, Setting, unreadable};

/// Descriptors of a process that are no connections: standard streams, log files, the admin plane, pollers, timers.
const RESERVED_PER_PROCESS: u64 = 64;

/// Descriptors of each worker besides listeners: poller, timer, and some to spare.
const RESERVED_PER_WORKER: u64 = 8;

/// One in so many more files than are needed now, for others open some, too.
const FILE_MAX_SPARE: u64 = 10;

const NR_OPEN: &str = "fs.nr_open";

/// Beyond this many workers the advice to use more of them would be none.
const WORKERS_MAX: u64 = 1024;

/// Descriptors that the fullest table must hold. Each process has as many as there are connections, also where both
/// ends run here.
fn per_table_need(needs: &Needs, workers: u64, private: bool) -> u64 {
    let workers = workers.max(1);
    let listeners = if needs.serves() { needs.served_ports.count_within((0, u16::MAX)) } else { 0 };
    let own = RESERVED_PER_WORKER + listeners;
    let (connections, reserved) = if private {
        // The eventfds that wake the workers are in every table, because they are opened before the tables part.
        (largest_share(needs, workers), own.saturating_add(workers))
    } else {
        (needs.connections, own.saturating_mul(workers))
    };
    connections.saturating_add(reserved).saturating_add(RESERVED_PER_PROCESS)
}

/// What one worker may get. A load generator deals its connections out; to a server the kernel spreads them over the
/// listeners by hash, so that shares scatter like a Poisson count: three standard deviations above the mean.
fn largest_share(needs: &Needs, workers: u64) -> u64 {
    let mean = needs.connections.div_ceil(workers);
    if workers == 1 || !needs.serves() {
        mean
    } else {
        mean.saturating_add(mean.isqrt().saturating_add(1).saturating_mul(3))
    }
}

/// The need with the tables as they would be: private only where that is asked for and possible.
fn need_here(needs: &Needs, readings: &Readings) -> (u64, bool) {
    let private = needs.private_fd_tables && readings.can_be_private;
    (per_table_need(needs, needs.workers, private), private)
}

pub(super) fn per_table(needs: &Needs, readings: &Readings) -> Check {
    let (need, private) = need_here(needs, readings);
    let hard = readings.nofile.hard;
    let enough = hard >= need;
    let tables = if private {
        format!("in each of {} tables", count(needs.workers.max(1)))
    } else {
        "in one table".to_owned()
    };
    Check {
        name: "descriptors",
        level: if enough { Level::Ok } else { Level::Fail },
        is: format!("{} per table", count(hard)),
        need: format!("{} {tables}", count(need)),
        why: "Every connection is a descriptor, and at the limit no more can be opened or accepted."
            .to_owned(),
        fix: (!enough).then(|| raise_or_spread(needs, readings, need)),
    }
}

/// The fewest workers with a descriptor table each, of `nofile` descriptors, that hold the connections. `None` when no number
/// of them does.
pub fn workers_needed(needs: &Needs, nofile: u64) -> Option<u64> {
    (1..=WORKERS_MAX).find(|&workers| per_table_need(needs, workers, true) <= nofile)
}

/// Private tables where they would do, and what raises the limit.
fn raise_or_spread(needs: &Needs, readings: &Readings, need: u64) -> Fix {
    let workers = workers_needed(needs, readings.nofile.hard);
    let spread = |workers| {
        format!("without privileges: private descriptor tables and at least {workers} workers; or:")
    };
    let must_raise_nr_open = readings.nr_open.is_some_and(|nr_open| nr_open < need);
    Fix {
        advice: workers.filter(|_| readings.can_be_private).map(spread),
        settings: must_raise_nr_open.then(|| Setting::new(NR_OPEN, &need)).into_iter().collect(),
        command: Some(format!(
            "sudo prlimit --pid $$ --nofile={need}:{need}   # for this shell and what it starts"
        )),
        lasting: Some(format!(
            "in /etc/security/limits.d/90-tidemark.conf: * - nofile {need}   (a service: LimitNOFILE={need})"
        )),
    }
}

pub(super) fn private_tables(needs: &Needs, readings: &Readings) -> Check {
    let missing = needs.private_fd_tables && !readings.can_be_private;
    Check {
        name: "fd tables",
        level: if missing { Level::Warn } else { Level::Ok },
        is: if readings.can_be_private { "private tables work" } else { "private tables are forbidden" }.to_owned(),
        need: if needs.private_fd_tables { "one per worker" } else { "one per process" }.to_owned(),
        why: "The limit on descriptors holds per table, so a table per worker multiplies it.".to_owned(),
        fix: missing.then(|| {
            Fix::advice(
                "let unshare(2) pass the container's seccomp filter: docker run --security-opt seccomp=unconfined",
            )
        }),
    }
}

pub(super) fn nr_open(needs: &Needs, readings: &Readings) -> Check {
    const NAME: &str = "nr_open";
    let (need, _) = need_here(needs, readings);
    let Some(nr_open) = readings.nr_open else {
        return unreadable(NAME, count(need), "fs.nr_open");
    };
    let enough = nr_open >= need;
    Check {
        name: NAME,
        level: if enough { Level::Ok } else { Level::Fail },
        is: count(nr_open),
        need: count(need),
        why: "Not even root can raise the limit per table above this.".to_owned(),
        fix: (!enough).then(|| Fix::setting(NR_OPEN, &need)),
    }
}

pub(super) fn file_max(needs: &Needs, readings: &Readings) -> Check {
    const NAME: &str = "file-max";
    let files = needs.sockets().saturating_add(RESERVED_PER_PROCESS);
    let (Some(max), Some(open)) = (readings.file_max, readings.files_open) else {
        return unreadable(NAME, count(files), "fs.file-max");
    };
    let need = files.saturating_add(open);
    let enough = max >= need;
    Check {
        name: NAME,
        level: if enough { Level::Ok } else { Level::Fail },
        // The default on current systems is i64::MAX, which nobody wants to read out.
        is: if max >= i64::MAX.unsigned_abs() { count(u64::MAX) } else { count(max) },
        need: count(need),
        why: "All open files of the machine together stop here, with ENFILE for everyone.".to_owned(),
        fix: (!enough).then(|| Fix::setting("fs.file-max", &need.saturating_add(need / FILE_MAX_SPARE))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn more_workers_never_raise_a_share_and_shares_cover_all(connections: u32, workers in 1u64..2000) {
            let connections = u64::from(connections);
            let needs = Needs { connections, ..Needs::default() };
            let share = largest_share(&needs, workers);
            prop_assert!(share.saturating_mul(workers) >= connections);
            if workers > 1 {
                prop_assert!(largest_share(&needs, workers + 1) <= share);
            }
        }
    }
}
