//! The result as tables for people.

use std::fmt::Write as _;

use super::figures::{Change, count, interval, ns, or_dash, plural};
use crate::gate::report::{Counts, Ended, Report, Times};

/// Renders the report. Lines end in `\n`.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "base  {}\nhead  {}", report.base.name, report.head.name);
    if report.identical {
        let _ = writeln!(out, "Both servers are the same, byte by byte: whatever differs below is noise.");
    }
    if let Some(counts) = &report.counts {
        let _ = writeln!(out);
        self::counts(&mut out, counts);
    }
    if let Some(times) = &report.times {
        let _ = writeln!(out);
        self::times(&mut out, times, report.run.seed);
    }
    let _ = writeln!(out, "\n{}: {}", report.verdict, report.why);
    out
}

/// Of what a count is made up of, what differs by less than this is not shown.
const PART_SHOWN_MIN: f64 = 0.02;

// Writing to a String cannot fail, so the results of `writeln!` on it are dropped throughout.

fn counts(out: &mut String, counts: &Counts) {
    let width = counts.rows.iter().map(|row| row.name.len()).max().unwrap_or_default().max(28);
    let _ = writeln!(out, "{:width$} {:>10} {:>10} {:>10}", "counts", "base", "head", "limit");
    for row in &counts.rows {
        let figures = [row.base, row.head, row.limit].map(count);
        let [base, head, limit] = figures;
        let _ = writeln!(out, "{:width$} {base:>10} {head:>10} {limit:>10}  {}", row.name, row.verdict);
        for part in row.parts.iter().filter(|part| (part.base - part.head).abs() >= PART_SHOWN_MIN) {
            let [base, head] = [part.base, part.head].map(count);
            let _ = writeln!(out, "  {:inner$} {base:>10} {head:>10}", part.name, inner = width - 2);
        }
    }
    for missing in &counts.not_counted {
        let _ = writeln!(out, "not counted: {}: {}", missing.what, missing.why);
    }
}

fn times(out: &mut String, times: &Times, seed: u64) {
    let _ = writeln!(
        out,
        "{:22} {:>9} {:>9} {:>8}  {:18} {:>7} {:>9}",
        "times", "base", "head", "change", "95 % interval", "margin", "seen from"
    );
    for (metric, decision) in times.rows() {
        let Some(decision) = decision else {
            let _ = writeln!(out, "{:22} no look was reached", metric.name());
            continue;
        };
        let _ = writeln!(
            out,
            "{:22} {:>9} {:>9} {:>8}  {:18} {:>7} {:>9}  {}",
            metric.name(),
            ns(decision.base_ns),
            ns(decision.head_ns),
            Change(decision.change),
            interval(decision),
            Change(decision.margin),
            or_dash(decision.detectable.map(Change)),
            decision.verdict
        );
    }
    let ended = match times.ended {
        Ended::Decided | Ended::NoLook => "",
        Ended::OutOfTime => ", and no time for more",
        Ended::OutOfBlocks => ", and no more were recorded",
    };
    let _ = writeln!(
        out,
        "{} of 4 slots, {} left out{ended}; seed {seed}{}",
        plural(times.blocks, "block"),
        times.decision.left_out,
        distrusted(times)
    );
}

/// How many slots the load generator did not trust.
fn distrusted(times: &Times) -> String {
    let trusts = || times.slots.iter().filter_map(|slot| slot.trust.as_ref());
    match trusts().filter(|trust| !trust.valid).count() {
        0 => String::new(),
        bad => format!(
            "; the load generator distrusts {bad} of its {} runs (they count all the same)",
            trusts().count()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::present::sample;

    #[test]
    fn a_regression() {
        insta::assert_snapshot!(render(&sample::fail()));
    }

    #[test]
    fn a_run_that_cannot_tell() {
        insta::assert_snapshot!(render(&sample::inconclusive()));
    }
}
