//! Matching a reply to its request byte by byte: what the load generator does with everything it receives.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tidemark_wire::echo::{EchoClient, Pattern};

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo_matching");
    for payload_bytes in [64_u32, 4096] {
        let pattern = Pattern::new(payload_bytes as usize);
        group.throughput(Throughput::Bytes(payload_bytes.into()));
        group.bench_function(BenchmarkId::from_parameter(payload_bytes), |bencher| {
            let mut client = EchoClient::new();
            bencher.iter(|| {
                let reply = black_box(client.request(&pattern, payload_bytes));
                let completed = client.receive(reply, &pattern, std::iter::once(payload_bytes));
                assert_eq!(completed, Ok(1));
            });
        });
    }
    group.finish();
}
