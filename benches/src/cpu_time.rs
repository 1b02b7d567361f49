//! CPU time of another process, to the nanosecond.

use std::fs;
use std::io;
use std::time::Duration;

use tidemark_host::proc::schedstat::{self, Schedstat};

use crate::error::MeasureError;
use crate::interrupt::Interrupt;

/// The kernel updates the account of a running thread at the latest at each of its ticks, the slowest of which is 10 ms.
/// Two equal readings that are this far apart are therefore of a process that does not run, and exact.
const QUIET: Duration = Duration::from_millis(25);

/// How often is looked whether the process has come to rest.
const LOOKS_MAX: u32 = 200;

/// CPU time of the threads of a process, user and kernel, in ns, once it is at rest.
///
/// # Errors
/// When it never is, has ended, or the wait is interrupted.
pub fn at_rest_ns(pid: u32, interrupt: &Interrupt) -> Result<u64, MeasureError> {
    let read = || threads_ns(pid).map_err(MeasureError::io("read the server's CPU time"));
    let mut last = read()?;
    for _ in 0..LOOKS_MAX {
        interrupt.pause(QUIET)?;
        let now = read()?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    Err(MeasureError::Client {
        program: format!("process {pid}"),
        why: "goes on running although nobody asks it for anything".to_owned(),
    })
}

/// How long the threads of a process were ready to run and had no CPU, in ns since they were started.
///
/// # Errors
/// When the process has ended.
pub fn waited_ns(pid: u32) -> Result<u64, MeasureError> {
    let threads = threads(pid).map_err(MeasureError::io("read the server's waiting time"))?;
    Ok(threads.iter().map(|thread| thread.wait_ns).sum())
}

fn threads_ns(pid: u32) -> io::Result<u64> {
    Ok(threads(pid)?.iter().map(|thread| thread.run_ns).sum())
}

/// Threads that come and go would be missed; the targets here start all of theirs before they listen.
fn threads(pid: u32) -> io::Result<Vec<Schedstat>> {
    let read = |thread: io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        Ok(schedstat::parse(&text)?)
    };
    fs::read_dir(format!("/proc/{pid}/task"))?.map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::process::Process;

    #[test]
    fn a_process_that_waits_is_at_rest_and_its_time_stands_still() {
        let interrupt = Interrupt::catch().unwrap();
        let cat = Process::spawn(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null())).unwrap();
        let first = at_rest_ns(cat.pid(), &interrupt).unwrap();
        assert!(first > 0);
        assert_eq!(at_rest_ns(cat.pid(), &interrupt).unwrap(), first);
    }
}
