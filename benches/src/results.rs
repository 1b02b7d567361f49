//! The raw figures of a measurement, kept as JSON.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;
use tidemark_host::facts::{self, Facts};

use crate::error::MeasureError;
use crate::session::Session;

#[derive(Serialize)]
struct Kept<'a, T> {
    measurement: &'a str,
    at: String,
    host: Facts,
    figures: &'a T,
}

/// Writes the figures to `RESULTS/MEASUREMENT-TIME.json`, and to the file of `--json`, and says where they are.
///
/// # Errors
/// When a file cannot be written.
pub fn keep(session: &Session, measurement: &str, figures: &impl Serialize) -> Result<(), MeasureError> {
    let now = SystemTime::now();
    let kept = Kept {
        measurement,
        at: humantime::format_rfc3339_seconds(now).to_string(),
        host: facts::facts(),
        figures,
    };
    let mut json = serde_json::to_string_pretty(&kept)?;
    json.push('\n');
    let stamp = kept.at.replace([':', '-'], "");
    let own = session.results.join(format!("{measurement}-{stamp}.json"));
    fs::create_dir_all(&session.results)
        .map_err(MeasureError::io(format!("make {}", session.results.display())))?;
    write(&own, &json)?;
    if let Some(path) = &session.json {
        write(path, &json)?;
    }
    session.say(format_args!("raw figures in {}", own.display()));
    Ok(())
}

fn write(path: &Path, json: &str) -> Result<(), MeasureError> {
    fs::write(path, json).map_err(MeasureError::io(format!("write {}", path.display())))
}
