//! What the operating system knows of this process, for the `process_*` metrics.

use std::time::SystemTime;

use tidemark_host::{limits, proc};

/// Reads the process's own figures. Figures that cannot be read are 0.
#[derive(Debug)]
pub struct Process {
    /// Threads that have a descriptor table of their own. The main thread's table is counted anyway.
    private_tables: Vec<u32>,
    start_seconds: f64,
}

/// The figures at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessFigures {
    /// User and system CPU time since the start.
    pub cpu_seconds: f64,
    /// Open descriptors in all tables together; what a table was given as a copy at its start is counted in each.
    pub open_fds: u64,
    /// How many one table may hold.
    pub max_fds: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Seconds since the epoch.
    pub start_seconds: f64,
    /// Threads.
    pub threads: u64,
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
        let memory = proc::status::read_self().unwrap_or_default();
        let shared = open_fds("/proc/self/fd");
        let private = self.private_tables.iter().map(|tid| open_fds(&format!("/proc/self/task/{tid}/fd")));
        ProcessFigures {
            cpu_seconds: proc::cpu_time::self_ns() as f64 / 1e9,
            open_fds: shared + private.sum::<u64>(),
            max_fds: limits::nofile().soft,
            virtual_bytes: memory.virtual_bytes,
            resident_bytes: memory.rss_bytes,
            start_seconds: self.start_seconds,
            threads: entries("/proc/self/task"),
        }
    }
}

/// Open descriptors of the table behind a `/proc/*/fd` directory.
fn open_fds(directory: &str) -> u64 {
    // Since Linux 6.2 the directory's size is the count. To list it would take one entry per connection.
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.len() > 0 => metadata.len(),
        _ => entries(directory),
    }
}

fn entries(directory: &str) -> u64 {
    std::fs::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_this_process() {
        let figures = Process::new(Vec::new()).read();
        assert!(figures.resident_bytes > 0 && figures.virtual_bytes >= figures.resident_bytes);
        assert!(figures.open_fds >= 3, "{figures:?}");
        assert!(figures.threads >= 1 && figures.max_fds > 0);
        assert!(figures.start_seconds > 1.6e9);
    }

    #[test]
    fn a_private_table_is_counted_too() {
        let own = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        let counted = Process::new(vec![own]).read().open_fds;
        assert!(counted >= 6, "the main thread's table twice, each with at least three: {counted}");
    }
}
