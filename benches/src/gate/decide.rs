//! `decide`: judges recorded slots again, for whoever does not believe it.

use super::cli::DecideArgs;
use super::present::table;
use super::record::{Record, blocks};
use super::report::{Ended, Report, Run, SCHEMA_VERSION, Side, Times, Verdict};
use super::run::say;
use super::{judge, tier_b, verdict};
use crate::error::MeasureError;
use tidemark_program::Exit;

/// Runs the command.
///
/// # Errors
/// When the record cannot be read.
pub fn run(args: &DecideArgs) -> Result<Exit, MeasureError> {
    let report = report(Record::read(&args.record)?);
    say(table::render(&report).trim_end());
    Ok(report.verdict.exit())
}

/// What the run would have reported: its looks are taken one after the other, and the first that decides is the last.
pub fn report(record: Record) -> Report {
    let times = times(&record);
    let side = |name: String| Side { name, server_bytes: 0 };
    let header = record.header;
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
    report
}

fn times(record: &Record) -> Times {
    let Record { header, slots } = record;
    let whole = slots.len() / 4;
    let mut done = 0;
    while let Some(look) = judge::next_look(done).filter(|&look| look <= whole) {
        done = look;
        let seen = &slots[..4 * look];
        if judge::is_decided(&blocks(seen), &header.metrics) {
            return tier_b::times(Ended::Decided, header, seen.to_vec());
        }
    }
    let ended = if judge::next_look(done).is_some() { Ended::OutOfBlocks } else { Ended::LastLook };
    tier_b::times(ended, header, slots[..4 * whole].to_vec())
}
