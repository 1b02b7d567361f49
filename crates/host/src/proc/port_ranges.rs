//! Lists of ports as sysctls write them: `7000-7015,8080`.

use std::fmt;

use super::{ParseError, number};

const FILE: &str = "sys/net/ipv4/ip_local_reserved_ports";

/// Ranges of ports, both ends included, ascending, neither overlapping nor touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortRanges(Vec<(u16, u16)>);

impl PortRanges {
    /// Joins ranges in any order, also overlapping ones. A range that runs backwards is empty.
    pub fn new(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(low, high)| low <= high).collect();
        ranges.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match joined.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => joined.push((low, high)),
            }
        }
        Self(joined)
    }

    /// Reads the list; nothing but whitespace is the empty one.
    ///
    /// # Errors
    /// When a part is neither a port nor a range of ports, low to high.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let range = |part: &str| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (number(low, FILE, "a port")?, number(high, FILE, "a port")?);
            if low > high {
                return Err(ParseError::new(FILE, format!("{part:?} runs backwards")));
            }
            Ok((low, high))
        };
        let ranges: Vec<_> = text.split(',').map(range).collect::<Result<_, _>>()?;
        Ok(Self::new(ranges))
    }

    /// The ranges.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// How many ports of `range` (both ends included) are in the list.
    pub fn count_within(&self, range: (u16, u16)) -> u64 {
        self.0
            .iter()
            .filter_map(|own| overlap(*own, range))
            .map(|(low, high)| u64::from(high - low) + 1)
            .sum()
    }

    /// These and the others.
    #[must_use]
    pub fn union(&self, others: &Self) -> Self {
        Self::new(self.0.iter().chain(&others.0).copied())
    }
}

impl fmt::Display for PortRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (low, high)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}-{high}")?;
            }
        }
        Ok(())
    }
}

/// The ports in both ranges, `None` when there is none.
fn overlap(a: (u16, u16), b: (u16, u16)) -> Option<(u16, u16)> {
    let (low, high) = (a.0.max(b.0), a.1.min(b.1));
    (low <= high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let ports = PortRanges::parse("7000-7015,8080,65535\n").expect("real");
        assert_eq!(ports.ranges(), [(7000, 7015), (8080, 8080), (65535, 65535)]);
        assert_eq!(ports.count_within((7015, 8080)), 2);
        assert_eq!(ports.count_within((1, 6999)), 0);
        assert_eq!(PortRanges::parse("\n"), Ok(PortRanges::default()));
    }

    #[test]
    fn refuses_damaged_lists() {
        for text in ["a", "1,,2", "1-", "-1", "70000", "9-8", "1-2-3", "99999999999999999999"] {
            PortRanges::parse(text).expect_err(text);
        }
    }

    proptest! {
        #[test]
        fn text_round_trips_and_counts_each_port_once(
            ranges in proptest::collection::vec((0u16..200, 0u16..200), 0..10),
            window in (0u16..200, 0u16..200),
        ) {
            let ports = PortRanges::new(ranges.iter().copied());
            prop_assert_eq!(&PortRanges::parse(&ports.to_string()).expect("own text"), &ports);
            let counted = (window.0..=window.1)
                .filter(|port| ranges.iter().any(|(low, high)| low <= port && port <= high))
                .count() as u64;
            let within = if window.0 <= window.1 { ports.count_within(window) } else { counted };
            prop_assert_eq!(within, counted);
        }
    }
}
