//! A table whose keys never name a later occupant.
//!
//! A slot is used again as soon as its occupant has left. A [`Key`] therefore holds two numbers, the slot and the
//! serial of one occupant, and every look-up compares the serial:
//!
//! ```text
//!   slot 7             occupant #41 ── removed ──▶ empty ── insert ──▶ occupant #57
//!   Key (slot 7, #41)  finds #41                   finds nothing       finds nothing
//! ```
//!
//! Sockets, servers, sources and timers are all kept this way. The serial is stored inside the value, where it fits
//! into a gap: a socket costs 72 bytes with it, and would cost 80 if the table kept the serial beside the value.

use slab::Slab;

use super::memory::{insert_into_slab, is_small, remove_from_slab};
use super::token::Key;

/// A value that stores the serial of its own key.
pub(crate) trait HasSerial {
    fn serial(&self) -> u32;
}

/// Slots for values of one kind. Keys are checked; a bare slot number is for callers that know its occupant is there.
pub(crate) struct Slots<T> {
    slab: Slab<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slab: Slab::new() }
    }
}

impl<T: HasSerial> Slots<T> {
    /// The key that [`insert`](Self::insert) will return for a value of this serial, if nothing is inserted before.
    #[inline]
    pub fn next_key(&self, serial: u32) -> Key {
        Key::new(self.slab.vacant_key(), serial)
    }

    pub fn insert(&mut self, value: T) -> Key {
        let serial = value.serial();
        Key::new(insert_into_slab(&mut self.slab, value), serial)
    }

    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.slab.get(key.slot()).filter(|value| value.serial() == key.serial())
    }

    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slab.get_mut(key.slot()).filter(|value| value.serial() == key.serial())
    }

    /// Takes the value out. Its slot is free from here on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(remove_from_slab(&mut self.slab, key.slot()))
    }

    /// The occupant of a slot, whatever its serial.
    #[inline]
    pub fn at(&self, slot: u32) -> Option<&T> {
        self.slab.get(slot as usize)
    }

    /// As [`at`](Self::at).
    #[inline]
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slab.get_mut(slot as usize)
    }

    /// All occupants with their keys, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slab.iter().map(|(slot, value)| (Key::new(slot, value.serial()), value))
    }

    /// As [`iter`](Self::iter).
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slab.iter_mut().map(|(slot, value)| (Key::new(slot, value.serial()), value))
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// How many slots there is memory for.
    pub fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    /// Frees the slots behind the last occupant.
    pub fn shrink_to_fit(&mut self) {
        let was_small = is_small(&self.slab);
        self.slab.shrink_to_fit();
        // A large table has a mapping of its own. A small one moves: see `memory.rs`.
        if was_small {
            self.slab = std::mem::take(&mut self.slab).into_iter().collect();
        }
    }
}

/// For links between occupants, such as those of a list: the slot is known to be occupied.
impl<T> std::ops::Index<u32> for Slots<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: u32) -> &T {
        &self.slab[slot as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Slots<T> {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.slab[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Value(u32);

    impl HasSerial for Value {
        fn serial(&self) -> u32 {
            self.0
        }
    }

    #[test]
    fn a_key_does_not_find_a_later_occupant_of_its_slot() {
        let mut slots = Slots::default();
        let old = slots.insert(Value(41));
        assert_eq!(slots.remove(old), Some(Value(41)));
        let new = slots.insert(Value(57));
        assert_eq!(old.slot(), new.slot(), "the slot is used again");
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&Value(57)));
        assert_eq!(slots.at(new.index()), Some(&Value(57)), "a bare slot number finds its occupant");
    }

    #[test]
    fn the_next_key_is_the_one_that_insert_returns() {
        let mut slots = Slots::default();
        slots.insert(Value(1));
        let key = slots.next_key(2);
        assert_eq!(slots.insert(Value(2)), key);
        assert_eq!(slots.iter().map(|(key, value)| (key.serial(), value.0)).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    }
}
