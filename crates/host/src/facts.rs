//! What this machine is, as it goes into a report.

use serde::{Deserialize, Serialize};

use crate::proc::{conntrack, meminfo, sysctl};
use crate::{cpu, fdtable, limits};

/// The kernel's default for `net.ipv4.ip_local_port_range`.
const PORT_RANGE_DEFAULT: (u16, u16) = (32768, 60999);

/// The machine that a run was made on. What could not be found out is an empty string or `None`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Facts {
    /// Its name in the network.
    pub hostname: String,
    /// The kernel's release, such as `6.1.0-18-amd64`.
    pub kernel: String,
    /// The operating system, such as `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// The instruction set, such as `x86_64`.
    pub arch: String,
    /// The CPU as it calls itself.
    pub cpu_model: String,
    /// CPUs that are online.
    pub cpus: Option<u64>,
    /// The CPUs that this thread may run on, as a list such as `0,2-3`.
    pub cpus_allowed: String,
    /// What the kernel reads the time from, such as `tsc`.
    pub clocksource: String,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// Descriptors per table that hold now.
    pub nofile_soft: u64,
    /// Descriptors per table that the soft limit can be raised to.
    pub nofile_hard: u64,
    /// Whether a thread can have a descriptor table of its own.
    pub private_fd_tables: bool,
    /// First and last ephemeral port; the kernel's default where the setting cannot be read.
    pub port_range: (u16, u16),
    /// What a listener's backlog is cut down to.
    pub somaxconn: Option<u64>,
    /// Whether connection tracking is loaded.
    pub conntrack: bool,
    /// How many flows it can track.
    pub conntrack_max: Option<u64>,
}

/// The facts of this machine. Never fails.
pub fn facts() -> Facts {
    let uname = rustix::system::uname();
    let limits = limits::nofile();
    let conntrack = conntrack::read().ok().flatten();
    Facts {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        os: os_name(&text_of("/etc/os-release")),
        arch: uname.machine().to_string_lossy().into_owned(),
        cpu_model: cpu_model(&text_of("/proc/cpuinfo")),
        cpus: cpus_online(),
        cpus_allowed: cpu::allowed().map(|cpus| cpus.to_string()).unwrap_or_default(),
        clocksource: clocksource(),
        memory_bytes: meminfo::read().ok().map(|memory| memory.total_bytes),
        nofile_soft: limits.soft,
        nofile_hard: limits.hard,
        private_fd_tables: fdtable::can_be_private(),
        port_range: sysctl::ip_local_port_range().unwrap_or(PORT_RANGE_DEFAULT),
        somaxconn: sysctl::somaxconn().ok(),
        conntrack: conntrack.is_some(),
        conntrack_max: conntrack.map(|table| table.max),
    }
}

/// CPUs that are online, whoever may use them.
fn cpus_online() -> Option<u64> {
    let online: cpu::CpuSet = text_of("/sys/devices/system/cpu/online").parse().ok()?;
    Some(online.len() as u64)
}

/// What the kernel reads the time from; empty when unknown.
pub(crate) fn clocksource() -> String {
    text_of("/sys/devices/system/clocksource/clocksource0/current_clocksource").trim().to_owned()
}

/// What it could read the time from.
pub(crate) fn clocksources_available() -> Vec<String> {
    let list = text_of("/sys/devices/system/clocksource/clocksource0/available_clocksource");
    list.split_whitespace().map(str::to_owned).collect()
}

fn text_of(path: &str) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// `PRETTY_NAME` of an `os-release` file, without the shell's quotes.
fn os_name(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    value.unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
}

/// The first CPU's name. x86 says `model name`; Arm mostly says nothing, a few boards have `Model` or `Hardware`.
fn cpu_model(cpuinfo: &str) -> String {
    let value = |name: &str| {
        cpuinfo.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)
    };
    let model = ["model name", "Model", "Hardware", "cpu model"].into_iter().find_map(value);
    model.map(|(_, model)| model.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_names() {
        assert_eq!(os_name("NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
        assert_eq!(os_name("PRETTY_NAME=Void\n"), "Void");
        assert_eq!(os_name(""), "");
        let cpuinfo = "processor\t: 0\nmodel\t\t: 167\nmodel name\t: Intel(R) Xeon(R): 2\nprocessor : 1\nmodel name : other\n";
        assert_eq!(cpu_model(cpuinfo), "Intel(R) Xeon(R): 2");
        assert_eq!(
            cpu_model("processor\t: 0\nBogoMIPS\t: 50.00\n\nModel\t: Raspberry Pi 5\n"),
            "Raspberry Pi 5"
        );
        assert_eq!(cpu_model("garbage"), "");
    }

    #[test]
    fn this_machine_is_described_and_survives_json() {
        let facts = facts();
        assert!(!facts.kernel.is_empty() && !facts.arch.is_empty());
        assert!(facts.nofile_soft <= facts.nofile_hard);
        assert!(facts.memory_bytes.is_some_and(|bytes| bytes > 0));
        let allowed: cpu::CpuSet = facts.cpus_allowed.parse().expect("a list of CPUs");
        assert!(facts.cpus.is_some_and(|online| online >= allowed.len() as u64));
        let json = serde_json::to_string(&facts).expect("plain data");
        assert_eq!(serde_json::from_str::<Facts>(&json).expect("own output"), facts);
    }

    proptest! {
        #[test]
        fn names_are_read_from_any_text(text in "(?s).{0,100}") {
            let _ = (os_name(&text), cpu_model(&text));
        }
    }
}
