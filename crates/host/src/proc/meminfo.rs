//! `/proc/meminfo`: the memory of the machine.

use std::io;

use super::{ParseError, keyed, read_file};

const FILE: &str = "meminfo";

/// Memory of the machine, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineMemory {
    /// What the kernel has.
    pub total_bytes: u64,
    /// What can be had without swapping.
    pub available_bytes: u64,
    /// Kernel objects, sockets among them.
    pub slab_bytes: u64,
}

/// The machine's memory now. A container's own limit is not in it.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn read() -> io::Result<MachineMemory> {
    Ok(parse(&read_file("/proc/meminfo")?)?)
}

/// # Errors
/// When a line is missing or damaged.
pub fn parse(text: &str) -> Result<MachineMemory, ParseError> {
    Ok(MachineMemory {
        total_bytes: keyed::required_bytes(text, FILE, "MemTotal")?,
        available_bytes: keyed::required_bytes(text, FILE, "MemAvailable")?,
        slab_bytes: keyed::required_bytes(text, FILE, "Slab")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str =
        "MemTotal:       24684084 kB\nMemFree:  24210272 kB\nMemAvailable:   24353916 kB\nSlab: 68196 kB\n";

    #[test]
    fn reads_bytes() {
        let expected = MachineMemory {
            total_bytes: 24_684_084 * 1024,
            available_bytes: 24_353_916 * 1024,
            slab_bytes: 68196 * 1024,
        };
        assert_eq!(parse(REAL), Ok(expected));
    }

    #[test]
    fn refuses_damaged_files() {
        for text in ["", "MemTotal: 1 kB\n", "MemTotal: x kB\nMemAvailable: 1 kB\nSlab: 1 kB\n"] {
            parse(text).expect_err(text);
        }
    }

    #[test]
    fn this_machine_has_memory() {
        let memory = read().expect("/proc/meminfo");
        assert!(memory.available_bytes > 0 && memory.available_bytes <= memory.total_bytes);
    }
}
