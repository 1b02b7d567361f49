//! Sockets that are handed over, and the supervisor that wants to be told. `bash` stands in for systemd: it puts the socket where
//! systemd would, and sets what systemd would set.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{DEADLINE, eventually, round_trip};

/// A server that was handed `listener` under `name`; ended when this is dropped.
struct Activated {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Activated {
    fn spawn(listener: &TcpListener, name: &str, notify: Option<&str>) -> Activated {
        fcntl_setfd(listener, FdFlags::empty()).unwrap();
        let script = r#"exec 3<&"$0"; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@""#;
        let mut command = Command::new("bash");
        command.args([
            "-c",
            script,
            &listener.as_raw_fd().to_string(),
            env!("CARGO_BIN_EXE_tidemark-server"),
        ]);
        command.args(["serve", "--admin", "127.0.0.1:0", "--workers", "2"]);
        command.env("LISTEN_FDNAMES", name).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(socket) = notify {
            command.env("NOTIFY_SOCKET", socket);
        }
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Activated { child, stderr }
    }

    fn until_ready(mut self) -> Activated {
        let ready = self.stderr.by_ref().lines().map(Result::unwrap).any(|line| line.ends_with("ready"));
        assert!(ready, "it ended before it was ready");
        self
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Its exit code and what it still says.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Connects, asks and reads; an error of any of these is a lost attempt.
fn attempt(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&addr, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let back = round_trip(&mut stream, b"hello")?;
    assert_eq!(back, b"hello");
    Ok(())
}

#[test]
fn a_restart_loses_no_attempt_to_connect() {
    let (listener, addr) = socket();
    let first = Activated::spawn(&listener, "echo", None).until_ready();
    let is_over = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    let so_many_more = |more: usize| {
        let from = done.load(Ordering::SeqCst);
        eventually("attempts go on", || done.load(Ordering::SeqCst) >= from + more);
    };
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                attempt(addr)?;
                done.fetch_add(1, Ordering::SeqCst);
            }
            Ok::<(), std::io::Error>(())
        });
        so_many_more(50);
        first.terminate();
        assert_eq!(first.end().0, Some(0));
        // Nobody serves now: who comes waits in the queue.
        let second = Activated::spawn(&listener, "echo", None).until_ready();
        so_many_more(50);
        is_over.store(true, Ordering::SeqCst);
        client.join().unwrap().expect("no attempt is lost");
        second.terminate();
        assert_eq!(second.end().0, Some(0));
    });
}

#[test]
fn http_is_served_on_a_socket_of_that_name_and_another_name_is_refused() {
    let (listener, addr) = socket();
    let server = Activated::spawn(&listener, "http", None).until_ready();
    let mut http = crate::client::Http::connect(addr);
    assert_eq!(http.get("/health").status, 200);
    drop(server);
    let refused = Activated::spawn(&listener, "web", None);
    let (code, said) = refused.end();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is called \"web\"; write FileDescriptorName=echo or =http"), "{said}");
}

#[test]
fn the_supervisor_is_told_when_it_is_ready_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut message = [0; 256];
        let bytes = supervisor.recv(&mut message).unwrap();
        String::from_utf8(message[..bytes].to_vec()).unwrap()
    };
    let (listener, addr) = socket();
    let server = Activated::spawn(&listener, "echo", path.to_str());
    assert!(told().starts_with("READY=1"));
    attempt(addr).unwrap();
    server.terminate();
    assert!(told().starts_with("STOPPING=1"));
    assert_eq!(server.end().0, Some(0));
    assert!(TcpStream::connect(addr).unwrap().write_all(b"waits").is_ok(), "the socket outlives the server");
    drop(listener);
}
