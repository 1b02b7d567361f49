//! Asks a server over HTTP whether it is well. A container image has no curl.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A server that takes longer to answer is not well.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Enough for every status line there is.
const STATUS_LINE_BYTES: usize = 256;

/// Why the answer is no.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Not an address that can be asked.
    #[error("{url:?} is not of the form http://HOST[:PORT][/PATH]")]
    Url {
        /// What was given.
        url: String,
    },
    /// Nobody answers.
    #[error("{url}: {source}; is the server running, and is this its --admin address?")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// An answer other than 200.
    #[error("{url}: answered {answer:?}")]
    NotOk {
        /// What was asked.
        url: String,
        /// The status line.
        answer: String,
    },
}

impl HealthError {
    /// Whether the command line was wrong, and not the server.
    pub fn is_usage(&self) -> bool {
        matches!(self, HealthError::Url { .. })
    }
}

/// Gets `url`.
///
/// # Errors
/// When the answer is not 200, or there is none within three seconds.
pub fn check(url: &str) -> Result<(), HealthError> {
    let target = Target::parse(url).ok_or_else(|| HealthError::Url { url: url.to_owned() })?;
    let answer = target.ask().map_err(|source| HealthError::Unreachable { url: url.to_owned(), source })?;
    let is_ok = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(1..)).is_some_and(|rest| {
        rest.starts_with(" 200") && !rest[4..].starts_with(|next: char| next.is_ascii_digit())
    });
    if is_ok { Ok(()) } else { Err(HealthError::NotOk { url: url.to_owned(), answer }) }
}

#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    /// With its port.
    authority: String,
    path: &'a str,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Option<Target<'a>> {
        let rest = url.strip_prefix("http://")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let (host, port) = authority.rsplit_once(':')?;
        let valid = !host.is_empty() && port.parse::<u16>().is_ok() && clean(&authority) && clean(path);
        valid.then_some(Target { authority, path })
    }

    /// The status line.
    fn ask(&self) -> io::Result<String> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request =
            format!("GET {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.path, self.authority);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(STATUS_LINE_BYTES as u64).read_to_end(&mut answer).or_else(|error| {
            // A server may keep the connection open after it has answered.
            if answer.contains(&b'\n') { Ok(answer.len()) } else { Err(error) }
        })?;
        let line = answer.split(|&byte| byte == b'\n').next().unwrap_or_default();
        Ok(String::from_utf8_lossy(line).trim_end().to_owned())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parsed = |url| Target::parse(url).map(|target| (target.authority, target.path));
        assert_eq!(parsed("http://a"), Some(("a:80".to_owned(), "/")));
        assert_eq!(
            parsed("http://127.0.0.1:9464/ready?x=1"),
            Some(("127.0.0.1:9464".to_owned(), "/ready?x=1"))
        );
        assert_eq!(parsed("http://[::1]/a"), Some(("[::1]:80".to_owned(), "/a")));
        assert_eq!(parsed("http://[::1]:9/a"), Some(("[::1]:9".to_owned(), "/a")));
        for wrong in [
            "",
            "a",
            "https://a",
            "http://",
            "http:///a",
            "http://a:b/",
            "http://a:/",
            "http://a/ b",
            "http://a/\r\nb: c",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    /// Answers one connection with `answer`, then closes.
    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ready", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /ready HTTP/1.1\r\nhost: 127.0.0.1"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn only_200_is_well() {
        check(&answering("HTTP/1.1 200 OK\r\n\r\n")).unwrap();
        check(&answering("HTTP/1.0 200\r\n\r\n")).unwrap();
        for answer in
            ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "SSH-2.0 200\r\n", ""]
        {
            let error = check(&answering(answer)).unwrap_err();
            assert!(matches!(error, HealthError::NotOk { .. }), "{answer}: {error}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }

    #[test]
    fn nobody_there_is_said_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = check(&url).unwrap_err();
        assert!(matches!(error, HealthError::Unreachable { .. }) && !error.is_usage(), "{error}");
    }
}
