//! Raw echo, the client's side: what to send next, and whether what came back is it.
//!
//! An echo stream has no frames. Requests are lengths laid end to end over one endless stream of bytes, and a
//! reply is complete when as many bytes have come back. That is why replies can be matched at any pipelining
//! depth.

use alloc::vec::Vec;

/// The pattern repeats after this many bytes. It is prime, so that no usual payload or buffer size is a
/// multiple of it, and below 256, so that all bytes of one period differ: bytes lost, repeated or out of
/// order show at the first byte that is wrong (unless exactly a multiple of 251 bytes is lost, which the
/// count of bytes then tells).
pub const PATTERN_PERIOD: usize = 251;

/// Replies are verified in slices of the pattern; with very small payloads the slices would be too short to
/// compare quickly, so that it is never shorter than this many bytes.
const PATTERN_BYTES_MIN: usize = 4096;

/// The bytes every echo stream is made of. The byte at stream offset `o` is `o % PATTERN_PERIOD`, so that a
/// reply is verified without remembering what was sent. One is shared by all sessions of a worker.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// `max_payload_bytes` and one period more, so that every offset has its slice.
    bytes: Vec<u8>,
    max_payload_bytes: usize,
}

impl Pattern {
    /// A pattern for requests of at most `max_payload_bytes` each. Allocates about as many bytes.
    #[expect(clippy::cast_possible_truncation, reason = "PATTERN_PERIOD is below 256")]
    pub fn new(max_payload_bytes: usize) -> Self {
        let len = max_payload_bytes.max(PATTERN_BYTES_MIN) + PATTERN_PERIOD;
        Self { bytes: (0..PATTERN_PERIOD).map(|o| o as u8).cycle().take(len).collect(), max_payload_bytes }
    }

    /// The `len` bytes of the stream from `offset` on.
    ///
    /// # Panics
    /// When `len` is more than the `max_payload_bytes` that the pattern was made for.
    pub fn at(&self, offset: u64, len: usize) -> &[u8] {
        assert!(len <= self.max_payload_bytes, "the pattern was made for smaller payloads");
        &self.in_phase(phase(offset))[..len]
    }

    /// The largest request, in bytes.
    pub fn max_payload_bytes(&self) -> usize {
        self.max_payload_bytes
    }

    fn in_phase(&self, phase: u8) -> &[u8] {
        &self.bytes[usize::from(phase)..]
    }
}

/// Where in its period a stream offset is.
#[expect(clippy::cast_possible_truncation, reason = "a remainder of 251 fits u8")]
const fn phase(offset: u64) -> u8 {
    (offset % PATTERN_PERIOD as u64) as u8
}

/// One echo connection's position in its stream. 16 bytes, no allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct EchoClient {
    /// Bytes that have come back and were right.
    received: u64,
    /// How many of them belong to the oldest outstanding request.
    oldest_received: u32,
    /// Where in the period the next request begins: all that need be known of the sending side.
    sent_phase: u8,
}

const _: () = assert!(size_of::<EchoClient>() <= 16, "one per connection");

impl EchoClient {
    /// A session at the beginning of its stream.
    pub const fn new() -> Self {
        Self { received: 0, oldest_received: 0, sent_phase: 0 }
    }

    /// The bytes of the next request of `len` bytes (at least 1, or there would be nothing to answer);
    /// advances the sending side of the stream.
    ///
    /// # Panics
    /// When `len` is more than the `max_payload_bytes` that the pattern was made for.
    pub fn request<'p>(&mut self, pattern: &'p Pattern, len: u32) -> &'p [u8] {
        let bytes = pattern.at(u64::from(self.sent_phase), len as usize);
        self.sent_phase = phase(u64::from(self.sent_phase) + u64::from(len));
        bytes
    }

    /// How many bytes of the oldest outstanding request, which has `len`, have not come back.
    pub const fn missing(&self, len: u32) -> u32 {
        len.saturating_sub(self.oldest_received)
    }

    /// The last `unsent` bytes of what has been requested so far: where to go on after a short write. When
    /// `unsent` is more than the pattern's `max_payload_bytes` (several requests wait), these are only the
    /// first `max_payload_bytes` of them; ask again with what is then left.
    pub fn unsent<'p>(&self, pattern: &'p Pattern, unsent: u32) -> &'p [u8] {
        let period = PATTERN_PERIOD as u64;
        let start = u64::from(self.sent_phase) + period - u64::from(unsent) % period;
        pattern.at(start, (unsent as usize).min(pattern.max_payload_bytes))
    }

    /// Takes bytes off the wire, verifies them, and returns how many replies they completed. `outstanding`
    /// yields the lengths of the outstanding requests, oldest first, as they were before this call; the
    /// session remembers by itself how much of the oldest has come.
    ///
    /// # Errors
    /// A byte that is not the one that was sent, or bytes beyond what was asked for. The session is then of
    /// no further use: its connection should be closed.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        pattern: &Pattern,
        outstanding: impl Iterator<Item = u32>,
    ) -> Result<u32, EchoError> {
        let mut unclaimed = bytes.len();
        let mut completed = 0;
        let mut oldest_received = self.oldest_received;
        for len in outstanding {
            let missing = len.saturating_sub(oldest_received) as usize;
            if unclaimed < missing {
                // Less than `missing`, itself a u32, so the conversion cannot fail.
                oldest_received += u32::try_from(unclaimed).unwrap_or(u32::MAX);
                unclaimed = 0;
                break;
            }
            unclaimed -= missing;
            oldest_received = 0;
            completed += 1;
        }
        self.verify(&bytes[..bytes.len() - unclaimed], pattern)?;
        if unclaimed > 0 {
            return Err(EchoError::Unasked { bytes: unclaimed });
        }
        self.received += bytes.len() as u64;
        self.oldest_received = oldest_received;
        Ok(completed)
    }

    /// Compares with the pattern in slices as long as the pattern has them, which compiles to `memcmp`.
    fn verify(&self, mut bytes: &[u8], pattern: &Pattern) -> Result<(), EchoError> {
        let mut offset = self.received;
        while !bytes.is_empty() {
            let expected = pattern.in_phase(phase(offset));
            let len = bytes.len().min(expected.len());
            if bytes[..len] != expected[..len] {
                let right = bytes.iter().zip(expected).take_while(|(got, want)| got == want).count();
                return Err(EchoError::Mismatch { offset: offset + right as u64 });
            }
            bytes = &bytes[len..];
            offset += len as u64;
        }
        Ok(())
    }
}

/// Why what came back is not the echo of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EchoError {
    /// A byte differs from what was sent.
    #[error("the echoed byte at stream offset {offset} is not the one that was sent")]
    Mismatch {
        /// Bytes of the stream before the first wrong one.
        offset: u64,
    },
    /// More came back than was sent.
    #[error("{bytes} bytes came back that were never asked for")]
    Unasked {
        /// How many, in the read that brought the first of them.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_has_its_byte() {
        let pattern = Pattern::new(8);
        for offset in [0, 1, 250, 251, 252, u64::MAX - 7] {
            let want: Vec<u8> = (0..8).map(|i| u8::try_from((offset + i) % 251).unwrap()).collect();
            assert_eq!(pattern.at(offset, 8), want, "offset {offset}");
        }
    }

    #[test]
    #[should_panic(expected = "smaller payloads")]
    fn a_slice_beyond_the_largest_payload_panics() {
        Pattern::new(8).at(0, 9);
    }

    #[test]
    fn replies_are_counted_at_any_depth() {
        let pattern = Pattern::new(100);
        let mut client = EchoClient::new();
        let wire: Vec<u8> =
            [100, 1, 30].iter().flat_map(|len| client.request(&pattern, *len).to_vec()).collect();
        assert_eq!(client.receive(&wire[..99], &pattern, [100, 1, 30].into_iter()), Ok(0));
        assert_eq!(client.receive(&wire[99..101], &pattern, [100, 1, 30].into_iter()), Ok(2));
        assert_eq!(client.receive(&wire[101..], &pattern, [30].into_iter()), Ok(1));
        assert_eq!(client.receive(&[], &pattern, core::iter::empty()), Ok(0));
    }

    #[test]
    fn a_read_longer_than_the_pattern_is_verified_to_its_end() {
        let pattern = Pattern::new(64);
        let mut client = EchoClient::new();
        let requests = [64_u32; 1000];
        let mut wire: Vec<u8> =
            requests.iter().flat_map(|len| client.request(&pattern, *len).to_vec()).collect();
        assert_eq!(client.clone().receive(&wire, &pattern, requests.into_iter()), Ok(1000));
        wire[63_999] ^= 1;
        assert_eq!(
            client.receive(&wire, &pattern, requests.into_iter()),
            Err(EchoError::Mismatch { offset: 63_999 })
        );
    }

    #[test]
    fn a_lost_byte_shows_at_its_offset() {
        let pattern = Pattern::new(600);
        let mut client = EchoClient::new();
        let mut wire = client.request(&pattern, 600).to_vec();
        wire.remove(300);
        assert_eq!(
            client.receive(&wire, &pattern, [600].into_iter()),
            Err(EchoError::Mismatch { offset: 300 })
        );
    }

    #[test]
    fn a_repeated_byte_shows_after_its_offset() {
        let pattern = Pattern::new(600);
        let mut client = EchoClient::new();
        let mut wire = client.request(&pattern, 600).to_vec();
        wire.insert(300, wire[300]);
        assert_eq!(
            client.receive(&wire, &pattern, [600].into_iter()),
            Err(EchoError::Mismatch { offset: 301 })
        );
    }

    #[test]
    fn bytes_nobody_asked_for_are_an_error() {
        let pattern = Pattern::new(8);
        let mut client = EchoClient::new();
        let mut wire = client.request(&pattern, 8).to_vec();
        wire.extend([8, 9]);
        assert_eq!(client.receive(&wire, &pattern, [8].into_iter()), Err(EchoError::Unasked { bytes: 2 }));
        assert_eq!(
            EchoClient::new().receive(b"x", &pattern, core::iter::empty()),
            Err(EchoError::Unasked { bytes: 1 })
        );
    }

    #[test]
    fn a_short_write_goes_on_where_it_stopped() {
        let pattern = Pattern::new(300);
        let mut client = EchoClient::new();
        let whole = [client.request(&pattern, 300), client.request(&pattern, 200)].concat();
        for unsent in [0, 1, 200, 250, 300] {
            assert_eq!(client.unsent(&pattern, unsent), &whole[500 - unsent as usize..], "{unsent} unsent");
        }
        let mut rest: Vec<u8> = Vec::new();
        while rest.len() < 500 {
            rest.extend(client.unsent(&pattern, 500 - u32::try_from(rest.len()).unwrap()));
        }
        assert_eq!(rest, whole, "more than one payload unsent comes in pieces");
    }
}
