//! `junit.xml`: the result for what collects tests. A metric is a test; one that could not be told was skipped.

use std::fmt::Write as _;

use super::figures::{Change, count, interval, ns};
use crate::gate::decision::{MetricDecision, Verdict};
use crate::gate::report::{Report, Times};

/// A test as it goes into the file.
struct Case {
    tier: &'static str,
    name: String,
    verdict: Verdict,
    message: String,
}

/// Renders the report.
pub fn render(report: &Report) -> String {
    let cases = cases(report);
    let of = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<testsuites>\n  <testsuite name=\"tidemark-gate\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" \
         time=\"{:.3}\" timestamp=\"{}\">",
        cases.len(),
        of(Verdict::Fail),
        of(Verdict::Inconclusive),
        report.run.took_s,
        // RFC 3339 of ours is ISO 8601 as the schema wants it, but for the zone.
        escape(report.run.started_at.trim_end_matches('Z'))
    );
    for case in &cases {
        let (name, message) = (escape(&case.name), escape(&case.message));
        let open = format!("    <testcase classname=\"tidemark-gate.{}\" name=\"{name}\"", case.tier);
        let _ = match case.verdict {
            Verdict::Pass => writeln!(out, "{open}/>"),
            Verdict::Inconclusive => {
                writeln!(out, "{open}>\n      <skipped message=\"{message}\"/>\n    </testcase>")
            }
            Verdict::Fail => {
                writeln!(
                    out,
                    "{open}>\n      <failure type=\"regression\" message=\"{message}\"/>\n    </testcase>"
                )
            }
        };
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn cases(report: &Report) -> Vec<Case> {
    let counts = report.counts.iter().flat_map(|counts| &counts.rows).map(|row| {
        let [base, head, limit] = [row.base, row.head, row.limit].map(count);
        Case {
            tier: "counts",
            name: row.name.clone(),
            verdict: row.verdict,
            message: format!("{head} instead of {base}; at most {limit} is allowed"),
        }
    });
    let times = report.times.iter().flat_map(Times::rows).map(|(metric, decision)| Case {
        tier: "times",
        name: metric.name().to_owned(),
        verdict: decision.map_or(Verdict::Inconclusive, |decision| decision.verdict),
        message: decision.map_or_else(|| "no look was reached".to_owned(), message),
    });
    let missing = report.counts.iter().flat_map(|counts| &counts.not_counted).map(|missing| Case {
        tier: "counts",
        name: missing.what.clone(),
        verdict: Verdict::Inconclusive,
        message: missing.why.clone(),
    });
    counts.chain(missing).chain(times).collect()
}

fn message(decision: &MetricDecision) -> String {
    format!(
        "{} instead of {}: {} (95 % interval {}); the margin is {}",
        ns(decision.head_ns),
        ns(decision.base_ns),
        Change(decision.change),
        interval(decision),
        Change(decision.margin)
    )
}

/// Text within an attribute. What XML 1.0 cannot hold at all becomes a question mark.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\r' | '\t' => escaped.push(' '),
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            letter => escaped.push(letter),
        }
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
    fn markup_in_a_name_stays_text() {
        assert_eq!(escape("a<b>&\"c\"\u{1}\n"), "a&lt;b&gt;&amp;&quot;c&quot;? ");
    }
}
