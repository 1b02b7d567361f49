//! Sockets: where they come from and go to, what is set on them, and why a connection was slow to come about.

mod kernel;
mod witness;

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};
use socket2::Socket;
use tidemark_loadgen::report::Report;

use self::kernel::{ESTABLISHED, SYN_SENT, TIME_WAIT, await_sockets, tcp_sockets};
use self::witness::{End, Witness};
use crate::processes::{Loadgen, Running};
use crate::results::{main_population, report};

/// Not so fast that a machine which is busy could not do it.
const SHORT: &str = "-r 200 -d 500ms --warmup 0s --seed 1";

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn warned(report: &Report, check: &str) -> String {
    let found = report.verdict.warnings.iter().find(|finding| finding.check == check);
    found.unwrap_or_else(|| panic!("no {check} in {:?}", report.verdict)).text.clone()
}

/// Every connection came about and was of use. Nothing is said of how fast: other tests run at the same time.
#[track_caller]
fn assert_served(report: &Report) {
    let population = main_population(report);
    assert_eq!(population.connections.opened, population.connections.requested);
    assert!(population.arrivals.completed > 0);
    assert!(population.errors.is_empty() && population.connection_errors.is_empty(), "{population:?}");
}

/// The TCP sockets of the process, to look at; `None` where this machine does not allow it.
fn sockets_of(running: &Running) -> Option<Vec<Socket>> {
    let pid = running.pid();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let fds = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
    let mut sockets = Vec::new();
    for fd in fds.map(|entry| entry.unwrap().path()) {
        if fs::read_link(&fd).is_ok_and(|link| link.to_string_lossy().starts_with("socket:")) {
            let number = fd.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let copy = pidfd_getfd(process.as_fd(), number, PidfdGetfdFlags::empty()).ok()?;
            let socket = Socket::from(copy);
            // Signals come in over a pair of Unix sockets.
            if socket.peer_addr().is_ok_and(|peer| peer.as_socket().is_some()) {
                sockets.push(socket);
            }
        }
    }
    Some(sockets)
}

/// The sockets of a run with `options`, and its report.
fn look_at(options: &str, look: impl Fn(&Socket)) -> Report {
    let (address, _ends) = Witness::serving(loopback());
    let loadgen = Loadgen::new();
    let options = format!("-r 100 -c 3 -d 600s --warmup 0s {options}");
    let mut running = loadgen.start_run(&address.to_string(), &options);
    running.await_line("connections are open");
    match sockets_of(&running) {
        Some(sockets) => {
            assert_eq!(sockets.len(), 3);
            sockets.iter().for_each(look);
        }
        None => println!("skipped: this host forbids pidfd_getfd"),
    }
    running.await_line("1/600 s");
    running.signal(Signal::INT);
    report(&loadgen, &running.finish())
}

#[test]
fn what_is_asked_for_is_set_on_the_sockets_and_in_the_report() {
    let report =
        look_at("--nodelay off --send-buffer 20000 --receive-buffer 30000 --linger reset", |socket| {
            assert!(!socket.tcp_nodelay().unwrap());
            assert_eq!(socket.send_buffer_size().unwrap(), 40_000);
            assert_eq!(socket.recv_buffer_size().unwrap(), 60_000);
            assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        });
    let planned = serde_json::json!({
        "nodelay": false,
        "send_buffer": { "asked_bytes": 20_000, "got_bytes": 40_000 },
        "receive_buffer": { "asked_bytes": 30_000, "got_bytes": 60_000 },
        "linger": "reset",
    });
    assert_eq!(report.plan["connect"]["socket"], planned);
}

#[test]
fn what_is_not_asked_for_is_nodelay_and_the_kernels_choice() {
    let report = look_at("", |socket| {
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.linger().unwrap(), None);
    });
    let planned = serde_json::json!({
        "nodelay": true,
        "send_buffer": null,
        "receive_buffer": null,
        "linger": "fin",
    });
    assert_eq!(report.plan["connect"]["socket"], planned);
}

#[test]
fn a_buffer_that_the_kernel_makes_larger_is_told_and_carries_requests_larger_than_itself() {
    let (address, _ends) = Witness::serving(loopback());
    let loadgen = Loadgen::new();
    let finished =
        loadgen.run(&address.to_string(), &format!("{SHORT} -c 4 --send-buffer 1 --payload 20000"));
    let report = report(&loadgen, &finished);
    let got = report.plan["connect"]["socket"]["send_buffer"]["got_bytes"].as_u64().unwrap();
    assert!((2..20_000).contains(&got), "{got}");
    assert!(
        finished.stdout.contains(&format!("--send-buffer 1: the kernel gives {got} bytes")),
        "{finished:?}"
    );
    assert!(main_population(&report).arrivals.completed > 0, "{finished:?}");
}

/// Runs with connections from two addresses, and tells how those from the second ended: the exchange before the run comes
/// from the first.
fn ends_with(linger: &str, source: [&str; 2]) -> (u16, Vec<End>) {
    let (address, ends) = Witness::serving(loopback());
    let loadgen = Loadgen::new();
    let options = format!("{SHORT} -c 6 --linger {linger} --source {}-{}", source[0], source[1]);
    let finished = loadgen.run(&address.to_string(), &options);
    assert_eq!(main_population(&report(&loadgen, &finished)).arrivals.in_flight_at_end, 0, "{finished:?}");
    let second: IpAddr = source[1].parse().unwrap();
    // One is the exchange before the run.
    let all = (0..7).map(|_| ends.recv().unwrap());
    (address.port(), all.filter(|(peer, _)| *peer == second).map(|(_, end)| end).collect())
}

#[test]
fn a_connection_closed_in_order_keeps_its_port_for_a_while() {
    let (port, ends) = ends_with("fin", ["127.0.71.1", "127.0.71.2"]);
    assert_eq!(ends, [End::Fin; 3]);
    let local: IpAddr = "127.0.71.2".parse().unwrap();
    await_sockets(3, "three in TIME_WAIT", |socket| {
        socket.state == TIME_WAIT && socket.local.ip() == local && socket.remote.port() == port
    });
}

#[test]
fn a_connection_closed_by_a_reset_leaves_nothing_behind() {
    let (port, ends) = ends_with("reset", ["127.0.72.1", "127.0.72.2"]);
    assert_eq!(ends, [End::Reset; 3]);
    let local: IpAddr = "127.0.72.2".parse().unwrap();
    let left = |socket: &kernel::TcpSocket| socket.local.ip() == local && socket.remote.port() == port;
    assert!(!tcp_sockets().iter().any(left), "{:?}", tcp_sockets());
}

/// Two ports, one after the other, that nobody listens on.
fn two_ports() -> [Witness; 2] {
    loop {
        let first = Witness::with_backlog(64);
        let next = first.address.port().checked_add(1).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        // Somebody else may have it; it is free again for the witness once it is dropped here.
        if let Some(next) = next.filter(|&next| TcpListener::bind(next).is_ok()) {
            return [first, Witness::listen(next, 64)];
        }
    }
}

#[test]
fn every_source_address_connects_to_every_port() {
    let witnesses = two_ports();
    let ends = witnesses.each_ref().map(Witness::serve);
    let [first, last] = witnesses.each_ref().map(|witness| witness.address.port());
    let loadgen = Loadgen::new();
    let options = format!("{SHORT} -c 8 --source 127.0.73.1-127.0.73.2");
    let finished = loadgen.run(&format!("tcp://127.0.0.1:{first}-{last}"), &options);
    assert_served(&report(&loadgen, &finished));
    for (index, ends) in ends.into_iter().enumerate() {
        // The exchange before the run goes from the first address to the first port.
        let is_checked = index == 0;
        let mut peers: Vec<String> =
            (0..4 + usize::from(is_checked)).map(|_| ends.recv().unwrap().0.to_string()).collect();
        peers.sort_unstable();
        let (one, two) = (2 + usize::from(is_checked), 2);
        let expected = [vec!["127.0.73.1"; one], vec!["127.0.73.2"; two]].concat();
        assert_eq!(peers, expected);
    }
}

#[test]
fn syns_that_were_dropped_are_told_from_other_slow_connects() {
    let witness = Witness::with_backlog(1);
    let loadgen = Loadgen::new();
    let running = loadgen
        .start_run(&witness.address.to_string(), "-r 100 -c 3 -d 1s --warmup 0s --connect-timeout 100s");
    // The queue is full before the first connection of the run.
    let _queued = witness.answer_check(2);
    await_sockets(3, "every SYN is sent again", |socket| {
        socket.remote == witness.address && socket.state == SYN_SENT && socket.retransmits > 0
    });
    let _ends = witness.serve();
    let finished = running.finish();
    let report = report(&loadgen, &finished);
    let handshakes = main_population(&report).handshakes;
    assert_eq!((handshakes.established, handshakes.syn_retransmitted), (3, 3), "{finished:?}");
    assert_eq!((handshakes.round_trip.count, handshakes.unanswered), (0, 0));
    assert_eq!(handshakes.first_request_retransmitted, 0, "a SYN is no request");
    assert_eq!(main_population(&report).connect.count, 3);
    assert!(warned(&report, "syn_retransmitted").starts_with("3 of 3 connections had their SYN sent again"));
    let line = "handshakes   3 with their SYN sent again\n";
    assert!(finished.stdout.contains(line), "{}", finished.stdout);
}

#[test]
fn a_target_that_stops_accepting_is_told_from_one_that_is_slow() {
    // One place is left: the kernel takes one connection of the run, and drops the SYNs of the others.
    let witness = Witness::with_backlog(1);
    let loadgen = Loadgen::new();
    let running = loadgen.start_run(
        &witness.address.to_string(),
        "-c 3 -d 1s --warmup 0s --connect-timeout 200ms --timeout 300ms",
    );
    let _queued = witness.answer_check(1);
    let finished = running.finish();
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let report = report(&loadgen, &finished);
    let (handshakes, connections) =
        (main_population(&report).handshakes, main_population(&report).connections);
    assert_eq!((handshakes.established, connections.failed), (1, 2), "{finished:?}");
    let unanswered = main_population(&report).connection_errors["connect_timeout"];
    assert!(unanswered >= 6, "three attempts each: {finished:?}");
    assert_eq!((handshakes.unanswered, handshakes.first_reply_timed_out), (unanswered, 1));
    assert!(warned(&report, "syn_unanswered").contains("a full accept queue or the network"));
    assert!(warned(&report, "first_reply_timed_out").contains("does the target still accept?"));
}

#[test]
fn a_late_accept_is_in_the_first_reply_and_not_in_connect() {
    let witness = Witness::with_backlog(64);
    let loadgen = Loadgen::new();
    let mut running =
        loadgen.start_run(&witness.address.to_string(), "-r 100 -c 4 -d 3s --warmup 0s --timeout 100s");
    let _queued = witness.answer_check(0);
    await_sockets(4, "a request on every connection", |socket| {
        socket.local == witness.address && socket.unread > 0
    });
    let all_asked = Instant::now();
    running.await_line("1/3 s");
    let unaccepted = all_asked.elapsed();
    let _ends = witness.serve();
    let finished = running.finish();
    let report = report(&loadgen, &finished);
    let handshakes = main_population(&report).handshakes;
    assert_eq!((handshakes.established, handshakes.first_reply.count), (4, 4), "{finished:?}");
    assert_eq!((handshakes.syn_retransmitted, handshakes.first_request_retransmitted), (0, 0));
    // A histogram's lowest value is at most 1 % below what was recorded.
    let least_ns = handshakes.first_reply.min_ns as f64 * 1.01;
    assert!(least_ns >= unaccepted.as_nanos() as f64, "{unaccepted:?}: {handshakes:?}");
}

#[test]
fn a_first_request_that_found_no_room_is_told() {
    let witness = Witness::with_backlog(4);
    // A connection is in the queue from its first request on, so that the queue fills up after the handshakes.
    witness.defer_accept();
    let loadgen = Loadgen::new();
    let running = loadgen.start_run(&witness.address.to_string(), "-c 3 -d 1s --warmup 0s --timeout 100s");
    let _queued = witness.answer_check(4);
    // There is room for one of three.
    await_sockets(2, "two requests are sent again", |socket| {
        socket.remote == witness.address && socket.state == ESTABLISHED && socket.retransmits > 0
    });
    let _ends = witness.serve();
    let finished = running.finish();
    let report = report(&loadgen, &finished);
    let handshakes = main_population(&report).handshakes;
    assert_eq!((handshakes.established, handshakes.syn_retransmitted), (3, 0), "{finished:?}");
    assert_eq!(handshakes.first_request_retransmitted, 2, "{finished:?}");
    assert!(warned(&report, "first_request_retransmitted").starts_with("2 connections"));
}

#[test]
fn ipv6_is_a_family_like_the_other() {
    let Ok(address) = TcpListener::bind("[::1]:0").and_then(|listener| listener.local_addr()) else {
        return println!("skipped: this host has no IPv6");
    };
    let (address, ends) = Witness::serving(SocketAddr::new(address.ip(), 0));
    for options in ["", "--source ::1"] {
        let loadgen = Loadgen::new();
        let finished = loadgen.run(&format!("tcp://{address}"), &format!("{SHORT} -c 4 {options}"));
        let report = report(&loadgen, &finished);
        assert_served(&report);
        assert_eq!(report.target, format!("tcp://{address}"));
        assert!((0..5).all(|_| ends.recv().unwrap().0 == address.ip()), "{finished:?}");
    }
}

/// An address that is valid on one link only, with its interface's name: `fe80::1%eth0`.
fn link_local() -> Option<String> {
    const LINK_SCOPE: &str = "20";
    let all = fs::read_to_string("/proc/net/if_inet6").ok()?;
    let mut lines = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(3) == Some(&LINK_SCOPE))?;
    let address = u128::from_str_radix(line.first()?, 16).ok()?;
    Some(format!("{}%{}", std::net::Ipv6Addr::from(address), line.last()?))
}

#[test]
fn a_link_local_target_keeps_its_interface() {
    let Some(host) = link_local() else { return println!("skipped: no link-local address") };
    let resolved = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 0)).unwrap().next().unwrap();
    let (address, _ends) = Witness::serving(resolved);
    let source = host.split('%').next().unwrap();
    for options in [String::new(), format!("--source {source}")] {
        let loadgen = Loadgen::new();
        let target = format!("[{host}]:{}", address.port());
        let finished = loadgen.run(&target, &format!("{SHORT} -c 2 {options}"));
        let report = report(&loadgen, &finished);
        assert_served(&report);
        assert_eq!(report.target, format!("tcp://{target}"));
    }
}

#[test]
fn a_host_name_is_resolved_and_stays_in_the_report() {
    let (address, _ends) = Witness::serving(loopback());
    let loadgen = Loadgen::new();
    let target = format!("tcp://localhost:{}", address.port());
    let finished = loadgen.run(&target, &format!("{SHORT} -c 2"));
    let report = report(&loadgen, &finished);
    assert_served(&report);
    assert_eq!(report.target, target);
}

/// A name with two addresses of its own needs an `/etc/hosts` of its own, which takes a mount namespace.
#[test]
fn of_a_name_with_several_addresses_the_one_that_answers_is_measured() {
    // The system puts 127.0.0.1 first, because it is nearest to itself.
    let (address, _ends) = Witness::serving(SocketAddr::from(([127, 0, 0, 2], 0)));
    let loadgen = Loadgen::new();
    fs::write(loadgen.dir().join("hosts"), "127.0.0.2 twofold.test\n127.0.0.1 twofold.test\n").unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]).current_dir(loadgen.dir());
    command.arg("mount --bind hosts /etc/hosts || exit 77; exec \"$0\" \"$@\"");
    command.arg(env!("CARGO_BIN_EXE_tidemark-loadgen"));
    command.args(["run", "--live", "off", "-c", "2", "-d", "300ms", "--warmup", "0s"]);
    let output = command.arg(format!("twofold.test:{}", address.port())).output();
    let Some(output) = output.ok().filter(|output| matches!(output.status.code(), Some(0 | 2..=4))) else {
        return println!("skipped: this host forbids a mount namespace");
    };
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("twofold.test has the addresses"), "{told}");
    assert!(told.contains("127.0.0.1") && told.contains("127.0.0.2 is measured"), "{told}");
}
