//! Recording a latency, and adding an interval's recording to the total: the load generator's own cost per request, and
//! per second.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidemark_loadgen::record::{Kind, Recording};

/// Latencies spread over the decades that a run sees, in ns, in no foreseeable order.
fn latencies() -> Vec<u64> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..4096).map(|_| 10_000 + (next() % 1_000_000) * (1 + next() % 20)).collect()
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let values = latencies();
    let mut group = criterion.benchmark_group("histogram");
    group.throughput(Throughput::Elements(1));
    group.bench_function("record", |bencher| {
        let mut recording = Recording::new();
        let mut values = values.iter().cycle();
        bencher.iter(|| {
            let value = *values.next().expect("endless");
            recording.record(Kind::Response, black_box(value));
        });
    });
    group.bench_function("add_interval", |bencher| {
        let mut interval = Recording::new();
        for kind in [Kind::Response, Kind::Service, Kind::Lag] {
            for &value in &values {
                interval.record(kind, value);
            }
        }
        let mut total = Recording::new();
        bencher.iter(|| total.add(black_box(&interval)));
    });
    group.finish();
}
