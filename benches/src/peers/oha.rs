//! oha: its arguments, and the figures in the JSON that it prints.

use std::collections::BTreeMap;

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

use super::Load;
use crate::error::MeasureError;
use crate::loadgen::Target;
use crate::pinned;
use crate::session::Session;
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

/// What matters of a closed loop.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SaidRate {
    summary: Summary,
    #[serde(default)]
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    requests_per_sec: f64,
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

/// Requests per second in closed loop.
///
/// # Errors
/// When it cannot be run, or not every request went well.
pub fn requests_per_s(
    session: &Session,
    cpu: usize,
    connections: usize,
    seconds: u64,
    target: SocketAddr,
) -> Result<f64, MeasureError> {
    let mut args: Vec<String> = ["--no-tui", "--output-format", "json"].map(str::to_owned).to_vec();
    args.extend(["-c".to_owned(), connections.to_string(), "-z".to_owned(), format!("{seconds}s")]);
    args.push(Target::Http(target).to_string());
    let text = pinned::output(session, Some(cpu), Path::new("oha"), &args)?;
    rate(&text).map_err(|why| MeasureError::Client { program: "oha".to_owned(), why })
}

/// The rate, when all went well. What is under way when its time is over is cut off, and is no failure.
fn rate(text: &str) -> Result<f64, String> {
    const CUT_OFF: &str = "aborted due to deadline";
    let said: SaidRate = serde_json::from_str(text).map_err(|error| format!("is not understood: {error}"))?;
    match said.error_distribution.iter().find(|(error, _)| error.as_str() != CUT_OFF) {
        Some((error, count)) => Err(format!("{count} requests failed: {error}")),
        None => Ok(said.summary.requests_per_sec),
    }
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
    fn a_rate_is_believed_when_nothing_failed_but_what_was_cut_off() {
        let said = |errors: &str| {
            format!(r#"{{"summary": {{"requestsPerSec": 25000.5}}, "errorDistribution": {{{errors}}}}}"#)
        };
        assert_eq!(rate(&said(r#""aborted due to deadline": 100"#)), Ok(25_000.5));
        assert_eq!(
            rate(&said(r#""Connection refused": 3"#)).unwrap_err(),
            "3 requests failed: Connection refused"
        );
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
