//! The limit on open descriptors (`RLIMIT_NOFILE`).
//!
//! The limit holds per descriptor *table*, not per process: see [`crate::fdtable`].

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit on open descriptors of one descriptor table. `u64::MAX` stands for "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nofile {
    /// What holds now.
    pub soft: u64,
    /// How far an unprivileged process may raise the soft limit.
    pub hard: u64,
}

/// The limits of this process.
pub fn nofile() -> Nofile {
    let limit = getrlimit(Resource::Nofile);
    Nofile { soft: limit.current.unwrap_or(u64::MAX), hard: limit.maximum.unwrap_or(u64::MAX) }
}

/// Raises the soft limit of this process to its hard limit, and returns what holds afterwards.
///
/// # Errors
/// What `setrlimit` says; an unprivileged process may always raise its soft limit up to the hard one, so this fails
/// only where a sandbox forbids the call.
pub fn raise_nofile() -> io::Result<Nofile> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(nofile())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_reaches_the_hard_limit_and_is_idempotent() {
        let before = nofile();
        assert!(before.soft <= before.hard);
        let raised = raise_nofile().expect("raising to the hard limit needs no privilege");
        assert_eq!(raised, Nofile { soft: before.hard, hard: before.hard });
        assert_eq!(raise_nofile().expect("a second time"), raised);
        assert_eq!(nofile(), raised);
    }
}
