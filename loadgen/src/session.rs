//! What is said on a connection: a protocol's requests and the matching of its replies, without the socket.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use tidemark_wire::echo::{EchoClient, Pattern};
use tidemark_wire::http::Limits;
use tidemark_wire::http::client::{ResponseReader, write_request};

use crate::errors::ErrorKind;
use crate::payload::Payload;
use crate::target::{Protocol, Target};

/// The lowest HTTP status that counts as an error.
const LOWEST_ERROR_STATUS: u16 = 400;

/// What every connection of a population says: made once, shared by all of them.
#[derive(Debug)]
pub enum Script {
    /// Echo requests.
    Echo {
        /// The bytes requests are made of and replies are verified against.
        pattern: Pattern,
        /// Lengths of requests, which take turns; each at least 1.
        payload_bytes: Vec<u32>,
    },
    /// HTTP requests.
    Http {
        /// The requests as they go over the wire; they take turns.
        requests: Vec<Arc<[u8]>>,
        /// Bounds on a response's head.
        limits: Limits,
    },
}

impl Script {
    /// What to say to `target`. The payload is an echo's request, or the body of an HTTP POST where it is not 0; the seed decides in
    /// which order its lengths come.
    pub fn new(target: &Target, payload: &Payload, seed: u64) -> Self {
        let turns = payload.turns(seed);
        match &target.protocol {
            Protocol::Echo => {
                Self::Echo { pattern: Pattern::new(payload.max_bytes() as usize), payload_bytes: turns }
            }
            Protocol::Http { path } => {
                let mut made = BTreeMap::new();
                let mut request = |bytes: u32| {
                    let request =
                        made.entry(bytes).or_insert_with(|| http_request(target, path, bytes).into());
                    Arc::clone(request)
                };
                Self::Http {
                    requests: turns.into_iter().map(&mut request).collect(),
                    limits: Limits::default(),
                }
            }
        }
    }

    /// Which request comes as the `number`-th.
    #[expect(clippy::cast_possible_truncation, reason = "a payload has far fewer turns")]
    pub fn turn(&self, number: u64) -> u16 {
        let turns = match self {
            Self::Echo { payload_bytes, .. } => payload_bytes.len(),
            Self::Http { requests, .. } => requests.len(),
        };
        (number % turns as u64) as u16
    }

    /// How long a request is on the wire.
    pub fn request_bytes(&self, turn: u16) -> u32 {
        match self {
            Self::Echo { payload_bytes, .. } => payload_bytes[usize::from(turn)],
            Self::Http { requests, .. } => {
                u32::try_from(requests[usize::from(turn)].len()).unwrap_or(u32::MAX)
            }
        }
    }
}

fn http_request(target: &Target, path: &str, payload_bytes: u32) -> Vec<u8> {
    let body = vec![b'x'; payload_bytes as usize];
    let (method, body) = if body.is_empty() { ("GET", None) } else { ("POST", Some(body.as_slice())) };
    let mut request = Vec::new();
    write_request(&mut request, method, path, &target.authority(), body);
    request
}

/// A reply that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Set when the target answered with an error.
    pub error: Option<ErrorKind>,
    /// The target announced that it closes the connection after this reply.
    pub closes: bool,
}

/// One connection's place in the conversation.
#[derive(Debug)]
pub enum Session {
    /// Raw echo.
    Echo(EchoClient),
    /// HTTP/1.1.
    Http(ResponseReader),
}

impl Session {
    /// A session at its beginning.
    pub fn new(script: &Script) -> Self {
        match script {
            Script::Echo { .. } => Self::Echo(EchoClient::new()),
            Script::Http { .. } => Self::Http(ResponseReader::new()),
        }
    }

    /// The bytes of the next request, which is the script's `turn`-th.
    pub fn request<'a>(&mut self, script: &'a Script, turn: u16) -> &'a [u8] {
        match (self, script) {
            (Self::Echo(stream), Script::Echo { pattern, payload_bytes }) => {
                stream.request(pattern, payload_bytes[usize::from(turn)])
            }
            (Self::Http(_), Script::Http { requests, .. }) => &requests[usize::from(turn)],
            _ => unreachable!("a session keeps the script it was made for"),
        }
    }

    /// Where to go on after a short write, when the last `unsent_bytes` of what was asked have not left: up to the end of a request
    /// at least. `newest_first` has the turns of the requests in flight.
    pub fn unsent<'a>(
        &self,
        script: &'a Script,
        unsent_bytes: u32,
        newest_first: impl Iterator<Item = u16>,
    ) -> &'a [u8] {
        match (self, script) {
            (Self::Echo(stream), Script::Echo { pattern, .. }) => stream.unsent(pattern, unsent_bytes),
            (Self::Http(_), Script::Http { requests, .. }) => {
                let mut left = unsent_bytes as usize;
                for turn in newest_first {
                    let request = &requests[usize::from(turn)];
                    if left <= request.len() {
                        return &request[request.len() - left..];
                    }
                    left -= request.len();
                }
                &[]
            }
            _ => unreachable!("a session keeps the script it was made for"),
        }
    }

    /// Takes bytes off the front of `input`. Returns a reply when one is complete, `None` when all of `input` is used
    /// up and more is needed. `oldest` is the turn of the request that is to be answered; none when nothing was asked.
    ///
    /// # Errors
    /// When the bytes are no reply to what was asked; the connection is then of no further use.
    pub fn receive(
        &mut self,
        script: &Script,
        input: &mut &[u8],
        oldest: Option<u16>,
    ) -> Result<Option<Reply>, ErrorKind> {
        if input.is_empty() {
            return Ok(None);
        }
        let Some(turn) = oldest else { return Err(ErrorKind::WrongReply) };
        match (self, script) {
            (Self::Echo(stream), Script::Echo { pattern, payload_bytes }) => {
                let length = payload_bytes[usize::from(turn)];
                // What follows belongs to the next request, or to none.
                let (piece, rest) = input.split_at(input.len().min(stream.missing(length) as usize));
                let replies =
                    stream.receive(piece, pattern, iter::once(length)).map_err(|_| ErrorKind::WrongReply)?;
                *input = rest;
                Ok((replies > 0).then_some(Reply { error: None, closes: false }))
            }
            (Self::Http(reader), Script::Http { limits, .. }) => {
                let response = reader.next(input, limits).map_err(|_| ErrorKind::Malformed)?;
                Ok(response.map(|response| reply(response.status, !response.keep_alive)))
            }
            _ => unreachable!("a session keeps the script it was made for"),
        }
    }

    /// The peer has closed its side: the reply that this completes, if any.
    ///
    /// # Errors
    /// When it cuts a reply off.
    pub fn end_of_stream(&mut self) -> Result<Option<Reply>, ErrorKind> {
        match self {
            Self::Echo(_) => Ok(None),
            Self::Http(reader) => {
                let response = reader.end_of_stream().map_err(|_| ErrorKind::Closed)?;
                Ok(response.map(|response| reply(response.status, true)))
            }
        }
    }
}

fn reply(status: u16, closes: bool) -> Reply {
    Reply { error: (status >= LOWEST_ERROR_STATUS).then_some(ErrorKind::Status(status)), closes }
}
