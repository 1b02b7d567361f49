//! What other load generators say of the same server: wrk2 and oha, where they are installed.

mod oha;
mod wrk2;

pub use oha::requests_per_s as oha_requests_per_s;

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::error::MeasureError;
use crate::loadgen::Target;
use crate::pinned;
use crate::session::Session;
use crate::stalling::Times;

/// Another load generator that keeps a rate and measures from when a request was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// A wrk with a constant rate.
    Wrk2,
    /// One in Rust.
    Oha,
}

/// What a peer is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// An HTTP server.
    pub target: Target,
    /// Requests per second over all connections.
    pub rate: f64,
    /// Connections.
    pub connections: u64,
    /// How long to measure, in whole seconds for wrk2.
    pub duration: Duration,
    /// The CPU to run on.
    pub cpu: Option<usize>,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Wrk2, Self::Oha];

    /// Its name, also on the file system. A wrk2 is built under the name of wrk, whom it would hide.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wrk2 => "wrk2",
            Self::Oha => "oha",
        }
    }

    /// How it is had.
    pub const fn had_by(self) -> &'static str {
        match self {
            Self::Wrk2 => "make in a clone of github.com/giltene/wrk2, then put its wrk on the PATH as wrk2",
            Self::Oha => "cargo install oha",
        }
    }

    /// Where it is; `None` when it is not installed.
    pub fn find(self) -> Option<PathBuf> {
        find(self.name())
    }

    /// Runs it once. What it says is `Err` in words when that is no figures.
    ///
    /// # Errors
    /// When it cannot be run, or is interrupted.
    pub fn measure(
        self,
        session: &Session,
        program: &Path,
        load: &Load,
    ) -> Result<Result<Times, String>, MeasureError> {
        let args = match self {
            Self::Wrk2 => wrk2::args(load),
            Self::Oha => oha::args(load),
        };
        let text = pinned::output(session, load.cpu, program, &args)?;
        Ok(match self {
            Self::Wrk2 => wrk2::times(&text),
            Self::Oha => oha::times(&text),
        })
    }
}

/// Where a program of that name is on the PATH; `None` when it is not.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_on_the_path_is_found() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = env::join_paths([first.path(), second.path()]).unwrap();
        assert_eq!(find_in(&path, "oha"), None);
        std::fs::write(second.path().join("oha"), "").unwrap();
        assert_eq!(find_in(&path, "oha"), Some(second.path().join("oha")));
        // A directory of that name is no program.
        std::fs::create_dir(first.path().join("oha")).unwrap();
        assert_eq!(find_in(&path, "oha"), Some(second.path().join("oha")));
    }
}
