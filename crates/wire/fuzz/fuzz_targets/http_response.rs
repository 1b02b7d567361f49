//! Responses: any split of the bytes tells the same responses and the same error.
#![no_main]

mod split;

use libfuzzer_sys::fuzz_target;
use tidemark_wire::http::Limits;
use tidemark_wire::http::client::{Response, ResponseError, ResponseReader};

fn read<'b>(
    mut reader: ResponseReader,
    reads: impl Iterator<Item = &'b [u8]>,
    limits: &Limits,
) -> (Vec<Response>, Option<ResponseError>) {
    let mut responses = vec![];
    for mut input in reads {
        loop {
            match reader.next(&mut input, limits) {
                Ok(None) => break,
                Ok(Some(response)) => {
                    assert!(response.status >= 200 && reader.is_idle());
                    responses.push(response);
                }
                Err(error) => {
                    assert_eq!(reader.next(&mut input, limits), Err(error), "an error stands");
                    return (responses, Some(error));
                }
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

fuzz_target!(|data: &[u8]| {
    let Some((cut, limits, stream)) = split::input(data) else {
        return;
    };
    // Odd choices of limits are for the answers to HEAD requests.
    let reader = if limits % 2 == 0 {
        ResponseReader::new
    } else {
        ResponseReader::for_head
    };
    let limits = split::limits(limits);
    let whole = read(reader(), std::iter::once(stream), &limits);
    assert_eq!(read(reader(), split::reads(stream, cut), &limits), whole);
});
