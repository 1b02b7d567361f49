//! A child process that never outlives its measurement.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};

use crate::error::MeasureError;
use crate::interrupt::Interrupt;

/// How long a child may take to end by itself before it is killed. Our programs end in milliseconds when idle.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the load generator may take to write its report after it was interrupted.
const INTERRUPTED_TIMEOUT: Duration = Duration::from_secs(15);

/// A running child. When this is dropped the child is asked to end, then killed, and waited for.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    has_ended: bool,
}

/// Readable once it has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Process {
    /// Starts the command in a process group of its own, so that Ctrl-C on the terminal reaches this process alone and
    /// children end in the right order. Should this process be killed, the kernel kills the child. Call it from a thread
    /// that lives as long as the child shall: the kernel means that thread when it speaks of the parent.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.process_group(0);
        // SAFETY: Between fork and exec only async-signal-safe calls are allowed; this is one system call, and it
        // neither allocates nor takes a lock.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        let mut child = command.spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { child, pidfd, has_ended: false }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, once, when it was piped.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, once, when it was piped.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits until it has ended or `timeout` is over; then it is none.
    ///
    /// # Errors
    /// [`MeasureError::Interrupted`] when a signal comes meanwhile. The child has then been interrupted, too, and has
    /// ended.
    pub fn wait(
        &mut self,
        interrupt: &Interrupt,
        timeout: Option<Duration>,
    ) -> Result<Option<ExitStatus>, MeasureError> {
        // The child first: a run that is over is a result, whatever comes with its end.
        match wait_for(&[self.pidfd.as_fd(), interrupt.as_fd()], timeout).map_err(MeasureError::io("poll"))? {
            Ready::TimedOut => Ok(None),
            Ready::Fd(0) => self.reap().map(Some).map_err(MeasureError::io("wait")),
            Ready::Fd(_) => {
                self.end(Signal::INT, INTERRUPTED_TIMEOUT);
                Err(MeasureError::Interrupted)
            }
        }
    }

    /// Interrupts it as Ctrl-C does, and does not wait.
    pub fn interrupt(&self) {
        // It may have ended by itself meanwhile.
        let _ = pidfd_send_signal(&self.pidfd, Signal::INT);
    }

    /// Asks it to end, kills it when it does not, and waits for it.
    pub fn stop(mut self) {
        self.end(Signal::TERM, END_TIMEOUT);
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.has_ended = true;
        Ok(status)
    }

    fn end(&mut self, signal: Signal, timeout: Duration) {
        if self.has_ended {
            return;
        }
        // It may have ended by itself meanwhile; then this fails and the wait returns at once.
        let _ = pidfd_send_signal(&self.pidfd, signal);
        if !matches!(wait_for(&[self.pidfd.as_fd()], Some(timeout)), Ok(Ready::Fd(_))) {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
        drop(self.reap());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Signal::TERM, END_TIMEOUT);
    }
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The first of the descriptors that is readable.
    Fd(usize),
    /// None is.
    TimedOut,
}

/// Waits until one of the descriptors is readable, without end when there is no timeout.
///
/// # Errors
/// What `poll` says.
pub fn wait_for(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Ready> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut fds: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return Ok(Ready::TimedOut),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(index) = fds.iter().position(|fd| !fd.revents().is_empty()) {
            return Ok(Ready::Fd(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    fn cat() -> Command {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command
    }

    #[test]
    fn a_dropped_process_has_ended_and_was_waited_for() {
        let process = Process::spawn(&mut cat()).unwrap();
        let pid = Pid::from_child(&process.child);
        drop(process);
        assert_eq!(rustix::process::test_kill_process(pid), Err(Errno::SRCH));
    }

    #[test]
    fn the_end_is_a_status_and_its_absence_is_none() {
        let interrupt = Interrupt::catch().unwrap();
        let mut process = Process::spawn(&mut cat()).unwrap();
        assert_eq!(process.wait(&interrupt, Some(Duration::ZERO)).unwrap(), None);
        // Its input ends, and so does it.
        drop(process.child.stdin.take());
        let status = process.wait(&interrupt, None).unwrap();
        assert!(status.is_some_and(|status| status.success()));
    }
}
