//! The JSON Schema of `report.json`, made from the types that it is written from.

use std::path::Path;
use std::{env, fs};

use schemars::generate::SchemaSettings;

use super::Report;

/// Where it is in the repository, for those who read reports with something else.
const PATH: &str = "schema/report.schema.json";
/// Set to anything, this makes the file anew.
const UPDATE: &str = "UPDATE_SCHEMA";

#[test]
fn the_schema_in_the_repository_is_that_of_the_types() {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<Report>();
    let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, &made).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "loadgen/{PATH} is out of date; {UPDATE}=1 cargo test -p tidemark-loadgen schema makes it anew"
    );
}
