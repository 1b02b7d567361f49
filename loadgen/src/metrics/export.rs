//! A board's figures as metric families.

use std::time::SystemTime;

use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, Quantile, Summary};
use tidemark_program::metrics::Family;

use super::board::Figures;
use super::buckets::{Buckets, QUANTILES};
use super::phases::{Phase, Phases};
use super::table;
use crate::plan::PopulationPlan;
use crate::record::Kind;
use crate::slo::Judgement;
use crate::verdict::Verdict;

const NS_PER_S: f64 = 1e9;

/// A run at one moment.
pub(super) struct Snapshot<'a> {
    pub(super) run: &'a str,
    pub(super) now: SystemTime,
    pub(super) phases: Phases,
    pub(super) valid: bool,
    pub(super) trusted: Option<f64>,
    pub(super) slo: &'a [Judgement],
    pub(super) populations: Vec<Population<'a>>,
}

/// A population at one moment.
pub(super) struct Population<'a> {
    pub(super) plan: &'a PopulationPlan,
    pub(super) open: u64,
    pub(super) figures: &'a Figures,
}

/// The value of the trusted percentile: 0 when not even the median is trusted, none in a closed loop.
pub(super) fn trusted(is_open_loop: bool, verdict: &Verdict) -> Option<f64> {
    is_open_loop.then(|| verdict.trusted_to.unwrap_or(0.0))
}

/// Every family of the run, also those without a series.
pub(super) fn families(snapshot: &Snapshot<'_>) -> Vec<MetricFamily> {
    let build = table::BUILD_INFO.sample(&[env!("CARGO_PKG_VERSION")], 1.0);
    let mut families = vec![table::BUILD_INFO.filled(vec![build])];
    families.extend(connections(snapshot));
    families.extend(arrivals(snapshot));
    for kind in Kind::ALL {
        let (histogram, interval) = table::of_latency(kind);
        families.push(latency(snapshot, histogram, kind));
        families.push(last_interval(snapshot, interval, kind));
    }
    families.extend(state(snapshot));
    families
}

/// A family with what `series` makes of each population.
fn per_population<S: IntoIterator<Item = Metric>>(
    snapshot: &Snapshot<'_>,
    family: &Family,
    series: impl Fn(&Population<'_>, [&str; 2]) -> S,
) -> MetricFamily {
    let all = snapshot.populations.iter();
    family.filled(all.flat_map(|of| series(of, [&of.plan.name, snapshot.run])).collect())
}

fn connections(snapshot: &Snapshot<'_>) -> [MetricFamily; 2] {
    let (open, target) = (&table::CONNECTIONS_OPEN, &table::CONNECTIONS_TARGET);
    [
        per_population(snapshot, open, |of, labels| [open.sample(&labels, of.open as f64)]),
        per_population(snapshot, target, |of, labels| {
            [target.sample(&labels, f64::from(of.plan.connections))]
        }),
    ]
}

fn arrivals(snapshot: &Snapshot<'_>) -> [MetricFamily; 3] {
    let (arrivals, target, errors) = (&table::ARRIVALS, &table::ARRIVALS_TARGET, &table::ERRORS);
    [
        per_population(snapshot, arrivals, |of, [population, run]| {
            let account = &of.figures.account;
            [
                ("scheduled", account.scheduled),
                ("completed", account.completed),
                ("errored", account.errored),
                ("timed_out", account.timed_out),
                ("in_flight_at_end", account.in_flight_at_end),
                ("never_sent", account.never_sent),
            ]
            .map(|(outcome, count)| arrivals.sample(&[population, run, outcome], count as f64))
        }),
        per_population(snapshot, target, |of, labels| {
            of.plan.arrivals.rate().map(|rate| target.sample(&labels, rate))
        }),
        per_population(snapshot, errors, |of, [population, run]| {
            let counts = of.figures.errors.iter();
            let series = counts
                .map(|(kind, &count)| errors.sample(&[population, run, &kind.to_string()], count as f64));
            series.collect::<Vec<_>>()
        }),
    ]
}

fn latency(snapshot: &Snapshot<'_>, family: &Family, kind: Kind) -> MetricFamily {
    per_population(snapshot, family, |of, labels| {
        let mut metric = family.series(&labels);
        metric.set_histogram(histogram(&of.figures.latencies[kind as usize]));
        [metric]
    })
}

fn histogram(buckets: &Buckets) -> Histogram {
    let counts = buckets.cumulative().map(|(bound_ns, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound_ns as f64 / NS_PER_S);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(counts.collect());
    histogram.set_sample_count(buckets.count());
    histogram.set_sample_sum(buckets.sum_ns() / NS_PER_S);
    histogram
}

/// A summary, because promtool knows the label `quantile` of nothing else. As the conventions have it, its quantiles are of the
/// newest values, here those of one interval, and its count and sum of all. A quantile of no values is absent.
fn last_interval(snapshot: &Snapshot<'_>, family: &Family, kind: Kind) -> MetricFamily {
    per_population(snapshot, family, |of, labels| {
        let values_ns = of.figures.interval[kind as usize].into_iter().flatten();
        let quantiles = values_ns.zip(QUANTILES).map(|(value_ns, label)| {
            let mut quantile = Quantile::default();
            quantile.set_quantile(label);
            quantile.set_value(value_ns as f64 / NS_PER_S);
            quantile
        });
        let all = &of.figures.latencies[kind as usize];
        let mut summary = Summary::default();
        summary.set_quantile(quantiles.collect());
        summary.set_sample_count(all.count());
        summary.set_sample_sum(all.sum_ns() / NS_PER_S);
        let mut metric = family.series(&labels);
        metric.set_summary(summary);
        [metric]
    })
}

fn state(snapshot: &Snapshot<'_>) -> [MetricFamily; 5] {
    let Snapshot { run, now, phases, .. } = snapshot;
    let current = phases.current(*now);
    let flag = |is_so: bool| f64::from(u8::from(is_so));
    let phase = Phase::ALL.map(|phase| table::PHASE.sample(&[run, phase.name()], flag(phase == current)));
    let starts = Phase::ALL.into_iter().filter_map(|phase| {
        let start = phases.started(phase, *now)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(table::PHASE_START.sample(&[run, phase.name()], start.as_secs_f64()))
    });
    let valid = table::VALID.sample(&[run], flag(snapshot.valid));
    let trusted = snapshot.trusted.into_iter().map(|percentile| table::TRUSTED.sample(&[run], percentile));
    let rules = snapshot
        .slo
        .iter()
        .filter_map(|judgement| Some(table::SLO_OK.sample(&[run, &judgement.rule], flag(judgement.ok?))));
    [
        table::VALID.filled(vec![valid]),
        table::TRUSTED.filled(trusted.collect()),
        table::SLO_OK.filled(rules.collect()),
        table::PHASE.filled(phase.into()),
        table::PHASE_START.filled(starts.collect()),
    ]
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;
    use tidemark_program::metrics::checks;

    use super::super::buckets::quantiles;
    use super::*;
    use crate::errors::ErrorKind;
    use crate::record::Recording;
    use crate::schedule::Arrivals;
    use crate::slo::Unit;

    fn plan(arrivals: Arrivals) -> PopulationPlan {
        PopulationPlan::example(7, arrivals)
    }

    fn figures() -> Figures {
        let mut recording = Recording::new();
        for kind in Kind::ALL {
            recording.record(kind, 2_000_000);
        }
        recording.account.scheduled = 3;
        recording.account.timed_out = 2;
        recording.error(ErrorKind::Reset);
        let mut figures = Figures {
            interval: Kind::ALL.map(|kind| quantiles(&recording.histogram(kind))),
            ..Default::default()
        };
        figures.account.add(&recording.account);
        figures.errors.clone_from(&recording.errors);
        for kind in Kind::ALL {
            figures.latencies[kind as usize].add(&recording.histogram(kind));
        }
        figures
    }

    fn families_of(plan: &PopulationPlan, figures: &Figures, trusted: Option<f64>) -> Vec<MetricFamily> {
        let now = SystemTime::now();
        let judged = |rule: &str, ok| Judgement {
            rule: rule.to_owned(),
            actual: None,
            unit: Unit::Count,
            ok,
            not_judged_because: None,
        };
        // A rule is shown once it is judged.
        let slo = [judged("all.lost == 0", trusted.map(|_| false)), judged("all.errors < 1%", None)];
        let mut families = families(&Snapshot {
            run: "r1",
            now,
            phases: Phases::connecting(now),
            valid: true,
            trusted,
            slo: &slo,
            populations: vec![Population { plan, open: 5, figures }],
        });
        families.retain(|family| !family.get_metric().is_empty());
        families
    }

    #[test]
    fn every_row_of_the_table_is_exported_as_it_is_declared_and_nothing_else() {
        let exported = families_of(&plan(Arrivals::Constant { rate: 9.0 }), &figures(), Some(99.0));
        assert_eq!(checks::exported(&[table::TABLE], &exported), Vec::<String>::new());
    }

    #[test]
    fn the_figures_are_in_the_text() {
        let exported = families_of(&plan(Arrivals::Constant { rate: 9.0 }), &figures(), Some(99.0));
        let text = TextEncoder::new().encode_to_string(&exported).unwrap();
        let of = "population=\"main\",run=\"r1\"";
        for line in [
            &format!("tidemark_loadgen_connections_open{{{of}}} 5"),
            &format!("tidemark_loadgen_connections_target{{{of}}} 7"),
            &format!("tidemark_loadgen_arrivals_total{{{of},outcome=\"scheduled\"}} 3"),
            &format!("tidemark_loadgen_arrivals_total{{{of},outcome=\"timed_out\"}} 2"),
            &format!("tidemark_loadgen_arrivals_target_per_second{{{of}}} 9"),
            &format!("tidemark_loadgen_errors_total{{{of},kind=\"reset\"}} 1"),
            &format!("tidemark_loadgen_lag_seconds_bucket{{{of},le=\"0.001966079\"}} 0"),
            &format!("tidemark_loadgen_lag_seconds_bucket{{{of},le=\"0.002097151\"}} 1"),
            &format!("tidemark_loadgen_lag_seconds_count{{{of}}} 1"),
            "tidemark_loadgen_trusted_percentile{run=\"r1\"} 99",
            "tidemark_loadgen_slo_ok{run=\"r1\",rule=\"all.lost == 0\"} 0",
            "tidemark_loadgen_phase{run=\"r1\",phase=\"connect\"} 1",
            "tidemark_loadgen_phase{run=\"r1\",phase=\"measure\"} 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in:\n{text}");
        }
        for label in ["0.5", "0.9", "0.99", "0.999", "0.9999", "1"] {
            let start =
                format!("tidemark_loadgen_wait_interval_seconds{{{of},quantile=\"{label}\"}} 0.00200");
            assert!(text.lines().any(|have| have.starts_with(&start)), "{start} in:\n{text}");
        }
    }

    #[test]
    fn what_there_is_not_is_absent() {
        let exported = families_of(&plan(Arrivals::Closed), &Figures::default(), None);
        let missing = table::TABLE.rows.iter().map(|row| row.name);
        let missing = missing.filter(|name| exported.iter().all(|family| family.name() != *name));
        let expected = [
            "tidemark_loadgen_arrivals_target_per_second",
            "tidemark_loadgen_errors_total",
            "tidemark_loadgen_trusted_percentile",
            "tidemark_loadgen_slo_ok",
        ];
        assert_eq!(missing.collect::<Vec<_>>(), expected);
        let text = TextEncoder::new().encode_to_string(&exported).unwrap();
        assert!(text.contains("tidemark_loadgen_lag_interval_seconds_count") && !text.contains("quantile="));
    }
}
