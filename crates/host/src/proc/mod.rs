//! Readers of `/proc`, one module per file. In each, `parse` is pure and `read` opens the file.

use std::io;
use std::str::FromStr;

pub mod conntrack;
pub mod cpu_time;
mod keyed;
pub mod meminfo;
pub mod netstat;
pub mod port_ranges;
pub mod schedstat;
pub mod smaps_rollup;
pub mod sockstat;
pub mod softnet;
pub mod stat;
pub mod status;
pub mod sysctl;

/// A `/proc` file that does not look as documented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct ParseError {
    /// Which file, as in `/proc/FILE`.
    pub file: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl ParseError {
    fn new(file: &'static str, problem: impl Into<String>) -> Self {
        Self { file, problem: problem.into() }
    }
}

impl From<ParseError> for io::Error {
    fn from(error: ParseError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The whole file, with the path in the error.
fn read_file(path: &str) -> io::Result<String> {
    // Lossy, because a process may put any bytes into its own name.
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

/// The next of some whitespace-separated fields as a decimal number.
fn next_number<'a, T: FromStr>(
    fields: &mut impl Iterator<Item = &'a str>,
    file: &'static str,
    name: &str,
) -> Result<T, ParseError> {
    let field = fields.next().ok_or_else(|| ParseError::new(file, format!("{name} is missing")))?;
    number(field, file, name)
}

/// A field as a decimal number.
fn number<T: FromStr>(field: &str, file: &'static str, name: &str) -> Result<T, ParseError> {
    field.parse().map_err(|_| ParseError::new(file, format!("{name} is {field:?}, not a number in range")))
}

/// A field as a hexadecimal number, as the kernel's per-CPU tables write them.
fn hex_number(field: &str, file: &'static str, name: &str) -> Result<u64, ParseError> {
    u64::from_str_radix(field, 16)
        .map_err(|_| ParseError::new(file, format!("{name} is {field:?}, not a hexadecimal number")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_name_the_file() {
        let missing = read_file("/proc/no-such-file").expect_err("no such file");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().starts_with("/proc/no-such-file: "));
        let malformed = io::Error::from(ParseError::new("net/snmp", "empty"));
        assert_eq!(malformed.kind(), io::ErrorKind::InvalidData);
        assert_eq!(malformed.to_string(), "net/snmp: empty");
    }

    /// What every parser here must survive.
    fn parse_with_all(text: &str) {
        let _ = conntrack::parse_counters(text);
        let _ = cpu_time::parse(text);
        let _ = meminfo::parse(text);
        let _ = netstat::parse(text, text);
        let _ = port_ranges::PortRanges::parse(text);
        let _ = schedstat::parse(text);
        let _ = smaps_rollup::parse(text);
        let _ = sockstat::parse(text, text);
        let _ = softnet::parse(text);
        let _ = stat::parse(text).map(|cpus| stat::sum(&cpus).total());
        let _ = status::parse(text);
        let _ = sysctl::parse_number(text);
        let _ = sysctl::parse_port_range(text);
        let _ = sysctl::parse_tcp_mem(text);
        let _ = sysctl::parse_files_open(text);
    }

    proptest! {
        #[test]
        fn no_parser_panics_on_any_text(text in "(?s).{0,200}") {
            parse_with_all(&text);
        }

        #[test]
        fn no_parser_panics_on_text_of_its_own_words(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "cpu0", "cpu", "cpu99999999999999999999", "1", "0", "18446744073709551615", "99999999999999999999",
                "ffffffff", "ffffffffffffffffff", "-1", ")", "(", "S", "VmRSS:", "RssAnon:", "MemTotal:", "Rss:", "kB",
                "TcpExt:", "Tcp:", "ListenDrops", "RetransSegs", "TCP:", "inuse", "mem", "drop", "80-90", "90-80", ",",
                "\n", "\n", "\t",
            ]), 0..60)
        ) {
            parse_with_all(&words.join(" "));
            parse_with_all(&words.concat());
        }

        #[test]
        fn no_parser_panics_on_a_truncated_or_damaged_real_file(
            at in 0.0f64..1.0, byte in 0u8..128, which in 0..REAL_FILES.len(), cut: bool,
        ) {
            let mut bytes = read_file(REAL_FILES[which]).unwrap_or_default().into_bytes();
            bytes.retain(u8::is_ascii);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at is in 0..1")]
            let at = (bytes.len() as f64 * at) as usize;
            if cut { bytes.truncate(at) } else if let Some(old) = bytes.get_mut(at) { *old = byte }
            parse_with_all(&String::from_utf8(bytes).expect("only ASCII was kept"));
        }
    }

    const REAL_FILES: [&str; 9] = [
        "/proc/stat",
        "/proc/self/stat",
        "/proc/self/status",
        "/proc/self/smaps_rollup",
        "/proc/meminfo",
        "/proc/net/netstat",
        "/proc/net/snmp",
        "/proc/net/sockstat",
        "/proc/net/softnet_stat",
    ];
}
