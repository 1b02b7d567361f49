//! `/proc/net/softnet_stat`: what the receiving side of the network stack dropped or put off, over all CPUs.

use std::io;

use super::{ParseError, hex_number, read_file};

const FILE: &str = "net/softnet_stat";

/// Sums over the CPUs since boot. The kernel counts in 32 bits per CPU, so each wraps at 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// Packets handled.
    pub processed: u64,
    /// Packets dropped, because the CPU's backlog queue (`net.core.netdev_max_backlog`) was full.
    pub dropped: u64,
    /// How often the network interrupt ran out of its budget with packets left.
    pub time_squeeze: u64,
}

impl Softnet {
    /// What was added since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            processed: self.processed.saturating_sub(earlier.processed),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            time_squeeze: self.time_squeeze.saturating_sub(earlier.time_squeeze),
        }
    }
}

/// The sums now.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn read() -> io::Result<Softnet> {
    Ok(parse(&read_file("/proc/net/softnet_stat")?)?)
}

/// # Errors
/// When there is no line, or one is damaged.
pub fn parse(text: &str) -> Result<Softnet, ParseError> {
    let mut sums = None::<Softnet>;
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let mut count = |name| {
            let field = fields.next().ok_or_else(|| ParseError::new(FILE, format!("{name} is missing")))?;
            hex_number(field, FILE, name)
        };
        let sums = sums.get_or_insert_default();
        sums.processed = sums.processed.saturating_add(count("processed")?);
        sums.dropped = sums.dropped.saturating_add(count("dropped")?);
        sums.time_squeeze = sums.time_squeeze.saturating_add(count("time_squeeze")?);
    }
    sums.ok_or_else(|| ParseError::new(FILE, "is empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_the_cpus_up() {
        let text = "00000015 00000001 00000002 00000000\n00002448 0000000a 000000ff 00000000 00000000\n";
        let sums = parse(text).expect("real");
        assert_eq!(sums, Softnet { processed: 0x15 + 0x2448, dropped: 11, time_squeeze: 0x101 });
        let earlier = Softnet { processed: 1, dropped: 11, time_squeeze: 0x200 };
        assert_eq!(sums.since(&earlier), Softnet { processed: 0x245c, dropped: 0, time_squeeze: 0 });
    }

    #[test]
    fn refuses_damaged_files() {
        for text in ["", "\n", "00000015 00000001\n", "1 2 xyz\n", "1 2 ffffffffffffffffff\n"] {
            parse(text).expect_err(text);
        }
    }

    #[test]
    fn this_machine_has_the_file() {
        read().expect("/proc/net/softnet_stat");
    }
}
