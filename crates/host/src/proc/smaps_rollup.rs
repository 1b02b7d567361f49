//! `/proc/PID/smaps_rollup`: the memory of a process, exactly. The kernel walks the page tables for it, which takes
//! milliseconds for a large process: for measuring, not for scraping.

use std::io;

use super::{ParseError, keyed, read_file};

const FILE: &str = "smaps_rollup";

/// Memory of one process, in bytes, to the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExactMemory {
    /// Resident.
    pub rss_bytes: u64,
    /// Of these, mapped by no other process.
    pub private_bytes: u64,
    /// Of the resident, not backed by a file: heap and stacks.
    pub anonymous_bytes: u64,
}

/// This process.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn read_self() -> io::Result<ExactMemory> {
    Ok(parse(&read_file("/proc/self/smaps_rollup")?)?)
}

/// Another process, of the same user.
///
/// # Errors
/// `NotFound` when there is no such process, `PermissionDenied` when it is somebody else's; else as [`read_self`].
pub fn read(pid: u32) -> io::Result<ExactMemory> {
    Ok(parse(&read_file(&format!("/proc/{pid}/smaps_rollup"))?)?)
}

/// # Errors
/// When a line is missing or damaged.
pub fn parse(text: &str) -> Result<ExactMemory, ParseError> {
    let clean = keyed::required_bytes(text, FILE, "Private_Clean")?;
    let dirty = keyed::required_bytes(text, FILE, "Private_Dirty")?;
    Ok(ExactMemory {
        rss_bytes: keyed::required_bytes(text, FILE, "Rss")?,
        private_bytes: clean.saturating_add(dirty),
        anonymous_bytes: keyed::required_bytes(text, FILE, "Anonymous")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = "\
5580e9b32000-7ffe2c7a2000 ---p 00000000 00:00 0                          [rollup]
Rss:                1668 kB
Pss:                 300 kB
Shared_Clean:       1560 kB
Private_Clean:         8 kB
Private_Dirty:       100 kB
Anonymous:           100 kB
";

    #[test]
    fn private_is_clean_and_dirty_together() {
        let expected =
            ExactMemory { rss_bytes: 1668 * 1024, private_bytes: 108 * 1024, anonymous_bytes: 100 * 1024 };
        assert_eq!(parse(REAL), Ok(expected));
    }

    #[test]
    fn refuses_damaged_files() {
        parse("").expect_err("empty, as for a kernel thread");
        parse(&REAL[..REAL.len() - 20]).expect_err("truncated");
    }

    #[test]
    fn touching_memory_shows_to_the_page() {
        const BYTES: usize = 8 << 20;
        let before = read_self().expect("/proc/self/smaps_rollup");
        let touched = vec![1u8; BYTES];
        let after = read(std::process::id()).expect("own pid");
        assert!(std::hint::black_box(&touched).iter().all(|&byte| byte == 1));
        // Other tests of this process may free memory meanwhile, but not that much.
        assert!(after.private_bytes - before.private_bytes.min(after.private_bytes) >= BYTES as u64 / 2);
    }
}
