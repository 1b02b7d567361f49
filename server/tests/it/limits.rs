//! What happens at the limits: too many connections, and a port that is taken.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use tidemark_server::{Config, Engine, Server, StartError};

use crate::client::{DEADLINE, Http, config, connect, echo, eventually, metric, round_trip};

for_every_engine! {
    a_raw_connection_too_many_is_reset_and_one_that_left_makes_room
    an_http_connection_too_many_gets_503_and_a_close
    a_server_that_is_full_still_answers_its_operator
    without_memory_nobody_is_let_in_and_the_operator_is_answered
    an_accept_rate_lets_everybody_in_who_waits
    a_port_in_use_is_refused_and_nothing_is_left_behind
    an_address_that_is_not_ours_is_refused
}

const MAX: u64 = 5;

fn without_memory_nobody_is_let_in_and_the_operator_is_answered(engine: Engine) {
    let server = Server::start(Config { memory_reserve: u64::MAX, ..config(engine) }).unwrap();
    let admin = server.admin_addr();
    let rejected = || metric(admin, "tidemark_connections_rejected_total{reason=\"memory\"}");
    // Memory is looked at for the first time soon after the start.
    eventually("a raw connection is reset", || {
        let refused = TcpStream::connect(server.echo_addrs()[0]).and_then(|mut stream| {
            stream.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
            stream.read(&mut [0])
        });
        refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    });
    let before = rejected();
    assert!(before > 0);
    let mut http = Http::to(&server);
    assert_eq!(http.response().status, 503);
    assert_eq!(rejected(), before + 1);
    assert_eq!(Http::connect(admin).get("/ready").status, 200);
}

fn an_accept_rate_lets_everybody_in_who_waits(engine: Engine) {
    // With a burst of one, so that of ten at once some have to wait.
    let server = Server::start(Config { accept_rate: Some(20), ..config(engine) }).unwrap();
    let mut waiting: Vec<TcpStream> = (0..10).map(|_| echo(&server)).collect();
    for stream in &mut waiting {
        assert_eq!(round_trip(stream, b"in").unwrap(), b"in");
    }
    let admin = server.admin_addr();
    assert!(metric(admin, "tidemark_accept_pauses_total{reason=\"accept_rate\"}") > 0);
    assert_eq!(metric(admin, "tidemark_connections_accepted_total"), 10);
}

fn small(engine: Engine) -> Config {
    Config { max_connections: Some(MAX), ..config(engine) }
}

/// Opens connections until the server is full.
fn fill(server: &tidemark_server::Running) -> Vec<TcpStream> {
    let fill = |_| {
        let mut stream = echo(server);
        round_trip(&mut stream, b"in").unwrap();
        stream
    };
    (0..MAX).map(fill).collect()
}

fn a_raw_connection_too_many_is_reset_and_one_that_left_makes_room(engine: Engine) {
    let server = Server::start(small(engine)).unwrap();
    let mut inside = fill(&server);
    // The reset may come as early as the end of the handshake, so that already connecting reports it.
    let refused = TcpStream::connect(server.echo_addrs()[0]).and_then(|mut stream| {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.read(&mut [0])
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let admin = server.admin_addr();
    assert_eq!(metric(admin, "tidemark_connections_rejected_total{reason=\"max_connections\"}"), 1);
    assert_eq!(metric(admin, "tidemark_connections_open"), MAX);
    for stream in &mut inside {
        assert_eq!(round_trip(stream, b"unharmed").unwrap(), b"unharmed");
    }
    inside.pop();
    eventually("there is room again", || server.open_connections() < MAX);
    let mut again = echo(&server);
    assert_eq!(round_trip(&mut again, b"hello").unwrap(), b"hello");
}

fn an_http_connection_too_many_gets_503_and_a_close(engine: Engine) {
    let server = Server::start(small(engine)).unwrap();
    let _inside = fill(&server);
    // More than are kept until they have read their refusal.
    for _ in 0..200 {
        let mut http = Http::to(&server);
        let response = http.response();
        assert_eq!((response.status, response.field("connection")), (503, Some("close")));
        http.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(http.rest(), b"");
    }
    let admin = server.admin_addr();
    assert_eq!(metric(admin, "tidemark_connections_rejected_total{reason=\"max_connections\"}"), 200);
    assert_eq!(metric(admin, "http_requests_total{status=\"503\"}"), 200);
    assert_eq!(metric(admin, "tidemark_connections_open"), MAX);
}

fn a_server_that_is_full_still_answers_its_operator(engine: Engine) {
    let server = Server::start(small(engine)).unwrap();
    let _inside = fill(&server);
    let mut admin = Http::connect(server.admin_addr());
    assert_eq!(admin.get("/health").status, 200);
    assert_eq!(admin.get("/ready").status, 200);
    assert_eq!(admin.get("/nothing").status, 404);
}

fn a_port_in_use_is_refused_and_nothing_is_left_behind(engine: Engine) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let first = Server::start(config(engine)).unwrap();
    for taken in [addr, first.echo_addrs()[0], first.admin_addr()] {
        let error = Server::start(Config { http: vec![taken.into()], ..config(engine) }).unwrap_err();
        assert!(matches!(error, StartError::Bind(_)), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on {taken}: the port is in use")), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
    let error = Server::start(Config { admin: addr, ..config(engine) }).unwrap_err();
    assert!(matches!(error, StartError::Bind(_)), "{error}");
    // The first one never noticed.
    assert_eq!(round_trip(&mut connect(first.echo_addrs()[0]), b"here").unwrap(), b"here");
}

fn an_address_that_is_not_ours_is_refused(engine: Engine) {
    // From the range for documentation: no interface has it.
    let foreign: std::net::SocketAddr = "192.0.2.1:0".parse().unwrap();
    let error = Server::start(Config { echo: vec![foreign.into()], ..config(engine) }).unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on 192.0.2.1:0"), "{error}");
}
