//! What is said on a connection: a protocol's requests and the matching of its replies, without the socket.

use std::iter;

use tidemark_wire::echo::{EchoClient, Pattern};
use tidemark_wire::http::Limits;
use tidemark_wire::http::client::{ResponseReader, write_request};

use crate::errors::ErrorKind;
use crate::target::{Protocol, Target};

/// The lowest HTTP status that counts as an error.
const LOWEST_ERROR_STATUS: u16 = 400;

/// What every connection of a population says: made once, shared by all of them.
#[derive(Debug)]
pub enum Script {
    /// Echo requests of a fixed length.
    Echo {
        /// The bytes requests are made of and replies are verified against.
        pattern: Pattern,
        /// Length of a request, at least 1.
        payload_bytes: u32,
    },
    /// The same HTTP request each time.
    Http {
        /// The request as it goes over the wire.
        request: Vec<u8>,
        /// Bounds on a response's head.
        limits: Limits,
    },
}

impl Script {
    /// What to say to `target`. The payload is an echo's request, or the body of an HTTP POST when it is not 0.
    pub fn new(target: &Target, payload_bytes: u32) -> Self {
        match &target.protocol {
            Protocol::Echo => Self::Echo { pattern: Pattern::new(payload_bytes as usize), payload_bytes },
            Protocol::Http { path } => {
                let body = vec![b'x'; payload_bytes as usize];
                let (method, body) =
                    if body.is_empty() { ("GET", None) } else { ("POST", Some(body.as_slice())) };
                let mut request = Vec::new();
                write_request(&mut request, method, path, &target.authority(), body);
                Self::Http { request, limits: Limits::default() }
            }
        }
    }
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

    /// The bytes of the next request.
    pub fn request<'a>(&mut self, script: &'a Script) -> &'a [u8] {
        match (self, script) {
            (Self::Echo(echo), Script::Echo { pattern, payload_bytes }) => {
                echo.request(pattern, *payload_bytes)
            }
            (_, Script::Http { request, .. }) => request,
            (Self::Http(_), Script::Echo { .. }) => {
                unreachable!("a session keeps the script it was made for")
            }
        }
    }

    /// The last `unsent` bytes of the request, for after a short write.
    pub fn unsent<'a>(&self, script: &'a Script, unsent: u32) -> &'a [u8] {
        match (self, script) {
            (Self::Echo(echo), Script::Echo { pattern, .. }) => echo.unsent(pattern, unsent),
            (_, Script::Http { request, .. }) => &request[request.len() - unsent as usize..],
            (Self::Http(_), Script::Echo { .. }) => {
                unreachable!("a session keeps the script it was made for")
            }
        }
    }

    /// Takes bytes off the front of `input`. Returns a reply when one is complete, `None` when all of `input` is used
    /// up and more is needed.
    ///
    /// # Errors
    /// When the bytes are no reply to what was asked; the connection is then of no further use.
    pub fn receive(
        &mut self,
        script: &Script,
        input: &mut &[u8],
        asked: bool,
    ) -> Result<Option<Reply>, ErrorKind> {
        if input.is_empty() {
            return Ok(None);
        }
        match (self, script) {
            (Self::Echo(echo), Script::Echo { pattern, payload_bytes }) => {
                let outstanding = iter::repeat_n(*payload_bytes, usize::from(asked));
                let replies = echo.receive(input, pattern, outstanding).map_err(|_| ErrorKind::WrongReply)?;
                *input = &[];
                Ok((replies > 0).then_some(Reply { error: None, closes: false }))
            }
            (Self::Http(_), Script::Http { .. }) if !asked => Err(ErrorKind::WrongReply),
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
