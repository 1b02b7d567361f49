//! More clients than there are descriptors.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use tidemark_server::Engine;

use crate::client::{DEADLINE, Http, connect, eventually, metric, round_trip};
use crate::process::Process;

for_every_engine! {
    a_thousand_clients_for_256_descriptors_wait_without_a_spin_and_are_all_served
    a_thousand_clients_are_served_or_refused_and_all_are_counted
}

const CLIENTS: usize = 1000;
const NOFILE: u64 = 256;

const WORKERS: u64 = 2;

/// How long a worker that lacks a descriptor waits, unless a connection ends before.
const PAUSE: Duration = Duration::from_millis(100);

fn start(engine: Engine, flags: &[&str]) -> Process {
    // The clients are this process's.
    tidemark_host::limits::raise_nofile().unwrap();
    let workers = WORKERS.to_string();
    let engine = ["--engine", engine.name(), "--workers", &workers, "--fd-tables", "shared"];
    Process::start(&[&engine, flags].concat())
}

/// Clients that have come and have said something; fewer when some have been turned away by now.
fn crowd(addr: SocketAddr) -> Vec<TcpStream> {
    let arrive = |_| {
        let mut stream = TcpStream::connect_timeout(&addr, DEADLINE).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(b"here").ok()?;
        Some(stream)
    };
    (0..CLIENTS).filter_map(arrive).collect()
}

/// Waits until some have an answer or an end, and takes them out.
fn take_answered(waiting: &mut Vec<TcpStream>) -> Vec<TcpStream> {
    let mut fds: Vec<PollFd<'_>> =
        waiting.iter().map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)).collect();
    let patience = Timespec { tv_sec: DEADLINE.as_secs().cast_signed(), tv_nsec: 0 };
    assert!(poll(&mut fds, Some(&patience)).unwrap() > 0, "{} clients are left waiting", fds.len());
    let mut answered = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
    let (answered, rest) = waiting.drain(..).partition(|_| answered.next() == Some(true));
    *waiting = rest;
    answered
}

fn is_served(stream: &mut TcpStream) -> bool {
    let mut back = [0; 4];
    stream.read_exact(&mut back).is_ok() && back == *b"here"
}

fn pauses(metrics: &mut Http) -> u64 {
    let text = String::from_utf8(metrics.get("/metrics").body).unwrap();
    let series = "tidemark_accept_pauses_total{reason=\"emfile\"} ";
    text.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).unwrap()
}

/// What the threads that run connections have had of the CPUs.
fn workers_cpu_time(process: Pid) -> Duration {
    let tasks = format!("/proc/{}/task", process.as_raw_nonzero());
    let of_thread = |task: std::io::Result<std::fs::DirEntry>| {
        let task = task.unwrap().path();
        if !std::fs::read_to_string(task.join("comm")).unwrap().starts_with("worker-") {
            return 0;
        }
        let times = std::fs::read_to_string(task.join("schedstat")).unwrap();
        times.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    Duration::from_nanos(std::fs::read_dir(tasks).unwrap().map(of_thread).sum())
}

fn a_thousand_clients_for_256_descriptors_wait_without_a_spin_and_are_all_served(engine: Engine) {
    let server = start(engine, &["--max-connections", "10000"]);
    let admin = server.admin;
    // Open before there are none left: the admin plane needs one, too.
    let mut metrics = Http::connect(admin);
    assert_eq!(pauses(&mut metrics), 0);
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(server.pid()), Resource::Nofile, Rlimit { current: Some(NOFILE), maximum }).unwrap();

    let mut waiting = crowd(server.echo[0]);
    eventually("it has no descriptor left", || pauses(&mut metrics) > 0);

    // While it is paused: the workers do next to nothing, and look no more often than they say.
    let (begin, cpu_before, pauses_before) =
        (Instant::now(), workers_cpu_time(server.pid()), pauses(&mut metrics));
    eventually("it has looked again for a while", || pauses(&mut metrics) >= pauses_before + 20);
    let (cpu, took) = (workers_cpu_time(server.pid()).saturating_sub(cpu_before), begin.elapsed());
    assert!(cpu < took / 10, "{cpu:?} of CPU time in {took:?} of waiting");

    // Descriptors come free as clients leave, until everybody had one.
    let (mut answers, mut left) = (0, 0);
    while !waiting.is_empty() {
        let mut answered = take_answered(&mut waiting);
        answers += answered.iter_mut().filter_map(|stream| is_served(stream).then_some(())).count();
        left += answered.len() as u64;
        drop(answered);
        // The workers have counted their own waiting, however slow this machine is: a pause ends with a connection, which may
        // wake every worker though there is a descriptor for one, or with its time.
        let paused = pauses(&mut metrics) - pauses_before;
        let waits = begin.elapsed().as_millis() / PAUSE.as_millis() + 1;
        let allowed = WORKERS * (left + u64::try_from(waits).unwrap());
        assert!(paused <= allowed, "{paused} pauses though {left} have left and {waits} have passed");
    }
    assert_eq!(answers, CLIENTS);
    assert_eq!(metric(admin, "tidemark_connections_accepted_total"), CLIENTS as u64);

    drop(metrics);
    server.signal(Signal::TERM);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{log}");
}

fn a_thousand_clients_are_served_or_refused_and_all_are_counted(engine: Engine) {
    // As many as 256 descriptors leave room for.
    let server = start(engine, &["--max-connections", "184"]);
    let mut waiting = crowd(server.echo[0]);
    let (mut inside, mut refused) = (Vec::new(), CLIENTS - waiting.len());
    while !waiting.is_empty() {
        for mut stream in take_answered(&mut waiting) {
            if is_served(&mut stream) { inside.push(stream) } else { refused += 1 }
        }
    }
    assert_eq!((inside.len(), refused), (184, CLIENTS - 184));
    let counted = |series: &str| metric(server.admin, series);
    assert_eq!(counted("tidemark_connections_accepted_total"), 184);
    assert_eq!(counted("tidemark_connections_rejected_total{reason=\"max_connections\"}"), refused as u64);
    drop(inside.pop());
    eventually("a place is free again", || counted("tidemark_connections_open") == 183);
    assert_eq!(round_trip(&mut connect(server.echo[0]), b"next").unwrap(), b"next");
}
