//! The programs under test as child processes that never outlive their test.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

/// Nothing here takes a tenth of it, also on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(120);

/// A child process that is killed when its test is over.
struct Guarded(Child);

impl Guarded {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Whether it ends within `patience`.
    fn ends_within(&self, patience: Duration) -> bool {
        let fd = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty()).unwrap();
        let timeout = Timespec::try_from(patience).unwrap();
        rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The example `faulty_server`.
pub(crate) struct FaultyServer {
    process: Guarded,
    /// `HOST:PORT`.
    pub(crate) address: String,
}

impl FaultyServer {
    /// Starts it on a free port. It also ends when this process does.
    pub(crate) fn start(fault: &[&str]) -> Self {
        let mut command = Command::new(faulty_server_program());
        command.arg("--exit-with-parent").args(fault).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Guarded(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening ").map(|address| address.trim_end().to_owned());
        Self { address: address.unwrap_or_else(|| panic!("no address in {line:?}")), process }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Its connections stay, and nothing answers on them any more.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }
}

/// A process that takes what it can get of one CPU.
pub(crate) struct BusyLoop {
    _process: Guarded,
}

impl BusyLoop {
    pub(crate) fn on(cpu: usize) -> Self {
        let mut command = Command::new("sh");
        // It also ends when this process does.
        command.args(["-c", "while kill -0 $PPID 2> /dev/null; do :; done"]);
        let process = Guarded(command.spawn().unwrap());
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(Some(Pid::from_child(&process.0)), &cpus).unwrap();
        Self { _process: process }
    }
}

/// Examples are built with the tests, except when one test binary alone is asked for.
fn faulty_server_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = env::current_exe().unwrap();
        let profile_dir = test.parent().and_then(Path::parent).unwrap();
        let program = profile_dir.join("examples/faulty_server");
        if !program.exists() {
            let profile = match profile_dir.file_name().and_then(|name| name.to_str()).unwrap() {
                "debug" => "dev",
                other => other,
            };
            let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
            let mut build = Command::new(cargo);
            build.args(["build", "--package", env!("CARGO_PKG_NAME"), "--example", "faulty_server"]);
            build.args(["--profile", profile, "--target-dir"]).arg(profile_dir.parent().unwrap());
            assert!(build.status().unwrap().success(), "the example builds");
        }
        program
    })
}

/// The load generator with a directory of its own for results.
pub(crate) struct Loadgen {
    dir: TempDir,
}

/// A load generator that runs.
pub(crate) struct Running {
    process: Guarded,
    stderr: BufReader<ChildStderr>,
    stderr_so_far: String,
    stdout_path: PathBuf,
}

/// A load generator that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Loadgen {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A place for this test's files; results are in `results`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.dir().join("results")
    }

    /// `tidemark-loadgen ARGS`, in a directory of its own.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let stdout_path = self.dir().join("stdout");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark-loadgen"));
        command.args(args).current_dir(self.dir()).env_remove("COLUMNS");
        command.stdin(Stdio::null()).stdout(File::create(&stdout_path).unwrap()).stderr(Stdio::piped());
        let mut process = Guarded(command.spawn().unwrap());
        let stderr = BufReader::new(process.0.stderr.take().unwrap());
        Running { process, stderr, stderr_so_far: String::new(), stdout_path }
    }

    /// The same to its end.
    pub(crate) fn invoke(&self, args: &[&str]) -> Finished {
        self.start(args).finish()
    }

    /// `tidemark-loadgen run TARGET OPTIONS`, the options apart by spaces, showing nothing while it goes.
    pub(crate) fn run(&self, target: &str, options: &str) -> Finished {
        let args = ["run", target, "--live", "off"].into_iter().chain(options.split_whitespace());
        self.invoke(&args.collect::<Vec<_>>())
    }

    /// The same, from its beginning, showing a line a second.
    pub(crate) fn start_run(&self, target: &str, options: &str) -> Running {
        let args = ["run", target, "--live", "plain"].into_iter().chain(options.split_whitespace());
        self.start(&args.collect::<Vec<_>>())
    }
}

impl Running {
    /// Waits until it has said a line with `text` in it, and returns that.
    pub(crate) fn await_line(&mut self, text: &str) -> &str {
        loop {
            let start = self.stderr_so_far.len();
            let length = self.stderr.read_line(&mut self.stderr_so_far).unwrap();
            assert!(length > 0, "it ended before it said {text:?}: {}", self.stderr_so_far);
            if self.stderr_so_far[start..].contains(text) {
                return &self.stderr_so_far[start..];
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process.0)
    }

    /// Whether it ends within `patience`.
    pub(crate) fn ends_within(&self, patience: Duration) -> bool {
        self.process.ends_within(patience)
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Finished {
        assert!(self.process.ends_within(DEADLINE), "it still runs; so far it said: {}", self.stderr_so_far);
        let code = self.process.0.wait().unwrap().code();
        self.stderr.read_to_string(&mut self.stderr_so_far).unwrap();
        let stdout = fs::read_to_string(&self.stdout_path).unwrap();
        let finished = Finished { code, stdout, stderr: self.stderr_so_far };
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        finished
    }
}

impl Finished {
    /// It could not do what it was asked to, and says so in one line that has all of `texts` in it.
    #[track_caller]
    pub(crate) fn assert_one_line(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(
            self.stderr.matches("(os error").count() <= 1,
            "the cause stands there once: {}",
            self.stderr
        );
        for text in ["tidemark-loadgen: "].iter().chain(texts) {
            assert!(self.stderr.contains(text), "{text:?} is not in: {}", self.stderr);
        }
    }
}
