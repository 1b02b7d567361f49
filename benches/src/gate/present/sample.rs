//! Reports for snapshots.

use tidemark_host::facts::{Facts, facts};

use crate::gate::decision::{Decision, MetricDecision, Verdict};
use crate::gate::measure::Work;
use crate::gate::metric::Metric;
use crate::gate::report::{Count, Counts, Ended, NotCounted, Part, Report, Run, SCHEMA_VERSION, Side, Times};
use crate::gate::tier_a::quantity::Quantity;
use crate::gate::verdict;

fn host() -> Facts {
    Facts { cpus: Some(2), cpu_model: "Some CPU @ 2.50GHz".to_owned(), kernel: "6.1.0".to_owned(), ..facts() }
}

fn decided(
    metric: Metric,
    verdict: Verdict,
    base_ns: f64,
    change: f64,
    interval: (f64, f64),
) -> MetricDecision {
    MetricDecision {
        metric,
        verdict,
        base_ns,
        head_ns: base_ns * (1.0 + change),
        change,
        interval: Some(interval),
        upper: Some(interval.1),
        margin: metric.margin(),
        p: 0.0001,
        p_adjusted: 0.0004,
        detectable: Some(0.031),
    }
}

fn report(counts: Option<Counts>, times: Times) -> Report {
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        verdict: Verdict::Inconclusive,
        why: String::new(),
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
        counts,
        times: Some(times),
    };
    (report.verdict, report.why) = verdict::of(&report);
    report
}

/// A regression, found in both tiers.
pub(crate) fn fail() -> Report {
    let part = |name: &str, base, head| Part { name: name.to_owned(), base, head };
    let counts = Counts {
        rows: vec![
            Count {
                name: Quantity::SyscallsPerEcho.name().to_owned(),
                base: 3.0,
                head: 4.0,
                limit: 3.05,
                verdict: Verdict::Fail,
                parts: vec![part("epoll_wait", 1.0, 1.0), part("getppid", 0.0, 1.0), part("read", 1.0, 1.0)],
            },
            Count {
                name: Quantity::AllocationsPerEcho.name().to_owned(),
                base: 0.0,
                head: 0.0,
                limit: 0.01,
                verdict: Verdict::Pass,
                parts: Vec::new(),
            },
        ],
        not_counted: vec![NotCounted {
            what: "instructions per request of the load generator".to_owned(),
            why: "base has no hot-loop".to_owned(),
        }],
    };
    let metrics = vec![
        decided(Metric::CpuPerEcho, Verdict::Fail, 11_320.0, 0.051, (0.041, 0.063)),
        decided(Metric::CpuPerHttpRequest, Verdict::Pass, 13_100.0, -0.004, (-0.011, 0.004)),
        decided(Metric::ResponseP50, Verdict::Pass, 41_400.0, 0.012, (-0.013, 0.031)),
        decided(Metric::ResponseP99, Verdict::Inconclusive, 98_700.0, 0.02, (-0.09, 0.14)),
    ];
    let decision = Decision {
        verdict: Verdict::Fail,
        blocks: 12,
        left_out: 1,
        next_look: None,
        metrics,
        reasons: vec![
            "cpu_per_echo is +5.1 %, which is more than 2 % and no chance (p = 0.00040)".to_owned(),
        ],
    };
    let times = Times {
        ended: Ended::Decided,
        blocks: 13,
        work: Work::default(),
        metrics: Metric::ALL.to_vec(),
        decision,
        slots: Vec::new(),
    };
    report(Some(counts), times)
}

/// A run without a first look, of a build against itself.
pub(crate) fn inconclusive() -> Report {
    let decision = Decision {
        verdict: Verdict::Inconclusive,
        blocks: 0,
        left_out: 0,
        next_look: Some(12),
        metrics: Vec::new(),
        reasons: vec!["there are fewer than the 12 clean blocks that the first look needs".to_owned()],
    };
    let times = Times {
        ended: Ended::OutOfTime,
        blocks: 3,
        work: Work::default(),
        metrics: vec![Metric::CpuPerEcho, Metric::ResponseP99],
        decision,
        slots: Vec::new(),
    };
    Report { identical: true, ..report(None, times) }
}
