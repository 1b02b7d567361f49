//! What the operating system knows of this process, read on a scrape.
//!
//! The limit on open descriptors holds for each descriptor table, so a process with several can hold more than it, and
//! can be short of descriptors in one table while most of the others are free.

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
        "Limit on open descriptors of the process, summed over its descriptor tables.";
    FD_TABLE_FILL = Gauge "tidemark_fd_table_fill_ratio" "ratio" []
        "Open descriptors of the fullest descriptor table as a share of its limit. At 1 nothing more can be opened in it.";
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

    /// The families of the table now. What cannot be read has no series.
    pub fn families(&self) -> Vec<MetricFamily> {
        let memory = proc::status::read_self().ok();
        let start = self.start.duration_since(SystemTime::UNIX_EPOCH).ok();
        let fds = open_fds(self.fd_tables).ok().map(|open| Descriptors::of(&open, limits::nofile().soft));
        let whole = |count: u64| count as f64;
        let figures = [
            (&CPU, Some(proc::cpu_time::self_ns() as f64 / 1e9)),
            (&OPEN_FDS, fds.map(|fds| whole(fds.open))),
            (&MAX_FDS, fds.map(|fds| whole(fds.max))),
            (&FD_TABLE_FILL, fds.map(|fds| fds.fullest)),
            (&VIRTUAL, memory.map(|memory| whole(memory.virtual_bytes))),
            (&RESIDENT, memory.map(|memory| whole(memory.rss_bytes))),
            (&START_TIME, start.map(|start| start.as_secs_f64())),
            (&THREADS, entries(Path::new(THREADS_DIR)).ok().map(whole)),
        ];
        figures.map(|(family, value)| family.optional(value)).into()
    }
}

/// What there is in all tables together, and in the fullest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Descriptors {
    open: u64,
    max: u64,
    /// A share of a table's limit.
    fullest: f64,
}

impl Descriptors {
    /// Of tables with so many `open` each, when each may hold `limit`.
    fn of(open: &[u64], limit: u64) -> Self {
        let most = open.iter().copied().max().unwrap_or(0);
        Self {
            open: open.iter().sum(),
            max: limit.saturating_mul(open.len() as u64),
            fullest: most as f64 / limit.max(1) as f64,
        }
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
    fn value(families: &[MetricFamily], of: &Family) -> f64 {
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
        let families = Process::new(FdTables::Shared).families();
        let of = |family: &Family| value(&families, family);
        assert!(of(&RESIDENT) > 0.0 && of(&VIRTUAL) >= of(&RESIDENT));
        assert!(of(&OPEN_FDS) >= 3.0 && of(&THREADS) >= 1.0);
        assert!((of(&MAX_FDS) - limits::nofile().soft as f64).abs() < 1.0);
        assert!((of(&FD_TABLE_FILL) - of(&OPEN_FDS) / of(&MAX_FDS)).abs() < 1e-9, "there is one table");
        assert!(of(&START_TIME) > 1.6e9);
    }

    #[test]
    fn one_full_table_shows_although_the_others_are_empty() {
        let fds = Descriptors::of(&[10, 95, 15], 100);
        assert_eq!(fds, Descriptors { open: 120, max: 300, fullest: 0.95 });
    }

    #[test]
    fn tables_that_hold_more_than_one_limit_together_are_not_full() {
        let fds = Descriptors::of(&[50, 50, 50], 100);
        assert_eq!(fds, Descriptors { open: 150, max: 300, fullest: 0.5 });
    }

    #[test]
    fn a_limit_that_was_lowered_under_what_is_open_is_more_than_full() {
        assert_eq!(Descriptors::of(&[10], 5), Descriptors { open: 10, max: 5, fullest: 2.0 });
        assert!(Descriptors::of(&[10], 0).fullest.is_finite());
        assert_eq!(
            Descriptors::of(&[10, 10], u64::MAX).max,
            u64::MAX,
            "no limit is none for two tables, too"
        );
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
