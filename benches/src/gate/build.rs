//! A build to be judged: where its programs are.

use std::path::{Path, PathBuf};

use crate::binaries::Program;
use crate::error::MeasureError;

/// The programs of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The server.
    pub server: PathBuf,
    /// The server that counts its allocations, where it was built.
    pub server_counting: Option<PathBuf>,
    /// The load generator. That of head puts load on both, so base may lack it.
    pub loadgen: PathBuf,
    /// The loop over the hot paths, for counting instructions, where it was built.
    pub hot_loop: Option<PathBuf>,
}

impl Build {
    /// The programs in a directory as cargo leaves it, such as `target/release`.
    ///
    /// # Errors
    /// When it is no directory, or has no server.
    pub fn in_directory(directory: &Path) -> Result<Self, MeasureError> {
        if !directory.is_dir() {
            return Err(MeasureError::Usage(format!(
                "{} is not a directory; give one with a tidemark-server, such as target/release",
                directory.display()
            )));
        }
        // What is started from a directory of its own must be named in full.
        let directory =
            directory.canonicalize().map_err(MeasureError::io(format!("find {}", directory.display())))?;
        let there = |name: &str| Some(directory.join(name)).filter(|path| path.is_file());
        Ok(Self {
            server: required(&directory, Program::Server)?,
            server_counting: there("tidemark-server-counting"),
            loadgen: directory.join(Program::Loadgen.name()),
            hot_loop: there("hot-loop"),
        })
    }

    /// Requires its load generator to be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn with_loadgen(self) -> Result<Self, MeasureError> {
        if self.loadgen.is_file() { Ok(self) } else { Err(missing(self.loadgen, Program::Loadgen)) }
    }
}

fn required(directory: &Path, program: Program) -> Result<PathBuf, MeasureError> {
    let path = directory.join(program.name());
    if path.is_file() { Ok(path) } else { Err(missing(path, program)) }
}

fn missing(path: PathBuf, program: Program) -> MeasureError {
    MeasureError::Missing { path, cargo_args: program.cargo_args() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use tidemark_program::Exit;

    #[test]
    fn base_needs_a_server_and_head_a_load_generator_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let error = Build::in_directory(directory.path()).unwrap_err();
        assert!(error.to_string().contains("tidemark-server is missing"), "{error}");
        fs::write(directory.path().join("tidemark-server"), "").unwrap();
        let build = Build::in_directory(directory.path()).unwrap();
        assert_eq!(build.server_counting, None);
        let error = build.with_loadgen().unwrap_err();
        assert!(error.to_string().contains("tidemark-loadgen is missing"), "{error}");
        assert_eq!(error.exit(), Exit::CouldNotRun);
    }

    #[test]
    fn what_is_no_directory_is_wrong_usage() {
        let error = Build::in_directory(Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().starts_with("/dev/null is not a directory"), "{error}");
    }
}
