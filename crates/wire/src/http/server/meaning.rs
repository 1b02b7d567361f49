//! What a complete request head means: its target's form, its framing, whether the connection goes on.

use super::reason::Reason;
use super::scan::HeadScanner;
use super::{Body, Method, RequestHead};
use crate::http::head::{Persistence, decimal, is_host, is_token, list};
use crate::http::{HEADERS_MAX, Limits};
use httparse::{EMPTY_HEADER, Header};

/// Heads with more fields than this take the larger array, which costs more to clear than the usual head to
/// parse.
const FIELDS_USUAL: usize = 16;

/// All that is kept of a head besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    method_end: u32,
    target_end: u32,
    version_minor: u8,
    keep_alive: bool,
    expect_continue: bool,
    pub(super) body: Body,
}

impl Meaning {
    /// The head, from the bytes that this was read from.
    pub(super) fn of(self, head: &[u8]) -> Result<RequestHead<'_>, Reason> {
        let line = &head[..self.target_end as usize];
        let (method, target) = line.split_at(self.method_end as usize);
        Ok(RequestHead {
            method: match method {
                b"GET" => Method::Get,
                b"HEAD" => Method::Head,
                b"POST" => Method::Post,
                other => Method::Other(str::from_utf8(other).map_err(|_| Reason::Method)?),
            },
            // The space between the two is not of the target.
            target: str::from_utf8(&target[1..]).map_err(|_| Reason::Target)?,
            version_minor: self.version_minor,
            keep_alive: self.keep_alive,
            expect_continue: self.expect_continue,
            body: self.body,
        })
    }
}

impl HeadScanner {
    /// Reads the meaning of the head that the scanner has found complete.
    pub(super) fn meaning(&self, head: &[u8], limits: &Limits) -> Result<Meaning, Reason> {
        let method = &head[..self.method_end as usize];
        let target = &head[self.method_end as usize + 1..self.target_end as usize];
        if !has_valid_form(method, target) {
            return Err(Reason::Target);
        }
        let lines = &head[self.line_end as usize..];
        let fields = if usize::from(self.fields) <= FIELDS_USUAL {
            Fields::read(lines, &mut [EMPTY_HEADER; FIELDS_USUAL])
        } else {
            Fields::read(lines, &mut [EMPTY_HEADER; HEADERS_MAX])
        }?;
        let body = fields.body(self.version_minor, limits)?;
        Ok(Meaning {
            method_end: self.method_end,
            target_end: self.target_end,
            version_minor: self.version_minor,
            keep_alive: fields.persistence.keeps_alive(self.version_minor),
            // RFC 9110 10.1.1: to be ignored in HTTP/1.0. Without a body there is nothing to wait with.
            expect_continue: fields.expect_continue
                && self.version_minor > 0
                && !matches!(body, Body::None | Body::Length(0)),
            body,
        })
    }
}

/// RFC 9112 3.2: origin form, absolute form, `*` for OPTIONS, and for CONNECT whatever it is.
fn has_valid_form(method: &[u8], target: &[u8]) -> bool {
    let starts_with = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            && target.len() > scheme.len()
            && target[scheme.len()] != b'/'
    };
    target.starts_with(b"/")
        || starts_with(b"http://")
        || starts_with(b"https://")
        || (method == b"OPTIONS" && target == b"*")
        || method == b"CONNECT"
}

/// The fields that matter to a connection, as they were sent.
#[derive(Default)]
struct Fields {
    persistence: Persistence,
    expect_continue: bool,
    has_host: bool,
    content_length: Option<u64>,
    codings: Option<Codings>,
}

impl Fields {
    fn read<'h>(lines: &'h [u8], array: &mut [Header<'h>]) -> Result<Self, Reason> {
        // The scanner has already refused what this would; were they ever to disagree, the request is
        // refused.
        let Ok(httparse::Status::Complete((len, headers))) = httparse::parse_headers(lines, array) else {
            return Err(Reason::Fields);
        };
        if len != lines.len() {
            return Err(Reason::Fields);
        }
        let mut fields = Self::default();
        for header in headers {
            fields.read_one(header, lines)?;
        }
        Ok(fields)
    }

    fn read_one(&mut self, header: &Header<'_>, lines: &[u8]) -> Result<(), Reason> {
        let (name, value) = (header.name, header.value);
        // Compared by length first, so that most fields cost next to nothing.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                if core::mem::replace(&mut self.has_host, true) {
                    return Err(Reason::SeveralHosts);
                }
                if !is_host(value) {
                    return Err(Reason::Host);
                }
            }
            6 if name.eq_ignore_ascii_case("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Reason::Expectation);
                }
                self.expect_continue = true;
            }
            10 if name.eq_ignore_ascii_case("connection") => self.persistence.read(value),
            14 if name.eq_ignore_ascii_case("content-length") => {
                if self.content_length.is_some() {
                    return Err(Reason::SeveralContentLengths);
                }
                let length = decimal(value).filter(|_| !is_padded(value, lines));
                self.content_length = Some(length.ok_or(Reason::ContentLength)?);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.codings.get_or_insert_default().read(value)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 6.3, with every case that it leaves to the recipient refused.
    fn body(&self, version_minor: u8, limits: &Limits) -> Result<Body, Reason> {
        if version_minor > 0 && !self.has_host {
            return Err(Reason::NoHost);
        }
        match (&self.codings, self.content_length) {
            (Some(_), Some(_)) => Err(Reason::LengthAndCoding),
            (Some(_), None) if version_minor == 0 => Err(Reason::CodingInHttp10),
            (Some(codings), None) => codings.body(),
            (None, Some(bytes)) if bytes > limits.body_bytes => Err(Reason::BodyTooLarge),
            (None, Some(bytes)) => Ok(Body::Length(bytes)),
            (None, None) => Ok(Body::None),
        }
    }
}

/// The transfer codings of all their fields, in order.
#[derive(Default)]
struct Codings {
    chunked: u32,
    others: u32,
    ends_chunked: bool,
}

impl Codings {
    fn read(&mut self, value: &[u8]) -> Result<(), Reason> {
        for coding in list(value) {
            if coding.is_empty() || !coding.iter().all(|byte| is_token(*byte)) {
                return Err(Reason::Coding);
            }
            self.ends_chunked = coding.eq_ignore_ascii_case(b"chunked");
            if self.ends_chunked {
                self.chunked += 1;
            } else {
                self.others += 1;
            }
        }
        Ok(())
    }

    fn body(&self) -> Result<Body, Reason> {
        match (self.chunked, self.ends_chunked) {
            (1, true) if self.others == 0 => Ok(Body::Chunked),
            (0, _) | (1, true) => Err(Reason::CodingUnknown),
            _ => Err(Reason::CodingOrder),
        }
    }
}

/// Whether more white space stands around a value than the one space that usually follows the colon. `value`
/// is a part of `lines`. RFC 9110 would allow it; parsers in the field have disagreed about it where it
/// mattered most.
fn is_padded(value: &[u8], lines: &[u8]) -> bool {
    let start = value.as_ptr() as usize - lines.as_ptr() as usize;
    let before = &lines[..start];
    let after = &lines[start + value.len()..];
    !(before.ends_with(b":") || before.ends_with(b": ")) || !after.starts_with(b"\r\n")
}
