//! The real binary: signals, descriptor limits, descriptor tables.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::client::{DEADLINE, Http, connect, eventually, metric, owed, round_trip};

const BINARY: &str = env!("CARGO_BIN_EXE_tidemark-server");

/// The server as a process; killed when the test ends.
pub(crate) struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
    pub(crate) echo: Vec<SocketAddr>,
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

impl Process {
    /// Starts it on ports that the kernel chooses and waits until it says that it is ready.
    pub(crate) fn start(flags: &[&str]) -> Process {
        let mut command = Command::new(BINARY);
        let ports = ["--echo", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        command.args(["--log", "json", "serve"]).args(ports).args(flags);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut echo, mut http, mut admin) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "ended before it was ready");
            let field = |name: &str| line.split_once(&format!("\"{name}\":\""))?.1.split('"').next();
            match (field("message"), field("proto")) {
                (Some("ready"), _) => break,
                (Some("listening"), Some(proto)) => {
                    let addr = field("addr").unwrap().parse().unwrap();
                    match proto {
                        "echo" => echo.push(addr),
                        "http" => http.push(addr),
                        "admin" => admin.push(addr),
                        other => panic!("{other}"),
                    }
                }
                _ => {}
            }
        }
        Process { child, log, echo, http, admin: admin[0] }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end. Also gives what it logged since it was ready.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child);
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        (status, log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the process does not end");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn sigterm_and_sigint_end_with_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Process::start(&[]);
        let mut stream = connect(server.echo[0]);
        round_trip(&mut stream, b"in").unwrap();
        server.signal(signal);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "idle connections end cleanly");
        drop(stream);
        let (status, log) = server.end();
        assert_eq!(status.code(), Some(0), "{signal:?}: {log}");
        assert!(log.contains("\"message\":\"stopped\""), "{log}");
    }
}

#[test]
fn signals_work_with_private_tables_on_every_worker() {
    let server = Process::start(&["--workers", "4", "--fd-tables", "private"]);
    let mut streams: Vec<_> = (0..64).map(|_| connect(server.echo[0])).collect();
    for stream in &mut streams {
        round_trip(stream, b"in").unwrap();
    }
    server.signal(Signal::TERM);
    for stream in &mut streams {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    drop(streams);
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once_and_is_no_success() {
    let server = Process::start(&["--drain-timeout", "1h"]);
    let _stuck = owed(server.echo[0], server.admin);
    server.signal(Signal::TERM);
    let admin = server.admin;
    eventually("it drains", || Http::connect(admin).get("/ready").status == 503);
    server.signal(Signal::TERM);
    assert_eq!(server.end().0.code(), Some(1));
}

#[test]
fn a_connection_that_is_cut_off_is_exit_code_1() {
    let server = Process::start(&["--drain-timeout", "50ms"]);
    let _stuck = owed(server.echo[0], server.admin);
    server.signal(Signal::TERM);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("\"cut_off\":1"), "{log}");
}

#[test]
fn without_descriptors_accepting_pauses_and_goes_on() {
    let server = Process::start(&["--workers", "1"]);
    let admin = server.admin;
    let mut inside: Vec<_> = (0..20).map(|_| connect(server.echo[0])).collect();
    for stream in &mut inside {
        round_trip(stream, b"in").unwrap();
    }
    // Metrics are asked over a connection that is open already: the admin plane cannot accept either.
    let mut metrics = Http::connect(admin);
    let pauses = |metrics: &mut Http| {
        let text = String::from_utf8(metrics.get("/metrics").body).unwrap();
        let series = "tidemark_accept_pauses_total{reason=\"emfile\"} ";
        text.lines().find_map(|line| line.strip_prefix(series)?.parse::<u64>().ok()).unwrap()
    };
    assert_eq!(pauses(&mut metrics), 0);
    // The limit falls below what is open, as when an operator lowers it, so that every accept fails. The hard limit,
    // which the server has inherited from this process, stays, so that the soft one can be raised again.
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let low = Rlimit { current: Some(10), maximum };
    prlimit(Some(server.pid()), Resource::Nofile, low).unwrap();

    let mut waiting = connect(server.echo[0]);
    waiting.write_all(b"anybody?").unwrap();
    eventually("the pause is counted, and counted again", || pauses(&mut metrics) >= 2);
    for stream in &mut inside {
        assert_eq!(round_trip(stream, b"unharmed").unwrap(), b"unharmed");
    }
    let turns = |metrics: &mut Http| {
        let text = String::from_utf8(metrics.get("/metrics").body).unwrap();
        let series = "tidemark_loop_turn_seconds_count ";
        text.lines().find_map(|line| line.strip_prefix(series)?.parse::<u64>().ok()).unwrap()
    };
    let begin = Instant::now();
    let (turns_before, pauses_before) = (turns(&mut metrics), pauses(&mut metrics));
    eventually("it pauses again", || pauses(&mut metrics) >= pauses_before + 3);
    let (new_turns, new_pauses) = (turns(&mut metrics) - turns_before, pauses(&mut metrics) - pauses_before);
    assert!(new_turns <= new_pauses + 10, "a turn per pause: {new_turns} turns in {new_pauses} pauses");
    // However slow this machine is, so many pauses of 100 ms take their time; a loop that spins has thousands.
    let most = begin.elapsed().as_millis() / 100 + 1;
    assert!(u128::from(new_pauses) <= most, "{new_pauses} pauses where there is time for {most}");

    prlimit(Some(server.pid()), Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let mut back = [0; 8];
    waiting.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"anybody?", "the connection that waited is served");
    server.signal(Signal::TERM);
    drop((inside, waiting));
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("accepting pauses").count(), 1, "once per trouble: {log}");
}

#[test]
fn connections_that_came_all_at_once_are_all_accepted() {
    let server = Process::start(&["--workers", "1"]);
    // While it stands still its accept queue fills beyond what one turn accepts, and the kernel will not say so again.
    server.signal(Signal::STOP);
    let mut streams: Vec<_> = (0..500).map(|_| connect(server.echo[0])).collect();
    for stream in &mut streams {
        stream.write_all(b"here").unwrap();
    }
    server.signal(Signal::CONT);
    for stream in &mut streams {
        let mut back = [0; 4];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"here");
    }
}

#[test]
fn private_tables_hold_more_than_one_table_may() {
    // Each table may hold 200; the test itself needs as many as there are connections.
    let mut command = Command::new("sh");
    let serve = "ulimit -n 200; exec \"$0\" --log json serve --echo 127.0.0.1:0 --admin 127.0.0.1:0 --max-connections 400";
    let mut child = command.args(["-c", serve, BINARY]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut lines = String::new();
    while !lines.contains("\"message\":\"ready\"") {
        assert!(log.read_line(&mut lines).unwrap() > 0, "{lines}");
    }
    let addr = |proto: &str| {
        let line = lines.lines().find(|line| line.contains(&format!("\"proto\":\"{proto}\""))).unwrap();
        line.split_once("\"addr\":\"").unwrap().1.split('"').next().unwrap().parse().unwrap()
    };
    let server = Process { child, log, echo: vec![addr("echo")], http: Vec::new(), admin: addr("admin") };
    assert!(lines.contains("\"fd_tables\":\"private\""), "{lines}");
    let mut streams: Vec<_> = (0..400).map(|_| connect(server.echo[0])).collect();
    for stream in &mut streams {
        assert_eq!(round_trip(stream, b"in").unwrap(), b"in");
    }
    assert_eq!(metric(server.admin, "tidemark_connections_open"), 400);
    assert!(metric(server.admin, "process_open_fds") > 400);
    let workers = lines.split_once("\"workers\":").unwrap().1.split([',', '}']).next().unwrap();
    let tables = workers.parse::<u64>().unwrap() + 1;
    assert_eq!(metric(server.admin, "process_max_fds"), 200 * tables, "each worker's table, and the others'");
    drop(streams);
    server.signal(Signal::TERM);
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn a_port_range_is_served_and_healthcheck_asks_it() {
    let server = Process::start(&["--pin", "--echo", "127.0.0.1:0"]);
    assert_eq!((server.echo.len(), server.http.len()), (2, 1));
    for addr in &server.echo {
        assert_eq!(round_trip(&mut connect(*addr), b"each").unwrap(), b"each");
    }
    let check = |url: &str| Command::new(BINARY).args(["healthcheck", url]).output().unwrap();
    assert_eq!(check(&format!("http://{}/ready", server.admin)).status.code(), Some(0));
    assert_eq!(check(&format!("http://{}/health", server.http[0])).status.code(), Some(0));
    let missing = check(&format!("http://{}/nothing", server.admin));
    assert_eq!(missing.status.code(), Some(4));
    let text = String::from_utf8(missing.stderr).unwrap();
    assert!(text.lines().count() == 1 && text.contains("404"), "{text}");
}
