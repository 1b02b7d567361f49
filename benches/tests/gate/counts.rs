//! Tier A on real programs: it finds each thing that is injected, and nothing where nothing is.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::programs::{build, gate};

/// A server that can be made slower, and counts its allocations. In a target directory of its own: in the common one it would
/// take the place of the server that other tests run.
fn faulty_server() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--package", "tidemark-server", "--bins"]);
    build.args(["--features", "bench-faults,count-allocations", "--target-dir"]).arg(&target);
    assert!(build.status().unwrap().success());
    target.join("debug/tidemark-server")
}

/// A directory of the programs that tier A runs, with this server.
fn directory(server: &Path) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (program, name) in [
        (server, "tidemark-server"),
        (server, "tidemark-server-counting"),
        (&build().join("tidemark-loadgen"), "tidemark-loadgen"),
        (Path::new(env!("CARGO_BIN_EXE_hot-loop")), "hot-loop"),
    ] {
        symlink(program, directory.path().join(name)).unwrap();
    }
    directory
}

fn has_valgrind() -> bool {
    let mut version = Command::new("valgrind");
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn what_is_injected_is_found_each_time() {
    let directory = directory(&faulty_server());
    let output = tempfile::tempdir().unwrap();
    // Where there is no valgrind, what needs it is not looked for: the gate then says that it did not count it.
    let cases = if has_valgrind() { "instructions,syscall,allocation,memory" } else { "allocation,memory" };
    let build = directory.path().to_str().unwrap();
    let results = output.path().to_str().unwrap();
    let finished = gate(["selftest", "--build", build, "--cases", cases, "--output", results]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let rows: serde_json::Value =
        serde_json::from_slice(&fs::read(output.path().join("selftest.json")).unwrap()).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), cases.split(',').count());
    for row in rows {
        assert_eq!((&row["failed"], &row["passed"]), (&1.into(), &0.into()), "{row}");
    }
    assert!(finished.stdout.contains("allocations_per_echo 1 instead of 0"), "{}", finished.stdout);
    assert!(finished.stdout.contains("allocations_per_http_request 1 instead of 0"), "{}", finished.stdout);
}

#[test]
fn a_build_against_itself_needs_no_more_of_anything() {
    let directory = directory(&build().join("tidemark-server"));
    // This one does not count.
    fs::remove_file(directory.path().join("tidemark-server-counting")).unwrap();
    let output = tempfile::tempdir().unwrap();
    let build = directory.path().to_str().unwrap();
    let results = output.path().to_str().unwrap();
    let finished = gate(["run", "--tier", "a", "--base", build, "--head", build, "--output", results]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        finished
            .stdout
            .contains("not counted: allocations per request, heap per idle connection: neither build has"),
        "{}",
        finished.stdout
    );
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(output.path().join("gate.json")).unwrap()).unwrap();
    let row = |name: &str| {
        let rows = report["counts"]["rows"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {rows:?}")).clone()
    };
    assert!(row("private_bytes_per_connection")["head"].as_f64().unwrap() <= 96.0);
    if has_valgrind() {
        let calls = row("syscalls_per_echo");
        let names: Vec<&str> =
            calls["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 3, "wait, read, write: {calls}");
        assert!((calls["head"].as_f64().unwrap() - 3.0).abs() < 0.05, "{calls}");
    }
}
