//! The memory of tables that have an entry for each connection: they grow with the connections, and are small again
//! when these have left.
//!
//! A table that is not small gets a block that the allocator maps for it alone ([`MAPPED`]):
//!
//! * Growing does not copy it: the kernel moves its pages.
//! * Room that was never used costs address space and no memory.
//! * All of it goes back to the system when it is freed, because it is not between other blocks.
//!
//! The last point does not hold for small blocks, which the allocator stores beside each other:
//!
//! ```text
//!   heap, in place    │ … free … │ 32 entries │ … free …            │ end     the end stays where it is
//!   heap, moved       │ 32 entries │ … free …                       │ end     and is given back to the system
//! ```
//!
//! An allocator such as glibc's gives only the free memory at the end of this heap back to the system. A list that has
//! grown is usually at the end. If it shrank in place, its beginning would stay there, and the free memory below could
//! not be given back. So its entries move to a new block, which comes from the free memory below.

use std::collections::VecDeque;

use slab::Slab;

/// A block of this many bytes or more has a mapping of its own. glibc and musl map blocks of 128 KiB if the free memory
/// at the end of the heap, up to another 128 KiB, is too small.
const MAPPED: usize = 256 * 1024;

/// A table of more bytes than this grows into a block of [`MAPPED`] bytes at least.
const SMALL: usize = 8 * 1024;

/// The capacity that a table gets when it has to hold `len` entries of `size` bytes; `None` if it is small.
fn larger(capacity: usize, len: usize, size: usize) -> Option<usize> {
    let doubled = len.max(2 * capacity);
    (doubled * size > SMALL).then(|| doubled.max(MAPPED.div_ceil(size)))
}

/// The size of an entry of a slab in bytes: a value, or the number of the next vacant entry.
const fn entry_size<T>() -> usize {
    size_of::<Option<T>>().next_multiple_of(8)
}

/// Whether a slab is stored beside other blocks.
pub(crate) fn is_small<T>(slab: &Slab<T>) -> bool {
    slab.capacity() * entry_size::<T>() <= SMALL
}

/// Adds a value. Returns its place.
#[inline]
pub(crate) fn insert_into_slab<T>(slab: &mut Slab<T>, value: T) -> usize {
    let len = slab.len();
    if len == slab.capacity()
        && let Some(capacity) = larger(len, len + 1, entry_size::<T>())
    {
        slab.reserve_exact(capacity - len);
    }
    slab.insert(value)
}

/// Makes room for `len` entries.
pub(crate) fn grow_vec<T>(list: &mut Vec<T>, len: usize) {
    if len > list.capacity()
        && let Some(capacity) = larger(list.capacity(), len, size_of::<T>())
    {
        list.reserve_exact(capacity - list.len());
    }
}

/// Removes a value. The last one takes the memory of a table that is not small with it.
#[inline]
pub(crate) fn remove_from_slab<T>(slab: &mut Slab<T>, at: usize) -> T {
    let value = slab.remove(at);
    if slab.is_empty() && !is_small(slab) { free_slab(slab, value) } else { value }
}

/// Frees the memory of an empty slab. Returns `value`.
fn free_slab<T>(slab: &mut Slab<T>, value: T) -> T {
    // In two steps: after freeing a large block at once, glibc raises its mmap threshold and keeps more memory. A slab
    // shrinks only to the last of its values.
    slab.clear();
    let at = slab.insert(value);
    slab.shrink_to_fit();
    std::mem::take(slab).remove(at)
}

/// Frees the memory of a list.
pub(crate) fn free_vec<T>(list: &mut Vec<T>) {
    list.clear();
    // In two steps: see `free_slab`.
    list.shrink_to(1);
    *list = Vec::new();
}

/// Moves a list to a block with room for its entries, and for this number at least.
pub(crate) fn shrink_vec<T>(list: &mut Vec<T>, entries: usize) {
    if list.capacity() < entries {
        return;
    }
    let mut moved = Vec::with_capacity(list.len().max(entries));
    moved.append(list);
    // In two steps: see `free_slab`.
    list.shrink_to(1);
    *list = moved;
}

/// As [`shrink_vec`], for a queue.
pub(crate) fn shrink_queue<T>(queue: &mut VecDeque<T>, entries: usize) {
    if queue.capacity() < entries {
        return;
    }
    let mut moved = VecDeque::with_capacity(queue.len().max(entries));
    moved.append(queue);
    queue.shrink_to(1);
    *queue = moved;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_not_small_gets_a_mapping_of_its_own() {
        let (mut slab, mut list) = (Slab::new(), Vec::new());
        let mut capacities = std::collections::BTreeSet::new();
        for value in 0..100_000u64 {
            assert_eq!(insert_into_slab(&mut slab, value), value as usize);
            capacities.insert(slab.capacity());
            let len = list.len() + 1;
            grow_vec(&mut list, len);
            list.push(value);
        }
        assert!(slab.iter().all(|(at, value)| at as u64 == *value) && list.iter().copied().eq(0..100_000));
        // An entry of the slab has 16 bytes.
        let is_allowed = |capacity: usize| capacity * 16 <= SMALL || capacity * 16 >= MAPPED;
        assert!(capacities.iter().copied().all(is_allowed), "{capacities:?}");
        assert!(capacities.len() <= 14, "each is twice as large as the one before: {capacities:?}");
        assert!(list.capacity() < 200_000);
    }

    #[test]
    fn the_last_value_takes_the_memory_of_a_table_with_it() {
        let mut slab = Slab::new();
        let at: Vec<usize> = (0..1000u64).map(|value| slab.insert(value)).collect();
        for at in at.into_iter().rev() {
            assert!(slab.capacity() >= 1000);
            assert_eq!(remove_from_slab(&mut slab, at), at as u64);
        }
        assert_eq!(slab.capacity(), 0);
        let at = slab.insert(7);
        assert_eq!((remove_from_slab(&mut slab, at), slab.capacity() > 0), (7, true), "a small one keeps its room");
    }

    #[test]
    fn a_list_keeps_its_entries_in_their_order_and_room_for_more() {
        let (mut list, mut queue) = (Vec::with_capacity(10_000), VecDeque::with_capacity(10_000));
        list.extend(0..100);
        queue.extend(0..100);
        // The queue wraps around the end of its buffer.
        queue.rotate_left(50);
        shrink_vec(&mut list, 32);
        shrink_queue(&mut queue, 32);
        assert!(list.iter().copied().eq(0..100) && queue.iter().copied().eq((50..100).chain(0..50)));
        assert!(list.capacity() < 300 && queue.capacity() < 300);
        list.clear();
        queue.clear();
        shrink_vec(&mut list, 32);
        shrink_queue(&mut queue, 32);
        assert!((32..100).contains(&list.capacity()) && (32..100).contains(&queue.capacity()));
    }

    #[test]
    fn a_list_that_was_never_long_stays_as_it_is() {
        let mut list: Vec<u8> = Vec::with_capacity(16);
        let mut queue: VecDeque<u8> = VecDeque::new();
        shrink_vec(&mut list, 32);
        shrink_queue(&mut queue, 32);
        assert_eq!((list.capacity(), queue.capacity()), (16, 0));
    }
}
