//! Looks after the memory that is left, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemark_host::cgroup;
use tidemark_host::proc::meminfo;
use tracing::warn;

use crate::admission::{Admission, Reserve};

/// Between two looks. In that time a storm of connections takes some ten megabytes.
const PERIOD: Duration = Duration::from_millis(100);

/// While this lives the admission knows whether memory is short.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    /// Dropped, it ends the thread.
    until: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    /// Begins to look.
    pub(crate) fn start(reserve: Reserve, admission: Arc<Admission>) -> io::Result<MemoryWatch> {
        let (until, over) = mpsc::channel::<()>();
        let watch = move || {
            let mut is_low = false;
            loop {
                // What cannot be read is taken for enough.
                let left = available_bytes().unwrap_or(u64::MAX);
                let was_low = is_low;
                is_low = reserve.is_low(was_low, left);
                admission.set_memory_low(is_low);
                if is_low && !was_low {
                    warn!(
                        left_bytes = left,
                        reserve_bytes = reserve.bytes,
                        "memory is short: connections are turned away"
                    );
                }
                if over.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("memory".to_owned()).spawn(watch)?;
        Ok(MemoryWatch { until: Some(until), thread: Some(thread) })
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.until = None;
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic.
            let _ = thread.join();
        }
    }
}

/// What this process can still get: of the machine, or of its cgroup when that is less.
pub(crate) fn available_bytes() -> Option<u64> {
    let machine = meminfo::read().ok().map(|memory| memory.available_bytes);
    [machine, cgroup::memory_headroom_bytes()].into_iter().flatten().min()
}
