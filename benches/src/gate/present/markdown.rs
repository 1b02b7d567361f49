//! `summary.md`: the result for the page of a pull request.

use std::fmt::Write as _;

use super::figures::{Change, count, interval, meaning, ns, plural};
use crate::gate::decision::Verdict;
use crate::gate::report::{Counts, Report, Times};

/// Renders the report.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "## Performance gate: {}\n\n{}\n", report.verdict, escape(&report.why));
    let _ = writeln!(out, "Base is {}, head is {}.", escape(&report.base.name), escape(&report.head.name));
    if report.identical {
        let _ = writeln!(out, "Both servers are the same, byte by byte: whatever differs below is noise.");
    }
    if let Some(times) = &report.times {
        self::times(&mut out, times);
    }
    if let Some(counts) = &report.counts {
        self::counts(&mut out, counts);
    }
    limits(&mut out, report);
    reproduce(&mut out, report);
    out
}

// Writing to a String cannot fail, so the results of `writeln!` on it are dropped throughout.

fn times(out: &mut String, times: &Times) {
    let _ = writeln!(out, "\n| | base | head | change | 95 % interval | margin | verdict |");
    let _ = writeln!(out, "|---|--:|--:|--:|:-:|--:|---|");
    for (metric, decision) in times.rows() {
        let Some(decision) = decision else {
            let _ = writeln!(out, "| {} | | | | | | no look was reached |", meaning(metric));
            continue;
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            meaning(metric),
            ns(decision.base_ns),
            ns(decision.head_ns),
            Change(decision.change),
            interval(decision),
            Change(decision.margin),
            emphasis(decision.verdict)
        );
    }
}

fn counts(out: &mut String, counts: &Counts) {
    let _ = writeln!(out, "\n| count | base | head | limit | verdict |");
    let _ = writeln!(out, "|---|--:|--:|--:|---|");
    for row in &counts.rows {
        let [base, head, limit] = [row.base, row.head, row.limit].map(count);
        let _ = writeln!(
            out,
            "| {} | {base} | {head} | {limit} | {} |",
            escape(&row.name),
            emphasis(row.verdict)
        );
    }
    for missing in &counts.not_counted {
        let _ = writeln!(out, "\nNot counted: {}: {}.", escape(&missing.what), escape(&missing.why));
    }
}

fn emphasis(verdict: Verdict) -> String {
    if verdict == Verdict::Fail { format!("**{verdict}**") } else { verdict.to_string() }
}

/// What this run could see, and what none can.
fn limits(out: &mut String, report: &Report) {
    let _ = writeln!(out, "\n**What this can and cannot see.**");
    if let Some(times) = &report.times {
        let seen: Vec<String> = times
            .decision
            .metrics
            .iter()
            .filter_map(|decision| {
                Some(format!("{} in {}", Change(decision.detectable?), meaning(decision.metric)))
            })
            .collect();
        let _ = writeln!(
            out,
            "Times are of {} of four slots, base and head in turn on one machine; {} left out because others had too much of \
             the machine.",
            plural(times.blocks, "block"),
            match times.decision.left_out {
                0 => "none was".to_owned(),
                1 => "1 was".to_owned(),
                many => format!("{many} were"),
            }
        );
        if !seen.is_empty() {
            let _ = writeln!(
                out,
                "With the noise of this run, four slow-downs in five would be found from here on: {}.",
                seen.join(", ")
            );
        }
    }
    let _ = writeln!(
        out,
        "Only loopback echo and `GET /health` are measured: a slow-down of anything else, or of other hardware, is not seen."
    );
}

fn reproduce(out: &mut String, report: &Report) {
    let revision = |name| commit_of(name).replace('`', "");
    let host = &report.host;
    let cpus = host.cpus.map(|cpus| format!("{cpus} CPUs, ")).unwrap_or_default();
    let _ = writeln!(
        out,
        "\n**To reproduce it:** `scripts/perf-gate {} {} --seed {}`. It took {:.0} s on {cpus}{}, Linux {}. \
         The slots are in `blocks.jsonl`; `tidemark-gate decide blocks.jsonl` judges them again.",
        revision(&report.base.name),
        revision(&report.head.name),
        report.run.seed,
        report.run.took_s,
        escape(&host.cpu_model),
        escape(&host.kernel)
    );
}

/// The commit that `scripts/perf-gate` puts in brackets behind a revision, which may mean another one by tomorrow.
fn commit_of(name: &str) -> &str {
    let commit = name.strip_suffix(')').and_then(|name| name.rsplit_once(" (")).map(|(_, commit)| commit);
    commit.unwrap_or(name)
}

/// Text that is a branch's or a machine's name, and must not become markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&' | '@') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
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

    #[test]
    fn a_hostile_branch_name_is_no_markup() {
        let mut report = sample::fail();
        report.head.name = "a|b`c<img src=x>".to_owned();
        let markdown = render(&report);
        assert!(markdown.contains(r"head is a\|b\`c\<img src=x\>."), "{markdown}");
        assert!(!markdown.contains("b`c"), "{markdown}");
    }
}
