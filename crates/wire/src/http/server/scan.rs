//! The bytes of a request head: where its parts end, and whether each byte may stand where it stands.
//!
//! The scanner is stepped byte by byte over a head as it comes in. So a fault is told with the byte that
//! makes it certain, a head that comes in a byte at a time costs no more than one that comes whole, and the
//! verdict cannot depend on how the bytes were split. What the fields mean is read once, when the head is
//! complete.

use super::reason::Reason;
use crate::http::Limits;
use crate::http::head::{FieldFault, FieldState, is_target, is_token, run_of_target, run_of_token};

/// No registered method is longer than 17 bytes; RFC 9112 3 asks for 501 when one is longer than any there
/// is.
const METHOD_BYTES_MAX: u32 = 32;

/// How nearly every request line ends.
const HTTP_1_1: &[u8] = b"HTTP/1.1\r\n";

/// The version as it must be; `x` stands for a digit.
const VERSION: &[u8] = b"HTTP/x.x";
const VERSION_MAJOR_AT: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Method,
    Target,
    /// At this byte of [`VERSION`]; behind it, at the carriage return.
    Version(u8),
    VersionLf,
    Fields(FieldState),
}

/// What is known of a head so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadScanner {
    part: Part,
    version_major: u8,
    pub(super) version_minor: u8,
    pub(super) fields: u16,
    /// Bytes so far. No head has more than u32 can count: the limit is cut to that.
    bytes: u32,
    pub(super) method_end: u32,
    pub(super) target_end: u32,
    /// Where the field lines begin.
    pub(super) line_end: u32,
}

impl HeadScanner {
    pub(super) const fn new() -> Self {
        Self {
            part: Part::Method,
            version_major: 0,
            version_minor: 0,
            fields: 0,
            bytes: 0,
            method_end: 0,
            target_end: 0,
            line_end: 0,
        }
    }

    /// Goes on with the next bytes. Where in `input` the head ends, or none when it does not.
    pub(super) fn scan(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Reason> {
        let head_bytes_max = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
        let room = head_bytes_max.saturating_sub(self.bytes) as usize;
        let within = &input[..input.len().min(room)];
        let mut next = 0;
        while next < within.len() {
            let run = self.run(&within[next..], limits);
            next += run;
            if self.part == Part::Fields(FieldState::End) {
                return Ok(Some(next));
            }
            if run > 0 {
                continue;
            }
            self.bytes += 1;
            self.step(within[next], limits)?;
            next += 1;
            if self.part == Part::Fields(FieldState::End) {
                return Ok(Some(next));
            }
        }
        if self.bytes >= head_bytes_max { Err(Reason::HeadTooLarge) } else { Ok(None) }
    }

    /// Goes over bytes from the front of `input` that may stand where they stand and leave the part as it is, or are the usual version,
    /// and counts them: most of a head is such, and to step costs more. Never over all that there may be of a part, so that what is
    /// too long is found by a step.
    fn run(&mut self, input: &[u8], limits: &Limits) -> usize {
        let run = match self.part {
            Part::Fields(state) => {
                let (run, after) = state.run(input);
                self.part = Part::Fields(after);
                run
            }
            Part::Method => {
                let room = METHOD_BYTES_MAX.saturating_sub(self.bytes) as usize;
                run_of_token(&input[..input.len().min(room)])
            }
            Part::Target => {
                let target_bytes = (self.bytes - self.method_end - 1) as usize;
                let room = limits.target_bytes.saturating_sub(target_bytes);
                run_of_target(&input[..input.len().min(room)])
            }
            Part::Version(0) if input.starts_with(HTTP_1_1) => {
                (self.version_major, self.version_minor) = (1, 1);
                self.line_end = self.bytes + count(HTTP_1_1.len());
                self.part = Part::Fields(FieldState::LineStart);
                HTTP_1_1.len()
            }
            Part::Version(_) | Part::VersionLf => 0,
        };
        self.bytes += count(run);
        run
    }

    fn step(&mut self, byte: u8, limits: &Limits) -> Result<(), Reason> {
        self.part = match self.part {
            Part::Method => self.step_method(byte)?,
            Part::Target => self.step_target(byte, limits)?,
            Part::Version(at) => self.step_version(at, byte)?,
            Part::VersionLf if byte != b'\n' => return Err(Reason::Line(FieldFault::BareCr)),
            Part::VersionLf if self.version_major != 1 => return Err(Reason::VersionMajor),
            Part::VersionLf => {
                self.line_end = self.bytes;
                Part::Fields(FieldState::LineStart)
            }
            Part::Fields(state) => {
                let next = state.step(byte).map_err(Reason::Line)?;
                if state == FieldState::LineStart && next == FieldState::Name {
                    self.fields += 1;
                    if usize::from(self.fields) > limits.fields_max() {
                        return Err(Reason::TooManyFields);
                    }
                }
                Part::Fields(next)
            }
        };
        Ok(())
    }

    fn step_method(&mut self, byte: u8) -> Result<Part, Reason> {
        if is_token(byte) {
            if self.bytes > METHOD_BYTES_MAX {
                return Err(Reason::MethodTooLong);
            }
            return Ok(Part::Method);
        }
        self.method_end = self.bytes - 1;
        match byte {
            b' ' if self.method_end > 0 => Ok(Part::Target),
            b'\n' => Err(Reason::Line(FieldFault::BareLf)),
            _ => Err(Reason::Method),
        }
    }

    fn step_target(&mut self, byte: u8, limits: &Limits) -> Result<Part, Reason> {
        // The space after the method is not of the target.
        let target_bytes = self.bytes - self.method_end - 1;
        if is_target(byte) {
            if target_bytes as usize > limits.target_bytes {
                return Err(Reason::TargetTooLong);
            }
            return Ok(Part::Target);
        }
        self.target_end = self.bytes - 1;
        match byte {
            b' ' if target_bytes > 1 => Ok(Part::Version(0)),
            b'\r' if target_bytes > 1 => Err(Reason::NoVersion),
            b'\n' => Err(Reason::Line(FieldFault::BareLf)),
            _ => Err(Reason::Target),
        }
    }

    fn step_version(&mut self, at: u8, byte: u8) -> Result<Part, Reason> {
        match (VERSION.get(usize::from(at)), byte) {
            (Some(b'x'), b'0'..=b'9') if at == VERSION_MAJOR_AT => self.version_major = byte - b'0',
            (Some(b'x'), b'0'..=b'9') => self.version_minor = byte - b'0',
            (Some(b'x'), b'x') => return Err(Reason::Version),
            (Some(want), got) if *want == got => {}
            (None, b'\r') => return Ok(Part::VersionLf),
            (_, b'\n') => return Err(Reason::Line(FieldFault::BareLf)),
            _ => return Err(Reason::Version),
        }
        Ok(Part::Version(at + 1))
    }
}

/// A length within a head, which is never more than u32 can count.
fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
