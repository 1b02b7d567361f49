//! Writing heads: numbers and values appended to a buffer, without an allocation besides its growth.

use super::head::is_value;
use alloc::vec::Vec;

/// Appends `number` in `base` 10 or 16.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64, base: u64) {
    // As many digits as the longest decimal has.
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        // A remainder is below 16, so it has its digit.
        digits[start] = b"0123456789abcdef"[usize::try_from(number % base).unwrap_or(0)];
        number /= base;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends text, a control character as a space: whatever the text, it can neither end its line nor begin
/// another.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|byte| if is_value(byte) { byte } else { b' ' }));
}

/// Appends one field line.
pub(super) fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    push_text(out, name);
    out.extend_from_slice(b": ");
    push_text(out, value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for number in [0, 1, 9, 10, 15, 16, 255, 1_000_000, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number, 10);
            assert_eq!(out, alloc::format!("{number}").as_bytes());
            out.clear();
            push_number(&mut out, number, 16);
            assert_eq!(out, alloc::format!("{number:x}").as_bytes());
        }
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let mut out = Vec::new();
        push_field(&mut out, "a", "b\r\nset-cookie: c\0");
        assert_eq!(out, b"a: b  set-cookie: c \r\n");
    }
}
