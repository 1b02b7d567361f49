//! CPU time of another process, to the nanosecond.

use std::fs;
use std::io;
use std::time::Duration;

use tidemark_host::cpu::{self, CpuSet};
use tidemark_host::proc::schedstat::{self, Schedstat};

use crate::closed_loop::ClosedLoop;
use crate::error::MeasureError;
use crate::interrupt::Interrupt;

/// The part of the exchanges that is done once more before, uncounted: caches, branch predictors, memory of sockets.
const WARM_UP_PARTS: u64 = 5;

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
    at_rest(pid, threads_ns, interrupt)
}

/// As [`at_rest_ns`], of all processes of the group that `leader` leads: a server and those that it has started.
///
/// # Errors
/// When they never are at rest, or the wait is interrupted.
pub fn group_at_rest_ns(leader: u32, interrupt: &Interrupt) -> Result<u64, MeasureError> {
    at_rest(leader, group_ns, interrupt)
}

fn at_rest(
    pid: u32,
    spent_ns: fn(u32) -> io::Result<u64>,
    interrupt: &Interrupt,
) -> Result<u64, MeasureError> {
    let read = || spent_ns(pid).map_err(MeasureError::io("read the server's CPU time"));
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

/// CPU time that `count` exchanges take whoever `at_rest_ns` is about, per exchange, in ns. The client that `connect` makes runs on a CPU of
/// its own, and does some of them before, uncounted.
///
/// # Errors
/// When the client fails, which `failed` puts into words, or those of `at_rest_ns`.
pub fn per_exchange_ns(
    client_cpu: usize,
    connect: impl FnOnce() -> io::Result<ClosedLoop> + Send,
    count: u64,
    at_rest_ns: impl Fn() -> Result<u64, MeasureError> + Sync,
    failed: impl Fn(io::Error) -> MeasureError + Sync,
) -> Result<f64, MeasureError> {
    // On a thread of its own, because only the client is to be pinned: what is started later inherits the affinity.
    let client = || {
        let one = CpuSet::new([client_cpu]).map_err(io::Error::other);
        one.and_then(|one| cpu::pin(&one)).map_err(MeasureError::io("pin the client"))?;
        let mut client = connect().map_err(&failed)?;
        client.run(count / WARM_UP_PARTS).map_err(&failed)?;
        let before_ns = at_rest_ns()?;
        client.run(count).map_err(&failed)?;
        Ok((at_rest_ns()? - before_ns) as f64 / count as f64)
    };
    std::thread::scope(|scope| scope.spawn(client).join()).unwrap_or_else(|panic| {
        // The thread's panic is this thread's panic.
        std::panic::resume_unwind(panic)
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

/// CPU time of the threads of a process so far, in ns: at most a tick of the kernel old for each that runs.
///
/// # Errors
/// When the process has ended.
pub fn spent_ns(pid: u32) -> Result<u64, MeasureError> {
    threads_ns(pid).map_err(MeasureError::io("read a program's CPU time"))
}

fn threads_ns(pid: u32) -> io::Result<u64> {
    Ok(threads(pid)?.iter().map(|thread| thread.run_ns).sum())
}

fn group_ns(leader: u32) -> io::Result<u64> {
    let mut sum_ns = 0;
    for entry in fs::read_dir("/proc")? {
        let Ok(Some(pid)) = entry.map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended meanwhile is of no group.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if group_of(&stat) == Some(leader) {
            sum_ns += match threads_ns(pid) {
                Err(error) if pid != leader && error.kind() == io::ErrorKind::NotFound => 0,
                spent => spent?,
            };
        }
    }
    Ok(sum_ns)
}

/// The process group in a `/proc/PID/stat`, of which the command's name in parentheses may hold anything.
fn group_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
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
    fn the_group_is_found_behind_any_name() {
        assert_eq!(group_of("77 (a) b (c) S 1 42 42 0 -1"), Some(42));
        assert_eq!(group_of("nonsense"), None);
    }

    #[test]
    fn a_group_has_the_time_of_all_its_processes() {
        let interrupt = Interrupt::catch().unwrap();
        // Two processes that wait for their input, in the group of the first.
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<&0; cat <&3 & cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let shell = Process::spawn(&mut command).unwrap();
        let one = at_rest_ns(shell.pid(), &interrupt).unwrap();
        assert!(group_at_rest_ns(shell.pid(), &interrupt).unwrap() > one);
    }

    #[test]
    fn a_process_that_waits_is_at_rest_and_its_time_stands_still() {
        let interrupt = Interrupt::catch().unwrap();
        let cat = Process::spawn(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null())).unwrap();
        let first = at_rest_ns(cat.pid(), &interrupt).unwrap();
        assert!(first > 0);
        assert_eq!(at_rest_ns(cat.pid(), &interrupt).unwrap(), first);
    }
}
