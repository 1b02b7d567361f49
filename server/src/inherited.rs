//! Sockets that listen already when the server starts: systemd's socket activation, or whoever does the same.
//!
//! Such a socket outlives the server. Connections that come while one server ends and the next one starts wait in its queue, so
//! that a restart loses none. Which socket is for what is told by its name (`FileDescriptorName=` in the socket unit).

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::listen::Proto;

/// The names of sockets, in the order of the sockets, separated by colons.
const NAMES: &str = "LISTEN_FDNAMES";

/// A socket that listens already.
#[derive(Debug)]
pub struct Inherited {
    /// What is to be spoken there.
    pub proto: Proto,
    /// The socket.
    pub listener: TcpListener,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Takes what was handed to this process. Nothing, when nothing was.
///
/// # Errors
/// When a socket is no TCP listener, or its name does not tell what it is for.
pub fn take() -> Result<Vec<Inherited>, String> {
    let mut handed = ListenFd::from_env();
    let names = std::env::var(NAMES).unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    (0..handed.len())
        .map(|index| {
            let proto = proto_of(names.get(index).copied().unwrap_or_default(), handed.len(), index)?;
            let listener = handed.take_tcp_listener(index).map_err(|error| no_listener(index, &error))?;
            let listener = listener.ok_or_else(|| format!("socket {index} was handed over twice"))?;
            prepare(&listener).map_err(|error| no_listener(index, &error))?;
            let addr = listener.local_addr().map_err(|error| no_listener(index, &error))?;
            Ok(Inherited { proto, listener, addr })
        })
        .collect()
}

fn proto_of(name: &str, of: usize, index: usize) -> Result<Proto, String> {
    match name {
        "echo" => Ok(Proto::Echo),
        "http" => Ok(Proto::Http),
        _ => Err(format!(
            "socket {} of {of} that was handed over is called {name:?}; write FileDescriptorName=echo or =http in its socket unit",
            index + 1
        )),
    }
}

fn no_listener(index: usize, error: &io::Error) -> String {
    format!("socket {} that was handed over is no TCP listener: {error}", index + 1)
}

/// As our own listeners are.
fn prepare(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    SockRef::from(listener).set_tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_is_spoken() {
        assert_eq!(proto_of("echo", 1, 0), Ok(Proto::Echo));
        assert_eq!(proto_of("http", 1, 0), Ok(Proto::Http));
        let error = proto_of("unknown", 2, 1).unwrap_err();
        assert!(
            error.starts_with(
                "socket 2 of 2 that was handed over is called \"unknown\"; write FileDescriptorName="
            ),
            "{error}"
        );
    }

    #[test]
    fn nothing_is_handed_to_a_process_that_was_started_by_hand() {
        assert!(take().unwrap().is_empty());
    }
}
