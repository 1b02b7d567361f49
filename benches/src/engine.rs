//! The server's engines, what each is held against, and what it may cost at most.

use clap::ValueEnum;

use crate::binaries::Program;

/// What runs the server's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// A loop of its own per core.
    #[default]
    Epoll,
    /// A tokio runtime per core.
    Tokio,
    /// One tokio runtime over all cores.
    TokioSteal,
}

impl Engine {
    /// What `--engine` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Tokio => "tokio",
            Self::TokioSteal => "tokio-steal",
        }
    }

    /// The least program of its kind.
    pub const fn reference(self) -> Program {
        match self {
            Self::Epoll => Program::BareEcho,
            Self::Tokio | Self::TokioSteal => Program::BareTokioEcho,
        }
    }

    /// The most CPU time per echo, as a multiple of the reference's. A task takes more of the same out of what is left for the rest.
    pub const fn cpu_ratio_max(self) -> f64 {
        match self {
            Self::Epoll => 1.03,
            Self::Tokio | Self::TokioSteal => 1.05,
        }
    }

    /// The least that its HTTP requests per second of CPU time are to be, as a multiple of nginx's.
    pub const fn http_ratio_min(self) -> f64 {
        match self {
            Self::Epoll => 1.15,
            Self::Tokio | Self::TokioSteal => 1.0,
        }
    }

    /// The most private memory per idle connection, bytes: a slot, or a task with its registration.
    pub const fn connection_bytes_max(self) -> f64 {
        match self {
            Self::Epoll => 64.0,
            Self::Tokio | Self::TokioSteal => 1024.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn these_are_the_engines_of_the_server() {
        let ours: Vec<&str> = Engine::value_variants().iter().map(|engine| engine.name()).collect();
        assert_eq!(ours, tidemark_server::Engine::ALL.map(tidemark_server::Engine::name));
    }
}
