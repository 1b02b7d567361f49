//! What cannot be measured is one line and no verdict.

use std::fs;

use crate::programs::{Finished, build, gate, program, scripted_server};

fn run(base: &str, head: &str, output: &str) -> Finished {
    gate([
        "run", "--base", base, "--head", head, "--output", output, "--tier", "b", "--work", "0.01",
        "--budget", "1ms",
    ])
}

/// One line on standard error, and no report that could be taken for one.
fn assert_fails(base: &str, head: &str, code: i32, line: &str) {
    let output = tempfile::tempdir().unwrap();
    let finished = run(base, head, output.path().to_str().unwrap());
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    assert!(finished.stderr.contains(line), "{:?} does not contain {line:?}", finished.stderr);
    assert!(!output.path().join("gate.json").exists());
}

#[test]
fn a_base_that_is_no_directory() {
    assert_fails("/dev/null", build().to_str().unwrap(), 2, "/dev/null is not a directory; give one with");
}

#[test]
fn a_directory_without_programs() {
    let empty = tempfile::tempdir().unwrap();
    let (empty, build) = (empty.path().to_str().unwrap(), build().to_str().unwrap());
    assert_fails(empty, build, 4, "tidemark-server is missing; build it with `cargo build --release");
    let headless = scripted_server("exit 0");
    assert_fails(build, headless.path().to_str().unwrap(), 4, "tidemark-loadgen is missing; build it with");
}

#[test]
fn a_server_that_ends_at_once() {
    let base = scripted_server("echo no such port >&2; echo goodbye >&2; exit 7");
    let line = "tidemark-gate: the warm-up, base: tidemark-server ended before it was ready (exit status: 7); \
                it said: | no such port | goodbye";
    assert_fails(base.path().to_str().unwrap(), build().to_str().unwrap(), 4, line);
}

#[test]
fn a_load_generator_that_does_not_know_what_it_is_asked() {
    let head = tempfile::tempdir().unwrap();
    fs::copy(build().join("tidemark-server"), head.path().join("tidemark-server")).unwrap();
    program(
        &head.path().join("tidemark-loadgen"),
        "echo \"error: unexpected argument '--interval' found\" >&2; exit 2",
    );
    let line = "the warm-up, base: tidemark-loadgen: gave no report (exit status: 2); it is that of head, and said: error: unexpected argument";
    assert_fails(build().to_str().unwrap(), head.path().to_str().unwrap(), 4, line);
}

#[test]
fn a_server_that_is_no_program() {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("tidemark-server"), "").unwrap();
    let line = "the warm-up, base: cannot start tidemark-server: Permission denied";
    assert_fails(base.path().to_str().unwrap(), build().to_str().unwrap(), 4, line);
}

#[test]
fn a_record_that_is_none() {
    let finished = gate(["decide", "/dev/null"]);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert_eq!(
        finished.stderr,
        "tidemark-gate: /dev/null: it has no line of kind \"run\"; is it a blocks.jsonl of tidemark-gate?\n"
    );
}
