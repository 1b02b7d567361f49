//! Connection tracking of netfilter. It is there once anything loads NAT rules (a container engine does), tracks
//! loopback flows too, and when its table is full new connections time out in silence.

use std::io;

use super::{ParseError, hex_number, read_file, sysctl};

const FILE: &str = "net/stat/nf_conntrack";

/// The table of this network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Flows tracked now. 0 while sockets are connected means: loaded, but without a rule that makes it track.
    pub count: u64,
    /// How many fit.
    pub max: u64,
    /// Packets dropped because the table was full or memory was short; a sum over the CPUs since boot.
    pub drop: u64,
    /// Flows thrown out early to make room for new ones.
    pub early_drop: u64,
    /// Flows that lost a race for their place.
    pub insert_failed: u64,
    /// Whether the kernel publishes the three counters above. Some are built without; they are 0 then.
    pub has_counters: bool,
}

impl Conntrack {
    /// The counters as added since an earlier reading; `count` and `max` as they are now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            drop: self.drop.saturating_sub(earlier.drop),
            early_drop: self.early_drop.saturating_sub(earlier.early_drop),
            insert_failed: self.insert_failed.saturating_sub(earlier.insert_failed),
            ..*self
        }
    }
}

/// The table now; `None` where connection tracking is not loaded.
///
/// # Errors
/// When a file is there but cannot be read, or is not as documented.
pub fn read() -> io::Result<Option<Conntrack>> {
    let size = |name| -> io::Result<Option<u64>> {
        let text = if_present(read_file(&format!("/proc/sys/net/netfilter/{name}")))?;
        Ok(text.map(|text| sysctl::parse_number(&text)).transpose()?)
    };
    let (Some(count), Some(max)) = (size("nf_conntrack_count")?, size("nf_conntrack_max")?) else {
        return Ok(None);
    };
    let counters = match if_present(read_file("/proc/net/stat/nf_conntrack"))? {
        Some(text) => parse_counters(&text)?,
        None => Conntrack::default(),
    };
    Ok(Some(Conntrack { count, max, ..counters }))
}

/// The counters of `/proc/net/stat/nf_conntrack`, added up; `count` and `max` stay 0.
///
/// # Errors
/// When there is no header, a line has not the header's columns, or a number is damaged.
pub fn parse_counters(text: &str) -> Result<Conntrack, ParseError> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    if !columns.contains(&"entries") {
        return Err(ParseError::new(FILE, "has no header"));
    }
    let mut sums = Conntrack { has_counters: true, ..Conntrack::default() };
    for line in lines {
        let values: Vec<&str> = line.split_whitespace().collect();
        if values.len() != columns.len() {
            return Err(ParseError::new(FILE, "has not one value per column"));
        }
        for (name, value) in columns.iter().zip(values) {
            let sum = match *name {
                "drop" => &mut sums.drop,
                "early_drop" => &mut sums.early_drop,
                "insert_failed" => &mut sums.insert_failed,
                _ => continue,
            };
            *sum = sum.saturating_add(hex_number(value, FILE, name)?);
        }
    }
    Ok(sums)
}

fn if_present(text: io::Result<String>) -> io::Result<Option<String>> {
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "entries  clashres found insert_failed drop early_drop icmp_error  search_restart\n";

    #[test]
    fn adds_up_hexadecimal_columns_by_name() {
        let text = format!(
            "{HEADER}0000ffff 00000001 00000002 00000003 0000000a 00000010 00000000  00000000\n\
             0000ffff 00000001 00000002 00000003 00000001 00000001 00000000  00000000\n"
        );
        let expected = Conntrack {
            drop: 11,
            early_drop: 17,
            insert_failed: 6,
            has_counters: true,
            ..Conntrack::default()
        };
        assert_eq!(parse_counters(&text), Ok(expected));
    }

    #[test]
    fn since_keeps_the_fill_and_subtracts_the_counters() {
        let earlier = Conntrack { count: 5, max: 10, drop: 3, ..Conntrack::default() };
        let later = Conntrack { count: 9, max: 20, drop: 8, early_drop: 1, ..Conntrack::default() };
        assert_eq!(later.since(&earlier), Conntrack { drop: 5, ..later });
    }

    #[test]
    fn refuses_damaged_files() {
        parse_counters("").expect_err("empty");
        parse_counters("0000ffff 00000001\n").expect_err("no header");
        parse_counters(&format!("{HEADER}0000ffff 00000001\n")).expect_err("truncated");
        parse_counters(&format!("{HEADER}0 0 0 xyz 0 0 0 0\n")).expect_err("not a number");
        parse_counters(&format!("{HEADER}0 0 0 fffffffffffffffff 0 0 0 0\n")).expect_err("above u64");
    }

    #[test]
    fn absence_is_not_an_error() {
        if let Some(table) = read().expect("readable or absent") {
            assert!(table.max > 0);
        }
        assert_eq!(if_present(read_file("/proc/no-such-file")).expect("absent"), None);
    }
}
