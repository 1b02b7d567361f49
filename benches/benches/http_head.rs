//! Reading a request head and a response: what the server and the load generator do once per exchange.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidemark_wire::http::Limits;
use tidemark_wire::http::client::ResponseReader;
use tidemark_wire::http::server::{Event, RequestReader};

const GET: &[u8] = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n\r\n";
/// What a browser sends.
const BROWSER: &[u8] = b"GET /health?check=1 HTTP/1.1\r\nhost: service.example\r\nconnection: keep-alive\r\n\
    user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
    accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    accept-encoding: gzip, deflate, br, zstd\r\naccept-language: en-US,en;q=0.9\r\ncookie: session=0123456789abcdef\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: application/json\r\n\
    content-length: 15\r\n\r\n{\"status\":\"ok\"}";

pub(crate) fn benches(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("http_request_head");
    for (name, request) in [("two_lines", GET), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(request.len() as u64));
        group.bench_function(name, |bencher| {
            let mut reader = RequestReader::new();
            bencher.iter(|| {
                let mut input = black_box(request);
                let mut ended = 0;
                while let Some(event) = reader.next(&mut input, &limits).expect("a valid request") {
                    ended += u32::from(matches!(black_box(event), Event::End));
                }
                assert_eq!(ended, 1);
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("http_response");
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("health", |bencher| {
        let mut reader = ResponseReader::new();
        bencher.iter(|| {
            let mut input = black_box(RESPONSE);
            let response = reader.next(&mut input, &limits).expect("a valid response");
            assert!(response.is_some());
        });
    });
    group.finish();
}
