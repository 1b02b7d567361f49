//! `decide`: judges recorded slots again, for whoever does not believe it.

use super::cli::DecideArgs;
use super::decision::{self, Verdict};
use super::present::table;
use super::record::Record;
use super::report::{Ended, Report, Run, SCHEMA_VERSION, Side};
use super::run::say;
use super::{tier_b, verdict};
use crate::error::MeasureError;
use tidemark_program::Exit;

/// Runs the command.
///
/// # Errors
/// When the record cannot be read, or no decision can be made on it.
pub fn run(args: &DecideArgs) -> Result<Exit, MeasureError> {
    let report = report(Record::read(&args.record)?)?;
    say(table::render(&report).trim_end());
    Ok(report.verdict.exit())
}

/// What the run would have reported. What a record does not tell is zero.
fn report(record: Record) -> Result<Report, MeasureError> {
    let decision = decision::decide(&record.blocks(), &record.header.metrics)?;
    let ended = match (decision.verdict, decision.next_look) {
        (_, Some(_)) => Ended::OutOfBlocks,
        (Verdict::Inconclusive, None) => Ended::NoLook,
        (_, None) => Ended::Decided,
    };
    let Record { header, slots } = record;
    let times = tier_b::times(ended, &header, decision, slots);
    let side = |name: String| Side { name, server_bytes: 0 };
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        verdict: Verdict::Inconclusive,
        why: String::new(),
        run: Run {
            started_at: header.started_at,
            took_s: 0.0,
            budget_s: 0.0,
            seed: header.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        base: side(header.base),
        head: side(header.head),
        identical: false,
        host: header.host,
        counts: None,
        times: Some(times),
    };
    (report.verdict, report.why) = verdict::of(&report);
    Ok(report)
}
