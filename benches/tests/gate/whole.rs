//! Runs from beginning to end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tidemark_benches::gate::decision::Verdict;
use tidemark_benches::gate::metric::Metric;
use tidemark_benches::gate::record::Record;
use tidemark_benches::gate::report::Report;

use crate::programs::{build, command, gate};

/// The flags of a run of a build against itself, with next to no work in a slot.
fn flags(output: &TempDir, more: &str) -> Vec<String> {
    let build = build().to_str().unwrap();
    let output = output.path().to_str().unwrap();
    let fixed =
        ["run", "--base", build, "--head", build, "--output", output, "--work", "0.01", "--seed", "7"];
    let fixed = fixed.into_iter().chain(["--tier", "b"]);
    fixed.chain(more.split_whitespace()).map(str::to_owned).collect()
}

fn report(output: &TempDir) -> Report {
    serde_json::from_slice(&fs::read(output.path().join("gate.json")).unwrap()).unwrap()
}

fn text(output: &TempDir, file: &str) -> String {
    fs::read_to_string(output.path().join(file)).unwrap()
}

fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_left_agrees_with_the_exit_code_and_can_be_judged_again() {
    let output = tempfile::tempdir().unwrap();
    let finished = gate(flags(&output, "--metrics cpu_per_echo --budget 20s"));
    let report = report(&output);
    assert_eq!(finished.code, Some(report.verdict.exit() as i32), "{finished:?}");
    assert!(report.identical);
    assert_eq!(finished.stderr, "");
    // No copy of a program is left, nor a report of the load generator.
    assert_eq!(entries(output.path()), ["blocks.jsonl", "gate.json", "junit.xml", "summary.md"]);
    let times = report.times.as_ref().unwrap();
    let record = Record::read(&output.path().join("blocks.jsonl")).unwrap();
    assert_eq!(record.slots, times.slots);
    assert_eq!(record.header.seed, 7);
    let headline = format!("## Performance gate: {}\n", report.verdict);
    assert!(text(&output, "summary.md").starts_with(&headline));
    let last = format!("\n{}: {}\n", report.verdict, report.why);
    assert!(finished.stdout.contains(&last), "{}", finished.stdout);

    let again = gate(["decide", output.path().join("blocks.jsonl").to_str().unwrap()]);
    assert_eq!(again.code, finished.code, "{again:?}");
    let row = |stdout: &str| stdout.lines().find(|line| line.starts_with("cpu_per_echo ")).map(str::to_owned);
    assert!(row(&again.stdout).is_some(), "{}", again.stdout);
    assert_eq!(row(&again.stdout), row(&finished.stdout));
}

#[test]
fn a_budget_that_is_over_before_the_first_look_leaves_figures_and_no_verdict() {
    let output = tempfile::tempdir().unwrap();
    let finished = gate(flags(&output, "--budget 1ms --head-name a<b"));
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let report = report(&output);
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert!(report.why.contains("fewer than the 12 clean blocks"), "{}", report.why);
    let times = report.times.unwrap();
    assert_eq!(times.slots.len(), 4);
    for slot in &times.slots {
        let measured: Vec<Metric> = slot.slot.figures.keys().copied().collect();
        assert_eq!(measured, Metric::ALL);
        assert!(slot.slot.figures.values().all(|&figure| figure > 0.0), "{slot:?}");
        assert!(slot.trust.is_some());
    }
    let junit = text(&output, "junit.xml");
    assert!(junit.contains("tests=\"4\" failures=\"0\" errors=\"0\" skipped=\"4\""), "{junit}");
}

#[test]
fn an_interrupted_run_keeps_its_slots_and_cleans_up() {
    let output = tempfile::tempdir().unwrap();
    let mut child = command(flags(&output, "--metrics cpu_per_echo --budget 10m")).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("block  1 of 12")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // Its output is read to the end, so that it does not block on a full pipe.
    drop(lines.last());
    let finished = child.wait_with_output().unwrap();
    assert_eq!(finished.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&finished.stderr).contains("interrupted"), "{finished:?}");
    assert_eq!(entries(output.path()), ["blocks.jsonl"]);
    let record = Record::read(&output.path().join("blocks.jsonl")).unwrap();
    assert!(record.slots.len() >= 4);
}

#[test]
fn runs_are_kept_in_a_history() {
    let output = tempfile::tempdir().unwrap();
    gate(flags(&output, "--metrics cpu_per_echo --budget 1ms --head-name abc123"));
    let history = output.path().join("history.jsonl");
    let (history, gate_json) = (history.to_str().unwrap(), output.path().join("gate.json"));
    for _ in 0..2 {
        let appended = gate(["history", "append", history, "--gate", gate_json.to_str().unwrap()]);
        assert_eq!(appended.code, Some(0), "{appended:?}");
    }
    let lines: Vec<serde_json::Value> =
        text(&output, "history.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["head"], "abc123");
    // There was no time for a look: the run is kept, and has no figures.
    assert_eq!(
        (&lines[1]["verdict"], &lines[1]["metrics"]),
        (&"inconclusive".into(), &serde_json::json!([]))
    );
    let report = gate(["history", "report", history]);
    assert_eq!(report.code, Some(0), "{report:?}");
    assert!(report.stdout.starts_with("2 runs\n"), "{}", report.stdout);
    // Something else's file is not spoilt.
    let refused =
        gate(["history", "append", gate_json.to_str().unwrap(), "--gate", gate_json.to_str().unwrap()]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
}
