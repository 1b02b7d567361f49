//! What the operating system knows of this process, for the `process_*` metrics, read on a scrape.

use std::fs;
use std::time::SystemTime;

use prometheus::proto::MetricFamily;
use tidemark_host::{limits, proc};

use super::families::optional_of;
use super::table;
use crate::run::WORKER_THREADS;

/// Reads the process's own figures.
#[derive(Debug)]
pub(super) struct Process {
    start: SystemTime,
    private_fd_tables: bool,
}

impl Process {
    /// This process, which counts as started at `start`. Workers may each have a descriptor table of their own.
    pub(super) fn new(start: SystemTime, private_fd_tables: bool) -> Self {
        Self { start, private_fd_tables }
    }

    /// The `process_*` families now. What cannot be read has no series.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let memory = proc::status::read_self().ok();
        let start = self.start.duration_since(SystemTime::UNIX_EPOCH).ok();
        let whole = |count: u64| count as f64;
        let figures = [
            (&table::CPU, Some(proc::cpu_time::self_ns() as f64 / 1e9)),
            (&table::OPEN_FDS, self.open_fds().map(whole)),
            (&table::MAX_FDS, Some(whole(limits::nofile().soft))),
            (&table::VIRTUAL, memory.map(|memory| whole(memory.virtual_bytes))),
            (&table::RESIDENT, memory.map(|memory| whole(memory.rss_bytes))),
            (&table::START_TIME, start.map(|start| start.as_secs_f64())),
            (&table::THREADS, entries("/proc/self/task").map(whole)),
        ];
        figures.map(|(family, value)| optional_of(family, &[], value)).into()
    }

    /// Open descriptors in all tables together.
    fn open_fds(&self) -> Option<u64> {
        let shared = descriptors("/proc/self/fd")?;
        if !self.private_fd_tables {
            return Some(shared);
        }
        let tasks = fs::read_dir("/proc/self/task").ok()?;
        let private = tasks.flatten().filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            // A worker that has just ended has no descriptors any more.
            name.starts_with(WORKER_THREADS)
                .then(|| descriptors(&task.path().join("fd").to_string_lossy()))?
        });
        Some(shared + private.sum::<u64>())
    }
}

/// Open descriptors of the table behind a `/proc/*/fd` directory.
fn descriptors(directory: &str) -> Option<u64> {
    // Since Linux 6.2 the directory's size is the count. To list it takes one entry per connection.
    match fs::metadata(directory) {
        Ok(metadata) if metadata.len() > 0 => Some(metadata.len()),
        _ => entries(directory),
    }
}

fn entries(directory: &str) -> Option<u64> {
    Some(fs::read_dir(directory).ok()?.count() as u64)
}
