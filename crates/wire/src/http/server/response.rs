//! Writing responses.

use crate::http::text::{push_decimal, push_field, push_hex, push_text};
use alloc::vec::Vec;

/// The interim response that a client with [`expect_continue`](super::RequestHead::expect_continue) waits
/// for.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How a response's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// `content-length`: so many bytes follow the head (none of them in the answer to a HEAD request).
    Length(u64),
    /// `transfer-encoding: chunked`: [`write_chunk`], then [`write_last_chunk`]. Not for HTTP/1.0 clients.
    Chunked,
    /// No framing at all: for 204 and 304, or, with `keep_alive` false, a body that ends with the connection.
    None,
}

/// Appends a response head to `out`, without an allocation besides its growth.
///
/// `date` is the value of the date field, left out when empty (a server without a clock sends none). Without
/// `keep_alive` the head says `connection: close`; an HTTP/1.0 client that is kept alive must be told so with
/// `("connection", "keep-alive")` in `extra`. A control character in a value is written as a space. A status
/// that has not three digits is written as 500, and 1xx and 204 get no framing whatever `body` says: they
/// cannot have any.
pub fn write_response_head(
    out: &mut Vec<u8>,
    status: u16,
    content_type: Option<&str>,
    body: BodyFraming,
    keep_alive: bool,
    date: &str,
    extra: &[(&str, &str)],
) {
    let status = if (100..=999).contains(&status) { status } else { 500 };
    if status == 200 {
        // Nearly all of them.
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(out, u64::from(status));
        out.push(b' ');
        push_text(out, reason_phrase(status));
        out.extend_from_slice(b"\r\n");
    }
    if !date.is_empty() {
        out.extend_from_slice(b"date: ");
        push_text(out, date);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(content_type) = content_type {
        out.extend_from_slice(b"content-type: ");
        push_text(out, content_type);
        out.extend_from_slice(b"\r\n");
    }
    match body {
        _ if status < 200 || status == 204 => {}
        BodyFraming::None => {}
        BodyFraming::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        BodyFraming::Length(bytes) => {
            out.extend_from_slice(b"content-length: ");
            push_decimal(out, bytes);
            out.extend_from_slice(b"\r\n");
        }
    }
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    }
    for (name, value) in extra {
        push_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk of a body. Nothing when `bytes` is empty: an empty chunk would be the last.
pub fn write_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    push_hex(out, bytes.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body, without trailers.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// The words that go with a status (RFC 9110 15); empty when it has none, which is allowed.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn head(status: u16, body: BodyFraming, keep_alive: bool, extra: &[(&str, &str)]) -> String {
        let mut out = Vec::new();
        write_response_head(&mut out, status, Some("text/plain"), body, keep_alive, "now", extra);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn heads_are_written_in_full() {
        assert_eq!(
            head(200, BodyFraming::Length(15), true, &[("allow", "GET, HEAD")]),
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-type: text/plain\r\ncontent-length: 15\r\nallow: GET, HEAD\r\n\r\n"
        );
        assert_eq!(
            head(503, BodyFraming::Chunked, false, &[]),
            "HTTP/1.1 503 Service Unavailable\r\ndate: now\r\ncontent-type: text/plain\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        let mut out = Vec::new();
        write_response_head(&mut out, 299, None, BodyFraming::None, true, "", &[]);
        assert_eq!(out, b"HTTP/1.1 299 \r\n\r\n");
    }

    #[test]
    fn a_status_without_a_body_gets_no_framing() {
        assert!(!head(204, BodyFraming::Length(1), true, &[]).contains("length"));
        assert!(!head(100, BodyFraming::Chunked, true, &[]).contains("chunked"));
    }

    #[test]
    fn a_status_that_is_none_is_written_as_500() {
        for status in [0, 99, 1000, u16::MAX] {
            assert!(
                head(status, BodyFraming::None, true, &[]).starts_with("HTTP/1.1 500 Internal"),
                "{status}"
            );
        }
    }

    #[test]
    fn an_empty_chunk_is_not_written() {
        let mut out = Vec::new();
        write_chunk(&mut out, b"");
        write_chunk(&mut out, &[b'x'; 26]);
        write_last_chunk(&mut out);
        assert_eq!(out, b"1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
    }
}
