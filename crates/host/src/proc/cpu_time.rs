//! CPU time: of this process and thread by clock, to the nanosecond; of another process from `/proc/PID/stat`, in ticks.

use std::io;

use rustix::time::{ClockId, clock_gettime};

use super::{ParseError, next_number, read_file, stat};

const FILE: &str = "PID/stat";

const NS_PER_S: u64 = 1_000_000_000;

/// CPU time of another process, in ticks (see [`stat::ticks_per_second`]; usually 10 ms each).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessTicks {
    /// In user mode.
    pub user: u64,
    /// In kernel mode.
    pub system: u64,
}

impl ProcessTicks {
    /// Both together, in nanoseconds.
    pub fn total_ns(&self) -> u64 {
        let ns_per_tick = NS_PER_S / stat::ticks_per_second().max(1);
        self.user.saturating_add(self.system).saturating_mul(ns_per_tick)
    }
}

/// CPU time of this process, all threads, user and kernel, in nanoseconds.
pub fn self_ns() -> u64 {
    clock_ns(ClockId::ProcessCPUTime)
}

/// CPU time of the calling thread, user and kernel, in nanoseconds.
pub fn thread_ns() -> u64 {
    clock_ns(ClockId::ThreadCPUTime)
}

fn clock_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.unsigned_abs().saturating_mul(NS_PER_S).saturating_add(time.tv_nsec.unsigned_abs())
}

/// CPU time of another process, all threads, also those that have ended.
///
/// # Errors
/// `NotFound` when there is no such process; else when the file cannot be read or is not as documented.
pub fn read(pid: u32) -> io::Result<ProcessTicks> {
    Ok(parse(&read_file(&format!("/proc/{pid}/stat"))?)?)
}

/// # Errors
/// When the line is truncated or a number is damaged.
pub fn parse(text: &str) -> Result<ProcessTicks, ParseError> {
    // Field 2 is the name in parentheses. It may hold spaces and parentheses itself, so the last one ends it.
    let (_, after_name) =
        text.rsplit_once(')').ok_or_else(|| ParseError::new(FILE, "the process's name is missing"))?;
    // `utime` and `stime` are fields 14 and 15; the first after the name is field 3.
    let mut fields = after_name.split_whitespace().skip(14 - 3);
    Ok(ProcessTicks {
        user: next_number(&mut fields, FILE, "utime")?,
        system: next_number(&mut fields, FILE, "stime")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let after = "R 7912 7912 6716 0 -1 4194304 105 0 0 0 41 7 100 100 20 0 1 0 82267 2998272 417\n";
        for name in ["head", "a b c", ") R 1 2 (", "((("] {
            let ticks = parse(&format!("7925 ({name}) {after}")).expect(name);
            assert_eq!(ticks, ProcessTicks { user: 41, system: 7 }, "{name}");
        }
        assert_eq!(
            ProcessTicks { user: 41, system: 7 }.total_ns(),
            48 * (NS_PER_S / stat::ticks_per_second())
        );
    }

    #[test]
    fn refuses_damaged_files() {
        for text in [
            "",
            "1 (a",
            "1 (a) R 1 2 3",
            "1 (a) R 1 2 3 4 5 6 7 8 9 10 x 12",
            "1 (a) R 1 2 3 4 5 6 7 8 9 10 11",
        ] {
            parse(text).expect_err(text);
        }
        let huge = ProcessTicks { user: u64::MAX, system: u64::MAX };
        assert_eq!(huge.total_ns(), u64::MAX, "saturates");
    }

    #[test]
    fn the_clocks_advance_with_work_and_agree_with_each_other() {
        let (process, thread) = (self_ns(), thread_ns());
        while thread_ns() == thread {
            std::hint::spin_loop();
        }
        assert!(self_ns() > process);
        assert!(self_ns() >= thread_ns());
        read(std::process::id()).expect("own pid");
    }
}
