//! Any other server, as a command.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::candidate::Speaks;
use crate::error::MeasureError;
use crate::interrupt::Interrupt;
use crate::listening::{self, Lines};
use crate::process::Process;
use crate::session::Session;

/// What stands for the port in a command.
const PORT: &str = "{port}";

/// How long a server may take to listen, and how often is looked.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// `NAME=CMD` of an HTTP server, or `echo:NAME=CMD` of an echo server; in the command `{port}` stands for the port it is to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCommand {
    pub(super) speaks: Speaks,
    pub(super) name: String,
    command: String,
}

impl FromStr for PeerCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (speaks, rest) = match text.split_once(':') {
            Some(("echo", rest)) => (Speaks::Echo, rest),
            Some(("http", rest)) => (Speaks::Http, rest),
            _ => (Speaks::Http, text),
        };
        let Some((name, command)) = rest.split_once('=') else {
            return Err("a peer is NAME=CMD, or echo:NAME=CMD for an echo server".to_owned());
        };
        if name.trim().is_empty() || name.contains('|') {
            return Err("a peer needs a name, which a table can hold".to_owned());
        }
        if !command.contains(PORT) {
            return Err(format!(
                "the command must have {PORT} where the port belongs that it is to listen on"
            ));
        }
        Ok(Self { speaks, name: name.trim().to_owned(), command: command.to_owned() })
    }
}

impl PeerCommand {
    /// Starts it on a free port of loopback, and waits until it listens.
    ///
    /// # Errors
    /// When it ends, or does not listen in time.
    pub(super) fn start(&self, session: &Session) -> Result<(Process, SocketAddr), MeasureError> {
        let target = listening::free_port()?;
        let mut command = Command::new("sh");
        // The shell makes way for it, so that a signal reaches it.
        command.args(["-c", &format!("exec {}", self.command.replace(PORT, &target.port().to_string()))]);
        let process = start(&self.name, &mut command, target, &session.interrupt)?;
        Ok((process, target))
    }
}

/// Starts a server that tells nothing, and waits until its port takes connections.
pub(super) fn start(
    name: &str,
    command: &mut Command,
    target: SocketAddr,
    interrupt: &Interrupt,
) -> Result<Process, MeasureError> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = Process::spawn(command).map_err(MeasureError::io(format!("start {name}")))?;
    let lines = match process.take_stderr() {
        Some(stderr) => Lines::of(stderr)?,
        None => Lines::of(std::io::empty())?,
    };
    let deadline = Instant::now() + READY_TIMEOUT;
    while Instant::now() < deadline {
        // While nobody listens on a port of the ephemeral range, a connect may be given that port and meet itself.
        let is_other = |stream: &TcpStream| stream.local_addr().ok() != stream.peer_addr().ok();
        if TcpStream::connect(target).is_ok_and(|stream| is_other(&stream)) {
            return Ok(process);
        }
        if let Some(status) = process.wait(interrupt, Some(LOOK_EVERY))? {
            return Err(MeasureError::EndedEarly {
                program: name.to_owned(),
                status: status.to_string(),
                said: lines.last(),
            });
        }
    }
    Err(MeasureError::NotReady { program: name.to_owned(), within: READY_TIMEOUT })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_name_and_a_command_with_a_port() {
        let peer: PeerCommand = "gnet=./echo --port {port} --x=y".parse().unwrap();
        assert_eq!((peer.speaks, peer.name.as_str()), (Speaks::Http, "gnet"));
        assert_eq!(peer.command, "./echo --port {port} --x=y");
        let echo: PeerCommand = "echo:monoio=./m {port}".parse().unwrap();
        assert_eq!((echo.speaks, echo.name.as_str()), (Speaks::Echo, "monoio"));
        for (text, why) in [
            ("nothing", "NAME=CMD"),
            ("=./x {port}", "needs a name"),
            ("a|b=./x {port}", "needs a name"),
            ("x=./x --port 80", "{port}"),
        ] {
            let error = text.parse::<PeerCommand>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn one_that_ends_or_is_not_there_is_told() {
        let interrupt = Interrupt::catch().unwrap();
        let target = listening::free_port().unwrap();
        let error =
            start("it", Command::new("sh").args(["-c", "echo no port >&2; exit 3"]), target, &interrupt)
                .unwrap_err();
        assert!(error.to_string().contains("(exit status: 3); it said:\nno port"), "{error}");
    }
}
