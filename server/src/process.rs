//! What the operating system knows of this process, for the `process_*` metrics.

use std::time::SystemTime;

use tidemark_host::{limits, proc};

/// Reads the process's own figures.
#[derive(Debug)]
pub struct Process {
    /// Threads that have a descriptor table of their own. The main thread's table is counted anyway.
    private_tables: Vec<u32>,
    start_seconds: f64,
}

/// The figures at one moment. What cannot be read is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessFigures {
    /// User and system CPU time since the start.
    pub cpu_seconds: f64,
    /// Open descriptors in all tables together; what a table was given as a copy at its start is counted in each.
    pub open_fds: Option<u64>,
    /// How many one table may hold.
    pub max_fds: u64,
    /// Address space.
    pub virtual_bytes: Option<u64>,
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
    /// Seconds since the epoch.
    pub start_seconds: f64,
    /// Threads.
    pub threads: Option<u64>,
}

impl Process {
    /// This process, which counts as started now. `private_tables` are the ids of the threads that have a descriptor
    /// table of their own.
    pub fn new(private_tables: Vec<u32>) -> Process {
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Process { private_tables, start_seconds: start.as_secs_f64() }
    }

    /// The figures now.
    pub fn read(&self) -> ProcessFigures {
        let memory = proc::status::read_self().ok();
        let shared = open_fds("/proc/self/fd");
        let private = self.private_tables.iter().map(|tid| open_fds(&format!("/proc/self/task/{tid}/fd")));
        ProcessFigures {
            cpu_seconds: proc::cpu_time::self_ns() as f64 / 1e9,
            open_fds: [shared].into_iter().chain(private).sum(),
            max_fds: limits::nofile().soft,
            virtual_bytes: memory.map(|memory| memory.virtual_bytes),
            resident_bytes: memory.map(|memory| memory.rss_bytes),
            start_seconds: self.start_seconds,
            threads: entries("/proc/self/task"),
        }
    }
}

/// Open descriptors of the table behind a `/proc/*/fd` directory.
fn open_fds(directory: &str) -> Option<u64> {
    // Since Linux 6.2 the directory's size is the count. To list it would take one entry per connection.
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.len() > 0 => Some(metadata.len()),
        _ => entries(directory),
    }
}

fn entries(directory: &str) -> Option<u64> {
    Some(std::fs::read_dir(directory).ok()?.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_this_process() {
        let figures = Process::new(Vec::new()).read();
        let (resident, all) = (figures.resident_bytes.unwrap(), figures.virtual_bytes.unwrap());
        assert!(resident > 0 && all >= resident);
        assert!(figures.open_fds.unwrap() >= 3, "{figures:?}");
        assert!(figures.threads.unwrap() >= 1 && figures.max_fds > 0);
        assert!(figures.start_seconds > 1.6e9);
    }

    #[test]
    fn a_table_that_is_gone_leaves_no_sum() {
        // No thread has id 0.
        assert_eq!(Process::new(vec![0]).read().open_fds, None);
    }

    #[test]
    fn a_private_table_is_counted_too() {
        let own = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        let counted = Process::new(vec![own]).read().open_fds.unwrap();
        assert!(counted >= 6, "the main thread's table twice, each with at least three: {counted}");
    }
}
