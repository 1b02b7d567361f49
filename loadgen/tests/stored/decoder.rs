//! A reader of interval logs made from the published description of the format alone: HdrHistogram's
//! `HistogramLogWriter` (version 1.3) for the lines, and its V2 encoding (zig-zag LEB128-64b9B counts, negative ones for runs of
//! empty buckets) inside DEFLATE inside base64. It shares nothing with the crate that writes them.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// One line.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) tag: String,
    pub(crate) start_s: f64,
    pub(crate) length_s: f64,
    pub(crate) max: f64,
    /// Counts by the lowest value of their bucket.
    pub(crate) counts: BTreeMap<u64, u64>,
}

/// A whole log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) version: String,
    /// Seconds since the epoch.
    pub(crate) start_time_s: f64,
    pub(crate) intervals: Vec<Interval>,
}

impl Log {
    pub(crate) fn decode(text: &str) -> Self {
        let comment = |start: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(start));
            found.unwrap_or_else(|| panic!("no comment {start:?}")).to_owned()
        };
        let version = comment("#[Histogram log format version ");
        let start_time = comment("#[StartTime: ");
        let intervals = text.lines().filter(|line| line.starts_with("Tag="));
        Self {
            version: version.trim_end_matches(']').to_owned(),
            start_time_s: start_time.split(' ').next().unwrap().parse().unwrap(),
            intervals: intervals.map(interval).collect(),
        }
    }

    /// The counts of all intervals of a tag.
    pub(crate) fn sum(&self, tag: &str) -> BTreeMap<u64, u64> {
        let mut sum = BTreeMap::new();
        for interval in self.intervals.iter().filter(|interval| interval.tag == tag) {
            for (value, count) in &interval.counts {
                *sum.entry(*value).or_default() += count;
            }
        }
        sum
    }
}

fn interval(line: &str) -> Interval {
    let columns: Vec<&str> = line.split(',').collect();
    let [tag, start_s, length_s, max, histogram] = columns[..] else { panic!("five columns: {line}") };
    Interval {
        tag: tag.strip_prefix("Tag=").unwrap().to_owned(),
        start_s: start_s.parse().unwrap(),
        length_s: length_s.parse().unwrap(),
        max: max.parse().unwrap(),
        counts: counts(&from_base64(histogram)),
    }
}

fn counts(compressed: &[u8]) -> BTreeMap<u64, u64> {
    assert_eq!(u32_at(compressed, 0), 0x1c84_9314, "cookie: V2, compressed");
    let length = u32_at(compressed, 4) as usize;
    assert_eq!(compressed.len(), 8 + length);
    let mut bytes = Vec::new();
    ZlibDecoder::new(&compressed[8..]).read_to_end(&mut bytes).unwrap();
    assert_eq!(u32_at(&bytes, 0), 0x1c84_9313, "cookie: V2");
    let payload_length = u32_at(&bytes, 4) as usize;
    assert_eq!(u32_at(&bytes, 8), 0, "normalizing index offset");
    let digits = u32_at(&bytes, 12);
    let lowest = u64::from_be_bytes(bytes[16..24].try_into().unwrap());
    assert_eq!(lowest, 1, "so that the unit magnitude is 0");
    assert!((f64::from_be_bytes(bytes[32..40].try_into().unwrap()) - 1.0).abs() < f64::EPSILON);
    let payload = &bytes[40..];
    assert_eq!(payload.len(), payload_length);
    let sub_buckets = (2 * 10_u64.pow(digits)).next_power_of_two();
    let mut counts = BTreeMap::new();
    let mut rest = payload;
    let mut index = 0;
    while !rest.is_empty() {
        let number = zig_zag(leb128(&mut rest));
        if number < 0 {
            index += number.unsigned_abs();
            continue;
        }
        if number > 0 {
            counts.insert(value_at(index, sub_buckets), number.unsigned_abs());
        }
        index += 1;
    }
    counts
}

/// Nine bytes at the most; the ninth has all its bits.
fn leb128(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0..9 {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        if place == 8 {
            return value | u64::from(byte) << 56;
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn zig_zag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// The first bucket has all its sub-buckets; each after it only the upper half, each twice as wide as those before.
fn value_at(index: u64, sub_buckets: u64) -> u64 {
    let half = sub_buckets / 2;
    match (index / half).checked_sub(1) {
        None => index,
        Some(bucket) => (index % half + half) << bucket,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text.bytes().take_while(|&byte| byte != b'=') {
        let value = ALPHABET.iter().position(|&letter| letter == digit).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}
