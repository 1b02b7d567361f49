//! A coarse timer wheel: when to look at what again. Pure: time is a count of ticks.
//!
//! Made for timeouts that hardly ever come true. Nothing is ever taken out: an entry that has become pointless is found to be so
//! when it is due, by whoever is asked then, and one whose time has moved is put in again. So the path that pushes a
//! timeout further away with every byte touches no wheel, only a number of its own.

/// Ticks that the wheel tells apart. What is due later is looked at once a turn of the wheel and put back.
const SLOTS: u32 = 512;

/// Items, each with the tick it is due at.
#[derive(Debug)]
pub struct Wheel<T> {
    /// What is due at a tick is in the slot of its remainder, or earlier when it is more than a turn away.
    slots: Vec<Vec<Entry<T>>>,
    /// Everything due up to this tick has been taken out.
    done: u32,
    /// No slot before this tick has anything; `None` when none has.
    next: Option<u32>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    item: T,
    due: u32,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel at tick `now`.
    pub fn new(now: u32) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), done: now, next: None, len: 0 }
    }

    /// Entries, those that have become pointless included.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an item in. What is due already is due with the next tick.
    pub fn insert(&mut self, item: T, due: u32) {
        let tick = due.max(self.done.saturating_add(1)).min(self.done.saturating_add(SLOTS - 1));
        self.slots[(tick % SLOTS) as usize].push(Entry { item, due });
        self.next = Some(self.next.map_or(tick, |next| next.min(tick)));
        self.len += 1;
    }

    /// The next tick at which there may be something to do.
    pub const fn next_tick(&self) -> Option<u32> {
        self.next
    }

    /// Takes out everything that is due at `now` or before and hands it to `take`, in the order of ticks.
    pub fn advance(&mut self, now: u32, mut take: impl FnMut(T)) {
        if self.next.is_none_or(|next| next > now) {
            self.done = self.done.max(now);
            return;
        }
        while let Some(tick) = self.next.filter(|&next| next <= now) {
            self.done = tick;
            // Its memory is given back with it: after a storm of connections nothing of them stays.
            let entries = std::mem::take(&mut self.slots[(tick % SLOTS) as usize]);
            self.len -= entries.len();
            self.next = self.first_after(tick);
            for Entry { item, due } in entries {
                if due <= now { take(item) } else { self.insert(item, due) }
            }
        }
        self.done = self.done.max(now);
    }

    /// Keeps the items that `is_wanted` says yes to. For when most have become pointless.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(T) -> bool) {
        for slot in &mut self.slots {
            slot.retain(|entry| is_wanted(entry.item));
            slot.shrink_to_fit();
        }
        self.len = self.slots.iter().map(Vec::len).sum();
        self.next = self.first_after(self.done);
    }

    fn first_after(&self, tick: u32) -> Option<u32> {
        (1..SLOTS)
            .map(|ahead| tick.saturating_add(ahead))
            .find(|next| !self.slots[(next % SLOTS) as usize].is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn advance(wheel: &mut Wheel<u32>, now: u32) -> Vec<u32> {
        let mut taken = Vec::new();
        wheel.advance(now, |item| taken.push(item));
        taken
    }

    #[test]
    fn what_is_due_comes_out_and_the_rest_stays() {
        let mut wheel = Wheel::new(100);
        for due in [105, 103, 110] {
            wheel.insert(due, due);
        }
        assert_eq!(wheel.next_tick(), Some(103));
        assert!(advance(&mut wheel, 102).is_empty());
        assert_eq!(advance(&mut wheel, 107), [103, 105]);
        assert_eq!((wheel.next_tick(), wheel.len()), (Some(110), 1));
    }

    #[test]
    fn what_is_more_than_a_turn_away_waits_for_its_turn() {
        let mut wheel = Wheel::new(0);
        wheel.insert(1, 3 * SLOTS + 7);
        let mut looked = 0;
        while let Some(tick) = wheel.next_tick() {
            looked += 1;
            assert!(looked < 6, "once a turn, not once a tick");
            let taken = advance(&mut wheel, tick);
            assert_eq!(taken.is_empty(), tick < 3 * SLOTS + 7);
        }
    }

    #[test]
    fn a_long_pause_leaves_nothing_behind() {
        let mut wheel = Wheel::new(0);
        for due in 1..2000 {
            wheel.insert(due, due);
        }
        assert_eq!(advance(&mut wheel, 5000).len(), 1999);
        assert_eq!((wheel.next_tick(), wheel.is_empty()), (None, true));
    }

    #[test]
    fn pointless_entries_can_be_thrown_out() {
        let mut wheel = Wheel::new(0);
        for due in 1..100 {
            wheel.insert(due, due);
        }
        wheel.retain(|item| item % 10 == 0);
        assert_eq!((wheel.len(), wheel.next_tick()), (9, Some(10)));
        assert_eq!(advance(&mut wheel, 100), [10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32),
        Advance(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![(0_u32..2000).prop_map(Step::Insert), (0_u32..700).prop_map(Step::Advance)]
    }

    proptest! {
        /// The model is a list.
        #[test]
        fn it_is_a_list_of_things_that_are_due(start in 0_u32..10_000, steps in prop::collection::vec(step(), 1..200)) {
            let mut wheel = Wheel::new(start);
            let mut model: Vec<(u32, u32)> = Vec::new();
            let mut now = start;
            for (number, step) in (0_u32..).zip(steps) {
                match step {
                    Step::Insert(ahead) => {
                        let due = (now + ahead).saturating_sub(5);
                        wheel.insert(number, due);
                        model.push((number, due.max(now + 1)));
                    }
                    Step::Advance(ticks) => {
                        now += ticks;
                        let mut taken = advance(&mut wheel, now);
                        taken.sort_unstable();
                        let expected: Vec<u32> =
                            model.iter().filter(|&&(_, due)| due <= now).map(|&(item, _)| item).collect();
                        model.retain(|&(_, due)| due > now);
                        prop_assert_eq!(taken, expected);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                // It never sleeps through something, and never wakes for nothing twice at the same tick.
                let first = model.iter().map(|&(_, due)| due).min();
                prop_assert_eq!(wheel.next_tick().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next_tick(), first) {
                    prop_assert!(next <= first && next > now);
                }
            }
        }
    }
}
