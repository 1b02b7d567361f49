//! Echo replies: any split of the bytes completes the same replies and shows the same fault.
//!
//! Here the stream is a list of request lengths, a zero, and what comes back: each byte of it is added to the
//! byte that is due, so that zeros are a faithful echo.
#![no_main]

#[expect(dead_code, reason = "echo has no limits")]
mod split;

use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use tidemark_wire::echo::{EchoClient, EchoError, Pattern};

/// How many replies were completed, and what was wrong: bytes nobody asked for are counted from the read that
/// brought the first of them, which is no part of the law.
fn receive<'b>(
    mut client: EchoClient,
    requests: &[u8],
    reads: impl Iterator<Item = &'b [u8]>,
    pattern: &Pattern,
) -> Result<usize, Option<u64>> {
    let mut outstanding: VecDeque<u32> = requests.iter().map(|len| u32::from(*len)).collect();
    for read in reads {
        let completed = client
            .receive(read, pattern, outstanding.iter().copied())
            .map_err(|error| match error {
                EchoError::Mismatch { offset } => Some(offset),
                EchoError::Unasked { .. } => None,
            })?;
        outstanding.drain(..completed as usize);
    }
    Ok(requests.len() - outstanding.len())
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, _, stream)) = split::input(data) else {
        return;
    };
    let end = stream.iter().position(|len| *len == 0).unwrap_or(stream.len());
    let (requests, damage) = stream.split_at(end);
    let pattern = Pattern::new(255);
    let mut client = EchoClient::new();
    let mut sent: Vec<u8> = vec![];
    for len in requests {
        sent.extend_from_slice(client.request(&pattern, u32::from(*len)));
    }
    let wire: Vec<u8> = damage
        .iter()
        .enumerate()
        .map(|(at, damage)| sent.get(at).copied().unwrap_or_default().wrapping_add(*damage))
        .collect();

    // The truth, from nothing but the bytes.
    let wrong = wire.iter().zip(&sent).position(|(got, want)| got != want);
    let mut complete_bytes = 0;
    let complete = requests.iter().take_while(|len| {
        complete_bytes += usize::from(**len);
        complete_bytes <= wire.len()
    });
    let want = match wrong {
        Some(offset) => Err(Some(offset as u64)),
        None if wire.len() > sent.len() => Err(None),
        None => Ok(complete.count()),
    };
    assert_eq!(
        receive(client, requests, std::iter::once(&wire[..]), &pattern),
        want,
        "whole"
    );
    assert_eq!(
        receive(client, requests, split::reads(&wire, cut), &pattern),
        want,
        "in reads"
    );
});
