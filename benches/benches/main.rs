//! Criterion benchmarks of the hot paths. Each module is named by what it guards.
//!
//! One executable for all: `cargo bench -p tidemark-benches -- FILTER` runs a part, `-- --test` runs each once.

mod connection_table;
mod dispatch;
mod echo_matching;
mod echo_turn;
mod histogram;
mod http_head;
mod schedule;

use std::time::Duration;

use criterion::Criterion;

/// Enough for what takes nanoseconds, and short enough that all together take a minute or two.
fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

fn main() {
    let mut criterion = quick();
    http_head::benches(&mut criterion);
    echo_matching::benches(&mut criterion);
    connection_table::benches(&mut criterion);
    histogram::benches(&mut criterion);
    schedule::benches(&mut criterion);
    dispatch::benches(&mut criterion);
    echo_turn::benches(&mut criterion);
    criterion.final_summary();
}
