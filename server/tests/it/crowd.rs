//! The end of a server that thousands of clients are at work with.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::process::Signal;
use tidemark_server::Engine;

use crate::client::{DEADLINE, connect};
use crate::process::Process;

for_every_engine! {
    at_the_end_no_client_of_five_thousand_loses_an_answer
}

const CLIENTS: u32 = 5000;
/// Of one client. All of them make 10,000 requests a second.
const INTERVAL: Duration = Duration::from_millis(500);

const ECHO: &[u8] = &[7; 64];
const HTTP: &[u8] = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";

/// One client, which has at most one request under way.
struct Client {
    stream: TcpStream,
    http: bool,
    /// What has come of the answer that is awaited.
    answer: Option<Vec<u8>>,
    /// The server said that this is the last answer.
    told: bool,
    ended: bool,
}

impl Client {
    fn new(addr: SocketAddr, http: bool) -> Client {
        let stream = connect(addr);
        stream.set_nonblocking(true).unwrap();
        Client { stream, http, answer: None, told: false, ended: false }
    }

    fn ask(&mut self) {
        // What has come by now is looked at first: nobody asks who was told goodbye.
        self.listen();
        if self.ended || self.told || self.answer.is_some() {
            return;
        }
        let request = if self.http { HTTP } else { ECHO };
        assert_eq!(self.stream.write(request).unwrap(), request.len());
        self.answer = Some(Vec::new());
    }

    /// Reads what there is. True when an answer has become whole.
    fn listen(&mut self) -> bool {
        let mut buffer = [0; 1024];
        let mut whole = false;
        while !self.ended {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    assert!(self.answer.is_none(), "ended with {:?} of an answer", self.answer);
                    self.ended = true;
                }
                Ok(bytes) => {
                    let Some(answer) = &mut self.answer else { panic!("an answer that nobody asked for") };
                    answer.extend_from_slice(&buffer[..bytes]);
                    if is_whole(answer, self.http) {
                        self.told = answer.windows(17).any(|text| text == b"connection: close");
                        self.answer = None;
                        whole = true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}, with {:?} of an answer", self.answer),
            }
        }
        whole
    }
}

fn is_whole(answer: &[u8], http: bool) -> bool {
    if !http {
        assert!(ECHO.starts_with(answer));
        return answer == ECHO;
    }
    assert!(answer.starts_with(&b"HTTP/1.1 200 OK\r\n"[..answer.len().min(17)]));
    answer.ends_with(b"\r\n\r\nhello")
}

fn at_the_end_no_client_of_five_thousand_loses_an_answer(engine: Engine) {
    tidemark_host::limits::raise_nofile().unwrap();
    let server = Process::start(&["--engine", engine.name(), "--workers", "2"]);
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|index| {
            let http = index % 2 == 1;
            Client::new(if http { server.http[0] } else { server.echo[0] }, http)
        })
        .collect();
    let mut poll = Poll::new().unwrap();
    for (index, client) in clients.iter().enumerate() {
        let fd = client.stream.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(index), Interest::READABLE).unwrap();
    }

    let begin = Instant::now();
    let mut due: VecDeque<(Instant, u32)> =
        (0..CLIENTS).map(|index| (begin + INTERVAL * index / CLIENTS, index)).collect();
    let mut events = Events::with_capacity(1024);
    let (mut answers, mut open, mut signalled) = (0, clients.len(), false);
    while open > 0 {
        let now = Instant::now();
        assert!(now < begin + DEADLINE, "{open} are still open");
        while let Some(&(at, index)) = due.front().filter(|(at, _)| *at <= now) {
            due.pop_front();
            due.push_back((at + INTERVAL, index));
            clients[index as usize].ask();
        }
        poll.poll(&mut events, Some(Duration::from_millis(1))).unwrap();
        for event in &events {
            answers += usize::from(clients[event.token().0].listen());
        }
        if !signalled && answers >= 2 * clients.len() {
            server.signal(Signal::TERM);
            signalled = true;
        }
        if signalled {
            open = clients.iter().filter(|client| !client.ended).count();
        }
    }
    drop(clients);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("\"cut_off\":0"), "{log}");
}
