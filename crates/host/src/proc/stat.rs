//! `/proc/stat`: how each CPU has spent its time since boot. In a virtual machine `steal` is what the host took away.

use std::io;

use super::{ParseError, next_number, number, read_file};

const FILE: &str = "stat";

/// Times of one CPU since boot, in ticks (see [`ticks_per_second`]).
///
/// `guest` and `guest_nice` are not here: the kernel has counted them into `user` and `nice` already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Which CPU. 0 in a sum over CPUs.
    pub cpu: usize,
    /// User mode.
    pub user: u64,
    /// User mode at low priority.
    pub nice: u64,
    /// Kernel mode.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do while a disk request is under way.
    pub iowait: u64,
    /// Hardware interrupts.
    pub irq: u64,
    /// Software interrupts: most of the network stack's receiving side.
    pub softirq: u64,
    /// Ready to run, while the hypervisor ran somebody else.
    pub steal: u64,
}

impl CpuTimes {
    /// All ticks together.
    pub fn total(&self) -> u64 {
        [self.user, self.nice, self.system, self.idle, self.iowait, self.irq, self.softirq, self.steal]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// What was added since an earlier reading of the same CPU. Never below zero (`idle` and `iowait` may run
    /// backwards by a tick).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self { cpu: self.cpu, ..self.zip(earlier, u64::saturating_sub) }
    }

    /// The share of the time that the hypervisor took away, 0 to 1; 0 when no time has passed.
    pub fn steal_fraction(&self) -> f64 {
        match self.total() {
            0 => 0.0,
            total => self.steal as f64 / total as f64,
        }
    }

    fn zip(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            cpu: 0,
            user: combine(self.user, other.user),
            nice: combine(self.nice, other.nice),
            system: combine(self.system, other.system),
            idle: combine(self.idle, other.idle),
            iowait: combine(self.iowait, other.iowait),
            irq: combine(self.irq, other.irq),
            softirq: combine(self.softirq, other.softirq),
            steal: combine(self.steal, other.steal),
        }
    }
}

/// The times of several CPUs added up.
pub fn sum(cpus: &[CpuTimes]) -> CpuTimes {
    cpus.iter().fold(CpuTimes::default(), |sum, cpu| sum.zip(cpu, u64::saturating_add))
}

/// How many ticks make a second (100 on nearly every Linux).
pub fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// The times of every CPU that is online.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn read() -> io::Result<Vec<CpuTimes>> {
    Ok(parse(&read_file("/proc/stat")?)?)
}

/// # Errors
/// When there is no line of a CPU, or one is damaged.
pub fn parse(text: &str) -> Result<Vec<CpuTimes>, ParseError> {
    let mut cpus = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        // The line `cpu` without a number is the sum over the others.
        let Some(id) = fields.next().and_then(|name| name.strip_prefix("cpu")).filter(|id| !id.is_empty())
        else {
            continue;
        };
        let mut ticks = |name| next_number(&mut fields, FILE, name);
        cpus.push(CpuTimes {
            cpu: number(id, FILE, "the CPU's id")?,
            user: ticks("user")?,
            nice: ticks("nice")?,
            system: ticks("system")?,
            idle: ticks("idle")?,
            iowait: ticks("iowait")?,
            irq: ticks("irq")?,
            softirq: ticks("softirq")?,
            steal: ticks("steal")?,
        });
    }
    if cpus.is_empty() { Err(ParseError::new(FILE, "names no CPU")) } else { Ok(cpus) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = "\
cpu  26711 0 3308 133604 411 0 37 12 0 0
cpu0 11372 0 1378 69218 56 0 4 4 0 0
cpu3 15339 1 1929 64386 355 2 33 7 9 9
intr 205333 0 0 0
ctxt 284765
softirq 110099 0 18436 4 7484 15452 0 544 30487 0 37692
";

    #[test]
    fn reads_each_cpu_under_its_own_id() {
        let cpus = parse(REAL).expect("real");
        assert_eq!(cpus.iter().map(|cpu| cpu.cpu).collect::<Vec<_>>(), [0, 3]);
        let expected = CpuTimes {
            cpu: 3,
            user: 15339,
            nice: 1,
            system: 1929,
            idle: 64386,
            iowait: 355,
            irq: 2,
            softirq: 33,
            steal: 7,
        };
        assert_eq!(cpus[1], expected);
        assert_eq!(
            cpus[1].total(),
            15339 + 1 + 1929 + 64386 + 355 + 2 + 33 + 7,
            "guest time is not added twice"
        );
    }

    #[test]
    fn steal_is_a_share_of_the_time_between_two_readings() {
        let earlier = CpuTimes { cpu: 1, user: 100, idle: 50, steal: 10, ..CpuTimes::default() };
        let later = CpuTimes { user: 160, idle: 49, steal: 50, ..earlier };
        let between = later.since(&earlier);
        assert_eq!(between, CpuTimes { cpu: 1, user: 60, steal: 40, ..CpuTimes::default() });
        assert!((between.steal_fraction() - 0.4).abs() < 1e-12);
        assert!(CpuTimes::default().steal_fraction().abs() < 1e-12);
        assert_eq!(sum(&[between, between]).steal, 80);
    }

    #[test]
    fn refuses_damaged_files() {
        for text in [
            "",
            "cpu  1 2 3 4 5 6 7 8\n",
            "cpu0 1 2 3\n",
            "cpu0 1 2 3 4 5 6 7 -8\n",
            "cpux 1 2 3 4 5 6 7 8\n",
        ] {
            parse(text).expect_err(text);
        }
        parse("cpu0 1 2 3 4 5 6 7 99999999999999999999\n").expect_err("above u64");
        let full = parse(&format!("cpu0{}\n", " 18446744073709551615".repeat(8))).expect("fits");
        assert_eq!(full[0].total(), u64::MAX, "saturates");
    }

    #[test]
    fn this_machine_has_run_for_a_while() {
        let cpus = read().expect("/proc/stat");
        assert!(sum(&cpus).total() > 0);
        assert!(ticks_per_second() > 0);
    }
}
