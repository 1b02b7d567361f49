//! Reports for snapshots.

use tidemark_host::facts::{Facts, facts};

use crate::gate::measure::Work;
use crate::gate::metric::Metric;
use crate::gate::report::{Count, Ended, MetricResult, Report, Run, SCHEMA_VERSION, Side, Times, Verdict};

fn host() -> Facts {
    Facts { cpus: Some(2), cpu_model: "Some CPU @ 2.50GHz".to_owned(), kernel: "6.1.0".to_owned(), ..facts() }
}

fn result(metric: Metric, verdict: Verdict, base_ns: f64, change: f64, interval: (f64, f64)) -> MetricResult {
    MetricResult {
        metric,
        verdict,
        base_ns,
        head_ns: base_ns * (1.0 + change),
        change: Some(change),
        interval: Some(interval),
        p_value: Some(0.0004),
        margin: metric.margin(),
        detectable: Some(0.031),
    }
}

fn report(verdict: Verdict, why: &str, metrics: Vec<MetricResult>, ended: Ended) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        verdict,
        why: why.to_owned(),
        run: Run {
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            took_s: 131.25,
            budget_s: 600.0,
            seed: 7,
            version: "0.1.0".to_owned(),
        },
        base: Side { name: "main (0123456789ab)".to_owned(), server_bytes: 5_000_000 },
        head: Side { name: "my-branch (ba9876543210)".to_owned(), server_bytes: 5_000_100 },
        identical: false,
        host: host(),
        counts: None,
        times: Some(Times { ended, blocks: 12, work: Work::default(), metrics, slots: Vec::new() }),
    }
}

/// A regression, found in both tiers.
pub(crate) fn fail() -> Report {
    let metrics = vec![
        result(Metric::CpuPerEcho, Verdict::Fail, 11_320.0, 0.051, (0.041, 0.063)),
        result(Metric::CpuPerHttpRequest, Verdict::Pass, 13_100.0, -0.004, (-0.011, 0.004)),
        result(Metric::ResponseP50, Verdict::Pass, 41_400.0, 0.012, (-0.013, 0.031)),
        result(Metric::ResponseP99, Verdict::Inconclusive, 98_700.0, 0.02, (-0.09, 0.14)),
    ];
    let counts = vec![
        Count {
            name: "system calls per echo".to_owned(),
            base: 2.0,
            head: 2.0,
            limit: 2.04,
            verdict: Verdict::Pass,
        },
        Count {
            name: "allocations per echo".to_owned(),
            base: 0.0,
            head: 1.0,
            limit: 0.01,
            verdict: Verdict::Fail,
        },
    ];
    let why = "cpu_per_echo is worse by 5.1 % (4.1 % to 6.3 %); allocations per echo is 1, and may be 0.010";
    Report { counts: Some(counts), ..report(Verdict::Fail, why, metrics, Ended::Decided) }
}

/// A run without a first look, of a build against itself.
pub(crate) fn inconclusive() -> Report {
    let unknown = |metric| MetricResult {
        change: None,
        interval: None,
        p_value: None,
        detectable: None,
        ..result(metric, Verdict::Inconclusive, 20_000.0, 0.0, (0.0, 0.0))
    };
    let why = "the budget of 10s was over before the first look at 12 blocks";
    let mut report = report(
        Verdict::Inconclusive,
        why,
        vec![unknown(Metric::CpuPerEcho), unknown(Metric::ResponseP99)],
        Ended::OutOfTime,
    );
    report.identical = true;
    report.times.iter_mut().for_each(|times| times.blocks = 3);
    report
}
