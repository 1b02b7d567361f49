//! Requests: any split of the bytes tells the same events and the same refusal.
#![no_main]

mod split;

use libfuzzer_sys::fuzz_target;
use tidemark_wire::http::Limits;
use tidemark_wire::http::server::{Body, Event, Reject, RequestReader};

#[derive(Debug, PartialEq)]
enum Told {
    Head(String, u8, bool, bool, Body),
    Body(Vec<u8>),
    End,
    Rejected(Reject),
    /// What the reader says of itself when all has come: idle, in a head.
    Left(bool, bool),
}

fn read<'b>(reads: impl Iterator<Item = &'b [u8]>, limits: &Limits) -> Vec<Told> {
    let mut reader = RequestReader::new();
    let mut told = vec![];
    for mut input in reads {
        loop {
            match reader.next(&mut input, limits) {
                Ok(None) => break,
                Ok(Some(event)) => tell(&mut told, event, limits),
                Err(reject) => {
                    let again = reader.next(&mut input, limits).map(|_| ());
                    assert_eq!(again, Err(reject), "a refusal stands");
                    told.push(Told::Rejected(reject));
                    return told;
                }
            }
        }
        assert!(input.is_empty(), "none means that everything is used up");
    }
    told.push(Told::Left(reader.is_idle(), reader.in_head()));
    told
}

fn tell(told: &mut Vec<Told>, event: Event<'_>, limits: &Limits) {
    match event {
        Event::Head(head) => {
            assert!(head.target.len() <= limits.target_bytes);
            assert!(!matches!(head.body, Body::Length(bytes) if bytes > limits.body_bytes));
            let line = [head.method.as_str(), head.target, head.path()].join(" ");
            let (keep_alive, expect_continue) = (head.keep_alive, head.expect_continue);
            told.push(Told::Head(
                line,
                head.version_minor,
                keep_alive,
                expect_continue,
                head.body,
            ));
        }
        Event::Body(bytes) => {
            assert!(!bytes.is_empty(), "an event is for something");
            match told.last_mut() {
                Some(Told::Body(body)) => body.extend_from_slice(bytes),
                _ => told.push(Told::Body(bytes.to_vec())),
            }
        }
        Event::End => {
            if let [.., Told::Head(.., Body::Length(bytes)), Told::Body(body)] = &told[..] {
                assert_eq!(*bytes, body.len() as u64);
            }
            told.push(Told::End);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, limits, stream)) = split::input(data) else {
        return;
    };
    let limits = split::limits(limits);
    let whole = read(std::iter::once(stream), &limits);
    assert_eq!(read(split::reads(stream, cut), &limits), whole);
});
