use super::*;
use alloc::string::{String, ToString};
use alloc::vec;

/// What a reader tells of `input`, given in parts of `part_bytes`, and of the close that follows it.
fn read_by(
    mut reader: ResponseReader,
    input: &[u8],
    part_bytes: usize,
) -> Result<(Vec<Response>, Option<Response>), ResponseError> {
    let mut responses = vec![];
    for mut part in input.chunks(part_bytes) {
        while !part.is_empty() {
            match reader.next(&mut part, &Limits::default())? {
                Some(response) => responses.push(response),
                None => assert!(part.is_empty(), "none means that everything is used up"),
            }
        }
    }
    Ok((responses, reader.end_of_stream()?))
}

#[track_caller]
fn read(input: &str) -> Result<(Vec<Response>, Option<Response>), ResponseError> {
    let whole = read_by(ResponseReader::new(), input.as_bytes(), usize::MAX);
    assert_eq!(whole, read_by(ResponseReader::new(), input.as_bytes(), 1), "{input:?} byte by byte");
    whole
}

fn response(status: u16, body_bytes: u64, keep_alive: bool) -> Response {
    Response { status, body_bytes, keep_alive }
}

#[track_caller]
fn one(input: &str) -> Response {
    match read(input) {
        Ok((responses, None)) if responses.len() == 1 => responses[0],
        other => panic!("{input:?} gives {other:?}"),
    }
}

#[test]
fn a_response_with_a_length() {
    assert_eq!(one("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), response(200, 2, true));
    assert_eq!(one("HTTP/1.1 404\r\ncontent-length:  0 \r\n\r\n"), response(404, 0, true));
    assert_eq!(
        one("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nok"),
        response(200, 2, true)
    );
}

#[test]
fn a_response_with_chunks_extensions_and_trailers() {
    assert_eq!(
        one(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nx: y\r\n\r\n"
        ),
        response(200, 6, true)
    );
    assert_eq!(
        one("HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: gzip, Chunked\r\n\r\n0\r\n\r\n"),
        response(200, 0, true),
        "a transfer coding overrides a length"
    );
}

#[test]
fn a_body_that_ends_with_the_connection() {
    for head in
        ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ncontent-length: 1\r\n\r\n"]
    {
        assert_eq!(read(&[head, "hello"].concat()), Ok((vec![], Some(response(200, 5, false)))), "{head:?}");
        assert_eq!(read(head), Ok((vec![], Some(response(200, 0, false)))), "{head:?}");
    }
}

#[test]
fn interim_responses_are_skipped() {
    assert_eq!(
        one(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"
        ),
        response(200, 1, true)
    );
    assert_eq!(read("HTTP/1.1 100 Continue\r\n\r\n"), Ok((vec![], None)));
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    for input in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(one(input).body_bytes, 0);
    }
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let two = vec![response(200, 0, true); 2];
    for part_bytes in [1, 1000] {
        assert_eq!(read_by(ResponseReader::for_head(), head, part_bytes), Ok((two.clone(), None)));
    }
}

#[test]
fn persistence_follows_version_and_connection() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.0", "", false),
        ("1.0", "connection: Keep-Alive\r\n", true),
    ] {
        let input = ["HTTP/", version, " 200 OK\r\n", connection, "content-length: 0\r\n\r\n"].concat();
        assert_eq!(one(&input).keep_alive, keep_alive, "{input:?}");
    }
}

#[test]
fn pipelined_responses_come_in_order() {
    let input = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 503 \r\ncontent-length: 0\r\n\r\n";
    assert_eq!(read(input), Ok((vec![response(200, 2, true), response(503, 0, true)], None)));
}

#[test]
fn bare_line_feeds_end_lines_too() {
    assert_eq!(one("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"), response(200, 2, true));
    assert_eq!(one("HTTP/1.1 200 OK\r\ncontent-length: 2\n\r\nok"), response(200, 2, true));
}

#[test]
fn nothing_is_owned_for_responses_that_come_whole() {
    let mut reader = ResponseReader::new();
    let mut input = &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"[..];
    assert_eq!(reader.next(&mut input, &Limits::default()), Ok(None));
    assert!(matches!(reader.state, State::Length(1)));
    assert!(!reader.is_idle());
    let mut input = &b"kHTTP"[..];
    assert_eq!(reader.next(&mut input, &Limits::default()), Ok(Some(response(200, 2, true))));
    assert!(reader.is_idle());
    assert_eq!(reader.next(&mut input, &Limits::default()), Ok(None));
    assert!(matches!(reader.state, State::Partial(_)));
}

#[test]
fn another_protocol_is_told_by_its_first_bytes() {
    for input in ["x", "\r\n", "HTTX", "http/1.1", "SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP 200"] {
        assert_eq!(read(input), Err(ResponseError::NotHttp), "{input:?}");
    }
}

#[test]
fn each_fault_has_its_error() {
    let head = "HTTP/1.1 200 OK\r\n";
    for (input, error) in [
        ("HTTP/2 200 OK\r\n\r\n".into(), ResponseError::Version),
        ("HTTP/1.2 200 OK\r\n\r\n".into(), ResponseError::Version),
        ("HTTP/1.1 20 OK\r\n\r\n".into(), ResponseError::Status),
        ("HTTP/1.1 099 OK\r\n\r\n".into(), ResponseError::Status),
        ("HTTP/1.1 2000 OK\r\n\r\n".into(), ResponseError::Status),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n".into(), ResponseError::Switched),
        ([head, "a b: c\r\n\r\n"].concat(), ResponseError::Field),
        ([head, "a: b\0\r\n\r\n"].concat(), ResponseError::Field),
        ([head, "nocolon\r\n\r\n"].concat(), ResponseError::Field),
        ([head, "content-length: x\r\n\r\n"].concat(), ResponseError::ContentLength),
        ([head, "content-length: \r\n\r\n"].concat(), ResponseError::ContentLength),
        ([head, "content-length: 1, 2\r\n\r\n"].concat(), ResponseError::ContentLength),
        ([head, "content-length: 1\r\ncontent-length: 2\r\n\r\n"].concat(), ResponseError::ContentLength),
        ([head, &"a: b\r\n".repeat(65), "\r\n"].concat(), ResponseError::TooManyFields),
        ([head, "a: ", &"b".repeat(8192)].concat(), ResponseError::HeadTooLarge),
        ([head, "transfer-encoding: chunked\r\n\r\nx"].concat(), ResponseError::Chunk(ChunkFault::Size)),
        (
            [head, "transfer-encoding: chunked\r\n\r\n1\r\nab"].concat(),
            ResponseError::Chunk(ChunkFault::NoCrlf),
        ),
    ] {
        let input: String = input;
        assert_eq!(read(&input), Err(error), "{input:?}");
    }
}

#[test]
fn a_head_of_exactly_the_limit_is_taken() {
    let start = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\na: ";
    let exact = [start, &"b".repeat(8192 - start.len() - 4), "\r\n\r\n"].concat();
    assert_eq!(one(&exact).status, 200);
    let more = [start, &"b".repeat(8193 - start.len() - 4), "\r\n\r\n"].concat();
    assert_eq!(read(&more), Err(ResponseError::HeadTooLarge));
}

#[test]
fn a_head_limit_within_the_protocol_name_does_not_depend_on_the_split() {
    let limits = Limits { head_bytes: 2, ..Limits::default() };
    for (input, error) in [(&b"HTXX"[..], ResponseError::HeadTooLarge), (b"HXXX", ResponseError::NotHttp)] {
        let mut whole = input;
        assert_eq!(ResponseReader::new().next(&mut whole, &limits), Err(error));
        let mut reader = ResponseReader::new();
        assert_eq!(reader.next(&mut &input[..1], &limits), Ok(None));
        assert_eq!(reader.next(&mut &input[1..2], &limits), Err(error));
    }
}

#[test]
fn a_response_that_is_cut_off_is_told_where() {
    for (input, error) in [
        ("HTT", ResponseError::CutOffInHead),
        ("HTTP/1.1 200 OK\r\n", ResponseError::CutOffInHead),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", ResponseError::CutOffInBody),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", ResponseError::CutOffInBody),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", ResponseError::CutOffInBody),
    ] {
        assert_eq!(read(input), Err(error), "{input:?}");
    }
    assert_eq!(read(""), Ok((vec![], None)));
}

#[test]
fn an_error_stands() {
    let mut reader = ResponseReader::new();
    for mut input in [&b"x"[..], b"", b"HTTP/1.1 200 OK\r\n\r\n"] {
        assert_eq!(reader.next(&mut input, &Limits::default()), Err(ResponseError::NotHttp));
    }
    assert_eq!(reader.end_of_stream(), Err(ResponseError::NotHttp));
}

#[test]
fn the_body_limit_is_not_for_responses() {
    let input = b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n";
    let mut reader = ResponseReader::new();
    assert_eq!(reader.next(&mut &input[..], &Limits { body_bytes: 0, ..Limits::default() }), Ok(None));
}

#[test]
fn requests_are_written_in_full() {
    let mut out = vec![];
    write_request(&mut out, "GET", "/a?b", "host:80", None);
    write_request(&mut out, "POST", "/", "h", Some(b"body"));
    write_request(&mut out, "POST", "/", "h\r\nx: y", Some(b""));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "GET /a?b HTTP/1.1\r\nhost: host:80\r\nuser-agent: tidemark-loadgen\r\n\r\n\
         POST / HTTP/1.1\r\nhost: h\r\nuser-agent: tidemark-loadgen\r\ncontent-length: 4\r\n\r\nbody\
         POST / HTTP/1.1\r\nhost: h  x: y\r\nuser-agent: tidemark-loadgen\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn an_error_is_one_clear_line() {
    assert_eq!(
        ResponseError::Chunk(ChunkFault::Size).to_string(),
        "the response body is malformed: a chunk's size is malformed"
    );
}
