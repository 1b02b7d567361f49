use crate::{config, cuts, damaged, damages, reads};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidemark_wire::http::Limits;
use tidemark_wire::http::server::{Body, Event, Reject, RequestReader};

/// What a reader told, with consecutive pieces of a body joined: how a body is cut is no part of the law.
#[derive(Debug, PartialEq)]
enum Told {
    Head {
        line: String,
        minor: u8,
        keep_alive: bool,
        expect_continue: bool,
        body: Body,
    },
    Body(Vec<u8>),
    End,
    Rejected(Reject),
    /// What the reader says of itself when all has come.
    Left {
        idle: bool,
        in_head: bool,
    },
}

fn read<'b>(reads: impl IntoIterator<Item = &'b [u8]>, limits: &Limits) -> Vec<Told> {
    let mut reader = RequestReader::new();
    let mut told = vec![];
    for mut input in reads {
        loop {
            match reader.next(&mut input, limits) {
                Ok(None) => break,
                Ok(Some(event)) => tell(&mut told, event),
                Err(reject) => {
                    told.push(Told::Rejected(reject));
                    return told;
                }
            }
        }
        assert!(input.is_empty(), "none means that everything is used up");
    }
    told.push(Told::Left { idle: reader.is_idle(), in_head: reader.in_head() });
    told
}

fn tell(told: &mut Vec<Told>, event: Event<'_>) {
    match event {
        Event::Head(head) => told.push(Told::Head {
            line: format!("{} {}", head.method.as_str(), head.target),
            minor: head.version_minor,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
            body: head.body,
        }),
        Event::Body(bytes) => {
            assert!(!bytes.is_empty(), "an event is for something");
            match told.last_mut() {
                Some(Told::Body(body)) => body.extend_from_slice(bytes),
                _ => told.push(Told::Body(bytes.to_vec())),
            }
        }
        Event::End => told.push(Told::End),
    }
}

#[derive(Clone, Debug)]
enum Sent {
    None,
    Length(Vec<u8>),
    /// Chunks with their extensions, and trailers.
    Chunked(Vec<(Vec<u8>, &'static str)>, &'static str),
}

#[derive(Clone, Debug)]
struct Request {
    empty_lines: usize,
    method: &'static str,
    target: String,
    fields: Vec<&'static str>,
    sent: Sent,
}

fn request() -> impl Strategy<Value = Request> {
    let sent = prop_oneof![
        Just(Sent::None),
        vec(any::<u8>(), 0..300).prop_map(Sent::Length),
        (
            vec((vec(any::<u8>(), 1..40), select(&["", ";a", ";a=\"b c\"", " ; a=b"][..])), 0..5),
            select(&["", "x: y\r\n", "x:\r\ny: z\r\n"][..]),
        )
            .prop_map(|(chunks, trailers)| Sent::Chunked(chunks, trailers)),
    ];
    let fields = &[
        "accept: */*",
        "Connection: close",
        "connection: Keep-Alive, x",
        "x: \u{e9}\ty",
        "expect: 100-continue",
    ];
    (
        0..=4_usize,
        select(&["GET", "POST", "HEAD", "BREW"][..]),
        "/[!-\"$-~]{0,30}",
        vec(select(&fields[..]), 0..20),
        sent,
    )
        .prop_map(|(empty_lines, method, target, fields, sent)| Request {
            empty_lines,
            method,
            target,
            fields,
            sent,
        })
}

impl Request {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend("\r\n".repeat(self.empty_lines).bytes());
        out.extend(format!("{} {} HTTP/1.1\r\nHost: a\r\n", self.method, self.target).bytes());
        for field in &self.fields {
            out.extend(format!("{field}\r\n").bytes());
        }
        match &self.sent {
            Sent::None => out.extend(b"\r\n"),
            Sent::Length(body) => {
                out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                out.extend(body);
            }
            Sent::Chunked(chunks, trailers) => {
                out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for (data, extension) in chunks {
                    out.extend(format!("{:x}{extension}\r\n", data.len()).bytes());
                    out.extend(data);
                    out.extend(b"\r\n");
                }
                out.extend(format!("0\r\n{trailers}\r\n").bytes());
            }
        }
    }

    /// What a reader must tell of it.
    fn tell(&self, told: &mut Vec<Told>) {
        let (framing, body) = match &self.sent {
            Sent::None => (Body::None, vec![]),
            Sent::Length(body) => (Body::Length(body.len() as u64), body.clone()),
            Sent::Chunked(chunks, _) => {
                (Body::Chunked, chunks.iter().flat_map(|(data, _)| data.clone()).collect())
            }
        };
        told.push(Told::Head {
            line: format!("{} {}", self.method, self.target),
            minor: 1,
            keep_alive: !self.fields.contains(&"Connection: close"),
            expect_continue: self.fields.contains(&"expect: 100-continue")
                && !matches!(framing, Body::None | Body::Length(0)),
            body: framing,
        });
        if !body.is_empty() {
            told.push(Told::Body(body));
        }
        told.push(Told::End);
    }
}

fn stream(requests: &[Request]) -> Vec<u8> {
    let mut bytes = vec![];
    for request in requests {
        request.write(&mut bytes);
    }
    bytes
}

/// Limits that a small stream can exceed.
fn limits() -> impl Strategy<Value = Limits> {
    (0..300_usize, 0..40_usize, 0..12_usize, 0..200_u64).prop_map(
        |(head_bytes, target_bytes, headers, body_bytes)| Limits {
            head_bytes,
            target_bytes,
            headers,
            body_bytes,
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_split_of_pipelined_requests_tells_what_was_sent(requests in vec(request(), 1..5), cuts in cuts()) {
        let bytes = stream(&requests);
        let mut want = vec![];
        for request in &requests {
            request.tell(&mut want);
        }
        want.push(Told::Left { idle: true, in_head: false });
        prop_assert_eq!(read(reads(&bytes, &cuts), &Limits::default()), want);
    }

    #[test]
    fn any_split_of_damaged_requests_tells_the_same(
        requests in vec(request(), 1..4),
        damages in damages(),
        cuts in cuts(),
    ) {
        let bytes = damaged(stream(&requests), &damages);
        let limits = Limits::default();
        let whole = read([&bytes[..]], &limits);
        prop_assert_eq!(&read(bytes.chunks(1), &limits), &whole, "byte by byte");
        prop_assert_eq!(read(reads(&bytes, &cuts), &limits), whole);
    }

    #[test]
    fn any_split_meets_the_same_limits(
        requests in vec(request(), 1..4),
        damages in damages(),
        limits in limits(),
        cuts in cuts(),
    ) {
        let bytes = damaged(stream(&requests), &damages);
        let whole = read([&bytes[..]], &limits);
        prop_assert_eq!(&read(bytes.chunks(1), &limits), &whole, "byte by byte");
        prop_assert_eq!(read(reads(&bytes, &cuts), &limits), whole);
    }
}
