//! Rules of a run: kept, violated, not judged, and told as such everywhere.

use tidemark_loadgen::report::Report;
use tidemark_loadgen::slo::Standing;

use crate::processes::{FaultyServer, Finished, Loadgen};

const WELL: [&str; 3] = ["stall", "--every", "1h"];
/// A closed loop: nothing about it depends on how late the generator is.
const CLOSED: &str = "-c 4 -d 300ms --warmup 0s";

fn run(server: &FaultyServer, options: &str, rules: &[&str]) -> (Finished, Report) {
    let loadgen = Loadgen::new();
    let mut args = vec!["run", &server.address, "--live", "off"];
    args.extend(options.split_whitespace());
    args.extend(rules.iter().flat_map(|rule| ["--slo", rule]));
    let finished = loadgen.invoke(&args);
    let text = std::fs::read_to_string(loadgen.results().join("latest/report.json"));
    let text = text.unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    (finished, serde_json::from_str(&text).unwrap())
}

fn oks(report: &Report) -> Vec<Option<bool>> {
    report.slo.iter().map(|judgement| judgement.ok).collect()
}

#[test]
fn rules_that_are_kept_change_nothing() {
    let server = FaultyServer::start(&WELL);
    let rules = ["main.lost == 0", "errors < 1%", "response.p99 <= 60s", "completed_per_s > 0.5"];
    let (finished, report) = run(&server, CLOSED, &rules);
    assert_eq!((finished.code, oks(&report)), (Some(0), vec![Some(true); 4]), "{finished:?}");
    let planned: Vec<&str> =
        report.plan["slo"].as_array().unwrap().iter().filter_map(|rule| rule.as_str()).collect();
    assert_eq!(
        planned,
        ["main.lost == 0", "all.errors < 1%", "all.response.p99 <= 60s", "all.completed_per_s > 0.5"]
    );
    assert_eq!(finished.stdout.matches("slo  ").count(), 4, "{}", finished.stdout);
}

#[test]
fn a_rule_that_is_violated_is_told_by_the_exit_code() {
    let server = FaultyServer::start(&WELL);
    let (finished, report) = run(&server, CLOSED, &["lost == 0", "main.service.p50 < 1ns"]);
    assert_eq!((finished.code, oks(&report)), (Some(1), vec![Some(true), Some(false)]), "{finished:?}");
    assert!(finished.stdout.contains("VIOLATED"), "{}", finished.stdout);
}

#[test]
fn what_cannot_be_judged_is_not_taken_for_kept() {
    let server = FaultyServer::start(&WELL);
    let (finished, report) = run(&server, CLOSED, &["lag.p50 < 1s", "lost == 0"]);
    assert_eq!((finished.code, oks(&report)), (Some(3), vec![None, Some(true)]), "{finished:?}");
    assert!(report.verdict.valid, "{:?}", report.verdict);
    assert!(finished.stdout.contains("not judged: lag: a closed loop has none"), "{}", finished.stdout);
}

#[test]
fn an_invalid_run_is_invalid_before_it_violates_anything() {
    let server = FaultyServer::start(&["drop", "--after", "3"]);
    let (finished, report) = run(&server, CLOSED, &["lost == 0"]);
    assert_eq!((finished.code, oks(&report)), (Some(3), vec![None]), "{finished:?}");
    assert!(!report.verdict.valid && report.slo[0].actual > Some(0.0), "{:?}", report.slo);
}

#[test]
fn in_an_open_loop_a_percentile_is_judged_as_far_as_the_run_is_trusted() {
    let server = FaultyServer::start(&WELL);
    let (finished, report) = run(&server, "-c 4 -r 500 -d 1s --warmup 0s", &["response.p99 < 60s"]);
    // How far that is depends on the machine; that the two agree does not.
    let is_judged = report.verdict.valid && report.verdict.trusted_to >= Some(99.0);
    assert_eq!(oks(&report), [is_judged.then_some(true)], "{report:?}");
    assert_eq!(finished.code, Some(if is_judged { 0 } else { 3 }), "{finished:?}");
    let standing = if is_judged { Standing::Kept } else { Standing::NotJudged };
    assert_eq!(Standing::of(&report.slo), standing);
}
