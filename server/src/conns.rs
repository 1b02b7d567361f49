//! The connection table: a slab of fixed capacity whose keys carry a generation.
//!
//! A descriptor number is reused as soon as it is closed, and an event that the kernel queued for the old connection
//! may still be in the batch that is being worked through. The generation in the key tells such a stale event from one
//! that is meant for the slot's new tenant.
//!
//! The capacity is reserved as address space when the table is made and becomes memory only as slots are first used,
//! so resident memory follows the connections that were open at once, not the limit. Inserting and removing are O(1)
//! and allocate nothing.

/// Index of the empty free list, and of the keys that [`Key::reserved`] gives out: no slot ever has it.
const NO_INDEX: u32 = u32::MAX;

/// Names one connection: a slot and the generation of its tenant.
///
/// Packs into 64 bits, which an event comes back with: index in the low 32 and generation in the high ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// A key that no table ever gives out, for sources that are not connections (listeners, the wake descriptor).
    pub const fn reserved(number: u32) -> Key {
        Key { index: NO_INDEX, generation: number }
    }

    /// The number given to [`Key::reserved`], or `None` when this key names a connection.
    pub const fn reserved_number(self) -> Option<u32> {
        if self.index == NO_INDEX { Some(self.generation) } else { None }
    }

    /// The slot's number, dense from 0.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// This key as what an event comes back with.
    pub const fn bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The key that was packed into `bits`.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart on purpose")]
    pub const fn from_bits(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// What a slot holds. A value with a niche (a socket has one) makes this as large as the value alone.
#[derive(Debug)]
enum Entry<T> {
    /// Free; `next` is the next free slot or [`NO_INDEX`].
    Vacant { next: u32 },
    /// In use.
    Occupied(T),
}

/// One slot of a [`Conns`].
#[derive(Debug)]
pub struct Slot<T> {
    /// Raised at every removal, so that the keys of former tenants no longer match.
    generation: u32,
    entry: Entry<T>,
}

/// The table could not be made: that much address space is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("no address space for a table of {capacity} connections")]
pub struct TableTooLarge {
    capacity: u32,
}

/// A slab of connections with a fixed capacity.
#[derive(Debug)]
pub struct Conns<T> {
    /// As long as the most slots that were ever in use at once; its capacity is the table's and never grows.
    slots: Vec<Slot<T>>,
    capacity: u32,
    /// Head of the list of slots that were used and are free again; last freed is first reused, while it is in cache.
    free: u32,
    len: u32,
}

impl<T> Conns<T> {
    /// A table for at most `capacity` connections. Reserves address space, touches no memory.
    ///
    /// # Errors
    /// [`TableTooLarge`] when the address space is not to be had.
    pub fn with_capacity(capacity: u32) -> Result<Conns<T>, TableTooLarge> {
        let capacity = capacity.min(NO_INDEX - 1);
        let mut slots = Vec::new();
        slots.try_reserve_exact(capacity as usize).map_err(|_| TableTooLarge { capacity })?;
        Ok(Conns { slots, capacity, free: NO_INDEX, len: 0 })
    }

    /// How many connections are in the table.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no connection is in the table.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many connections fit.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Puts `value` in a free slot.
    ///
    /// # Errors
    /// Gives the value back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        let index = if self.free == NO_INDEX {
            let Some(index) = u32::try_from(self.slots.len()).ok().filter(|&index| index < self.capacity)
            else {
                return Err(value);
            };
            self.slots.push(Slot { generation: 0, entry: Entry::Vacant { next: NO_INDEX } });
            index
        } else {
            self.free
        };
        let slot = &mut self.slots[index as usize];
        if let Entry::Vacant { next } = slot.entry {
            self.free = next;
        }
        slot.entry = Entry::Occupied(value);
        self.len += 1;
        Ok(Key { index, generation: slot.generation })
    }

    /// The connection that `key` names, or `None` when it is gone.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot { generation, entry: Entry::Occupied(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// Takes the connection that `key` names out of the table, or gives `None` when it is gone already.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        let slot = &mut self.slots[key.index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let entry = std::mem::replace(&mut slot.entry, Entry::Vacant { next: self.free });
        self.free = key.index;
        self.len -= 1;
        match entry {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// How many slots were ever used: every connection's index is below this.
    pub fn used_slots(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(self.capacity)
    }

    /// The key of the connection in slot `index`, or `None` when the slot is free. For walks over the whole table.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        match self.slots.get(index as usize) {
            Some(Slot { generation, entry: Entry::Occupied(_) }) => {
                Some(Key { index, generation: *generation })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bits_give_their_key_back() {
        for key in [
            Key { index: 0, generation: 0 },
            Key { index: 7, generation: u32::MAX },
            Key { index: NO_INDEX - 1, generation: 1 },
            Key::reserved(3),
        ] {
            assert_eq!(Key::from_bits(key.bits()), key);
        }
        assert_eq!(Key::reserved(3).reserved_number(), Some(3));
        assert_eq!(Key { index: 1, generation: 3 }.reserved_number(), None);
    }

    #[test]
    fn a_full_table_gives_the_value_back() {
        let mut conns = Conns::with_capacity(1).unwrap();
        let key = conns.insert("first").unwrap();
        assert_eq!(conns.insert("second"), Err("second"));
        assert_eq!(conns.remove(key), Some("first"));
        assert!(conns.insert("third").is_ok());
    }

    #[test]
    fn a_key_of_a_former_tenant_finds_nothing() {
        let mut conns = Conns::with_capacity(4).unwrap();
        let old = conns.insert(1).unwrap();
        conns.remove(old);
        let new = conns.insert(2).unwrap();
        assert_eq!(old.index(), new.index(), "the slot is reused");
        assert_eq!(conns.get_mut(old), None);
        assert_eq!(conns.remove(old), None);
        assert_eq!(conns.get_mut(new), Some(&mut 2));
    }

    #[test]
    fn slots_are_used_only_as_far_as_connections_were_open_at_once() {
        let mut conns = Conns::with_capacity(1_000_000).unwrap();
        for _ in 0..1_000 {
            let key = conns.insert(0_u64).unwrap();
            conns.remove(key);
        }
        assert_eq!(conns.used_slots(), 1);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16),
        /// Removes the n-th of all keys that were ever given out, whether it is still valid or not.
        Remove(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![any::<u16>().prop_map(Step::Insert), any::<prop::sample::Index>().prop_map(Step::Remove)]
    }

    proptest! {
            #[test]
            fn behaves_as_a_map_of_bounded_size(steps in prop::collection::vec(step(), 0..200), capacity in 0_u32..12) {
                let mut conns = Conns::with_capacity(capacity).unwrap();
                let mut model = HashMap::new();
                let mut given = Vec::new();
                for step in steps {
                    match step {
                        Step::Insert(value) => if let Ok(key) = conns.insert(value) {
                                prop_assert!(key.index() < capacity);
                                prop_assert_eq!(model.insert(key, value), None, "a key was given out twice");
                                given.push(key);
    } else { prop_assert_eq!(model.len(), capacity as usize); },
                        Step::Remove(which) if !given.is_empty() => {
                            let key = *which.get(&given);
                            prop_assert_eq!(conns.remove(key), model.remove(&key));
                        }
                        Step::Remove(_) => {}
                    }
                    prop_assert_eq!(conns.len() as usize, model.len());
                }
                for key in given {
                    prop_assert_eq!(conns.get_mut(key).copied(), model.get(&key).copied());
                }
                let walked = (0..conns.used_slots()).filter_map(|index| conns.key_at(index)).count();
                prop_assert_eq!(walked, model.len());
            }
        }
}
