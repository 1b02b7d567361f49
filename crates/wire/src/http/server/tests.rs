use super::*;
use alloc::string::{String, ToString};
use alloc::vec;

/// A request's head in text, its body, and whether it ended.
#[derive(Debug, Default, PartialEq)]
struct Request {
    line: String,
    path: String,
    keep_alive: bool,
    expect_continue: bool,
    framing: Option<Body>,
    body: Vec<u8>,
    ended: bool,
}

fn feed(reader: &mut RequestReader, mut input: &[u8], limits: &Limits) -> Result<Vec<Request>, Reject> {
    let mut requests = vec![];
    while let Some(event) = reader.next(&mut input, limits)? {
        match event {
            Event::Head(head) => requests.push(Request {
                line: [head.method.as_str(), head.target, &head.version_minor.to_string()].join(" "),
                path: head.path().into(),
                keep_alive: head.keep_alive,
                expect_continue: head.expect_continue,
                framing: Some(head.body),
                ..Request::default()
            }),
            Event::Body(bytes) => requests.last_mut().unwrap().body.extend_from_slice(bytes),
            Event::End => requests.last_mut().unwrap().ended = true,
        }
    }
    assert!(input.is_empty(), "none means that everything is used up");
    Ok(requests)
}

fn read(input: &str) -> Result<Vec<Request>, Reject> {
    feed(&mut RequestReader::new(), input.as_bytes(), &Limits::default())
}

fn one(input: &str) -> Request {
    let mut requests = read(input).unwrap();
    assert_eq!(requests.len(), 1, "{input:?}");
    requests.remove(0)
}

/// That each input is refused with `status`, whole and byte by byte, and not before its last byte: each input
/// ends where the refusal is certain.
#[track_caller]
fn refused(status: u16, inputs: &[&str]) {
    for input in inputs {
        assert_eq!(read(input).map_err(|reject| reject.status), Err(status), "{input:?}");
        let mut reader = RequestReader::new();
        let bytes = input.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let mut read = &[*byte][..];
            let result = loop {
                match reader.next(&mut read, &Limits::default()) {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(()),
                    Err(reject) => break Err(reject),
                }
            };
            if at + 1 < bytes.len() {
                assert!(result.is_ok(), "{input:?} is refused too early, at byte {at}: {result:?}");
            } else {
                assert_eq!(result.map_err(|reject| reject.status), Err(status), "{input:?} byte by byte");
            }
        }
    }
}

/// As [`refused`], for the fields of a request that is sound up to its last line.
#[track_caller]
fn fields_refused(status: u16, fields: &[&str]) {
    for field in fields {
        refused(status, &[&["POST / HTTP/1.1\r\nhost: a\r\n", field, "\r\n\r\n"].concat()]);
    }
}

#[test]
fn a_request_without_a_body() {
    let request = one("GET /health?x=1 HTTP/1.1\r\nHost: a:80\r\nAccept: */*\r\n\r\n");
    assert_eq!(request.line, "GET /health?x=1 1");
    assert_eq!(request.path, "/health");
    assert_eq!(request.framing, Some(Body::None));
    assert!(request.keep_alive && !request.expect_continue && request.ended);
}

#[test]
fn a_request_with_a_length() {
    let request = one("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(
        (request.framing, &request.body[..], request.ended),
        (Some(Body::Length(5)), &b"hello"[..], true)
    );
    let request = one("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhell");
    assert!(!request.ended);
    let request = one("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length:0\r\n\r\n");
    assert_eq!((request.framing, request.ended), (Some(Body::Length(0)), true));
}

#[test]
fn a_request_with_chunks_and_trailers() {
    let request = one(
        "POST /echo HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nz: y\r\n\r\n",
    );
    assert_eq!((request.framing, &request.body[..]), (Some(Body::Chunked), &b"hello world"[..]));
    assert!(request.ended);
}

#[test]
fn pipelined_requests_come_in_order() {
    let requests = read(
        "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nxGET /3 HTTP/1.1\r\n\
         host: a\r\n\r\n",
    )
    .unwrap();
    let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/1", "/2", "/3"]);
    assert!(requests.iter().all(|request| request.ended));
}

#[test]
fn nothing_is_owned_between_requests_and_for_heads_that_come_whole() {
    let mut reader = RequestReader::new();
    let mut input = &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..];
    assert!(matches!(reader.next(&mut input, &Limits::default()), Ok(Some(Event::Head(_)))));
    assert!(matches!(reader.state, State::Length(0)), "a head that came whole is not kept");
    assert_eq!(reader.next(&mut input, &Limits::default()), Ok(Some(Event::End)));
    assert!(matches!(reader.state, State::Between(_)));

    let mut input = &b"GET / HTTP/1.1\r\nhost: a"[..];
    assert_eq!(reader.next(&mut input, &Limits::default()), Ok(None));
    assert!(matches!(reader.state, State::Partial(_)));
    let mut input = &b"\r\n\r\n"[..];
    assert!(matches!(reader.next(&mut input, &Limits::default()), Ok(Some(Event::Head(_)))));
    assert_eq!(reader.next(&mut input, &Limits::default()), Ok(Some(Event::End)));
    assert!(matches!(reader.state, State::Between(_)), "the box of a head that came in parts is gone");
}

#[test]
fn progress_is_told() {
    let mut reader = RequestReader::new();
    let mut told = vec![];
    for part in ["", "\r\n", "GE", "T / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n", "x"] {
        let mut input = part.as_bytes();
        while let Some(event) = reader.next(&mut input, &Limits::default()).unwrap() {
            assert_ne!(event, Event::Body(b""), "no event is for nothing");
        }
        told.push((part.len(), reader.is_idle(), reader.in_head()));
    }
    assert_eq!(
        told,
        [(0, true, false), (2, true, false), (2, false, true), (44, false, false), (1, true, false)]
    );
}

#[test]
fn a_refusal_stands() {
    let mut reader = RequestReader::new();
    let first = feed(&mut reader, b"GET /\r", &Limits::default());
    let second = feed(&mut reader, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", &Limits::default());
    assert_eq!(first.unwrap_err(), second.unwrap_err());
    assert!(!reader.is_idle() && !reader.in_head());
}

#[test]
fn targets_of_every_form_have_their_path() {
    for (line, path) in [
        ("GET /", "/"),
        ("GET /a/b?c=/d?e", "/a/b"),
        ("GET //a", "//a"),
        ("GET /a?b=c://d/e", "/a"),
        ("GET /a://b", "/a://b"),
        ("GET http://host:80/a?b", "/a"),
        ("GET HTTP://host", "/"),
        ("GET https://host?a", "/"),
        ("OPTIONS *", "*"),
        ("CONNECT host:443", "host:443"),
    ] {
        assert_eq!(one(&[line, " HTTP/1.1\r\nhost: host\r\n\r\n"].concat()).path, path, "{line}");
    }
}

#[test]
fn methods_are_case_sensitive_tokens() {
    for method in ["GET", "HEAD", "POST", "get", "PUT", "M-SEARCH", "UPDATEREDIRECTREF"] {
        let request = one(&[method, " / HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
        assert_eq!(request.line, [method, " / 1"].concat());
    }
    let mut input = &b"get / HTTP/1.1\r\nhost: a\r\n\r\n"[..];
    let mut reader = RequestReader::new();
    let Ok(Some(Event::Head(head))) = reader.next(&mut input, &Limits::default()) else { panic!("no head") };
    assert_eq!(head.method, Method::Other("get"));
}

#[test]
fn persistence_follows_version_and_connection() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "connection: close\r\n", false),
        ("1.1", "Connection: Upgrade, CLOSE\r\n", false),
        ("1.1", "connection: keep-alive\r\nconnection: close\r\n", false),
        ("1.1", "connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "connection: keep-alive, close\r\n", false),
        ("1.2", "", true),
    ] {
        let request = one(&["GET / HTTP/", version, "\r\nhost: a\r\n", connection, "\r\n"].concat());
        assert_eq!(request.keep_alive, keep_alive, "{version} {connection:?}");
    }
}

#[test]
fn continue_is_expected_only_with_a_body_and_from_http_1_1() {
    for (rest, expected) in [
        ("1.1\r\nhost: a\r\ncontent-length: 1\r\nExpect: 100-Continue\r\n\r\n", true),
        ("1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n", true),
        ("1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n", false),
        ("1.1\r\nhost: a\r\ncontent-length: 0\r\nexpect: 100-continue\r\n\r\n", false),
        ("1.0\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n", false),
    ] {
        assert_eq!(one(&["POST / HTTP/", rest].concat()).expect_continue, expected, "{rest:?}");
    }
}

#[test]
fn another_expectation_is_refused() {
    fields_refused(417, &["expect: 200-ok", "expect: 100-continue, x", "expect:"]);
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped() {
    assert_eq!(one("\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").path, "/");
    refused(400, &["\r\n\r\n\r\n\r\n\r\n", "\n", "\rG", "\r\r"]);
    let requests =
        read("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(requests.unwrap().len(), 2, "a client that sends one line too many after a body");
}

#[test]
fn a_malformed_request_line_is_refused_at_the_byte_that_makes_it_so() {
    refused(
        400,
        &[
            "\x16", // a TLS client's hello
            " ",
            ":",
            "GET\t",
            "GET\r",
            "GET\n",
            "G(",
            "G\0",
            "GET  ",
            "GET \r",
            "GET /\t",
            "GET /a\0",
            "GET /#",
            "GET /\n",
            "GET / \r",
            "GET /  ",
            "GET / h",
            "GET / HTTP/1\r",
            "GET / HTTP/1.\r",
            "GET / HTTP/1x",
            "GET / HTTP/.",
            "GET / HTTP/x",
            "GET / HTTP/1.x",
            "GET / HTTP/1.11",
            "GET / HTTP/1.1 ",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\rx",
        ],
    );
    for input in [&b"\xe9"[..], b"GET /\xe9"] {
        let reject = feed(&mut RequestReader::new(), input, &Limits::default()).unwrap_err();
        assert_eq!(reject.status, 400, "a byte beyond ASCII: {}", input.escape_ascii());
    }
}

#[test]
fn a_target_of_no_known_form_is_refused() {
    for target in ["a", "*", "ftp://a/", "http:/a", "http://", "http:///a", "?a"] {
        refused(400, &[&["GET ", target, " HTTP/1.1\r\nhost: a\r\n\r\n"].concat()]);
    }
}

#[test]
fn http_0_9_is_refused() {
    refused(400, &["GET /\r"]);
}

#[test]
fn another_major_version_is_refused() {
    refused(505, &["GET / HTTP/2.0\r\n", "GET / HTTP/0.9\r\n", "GET / HTTP/3.1\r\n", "PRI * HTTP/2.0\r\n"]);
}

#[test]
fn a_method_longer_than_any_is_refused() {
    refused(501, &["A".repeat(33).as_str()]);
    assert!(read(&["A".repeat(32).as_str(), " / HTTP/1.1\r\nhost: a\r\n\r\n"].concat()).is_ok());
}

#[test]
fn a_head_too_large_is_refused() {
    let head = |bytes: usize| {
        let around = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
        ["GET / HTTP/1.1\r\nhost: a\r\nx: ", &"y".repeat(bytes - around), "\r\n\r\n"].concat()
    };
    assert!(one(&head(8192)).ended);
    refused(431, &[&head(8193)[..8192]]);
}

#[test]
fn a_target_too_long_is_refused() {
    let target = |bytes: usize| ["GET /", &"x".repeat(bytes - 1)].concat();
    assert!(one(&[&target(4096), " HTTP/1.1\r\nhost: a\r\n\r\n"].concat()).ended);
    refused(414, &[&target(4097)]);
}

#[test]
fn too_many_fields_are_refused() {
    let fields = |count: usize| ["GET / HTTP/1.1\r\nhost: a\r\n", &"x: y\r\n".repeat(count - 1)].concat();
    assert!(one(&[&fields(64), "\r\n"].concat()).ended);
    refused(431, &[&[&fields(64), "x"].concat()]);
    let limits = Limits { headers: usize::MAX, ..Limits::default() };
    let most = [&fields(128), "\r\n"].concat();
    assert!(feed(&mut RequestReader::new(), most.as_bytes(), &limits).is_ok());
    let more = [&fields(129), "\r\n"].concat();
    let reject = feed(&mut RequestReader::new(), more.as_bytes(), &limits).unwrap_err();
    assert_eq!(reject.status, 431, "there is a limit whatever is asked for");
}

#[test]
fn a_body_over_its_limit_is_refused_at_once() {
    fields_refused(413, &["content-length: 1048577", "content-length: 18446744073709551615"]);
    assert!(read("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n").is_ok());
}

#[test]
fn chunks_over_the_limit_are_refused_as_they_add_up() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert!(read(&[head, "100000\r\n"].concat()).is_ok());
    refused(413, &[&[head, "100001\r\n"].concat(), &[head, "1\r\nx\r\n100000\r\n"].concat()]);
    refused(413, &[&[head, "1\r\nx\r\nffffffffffffffff\r\n"].concat()]);
}

#[test]
fn length_and_coding_together_are_refused() {
    fields_refused(
        400,
        &[
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "transfer-encoding: gzip\r\ncontent-length: 0",
        ],
    );
}

#[test]
fn a_content_length_that_is_not_one_number_is_refused() {
    fields_refused(
        400,
        &[
            "content-length: 5\r\ncontent-length: 5",
            "content-length: 5\r\nContent-Length: 6",
            "content-length: 5, 5",
            "content-length: 5,",
            "content-length: +5",
            "content-length: -5",
            "content-length: 0x5",
            "content-length: 5 5",
            "content-length:  5",
            "content-length: 5 ",
            "content-length:\t5",
            "content-length: 5\t",
            "content-length:",
            "content-length: ",
            "content-length: five",
            "content-length: 18446744073709551616",
        ],
    );
}

#[test]
fn transfer_codings_other_than_chunked_are_refused() {
    fields_refused(
        501,
        &[
            "transfer-encoding: gzip",
            "transfer-encoding: identity",
            "transfer-encoding: xchunked",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        ],
    );
    fields_refused(
        400,
        &[
            "transfer-encoding: chunked, gzip",
            "transfer-encoding: chunked\r\ntransfer-encoding: gzip",
            "transfer-encoding: chunked, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding:",
            "transfer-encoding: ,chunked",
            "transfer-encoding: chunked,",
            "transfer-encoding: \"chunked\"",
            "transfer-encoding: chunked;x",
            "transfer-encoding: chun ked",
        ],
    );
}

#[test]
fn a_transfer_coding_in_http_1_0_is_refused() {
    refused(400, &["POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"]);
}

#[test]
fn the_host_must_be_one() {
    refused(400, &["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nx-host: a\r\n\r\n"]);
    fields_refused(400, &["host: a", "Host: b"]);
    for host in ["a b", "a/b", "a@b", "a\\b", "\u{e9}"] {
        refused(400, &[&["GET / HTTP/1.1\r\nhost: ", host, "\r\n\r\n"].concat()]);
    }
    refused(400, &["GET / HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n"]);
    assert!(one("GET / HTTP/1.0\r\n\r\n").ended, "HTTP/1.0 may do without");
    for host in ["", "a.b:80", "[::1]:8080", "a_b"] {
        assert!(one(&["GET / HTTP/1.1\r\nhost: ", host, "\r\n\r\n"].concat()).ended, "{host:?}");
    }
}

#[test]
fn a_bare_line_feed_is_refused_anywhere_in_the_head() {
    let start = "GET / HTTP/1.1\r\nhost: a";
    refused(400, &["GET / HTTP/1.1\n", &[start, "\n"].concat(), &[start, "\r\n\n"].concat()]);
    refused(400, &[&[start, "\r\nx\n"].concat(), &[start, "\r\nx:\n"].concat()]);
}

#[test]
fn a_bare_carriage_return_is_refused() {
    let start = "GET / HTTP/1.1\r\nhost: a";
    refused(400, &["GET / HTTP/1.1\rh", &[start, "\rb"].concat(), &[start, "\r\r"].concat()]);
    refused(400, &[&[start, "\r\n\rx"].concat()]);
}

#[test]
fn a_folded_line_is_refused() {
    refused(
        400,
        &["GET / HTTP/1.1\r\n ", "GET / HTTP/1.1\r\nhost: a\r\n\t", "GET / HTTP/1.1\r\nhost: a\r\n "],
    );
}

#[test]
fn a_space_before_the_colon_is_refused() {
    refused(400, &["GET / HTTP/1.1\r\nhost ", "GET / HTTP/1.1\r\ntransfer-encoding\t"]);
}

#[test]
fn an_invalid_byte_in_a_field_is_refused() {
    let start = "GET / HTTP/1.1\r\nhost: a\r\nx";
    for byte in ["\0", "\x01", "\x0b", "\x0c", "\x1f", "\x7f"] {
        refused(400, &[&[start, ": y", byte].concat(), &[start, byte].concat()]);
    }
    refused(400, &[&[start, "\r"].concat(), &[start, "("].concat(), "GET / HTTP/1.1\r\n:"]);
    assert!(one(&[start, ": \u{e9}\ty\r\n\r\n"].concat()).ended, "obs-text and tabs are allowed");
}

#[test]
fn malformed_chunks_are_refused() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in
        ["\r", "x", "-", "0x", "5\n", "5 \r", "5\r5", "5;\n", "1\r\nab", "1\r\na\n", "0\r\n\n", "0\r\na "]
    {
        refused(400, &[&[head, body].concat()]);
    }
    refused(400, &[&[head, "10000000000000000"].concat()]);
    refused(400, &[&[head, "1;", &"x".repeat(255)].concat()]);
}

#[test]
fn trailers_too_large_are_refused() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
    refused(431, &[&[head, "x:", &"y".repeat(8191)].concat(), &[head, &"x:\r\n".repeat(64), "x"].concat()]);
}

#[test]
fn a_refusal_is_one_clear_line() {
    let reject = read("GET / HTTP/2.0\r\n").unwrap_err();
    assert_eq!(reject.to_string(), "505: only HTTP/1.x is spoken here");
}
