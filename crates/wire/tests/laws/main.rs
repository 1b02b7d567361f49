//! The laws of the readers: any split of the bytes gives the same result, and what one end writes the other
//! reads.

mod echo;
mod request;
mod response;
mod round_trip;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Some faults need a cut and a damaged byte to fall together; this many cases find them and take a second.
fn config() -> ProptestConfig {
    ProptestConfig {
        // What is found becomes a unit test with a name, not a seed in a file.
        failure_persistence: None,
        ..ProptestConfig::with_cases(4096)
    }
}

/// Where to cut a stream into reads.
fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop_oneof![vec(any::<Index>(), 0..4), vec(any::<Index>(), 0..40)]
}

/// The reads that `cuts` make of `bytes`, some of them empty.
fn reads<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

/// Something that goes wrong with one byte of a stream.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Replaced(u8),
    Inserted(u8),
    Removed,
    Repeated,
}

fn damages() -> impl Strategy<Value = Vec<(Index, Damage)>> {
    // Bytes that mean something to a parser, and any other.
    let byte = prop_oneof![
        4 => proptest::sample::select(&b"\r\n \t:,;0123456789aF/*\0\x7f\xff-+xHTTP."[..]),
        1 => any::<u8>(),
    ];
    let damage = prop_oneof![
        byte.clone().prop_map(Damage::Replaced),
        byte.prop_map(Damage::Inserted),
        Just(Damage::Removed),
        Just(Damage::Repeated),
    ];
    vec((any::<Index>(), damage), 1..5)
}

fn damaged(mut bytes: Vec<u8>, damages: &[(Index, Damage)]) -> Vec<u8> {
    for (at, damage) in damages {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match *damage {
            Damage::Replaced(byte) => bytes[at] = byte,
            Damage::Inserted(byte) => bytes.insert(at, byte),
            Damage::Removed => drop(bytes.remove(at)),
            Damage::Repeated => bytes.insert(at, bytes[at]),
        }
    }
    bytes
}
