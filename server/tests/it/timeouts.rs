//! Peers that run out of time.

use std::io::{Read, Write};
use std::time::Duration;

use tidemark_server::{Config, Engine, Server};

use crate::client::{Http, config, connect, echo, eventually, metric, owed, round_trip};

for_every_engine! {
    an_idle_connection_is_told_goodbye
    a_connection_that_is_used_is_not_idle
    a_head_that_trickles_gets_408_and_harms_nobody
    a_head_has_its_time_again_with_each_request
    a_peer_that_takes_nothing_is_reset
    many_slow_heads_are_closed_while_others_are_served
}

const SHORT: Duration = Duration::from_millis(300);

fn with(engine: Engine, change: impl FnOnce(&mut Config)) -> tidemark_server::Running {
    let mut config = config(engine);
    change(&mut config);
    Server::start(config).unwrap()
}

fn timeouts(server: &tidemark_server::Running, kind: &str) -> u64 {
    metric(server.admin_addr(), &format!("tidemark_timeouts_total{{kind=\"{kind}\"}}"))
}

fn an_idle_connection_is_told_goodbye(engine: Engine) {
    let server = with(engine, |config| config.idle_timeout = SHORT);
    let mut raw = echo(&server);
    let mut http = Http::to(&server);
    assert_eq!(round_trip(&mut raw, b"hello").unwrap(), b"hello");
    assert_eq!(http.get("/health").status, 200);
    assert_eq!(raw.read(&mut [0; 1]).unwrap(), 0, "a goodbye and no reset");
    assert_eq!(http.rest(), b"");
    eventually("both are counted", || timeouts(&server, "idle") == 2);
    drop(raw);
    let closed = "tidemark_connections_closed_total{reason=\"idle_timeout\"}";
    eventually("both are closed", || metric(server.admin_addr(), closed) == 2);
}

fn a_connection_that_is_used_is_not_idle(engine: Engine) {
    let server = with(engine, |config| config.idle_timeout = SHORT);
    let mut used = echo(&server);
    let mut idle = echo(&server);
    assert_eq!(round_trip(&mut idle, b"hello").unwrap(), b"hello");
    // The other one's end tells that the time is over, with which this one is used all the while.
    idle.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    eventually("the idle one ends", || {
        assert_eq!(round_trip(&mut used, b"used").unwrap(), b"used");
        matches!(idle.read(&mut [0; 1]), Ok(0))
    });
    assert_eq!(timeouts(&server, "idle"), 1);
    assert_eq!(round_trip(&mut used, b"used").unwrap(), b"used");
}

fn a_head_that_trickles_gets_408_and_harms_nobody(engine: Engine) {
    let server = with(engine, |config| config.head_timeout = SHORT);
    let mut slow = connect(server.http_addrs()[0]);
    let mut healthy = Http::to(&server);
    slow.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nx: ").unwrap();
    let mut answer = Vec::new();
    eventually("the slow one is answered", || {
        // A byte now and then keeps it alive no longer. It may have been closed already.
        let _ = slow.write(b"y");
        let mut piece = [0; 1024];
        if let Ok(bytes @ 1..) = slow.read(&mut piece) {
            answer.extend_from_slice(&piece[..bytes]);
        }
        assert_eq!(healthy.get("/health").status, 200);
        answer.ends_with(b"timeout\n")
    });
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(timeouts(&server, "head"), 1);
    assert_eq!(metric(server.admin_addr(), "http_requests_total{status=\"408\"}"), 1);
}

fn a_head_has_its_time_again_with_each_request(engine: Engine) {
    let server = with(engine, |config| config.head_timeout = SHORT);
    let mut http = Http::to(&server);
    let mut other = connect(server.http_addrs()[0]);
    other.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    other.write_all(b"GET").unwrap();
    eventually("a head that was begun with the first one times out", || {
        // In two pieces each: a head that begins and ends.
        http.send(b"GET /health HTTP/1.1\r\n");
        http.send(b"host: a\r\n\r\n");
        assert_eq!(http.response().status, 200);
        matches!(other.read(&mut [0; 1]), Ok(1))
    });
    assert_eq!(http.get("/health").status, 200);
    assert_eq!(timeouts(&server, "head"), 1);
}

fn a_peer_that_takes_nothing_is_reset(engine: Engine) {
    let server = with(engine, |config| config.write_timeout = SHORT);
    let stuck = owed(server.echo_addrs()[0], server.admin_addr());
    eventually("it is counted", || timeouts(&server, "write") == 1);
    let closed = "tidemark_connections_closed_total{reason=\"write_timeout\"}";
    assert_eq!(metric(server.admin_addr(), closed), 1);
    // What is left in its own socket comes first, and then the reset.
    let mut stuck = stuck;
    let mut buffer = vec![0; 1 << 20];
    let error = loop {
        match stuck.read(&mut buffer) {
            Ok(0) => panic!("a goodbye for a peer that is owed something"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

fn many_slow_heads_are_closed_while_others_are_served(engine: Engine) {
    const SLOW: usize = 2000;
    let server = with(engine, |config| config.head_timeout = SHORT);
    let slow: Vec<_> = (0..SLOW)
        .map(|_| {
            let mut slow = connect(server.http_addrs()[0]);
            slow.write_all(b"GET /health HTTP/1.1\r\nx: y").unwrap();
            slow
        })
        .collect();
    let mut healthy: Vec<Http> = (0..500).map(|_| Http::to(&server)).collect();
    eventually("all slow ones are timed out", || {
        assert!(healthy.iter_mut().all(|http| http.get("/health").status == 200));
        timeouts(&server, "head") == SLOW as u64
    });
    for mut slow in slow {
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}
