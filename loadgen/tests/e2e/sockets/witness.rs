//! An echo server in the test's own process, which accepts when it is told to, and sees how each connection ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{self, Receiver, Sender};

use socket2::{Domain, Socket, Type};

/// Room for everybody.
const BACKLOG: i32 = 1024;

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// A listening socket whose accept queue is not emptied until [`Witness::serve`].
pub(crate) struct Witness {
    listener: Socket,
    pub(crate) address: SocketAddr,
}

impl Witness {
    /// Listens on `address`. The kernel keeps one connection more than `backlog`, and drops the SYN of the next.
    pub(crate) fn listen(address: SocketAddr, backlog: i32) -> Self {
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(backlog).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        Self { listener, address }
    }

    /// The same on a free port of 127.0.0.1.
    pub(crate) fn with_backlog(backlog: i32) -> Self {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), backlog)
    }

    /// One that serves at once.
    pub(crate) fn serving(address: SocketAddr) -> (SocketAddr, Receiver<(IpAddr, End)>) {
        let witness = Self::listen(address, BACKLOG);
        (witness.address, witness.serve())
    }

    /// From now on the kernel keeps a connection to itself until there is something to read on it (`TCP_DEFER_ACCEPT`).
    pub(crate) fn defer_accept(&self) {
        let seconds: libc::c_int = 60;
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap();
        // SAFETY: the descriptor is open, and the option's value is a c_int that outlives the call, of the length given.
        let status = unsafe {
            libc::setsockopt(
                self.listener.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_DEFER_ACCEPT,
                (&raw const seconds).cast(),
                length,
            )
        };
        assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
    }

    /// Answers the one exchange before a run, and fills the queue before it does so: with `waiting` connections on which
    /// something has been said.
    pub(crate) fn answer_check(&self, waiting: usize) -> Vec<TcpStream> {
        let (mut checker, _) = accept(&self.listener);
        let connect = |_| {
            let mut stream = TcpStream::connect(self.address).unwrap();
            stream.write_all(b"first").unwrap();
            stream
        };
        let queued = (0..waiting).map(connect).collect();
        echo(&mut checker);
        queued
    }

    /// Accepts and answers from now on, with room for everybody. Tells how each connection ended, and who it was.
    pub(crate) fn serve(&self) -> Receiver<(IpAddr, End)> {
        self.listener.listen(BACKLOG).unwrap();
        let listener = self.listener.try_clone().unwrap();
        let (ended, ends) = mpsc::channel();
        std::thread::spawn(move || {
            loop {
                let (stream, peer) = accept(&listener);
                let ended = ended.clone();
                std::thread::spawn(move || serve_one(stream, peer, &ended));
            }
        });
        ends
    }
}

fn accept(listener: &Socket) -> (TcpStream, IpAddr) {
    let (socket, peer) = listener.accept().unwrap();
    (socket.into(), peer.as_socket().unwrap().ip())
}

fn serve_one(mut stream: TcpStream, peer: IpAddr, ended: &Sender<(IpAddr, End)>) {
    let end = echo(&mut stream);
    drop(stream);
    // The test may be over.
    let _ = ended.send((peer, end));
}

/// Sends back what comes, until it ends.
fn echo(stream: &mut TcpStream) -> End {
    let mut buffer = [0; 4096];
    loop {
        let result = match stream.read(&mut buffer) {
            Ok(0) => return End::Fin,
            Ok(length) => stream.write_all(&buffer[..length]),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let resets = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(resets.contains(&error.kind()), "{error}");
            return End::Reset;
        }
    }
}
