//! Targets that are not there, that are something else, or that break while the run goes.

use std::net::TcpListener;
use tidemark_server::config::FdTables;
use tidemark_server::{Config, Server};

use crate::processes::{FaultyServer, Loadgen};
use crate::results::{failed_checks, main_population, report};

const WELL: [&str; 3] = ["stall", "--every", "1h"];
const SHORT: &str = "-c 4 -d 100ms --warmup 0s --timeout 300ms";

#[test]
fn a_target_that_is_not_there_is_told_before_the_run() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    Loadgen::new().run(&closed, SHORT).assert_one_line(4, &["cannot connect", &closed]);
}

#[test]
fn a_target_that_resets_at_once_is_told_before_the_run() {
    let server = FaultyServer::start(&["reset"]);
    // While it connects or when it reads: the reset comes when it comes.
    Loadgen::new().run(&server.address, SHORT).assert_one_line(4, &["Connection reset by peer"]);
}

#[test]
fn a_target_that_never_answers_is_told_before_the_run() {
    let server = FaultyServer::start(&["silent"]);
    for target in [server.address.clone(), server.url("/")] {
        Loadgen::new().run(&target, SHORT).assert_one_line(4, &["sent no reply within 0.3 s"]);
    }
}

#[test]
fn a_target_of_another_protocol_is_told_before_the_run() {
    let garbage = FaultyServer::start(&["garbage"]);
    let echo = FaultyServer::start(&WELL);
    let http = FaultyServer::start(&["stall", "--every", "1h", "--http"]);
    let generous = "-c 4 -d 100ms --warmup 0s";
    for target in [garbage.url("/"), echo.url("/")] {
        Loadgen::new().run(&target, generous).assert_one_line(4, &["something else than an HTTP/1.1 server"]);
    }
    let told = Loadgen::new().run(&http.address, generous);
    told.assert_one_line(4, &["something else than a TCP echo server"]);
}

#[test]
fn a_path_that_is_refused_is_told_before_the_run() {
    for (status, text) in [("404", "status_404"), ("503", "status_503")] {
        let server = FaultyServer::start(&["status", status]);
        Loadgen::new().run(&server.url("/nowhere"), SHORT).assert_one_line(4, &["/nowhere", text]);
    }
}

#[test]
fn wrong_replies_are_counted_and_make_the_run_invalid() {
    let server = FaultyServer::start(&["wrong", "--every-reply", "100"]);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, "-c 4 -d 1s --warmup 0s");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert!(population.arrivals.errored > 0, "{finished:?}");
    assert_eq!(population.errors.keys().collect::<Vec<_>>(), ["wrong_reply"]);
    assert_eq!(population.errors["wrong_reply"], population.arrivals.errored);
    assert_eq!(population.connections.lost, population.arrivals.errored);
    // One in a hundred is just about the part that may fail: whether that is told as well depends on the last reply.
    assert!(failed_checks(&report).contains(&"connections_lost"), "{finished:?}");
    assert!(finished.stdout.contains("INVALID"), "{}", finished.stdout);
}

#[test]
fn connections_that_are_dropped_make_the_run_invalid() {
    let server = FaultyServer::start(&["drop", "--after", "5"]);
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, "-c 4 -d 1s --warmup 0s");
    let report = report(&loadgen, &finished);
    let connections = main_population(&report).connections;
    assert!(connections.lost > 0, "{finished:?}");
    assert!(connections.opened > connections.requested, "they are opened again: {connections:?}");
    assert_eq!(connections.renewed, 0, "nothing was announced");
    assert!(failed_checks(&report).contains(&"connections_lost"), "{finished:?}");
}

#[test]
fn a_target_that_dies_leaves_a_report_of_it() {
    let mut server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let mut running = loadgen.start_run(&server.address, "-r 1000 -c 10 -d 3s --warmup 0s");
    running.await_line("1/3 s");
    server.kill();
    let finished = running.finish();
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert_eq!(population.connections.lost, 10, "{finished:?}");
    assert!(population.arrivals.completed > 0);
    assert!(population.arrivals.never_sent > 0, "{finished:?}");
    assert!(population.connection_errors.contains_key("refused"), "{:?}", population.connection_errors);
    let failed = failed_checks(&report);
    assert!(failed.contains(&"connections_lost") && failed.contains(&"never_sent"), "{finished:?}");
}

#[test]
fn a_target_that_freezes_is_in_the_response_at_the_age_it_reached() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let mut running = loadgen.start_run(&server.address, "-r 1000 -c 10 -d 3s --warmup 0s --timeout 500ms");
    running.await_line("1/3 s");
    server.freeze();
    let finished = running.finish();
    let report = report(&loadgen, &finished);
    let population = main_population(&report);
    assert!(population.arrivals.timed_out >= 10, "{finished:?}");
    assert_eq!(population.errors["timeout"], population.arrivals.timed_out);
    // Half of all arrivals or so wait for longer than the timeout.
    assert!(population.response.p90_ns >= 500_000_000, "{:?}", population.response);
    assert!(!report.verdict.valid);
}

#[test]
fn a_target_that_turns_connections_away_does_not_keep_the_ramp_going() {
    let loopback: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        echo: vec![loopback.into()],
        admin: loopback,
        max_connections: Some(10),
        fd_tables: FdTables::Shared,
        ..Config::default()
    };
    let server = Server::start(config).unwrap();
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.echo_addrs()[0].to_string(), "-r 500 -c 20 -d 1s --warmup 0s");
    let report = report(&loadgen, &finished);
    // The reset comes before a connection is noticed to be established, or after it.
    let turned_away = ["connections_failed", "connections_lost"];
    assert!(failed_checks(&report).iter().any(|check| turned_away.contains(check)), "{finished:?}");
    assert!(
        main_population(&report).arrivals.completed > 0,
        "those that were let in are served: {finished:?}"
    );
}
