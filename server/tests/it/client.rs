//! The test's side of the connection. Every wait is for a condition and has a deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tidemark_server::{Config, Engine, Running, Server};

/// Far longer than anything here takes; reached only when something hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A configuration on ports that the kernel chooses.
pub(crate) fn config(engine: Engine) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        engine,
        workers: tidemark_server::config::Workers::Fixed(2.try_into().unwrap()),
        echo: vec![any.into()],
        http: vec![any.into()],
        admin: any,
        // With private tables this process's other sockets would stay open in the workers' copies.
        fd_tables: tidemark_server::config::FdTables::Shared,
        ..Config::default()
    }
}

pub(crate) fn start(engine: Engine) -> Running {
    Server::start(config(engine)).unwrap()
}

pub(crate) fn echo(server: &Running) -> TcpStream {
    connect(server.echo_addrs()[0])
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Bytes that differ from position to position, so that a lost or doubled piece shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(len).collect()
}

/// Sends `bytes` and reads as many back.
pub(crate) fn round_trip(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes)?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back)?;
    Ok(back)
}

/// Looks again and again until `holds`.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// One series of the server's metrics, with its labels as they are written.
pub(crate) fn metric(admin: SocketAddr, series: &str) -> u64 {
    let mut http = Http::connect(admin);
    http.send(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
    let text = http.response().body;
    let text = String::from_utf8(text).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().unwrap()
}

/// A connection that sends and never reads, so that the server owes it more than the sockets hold. No other connection
/// of that server may carry data meanwhile.
pub(crate) fn owed(echo: SocketAddr, admin: SocketAddr) -> TcpStream {
    // More than all sockets on the way take, as large as the kernel may make them.
    const TOTAL: usize = 64 << 20;
    // A worker that has no CPU for a moment stands still between a read and its write, too. Each look is two answers of the
    // server, so that a worker that could go on has been given the CPU long before so many.
    const LOOKS: u32 = 20;
    let stream = connect(echo);
    stream.set_nonblocking(true).unwrap();
    let piece = vec![0; 64 * 1024];
    let mut total = 0;
    let mut before = (0, 0);
    let mut looks = 0;
    eventually("the server holds what it cannot send", || {
        while let Ok(bytes) = (&stream).write(&piece) {
            total += bytes;
            assert!(total < TOTAL, "the server takes everything");
        }
        let received = metric(admin, "tidemark_received_bytes_total");
        let now = (received, metric(admin, "tidemark_sent_bytes_total"));
        let is_stuck = now == before && now.0 > now.1;
        looks = if is_stuck { looks + 1 } else { 0 };
        before = now;
        looks >= LOOKS
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

/// A response as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and fields, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A plain HTTP client: it believes what it gets and fails the test when that is not HTTP.
pub(crate) struct Http {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Http {
    pub(crate) fn connect(addr: SocketAddr) -> Http {
        Http { stream: connect(addr), unread: Vec::new() }
    }

    pub(crate) fn to(server: &Running) -> Http {
        Http::connect(server.http_addrs()[0])
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn fill(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let bytes = self.stream.read(&mut buffer).unwrap();
        assert!(bytes > 0, "closed in the middle of {:?}", String::from_utf8_lossy(&self.unread));
        self.unread.extend_from_slice(&buffer[..bytes]);
    }

    /// Takes everything up to and with `end`.
    fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                let rest = self.unread.split_off(at + end.len());
                return std::mem::replace(&mut self.unread, rest);
            }
            self.fill();
        }
    }

    fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.unread.len() < bytes {
            self.fill();
        }
        let rest = self.unread.split_off(bytes);
        std::mem::replace(&mut self.unread, rest)
    }

    /// The next response to a request that was not HEAD.
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.head();
        if response.field("transfer-encoding") == Some("chunked") {
            loop {
                let line = String::from_utf8(self.until(b"\r\n")).unwrap();
                let bytes = usize::from_str_radix(line.trim_end(), 16).unwrap();
                let chunk = self.exactly(bytes + 2);
                response.body.extend_from_slice(&chunk[..bytes]);
                if bytes == 0 {
                    break;
                }
            }
        } else if let Some(bytes) = response.field("content-length") {
            let bytes = bytes.parse().unwrap();
            response.body = self.exactly(bytes);
        }
        response
    }

    /// The next response's head, and nothing of its body.
    pub(crate) fn head(&mut self) -> Response {
        let head = String::from_utf8(self.until(b"\r\n\r\n")).unwrap().to_lowercase();
        let status = head
            .strip_prefix("http/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|status| status.parse().ok());
        Response { status: status.unwrap_or_else(|| panic!("no status in {head:?}")), head, body: Vec::new() }
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        self.response()
    }

    /// Whatever else comes until the server closes, which must not be by a reset.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        self.stream.read_to_end(&mut self.unread).unwrap();
        self.unread
    }
}
