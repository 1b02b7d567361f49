//! Decimal numbers that are kept as whole ones, so that nothing is lost between a rule's text and its limit.

use std::fmt;

/// A percentage is kept in billionths of 1: this many decimals of a percent.
pub(super) const PERCENT_DECIMALS: u32 = 7;
/// The same as a part of 1.
pub(super) const FRACTION_DECIMALS: u32 = 9;
/// A rate is kept in thousandths.
pub(super) const RATE_DECIMALS: u32 = 3;

/// The units of a duration, and the decimals that a nanosecond leaves each.
const DURATIONS: [(&str, u32); 4] = [("s", 9), ("ms", 6), ("us", 3), ("ns", 0)];

/// The unit that suits a duration, and its decimals.
pub(super) fn unit_of_ns(ns: u64) -> (&'static str, u32) {
    let fits = |(_, decimals): &(&str, u32)| ns >= 10u64.pow(*decimals);
    DURATIONS.into_iter().find(fits).unwrap_or(("ns", 0))
}

/// The decimals of a unit by its name.
pub(super) fn decimals_of(unit: &str) -> Option<u32> {
    let unit = if unit == "\u{b5}s" || unit == "\u{3bc}s" { "us" } else { unit };
    DURATIONS.into_iter().find(|(name, _)| *name == unit).map(|(_, decimals)| decimals)
}

/// A whole number, shown with this many of its digits after the point, and no needless zeros.
pub(super) struct Decimal(pub(super) u64, pub(super) u32);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10u64.pow(self.1);
        write!(f, "{}", self.0 / one)?;
        match self.0 % one {
            0 => Ok(()),
            part => {
                let digits = format!("{part:0width$}", width = self.1 as usize);
                write!(f, ".{}", digits.trim_end_matches('0'))
            }
        }
    }
}

/// Reads digits, with at most `decimals` of them after a point, as a whole number of the last decimal.
///
/// # Errors
/// In words, when it is no number, too fine or too large.
pub(super) fn parse(text: &str, decimals: u32) -> Result<u64, &'static str> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return Err("this is no number");
    }
    let part = part.trim_end_matches('0');
    let missing = u32::try_from(part.len()).ok().and_then(|digits| decimals.checked_sub(digits));
    let missing = missing.ok_or("this is finer than what is told apart")?;
    let too_large = "this is larger than any figure";
    let whole: u64 = whole.parse().map_err(|_| too_large)?;
    let part: u64 = if part.is_empty() { 0 } else { part.parse().map_err(|_| too_large)? };
    let part = part * 10u64.pow(if part == 0 { 0 } else { missing });
    whole.checked_mul(10u64.pow(decimals)).and_then(|whole| whole.checked_add(part)).ok_or(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(parse("1.5", 6), Ok(1_500_000));
        assert_eq!(parse("0.01", PERCENT_DECIMALS), Ok(100_000));
        assert_eq!(parse("007.500", 1), Ok(75));
        assert_eq!(parse("2.0", 0), Ok(2));
        for (text, decimals) in [
            ("", 3),
            (".5", 3),
            ("5.", 3),
            ("-1", 3),
            ("1e3", 3),
            ("1.2345", 3),
            ("1.5", 0),
            ("99999999999999999999", 0),
            ("18446744073709551615", 1),
        ] {
            assert!(parse(text, decimals).is_err(), "{text}");
        }
    }

    #[test]
    fn a_decimal_is_shown_without_needless_zeros() {
        let shown = [(1_500_000, 6), (2_000_000, 6), (100_000, 7), (0, 7), (7, 0)];
        let shown = shown.map(|(value, decimals)| Decimal(value, decimals).to_string());
        assert_eq!(shown, ["1.5", "2", "0.01", "0", "7"]);
    }
}
