//! A tidemark-server in a process of its own, on ports that the kernel chose.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use crate::binaries::Program;
use crate::engine::Engine;
use crate::error::MeasureError;
use crate::interrupt::Interrupt;
use crate::listening::{self, Lines};
use crate::process::Process;
use crate::server_log::Addresses;
use crate::session::Session;

/// Connections that a server must hold beyond those that are measured: a load generator tries it once before it begins.
pub const CONNECTIONS_SPARE: u64 = 100;

/// How to start it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The CPU of its workers; `None` leaves that to the scheduler.
    pub cpu: Option<usize>,
    /// Worker threads; `None` lets the server choose.
    pub workers: Option<usize>,
    /// Connections that it must hold; `None` for what its descriptors allow.
    pub max_connections: Option<u64>,
    /// Whether it serves HTTP, too.
    pub http: bool,
    /// The address that echoes; `None` for loopback.
    pub address: Option<Ipv4Addr>,
    /// What runs its connections; `None` lets the server choose, also one that is too old to be asked.
    pub engine: Option<Engine>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// Where raw echo is served.
    pub echo: SocketAddr,
    /// Where HTTP is served, when it was asked for.
    pub http: Option<SocketAddr>,
    /// Where its metrics are.
    pub admin: SocketAddr,
}

impl Server {
    /// Starts the session's own and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(session: &Session, options: Options) -> Result<Self, MeasureError> {
        let command = Command::new(session.binaries.path(Program::Server)?);
        Self::start_as(command, options, &[], &session.interrupt)
    }

    /// Starts the server that `command` names, with `more` flags of `serve`, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_as(
        mut command: Command,
        options: Options,
        more: &[String],
        interrupt: &Interrupt,
    ) -> Result<Self, MeasureError> {
        let echo = SocketAddr::from((options.address.unwrap_or(Ipv4Addr::LOCALHOST), 0));
        command
            .args(["--log", "json", "serve", "--echo", &echo.to_string(), "--admin", "127.0.0.1:0"])
            // Whatever the user's shell asks for, the lines below are needed.
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if options.http {
            command.args(["--http", "127.0.0.1:0"]);
        }
        if let Some(engine) = options.engine {
            command.args(["--engine", engine.name()]);
        }
        let flags = [
            ("--pin", options.cpu.map(|cpu| cpu as u64)),
            ("--workers", options.workers.map(|workers| workers as u64)),
            ("--max-connections", options.max_connections),
        ];
        for (flag, value) in flags {
            if let Some(value) = value {
                command.args([flag, &value.to_string()]);
            }
        }
        command.args(more);
        let name = Program::Server.name();
        let mut process = Process::spawn(&mut command).map_err(MeasureError::io(format!("start {name}")))?;
        let lines = match process.take_stderr() {
            Some(stderr) => Lines::of(stderr)?,
            None => Lines::of(std::io::empty())?,
        };
        let mut addresses = Addresses::default();
        let (echo, admin) = listening::wait_until(name, &lines, &mut process, interrupt, |line| {
            addresses.take(line).then_some(addresses.echo.zip(addresses.admin))?
        })?;
        Ok(Self { process, echo, http: addresses.http, admin })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it and waits for that.
    pub fn stop(self) {
        self.process.stop();
    }
}
