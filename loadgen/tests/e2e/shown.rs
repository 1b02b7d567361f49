//! What people read: the table and the help.

use tidemark_loadgen::report::{Report, table};

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
fn help_is_on_standard_output() {
    let loadgen = Loadgen::new();
    for (name, args) in [("help", ["--help"].as_slice()), ("help_run", &["run", "--help"])] {
        let finished = loadgen.invoke(args);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        insta::assert_snapshot!(name, finished.stdout);
    }
}
