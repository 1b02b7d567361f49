//! Searches against real servers: one whose capacity is known by construction, and others that keep no rule.
//!
//! Closed loops with few connections: nothing about them depends on how late the generator is. The server takes the time
//! that it takes and never less, so that a machine that is held up only lowers what is found.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use tidemark_loadgen::report::Report;
use tidemark_loadgen::search::curve::Curve;
use tidemark_loadgen::search::{Ended, Outcome};

use crate::processes::{FaultyServer, Finished, Loadgen};

/// One request after another, 2 ms each: at most 500 a second, and n connections wait n times as long for each other.
const SLOW: [&str; 3] = ["slow", "--per-request", "2ms"];
const WELL: [&str; 3] = ["stall", "--every", "1h"];
const SHORT: &str = "--step-duration 400ms --warmup 200ms";

fn args<'a>(target: &'a str, options: &'a str, rules: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["search", target];
    args.extend(options.split_whitespace());
    args.extend(rules.iter().flat_map(|rule| ["--slo", rule]));
    args
}

/// The newest search, after what holds for every search has been checked.
#[track_caller]
fn curve(loadgen: &Loadgen, finished: &Finished) -> Curve {
    let dir = loadgen.results().join("latest");
    let text =
        fs::read_to_string(dir.join("search.json")).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    let curve: Curve = serde_json::from_str(&text).unwrap();
    assert_eq!(finished.code, Some(curve.result.exit() as i32), "{finished:?}");
    assert_eq!(
        dir.canonicalize().unwrap().file_name().and_then(|name| name.to_str()),
        Some(curve.id.as_str())
    );
    for step in &curve.steps {
        assert!((curve.from..=curve.max).contains(&step.load));
        assert_eq!(step.outcome == Outcome::Kept, step.reasons.is_empty(), "{step:?}");
        let Some(path) = &step.report else { continue };
        let report: Report = serde_json::from_str(&fs::read_to_string(dir.join(path)).unwrap()).unwrap();
        assert_eq!((Some(report.verdict.valid), &report.slo), (step.valid, &step.slo));
        assert_eq!(report.populations[0].response.p99_9_ns, step.populations[0].response.p99_9_ns);
        let planned = &report.populations[0];
        let load = match planned.arrivals_planned.rate() {
            Some(rate) => rate,
            None => planned.connections.requested as f64,
        };
        assert!((load - step.load as f64).abs() < 1e-9, "{load}: {step:?}");
    }
    if let Some(best) = curve.result.load {
        assert!(curve.steps.iter().any(|step| step.load == best && step.outcome == Outcome::Kept));
    }
    curve
}

#[test]
fn the_connections_that_a_slow_server_holds_are_found() {
    let server = FaultyServer::start(&SLOW);
    let loadgen = Loadgen::new();
    // 64 connections wait 128 ms on average, whatever the machine does.
    let options = format!("--find connections --from 2 --resolution 50% --live off {SHORT}");
    let finished = loadgen.invoke(&args(&server.address, &options, &["response.mean < 100ms", "lost == 0"]));
    let curve = curve(&loadgen, &finished);
    let result = curve.result;
    assert_eq!(result.ended, Some(Ended::Found), "{finished:?}");
    let (best, violated) = (result.load.unwrap(), result.violated_at.unwrap());
    assert!(best < 64 && violated <= 64 && best < violated, "{result:?}");
    assert!(curve.steps.iter().all(|step| step.load < 64 || step.outcome != Outcome::Kept), "{finished:?}");
    // Doubling, the violation and its repetition, and the answer once more.
    let loads: Vec<u64> = curve.steps.iter().map(|step| step.load).collect();
    assert!(loads.len() >= 4 && loads[..2] == [2, 4], "{loads:?}");
    assert_eq!(loads.last(), Some(&best));
    assert!(result.confirmed);
    assert!(finished.stdout.contains("FOUND") && finished.stdout.contains("VIOLATED"), "{}", finished.stdout);
}

#[test]
fn a_rate_that_a_target_falls_behind_is_not_kept() {
    let server = FaultyServer::start(&SLOW);
    let loadgen = Loadgen::new();
    let options =
        "--find rate --from 50 --max 4000 --resolution 100% -c 4 --step-duration 1s --warmup 0s --live off";
    let finished = loadgen.invoke(&args(&server.address, options, &["errors < 50%"]));
    let curve = curve(&loadgen, &finished);
    // It does 500 a second at the most, and the rule itself is kept at any rate. Whether the generator is trusted is the
    // machine's doing.
    for step in &curve.steps {
        assert!(step.load < 1000 || step.outcome != Outcome::Kept, "{step:?}");
    }
    assert!(curve.result.load.is_none_or(|best| best < 1000), "{finished:?}");
    assert_ne!(curve.result.ended, Some(Ended::AtMax));
}

#[test]
fn a_rule_that_no_load_keeps_is_told_after_the_first() {
    let server = FaultyServer::start(&SLOW);
    let loadgen = Loadgen::new();
    let options = format!("--find connections --from 3 --live off {SHORT}");
    let finished = loadgen.invoke(&args(&server.address, &options, &["service.p50 < 1ms"]));
    let curve = curve(&loadgen, &finished);
    assert_eq!((finished.code, curve.result.ended), (Some(1), Some(Ended::NothingKept)), "{finished:?}");
    assert_eq!(curve.steps.len(), 2, "a violation is believed when it is seen twice");
    assert!(finished.stdout.contains("--from"), "{}", finished.stdout);
}

#[test]
fn the_highest_load_to_try_ends_it() {
    let server = FaultyServer::start(&SLOW);
    let loadgen = Loadgen::new();
    let options = format!("--find connections --from 2 --max 3 --json - --live off {SHORT}");
    let finished = loadgen.invoke(&args(&server.address, &options, &["lost == 0"]));
    let curve = curve(&loadgen, &finished);
    assert_eq!((finished.code, curve.result.ended), (Some(0), Some(Ended::AtMax)), "{finished:?}");
    assert_eq!(curve.steps.iter().map(|step| step.load).collect::<Vec<_>>(), [2, 3, 3]);
    let written = fs::read_to_string(loadgen.results().join("latest/search.json")).unwrap();
    assert_eq!(finished.stdout, written);
}

#[test]
fn a_rule_that_cannot_be_judged_finds_nothing() {
    let server = FaultyServer::start(&SLOW);
    let loadgen = Loadgen::new();
    let options = format!("--find connections --from 2 --live off {SHORT}");
    let finished = loadgen.invoke(&args(&server.address, &options, &["lag.p99 < 1s"]));
    let curve = curve(&loadgen, &finished);
    assert_eq!((finished.code, curve.result.ended), (Some(3), Some(Ended::GeneratorLimit)), "{finished:?}");
    assert!(finished.stdout.contains("a closed loop has none"), "{}", finished.stdout);
}

#[test]
fn ctrl_c_leaves_the_curve_so_far() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let options = format!("--find connections --from 2 --live plain {SHORT}");
    let mut running = loadgen.start(&args(&server.address, &options, &["lost == 0"]));
    running.await_line("step 3: 8 connections");
    running.signal(Signal::INT);
    let finished = running.finish();
    let curve = curve(&loadgen, &finished);
    assert_eq!((finished.code, curve.result.ended), (Some(3), Some(Ended::Interrupted)), "{finished:?}");
    assert!(curve.steps.len() >= 2, "{curve:?}");
    assert!(curve.result.load >= Some(4) && !curve.result.confirmed, "{:?}", curve.result);
    assert!(finished.stdout.contains("interrupted"), "{}", finished.stdout);
}

#[test]
fn a_target_that_dies_under_load_is_what_did_not_keep_the_rules() {
    let mut server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let options = format!("--find connections --from 2 --live plain {SHORT}");
    let mut running = loadgen.start(&args(&server.address, &options, &["lost == 0"]));
    running.await_line("step 2: 4 connections");
    server.kill();
    let finished = running.finish();
    let curve = curve(&loadgen, &finished);
    assert!(
        curve.steps.len() > 2 && curve.steps.last().is_some_and(|step| step.report.is_none()),
        "{curve:?}"
    );
    // The first step kept the rules, and cannot be confirmed by a target that is gone.
    assert_eq!((finished.code, curve.result.ended), (Some(1), Some(Ended::NothingKept)), "{finished:?}");
}

#[test]
fn each_step_serves_its_metrics_and_the_last_lingers() {
    let server = FaultyServer::start(&SLOW);
    let loadgen = Loadgen::new();
    let options = format!(
        "--find connections --from 1 --max 2 --live off --metrics 127.0.0.1:0 --metrics-linger 1h {SHORT}"
    );
    let mut running = loadgen.start(&args(&server.address, &options, &["lost == 0"]));
    for _ in 0..3 {
        running.await_line("metrics at http://127.0.0.1:");
    }
    // The last step lingers when all is over, and a signal ends that.
    while fs::read_to_string(loadgen.dir().join("stdout")).unwrap().is_empty() {
        assert!(!running.ends_within(Duration::from_millis(20)), "it lingers");
    }
    running.signal(Signal::TERM);
    let finished = running.finish();
    assert_eq!(curve(&loadgen, &finished).result.ended, Some(Ended::AtMax), "{finished:?}");
}

#[test]
fn a_target_that_is_not_there_is_told_in_one_line() {
    let mut server = FaultyServer::start(&WELL);
    server.kill();
    let loadgen = Loadgen::new();
    let finished = loadgen.invoke(&args(&server.address, "--find rate", &["lost == 0"]));
    finished.assert_one_line(4, &[&server.address]);
    assert!(!loadgen.results().exists(), "nothing is left behind");
}
