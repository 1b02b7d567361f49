//! Where the programs are: beside this one, as cargo puts them.

use std::path::{Path, PathBuf};

use crate::error::MeasureError;

/// A program that a measurement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The server.
    Server,
    /// The load generator.
    Loadgen,
    /// The reference loop.
    BareEcho,
    /// The reference of the tokio engines.
    BareTokioEcho,
    /// The reference of the load generator's ramp.
    BareConnect,
    /// This machine at a distance from itself.
    FarLoopback,
    /// The server that stops now and then, an example of the load generator.
    FaultyServer,
}

impl Program {
    /// Its name, also on the file system.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "tidemark-server",
            Self::Loadgen => "tidemark-loadgen",
            Self::BareEcho => "bare-epoll-echo",
            Self::BareTokioEcho => "bare-tokio-echo",
            Self::BareConnect => "bare-connect",
            Self::FarLoopback => "far-loopback",
            Self::FaultyServer => "faulty_server",
        }
    }

    /// What `cargo build --release` must be given to make it.
    pub const fn cargo_args(self) -> &'static str {
        match self {
            Self::Server => "-p tidemark-server",
            Self::Loadgen => "-p tidemark-loadgen",
            Self::BareEcho | Self::BareTokioEcho | Self::BareConnect | Self::FarLoopback => {
                "-p tidemark-benches"
            }
            Self::FaultyServer => "-p tidemark-loadgen --example faulty_server",
        }
    }

    fn path_in(self, directory: &Path) -> PathBuf {
        match self {
            Self::FaultyServer => directory.join("examples").join(self.name()),
            _ => directory.join(self.name()),
        }
    }
}

/// The directory with the programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// Those beside the running executable.
    ///
    /// # Errors
    /// When the system does not tell where that is.
    pub fn beside_this() -> Result<Self, MeasureError> {
        let own = std::env::current_exe().map_err(MeasureError::io("find this executable"))?;
        let directory = own.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { directory })
    }

    /// Where the program is.
    ///
    /// # Errors
    /// When it is not there, with what builds it.
    pub fn path(&self, program: Program) -> Result<PathBuf, MeasureError> {
        let path = program.path_in(&self.directory);
        if path.is_file() {
            Ok(path)
        } else {
            Err(MeasureError::Missing { path, cargo_args: program.cargo_args() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_what_builds_it() {
        let directory = tempfile::tempdir().unwrap();
        let binaries = Binaries { directory: directory.path().to_owned() };
        std::fs::write(directory.path().join("tidemark-server"), "").unwrap();
        assert!(binaries.path(Program::Server).is_ok());
        let message = binaries.path(Program::FaultyServer).unwrap_err().to_string();
        assert!(message.contains("examples/faulty_server is missing"), "{message}");
        assert!(
            message.ends_with("`cargo build --release -p tidemark-loadgen --example faulty_server`"),
            "{message}"
        );
    }
}
