//! `/proc/*/schedstat`: how long a thread ran, and how long it was ready and waited for a CPU. The second is what tells
//! a program that was late because it was busy from one that was not let run.

use std::io;

use super::{ParseError, next_number, read_file};

const FILE: &str = "schedstat";

/// The scheduler's account of one thread since its start. All zero where the kernel keeps none (`CONFIG_SCHED_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// Nanoseconds on a CPU.
    pub run_ns: u64,
    /// Nanoseconds ready to run but without a CPU.
    pub wait_ns: u64,
    /// How often it was put on a CPU.
    pub slices: u64,
}

impl Schedstat {
    /// What was added since an earlier reading of the same thread.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            run_ns: self.run_ns.saturating_sub(earlier.run_ns),
            wait_ns: self.wait_ns.saturating_sub(earlier.wait_ns),
            slices: self.slices.saturating_sub(earlier.slices),
        }
    }
}

/// The kernel's id of the calling thread, for [`read_thread`] from elsewhere.
pub fn current_tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// The account of another thread of this process.
///
/// # Errors
/// `NotFound` when the thread has ended; else when the file cannot be read or is not as documented.
pub fn read_thread(tid: u32) -> io::Result<Schedstat> {
    Ok(parse(&read_file(&format!("/proc/self/task/{tid}/schedstat"))?)?)
}

/// The account of the calling thread.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn read_self_thread() -> io::Result<Schedstat> {
    Ok(parse(&read_file("/proc/thread-self/schedstat")?)?)
}

/// # Errors
/// When a number is missing or is none.
pub fn parse(text: &str) -> Result<Schedstat, ParseError> {
    let mut fields = text.split_whitespace();
    Ok(Schedstat {
        run_ns: next_number(&mut fields, FILE, "the time on a CPU")?,
        wait_ns: next_number(&mut fields, FILE, "the time waited")?,
        slices: next_number(&mut fields, FILE, "the number of slices")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_numbers() {
        let stat = parse("448725 17 3\n").expect("real");
        assert_eq!(stat, Schedstat { run_ns: 448_725, wait_ns: 17, slices: 3 });
        let earlier = Schedstat { run_ns: 448_000, wait_ns: 20, slices: 1 };
        assert_eq!(stat.since(&earlier), Schedstat { run_ns: 725, wait_ns: 0, slices: 2 });
    }

    #[test]
    fn refuses_damaged_files() {
        for text in ["", "1 2", "1 2 x", "-1 2 3", "1 2 99999999999999999999"] {
            parse(text).expect_err(text);
        }
    }

    #[test]
    fn one_thread_reads_another_by_its_id() {
        let tid = current_tid();
        let own = read_self_thread().expect("/proc/thread-self/schedstat");
        let seen = std::thread::spawn(move || read_thread(tid)).join().expect("no panic").expect("alive");
        assert!(seen.run_ns >= own.run_ns && seen.slices >= own.slices);
        // No thread has the highest possible id plus one.
        assert_eq!(read_thread(u32::MAX).expect_err("no such thread").kind(), io::ErrorKind::NotFound);
    }
}
