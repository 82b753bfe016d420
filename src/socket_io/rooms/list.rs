//! Lists through the entries of a slab: an entry is appended and removed in constant time, and the order is kept.
//!
//! An entry can be in several lists. It has a [`Links`] for each.

use std::iter;

use slab::Slab;

/// No entry.
const NONE: u32 = u32::MAX;

/// The neighbours of an entry in one list.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    previous: u32,
    next: u32,
}

impl Default for Links {
    /// Of an entry that is in no list.
    fn default() -> Links {
        Links { previous: NONE, next: NONE }
    }
}

/// The first and the last entry of a list.
#[derive(Clone, Copy, Debug)]
pub struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    /// The empty list.
    fn default() -> List {
        List { first: NONE, last: NONE }
    }
}

impl List {
    /// Appends the entry in slot `at`, which is not in this list. `links` selects the links of this list.
    pub fn push<T>(&mut self, slots: &mut Slab<T>, links: fn(&mut T) -> &mut Links, at: u32) {
        *links(&mut slots[at as usize]) = Links { previous: self.last, next: NONE };
        match self.last {
            NONE => self.first = at,
            last => links(&mut slots[last as usize]).next = at,
        }
        self.last = at;
    }

    /// Removes the entry in slot `at`, which is in this list.
    pub fn remove<T>(&mut self, slots: &mut Slab<T>, links: fn(&mut T) -> &mut Links, at: u32) {
        let Links { previous, next } = *links(&mut slots[at as usize]);
        match previous {
            NONE => self.first = next,
            previous => links(&mut slots[previous as usize]).next = next,
        }
        match next {
            NONE => self.last = previous,
            next => links(&mut slots[next as usize]).previous = previous,
        }
    }

    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// The slots and entries from the first to the last.
    pub fn iter<T>(self, slots: &Slab<T>, links: fn(&T) -> &Links) -> impl Iterator<Item = (u32, &T)> {
        let entry = move |at: u32| (at != NONE).then(|| (at, &slots[at as usize]));
        iter::successors(entry(self.first), move |(_, last)| entry(links(last).next))
    }
}

/// The number of a slot in 32 bits.
pub fn slot(at: usize) -> u32 {
    // 2^32 entries do not fit into memory.
    u32::try_from(at).ok().filter(|&at| at != NONE).expect("a slab has fewer than 2^32 entries")
}
