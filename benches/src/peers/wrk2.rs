//! wrk2: its arguments, and the figures in what it prints.

use std::time::Duration;

use super::Load;
use crate::stalling::Times;

/// It measures after so long, and looks only every two seconds whether it is to end.
const CALIBRATION: Duration = Duration::from_secs(10);

/// It opens a connection every so often, and its calibration begins after the last.
const BETWEEN_CONNECTS: Duration = Duration::from_millis(5);

/// Longer than a connection waits for its turn at the lowest rates: it would take that for a timeout.
const TIMEOUT: &str = "60s";

/// One thread, latencies from when a request was due. Its time begins with the first connection.
pub(super) fn args(load: &Load) -> Vec<String> {
    let connects = BETWEEN_CONNECTS * u32::try_from(load.connections).unwrap_or(u32::MAX);
    let seconds = (CALIBRATION + connects + load.duration).as_secs_f64().ceil();
    vec![
        "-t1".to_owned(),
        format!("-c{}", load.connections),
        format!("-d{seconds}s"),
        format!("-R{}", load.rate.round()),
        "--timeout".to_owned(),
        TIMEOUT.to_owned(),
        "--latency".to_owned(),
        load.target.to_string(),
    ]
}

/// The median, p99 and p99.9 stand in its summary; p95 only in its spectrum, in ms.
pub(super) fn times(text: &str) -> Result<Times, String> {
    let found = || {
        let of = |percent| summary_ms(text, percent);
        Some(Times {
            p50_ms: of("50.000%")?,
            tail_ms: [spectrum_ms(text, 0.95)?, of("99.000%")?, of("99.900%")?],
        })
    };
    found().ok_or_else(|| "tells no latencies (is it wrk2?)".to_owned())
}

/// The figure of a line such as ` 99.000%   90.30ms`.
fn summary_ms(text: &str, percent: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_prefix(percent).and_then(|rest| ms(rest.trim())))
}

fn ms(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 60e3)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

/// The value of the first line of the spectrum (value, part, count, inverse) that has reached this part.
fn spectrum_ms(text: &str, part: f64) -> Option<f64> {
    let lines = text.lines().skip_while(|line| !line.contains("1/(1-Percentile)"));
    lines.filter_map(value_and_part).find(|(_, reached)| *reached >= part).map(|(value, _)| value)
}

fn value_and_part(line: &str) -> Option<(f64, f64)> {
    let mut fields = line.split_whitespace().map(str::parse::<f64>);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadgen::Target;

    /// Its own words, shortened.
    const SAID: &str = "\
Running 20s test @ http://127.0.0.1:1/health
  1 threads and 50 connections
  Thread calibration: mean lat.: 5.925ms, rate sampling interval: 35ms
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     5.90ms   17.32ms 101.63ms   90.53%
    Req/Sec     2.07k   641.20     5.26k    87.81%
  Latency Distribution (HdrHistogram - Recorded Latency)
 50.000%  980.00us
 75.000%    1.52ms
 90.000%    2.02ms
 99.000%   90.81ms
 99.900%   99.97ms
 99.990%  101.18ms
 99.999%  101.69ms
100.000%    1.02s 

  Detailed Percentile spectrum:
       Value   Percentile   TotalCount 1/(1-Percentile)

       0.048     0.000000            1         1.00
       1.980     0.900000        17999        10.00
      44.319     0.943750        18875        17.78
      50.687     0.950000        19000        20.00
      57.055     0.956250        19126        22.86
#[Mean    =        5.898, StdDeviation   =       17.322]
----------------------------------------------------------
  39998 requests in 20.00s, 2.14MB read
";

    #[test]
    fn its_figures_are_found() {
        assert_eq!(times(SAID), Ok(Times { p50_ms: 0.98, tail_ms: [50.687, 90.81, 99.97] }));
        assert_eq!(ms("1.02s"), Some(1020.0));
        assert_eq!(ms("1.50m"), Some(90_000.0));
        assert_eq!(ms("fast"), None);
    }

    #[test]
    fn figures_that_are_missing_are_told() {
        for cut in ["50.000%", "0.950000", "99.900%"] {
            let text = &SAID[..SAID.find(cut).unwrap()];
            assert!(times(text).unwrap_err().contains("tells no latencies"), "{cut}");
        }
    }

    #[test]
    fn it_runs_for_its_calibration_and_its_connections_as_well() {
        let load = Load {
            target: Target::Http("127.0.0.1:1".parse().unwrap()),
            rate: 4000.0,
            connections: 5_000,
            duration: Duration::from_secs(10),
            cpu: None,
        };
        let args = args(&load);
        assert!(args.contains(&"-d45s".to_owned()) && args.contains(&"-R4000".to_owned()), "{args:?}");
        assert_eq!(args.last().unwrap(), "http://127.0.0.1:1/health");
    }
}
