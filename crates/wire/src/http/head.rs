//! The rules both ends share for message heads: which bytes may stand where, and how a list is read.

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;

/// The classes of every byte: one look-up instead of a chain of comparisons.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        // RFC 9110 5.6.2.
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            class |= TOKEN;
        }
        // RFC 9110 5.5: visible characters, obs-text, and white space between them.
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            class |= VALUE;
        }
        // Any visible character but `#`: a fragment is never sent, and one that is can make two servers on
        // the way see different paths. Characters such as `|` or `{` are not in RFC 3986 but are in the
        // field.
        if byte.is_ascii_graphic() && byte != b'#' {
            class |= TARGET;
        }
        // RFC 3986 3.2.2 and 3.2.3: a name, an address, perhaps a port.
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b':'
                    | b'['
                    | b']'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            )
        {
            class |= HOST;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

/// How many bytes from the front of `bytes` are of a class.
#[inline]
fn run_of(class: u8, bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| CLASSES[usize::from(*byte)] & class == 0).unwrap_or(bytes.len())
}

/// How many bytes from the front of `bytes` may stand in a token.
pub(super) fn run_of_token(bytes: &[u8]) -> usize {
    run_of(TOKEN, bytes)
}

/// How many bytes from the front of `bytes` may stand in a target.
pub(super) fn run_of_target(bytes: &[u8]) -> usize {
    run_of(TARGET, bytes)
}

/// Whether all bytes may stand in the name of a host.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    run_of(HOST, bytes) == bytes.len()
}

pub(super) const fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

pub(super) const fn is_value(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

pub(super) const fn is_target(byte: u8) -> bool {
    CLASSES[byte as usize] & TARGET != 0
}

/// What is wrong with a field line of a head or of the trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.why())]
pub enum FieldFault {
    /// A line that begins with white space, to go on with the line before it.
    ObsFold,
    /// White space between a field's name and its colon.
    SpaceBeforeColon,
    /// A byte that may not stand in a name, or a line without a colon.
    Name,
    /// A control character in a value.
    Value,
    /// A line feed without its carriage return.
    BareLf,
    /// A carriage return without its line feed.
    BareCr,
}

impl FieldFault {
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::ObsFold => "a field line is folded",
            Self::SpaceBeforeColon => "white space before a field's colon",
            Self::Name => "a field line has no valid name",
            Self::Value => "a control character in a field value",
            Self::BareLf => "a line feed without a carriage return",
            Self::BareCr => "a carriage return without a line feed",
        }
    }
}

/// Where in a section of field lines (the fields of a head, or trailers) the next byte stands. A machine that
/// is stepped byte by byte cannot care how the bytes were split, and never looks at one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldState {
    LineStart,
    Name,
    Value,
    ValueLf,
    LastLf,
    /// The empty line has been read; no byte may follow.
    End,
}

impl FieldState {
    pub(super) const fn step(self, byte: u8) -> Result<Self, FieldFault> {
        match (self, byte) {
            (Self::LineStart | Self::Name, byte) if is_token(byte) => Ok(Self::Name),
            (Self::Name, b':') => Ok(Self::Value),
            (Self::Value, byte) if is_value(byte) => Ok(Self::Value),
            (Self::Value, b'\r') => Ok(Self::ValueLf),
            (Self::ValueLf, b'\n') => Ok(Self::LineStart),
            (Self::LineStart, b'\r') => Ok(Self::LastLf),
            (Self::LastLf, b'\n') => Ok(Self::End),
            (Self::LineStart, b' ' | b'\t') => Err(FieldFault::ObsFold),
            (Self::Name, b' ' | b'\t') => Err(FieldFault::SpaceBeforeColon),
            (Self::ValueLf | Self::LastLf, _) => Err(FieldFault::BareCr),
            (_, b'\n') => Err(FieldFault::BareLf),
            (Self::Value, _) => Err(FieldFault::Value),
            (Self::LineStart | Self::Name | Self::End, _) => Err(FieldFault::Name),
        }
    }

    /// Goes over bytes from the front of `bytes` as [`step`](Self::step) would, where they come in the usual order: how many, and where
    /// that leads. Most of a head is such. It never goes over the beginning of a line, so that lines can be counted.
    pub(super) fn run(self, bytes: &[u8]) -> (usize, Self) {
        match self {
            Self::Name => match run_of(TOKEN, bytes) {
                run if bytes.get(run) == Some(&b':') => (run + 1, Self::Value),
                run => (run, self),
            },
            Self::Value => match run_of(VALUE, bytes) {
                run if bytes[run..].starts_with(b"\r\n") => (run + 2, Self::LineStart),
                run => (run, self),
            },
            Self::LineStart if bytes.starts_with(b"\r\n") => (2, Self::End),
            _ => (0, self),
        }
    }
}

/// The elements of a comma-separated list, without the white space around them; empty ones too.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// A decimal number of digits only; none when it is empty, has any other byte, or does not fit.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// What the `connection` fields of a head ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Persistence {
    close: bool,
    keep_alive: bool,
}

impl Persistence {
    pub(super) fn read(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112 9.3: `close` wins; HTTP/1.0 closes unless told otherwise.
    pub(super) const fn keeps_alive(self, version_minor: u8) -> bool {
        !self.close && (version_minor > 0 || self.keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn fault(lines: &[u8]) -> Result<FieldState, FieldFault> {
        lines.iter().try_fold(FieldState::LineStart, |state, byte| state.step(*byte))
    }

    #[test]
    fn field_lines_end_at_the_empty_line() {
        assert_eq!(fault(b"\r\n"), Ok(FieldState::End));
        assert_eq!(fault(b"a: b\r\nc:\r\n\r\n"), Ok(FieldState::End));
        assert_eq!(fault(b"a: b\r\nc:\r\n"), Ok(FieldState::LineStart));
        assert_eq!(fault(b"a: \xffb\tc"), Ok(FieldState::Value), "obs-text and tabs are values");
    }

    #[test]
    fn each_fault_has_its_name() {
        for (lines, want) in [
            (&b"a: b\r\n c"[..], FieldFault::ObsFold),
            (b"a: b\r\n\tc", FieldFault::ObsFold),
            (b"a :", FieldFault::SpaceBeforeColon),
            (b"a\t:", FieldFault::SpaceBeforeColon),
            (b":", FieldFault::Name),
            (b"a(", FieldFault::Name),
            (b"nocolon\r", FieldFault::Name),
            (b"a: b\0", FieldFault::Value),
            (b"a: b\x7f", FieldFault::Value),
            (b"a: b\x0b", FieldFault::Value),
            (b"a: b\n", FieldFault::BareLf),
            (b"a\n", FieldFault::BareLf),
            (b"\n", FieldFault::BareLf),
            (b"a: b\rc", FieldFault::BareCr),
            (b"a: b\r\r", FieldFault::BareCr),
            (b"\rx", FieldFault::BareCr),
        ] {
            assert_eq!(fault(lines), Err(want), "{}", lines.escape_ascii());
        }
    }

    #[test]
    fn a_run_goes_where_steps_go() {
        let states = [FieldState::LineStart, FieldState::Name, FieldState::Value, FieldState::ValueLf];
        for state in states {
            for byte in 0..=u8::MAX {
                for bytes in [&[byte][..], &[byte, b'\n'], &[b'x', byte, b'\n'], &[b'\r', byte], &[b'x'; 20]]
                {
                    let (run, after) = state.run(bytes);
                    let stepped = bytes[..run].iter().try_fold(state, |state, byte| state.step(*byte));
                    assert_eq!(stepped, Ok(after), "{state:?} {bytes:?}");
                }
            }
        }
        assert_eq!(FieldState::Name.run(b"host: x"), (5, FieldState::Value));
        assert_eq!(FieldState::Value.run(b" a value of many bytes\r\nx"), (24, FieldState::LineStart));
        assert_eq!(FieldState::LineStart.run(b"\r\nx"), (2, FieldState::End));
        assert_eq!(FieldState::LineStart.run(b"x"), (0, FieldState::LineStart));
    }

    #[test]
    fn decimals_are_digits_and_nothing_else() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for wrong in
            ["", "18446744073709551616", "99999999999999999999", "+1", "-1", "1 ", "0x1", "1,1", "\u{661}"]
        {
            assert_eq!(decimal(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn lists_keep_their_empty_elements() {
        let elements: Vec<_> = list(b" a ,,\tb").collect();
        assert_eq!(elements, [&b"a"[..], b"", b"b"]);
    }
}
