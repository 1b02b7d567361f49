//! Two runs side by side.

use std::path::Path;

use tidemark_loadgen::record::Recording;
use tidemark_loadgen::report::compare::{self, Side};
use tidemark_program::Exit;

use crate::runs::{Made, SECOND, STARTED_AT, answer};

fn sides(root: &Path, dirs: [&Path; 2]) -> [Side; 2] {
    dirs.map(|dir| {
        let mut side = Side::open(dir).unwrap();
        side.name = dir.strip_prefix(root).unwrap().display().to_string();
        side
    })
}

#[test]
fn percentiles_have_their_intervals_and_what_is_apart_is_marked() {
    let root = tempfile::tempdir().unwrap();
    let spread = |slower: u64| (0..20_000).map(move |index| 50_000 + index * index / 1000 + slower);
    let a = Made::of(spread(0)).write(root.path());
    let b = Made::of(spread(3_000)).write_changed(root.path(), |report| {
        report.plan["populations"][0]["connections"] = 20_000.into();
        report.host.kernel = "6.18.0".to_owned();
        report.populations[0].arrivals.errored = 7;
        report.populations[0].arrivals.scheduled += 7;
    });
    let sides = sides(root.path(), [&a, &b]);
    insta::assert_snapshot!(compare::render(&sides));
    assert_eq!(compare::exit(&sides), Exit::Good);
}

#[test]
fn what_cannot_be_compared_is_told() {
    let root = tempfile::tempdir().unwrap();
    let second = |count| {
        let mut second = Recording::new();
        (0..count).for_each(|_| answer(&mut second, 1_000_000));
        vec![Recording::new(), second]
    };
    let a = Made {
        started_at: STARTED_AT,
        interval: SECOND,
        populations: vec![("main", second(3)), ("idle", second(0))],
    };
    let b = Made {
        started_at: STARTED_AT,
        interval: SECOND,
        populations: vec![("main", second(0)), ("churn", second(1))],
    };
    let a = a.write(root.path());
    let b = b.write_changed(root.path(), |report| {
        let invalid: tidemark_loadgen::report::Report =
            serde_json::from_str(include_str!("../e2e/reports/invalid.json")).unwrap();
        report.verdict = invalid.verdict;
    });
    let sides = sides(root.path(), [&a, &b]);
    insta::assert_snapshot!(compare::render(&sides));
    assert_eq!(compare::exit(&sides), Exit::NotTrustworthy);
}
