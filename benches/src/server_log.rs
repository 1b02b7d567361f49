//! The server's log (`--log json`): where it listens, and when it is ready.

use std::net::SocketAddr;

use serde::Deserialize;

/// The fields of a log line that matter here. All others are allowed and ignored.
#[derive(Debug, Deserialize)]
struct Line {
    message: String,
    proto: Option<String>,
    addr: Option<SocketAddr>,
}

/// Where a server listens, as far as it has said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Raw echo.
    pub echo: Option<SocketAddr>,
    /// HTTP.
    pub http: Option<SocketAddr>,
    /// Metrics, health and readiness.
    pub admin: Option<SocketAddr>,
}

impl Addresses {
    /// Takes one line of the log. True when it says that the server is ready. What is not a line of that log is ignored.
    pub fn take(&mut self, line: &str) -> bool {
        let Ok(line) = serde_json::from_str::<Line>(line) else {
            return false;
        };
        if line.message == "listening" {
            match line.proto.as_deref() {
                Some("echo") => self.echo = self.echo.or(line.addr),
                Some("http") => self.http = self.http.or(line.addr),
                Some("admin") => self.admin = line.addr,
                _ => {}
            }
        }
        line.message == "ready"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_known_once_it_is_ready() {
        let log = r#"
            {"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"starting","engine":"epoll","workers":1}
            not a log line
            {"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"listening","proto":"echo","addr":"127.0.0.1:34909"}
            {"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"listening","proto":"echo","addr":"127.0.0.1:34910"}
            {"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"listening","proto":"http","addr":"127.0.0.1:8080"}
            {"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"listening","proto":"admin","addr":"127.0.0.1:41299"}
            {"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"ready"}"#;
        let mut addresses = Addresses::default();
        let ready: Vec<bool> =
            log.lines().map(|line| addresses.take(line.trim())).filter(|&ready| ready).collect();
        assert_eq!(ready, [true]);
        assert_eq!(addresses.echo, Some("127.0.0.1:34909".parse().unwrap()));
        assert_eq!(addresses.http, Some("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(addresses.admin, Some("127.0.0.1:41299".parse().unwrap()));
    }
}
