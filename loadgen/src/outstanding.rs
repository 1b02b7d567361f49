//! What has been asked on each connection of a pool and not been answered: replies come in the order of the requests.

use crate::dispatch::ConnId;

/// The most requests in flight on one connection.
pub const DEPTH_MAX: u8 = 64;

/// A request that was sent, or begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Which of the script's requests it is.
    pub turn: u16,
    /// Which of the connection's places it has with the dispatcher.
    pub lane: u8,
}

/// Up to `depth` requests for each connection, oldest first, in rings that lie side by side.
#[derive(Debug)]
pub struct Outstanding {
    depth: u8,
    rings: Box<[Asked]>,
    /// Where in its ring each connection's oldest is.
    oldest: Box<[u8]>,
    counts: Box<[u8]>,
}

impl Outstanding {
    /// Of `connections`, with nothing asked.
    pub fn new(connections: usize, depth: u8) -> Self {
        let bytes = || vec![0; connections].into_boxed_slice();
        let rings = vec![Asked::default(); connections * usize::from(depth)];
        Self { depth, rings: rings.into_boxed_slice(), oldest: bytes(), counts: bytes() }
    }

    fn at(&self, conn: ConnId, index: u8) -> usize {
        let place = (u16::from(self.oldest[conn as usize]) + u16::from(index)) % u16::from(self.depth);
        conn as usize * usize::from(self.depth) + usize::from(place)
    }

    /// How many there are on a connection.
    pub fn count(&self, conn: ConnId) -> u8 {
        self.counts[conn as usize]
    }

    /// Adds the newest.
    pub fn push(&mut self, conn: ConnId, asked: Asked) {
        let count = self.count(conn);
        debug_assert!(count < self.depth, "the dispatcher has a place for each");
        self.rings[self.at(conn, count)] = asked;
        self.counts[conn as usize] = count + 1;
    }

    /// The one that is answered next.
    pub fn oldest(&self, conn: ConnId) -> Option<Asked> {
        (self.count(conn) > 0).then(|| self.rings[self.at(conn, 0)])
    }

    /// Takes the oldest out.
    pub fn pop(&mut self, conn: ConnId) -> Option<Asked> {
        let asked = self.oldest(conn)?;
        let oldest = &mut self.oldest[conn as usize];
        *oldest = if *oldest + 1 == self.depth { 0 } else { *oldest + 1 };
        self.counts[conn as usize] -= 1;
        Some(asked)
    }

    /// Forgets those of a connection.
    pub fn clear(&mut self, conn: ConnId) {
        self.counts[conn as usize] = 0;
    }

    /// Those of a connection, the newest first.
    pub fn newest_first(&self, conn: ConnId) -> impl Iterator<Item = Asked> {
        (0..self.count(conn)).rev().map(move |index| self.rings[self.at(conn, index)])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_connection_has_a_queue_of_its_own(
            depth in 1_u8..=DEPTH_MAX, steps in prop::collection::vec((0_u32..3, 0..4), 0..300)
        ) {
            let mut outstanding = Outstanding::new(3, depth);
            let mut model = vec![VecDeque::new(); 3];
            for (number, (conn, step)) in (0_u16..).zip(steps) {
                let queue = &mut model[conn as usize];
                match step {
                    0 | 1 if queue.len() < usize::from(depth) => {
                        let asked = Asked { turn: number, lane: (number % 7) as u8 };
                        outstanding.push(conn, asked);
                        queue.push_back(asked);
                    }
                    2 => prop_assert_eq!(outstanding.pop(conn), queue.pop_front()),
                    3 if number % 5 == 0 => {
                        outstanding.clear(conn);
                        queue.clear();
                    }
                    _ => {}
                }
                prop_assert_eq!(outstanding.oldest(conn), queue.front().copied());
                prop_assert_eq!(usize::from(outstanding.count(conn)), queue.len());
                prop_assert!(outstanding.newest_first(conn).eq(queue.iter().rev().copied()));
            }
        }
    }
}
