//! One request through the load generator's core: an arrival taken up, given to a connection, completed, recorded.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidemark_loadgen::dispatch::{Dispatcher, Window};
use tidemark_loadgen::schedule::{Arrivals, Schedule};

const CONNECTIONS: u32 = 10_000;
const GAP_NS: u64 = 50_000;
const SERVICE_NS: u64 = 20_000;
const TIMEOUT_NS: u64 = 10_000_000_000;
/// No benchmark lasts until then: 104 days, where a double still tells nanoseconds apart.
const END_NS: u64 = 1 << 53;

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dispatch");
    group.throughput(Throughput::Elements(1));
    group.bench_function("request", |bencher| {
        let arrivals = Arrivals::Constant { rate: 1e9 / GAP_NS as f64 };
        let schedule = Schedule::new(arrivals, 1, 0).expect("an open loop").share(0, 1);
        let mut dispatcher = Dispatcher::new(Some(schedule), CONNECTIONS as usize, TIMEOUT_NS);
        for conn in 0..CONNECTIONS {
            dispatcher.connected(conn, 0);
        }
        dispatcher.begin(Window { start_ns: 0, from_ns: 0, until_ns: END_NS, drain_until_ns: END_NS });
        let mut now_ns = 0;
        bencher.iter(|| {
            let conn = dispatcher.next(black_box(now_ns)).expect("an arrival is due");
            dispatcher.completed(conn, now_ns + SERVICE_NS);
            now_ns += GAP_NS;
        });
    });
    group.finish();
}
