//! What people read: the table and the help.

use tidemark_loadgen::report::{Report, table};
use tidemark_loadgen::slo::{self, Judgement};
use tidemark_loadgen::verdict::{Bound, Check, Unit};

use crate::processes::Loadgen;

fn table_of(json: &str) -> String {
    let report: Report = serde_json::from_str(json).unwrap();
    table::render(&report)
}

#[test]
fn the_table_of_a_run_that_is_trusted_up_to_p99() {
    insta::assert_snapshot!(table_of(include_str!("reports/trusted_to_p99.json")));
}

#[test]
fn the_table_of_an_invalid_run() {
    insta::assert_snapshot!(table_of(include_str!("reports/invalid.json")));
}

#[test]
fn the_table_of_a_closed_loop() {
    insta::assert_snapshot!(table_of(include_str!("reports/closed.json")));
}

#[test]
fn the_checks_are_counted_beside_the_verdict() {
    let mut report: Report = serde_json::from_str(include_str!("reports/trusted_to_p99.json")).unwrap();
    let check = |ok| Check {
        population: None,
        name: "stationary_p50".to_owned(),
        what: "difference between the halves".to_owned(),
        figure: 0.2,
        bound: Bound::AtMost,
        limit: 0.1,
        unit: Unit::Fraction,
        ok,
        decides: false,
        why: None,
    };
    report.verdict.checks = vec![check(true), check(false), check(true)];
    let table = table::render(&report);
    assert!(table.contains("\nVALID, trusted to p99 (2 of 3 checks passed)\n"), "{table}");
}

#[test]
fn the_table_with_rules() {
    let mut report: Report = serde_json::from_str(include_str!("reports/trusted_to_p99.json")).unwrap();
    let judged = |rule: &str, actual, unit, ok, why: Option<&str>| Judgement {
        rule: rule.to_owned(),
        actual,
        unit,
        ok,
        not_judged_because: why.map(str::to_owned),
    };
    let above = "the run is trusted only up to p99";
    report.slo = vec![
        judged("main.response.p99 < 500us", Some(412_671.0), slo::Unit::Ns, Some(true), None),
        judged("main.response.p99.9 < 2ms", Some(2_889_727.0), slo::Unit::Ns, None, Some(above)),
        judged("all.completed_per_s >= 20000", Some(19_997.9), slo::Unit::PerSecond, Some(false), None),
        judged("all.errors < 0.01%", Some(0.0), slo::Unit::Fraction, Some(true), None),
        judged("idle.wait.max < 1s", None, slo::Unit::Ns, None, Some("wait: none was measured")),
    ];
    let table = table::render(&report);
    insta::assert_snapshot!(&table[table.find("VALID").unwrap()..]);
}

#[test]
fn help_is_on_standard_output() {
    let loadgen = Loadgen::new();
    for (name, args) in [
        ("help", ["--help"].as_slice()),
        ("help_run", &["run", "--help"]),
        ("help_search", &["search", "--help"]),
        ("help_report", &["report", "--help"]),
        ("help_merge", &["merge", "--help"]),
        ("help_compare", &["compare", "--help"]),
    ] {
        let finished = loadgen.invoke(args);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        insta::assert_snapshot!(name, finished.stdout);
    }
}
