//! A whole scrape of the real admin plane.

use tidemark_server::Engine;
use tidemark_server::metrics::TABLES;

use crate::client::{Http, echo, round_trip, start};

/// What a host without connection tracking does not have, and a build that does not count allocations.
const MAY_BE_ABSENT: [&str; 4] = [
    "tidemark_host_conntrack_entries",
    "tidemark_host_conntrack_limit",
    "tidemark_heap_allocations_total",
    "tidemark_heap_bytes",
];

#[test]
fn a_scrape_has_every_metric_of_the_table_once_and_nothing_else() {
    let server = start(Engine::Epoll);
    let mut stream = echo(&server);
    round_trip(&mut stream, b"in").unwrap();
    let mut http = Http::connect(server.admin_addr());
    http.send(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
    let text = String::from_utf8(http.response().body).unwrap();
    let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    for told in &told {
        let is_known = |kind: &str, name: &str| {
            TABLES.iter().any(|table| table.find(name).is_some_and(|family| family.kind.name() == kind))
        };
        assert!(told.split_once(' ').is_some_and(|(name, kind)| is_known(kind, name)), "{told}");
    }
    for family in TABLES.iter().flat_map(|table| table.rows) {
        let line = format!("{} {}", family.name, family.kind.name());
        let count = told.iter().filter(|told| **told == line).count();
        assert!(count == 1 || count == 0 && MAY_BE_ABSENT.contains(&family.name), "{line}: {count}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value >= 0.0 && value.is_finite()), "{line}");
    }
}
