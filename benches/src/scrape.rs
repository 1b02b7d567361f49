//! One figure off a server's metrics page.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A page that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A page is a few tens of kilobytes; more than this is none.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The sum over all series of one metric, such as `tidemark_connections_open`.
///
/// # Errors
/// When the page cannot be had, or the metric is not on it.
pub fn metric(admin: SocketAddr, name: &str) -> io::Result<f64> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // Version 1.0, so that the answer is not chunked and ends with the connection.
    write!(stream, "GET /metrics HTTP/1.0\r\nhost: {admin}\r\n\r\n")?;
    let mut page = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut page)?;
    find(&page, name).ok_or_else(|| {
        let why = format!("{name} is not on the metrics page of {admin}");
        io::Error::new(ErrorKind::InvalidData, why)
    })
}

fn find(page: &str, name: &str) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_added_up_and_other_metrics_left_alone() {
        let page = "HTTP/1.0 200 OK\r\n\r\n# TYPE open gauge\nopen{worker=\"0\"} 3\nopen{worker=\"1\"} 4.5\nopen_max 9\nplain 7\n";
        assert_eq!(find(page, "open"), Some(7.5));
        assert_eq!(find(page, "plain"), Some(7.0));
        assert_eq!(find(page, "absent"), None);
    }
}
