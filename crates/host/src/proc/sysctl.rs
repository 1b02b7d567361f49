//! `/proc/sys`: the kernel's settings that bound connections. Those under `net` are of this network namespace, except
//! `tcp_mem`, which is of the machine, and `tcp_ehash_entries` where a namespace shares the machine's table.

use std::io;

use super::port_ranges::PortRanges;
use super::{ParseError, next_number, read_file};

const FILE: &str = "sys";

fn setting(path: &str) -> io::Result<String> {
    read_file(&format!("/proc/sys/{path}"))
}

fn number_setting(path: &str) -> io::Result<u64> {
    Ok(parse_number(&setting(path)?)?)
}

/// `net.ipv4.ip_local_port_range`: the first and last port from which `connect` takes the local one.
///
/// # Errors
/// As all here: when the file cannot be read, or is not as documented.
pub fn ip_local_port_range() -> io::Result<(u16, u16)> {
    Ok(parse_port_range(&setting("net/ipv4/ip_local_port_range")?)?)
}

/// `net.ipv4.ip_local_reserved_ports`: ports that `connect` leaves out.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn ip_local_reserved_ports() -> io::Result<PortRanges> {
    Ok(PortRanges::parse(&setting("net/ipv4/ip_local_reserved_ports")?)?)
}

/// `net.core.somaxconn`: what the backlog of `listen` is silently cut down to.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn somaxconn() -> io::Result<u64> {
    number_setting("net/core/somaxconn")
}

/// `net.ipv4.tcp_ehash_entries`: buckets of the table in which sockets are looked up.
///
/// # Errors
/// When the file cannot be read, as before Linux 6.1, or is not as documented.
pub fn tcp_ehash_buckets() -> io::Result<u64> {
    Ok(parse_ehash_buckets(&setting("net/ipv4/tcp_ehash_entries")?)?)
}

/// `net.ipv4.tcp_max_syn_backlog`: half-open connections of a listener, where SYN cookies are off.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn tcp_max_syn_backlog() -> io::Result<u64> {
    number_setting("net/ipv4/tcp_max_syn_backlog")
}

/// `net.ipv4.tcp_syncookies`: 0 off, 1 when a SYN queue is full, 2 always.
///
/// # Errors
/// When the file cannot be read (a kernel may be built without), or is not as documented.
pub fn tcp_syncookies() -> io::Result<u64> {
    number_setting("net/ipv4/tcp_syncookies")
}

/// `fs.file-max`: open files of the whole machine.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn file_max() -> io::Result<u64> {
    number_setting("fs/file-max")
}

/// `fs.file-nr`: how many files are open on the whole machine.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn files_open() -> io::Result<u64> {
    Ok(parse_files_open(&setting("fs/file-nr")?)?)
}

/// `fs.nr_open`: how far root may raise `RLIMIT_NOFILE`.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn nr_open() -> io::Result<u64> {
    number_setting("fs/nr_open")
}

/// `net.ipv4.tcp_mem`: pages of all TCP buffers of the machine together: no pressure below the first; above the second
/// buffers are kept small; above the third allocation fails.
///
/// # Errors
/// When the file cannot be read, or is not as documented.
pub fn tcp_mem() -> io::Result<[u64; 3]> {
    Ok(parse_tcp_mem(&setting("net/ipv4/tcp_mem")?)?)
}

/// A single number.
///
/// # Errors
/// When it is missing or is none.
pub fn parse_number(text: &str) -> Result<u64, ParseError> {
    next_number(&mut text.split_whitespace(), FILE, "the value")
}

/// # Errors
/// When a port is missing or out of range, or the range runs backwards.
pub fn parse_port_range(text: &str) -> Result<(u16, u16), ParseError> {
    let mut fields = text.split_whitespace();
    let low = next_number(&mut fields, FILE, "the first port")?;
    let high = next_number(&mut fields, FILE, "the last port")?;
    if low > high {
        return Err(ParseError::new(FILE, format!("the port range {low} {high} runs backwards")));
    }
    Ok((low, high))
}

/// # Errors
/// When one of the three numbers is missing or is none.
pub fn parse_tcp_mem(text: &str) -> Result<[u64; 3], ParseError> {
    let mut fields = text.split_whitespace();
    let mut pages = |name| next_number(&mut fields, FILE, name);
    Ok([pages("the low mark")?, pages("the pressure mark")?, pages("the high mark")?])
}

/// The number is negative in a network namespace that shares the machine's table.
///
/// # Errors
/// When it is missing or is none.
pub fn parse_ehash_buckets(text: &str) -> Result<u64, ParseError> {
    next_number(&mut text.split_whitespace(), FILE, "the value").map(i64::unsigned_abs)
}

/// The files in use, out of the three numbers of `fs.file-nr` (allocated, of these unused, maximum).
///
/// # Errors
/// When one of the first two numbers is missing or is none.
pub fn parse_files_open(text: &str) -> Result<u64, ParseError> {
    let mut fields = text.split_whitespace();
    let allocated: u64 = next_number(&mut fields, FILE, "the number of allocated files")?;
    let unused = next_number(&mut fields, FILE, "the number of unused files")?;
    Ok(allocated.saturating_sub(unused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(parse_number("4096\n"), Ok(4096));
        assert_eq!(parse_port_range("32768\t60999\n"), Ok((32768, 60999)));
        assert_eq!(parse_tcp_mem("287898\t383867\t575796\n"), Ok([287_898, 383_867, 575_796]));
        assert_eq!(parse_files_open("415\t15\t9223372036854775807\n"), Ok(400));
        assert_eq!(parse_ehash_buckets("262144\n"), Ok(262_144));
        assert_eq!(parse_ehash_buckets("-262144\n"), Ok(262_144), "shared");
    }

    #[test]
    fn refuses_damaged_values() {
        for text in ["", "x", "-1", "99999999999999999999"] {
            parse_number(text).expect_err(text);
            parse_files_open(text).expect_err(text);
        }
        for text in ["", "x", "9223372036854775808"] {
            parse_ehash_buckets(text).expect_err(text);
        }
        for text in ["", "1024", "1024 65536", "2 1"] {
            parse_port_range(text).expect_err(text);
        }
        for text in ["", "1 2", "1 2 x"] {
            parse_tcp_mem(text).expect_err(text);
        }
    }

    #[test]
    fn this_kernel_has_them_all() {
        let (low, high) = ip_local_port_range().expect("ip_local_port_range");
        assert!(low <= high);
        ip_local_reserved_ports().expect("ip_local_reserved_ports");
        assert!(somaxconn().expect("somaxconn") > 0);
        assert!(tcp_max_syn_backlog().expect("tcp_max_syn_backlog") > 0);
        assert!(file_max().expect("file-max") > 0);
        assert!(files_open().expect("file-nr") > 0);
        assert!(nr_open().expect("nr_open") > 0);
        let [low, pressure, high] = tcp_mem().expect("tcp_mem");
        assert!(low <= pressure && pressure <= high);
    }
}
