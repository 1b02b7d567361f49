//! What the operating system knows of this process: the `process_*` metrics, read on a scrape.

use std::path::Path;
use std::time::SystemTime;
use std::{fs, io};

use prometheus::proto::MetricFamily;
use rustix::io::Errno;
use tidemark_host::{limits, proc};

crate::metrics_table! {
    "every program":
    CPU = Counter "process_cpu_seconds_total" "seconds" []
        "User and system CPU time of the process.";
    OPEN_FDS = Gauge "process_open_fds" "descriptors" []
        "Open descriptors of the process, summed over its descriptor tables.";
    MAX_FDS = Gauge "process_max_fds" "descriptors" []
        "Limit on open descriptors of one descriptor table.";
    VIRTUAL = Gauge "process_virtual_memory_bytes" "bytes" []
        "Address space of the process.";
    RESIDENT = Gauge "process_resident_memory_bytes" "bytes" []
        "Memory of the process that is in RAM.";
    START_TIME = Gauge "process_start_time_seconds" "seconds since the epoch" []
        "Start of the process, in seconds since the epoch.";
    THREADS = Gauge "process_threads" "threads" []
        "Threads of the process.";
}

/// The process's threads, each a directory.
const THREADS_DIR: &str = "/proc/self/task";

/// Which threads have a descriptor table of their own. All others share the main thread's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FdTables {
    /// None.
    Shared,
    /// Those whose names begin so.
    PrivateTo(&'static str),
}

/// Reads the process's own figures.
#[derive(Debug)]
pub struct Process {
    fd_tables: FdTables,
    start: SystemTime,
}

impl Process {
    /// This process, which counts as started now.
    pub fn new(fd_tables: FdTables) -> Self {
        Self { fd_tables, start: SystemTime::now() }
    }

    /// The `process_*` families now. What cannot be read has no series.
    pub fn families(&self) -> Vec<MetricFamily> {
        let memory = proc::status::read_self().ok();
        let start = self.start.duration_since(SystemTime::UNIX_EPOCH).ok();
        let open_fds = open_fds(self.fd_tables).ok();
        let whole = |count: u64| count as f64;
        let figures = [
            (&CPU, Some(proc::cpu_time::self_ns() as f64 / 1e9)),
            (&OPEN_FDS, open_fds.map(|tables| whole(tables.iter().sum()))),
            (&MAX_FDS, Some(whole(limits::nofile().soft))),
            (&VIRTUAL, memory.map(|memory| whole(memory.virtual_bytes))),
            (&RESIDENT, memory.map(|memory| whole(memory.rss_bytes))),
            (&START_TIME, start.map(|start| start.as_secs_f64())),
            (&THREADS, entries(Path::new(THREADS_DIR)).ok().map(whole)),
        ];
        figures.map(|(family, value)| family.optional(value)).into()
    }
}

/// Open descriptors of each table. What a table was given as a copy at its start is counted in each.
fn open_fds(tables: FdTables) -> io::Result<Vec<u64>> {
    let mut open = vec![descriptors(Path::new("/proc/self/fd"))?];
    let FdTables::PrivateTo(start) = tables else { return Ok(open) };
    for thread in fs::read_dir(THREADS_DIR)? {
        match private_fds(&thread?.path(), start) {
            Ok(private) => open.extend(private),
            // It has ended meanwhile, and its table with it.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(open)
}

/// Open descriptors of a thread's own table, if it has one.
fn private_fds(thread: &Path, start: &str) -> io::Result<Option<u64>> {
    let is_private = fs::read_to_string(thread.join("comm"))?.starts_with(start);
    is_private.then(|| descriptors(&thread.join("fd"))).transpose()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

/// Open descriptors of the table behind a `/proc/*/fd` directory.
fn descriptors(directory: &Path) -> io::Result<u64> {
    // Since Linux 6.2 the directory's size is the count. To list it takes one entry per connection.
    match fs::metadata(directory) {
        Ok(metadata) if metadata.len() > 0 => Ok(metadata.len()),
        _ => entries(directory),
    }
}

fn entries(directory: &Path) -> io::Result<u64> {
    Ok(fs::read_dir(directory)?.count() as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use tidemark_host::fdtable;

    use super::super::{Family, checks};
    use super::*;

    /// The value of a figure of one series.
    fn value(process: &Process, of: &Family) -> f64 {
        let families = process.families();
        let family = families.iter().find(|family| family.name() == of.name).unwrap();
        let [metric] = family.get_metric() else { panic!("{family:?}") };
        metric.get_gauge().get_value()
    }

    #[test]
    fn the_table_is_as_it_should_be() {
        let page = include_str!("../../../../docs/metrics.md");
        assert_eq!([checks::names(&TABLE), checks::page(&TABLE, page)].concat(), Vec::<String>::new());
    }

    #[test]
    fn every_figure_is_exported_as_it_is_declared() {
        let families = Process::new(FdTables::Shared).families();
        assert_eq!(checks::exported(&[TABLE], &families), Vec::<String>::new());
    }

    #[test]
    fn figures_are_of_this_process() {
        let process = Process::new(FdTables::Shared);
        let of = |family: &Family| value(&process, family);
        assert!(of(&RESIDENT) > 0.0 && of(&VIRTUAL) >= of(&RESIDENT));
        assert!(of(&OPEN_FDS) >= 3.0 && of(&THREADS) >= 1.0 && of(&MAX_FDS) > 0.0);
        assert!(of(&START_TIME) > 1.6e9);
    }

    #[test]
    fn a_private_table_is_counted_as_long_as_its_thread_lives() {
        if !fdtable::can_be_private() {
            println!("skipped: this host forbids unshare(CLONE_FILES)");
            return;
        }
        let tables = FdTables::PrivateTo("private-");
        assert_eq!(open_fds(tables).unwrap().len(), 1, "only the main thread's");
        let (opened, is_opened) = mpsc::channel();
        let (looked, has_looked) = mpsc::channel::<()>();
        let owner = thread::Builder::new().name("private-0".to_owned()).spawn(move || {
            fdtable::make_private().unwrap();
            let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
            opened.send(()).unwrap();
            has_looked.recv().unwrap();
            drop(files);
        });
        let owner = owner.unwrap();
        is_opened.recv().unwrap();
        let open = open_fds(tables).unwrap();
        assert!(open.len() == 2 && open[1] >= 53, "{open:?}");
        assert_eq!(open_fds(FdTables::Shared).unwrap().len(), 1);
        looked.send(()).unwrap();
        owner.join().unwrap();
        // The kernel lets it be joined a moment before it closes its table.
        let deadline = Instant::now() + Duration::from_secs(60);
        while open_fds(tables).unwrap().len() > 1 {
            assert!(Instant::now() < deadline, "its table stays");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_thread_that_is_gone_is_told_from_a_table_that_cannot_be_read() {
        // No thread has id 0.
        let gone = private_fds(&Path::new(THREADS_DIR).join("0"), "").unwrap_err();
        assert!(is_gone(&gone), "{gone}");
        assert!(!is_gone(&io::ErrorKind::PermissionDenied.into()));
    }
}
