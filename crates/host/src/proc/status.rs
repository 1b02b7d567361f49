//! `/proc/PID/status`: the memory of a process, cheaply. For exact figures see [`super::smaps_rollup`].

use std::io;

use super::{ParseError, keyed, read_file};

const FILE: &str = "status";

/// Memory of one process, in bytes.
///
/// Some kernels (6.2 to 6.16) report these from per-CPU counters without adding up the last few dozen pages of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub rss_bytes: u64,
    /// Of these, neither backed by a file nor shared: heap and stacks.
    pub rss_anon_bytes: u64,
    /// The most that ever was resident.
    pub rss_peak_bytes: u64,
    /// Mapped, resident or not.
    pub virtual_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
}

/// This process.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn read_self() -> io::Result<Memory> {
    Ok(parse(&read_file("/proc/self/status")?)?)
}

/// Another process.
///
/// # Errors
/// `NotFound` when there is no such process; else as [`read_self`], also for a kernel thread, which has no memory.
pub fn read(pid: u32) -> io::Result<Memory> {
    Ok(parse(&read_file(&format!("/proc/{pid}/status"))?)?)
}

/// # Errors
/// When `VmRSS` or `VmSize` is missing (the process is a kernel thread, or has just ended), or a number is damaged.
pub fn parse(text: &str) -> Result<Memory, ParseError> {
    Ok(Memory {
        rss_bytes: keyed::required_bytes(text, FILE, "VmRSS")?,
        rss_anon_bytes: keyed::required_bytes(text, FILE, "RssAnon")?,
        rss_peak_bytes: keyed::required_bytes(text, FILE, "VmHWM")?,
        virtual_bytes: keyed::required_bytes(text, FILE, "VmSize")?,
        // Absent in a kernel without swap.
        swap_bytes: keyed::bytes(text, FILE, "VmSwap")?.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = "\
Name:	VmRSS: 9 kB
State:	R (running)
VmPeak:	    3000 kB
VmSize:	    2928 kB
VmHWM:	    1900 kB
VmRSS:	    1804 kB
RssAnon:	     112 kB
RssFile:	    1692 kB
VmSwap:	       1 kB
Threads:	1
";

    #[test]
    fn reads_bytes() {
        let expected = Memory {
            rss_bytes: 1804 * 1024,
            rss_anon_bytes: 112 * 1024,
            rss_peak_bytes: 1900 * 1024,
            virtual_bytes: 2928 * 1024,
            swap_bytes: 1024,
        };
        assert_eq!(parse(REAL), Ok(expected));
    }

    #[test]
    fn refuses_a_kernel_thread_and_damaged_files() {
        let error = parse("Name:\tkthreadd\nState:\tS (sleeping)\n").expect_err("no memory");
        assert_eq!(error.to_string(), "status: VmRSS is missing");
        parse("").expect_err("empty");
        parse(&REAL[..REAL.len() / 2]).expect_err("truncated");
    }

    #[test]
    fn this_process_is_the_same_from_outside() {
        let own = read_self().expect("/proc/self/status");
        assert!(
            own.rss_bytes > 0 && own.rss_anon_bytes <= own.rss_bytes && own.rss_bytes <= own.virtual_bytes
        );
        assert!(read(std::process::id()).expect("own pid").rss_peak_bytes > 0);
    }
}
