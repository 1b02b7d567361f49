//! HTTP over the wire: what is served, and what is refused without harm to anybody else.

use std::io::{Read, Write};
use std::net::Shutdown;

use tidemark_server::Engine;

use crate::client::{Http, eventually, metric, pattern, start};

for_every_engine! {
    each_path_has_its_answers
    malformed_requests_get_their_status_and_a_close_and_harm_nobody
    a_refusal_reaches_a_client_that_is_still_sending
    pipelined_requests_are_answered_in_order_also_behind_a_full_socket
    a_request_in_single_bytes_is_a_request
    bodies_are_echoed_in_both_framings
    a_chunked_body_beyond_the_limit_is_cut_without_its_end
    a_withheld_body_is_asked_for
    an_answer_survives_whatever_is_sent_behind_its_request
    connection_close_is_kept_by_both_sides
    requests_before_a_half_close_are_answered
}

fn each_path_has_its_answers(engine: Engine) {
    let server = start(engine);
    let mut http = Http::to(&server);
    let health = http.get("/health");
    assert_eq!((health.status, &health.body[..]), (200, &br#"{"status":"ok"}"#[..]));
    assert_eq!(health.field("content-type"), Some("application/json"));
    assert!(health.field("date").is_some_and(|date| date.ends_with(" gmt")), "{}", health.head);
    assert_eq!(http.get("/ready").status, 200);
    assert_eq!(http.get("/nothing").status, 404);
    let refused = http.get("/echo");
    assert_eq!((refused.status, refused.field("allow")), (405, Some("post")));
    http.send(b"HEAD /health HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = http.head();
    assert_eq!((head.status, head.field("content-length")), (200, Some("15")));
    assert_eq!(http.get("/health").status, 200, "a HEAD has no body in the way");
    let admin = server.admin_addr();
    assert_eq!(metric(admin, "http_requests_total{status=\"200\"}"), 4);
    assert_eq!(metric(admin, "http_requests_total{status=\"404\"}"), 1);
    assert_eq!(metric(admin, "http_requests_total{status=\"405\"}"), 1);
}

/// Each with the status that it deserves.
fn malformed() -> Vec<(&'static str, u16, Vec<u8>)> {
    let echo = |fields: &str, body: &str| {
        format!("POST /echo HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}").into_bytes()
    };
    let get = |line: &str, fields: &str| format!("{line}\r\n{fields}\r\n").into_bytes();
    vec![
        ("both framings", 400, echo("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n")),
        (
            "both framings, other order",
            400,
            echo("transfer-encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
        ),
        ("two lengths", 400, echo("content-length: 5\r\ncontent-length: 6\r\n", "hello")),
        ("the same length twice", 400, echo("content-length: 5\r\ncontent-length: 5\r\n", "hello")),
        ("a list of lengths", 400, echo("content-length: 5, 5\r\n", "hello")),
        ("a signed length", 400, echo("content-length: +5\r\n", "hello")),
        ("a negative length", 400, echo("content-length: -1\r\n", "")),
        ("a length beyond 64 bits", 400, echo("content-length: 99999999999999999999\r\n", "")),
        ("an unknown coding", 501, echo("transfer-encoding: gzip\r\n", "")),
        ("chunked not last", 400, echo("transfer-encoding: chunked, gzip\r\n", "")),
        ("a bad chunk size", 400, echo("transfer-encoding: chunked\r\n", "zz\r\n")),
        (
            "a chunk size with a bare line feed",
            400,
            echo("transfer-encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"),
        ),
        ("a folded line", 400, get("GET /health HTTP/1.1", "host: a\r\nx: b\r\n c\r\n")),
        ("a bare line feed", 400, b"GET /health HTTP/1.1\nhost: a\n\n".to_vec()),
        ("a bare carriage return", 400, get("GET /health HTTP/1.1", "host: a\r\nx: b\rc\r\n")),
        ("a space before the colon", 400, get("GET /health HTTP/1.1", "host : a\r\n")),
        ("a control character", 400, get("GET /health HTTP/1.1", "host: a\r\nx: \0\r\n")),
        ("no host", 400, get("GET /health HTTP/1.1", "")),
        ("two hosts", 400, get("GET /health HTTP/1.1", "host: a\r\nhost: b\r\n")),
        ("no version", 400, get("GET /health", "")),
        ("another version", 505, get("GET /health HTTP/2.0", "host: a\r\n")),
        ("no HTTP at all", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("a long target", 414, get(&format!("GET /{} HTTP/1.1", "a".repeat(5_000)), "host: a\r\n")),
        (
            "a long field",
            431,
            get("GET /health HTTP/1.1", &format!("host: a\r\nx: {}\r\n", "a".repeat(9_000))),
        ),
        ("many fields", 431, get("GET /health HTTP/1.1", &format!("host: a\r\n{}", "x: y\r\n".repeat(100)))),
        ("a long body", 413, echo("content-length: 1048577\r\n", "hello")),
        ("another expectation", 417, echo("expect: a miracle\r\ncontent-length: 5\r\n", "hello")),
    ]
}

fn malformed_requests_get_their_status_and_a_close_and_harm_nobody(engine: Engine) {
    let server = start(engine);
    let mut other = Http::to(&server);
    let cases = malformed();
    for (what, status, request) in &cases {
        let mut http = Http::to(&server);
        // What follows must never be taken for a request of its own: that would be the smuggled one.
        http.send(&[request, &b"GET /health HTTP/1.1\r\nhost: smuggled\r\n\r\n"[..]].concat());
        let response = http.response();
        assert_eq!(response.status, *status, "{what}: {}", response.head);
        assert_eq!(response.field("connection"), Some("close"), "{what}");
        assert_eq!(String::from_utf8_lossy(&http.rest()), "", "{what}: nothing after the refusal");
        assert_eq!(other.get("/health").status, 200, "{what}: the neighbour");
    }
    let admin = server.admin_addr();
    eventually("all are counted", || {
        metric(admin, "tidemark_connections_closed_total{reason=\"bad_request\"}") == cases.len() as u64
    });
    assert_eq!(metric(admin, "tidemark_connections_open"), 1);
}

fn a_refusal_reaches_a_client_that_is_still_sending(engine: Engine) {
    let server = start(engine);
    for _ in 0..20 {
        let mut http = Http::to(&server);
        http.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\n\r\n");
        // Below what is read from a peer that was told goodbye.
        http.send(&pattern(900_000));
        assert_eq!(http.response().status, 413);
        assert_eq!(http.rest(), b"");
    }
}

fn pipelined_requests_are_answered_in_order_also_behind_a_full_socket(engine: Engine) {
    const REQUESTS: usize = 40_000;
    let server = start(engine);
    let http = Http::to(&server);
    let mut requests = Vec::new();
    for index in 0..REQUESTS {
        let body = index.to_string();
        let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        requests.extend_from_slice(head.as_bytes());
        requests.extend_from_slice(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    let writer = http.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (&writer).write_all(&requests).unwrap());
        // Waits until the server cannot go on, because its answers are not read.
        let admin = server.admin_addr();
        let mut before = 0;
        eventually("the server waits for its answers to be read", || {
            let now = metric(admin, "tidemark_received_bytes_total");
            let stands = now == before && now > 0;
            before = now;
            stands
        });
        let mut http = http;
        for index in 0..REQUESTS {
            assert_eq!(http.response().body, index.to_string().as_bytes());
            assert_eq!(http.response().body, br#"{"status":"ok"}"#);
        }
    });
}

fn a_request_in_single_bytes_is_a_request(engine: Engine) {
    let server = start(engine);
    let mut http = Http::to(&server);
    let request = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for byte in request {
        http.send(std::slice::from_ref(byte));
    }
    assert_eq!(http.response().body, b"abcde");
    assert_eq!(http.get("/health").status, 200);
}

fn bodies_are_echoed_in_both_framings(engine: Engine) {
    let server = start(engine);
    let mut http = Http::to(&server);
    for len in [0, 1, 65_536, 1 << 20] {
        let body = pattern(len);
        let writer = http.stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n");
                (&writer).write_all(&[head.as_bytes(), &body].concat()).unwrap();
                let mut chunked =
                    b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
                for chunk in body.chunks(10_000) {
                    write!(chunked, "{:x}\r\n", chunk.len()).unwrap();
                    chunked.extend_from_slice(chunk);
                    chunked.extend_from_slice(b"\r\n");
                }
                chunked.extend_from_slice(b"0\r\n\r\n");
                (&writer).write_all(&chunked).unwrap();
            });
            let by_length = http.response();
            assert!(by_length.status == 200 && by_length.body == body, "{len} by length");
            let chunked = http.response();
            assert_eq!(chunked.field("transfer-encoding"), Some("chunked"));
            assert!(chunked.status == 200 && chunked.body == body, "{len} in chunks");
        });
    }
}

fn a_chunked_body_beyond_the_limit_is_cut_without_its_end(engine: Engine) {
    let server = start(engine);
    let mut http = Http::to(&server);
    http.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(http.head().status, 200);
    http.send(b"fffffff\r\n");
    assert_eq!(http.rest(), b"3\r\nabc\r\n", "no last chunk: the client sees that something is missing");
}

fn a_withheld_body_is_asked_for(engine: Engine) {
    let server = start(engine);
    let mut http = Http::to(&server);
    http.send(b"POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(http.head().status, 100);
    http.send(b"hello");
    let response = http.response();
    assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
    http.send(b"POST /nothing HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let refused = http.response();
    assert_eq!((refused.status, refused.field("connection")), (404, Some("close")));
    assert_eq!(http.rest(), b"");
}

fn an_answer_survives_whatever_is_sent_behind_its_request(engine: Engine) {
    let server = start(engine);
    for _ in 0..20 {
        let mut http = Http::to(&server);
        // More than one read takes: to close with the rest unread would reset the connection.
        let mut bytes = b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec();
        bytes.extend_from_slice(&pattern(600_000));
        http.send(&bytes);
        assert_eq!(http.response().status, 200);
        assert_eq!(http.rest(), b"");
    }
}

fn connection_close_is_kept_by_both_sides(engine: Engine) {
    let server = start(engine);
    let mut http = Http::to(&server);
    http.send(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /health HTTP/1.1\r\nhost: a\r\n\r\n");
    let response = http.response();
    assert_eq!((response.status, response.field("connection")), (200, Some("close")));
    assert_eq!(http.rest(), b"", "what follows a close is not answered");
    let admin = server.admin_addr();
    eventually("counted as finished", || {
        metric(admin, "tidemark_connections_closed_total{reason=\"finished\"}") == 1
    });
}

fn requests_before_a_half_close_are_answered(engine: Engine) {
    let server = start(engine);
    let mut http = Http::to(&server);
    http.send(&b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1_000));
    http.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..1_000 {
        assert_eq!(http.response().status, 200);
    }
    let mut rest = Vec::new();
    http.stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}
