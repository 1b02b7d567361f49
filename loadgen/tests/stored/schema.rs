//! The JSON Schema in the repository, as others use it.

use std::path::Path;

use serde_json::Value;
use tidemark_loadgen::report::merge;
use tidemark_loadgen::report::stored::Stored;

use crate::partial::cut_off;
use crate::runs::Made;

fn is_valid(report: &Value) -> bool {
    let schema = serde_json::from_str(include_str!("../../schema/report.schema.json")).unwrap();
    jsonschema::draft202012::new(&schema).unwrap().is_valid(report)
}

fn reports(root: &Path) -> [Value; 3] {
    let made = Made::of([1000; 10]);
    let dirs = [made.write(root), cut_off(&made, root, 2)];
    let merged = merge::merge(&dirs, &root.join("merged"), Vec::new()).unwrap().report;
    let [whole, partial] = dirs.map(|dir| Stored::open(&dir).unwrap().report);
    [whole, partial, merged].map(|report| serde_json::to_value(report).unwrap())
}

#[test]
fn every_kind_of_report_is_of_its_shape() {
    let root = tempfile::tempdir().unwrap();
    for report in reports(root.path()) {
        assert!(is_valid(&report), "{report}");
    }
}

#[test]
fn what_is_no_report_is_not() {
    let root = tempfile::tempdir().unwrap();
    for path in [
        "/verdict/valid",
        "/populations/0/arrivals/scheduled",
        "/series/0/rows/0/t_s",
        "/run/ended",
        "/schema_version",
    ] {
        let [mut report, ..] = reports(root.path());
        *report.pointer_mut(path).unwrap() = Value::from(-1);
        // A time is a number, and may be any.
        assert_eq!(is_valid(&report), path.ends_with("t_s"), "{path}");
        let (parent, name) = path.rsplit_once('/').unwrap();
        report.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().remove(name);
        assert!(!is_valid(&report), "without {path}");
    }
}
