//! Response heads: where one ends, and what it means for the body and the connection.
//!
//! More is taken here than from a request: lines that end in a bare line feed, and a content-length that is
//! given twice and the same. A load generator reports what servers do; it does not guard anything behind it.

use super::ResponseError;
use crate::http::head::{Persistence, decimal, list};
use crate::http::{HEADERS_MAX, Limits};
use core::mem::MaybeUninit;
use httparse::{Header, ParserConfig};
use memchr::memchr_iter;

/// What a response begins with, whatever its version.
const PREFIX: &[u8] = b"HTTP/";

/// Looks for the end of a head line by line, each byte once, however the head comes in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadEnd {
    /// Where the line begins that has not ended.
    line_start: usize,
}

impl HeadEnd {
    /// The length of the head at the front of `bytes`, if it ends there. The bytes before `from` have been
    /// looked at already.
    pub(super) fn find(
        &mut self,
        bytes: &[u8],
        from: usize,
        limits: &Limits,
    ) -> Result<Option<usize>, ResponseError> {
        let prefix = bytes.len().min(PREFIX.len()).min(limits.head_bytes);
        if bytes[..prefix] != PREFIX[..prefix] {
            return Err(ResponseError::NotHttp);
        }
        let within = &bytes[from.min(limits.head_bytes)..bytes.len().min(limits.head_bytes)];
        for at in memchr_iter(b'\n', within) {
            let line_end = from + at;
            if matches!(bytes[self.line_start..line_end], [] | [b'\r']) {
                return Ok(Some(line_end + 1));
            }
            self.line_start = line_end + 1;
        }
        if bytes.len() >= limits.head_bytes { Err(ResponseError::HeadTooLarge) } else { Ok(None) }
    }
}

/// How the body after a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// What a response head means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) keep_alive: bool,
    pub(super) framing: Framing,
}

impl ResponseHead {
    /// Reads a complete head, without an allocation: its fields are parsed into an array on the stack that is
    /// not even cleared.
    pub(super) fn parse(head: &[u8], limits: &Limits) -> Result<Self, ResponseError> {
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let status = ParserConfig::default()
            .parse_response_with_uninit_headers(&mut parsed, head, &mut fields[..limits.fields_max()])
            .map_err(|error| match error {
                httparse::Error::Version => ResponseError::Version,
                httparse::Error::Status => ResponseError::Status,
                httparse::Error::TooManyHeaders => ResponseError::TooManyFields,
                _ => ResponseError::Field,
            })?;
        // The empty line was found before: a parser that does not end there saw another one.
        if status != httparse::Status::Complete(head.len()) {
            return Err(ResponseError::Field);
        }
        let version_minor = parsed.version.ok_or(ResponseError::Version)?;
        let status = parsed.code.filter(|code| *code >= 100).ok_or(ResponseError::Status)?;
        if status == 101 {
            return Err(ResponseError::Switched);
        }
        let fields = Fields::read(parsed.headers)?;
        Ok(Self {
            status,
            keep_alive: fields.persistence.keeps_alive(version_minor),
            framing: fields.framing(),
        })
    }

    /// 1xx: another head follows, and that is the response.
    pub(super) const fn is_interim(&self) -> bool {
        self.status < 200
    }
}

#[derive(Default)]
struct Fields {
    persistence: Persistence,
    content_length: Option<u64>,
    /// Whether there is a transfer-encoding, and if so whether it ends with `chunked`.
    coding_ends_chunked: Option<bool>,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Self, ResponseError> {
        let mut fields = Self::default();
        for header in headers {
            // Compared by length first, so that most fields cost next to nothing.
            match header.name.len() {
                10 if header.name.eq_ignore_ascii_case("connection") => fields.persistence.read(header.value),
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    fields.read_length(header.value)?;
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    let last = list(header.value).last().unwrap_or_default();
                    fields.coding_ends_chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    /// RFC 9112 6.3: the same length several times is that length.
    fn read_length(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        for digits in list(value) {
            let length = decimal(digits).ok_or(ResponseError::ContentLength)?;
            if self.content_length.replace(length).is_some_and(|other| other != length) {
                return Err(ResponseError::ContentLength);
            }
        }
        Ok(())
    }

    /// RFC 9112 6.3: a transfer coding overrides a content-length; with neither the connection's end is the
    /// body's.
    const fn framing(&self) -> Framing {
        match (self.coding_ends_chunked, self.content_length) {
            (Some(true), _) => Framing::Chunked,
            (None, Some(bytes)) => Framing::Length(bytes),
            (Some(false), _) | (None, None) => Framing::UntilClose,
        }
    }
}
