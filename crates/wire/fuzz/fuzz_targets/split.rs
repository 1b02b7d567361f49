//! An input is a first byte that says how to cut the rest into reads, a second that says under which limits,
//! and then the stream. So a seed is a stream with two bytes before it.

use tidemark_wire::http::Limits;

/// The first two bytes and the stream; none when there is no stream.
pub fn input(data: &[u8]) -> Option<(u8, u8, &[u8])> {
    match data {
        [cut, limits, stream @ ..] => Some((*cut, *limits, stream)),
        _ => None,
    }
}

/// The stream in reads whose lengths follow from `cut`: 0 gives single bytes, others lengths that vary from 0
/// up to `cut`, so that every place is cut by one `cut` or another.
pub fn reads(stream: &[u8], cut: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    let mut random = u32::from(cut);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // Numerical Recipes' generator: any will do that is the same every time.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let len = if cut == 0 {
            1
        } else {
            (random >> 16) as usize % (usize::from(cut) + 1)
        };
        let (read, left) = rest.split_at(len.min(rest.len()));
        rest = left;
        Some(read)
    })
}

/// The usual limits, or such that a short stream exceeds them.
pub fn limits(choice: u8) -> Limits {
    let choice = usize::from(choice);
    match choice {
        0..128 => Limits::default(),
        _ => Limits {
            head_bytes: (choice - 128) * 2,
            target_bytes: choice % 19,
            headers: choice % 5,
            body_bytes: choice as u64 % 23,
        },
    }
}
