//! The next intended time, also for one of four workers, which walks past the others' arrivals.

use criterion::{Criterion, Throughput};
use tidemark_loadgen::schedule::{Arrivals, Schedule};

const RATE: f64 = 20_000.0;

fn schedule(arrivals: Arrivals) -> Schedule {
    Schedule::new(arrivals, 1, 0).expect("an open loop")
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule_next");
    group.throughput(Throughput::Elements(1));
    group.bench_function("constant", |bencher| {
        let mut times = schedule(Arrivals::Constant { rate: RATE });
        bencher.iter(|| times.next());
    });
    group.bench_function("poisson", |bencher| {
        let mut times = schedule(Arrivals::Poisson { rate: RATE });
        bencher.iter(|| times.next());
    });
    group.bench_function("poisson_one_of_four_workers", |bencher| {
        let mut times = schedule(Arrivals::Poisson { rate: RATE }).share(0, 4);
        bencher.iter(|| times.next());
    });
    group.finish();
}
