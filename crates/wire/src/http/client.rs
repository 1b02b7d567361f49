//! HTTP/1.1 as a client sees it: reading responses, writing requests.
//!
//! ```
//! use tidemark_wire::http::{Limits, client::ResponseReader};
//!
//! let mut reader = ResponseReader::new();
//! let mut input = &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 404 Not"[..];
//! let response = reader.next(&mut input, &Limits::default())?.expect("a whole response");
//! assert_eq!((response.status, response.body_bytes), (200, 2));
//! assert_eq!(reader.next(&mut input, &Limits::default())?, None);
//! assert!(input.is_empty() && !reader.is_idle());
//! # Ok::<(), tidemark_wire::http::client::ResponseError>(())
//! ```

mod head;
#[cfg(test)]
mod tests;

use super::chunked::{Chunk, ChunkDecoder};
use super::text::{push_decimal, push_field, push_text};
use super::{ChunkFault, Limits};
use alloc::boxed::Box;
use alloc::vec::Vec;
use head::{Framing, HeadEnd, ResponseHead};

/// Reads the responses of one connection. 32 bytes, and it owns no memory unless a head did not come whole in
/// one read. Bodies are counted and not kept.
#[derive(Debug)]
pub struct ResponseReader {
    state: State,
    /// Bytes of the current body so far.
    body_bytes: u64,
    status: u16,
    keep_alive: bool,
    /// Responses are to HEAD requests, and never have a body.
    bodiless: bool,
}

const _: () = assert!(size_of::<ResponseReader>() <= 32, "one per connection");

#[derive(Debug)]
enum State {
    Idle,
    /// A head that has begun in one read and ends in another.
    Partial(Box<PartialHead>),
    /// A body of which so many bytes have not come.
    Length(u64),
    Chunked(ChunkDecoder),
    UntilClose,
    Failed(ResponseError),
}

#[derive(Debug)]
struct PartialHead {
    end: HeadEnd,
    bytes: Vec<u8>,
}

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 999: interim responses are skipped.
    pub status: u16,
    /// The body, without its chunk framing.
    pub body_bytes: u64,
    /// Whether the server will take another request on this connection.
    pub keep_alive: bool,
}

/// Why what came back is not a response. The connection is then of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The first bytes are something else.
    #[error("the answer does not begin with HTTP/: the server speaks another protocol")]
    NotHttp,
    /// Longer than [`Limits::head_bytes`].
    #[error("the response head is too large")]
    HeadTooLarge,
    /// More than [`Limits::headers`] field lines.
    #[error("the response head has too many fields")]
    TooManyFields,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the response has another version than HTTP/1.0 or HTTP/1.1")]
    Version,
    /// Not three digits of at least 100.
    #[error("the response has no valid status")]
    Status,
    /// A field line that is none.
    #[error("the response head has a malformed field")]
    Field,
    /// 101 Switching Protocols.
    #[error("the server switched to another protocol without being asked")]
    Switched,
    /// `content-length` is not a number, or several that differ.
    #[error("the response has a malformed content-length")]
    ContentLength,
    /// The chunked framing of the body is broken.
    #[error("the response body is malformed: {0}")]
    Chunk(ChunkFault),
    /// The server closed within the head.
    #[error("the connection closed within a response head")]
    CutOffInHead,
    /// The server closed within the body.
    #[error("the connection closed within a response body")]
    CutOffInBody,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseReader {
    /// For a connection on which any requests but HEAD are sent.
    pub const fn new() -> Self {
        Self { state: State::Idle, body_bytes: 0, status: 0, keep_alive: false, bodiless: false }
    }

    /// For a connection on which only HEAD requests are sent.
    pub const fn for_head() -> Self {
        Self { state: State::Idle, body_bytes: 0, status: 0, keep_alive: false, bodiless: true }
    }

    /// Takes bytes off the front of `input` and returns a response when one is complete; call again while
    /// `input` is not empty. None when all of `input` is used up and more is needed. Of `limits`, those for
    /// heads apply.
    ///
    /// # Errors
    /// What was wrong with the response. Every further call returns the same.
    pub fn next(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<Response>, ResponseError> {
        let result = self.advance(input, limits);
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// The peer has closed: completes a response whose body ends with the connection. None when no response
    /// had begun. The reader is then idle.
    ///
    /// # Errors
    /// A response was cut off, or there was an error before.
    pub fn end_of_stream(&mut self) -> Result<Option<Response>, ResponseError> {
        let error = match &self.state {
            State::Idle => return Ok(None),
            State::UntilClose => return Ok(Some(self.complete())),
            State::Partial(_) => ResponseError::CutOffInHead,
            State::Length(_) | State::Chunked(_) => ResponseError::CutOffInBody,
            State::Failed(error) => *error,
        };
        self.state = State::Failed(error);
        Err(error)
    }

    /// True between responses: nothing of the next one has come (an interim response is not one).
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    fn advance(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<Response>, ResponseError> {
        while !input.is_empty() {
            let complete = match &mut self.state {
                State::Idle => {
                    let head = self.begin_head(input, limits)?;
                    self.take_head(head)
                }
                State::Partial(partial) => {
                    let head = partial.go_on(input, limits)?;
                    self.take_head(head)
                }
                State::Length(left) => {
                    // What does not fit usize is more than the input has.
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    *input = &input[len..];
                    *left -= len as u64;
                    *left == 0
                }
                State::Chunked(decoder) => match decoder.next(input, limits).map_err(ResponseError::Chunk)? {
                    Some(Chunk::Data(data)) => {
                        self.body_bytes = self.body_bytes.saturating_add(data.len() as u64);
                        false
                    }
                    Some(Chunk::End) => true,
                    Some(Chunk::Begin(_)) | None => false,
                },
                State::UntilClose => {
                    self.body_bytes = self.body_bytes.saturating_add(input.len() as u64);
                    *input = &[];
                    false
                }
                State::Failed(error) => return Err(*error),
            };
            if complete {
                return Ok(Some(self.complete()));
            }
        }
        match self.state {
            State::Failed(error) => Err(error),
            _ => Ok(None),
        }
    }

    fn begin_head(
        &mut self,
        input: &mut &[u8],
        limits: &Limits,
    ) -> Result<Option<ResponseHead>, ResponseError> {
        let mut end = HeadEnd::default();
        if let Some(len) = end.find(input, 0, limits)? {
            let (head, rest) = input.split_at(len);
            *input = rest;
            return ResponseHead::parse(head, limits).map(Some);
        }
        self.state = State::Partial(Box::new(PartialHead { end, bytes: input.to_vec() }));
        *input = &[];
        Ok(None)
    }

    /// What follows a head; true when nothing does and the response is complete.
    fn take_head(&mut self, head: Option<ResponseHead>) -> bool {
        let Some(head) = head else { return false };
        if head.is_interim() {
            self.state = State::Idle;
            return false;
        }
        self.status = head.status;
        self.keep_alive = head.keep_alive;
        self.body_bytes = 0;
        let framing =
            if self.bodiless || matches!(head.status, 204 | 304) { Framing::None } else { head.framing };
        match framing {
            Framing::None | Framing::Length(0) => return true,
            Framing::Length(bytes) => {
                self.body_bytes = bytes;
                self.state = State::Length(bytes);
            }
            Framing::Chunked => self.state = State::Chunked(ChunkDecoder::new()),
            Framing::UntilClose => {
                self.keep_alive = false;
                self.state = State::UntilClose;
            }
        }
        false
    }

    fn complete(&mut self) -> Response {
        self.state = State::Idle;
        Response { status: self.status, body_bytes: self.body_bytes, keep_alive: self.keep_alive }
    }
}

impl PartialHead {
    fn go_on(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<ResponseHead>, ResponseError> {
        // Only what a head may still have is copied; `find` refuses one that is larger.
        let before = self.bytes.len();
        let room = limits.head_bytes.saturating_sub(before).min(input.len());
        self.bytes.extend_from_slice(&input[..room]);
        let Some(len) = self.end.find(&self.bytes, before, limits)? else {
            *input = &input[room..];
            return Ok(None);
        };
        *input = &input[len - before..];
        ResponseHead::parse(&self.bytes[..len], limits).map(Some)
    }
}

/// Appends a request to `out`, to be answered on a connection that is kept alive: with `host`, `user-agent`,
/// and `content-length` when there is a `body`. `target` is written as it is (`/path?query`): to be valid it
/// has only visible ASCII characters; a control character in any argument is written as a space, so that it
/// cannot begin another line.
pub fn write_request(out: &mut Vec<u8>, method: &str, target: &str, host: &str, body: Option<&[u8]>) {
    push_text(out, method);
    out.push(b' ');
    push_text(out, target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    push_field(out, "host", host);
    push_field(out, "user-agent", "tidemark-loadgen");
    if let Some(body) = body {
        out.extend_from_slice(b"content-length: ");
        push_decimal(out, body.len() as u64);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.unwrap_or_default());
}
