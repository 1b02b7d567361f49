//! Taking the chunked transfer coding off a body (RFC 9112 7.1), for both ends, without keeping any of it.

use super::Limits;
use super::head::{FieldFault, FieldState, is_value};

/// The line that begins a chunk: its size and extensions. Nobody sends extensions; this much is allowed so
/// that they may, and no more, so that a body cannot be made mostly of them.
pub(super) const CHUNK_LINE_BYTES_MAX: u16 = 256;

/// What is wrong with a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.why())]
pub enum ChunkFault {
    /// A chunk's size is not a hexadecimal number that fits 64 bits.
    Size,
    /// A chunk's extensions have a control character.
    Extension,
    /// The line with a chunk's size and extensions is too long.
    LineTooLong,
    /// A chunk's data is not followed by its CRLF.
    NoCrlf,
    /// A faulty line among the trailers.
    Trailer(FieldFault),
    /// More bytes or lines of trailers than a head may have.
    TrailersTooLarge,
}

impl ChunkFault {
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Size => "a chunk's size is malformed",
            Self::Extension => "a chunk's extensions are malformed",
            Self::LineTooLong => "a chunk's extensions are too long",
            Self::NoCrlf => "a chunk's data is not followed by CRLF",
            Self::Trailer(fault) => fault.why(),
            Self::TrailersTooLarge => "the trailers are too large",
        }
    }
}

/// What a step of the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk<'a> {
    /// A chunk of this many bytes (never 0) begins.
    Begin(u64),
    /// Bytes of the body, never empty.
    Data(&'a [u8]),
    /// The trailers have ended, and with them the body.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    SizeStart,
    Size,
    /// White space after a size, which only extensions may follow.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers(FieldState),
}

/// 16 bytes of state, none of the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkDecoder {
    /// The size of the current chunk while it is read, then what of its data has not come; so it is 0 again
    /// when the next size begins.
    left: u64,
    /// Bytes of the current chunk line, or of the trailers so far.
    line_bytes: u32,
    /// Trailer lines so far.
    fields: u16,
    state: ChunkState,
}

impl ChunkDecoder {
    pub(super) const fn new() -> Self {
        Self { left: 0, line_bytes: 0, fields: 0, state: ChunkState::SizeStart }
    }

    /// Takes bytes off the front of `input`; none when all are used up and more are needed. Must not be
    /// called again after [`Chunk::End`] or an error.
    pub(super) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<Chunk<'i>>, ChunkFault> {
        while let Some((&byte, rest)) = input.split_first() {
            if self.state == ChunkState::Data {
                return Ok(Some(self.take_data(input)));
            }
            *input = rest;
            if let ChunkState::Trailers(state) = self.state {
                if self.step_trailers(state, byte, limits)? {
                    return Ok(Some(Chunk::End));
                }
                continue;
            }
            self.state = self.step(byte)?;
            if self.state == ChunkState::Data {
                return Ok(Some(Chunk::Begin(self.left)));
            }
        }
        Ok(None)
    }

    fn take_data<'i>(&mut self, input: &mut &'i [u8]) -> Chunk<'i> {
        // What does not fit usize is more than the input has.
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at(len);
        *input = rest;
        self.left -= len as u64;
        if self.left == 0 {
            self.state = ChunkState::DataCr;
        }
        Chunk::Data(data)
    }

    /// The framing between one chunk's data and the next.
    fn step(&mut self, byte: u8) -> Result<ChunkState, ChunkFault> {
        match (self.state, byte) {
            (ChunkState::DataCr, b'\r') => return Ok(ChunkState::DataLf),
            (ChunkState::DataLf, b'\n') => {
                self.line_bytes = 0;
                return Ok(ChunkState::SizeStart);
            }
            (ChunkState::DataCr | ChunkState::DataLf, _) => return Err(ChunkFault::NoCrlf),
            _ => {}
        }
        self.line_bytes += 1;
        if self.line_bytes > u32::from(CHUNK_LINE_BYTES_MAX) {
            return Err(ChunkFault::LineTooLong);
        }
        match (self.state, byte) {
            (ChunkState::SizeStart | ChunkState::Size, byte) if byte.is_ascii_hexdigit() => {
                self.push_digit(byte)?;
                Ok(ChunkState::Size)
            }
            (ChunkState::Size | ChunkState::SizeSpace, b';') => Ok(ChunkState::Extension),
            (ChunkState::Size | ChunkState::SizeSpace, b' ' | b'\t') => Ok(ChunkState::SizeSpace),
            (ChunkState::Size | ChunkState::Extension, b'\r') => Ok(ChunkState::SizeLf),
            (ChunkState::Extension, byte) if is_value(byte) => Ok(ChunkState::Extension),
            (ChunkState::SizeLf, b'\n') if self.left == 0 => {
                self.line_bytes = 0;
                Ok(ChunkState::Trailers(FieldState::LineStart))
            }
            (ChunkState::SizeLf, b'\n') => Ok(ChunkState::Data),
            (ChunkState::Extension, _) => Err(ChunkFault::Extension),
            _ => Err(ChunkFault::Size),
        }
    }

    fn push_digit(&mut self, byte: u8) -> Result<(), ChunkFault> {
        let digit = char::from(byte).to_digit(16).ok_or(ChunkFault::Size)?;
        self.left = self.left.checked_mul(16).ok_or(ChunkFault::Size)? + u64::from(digit);
        Ok(())
    }

    /// True when the trailers have ended. What they say is not looked at: nothing here has a use for it, and
    /// to take framing or routing from them is how requests get smuggled.
    fn step_trailers(&mut self, state: FieldState, byte: u8, limits: &Limits) -> Result<bool, ChunkFault> {
        let next = state.step(byte).map_err(ChunkFault::Trailer)?;
        self.line_bytes = self.line_bytes.saturating_add(1);
        if state == FieldState::LineStart && next == FieldState::Name {
            self.fields += 1;
        }
        if self.line_bytes as usize > limits.head_bytes.max(2)
            || usize::from(self.fields) > limits.fields_max()
        {
            return Err(ChunkFault::TrailersTooLarge);
        }
        self.state = ChunkState::Trailers(next);
        Ok(next == FieldState::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    /// The body, whether it ended, and what was left of the input.
    fn decode(mut input: &[u8]) -> Result<(String, bool, &[u8]), ChunkFault> {
        let mut decoder = ChunkDecoder::new();
        let (mut body, mut announced) = (Vec::new(), 0);
        while let Some(chunk) = decoder.next(&mut input, &Limits::default())? {
            match chunk {
                Chunk::Begin(size) => announced += size,
                Chunk::Data(data) => body.extend_from_slice(data),
                Chunk::End => {
                    assert_eq!(announced, body.len() as u64);
                    return Ok((String::from_utf8(body).unwrap(), true, input));
                }
            }
        }
        Ok((String::from_utf8(body).unwrap(), false, input))
    }

    #[test]
    fn chunks_are_joined() {
        let input = b"4\r\nWiki\r\n00A\r\npedia in c\r\n6;a=\"b;c\" ; d\r\nhunks.\r\n0\r\n\r\nGET";
        assert_eq!(decode(input), Ok(("Wikipedia in chunks.".into(), true, &b"GET"[..])));
    }

    #[test]
    fn white_space_before_extensions_is_allowed_and_nowhere_else() {
        assert_eq!(decode(b"1 \t;x\r\na\r\n0\r\n\r\n"), Ok(("a".into(), true, &b""[..])));
        assert_eq!(decode(b"1 \r\na"), Err(ChunkFault::Size));
        assert_eq!(decode(b" 1\r\na"), Err(ChunkFault::Size));
    }

    #[test]
    fn trailers_are_skipped() {
        assert_eq!(decode(b"0\r\nx: y\r\nz:\r\n\r\nrest"), Ok((String::new(), true, &b"rest"[..])));
    }

    #[test]
    fn an_unended_body_asks_for_more() {
        assert_eq!(decode(b"5\r\nab"), Ok(("ab".into(), false, &b""[..])));
        assert_eq!(decode(b"0\r\n"), Ok((String::new(), false, &b""[..])));
    }

    #[test]
    fn malformed_sizes_are_refused() {
        for wrong in ["\r\n", "x", "-1", "+1", "0x1", "1g", "1\n", "1\rx", "1,2", "_1", "\0"] {
            assert_eq!(decode(wrong.as_bytes()), Err(ChunkFault::Size), "{}", wrong.escape_default());
        }
        assert_eq!(decode(b"10000000000000000"), Err(ChunkFault::Size), "17 digits do not fit");
        assert_eq!(decode(b"ffffffffffffffff\r\nab"), Ok(("ab".into(), false, &b""[..])), "16 digits do");
    }

    #[test]
    fn extensions_are_bounded_and_have_no_control_characters() {
        let long = |bytes: usize| ["1;", &"x".repeat(bytes - 4), "\r\na\r\n0\r\n\r\n"].concat();
        assert_eq!(decode(long(256).as_bytes()).map(|(body, ..)| body), Ok("a".into()));
        assert_eq!(decode(long(257).as_bytes()), Err(ChunkFault::LineTooLong));
        assert_eq!(decode("0".repeat(257).as_bytes()), Err(ChunkFault::LineTooLong));
        for wrong in ["1;a\n", "1;a\0"] {
            assert_eq!(decode(wrong.as_bytes()), Err(ChunkFault::Extension), "{}", wrong.escape_default());
        }
        assert_eq!(decode(b"1;a\rb"), Err(ChunkFault::Size));
    }

    #[test]
    fn data_must_be_followed_by_crlf() {
        for wrong in ["1\r\nab", "1\r\na\n", "1\r\na\rb"] {
            assert_eq!(decode(wrong.as_bytes()), Err(ChunkFault::NoCrlf), "{}", wrong.escape_default());
        }
    }

    #[test]
    fn trailers_are_bounded_in_bytes_and_lines() {
        let long = ["0\r\nx: ", &"y".repeat(8192)].concat();
        assert_eq!(decode(long.as_bytes()), Err(ChunkFault::TrailersTooLarge));
        let many = ["0\r\n", &"x:\r\n".repeat(65)].concat();
        assert_eq!(decode(many.as_bytes()), Err(ChunkFault::TrailersTooLarge));
        let enough = ["0\r\n", &"x:\r\n".repeat(64), "\r\n"].concat();
        assert_eq!(decode(enough.as_bytes()), Ok((String::new(), true, &b""[..])));
        assert_eq!(decode(b"0\r\nx: y\n"), Err(ChunkFault::Trailer(FieldFault::BareLf)));
    }
}
