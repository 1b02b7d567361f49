//! What the server does wrong, as a function from the bytes that came to the bytes that go. No sockets here.

use std::time::Duration;

use clap::Subcommand;

const HEAD_END: &[u8] = b"\r\n\r\n";

/// What the server does wrong.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Fault {
    /// Echoes, but again and again answers nobody for a while. It goes on to read, and what it owes goes out at once at the end: so the
    /// requests of a stop wait for its end, and not for each other
    Stall {
        /// How long it stops
        #[arg(long = "for", default_value = "100ms", value_parser = humantime::parse_duration)]
        length: Duration,
        /// From the beginning of one stop to the beginning of the next
        #[arg(long, default_value = "1s", value_parser = parse_period)]
        every: Duration,
        /// Answer HTTP requests with a small 200 instead of echoing
        #[arg(long)]
        http: bool,
    },
    /// Echoes, one request after another over all connections, each taking the same time: so it does 1/TIME a second
    Slow {
        /// TIME
        #[arg(long = "per-request", value_name = "TIME", default_value = "2ms", value_parser = humantime::parse_duration)]
        service: Duration,
    },
    /// Accepts and resets at once
    Reset,
    /// Accepts, reads, and never answers
    Silent,
    /// Echoes with one byte changed every N replies, over all connections
    Wrong {
        /// N
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        every_reply: u64,
    },
    /// Echoes, and closes each connection unannounced after N replies
    Drop {
        /// N
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        after: u64,
    },
    /// Answers HTTP requests with bytes that are no HTTP
    Garbage,
    /// Answers HTTP requests with this status
    Status {
        /// Such as 404
        #[arg(value_parser = clap::value_parser!(u16).range(200..=599))]
        code: u16,
    },
    /// Answers each HTTP request with `connection: close`, and closes
    Close,
}

fn parse_period(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(period) if period.is_zero() => Err("must be longer than 0".to_owned()),
        Ok(period) => Ok(period),
        Err(error) => Err(error.to_string()),
    }
}

/// One connection's place in the conversation.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Replies given on this connection.
    replies: u64,
    /// How much of the end of an HTTP request head the last bytes match.
    head_end_matched: usize,
}

impl Session {
    /// Answers what came, the way `fault` wants it. `replies_of_all` counts over all connections. What one read takes is
    /// one echo request: so it is for requests that fit a segment and, where replies are counted, are not pipelined. HTTP requests have no
    /// body.
    ///
    /// Returns whether the connection ends once `output` has been sent.
    pub(crate) fn answer(
        &mut self,
        fault: &Fault,
        replies_of_all: &mut u64,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> bool {
        match fault {
            Fault::Reset | Fault::Silent => false,
            Fault::Stall { http: false, .. }
            | Fault::Slow { .. }
            | Fault::Wrong { .. }
            | Fault::Drop { .. } => {
                output.extend_from_slice(input);
                self.replies += 1;
                *replies_of_all += 1;
                if let (Fault::Wrong { every_reply }, Some(last)) = (fault, output.last_mut())
                    && replies_of_all.is_multiple_of(*every_reply)
                {
                    *last = !*last;
                }
                matches!(fault, Fault::Drop { after } if self.replies >= *after)
            }
            Fault::Stall { http: true, .. } | Fault::Garbage | Fault::Status { .. } | Fault::Close => {
                self.answer_http(fault, input, output)
            }
        }
    }

    fn answer_http(&mut self, fault: &Fault, input: &[u8], output: &mut Vec<u8>) -> bool {
        if self.replies == 0 && self.head_end_matched == 0 && !input[0].is_ascii_uppercase() {
            output.extend_from_slice(
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
            return true;
        }
        for _ in 0..self.heads_that_end_in(input) {
            self.replies += 1;
            let reply = match fault {
                Fault::Garbage => "\u{1}\u{2} this is no HTTP\r\n\r\n".to_owned(),
                Fault::Status { code } => format!("HTTP/1.1 {code} Faulty\r\ncontent-length: 0\r\n\r\n"),
                Fault::Close => {
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned()
                }
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
            };
            output.extend_from_slice(reply.as_bytes());
            if matches!(fault, Fault::Close) {
                return true;
            }
        }
        false
    }

    fn heads_that_end_in(&mut self, input: &[u8]) -> usize {
        let mut ended = 0;
        for &byte in input {
            self.head_end_matched = match self.head_end_matched {
                matched if byte == HEAD_END[matched] => matched + 1,
                _ => usize::from(byte == HEAD_END[0]),
            };
            if self.head_end_matched == HEAD_END.len() {
                self.head_end_matched = 0;
                ended += 1;
            }
        }
        ended
    }
}
