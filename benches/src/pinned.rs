//! Programs that have no flag for their CPU, on one of their own.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use tidemark_host::cpu::{self, CpuSet};

use crate::error::MeasureError;
use crate::process::Process;
use crate::session::Session;

/// Starts what `start` does on this CPU, which a child inherits; this thread has all of its own again afterwards. Without a CPU the
/// scheduler chooses.
///
/// # Errors
/// When it cannot be pinned, and those of `start`.
pub fn start<T>(
    allowed: &CpuSet,
    cpu: Option<usize>,
    start: impl FnOnce() -> Result<T, MeasureError>,
) -> Result<T, MeasureError> {
    let Some(cpu) = cpu else { return start() };
    let pin = |cpus: &CpuSet| cpu::pin(cpus).map_err(MeasureError::io("pin a server"));
    pin(&CpuSet::new([cpu]).map_err(io::Error::other).map_err(MeasureError::io("pin a server"))?)?;
    let started = start();
    pin(allowed)?;
    started
}

/// Runs the program to its end; its standard output. Without a CPU the scheduler chooses.
///
/// # Errors
/// When it cannot be started, ends with a failure, or is interrupted.
pub fn output(
    session: &Session,
    cpu: Option<usize>,
    program: &Path,
    args: &[String],
) -> Result<String, MeasureError> {
    let mut command = match cpu {
        Some(cpu) => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &cpu.to_string()]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let name = program.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned();
    let mut process = Process::spawn(&mut command).map_err(MeasureError::io(format!("start {name}")))?;
    let stdout = process.take_stdout();
    // Read while it runs: a pipe that is full would stop it.
    let read = thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || stdout.map(io::read_to_string).transpose())
        .map_err(MeasureError::io("start a thread"))?;
    let status = process.wait(&session.interrupt, None)?;
    let text = read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match status {
        Some(status) if !status.success() => {
            Err(MeasureError::Client { program: name, why: format!("ended with {status}") })
        }
        _ => Ok(text.map_err(MeasureError::io(format!("read what {name} prints")))?.unwrap_or_default()),
    }
}
