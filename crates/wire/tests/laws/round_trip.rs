use crate::{config, cuts, reads};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tidemark_wire::http::Limits;
use tidemark_wire::http::client::{Response, ResponseReader, write_request};
use tidemark_wire::http::server::{
    Body, BodyFraming, Event, RequestReader, write_chunk, write_last_chunk, write_response_head,
};

/// A body, and how many bytes of it go into one chunk, if it is chunked.
fn body() -> impl Strategy<Value = (Vec<u8>, Option<usize>)> {
    (vec(any::<u8>(), 0..400), option::of(1..100_usize))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_the_server_writes_the_client_reads(
        status in 200..=999_u16,
        content_type in option::of(any::<String>()),
        (body, chunk_bytes) in body(),
        keep_alive: bool,
        date in any::<String>(),
        extra in any::<String>(),
        cuts in cuts(),
    ) {
        let bodiless = matches!(status, 204 | 304);
        let framing = match chunk_bytes {
            Some(_) => BodyFraming::Chunked,
            None => BodyFraming::Length(body.len() as u64),
        };
        let mut wire = vec![];
        write_response_head(
            &mut wire, status, content_type.as_deref(), framing, keep_alive, &date, &[("x-extra", &extra)],
        );
        match chunk_bytes {
            _ if bodiless => {}
            None => wire.extend(&body),
            Some(chunk_bytes) => {
                body.chunks(chunk_bytes).for_each(|chunk| write_chunk(&mut wire, chunk));
                write_last_chunk(&mut wire);
            }
        }
        let mut reader = ResponseReader::new();
        let mut responses = vec![];
        for mut read in reads(&wire, &cuts) {
            while let Some(response) = reader.next(&mut read, &Limits::default())? {
                responses.push(response);
            }
        }
        let body_bytes = if bodiless { 0 } else { body.len() as u64 };
        prop_assert_eq!(responses, vec![Response { status, body_bytes, keep_alive }]);
        prop_assert!(reader.is_idle());
    }

    #[test]
    fn what_the_client_writes_the_server_reads(
        method in "[A-Z]{1,12}",
        target in "/[!-\"$-~]{0,60}",
        host in "[a-z0-9.]{1,20}(:[0-9]{1,5})?",
        body in option::of(vec(any::<u8>(), 0..400)),
        cuts in cuts(),
    ) {
        let mut wire = vec![];
        write_request(&mut wire, &method, &target, &host, body.as_deref());
        let framing = body.as_ref().map_or(Body::None, |body| Body::Length(body.len() as u64));
        let mut reader = RequestReader::new();
        let (mut heads, mut read_body, mut ends) = (0, vec![], 0);
        for mut read in reads(&wire, &cuts) {
            while let Some(event) = reader.next(&mut read, &Limits::default())? {
                match event {
                    Event::Head(head) => {
                        heads += 1;
                        prop_assert_eq!((head.method.as_str(), head.target), (&method[..], &target[..]));
                        prop_assert!(head.keep_alive && !head.expect_continue);
                        prop_assert_eq!(head.body, framing);
                    }
                    Event::Body(bytes) => read_body.extend_from_slice(bytes),
                    Event::End => ends += 1,
                }
            }
        }
        prop_assert_eq!((heads, ends), (1, 1));
        prop_assert_eq!(read_body, body.unwrap_or_default());
    }
}
