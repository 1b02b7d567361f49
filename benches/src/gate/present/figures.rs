//! Figures as they are shown.

use std::fmt;

use tidemark_loadgen::report::units::Ns;

use crate::gate::decision::MetricDecision;
use crate::gate::metric::Metric;

/// A change as a percentage with its sign.
#[derive(Clone, Copy, Debug)]
pub struct Change(pub f64);

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        let decimals = usize::from(percent.abs() < 99.95);
        // What rounds to nothing has no sign.
        let percent = if percent.abs() < 0.05 { 0.0 } else { percent };
        let sign = if percent > 0.0 { "+" } else { "" };
        f.pad(&format!("{sign}{percent:.decimals$} %"))
    }
}

/// A figure of a metric. All of them are in ns.
pub fn ns(figure: f64) -> Ns {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; as saturates")]
    Ns(figure.round() as u64)
}

/// What is not known is a dash.
pub fn or_dash(figure: Option<impl fmt::Display>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string())
}

/// The interval of a change.
pub fn interval(decision: &MetricDecision) -> String {
    or_dash(decision.interval.map(|(lower, upper)| format!("{} to {}", Change(lower), Change(upper))))
}

/// A count with as many decimals as it needs to tell small changes of small counts.
pub fn count(figure: f64) -> String {
    // What rounds to a whole number is one, and none has a sign.
    let rounded = (figure * 1000.0).round() / 1000.0;
    if rounded.fract() == 0.0 || figure >= 1000.0 {
        format!("{:.0}", rounded.abs())
    } else {
        format!("{figure:.3}")
    }
}

/// So many of a thing.
pub fn plural(count: usize, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

/// What a metric is, in words.
pub const fn meaning(metric: Metric) -> &'static str {
    match metric {
        Metric::CpuPerEcho => "CPU time of the server per echo",
        Metric::CpuPerHttpRequest => "CPU time of the server per HTTP request",
        Metric::ResponseP50 => "median of the response time",
        Metric::ResponseP99 => "99th percentile of the response time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_a_sign_unless_it_rounds_to_nothing() {
        let shown = [0.051, -0.0123, 0.0004, -0.0004, 1.5].map(|change| Change(change).to_string());
        assert_eq!(shown, ["+5.1 %", "-1.2 %", "0.0 %", "0.0 %", "+150 %"]);
    }

    #[test]
    fn counts_keep_what_matters() {
        assert_eq!([48.0, 3.0625, 12345.6].map(count), ["48", "3.062", "12346"]);
        assert_eq!([2.000_01, -0.000_2, 0.0].map(count), ["2", "0", "0"]);
    }
}
