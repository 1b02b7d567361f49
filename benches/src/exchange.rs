//! What is asked over and over, and what is a right reply.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Requests and replies are at most this long, so that one is always written and read whole.
pub const BYTES_MAX: usize = 8 * 1024;

/// How long the first reply may take.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);

const STATUS_OK: &[u8] = b"HTTP/1.1 200 ";

/// A request, and what is a right reply to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    request: Vec<u8>,
    reply: Reply,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    /// The request's own bytes.
    Echo,
    /// Status 200 and as many bytes as the first had: of all that a server says only the date changes, and its length
    /// does not.
    Http { bytes: usize },
}

impl Exchange {
    /// An echo of so many bytes.
    ///
    /// # Errors
    /// When it is not of 1 to 8,192.
    pub fn echo(payload_bytes: usize) -> io::Result<Self> {
        if !(1..=BYTES_MAX).contains(&payload_bytes) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the payload must have 1 to 8192 bytes"));
        }
        Ok(Self { request: (0..=u8::MAX).cycle().take(payload_bytes).collect(), reply: Reply::Echo })
    }

    /// An HTTP GET. The server is asked once, to learn the length of its reply.
    ///
    /// # Errors
    /// When it does not reply with status 200 and a `content-length`, or the reply is longer than 8,192 bytes.
    pub fn get(server: SocketAddr, path: &str) -> io::Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\n\r\n").into_bytes();
        let mut stream = TcpStream::connect_timeout(&server, FIRST_TIMEOUT)?;
        stream.set_read_timeout(Some(FIRST_TIMEOUT))?;
        stream.write_all(&request)?;
        let bytes = first_reply_bytes(&mut stream)?;
        Ok(Self { request, reply: Reply::Http { bytes } })
    }

    /// What is sent.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// How long a reply is.
    pub fn reply_bytes(&self) -> usize {
        match self.reply {
            Reply::Echo => self.request.len(),
            Reply::Http { bytes } => bytes,
        }
    }

    /// Whether `piece` may stand in a reply after its first `offset` bytes.
    pub fn accepts(&self, offset: usize, piece: &[u8]) -> bool {
        let end = offset + piece.len();
        match self.reply {
            Reply::Echo => self.request.get(offset..end) == Some(piece),
            Reply::Http { bytes } => {
                let status = STATUS_OK.get(offset..end.min(STATUS_OK.len())).unwrap_or_default();
                end <= bytes && piece.starts_with(status)
            }
        }
    }
}

/// Reads one reply and tells its length.
fn first_reply_bytes(stream: &mut impl Read) -> io::Result<usize> {
    let mut reply = Vec::new();
    let mut buffer = [0; BYTES_MAX];
    loop {
        if let Some(bytes) = reply_bytes(&reply)? {
            return match reply.len() {
                len if len == bytes => Ok(bytes),
                len if len > bytes => Err(invalid("the reply is longer than its content-length says")),
                _ if bytes > BYTES_MAX => Err(invalid("the reply is longer than 8192 bytes")),
                _ => {
                    let mut rest = vec![0; bytes - reply.len()];
                    stream.read_exact(&mut rest)?;
                    Ok(bytes)
                }
            };
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => reply.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The length of a reply as its head tells; `None` when the head is not complete.
fn reply_bytes(reply: &[u8]) -> io::Result<Option<usize>> {
    let Some(head_bytes) = reply.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4)
    else {
        return if reply.len() > BYTES_MAX {
            Err(invalid("the reply's head is longer than 8192 bytes"))
        } else {
            Ok(None)
        };
    };
    let head = String::from_utf8_lossy(&reply[..head_bytes]);
    let status = head.lines().next().unwrap_or_default();
    if !reply.starts_with(STATUS_OK) {
        return Err(invalid(format!("the reply is not HTTP/1.1 200 but {status:?}")));
    }
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or_else(|| invalid("the reply has no content-length"))?;
    Ok(Some(head_bytes.saturating_add(length)))
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nbody";

    #[test]
    fn a_payload_that_cannot_be_told_whole_is_refused() {
        for bytes in [0, BYTES_MAX + 1] {
            assert_eq!(Exchange::echo(bytes).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn the_length_of_the_first_reply_is_learned() {
        assert_eq!(first_reply_bytes(&mut { REPLY }).unwrap(), REPLY.len());
    }

    #[test]
    fn what_is_no_good_reply_is_told() {
        for (reply, why) in [
            (&b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"[..], "503"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "no content-length"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n", "longer than 8192"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n", "longer than 8192"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", "longer than its content-length"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "fill whole buffer"),
            (b"HTTP/1.1 200 OK\r\n", "unexpected end of file"),
            (&[b'x'; 2 * BYTES_MAX], "head is longer"),
        ] {
            let error = first_reply_bytes(&mut { reply }).unwrap_err().to_string();
            assert!(error.contains(why), "{error:?} does not say {why:?}");
        }
    }

    #[test]
    fn a_later_reply_has_the_same_length_and_status() {
        let get = Exchange { request: Vec::new(), reply: Reply::Http { bytes: REPLY.len() } };
        assert!(get.accepts(0, REPLY));
        assert!(!get.accepts(0, &[REPLY, b"x"].concat()));
        assert!(!get.accepts(0, &REPLY.to_ascii_lowercase()));
    }

    proptest! {
        #[test]
        fn a_reply_may_come_in_any_two_pieces(cut in 0..=REPLY.len(), wrong in 0..STATUS_OK.len()) {
            let get = Exchange { request: Vec::new(), reply: Reply::Http { bytes: REPLY.len() } };
            let accepts = |reply: &[u8]| get.accepts(0, &reply[..cut]) && get.accepts(cut, &reply[cut..]);
            prop_assert!(accepts(REPLY));
            let mut bad = REPLY.to_vec();
            bad[wrong] ^= 1;
            prop_assert!(!accepts(&bad));
        }

        #[test]
        fn hostile_replies_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = first_reply_bytes(&mut &bytes[..]);
            let _ = first_reply_bytes(&mut &[REPLY, &bytes].concat()[..]);
        }
    }
}
