use crate::{config, cuts, damaged, damages, reads};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidemark_wire::http::Limits;
use tidemark_wire::http::client::{Response, ResponseError, ResponseReader};

/// The responses up to the end of the stream, and the error that ended them, if one did.
fn read<'b>(
    mut reader: ResponseReader,
    reads: impl IntoIterator<Item = &'b [u8]>,
    limits: &Limits,
) -> (Vec<Response>, Option<ResponseError>) {
    let mut responses = vec![];
    for mut input in reads {
        loop {
            match reader.next(&mut input, limits) {
                Ok(None) => break,
                Ok(Some(response)) => responses.push(response),
                Err(error) => return (responses, Some(error)),
            }
        }
        assert!(input.is_empty(), "none means that everything is used up");
    }
    match reader.end_of_stream() {
        Ok(last) => responses.extend(last),
        Err(error) => return (responses, Some(error)),
    }
    (responses, None)
}

#[derive(Clone, Debug)]
enum Sent {
    Length(Vec<u8>),
    Chunked(Vec<(Vec<u8>, &'static str)>, &'static str),
    /// No body, by its status.
    Bodiless(u16),
}

#[derive(Clone, Debug)]
struct Sample {
    interim: &'static str,
    version: &'static str,
    status: u16,
    line_end: &'static str,
    fields: Vec<&'static str>,
    sent: Sent,
}

fn sample() -> impl Strategy<Value = Sample> {
    let sent = prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(Sent::Length),
        (
            vec((vec(any::<u8>(), 1..40), select(&["", ";a", ";a=\"b c\""][..])), 0..5),
            select(&["", "x: y\r\n"][..])
        )
            .prop_map(|(chunks, trailers)| Sent::Chunked(chunks, trailers)),
        select(&[204, 304][..]).prop_map(Sent::Bodiless),
    ];
    let interims = &["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"];
    let fields = &["date: now", "Connection: close", "connection: Keep-Alive", "x: \u{e9}\ty"];
    (
        select(&interims[..]),
        select(&["1.0", "1.1"][..]),
        select(&[200_u16, 404, 503, 599][..]),
        select(&["\r\n", "\n"][..]),
        vec(select(&fields[..]), 0..10),
        sent,
    )
        .prop_map(|(interim, version, status, line_end, fields, sent)| Sample {
            interim,
            version,
            status,
            line_end,
            fields,
            sent,
        })
}

impl Sample {
    fn status(&self) -> u16 {
        if let Sent::Bodiless(status) = self.sent { status } else { self.status }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let end = self.line_end;
        out.extend(format!("{}HTTP/{} {} Words{end}", self.interim, self.version, self.status()).bytes());
        for field in &self.fields {
            out.extend(format!("{field}{end}").bytes());
        }
        match &self.sent {
            Sent::Bodiless(_) => out.extend(format!("content-length: 10{end}{end}").bytes()),
            Sent::Length(body) => {
                out.extend(format!("Content-Length: {}{end}{end}", body.len()).bytes());
                out.extend(body);
            }
            Sent::Chunked(chunks, trailers) => {
                out.extend(format!("transfer-encoding: Chunked{end}{end}").bytes());
                for (data, extension) in chunks {
                    out.extend(format!("{:X}{extension}\r\n", data.len()).bytes());
                    out.extend(data);
                    out.extend(b"\r\n");
                }
                out.extend(format!("0\r\n{trailers}\r\n").bytes());
            }
        }
    }

    /// What a reader must tell of it.
    fn response(&self) -> Response {
        let body_bytes = match &self.sent {
            Sent::Bodiless(_) => 0,
            Sent::Length(body) => body.len(),
            Sent::Chunked(chunks, _) => chunks.iter().map(|(data, _)| data.len()).sum(),
        };
        let says = |field: &str| self.fields.iter().any(|other| other.eq_ignore_ascii_case(field));
        Response {
            status: self.status(),
            body_bytes: body_bytes as u64,
            keep_alive: !says("connection: close")
                && (self.version == "1.1" || says("connection: keep-alive")),
        }
    }
}

fn stream(samples: &[Sample]) -> Vec<u8> {
    let mut bytes = vec![];
    for sample in samples {
        sample.write(&mut bytes);
    }
    bytes
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_split_of_pipelined_responses_tells_what_was_sent(samples in vec(sample(), 0..5), cuts in cuts()) {
        let bytes = stream(&samples);
        let want = samples.iter().map(Sample::response).collect();
        prop_assert_eq!(read(ResponseReader::new(), reads(&bytes, &cuts), &Limits::default()), (want, None));
    }

    #[test]
    fn any_split_of_a_body_that_ends_with_the_connection_tells_the_same(
        samples in vec(sample(), 0..3),
        body in vec(any::<u8>(), 0..300),
        cuts in cuts(),
    ) {
        let mut bytes = stream(&samples);
        bytes.extend(b"HTTP/1.1 200 OK\r\n\r\n");
        bytes.extend(&body);
        let last = Response { status: 200, body_bytes: body.len() as u64, keep_alive: false };
        let want = samples.iter().map(Sample::response).chain([last]).collect();
        prop_assert_eq!(read(ResponseReader::new(), reads(&bytes, &cuts), &Limits::default()), (want, None));
    }

    #[test]
    fn any_split_of_damaged_responses_tells_the_same(
        samples in vec(sample(), 1..4),
        damages in damages(),
        head_bytes in prop_oneof![Just(8192_usize), 0..200_usize],
        headers in prop_oneof![Just(64_usize), 0..8_usize],
        for_head: bool,
        cuts in cuts(),
    ) {
        let bytes = damaged(stream(&samples), &damages);
        let limits = Limits { head_bytes, headers, ..Limits::default() };
        let reader = if for_head { ResponseReader::for_head } else { ResponseReader::new };
        let whole = read(reader(), [&bytes[..]], &limits);
        prop_assert_eq!(&read(reader(), bytes.chunks(1), &limits), &whole, "byte by byte");
        prop_assert_eq!(read(reader(), reads(&bytes, &cuts), &limits), whole);
    }
}
