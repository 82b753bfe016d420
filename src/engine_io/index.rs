//! Finds a slot by a key that the slot itself stores, so that no key is stored twice. An entry costs about 8 bytes.

use hashbrown::HashTable;

/// Slots, found by the hashes of their keys.
#[derive(Debug, Default)]
pub(crate) struct Index(HashTable<u32>);

impl Index {
    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The slot with this hash for which `is_it` holds.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |&at| is_it(at)).copied()
    }

    /// Adds a slot that is not in the index. `hash_of` is called for slots in the index when it grows.
    pub fn insert(&mut self, hash: u64, at: u32, hash_of: impl Fn(u32) -> u64) {
        self.0.insert_unique(hash, at, |&at| hash_of(at));
    }

    /// Removes a slot. Memory that is no longer needed is freed.
    pub fn remove(&mut self, hash: u64, at: u32, hash_of: impl Fn(u32) -> u64) {
        if let Ok(entry) = self.0.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        // The distance between the two limits prevents that the table shrinks and grows all the time. An empty one
        // keeps nothing: even a small block at the end of the heap holds what is free below.
        let (slots, places) = (self.0.len(), self.0.capacity());
        if places > 4 * slots.max(16) || (slots == 0 && places > 16) {
            self.0.shrink_to(2 * slots, |&at| hash_of(at));
        }
    }

    /// The memory of the table in bytes.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.0.allocation_size()
    }
}
