//! Figures as people read them.

use std::fmt;

/// A duration in ns, with three significant digits and the unit that suits it.
#[derive(Clone, Copy, Debug)]
pub struct Ns(pub u64);

impl fmt::Display for Ns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        // Just below a unit the rounded figure would be "1000 us": that is told as "1.00 ms".
        let (value, unit) = match self.0 {
            0..1_000 => return f.pad(&format!("{} ns", self.0)),
            1_000..999_500 => (ns / 1e3, "us"),
            999_500..999_500_000 => (ns / 1e6, "ms"),
            _ => (ns / 1e9, "s"),
        };
        let decimals = match value {
            ..9.995 => 2,
            ..99.95 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.decimals$} {unit}"))
    }
}

/// A count with its thousands set apart.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        f.pad(&grouped)
    }
}

/// A fraction as a percentage.
#[derive(Clone, Copy, Debug)]
pub struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        let decimals = if percent < 10.0 { 2 } else { 1 };
        f.pad(&format!("{percent:.decimals$} %"))
    }
}

/// A percentile by its usual name; 100 is the maximum.
#[derive(Clone, Copy, Debug)]
pub struct Percentile(pub f64);

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 100.0 { f.pad("max") } else { f.pad(&format!("p{}", self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_their_unit() {
        let shown =
            [0, 999, 1_000, 9_994, 9_995, 99_949, 99_950, 999_499, 999_500, 1_234_567, 59_999_999_999]
                .map(|ns| Ns(ns).to_string());
        let expected = [
            "0 ns", "999 ns", "1.00 us", "9.99 us", "10.0 us", "99.9 us", "100 us", "999 us", "1.00 ms",
            "1.23 ms", "60.0 s",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        let shown = [0, 999, 1_000, 1_234_567].map(|count| Count(count).to_string());
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn percentiles_have_their_usual_names() {
        let shown = [50.0, 99.9, 99.99, 100.0].map(|percentile| Percentile(percentile).to_string());
        assert_eq!(shown, ["p50", "p99.9", "p99.99", "max"]);
    }
}
