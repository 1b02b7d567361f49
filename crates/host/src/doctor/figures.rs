//! Figures as people read them.

/// `1,234,567`; "no limit" for `u64::MAX`, which stands for that in limits.
pub(super) fn count(number: u64) -> String {
    if number == u64::MAX {
        return "no limit".to_owned();
    }
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `10.4 GB`, in powers of a thousand.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let number = number as f64;
    match UNITS.iter().find(|(size, _)| number >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", number / size),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_units() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (u64::MAX, "no limit")]
        {
            assert_eq!(count(number), text);
        }
        for (number, text) in [(0, "0 B"), (999, "999 B"), (5200, "5.2 kB"), (10_400_000_000, "10.4 GB")] {
            assert_eq!(bytes(number), text);
        }
    }
}
