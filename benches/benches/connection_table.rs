//! The server's connection table: a lookup per event, an insertion and a removal per connection.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidemark_server::conns::{Conns, Key};

/// Larger than the first two levels of any cache: what a lookup costs with many connections.
const CONNECTIONS: u32 = 100_000;

/// As large as what the server keeps for a connection.
type Value = [u64; 6];

/// A step through the table that is prime to its size, so that lookups come in no order that hardware foresees.
const STRIDE: usize = 40_009;

fn full() -> (Conns<Value>, Vec<Key>) {
    let mut conns = Conns::with_capacity(CONNECTIONS + 1).expect("address space");
    let keys = (0..CONNECTIONS).map(|_| conns.insert([0; 6]).expect("room")).collect();
    (conns, keys)
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connection_table");
    group.throughput(Throughput::Elements(1));
    group.bench_function("get", |bencher| {
        let (mut conns, keys) = full();
        let mut at = 0;
        bencher.iter(|| {
            at = (at + STRIDE) % keys.len();
            conns.get_mut(black_box(keys[at])).expect("in the table")[0] += 1;
        });
    });
    group.bench_function("insert_and_remove", |bencher| {
        let (mut conns, _) = full();
        bencher.iter(|| {
            let key = conns.insert(black_box([1; 6])).expect("room for one");
            assert!(conns.remove(black_box(key)).is_some());
        });
    });
    group.finish();
}
