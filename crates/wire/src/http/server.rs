//! HTTP/1.1 as a server sees it: reading requests, writing responses.
//!
//! ```
//! use tidemark_wire::http::{Limits, server::{Event, RequestReader}};
//!
//! let mut reader = RequestReader::new();
//! let mut input = &b"GET /health HTTP/1.1\r\nhost: a\r\n\r\nGET /re"[..];
//! let mut paths = vec![];
//! while let Some(event) = reader.next(&mut input, &Limits::default())? {
//!     match event {
//!         Event::Head(head) => paths.push(head.path().to_owned()),
//!         Event::Body(_) => unreachable!("a request without a body"),
//!         Event::End => {} // here the response is due
//!     }
//! }
//! assert_eq!(paths, ["/health"]);
//! assert!(input.is_empty() && reader.in_head());
//! # Ok::<(), tidemark_wire::http::server::Reject>(())
//! ```

mod meaning;
mod reason;
mod response;
mod scan;
#[cfg(test)]
mod tests;

use super::Limits;
use super::chunked::{Chunk, ChunkDecoder};
use alloc::boxed::Box;
use alloc::vec::Vec;
use meaning::Meaning;
use reason::Reason;
use scan::HeadScanner;

pub use reason::Reject;
pub use response::{
    BodyFraming, CONTINUE, reason_phrase, write_chunk, write_last_chunk, write_response_head,
};

/// Empty lines taken before a request line: RFC 9112 2.2 asks for at least one, for clients that send one too
/// many after a body.
pub const EMPTY_LINES_MAX: u8 = 4;

/// Reads the requests of one connection. 16 bytes, and it owns no memory between requests, nor for a request
/// whose head came whole in one read and whose body is not chunked.
#[derive(Debug)]
pub struct RequestReader {
    state: State,
}

const _: () = assert!(size_of::<RequestReader>() <= 16, "one per connection");

#[derive(Debug)]
enum State {
    Between(EmptyLines),
    /// A head that has begun in one read and ends in another.
    Partial(Box<PartialHead>),
    /// Such a head has ended and been given out of its box, which lives until the next call.
    Kept(Box<KeptHead>),
    /// A body of which so many bytes have not come.
    Length(u64),
    Chunked(Box<ChunkedBody>),
    Failed(Reason),
}

/// The empty lines before a request.
#[derive(Clone, Copy, Debug, Default)]
struct EmptyLines {
    ended: u8,
    /// A carriage return has come whose line feed has not.
    begun: bool,
}

#[derive(Debug)]
struct PartialHead {
    scanner: HeadScanner,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct KeptHead {
    meaning: Meaning,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct ChunkedBody {
    decoder: ChunkDecoder,
    /// The chunks so far, the current one whole.
    announced: u64,
}

/// What [`RequestReader::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A request's head.
    Head(RequestHead<'a>),
    /// The next bytes of its body, never empty; any number of times.
    Body(&'a [u8]),
    /// The request is complete: follows the last `Body`, or `Head` at once when there is none.
    End,
}

/// A request's line, and what its fields mean for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// Case-sensitive.
    pub method: Method<'a>,
    /// As it was sent: `/path?query`, `http://host/path`, `*`, or whatever a CONNECT asked for. Visible ASCII
    /// only.
    pub target: &'a str,
    /// `x` of `HTTP/1.x`.
    pub version_minor: u8,
    /// Whether the client will take another response on this connection.
    pub keep_alive: bool,
    /// The client waits for [`CONTINUE`] before it sends the body.
    pub expect_continue: bool,
    /// How the body is framed.
    pub body: Body,
}

impl<'a> RequestHead<'a> {
    /// The target's path, without its query and, when a client sends the absolute form, without scheme and
    /// host.
    pub fn path(&self) -> &'a str {
        // By bytes: to search a text costs more than a short target is long.
        let end = self.target.bytes().position(|byte| byte == b'?').unwrap_or(self.target.len());
        let target = &self.target[..end];
        if target.starts_with('/') {
            return target;
        }
        match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                rest.find('/').map_or("/", |start| &rest[start..])
            }
            _ => target,
        }
    }
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks until the last one.
    Chunked,
}

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// Any other token.
    Other(&'a str),
}

impl<'a> Method<'a> {
    /// As it is written in a request line.
    pub const fn as_str(self) -> &'a str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Other(method) => method,
        }
    }
}

/// An event that borrows from the input only, so that the reader's state can still change.
enum Found<'i> {
    Head(&'i [u8], Meaning),
    KeptHead,
    Body(&'i [u8]),
    End,
}

impl Default for RequestReader {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestReader {
    /// At the beginning of a connection.
    pub const fn new() -> Self {
        Self { state: State::Between(EmptyLines { ended: 0, begun: false }) }
    }

    /// Takes bytes off the front of `input` and returns the next event, or none when all of `input` is used
    /// up and more is needed. Call it until it returns none, also when `input` is empty already: a request
    /// that has no body ends without another byte. Pass the same `limits` throughout a request.
    ///
    /// # Errors
    /// The request is not one, or is not within `limits`. The connection must answer with [`Reject::status`]
    /// and close; the rest of `input` means nothing. Every further call returns the same.
    pub fn next<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<Event<'s>>, Reject> {
        let result = self.advance(input, limits).and_then(|found| {
            Ok(match found {
                None => None,
                Some(Found::Head(bytes, meaning)) => Some(Event::Head(meaning.of(bytes)?)),
                Some(Found::KeptHead) => match &self.state {
                    State::Kept(kept) => Some(Event::Head(kept.meaning.of(&kept.bytes)?)),
                    _ => None,
                },
                Some(Found::Body(bytes)) => Some(Event::Body(bytes)),
                Some(Found::End) => Some(Event::End),
            })
        });
        result.map_err(Reason::reject)
    }

    /// True between requests: nothing of the next one has come.
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Between(_))
    }

    /// True while a request head has begun but not ended.
    pub const fn in_head(&self) -> bool {
        matches!(self.state, State::Partial(_))
    }

    fn advance<'i>(&mut self, input: &mut &'i [u8], limits: &Limits) -> Result<Option<Found<'i>>, Reason> {
        let result = self.advance_state(input, limits);
        if let Err(reason) = result {
            self.state = State::Failed(reason);
        }
        result
    }

    fn advance_state<'i>(
        &mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<Found<'i>>, Reason> {
        if let State::Kept(kept) = &self.state {
            self.state = State::body(kept.meaning.body);
        }
        match &mut self.state {
            State::Between(empty_lines) => {
                empty_lines.skip(input)?;
                if input.is_empty() { Ok(None) } else { self.begin_head(input, limits) }
            }
            State::Partial(partial) => {
                let Some(kept) = partial.go_on(input, limits)? else {
                    return Ok(None);
                };
                self.state = State::Kept(kept);
                Ok(Some(Found::KeptHead))
            }
            State::Length(0) => {
                *self = Self::new();
                Ok(Some(Found::End))
            }
            State::Length(left) => Ok(take_body(left, input)),
            State::Chunked(body) => {
                let found = body.next(input, limits)?;
                if matches!(found, Some(Found::End)) {
                    *self = Self::new();
                }
                Ok(found)
            }
            State::Failed(reason) => Err(*reason),
            // Left above.
            State::Kept(_) => Ok(None),
        }
    }

    fn begin_head<'i>(&mut self, input: &mut &'i [u8], limits: &Limits) -> Result<Option<Found<'i>>, Reason> {
        let mut scanner = HeadScanner::new();
        let Some(end) = scanner.scan(input, limits)? else {
            self.state = State::Partial(Box::new(PartialHead { scanner, bytes: input.to_vec() }));
            *input = &[];
            return Ok(None);
        };
        let (head, rest) = input.split_at(end);
        *input = rest;
        let meaning = scanner.meaning(head, limits)?;
        self.state = State::body(meaning.body);
        Ok(Some(Found::Head(head, meaning)))
    }
}

impl State {
    /// After a head: no body is one of length 0, which has nothing left but its end.
    fn body(body: Body) -> Self {
        match body {
            Body::None => Self::Length(0),
            Body::Length(bytes) => Self::Length(bytes),
            Body::Chunked => {
                Self::Chunked(Box::new(ChunkedBody { decoder: ChunkDecoder::new(), announced: 0 }))
            }
        }
    }
}

impl EmptyLines {
    fn skip(&mut self, input: &mut &[u8]) -> Result<(), Reason> {
        while let Some((&byte, rest)) = input.split_first() {
            match (self.begun, byte) {
                (false, b'\r') => self.begun = true,
                (true, b'\n') => *self = Self { ended: self.ended + 1, begun: false },
                (true, _) => return Err(Reason::Line(super::FieldFault::BareCr)),
                (false, b'\n') => return Err(Reason::Line(super::FieldFault::BareLf)),
                (false, _) => return Ok(()),
            }
            if self.ended > EMPTY_LINES_MAX {
                return Err(Reason::EmptyLines);
            }
            *input = rest;
        }
        Ok(())
    }
}

impl PartialHead {
    fn go_on(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<Box<KeptHead>>, Reason> {
        let end = self.scanner.scan(input, limits)?;
        let (part, rest) = input.split_at(end.unwrap_or(input.len()));
        *input = rest;
        self.bytes.extend_from_slice(part);
        if end.is_none() {
            return Ok(None);
        }
        let meaning = self.scanner.meaning(&self.bytes, limits)?;
        Ok(Some(Box::new(KeptHead { meaning, bytes: core::mem::take(&mut self.bytes) })))
    }
}

impl ChunkedBody {
    fn next<'i>(&mut self, input: &mut &'i [u8], limits: &Limits) -> Result<Option<Found<'i>>, Reason> {
        while let Some(chunk) = self.decoder.next(input, limits).map_err(Reason::Chunk)? {
            match chunk {
                Chunk::Begin(size) => {
                    self.announced = self.announced.saturating_add(size);
                    if self.announced > limits.body_bytes {
                        return Err(Reason::BodyTooLarge);
                    }
                }
                Chunk::Data(bytes) => return Ok(Some(Found::Body(bytes))),
                Chunk::End => return Ok(Some(Found::End)),
            }
        }
        Ok(None)
    }
}

/// Takes what has come of a body of which `left` bytes have not.
fn take_body<'i>(left: &mut u64, input: &mut &'i [u8]) -> Option<Found<'i>> {
    // What does not fit usize is more than the input has.
    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    let (bytes, rest) = input.split_at(len);
    *input = rest;
    *left -= len as u64;
    (len > 0).then_some(Found::Body(bytes))
}
