//! Lines of the form `Name:   123 kB`, which several files share.

use super::{ParseError, next_number};

/// The value of the line with this name, from kB to bytes; `None` when there is no such line.
pub(super) fn bytes(text: &str, file: &'static str, name: &str) -> Result<Option<u64>, ParseError> {
    let Some(mut fields) = fields(text, name) else {
        return Ok(None);
    };
    let kib: u64 = next_number(&mut fields, file, name)?;
    if fields.next() != Some("kB") {
        return Err(ParseError::new(file, format!("{name} is not in kB")));
    }
    let bytes =
        kib.checked_mul(1024).ok_or_else(|| ParseError::new(file, format!("{name} is out of range")))?;
    Ok(Some(bytes))
}

/// The same for a line that must be there.
pub(super) fn required_bytes(text: &str, file: &'static str, name: &str) -> Result<u64, ParseError> {
    bytes(text, file, name)?.ok_or_else(|| ParseError::new(file, format!("{name} is missing")))
}

/// What follows the name on its line.
pub(super) fn fields<'a>(text: &'a str, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    let values = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(values.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_whole_name_only() {
        let text = "VmRSSX:\t 1 kB\nVmRSS:\t 12 kB\n";
        assert_eq!(bytes(text, "f", "VmRSS"), Ok(Some(12 * 1024)));
        assert_eq!(bytes(text, "f", "Vm"), Ok(None));
        assert!(required_bytes(text, "f", "Vm").is_err());
    }

    #[test]
    fn refuses_other_units_and_huge_numbers() {
        assert!(bytes("A: 12\n", "f", "A").is_err());
        assert!(bytes("A: 12 MB\n", "f", "A").is_err());
        assert!(bytes("A: 18446744073709551615 kB\n", "f", "A").is_err());
        assert!(bytes("A: 99999999999999999999 kB\n", "f", "A").is_err());
        assert!(bytes("A:\n", "f", "A").is_err());
    }
}
