//! A target process that says on one of its streams that it listens.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::error::MeasureError;
use crate::interrupt::Interrupt;
use crate::process::Process;

/// How long a target may take to listen.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a wait for a line looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Lines that wait to be read; those beyond are dropped, so that a talkative target neither blocks nor costs memory. A server that says
/// something once a second is heard for an hour.
const LINES_MAX: usize = 4096;

/// Lines kept to say what a target said before it ended.
const SAID_MAX: usize = 5;

/// The output of a process, line by line. It is read to its end also when nobody asks, so that the process never
/// blocks on a full pipe.
#[derive(Debug)]
pub struct Lines(Receiver<String>);

impl Lines {
    /// Begins to read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn of(stream: impl Read + Send + 'static) -> Result<Self, MeasureError> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        let read = move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                match sender.try_send(line) {
                    Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
                }
            }
        };
        std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(read)
            .map_err(MeasureError::io("start a thread"))?;
        Ok(Self(receiver))
    }

    /// Those that wait to be read, without waiting for more.
    pub fn so_far(&self) -> impl Iterator<Item = String> {
        self.0.try_iter()
    }

    /// The last lines of a process that has ended.
    pub fn last(&self) -> String {
        let mut said: VecDeque<String> = VecDeque::new();
        // Those that it has started may still have its output open.
        while let Ok(line) = self.0.recv_timeout(LOOK_EVERY) {
            if said.len() == SAID_MAX {
                said.pop_front();
            }
            said.push_back(line);
        }
        Vec::from(said).join("\n")
    }
}

/// A process that serves, and where it said so.
#[derive(Debug)]
pub struct Started<T> {
    /// It.
    pub process: Process,
    /// What its lines told.
    pub told: T,
    /// Those that follow.
    pub lines: Lines,
}

/// Reads the lines of a process that has just been started until `told` makes something of one.
///
/// # Errors
/// When the process ends before, takes too long, or the wait is interrupted.
pub fn wait_until<T>(
    program: &str,
    lines: &Lines,
    process: &mut Process,
    interrupt: &Interrupt,
    told: impl FnMut(&str) -> Option<T>,
) -> Result<T, MeasureError> {
    wait_within(READY_TIMEOUT, program, lines, process, interrupt, told)
}

/// The same for one that may take as long as `within`.
///
/// # Errors
/// Those of [`wait_until`].
pub fn wait_within<T>(
    within: Duration,
    program: &str,
    lines: &Lines,
    process: &mut Process,
    interrupt: &Interrupt,
    mut told: impl FnMut(&str) -> Option<T>,
) -> Result<T, MeasureError> {
    let deadline = Instant::now() + within;
    let mut said = VecDeque::new();
    while Instant::now() < deadline {
        interrupt.check()?;
        match lines.0.recv_timeout(LOOK_EVERY) {
            Ok(line) => {
                if let Some(told) = told(&line) {
                    return Ok(told);
                }
                if said.len() == SAID_MAX {
                    said.pop_front();
                }
                said.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let status = process.wait(interrupt, Some(READY_TIMEOUT))?;
                return Err(MeasureError::EndedEarly {
                    program: program.to_owned(),
                    status: status.map_or("it closed its output".to_owned(), |status| status.to_string()),
                    said: Vec::from(said).join("\n"),
                });
            }
        }
    }
    Err(MeasureError::NotReady { program: program.to_owned(), within })
}

/// A port of loopback that nobody has now, for a program that takes no port 0.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<SocketAddr, MeasureError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map_err(MeasureError::io("find a free port"))
}

/// Starts a target that prints `listening ADDR` to its standard output, as our small ones do.
///
/// # Errors
/// When it cannot be started or does not say so.
pub fn start_plain(
    program: &str,
    command: &mut Command,
    interrupt: &Interrupt,
) -> Result<Started<SocketAddr>, MeasureError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::spawn(command).map_err(MeasureError::io(format!("start {program}")))?;
    let lines = match process.take_stdout() {
        Some(stdout) => Lines::of(stdout)?,
        None => Lines::of(std::io::empty())?,
    };
    let told = wait_until(program, &lines, &mut process, interrupt, plain_address)?;
    Ok(Started { process, told, lines })
}

/// The address in a line `listening ADDR`.
fn plain_address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("listening ")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_off_the_line() {
        assert_eq!(plain_address("listening 127.0.0.1:7000"), Some("127.0.0.1:7000".parse().unwrap()));
        assert_eq!(plain_address("listening soon"), None);
        assert_eq!(plain_address("127.0.0.1:7000"), None);
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_target_that_listens_is_found_and_lines_before_are_skipped() {
        let interrupt = Interrupt::catch().unwrap();
        let mut command = shell("echo hello; echo listening 127.0.0.1:9; cat");
        let started = start_plain("target", &mut command, &interrupt).unwrap();
        assert_eq!(started.told.port(), 9);
    }

    #[test]
    fn a_target_that_ends_is_told_with_its_last_words() {
        let interrupt = Interrupt::catch().unwrap();
        let mut command = shell("echo address in use; exit 4");
        let error = start_plain("target", &mut command, &interrupt).unwrap_err().to_string();
        assert_eq!(error, "target ended before it was ready (exit status: 4); it said:\naddress in use");
    }
}
