//! Writing heads: numbers and values appended to a buffer, without an allocation besides its growth.

use super::head::is_value;
use alloc::vec::Vec;

/// Appends `number` in decimal.
pub(super) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    // As many digits as the longest has.
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = digit(number % 10);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends `number` in hexadecimal.
pub(super) fn push_hex(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 16];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = digit(number % 16);
        number /= 16;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Of a number below 16.
fn digit(number: u64) -> u8 {
    b"0123456789abcdef"[usize::try_from(number).unwrap_or(0) & 15]
}

/// Appends text, a control character as a space: whatever the text, it can neither end its line nor begin
/// another.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    // Nearly always all of it is fit, and then it is copied as a whole.
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend(text.bytes().map(|byte| if is_value(byte) { byte } else { b' ' }));
    }
}

/// Whether there is no control character, not even a tab, by eight bytes at a time.
fn is_plain(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    words.iter().all(|word| is_plain_word(u64::from_ne_bytes(*word)))
        && rest.iter().all(|byte| *byte >= b' ' && *byte != DELETE)
}

const DELETE: u8 = 0x7f;

/// Whether no byte of the word is below a space or a delete. By the borrow that a subtraction leaves in a byte's highest bit (Warren,
/// "Hacker's Delight", 2012, section 6-1); a byte above one that borrows may be found, too, and then the answer is no all the same.
const fn is_plain_word(word: u64) -> bool {
    const EACH: u64 = u64::MAX / 0xff;
    const HIGHEST: u64 = EACH * 0x80;
    let below_space = word.wrapping_sub(EACH * b' ' as u64) & !word;
    let deletes = word ^ (EACH * DELETE as u64);
    let is_delete = deletes.wrapping_sub(EACH) & !deletes;
    (below_space | is_delete) & HIGHEST == 0
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
            push_decimal(&mut out, number);
            assert_eq!(out, alloc::format!("{number}").as_bytes());
            out.clear();
            push_hex(&mut out, number);
            assert_eq!(out, alloc::format!("{number:x}").as_bytes());
        }
    }

    #[test]
    fn what_is_plain_has_no_control_character() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut text = [b'x'; 20];
                text[at] = byte;
                assert_eq!(is_plain(&text), byte >= b' ' && byte != DELETE, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let mut out = Vec::new();
        push_field(&mut out, "a", "b\r\nset-cookie: c\0");
        assert_eq!(out, b"a: b  set-cookie: c \r\n");
    }
}
