//! Runs that are drawn from recorded slots of a build against itself: the noise is real, and what is injected is exact.
//!
//! A run is put together from stretches of consecutive blocks, each from a recorded run and a place in it that are drawn, so that
//! what lasts for more than a block stays together. In each block it is drawn which side is called head: both are the same
//! build, so that every labelling is as true as the one that was recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Expected, Row};
use crate::error::MeasureError;
use crate::gate::cli::SelftestArgs;
use crate::gate::decision::{self, Verdict};
use crate::gate::metric::Metric;
use crate::gate::record::Record;
use crate::gate::run::say;
use crate::gate::slot::Block;
use crate::statistics::Side;

/// Blocks that stay together.
const STRETCH_BLOCKS: usize = 4;

/// A run is over after this, as by default.
const BUDGET: Duration = Duration::from_secs(600);

/// What is injected, and how often.
struct Case {
    name: &'static str,
    expected: Expected,
    runs: usize,
    /// By how much head's figures are larger.
    more: &'static [(Metric, f64)],
}

const CASES: [Case; 4] = [
    // With no failure in 59, fewer than 5 in 100 are shown with 95 % confidence.
    Case { name: "the same build", expected: Expected::NeverFail, runs: 59, more: &[] },
    Case {
        name: "5 % more CPU time per request",
        expected: Expected::FailInMost,
        runs: 20,
        more: &[(Metric::CpuPerEcho, 0.05), (Metric::CpuPerHttpRequest, 0.05)],
    },
    Case {
        name: "10 % more response_p50",
        expected: Expected::FailInMost,
        runs: 20,
        more: &[(Metric::ResponseP50, 0.10)],
    },
    Case {
        name: "20 % more response_p99",
        expected: Expected::FailInMost,
        runs: 20,
        more: &[(Metric::ResponseP99, 0.20)],
    },
];

/// Recorded runs of builds against themselves.
#[derive(Debug)]
pub struct Recorded {
    /// The blocks of each, in order.
    runs: Vec<Vec<Block>>,
    /// So many blocks are measured within the budget.
    blocks_max: usize,
}

impl Recorded {
    /// Reads every record of a directory.
    ///
    /// # Errors
    /// When there is none, or one is not whole, or is of two different builds.
    pub fn read(directory: &Path) -> Result<Self, MeasureError> {
        let usage = |why: String| MeasureError::Usage(format!("{}: {why}", directory.display()));
        let entries = fs::read_dir(directory).map_err(|error| {
            usage(format!("{error}; name a directory of records with --records, or a build with --build"))
        })?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| {
            let name = path.to_string_lossy();
            name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")
        });
        // The order of a directory is nobody's.
        paths.sort();
        let mut runs = Vec::new();
        let (mut took_ms, mut slots) = (0, 0);
        for path in &paths {
            let record = Record::read(path)?;
            if let Some(missing) =
                Metric::ALL.into_iter().find(|metric| !record.header.metrics.contains(metric))
            {
                return Err(usage(format!("{} has no {}", path.display(), missing.name())));
            }
            took_ms += record.slots.iter().map(|slot| slot.took_ms).sum::<u64>();
            slots += record.slots.len() as u64;
            runs.push(record.blocks());
        }
        runs.retain(|blocks| blocks.len() >= STRETCH_BLOCKS);
        if runs.is_empty() {
            return Err(usage(
                "there is no record of at least 4 blocks (blocks.jsonl, or packed: .jsonl.gz)".to_owned(),
            ));
        }
        let block = Duration::from_millis((4 * took_ms).checked_div(slots).unwrap_or_default());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive quotient; as saturates"
        )]
        let blocks_max = (BUDGET.as_secs_f64() / block.as_secs_f64().max(1e-3)) as usize;
        Ok(Self { runs, blocks_max })
    }

    /// One run, of which head is slower by what is injected.
    fn draw(&self, rng: &mut Xoshiro256PlusPlus, more: &[(Metric, f64)]) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(self.blocks_max);
        while blocks.len() < self.blocks_max {
            let run = &self.runs[rng.random_range(0..self.runs.len())];
            let first = rng.random_range(0..=run.len() - STRETCH_BLOCKS);
            for block in &run[first..first + STRETCH_BLOCKS] {
                blocks.push(slowed(relabelled(block.clone(), rng.random()), more));
            }
        }
        blocks.truncate(self.blocks_max);
        blocks
    }
}

fn relabelled(mut block: Block, swap: bool) -> Block {
    if swap {
        for slot in &mut block.slots {
            slot.side = match slot.side {
                Side::Base => Side::Head,
                Side::Head => Side::Base,
            };
        }
    }
    block
}

fn slowed(mut block: Block, more: &[(Metric, f64)]) -> Block {
    for slot in block.slots.iter_mut().filter(|slot| slot.side == Side::Head) {
        for (metric, more) in more {
            if let Some(figure) = slot.figures.get_mut(metric) {
                *figure *= 1.0 + more;
            }
        }
    }
    block
}

/// Runs every case.
///
/// # Errors
/// When a record cannot be read.
pub fn run(args: &SelftestArgs) -> Result<Vec<Row>, MeasureError> {
    let recorded = Recorded::read(&args.records)?;
    say(&format!(
        "runs of at most {} blocks, drawn from {} recorded runs of {} blocks in all, seed {}",
        recorded.blocks_max,
        recorded.runs.len(),
        recorded.runs.iter().map(Vec::len).sum::<usize>(),
        args.seed
    ));
    table(&recorded, args.seed)
}

fn table(recorded: &Recorded, seed: u64) -> Result<Vec<Row>, MeasureError> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut rows = Vec::new();
    for case in &CASES {
        let mut row = Row::new(case.name, case.expected);
        for _ in 0..case.runs {
            let decision = decision::decide(&recorded.draw(&mut rng, case.more), &Metric::ALL)?;
            // It must fail for the right reason.
            let failed = decision.metrics.iter().filter(|metric| metric.verdict == Verdict::Fail);
            let is_injected = |metric| case.more.iter().any(|&(injected, _)| injected == metric);
            let by_injected = failed.map(|metric| metric.metric).any(is_injected);
            row.count(match decision.verdict {
                Verdict::Fail if !case.more.is_empty() && !by_injected => Verdict::Inconclusive,
                verdict => verdict,
            });
        }
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of this repository: real runs of a build against itself, on a virtual machine with two CPUs.
    fn ours() -> Recorded {
        Recorded::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded")).unwrap()
    }

    #[test]
    fn on_real_noise_the_same_build_never_fails_and_a_slower_one_does() {
        let recorded = ours();
        assert!(recorded.runs.len() >= 10, "{} runs", recorded.runs.len());
        let rows = table(&recorded, 1).unwrap();
        assert!(rows.iter().all(Row::is_met), "{}", super::super::render(&rows));
    }

    #[test]
    fn as_they_were_recorded_none_fails() {
        for run in ours().runs {
            let decision = decision::decide(&run, &Metric::ALL).unwrap();
            assert_ne!(decision.verdict, Verdict::Fail, "{:?}", decision.reasons);
        }
    }

    #[test]
    fn a_directory_without_records_is_wrong_usage() {
        let empty = tempfile::tempdir().unwrap();
        let error = Recorded::read(empty.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("there is no record of at least 4 blocks (blocks.jsonl, or packed: .jsonl.gz)"),
            "{error}"
        );
        let error = Recorded::read(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere: No such file or directory"), "{error}");
    }
}
