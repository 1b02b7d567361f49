//! CPUs and the clock.

use super::figures::count;
use super::{Check, Fix, Level, Needs, Readings, unreadable};

/// Clock sources that a program reads without entering the kernel.
const FAST_CLOCKS: [&str; 7] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
    "riscv_clocksource",
    "timebase",
    "tod",
];

pub(super) fn cpus(needs: &Needs, readings: &Readings) -> Check {
    const NAME: &str = "CPUs";
    let both_ends = needs.ends() == 2;
    let (need, why) = if both_ends {
        (2, "Server and load generator on one CPU take turns, and the latency is then that of the scheduler.")
    } else {
        (
            // Where it takes so many to have the descriptors, they are as many as they are.
            if needs.private_fd_tables { 1 } else { needs.workers.max(1) },
            "Workers that share a CPU take turns, and the latency is then that of the scheduler.",
        )
    };
    let Some(cpus) = readings.cpus else {
        return unreadable(NAME, count(need), "The CPU affinity");
    };
    let enough = cpus >= need;
    let fix = if both_ends {
        "give it a second CPU, or run the other end elsewhere".to_owned()
    } else {
        format!("use {} workers", count(cpus))
    };
    Check {
        name: NAME,
        level: if enough { Level::Ok } else { Level::Warn },
        is: count(cpus),
        need: format!("{} or more", count(need)),
        why: why.to_owned(),
        fix: (!enough).then(|| Fix::advice(fix)),
    }
}

pub(super) fn clock(readings: &Readings) -> Check {
    const NAME: &str = "clock source";
    let need = "read without a system call";
    let source = readings.clocksource.as_str();
    if source.is_empty() {
        return unreadable(NAME, need.to_owned(), "The clock source");
    }
    let fast = FAST_CLOCKS.contains(&source);
    let better =
        FAST_CLOCKS.iter().find(|fast| readings.clocksources_available.iter().any(|have| have == *fast));
    Check {
        name: NAME,
        level: if fast { Level::Ok } else { Level::Warn },
        is: source.to_owned(),
        need: need.to_owned(),
        why: "Every request reads the clock several times, and a slow clock shows in its latency.".to_owned(),
        fix: better.filter(|_| !fast).map(|better| Fix {
            command: Some(format!(
                "echo {better} | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource"
            )),
            lasting: Some(format!("on the kernel's command line: clocksource={better}")),
            ..Fix::default()
        }),
    }
}
