//! What a run leaves in its directory, and what is read from there again: by this program, and by others that know the format.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod compare;
mod decoder;
mod hostile;
mod log;
mod merge;
mod partial;
mod runs;
mod schema;
