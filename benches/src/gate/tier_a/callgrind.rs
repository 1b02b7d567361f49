//! Counts of valgrind: it runs a program instruction by instruction, and sees every system call.
//!
//! One tool for both, because it needs no privilege: to trace a process from the outside is forbidden in many containers. It hides the
//! kernel's shared page from the program, so that looks at the clock, which are no system calls otherwise, appear as such and
//! are told apart here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Figures;
use super::quantity::Quantity;
use super::subject::Subject;
use crate::closed_loop::ClosedLoop;
use crate::error::MeasureError;
use crate::exchange::Exchange;
use crate::interrupt::Interrupt;
use crate::process::Process;
use crate::server::Server;
use crate::statistics::slope;

/// Requests of the two runs, each over one connection: every request is then a turn of the server's loop by itself, and
/// the count does not depend on who is faster.
const REQUESTS: [u64; 2] = [500, 6_500];

/// Turns of the load generator's core in the two runs.
const TURNS: [u64; 2] = [10_000, 110_000];

/// A program that does nothing but compute takes longer only when it hangs.
const COMPUTE_TIMEOUT: Duration = Duration::from_secs(120);

/// What the kernel's shared page answers without a system call.
const CLOCK_READS: [&str; 4] = ["clock_gettime", "gettimeofday", "time", "clock_getres"];

/// Whether there is a valgrind.
pub fn is_installed() -> bool {
    let mut version = Command::new("valgrind");
    version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

/// Instructions, system calls and looks at the clock of the server per raw echo.
///
/// # Errors
/// When a program fails.
pub fn echo(subject: &Subject, scratch: &Path, interrupt: &Interrupt) -> Result<Figures, MeasureError> {
    let client = |server: &Server| exchange(server.echo, Exchange::echo(64)?);
    let quantities = [Quantity::InstructionsPerEcho, Quantity::SyscallsPerEcho, Quantity::ClockReadsPerEcho];
    per_request(subject, scratch, interrupt, client, quantities)
}

/// The same per HTTP request.
///
/// # Errors
/// When a program fails.
pub fn http(subject: &Subject, scratch: &Path, interrupt: &Interrupt) -> Result<Figures, MeasureError> {
    let client = |server: &Server| {
        let http = server.http.ok_or(io::ErrorKind::NotConnected)?;
        exchange(http, Exchange::get(http, "/health")?)
    };
    let quantities = [
        Quantity::InstructionsPerHttpRequest,
        Quantity::SyscallsPerHttpRequest,
        Quantity::ClockReadsPerHttpRequest,
    ];
    per_request(subject, scratch, interrupt, client, quantities)
}

fn exchange(target: SocketAddr, exchange: Exchange) -> io::Result<ClosedLoop> {
    ClosedLoop::connect(target, 1, exchange)
}

fn per_request(
    subject: &Subject,
    scratch: &Path,
    interrupt: &Interrupt,
    client: impl Fn(&Server) -> io::Result<ClosedLoop>,
    [instructions, syscalls, clock_reads]: [Quantity; 3],
) -> Result<Figures, MeasureError> {
    let run = |requests| {
        let tool = Tool::in_directory(scratch);
        let server = subject.serve(tool.command(&subject.build.server), interrupt)?;
        let done = client(&server).and_then(|mut client| client.run(requests));
        done.map_err(|error| MeasureError::Client {
            program: "tidemark-server under valgrind".to_owned(),
            why: error.to_string(),
        })?;
        server.stop();
        tool.read()
    };
    let [few, many] = REQUESTS;
    Ok(figures((few, &run(few)?), (many, &run(many)?), instructions, Some((syscalls, clock_reads))))
}

/// Instructions of the load generator's core per request.
///
/// # Errors
/// When a program fails.
pub fn loadgen(subject: &Subject, scratch: &Path, interrupt: &Interrupt) -> Result<Figures, MeasureError> {
    let Some(program) = &subject.build.hot_loop else {
        return Ok(Figures::default());
    };
    let run = |turns: u64| {
        let tool = Tool::in_directory(scratch);
        let mut command = tool.command(program);
        command.arg(turns.to_string()).env_clear().stdin(Stdio::null());
        let mut process = Process::spawn(&mut command).map_err(MeasureError::io("start valgrind"))?;
        match process.wait(interrupt, Some(COMPUTE_TIMEOUT))? {
            Some(status) if status.success() => tool.read(),
            Some(status) => Err(broken("hot-loop", format!("ended with {status}"))),
            None => Err(broken("hot-loop", format!("was not done after {} s", COMPUTE_TIMEOUT.as_secs()))),
        }
    };
    let [few, many] = TURNS;
    Ok(figures((few, &run(few)?), (many, &run(many)?), Quantity::InstructionsPerLoadgenRequest, None))
}

/// The slopes between two runs. Pure.
fn figures(
    (few, low): (u64, &Counted),
    (many, high): (u64, &Counted),
    instructions: Quantity,
    calls: Option<(Quantity, Quantity)>,
) -> Figures {
    let per = |low: u64, high: u64| slope((few as f64, low as f64), (many as f64, high as f64));
    let mut figures = Figures::default();
    figures.values.insert(instructions, per(low.instructions, high.instructions));
    if let Some((syscalls, clock_reads)) = calls {
        let names = low.calls.keys().chain(high.calls.keys());
        let of = |calls: &BTreeMap<String, u64>, name: &str| calls.get(name).copied().unwrap_or(0);
        let is_clock = |(name, _): &(String, f64)| CLOCK_READS.contains(&name.as_str());
        let (clock, parts): (BTreeMap<String, f64>, BTreeMap<String, f64>) = names
            .map(|name| (name.clone(), per(of(&low.calls, name), of(&high.calls, name))))
            // What a slope between two runs cannot tell from nothing.
            .filter(|(_, value)| value.abs() >= PART_MIN)
            .partition(is_clock);
        figures.values.insert(syscalls, parts.values().sum());
        figures.values.insert(clock_reads, clock.values().sum());
        figures.parts.insert(syscalls, parts);
    }
    figures
}

/// A call that is made less than once in a hundred requests is of something else.
const PART_MIN: f64 = 0.01;

/// What valgrind counted in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counted {
    instructions: u64,
    /// By name.
    calls: BTreeMap<String, u64>,
}

/// Valgrind, and where it writes.
struct Tool {
    profile: PathBuf,
    log: PathBuf,
}

impl Tool {
    fn in_directory(scratch: &Path) -> Self {
        Self { profile: scratch.join("callgrind.out"), log: scratch.join("valgrind.log") }
    }

    /// The program under valgrind; its arguments are to be added.
    fn command(&self, program: &Path) -> Command {
        let flag = |name: &str, file: &Path| {
            let mut flag = std::ffi::OsString::from(name);
            flag.push(file);
            flag
        };
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--trace-syscalls=yes"]);
        command.args([flag("--callgrind-out-file=", &self.profile), flag("--log-file=", &self.log)]);
        command.arg(program);
        command
    }

    /// What was counted, once the program has ended.
    fn read(&self) -> Result<Counted, MeasureError> {
        let read = |path: &Path| {
            fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(MeasureError::io(format!("read {}", path.display())))
        };
        let instructions = instructions(&read(&self.profile)?)
            .ok_or_else(|| broken("valgrind", "its profile has no sum of instructions".to_owned()))?;
        let calls = calls(&read(&self.log)?);
        for path in [&self.profile, &self.log] {
            fs::remove_file(path).map_err(MeasureError::io(format!("remove {}", path.display())))?;
        }
        Ok(Counted { instructions, calls })
    }
}

/// The sum of a callgrind profile.
fn instructions(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("summary:")?.split_whitespace().next()?.parse().ok())
}

/// How often each system call was begun: `SYSCALL[pid,thread](number) sys_name ( ...`. The end of a call that had to wait is a line
/// of its own, without a name.
fn calls(log: &str) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for line in log.lines().filter(|line| line.starts_with("SYSCALL[")) {
        let name = line.split_once(')').map(|(_, rest)| rest.trim_start());
        let name = name.and_then(|rest| rest.split([' ', '(']).next()).unwrap_or_default();
        let name = name.strip_prefix("sys_").unwrap_or(name);
        if !name.is_empty() && name != "..." {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

fn broken(program: &str, why: String) -> MeasureError {
    MeasureError::Client { program: program.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: &str = "\
==9473== Callgrind, a call-graph generating cache profiler
SYSCALL[11892,3](232) sys_epoll_wait ( 13, 0x4d, 1024, -1 ) --> [async] ...
SYSCALL[11892,3](232) ... [async] --> Success(0x1)
SYSCALL[11892,3](228) sys_clock_gettime( 1, 0x5013370 )[sync] --> Success(0x0)
SYSCALL[11892,3](  0) sys_read ( 9, 0x4e, 65536 ) --> [async] ...
SYSCALL[11892,3](  0) ... [async] --> Success(0x40)
SYSCALL[11892,1](231) exit_group( 0 ) --> [pre-success] Success(0x0)
";

    fn counted(instructions: u64, calls: &[(&str, u64)]) -> Counted {
        Counted { instructions, calls: calls.iter().map(|&(name, count)| (name.to_owned(), count)).collect() }
    }

    #[test]
    fn a_call_is_counted_where_it_begins() {
        let expected =
            counted(0, &[("clock_gettime", 1), ("epoll_wait", 1), ("exit_group", 1), ("read", 1)]).calls;
        assert_eq!(calls(LOG), expected);
    }

    #[test]
    fn the_sum_of_a_profile() {
        assert_eq!(instructions("version: 1\nevents: Ir\nsummary: 307429\n\nfn=main\n"), Some(307_429));
        assert_eq!(instructions("summary:\n"), None);
    }

    #[test]
    fn slopes_leave_out_what_happens_anyway_and_tell_the_clock_apart() {
        let low = counted(1_050_000, &[("read", 110), ("clock_gettime", 205), ("mmap", 40)]);
        let high = counted(1_550_000, &[("read", 1_110), ("clock_gettime", 2_205), ("mmap", 41)]);
        let quantities = (Quantity::SyscallsPerEcho, Quantity::ClockReadsPerEcho);
        let figures = figures((100, &low), (1_100, &high), Quantity::InstructionsPerEcho, Some(quantities));
        let values = [Quantity::InstructionsPerEcho, Quantity::SyscallsPerEcho, Quantity::ClockReadsPerEcho]
            .map(|quantity| figures.values[&quantity]);
        assert_eq!(values.map(|value| format!("{value}")), ["500", "1", "2"]);
        assert_eq!(figures.parts[&Quantity::SyscallsPerEcho], BTreeMap::from([("read".to_owned(), 1.0)]));
    }

    proptest! {
        #[test]
        fn hostile_files_do_not_panic(text in "(SYSCALL\\[|[0-9,\\]\\(\\) é\n.]|sys_|summary:){0,40}") {
            calls(&text);
            instructions(&text);
        }
    }
}
