use crate::{config, cuts, reads};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::VecDeque;
use tidemark_wire::echo::{EchoClient, EchoError, Pattern};

const MAX_PAYLOAD_BYTES: u32 = 700;

/// How many replies are complete when all of `wire` has come in the reads that `cuts` make, or the first
/// error.
fn receive(
    requests: &[u32],
    mut client: EchoClient,
    wire: &[u8],
    cuts: &[Index],
    pattern: &Pattern,
) -> Result<usize, EchoError> {
    let mut outstanding: VecDeque<u32> = requests.iter().copied().collect();
    for read in reads(wire, cuts) {
        let completed = client.receive(read, pattern, outstanding.iter().copied())?;
        outstanding.drain(..completed as usize);
    }
    Ok(requests.len() - outstanding.len())
}

/// A session that has asked for all of `requests`, and what it sent.
fn session(requests: &[u32], pattern: &Pattern) -> (EchoClient, Vec<u8>) {
    let mut client = EchoClient::new();
    let wire = requests.iter().flat_map(|len| client.request(pattern, *len).to_vec()).collect();
    (client, wire)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_split_completes_the_same_replies(
        requests in vec(1..=MAX_PAYLOAD_BYTES, 0..12),
        come in any::<Index>(),
        cuts in cuts(),
    ) {
        let pattern = Pattern::new(MAX_PAYLOAD_BYTES as usize);
        let (client, wire) = session(&requests, &pattern);
        let come = come.index(wire.len() + 1);
        let mut complete_bytes = 0;
        let complete = requests.iter().take_while(|len| {
            complete_bytes += **len as usize;
            complete_bytes <= come
        }).count();
        prop_assert_eq!(receive(&requests, client, &wire[..come], &cuts, &pattern), Ok(complete));
    }

    #[test]
    fn any_split_shows_a_wrong_byte_at_its_offset(
        requests in vec(1..=MAX_PAYLOAD_BYTES, 1..12),
        at in any::<Index>(),
        flip in 1..=u8::MAX,
        cuts in cuts(),
    ) {
        let pattern = Pattern::new(MAX_PAYLOAD_BYTES as usize);
        let (client, mut wire) = session(&requests, &pattern);
        let at = at.index(wire.len());
        wire[at] ^= flip;
        prop_assert_eq!(
            receive(&requests, client, &wire, &cuts, &pattern),
            Err(EchoError::Mismatch { offset: at as u64 })
        );
    }

    #[test]
    fn any_split_shows_bytes_nobody_asked_for(
        requests in vec(1..=MAX_PAYLOAD_BYTES, 0..12),
        more in vec(any::<u8>(), 1..20),
        cuts in cuts(),
    ) {
        let pattern = Pattern::new(MAX_PAYLOAD_BYTES as usize);
        let (client, mut wire) = session(&requests, &pattern);
        wire.extend(more);
        let result = receive(&requests, client, &wire, &cuts, &pattern);
        prop_assert!(matches!(result, Err(EchoError::Unasked { .. })), "{:?}", result);
    }

    #[test]
    fn short_writes_send_the_same_stream(
        requests in vec(1..=MAX_PAYLOAD_BYTES, 1..12),
        writes in vec(1_u32..900, 1..60),
    ) {
        let pattern = Pattern::new(MAX_PAYLOAD_BYTES as usize);
        let (client, wire) = session(&requests, &pattern);
        let mut unsent = u32::try_from(wire.len()).unwrap();
        let mut sent = vec![];
        for write_bytes in writes.into_iter().cycle() {
            if unsent == 0 {
                break;
            }
            let bytes = client.unsent(&pattern, unsent);
            let bytes = &bytes[..bytes.len().min(write_bytes as usize)];
            sent.extend_from_slice(bytes);
            unsent -= u32::try_from(bytes.len()).unwrap();
        }
        prop_assert_eq!(sent, wire);
    }
}
