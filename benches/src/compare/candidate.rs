//! A server that takes part in the comparison.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::haproxy;
use super::peer::PeerCommand;
use crate::allowed::Apart;
use crate::binaries::Program;
use crate::engine::Engine;
use crate::error::MeasureError;
use crate::listening;
use crate::nginx::Nginx;
use crate::peers;
use crate::process::Process;
use crate::server::{Options, Server};
use crate::session::Session;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Echo,
    Http,
}

impl Speaks {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Http => "HTTP",
        }
    }
}

/// A server.
#[derive(Clone, Debug)]
pub(super) enum Candidate {
    Tidemark(Engine),
    /// The least that an echo server can do, of a kind.
    Bare(Engine),
    Nginx,
    Haproxy,
    Peer(PeerCommand),
}

/// All that speak it and are there, ours first; and what is not there.
pub(super) fn all(speaks: Speaks, peers: &[PeerCommand]) -> (Vec<Candidate>, Vec<String>) {
    let mut candidates: Vec<Candidate> =
        [Engine::Epoll, Engine::Tokio, Engine::TokioSteal].map(Candidate::Tidemark).to_vec();
    let mut left_out = Vec::new();
    match speaks {
        Speaks::Echo => candidates.extend([Engine::Epoll, Engine::Tokio].map(Candidate::Bare)),
        Speaks::Http => {
            for (candidate, program, package) in
                [(Candidate::Nginx, "nginx", "nginx-light"), (Candidate::Haproxy, "haproxy", "haproxy")]
            {
                if peers::find(program).is_some() {
                    candidates.push(candidate);
                } else {
                    left_out.push(format!("{program} is not on the PATH (apt-get install {package})"));
                }
            }
        }
    }
    candidates.extend(peers.iter().filter(|peer| peer.speaks == speaks).cloned().map(Candidate::Peer));
    (candidates, left_out)
}

/// One that runs.
pub(super) enum Started {
    Ours(Server, SocketAddr),
    Nginx(Nginx),
    Other { process: Process, target: SocketAddr, _directory: Option<TempDir> },
}

impl Candidate {
    /// Its name in tables.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tidemark(engine) => format!("tidemark-server, {}", engine.name()),
            Self::Bare(Engine::Epoll) => "bare epoll loop".to_owned(),
            Self::Bare(_) => "plain tokio task".to_owned(),
            Self::Nginx => "nginx".to_owned(),
            Self::Haproxy => "HAProxy".to_owned(),
            Self::Peer(peer) => peer.name.clone(),
        }
    }

    /// Starts it with one thread that serves, and waits until it does.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn start(
        &self,
        session: &Session,
        speaks: Speaks,
        apart: Apart,
    ) -> Result<Started, MeasureError> {
        let other = |process, target| Started::Other { process, target, _directory: None };
        Ok(match self {
            Self::Tidemark(engine) => {
                let options = Options {
                    cpu: Some(apart.server),
                    workers: Some(1),
                    http: speaks == Speaks::Http,
                    engine: Some(*engine),
                    ..Options::default()
                };
                let server = Server::start(session, options)?;
                let target = match speaks {
                    Speaks::Echo => Some(server.echo),
                    Speaks::Http => server.http,
                };
                let target =
                    target.ok_or_else(|| MeasureError::Host("the server does not serve HTTP".to_owned()))?;
                Started::Ours(server, target)
            }
            Self::Bare(engine) => {
                let program: Program = engine.reference();
                let mut command = Command::new(session.binaries.path(program)?);
                command.args([&apart.server.to_string(), engine.name()]);
                let bare = listening::start_plain(program.name(), &mut command, &session.interrupt)?;
                other(bare.process, bare.told)
            }
            Self::Nginx => Started::Nginx(Nginx::start(session, apart.server)?),
            Self::Haproxy => {
                let (process, target, directory) = haproxy::start(session)?;
                Started::Other { process, target, _directory: Some(directory) }
            }
            Self::Peer(peer) => {
                let (process, target) = peer.start(session)?;
                other(process, target)
            }
        })
    }
}

impl Started {
    /// The process that was started; those that it starts are of its group.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Ours(server, _) => server.pid(),
            Self::Nginx(nginx) => nginx.pid(),
            Self::Other { process, .. } => process.pid(),
        }
    }

    /// Where it serves.
    pub(super) const fn target(&self) -> SocketAddr {
        match self {
            Self::Ours(_, target) | Self::Other { target, .. } => *target,
            Self::Nginx(nginx) => nginx.target,
        }
    }

    /// Ends it and waits for that.
    pub(super) fn stop(self) {
        match self {
            Self::Ours(server, _) => server.stop(),
            Self::Nginx(nginx) => nginx.stop(),
            Self::Other { process, .. } => process.stop(),
        }
    }
}
