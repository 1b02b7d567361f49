//! `history`: the results of runs, a line of JSON each, and the drift that no single run shows.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cli::HistoryCommand;
use super::course;
use super::decision::Verdict;
use super::metric::Metric;
use super::report::{self, Report};
use super::run::say;
use crate::error::MeasureError;
use tidemark_program::Exit;

/// The version of the shape of a line.
pub const SCHEMA_VERSION: u32 = 1;

/// A history of more than this is none: a line has about a kilobyte.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it began.
    pub date: String,
    /// What head was called.
    pub head: String,
    /// What base was called.
    pub base: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The CPU it ran on: absolute figures mean nothing on another one.
    pub cpu_model: String,
    /// The kernel.
    pub kernel: String,
    /// Of tier B.
    pub metrics: Vec<MetricEntry>,
    /// Of tier A.
    pub counts: Vec<CountEntry>,
}

/// A metric of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricEntry {
    /// Which.
    pub metric: Metric,
    /// Median of head's slots.
    pub head_ns: f64,
    /// Head against base, as a part of base.
    pub change: f64,
    /// Where that lies with 95 %.
    pub interval: Option<(f64, f64)>,
}

/// A count of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountEntry {
    /// What was counted.
    pub name: String,
    /// Head's.
    pub head: f64,
}

impl From<Report> for Entry {
    fn from(report: Report) -> Self {
        let metrics =
            report.times.into_iter().flat_map(|times| times.decision.metrics).map(|result| MetricEntry {
                metric: result.metric,
                head_ns: result.head_ns,
                change: result.change,
                interval: result.interval,
            });
        let counts = report.counts.into_iter().flat_map(|counts| counts.rows);
        Self {
            schema_version: SCHEMA_VERSION,
            date: report.run.started_at,
            head: report.head.name,
            base: report.base.name,
            verdict: report.verdict,
            cpu_model: report.host.cpu_model,
            kernel: report.host.kernel,
            metrics: metrics.collect(),
            counts: counts.map(|row| CountEntry { name: row.name, head: row.head }).collect(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or written, or is not what it should be.
pub fn run(command: &HistoryCommand) -> Result<Exit, MeasureError> {
    match command {
        HistoryCommand::Append { history, gate } => append(history, gate),
        HistoryCommand::Report { history } => {
            let course = course::of(&read(history)?);
            say(course.text.trim_end());
            Ok(Exit::judged(!course.drifts))
        }
    }
}

fn append(history: &Path, gate: &Path) -> Result<Exit, MeasureError> {
    let usage = |path: &Path, why: String| MeasureError::Usage(format!("{}: {why}", path.display()));
    let json = fs::read(gate).map_err(|error| usage(gate, error.to_string()))?;
    let report: Report = serde_json::from_slice(&json).map_err(|error| usage(gate, error.to_string()))?;
    if report.schema_version != report::SCHEMA_VERSION {
        return Err(usage(gate, format!("schema_version {} is not known", report.schema_version)));
    }
    // What is there must be a history, so that a mistyped name does not spoil another file.
    match read(history) {
        Err(MeasureError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        other => drop(other?),
    }
    let mut line = serde_json::to_vec(&Entry::from(report))?;
    line.push(b'\n');
    let file = OpenOptions::new().create(true).append(true).open(history);
    file.and_then(|mut file| file.write_all(&line))
        .map_err(MeasureError::io(format!("write {}", history.display())))?;
    Ok(Exit::Good)
}

/// Reads a history.
fn read(path: &Path) -> Result<Vec<Entry>, MeasureError> {
    let error = || MeasureError::io(format!("read {}", path.display()));
    let size = fs::metadata(path).map_err(error())?.len();
    if size > FILE_BYTES_MAX {
        return Err(MeasureError::Usage(format!("{}: {size} bytes are no history", path.display())));
    }
    let text = fs::read_to_string(path).map_err(error())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let entry = |(index, line): (usize, &str)| {
        let at = |why: String| MeasureError::Usage(format!("{}: line {}: {why}", path.display(), index + 1));
        let entry: Entry = serde_json::from_str(line).map_err(|error| at(error.to_string()))?;
        match entry.schema_version {
            SCHEMA_VERSION => Ok(entry),
            other => Err(at(format!("schema_version {other} is not known"))),
        }
    };
    lines.map(entry).collect()
}
