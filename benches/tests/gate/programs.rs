//! The programs: the gate, and a build for it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A gate that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The gate with arguments.
pub(crate) fn command(args: impl IntoIterator<Item: AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark-gate"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the gate.
pub(crate) fn gate(args: impl IntoIterator<Item: AsRef<OsStr>>) -> Finished {
    let output = command(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A directory with the server and the load generator. They are built with the tests of the whole workspace, and here when
/// the tests of this package alone are run.
pub(crate) fn build() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_tidemark-gate")).parent().unwrap();
        let missing = |program: &&str| !directory.join(program).exists();
        for package in ["tidemark-server", "tidemark-loadgen"].into_iter().filter(missing) {
            let profile = match directory.file_name().and_then(OsStr::to_str).unwrap() {
                "debug" => "dev",
                other => other,
            };
            let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
            let mut build = Command::new(cargo);
            build.args(["build", "--package", package, "--bins", "--profile", profile, "--target-dir"]);
            assert!(build.arg(directory.parent().unwrap()).status().unwrap().success(), "{package} builds");
        }
        directory.to_owned()
    })
}

/// A build of which the server is a script.
pub(crate) fn scripted_server(script: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    program(&directory.path().join("tidemark-server"), script);
    directory
}

/// A program that is a script.
pub(crate) fn program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
