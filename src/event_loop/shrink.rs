//! Tables that have grown for many connections, and are small again.
//!
//! ```text
//!   heap, in place    │ … free … │ 32 entries │ … free …            │ end     the end stays where it is
//!   heap, moved       │ 32 entries │ … free …                       │ end     and is given back to the system
//! ```
//!
//! An allocator such as glibc's gives only the free memory at the end of the heap back to the system. A large table is
//! usually at this end. If it shrank in place, its beginning would stay there, and the free memory below could not be
//! given back. So its entries move to a new block, which comes from the free memory below.

use std::collections::VecDeque;

/// Moves a list to a block with room for its entries, and for this number at least.
pub(crate) fn shrink_vec<T>(list: &mut Vec<T>, entries: usize) {
    if list.capacity() < entries {
        return;
    }
    let mut moved = Vec::with_capacity(list.len().max(entries));
    moved.append(list);
    // In two steps: after freeing a large block at once, glibc raises its mmap threshold and keeps more memory.
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
