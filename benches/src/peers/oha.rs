//! oha: its arguments, and the figures in the JSON that it prints.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Load;
use crate::stalling::Times;

/// What matters here of what it prints. All else is allowed and ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    /// By name, such as `p99.9`, in s; null when nothing was answered.
    latency_percentiles: BTreeMap<String, Option<f64>>,
    /// How often, by what went wrong.
    #[serde(default)]
    error_distribution: BTreeMap<String, u64>,
}

/// Latencies from when a request was due; what is under way at the end is waited for, as it counts.
pub(super) fn args(load: &Load) -> Vec<String> {
    let flags = ["--no-tui", "--output-format", "json", "--latency-correction", "-w"];
    let mut args: Vec<String> = flags.map(str::to_owned).to_vec();
    args.extend(["-q".to_owned(), load.rate.to_string()]);
    args.extend(["-c".to_owned(), load.connections.to_string()]);
    args.extend(["-z".to_owned(), format!("{}ms", load.duration.as_millis())]);
    args.push(load.target.to_string());
    args
}

/// The figures, when all went well.
pub(super) fn times(text: &str) -> Result<Times, String> {
    let said: Said = serde_json::from_str(text).map_err(|error| format!("is not understood: {error}"))?;
    if let Some((error, count)) = said.error_distribution.first_key_value() {
        return Err(format!("{count} requests failed: {error}"));
    }
    let ms = |name: &str| said.latency_percentiles.get(name).copied().flatten().map(|seconds| seconds * 1e3);
    let found = || Some(Times { p50_ms: ms("p50")?, tail_ms: [ms("p95")?, ms("p99")?, ms("p99.9")?] });
    found().ok_or_else(|| "tells no latencies".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::loadgen::Target;

    fn said(percentiles: &str, errors: &str) -> String {
        format!(
            r#"{{"summary": {{"successRate": 1.0, "total": 10.0}}, "latencyPercentiles": {{{percentiles}}},
                "rps": {{"mean": 2000.0}}, "statusCodeDistribution": {{"200": 20000}}, "errorDistribution": {{{errors}}}}}"#
        )
    }

    const PERCENTILES: &str =
        r#""p10": 0.0005, "p50": 0.00125, "p90": 0.001, "p95": 0.0505, "p99": 0.09, "p99.9": 0.25"#;

    #[test]
    fn its_figures_are_found() {
        assert_eq!(times(&said(PERCENTILES, "")), Ok(Times { p50_ms: 1.25, tail_ms: [50.5, 90.0, 250.0] }));
    }

    #[test]
    fn what_went_wrong_is_told_instead_of_figures() {
        let error = times(&said(PERCENTILES, r#""Connection refused": 3"#)).unwrap_err();
        assert_eq!(error, "3 requests failed: Connection refused");
        assert_eq!(times(&said(r#""p50": null"#, "")).unwrap_err(), "tells no latencies");
        assert!(times("oha: no").unwrap_err().starts_with("is not understood"));
    }

    #[test]
    fn it_is_asked_for_corrected_latencies_at_the_rate() {
        let load = Load {
            target: Target::Http("127.0.0.1:1".parse().unwrap()),
            rate: 4000.0,
            connections: 50,
            duration: Duration::from_millis(1500),
            cpu: None,
        };
        let args = args(&load).join(" ");
        assert!(args.contains("--latency-correction"), "{args}");
        assert!(args.ends_with("-q 4000 -c 50 -z 1500ms http://127.0.0.1:1/health"), "{args}");
    }
}
