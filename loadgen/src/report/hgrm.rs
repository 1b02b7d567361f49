//! `POPULATION.KIND.hgrm`: a distribution as text, in the form of HdrHistogram's `outputPercentileDistribution`, which its
//! plotter and others read. Values are in ms.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::record::SIGNIFICANT_DIGITS;

const NS_PER_MS: f64 = 1e6;
/// Lines between a percentile and the one half as far from 100: what the Java tools write by default.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Renders the distribution of values in ns.
pub fn render(histogram: &Histogram<u64>) -> String {
    // Writing to a String cannot fail.
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let value_ms = step.value_iterated_to() as f64 / NS_PER_MS;
        let quantile = step.quantile_iterated_to();
        let _ = write!(out, "{value_ms:12.6} {quantile:14.12} {total:10}");
        // The maximum has no such figure: it would be infinite, and the plotter ends there.
        let _ =
            if quantile < 1.0 { writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(out) };
    }
    let (mean_ms, stdev_ms) = (histogram.mean() / NS_PER_MS, histogram.stdev() / NS_PER_MS);
    let max_ms = histogram.max() as f64 / NS_PER_MS;
    let _ = writeln!(out, "#[Mean    = {mean_ms:12.6}, StdDeviation   = {stdev_ms:12.6}]");
    let _ = writeln!(out, "#[Max     = {max_ms:12.6}, Total count    = {:12}]", histogram.len());
    let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), sub_buckets());
    out
}

/// Buckets of equal width in each power of two: enough to tell values apart to the digits that are kept.
fn sub_buckets() -> u64 {
    (2 * 10_u64.pow(u32::from(SIGNIFICANT_DIGITS))).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::latency_histogram;

    #[test]
    fn the_distribution_as_text() {
        let mut histogram = latency_histogram();
        for value in 1..=1000 {
            histogram.record(value * 10_000).unwrap();
        }
        insta::assert_snapshot!(render(&histogram));
    }

    #[test]
    fn the_plotter_finds_four_columns_up_to_the_maximum() {
        let mut histogram = latency_histogram();
        histogram.record_n(1_000_000, 900).unwrap();
        histogram.record_n(59_000_000_000, 100).unwrap();
        let text = render(&histogram);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|column| column.parse().unwrap()).collect())
            .collect();
        let (last, others) = rows.split_last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 1000.0));
        assert!(others.iter().all(|row| row.len() == 4), "{text}");
        assert!(
            rows.is_sorted_by(|one, next| one[0] <= next[0] && one[1] <= next[1] && one[2] <= next[2]),
            "{text}"
        );
    }
}
