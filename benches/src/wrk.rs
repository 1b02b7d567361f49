//! Runs of wrk with one thread, and what it counts.

use std::net::SocketAddr;
use std::path::Path;

use crate::error::MeasureError;
use crate::loadgen::Target;
use crate::pinned;
use crate::session::Session;

/// What wrk counted in one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// Requests that were answered.
    pub requests: u64,
    /// Of them in a second.
    pub requests_per_s: f64,
}

/// Drives the target for so many seconds over so many connections.
///
/// # Errors
/// When wrk cannot be started, or not every request went well.
pub fn run(
    session: &Session,
    cpu: usize,
    connections: usize,
    seconds: u64,
    target: SocketAddr,
) -> Result<Counted, MeasureError> {
    let target = Target::Http(target);
    let args = ["-t1".to_owned(), format!("-c{connections}"), format!("-d{seconds}s"), target.to_string()];
    let text = pinned::output(session, Some(cpu), Path::new("wrk"), &args)?;
    counted(&text).map_err(|why| MeasureError::Client { program: "wrk".to_owned(), why })
}

/// What it tells, when all went well.
fn counted(text: &str) -> Result<Counted, String> {
    let mut lines = text.lines().map(str::trim);
    let trouble = lines.clone().find(|line| {
        line.starts_with("Socket errors") || line.starts_with("Non-2xx") || line.starts_with("unable")
    });
    if let Some(trouble) = trouble {
        return Err(trouble.to_owned());
    }
    let requests = lines.clone().find_map(|line| line.split_once(" requests in ")?.0.parse().ok());
    let requests_per_s = lines.find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    let counted =
        requests.zip(requests_per_s).map(|(requests, requests_per_s)| Counted { requests, requests_per_s });
    counted.ok_or_else(|| "tells no number of requests (apt-get install wrk)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_believed_only_when_all_went_well() {
        let good = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 5 connections\n  \
                    104276 requests in 1.10s, 16.41MB read\nRequests/sec:  94803.95\n";
        assert_eq!(counted(good), Ok(Counted { requests: 104_276, requests_per_s: 94_803.95 }));
        let bad = "  104276 requests in 1.10s, 16.41MB read\n  Socket errors: connect 0, read 5, write 0, timeout 0\n\
                   Requests/sec:  94803.95\n";
        assert_eq!(counted(bad).unwrap_err(), "Socket errors: connect 0, read 5, write 0, timeout 0");
        assert!(counted("").unwrap_err().contains("no number of requests"));
    }
}
