//! Accounting of queued bytes: how many there are in all outboxes, and which outbox has the most.
//!
//! Ten thousand peers that have stopped reading are ten thousand outboxes of about the same size, and every line of a
//! broadcast makes each of them the largest for a moment. Keeping them sorted would be expensive. So they are grouped
//! in size classes, each an eighth wide and a linked list. An outbox moves only when its size reaches another class.
//!
//! ```text
//!   class    … 1024  1152  1280 … 65536  73728 …          eight classes per power of two
//!               │     │           │
//!               a     c           d ⇄ e                   the largest is d or e: both are compared
//!               ⇅
//!               b
//! ```
//!
//! | action | cost |
//! |---|---|
//! | enter, remove | a comparison; two list links when the class changes |
//! | take_largest | [`LOOKED_AT`] comparisons in the highest class; amortized, one step per class that was entered |

use slab::Slab;

use crate::event_loop::memory::{insert_into_slab, remove_from_slab};
use crate::net::Socket;

/// How many entries of the highest class are compared to find the largest. If the class has more, the result may be an
/// eighth smaller than the largest.
const LOOKED_AT: usize = 64;

/// There are `1 << CLASS_BITS` classes per power of two.
const CLASS_BITS: u32 = 3;

/// One more than the class of `usize::MAX`.
const CLASSES: usize = ((usize::BITS - CLASS_BITS) as usize + 1) << CLASS_BITS;

/// Names the entry of an outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) struct Ticket(u32);

struct Entry {
    socket: Socket,
    bytes: usize,
    class: u32,
    prev: u32,
    next: u32,
}

const _: () = assert!(size_of::<Entry>() <= 32, "a blocked connection costs this much more");

/// No entry.
const NIL: u32 = u32::MAX;

/// All outboxes with bytes that the kernel has not taken.
///
/// Invariant: `total` is the sum of the entries' bytes, and no class above `highest` has an entry.
#[derive(Default)]
pub(in crate::net) struct Waiting {
    entries: Slab<Entry>,
    /// The first entry of each class; empty until the first outbox waits.
    first: Vec<u32>,
    highest: usize,
    total: usize,
}

impl Waiting {
    /// The queued bytes of all outboxes.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Sets the size of an outbox to `bytes`. The first call makes its ticket.
    pub fn enter(&mut self, ticket: &mut Option<Ticket>, socket: Socket, bytes: usize) {
        let class = class_of(bytes);
        let Some(Ticket(index)) = *ticket else {
            let entry = Entry { socket, bytes, class: class as u32, prev: NIL, next: NIL };
            let index = insert_into_slab(&mut self.entries, entry) as u32;
            self.total += bytes;
            self.link(index, class);
            *ticket = Some(Ticket(index));
            return;
        };
        let entry = &mut self.entries[index as usize];
        self.total = self.total - entry.bytes + bytes;
        entry.bytes = bytes;
        if entry.class != class as u32 {
            self.unlink(index);
            self.link(index, class);
        }
    }

    /// Removes an outbox that is empty or gone.
    pub fn remove(&mut self, ticket: Ticket) {
        self.unlink(ticket.0);
        self.total -= remove_from_slab(&mut self.entries, ticket.0 as usize).bytes;
    }

    /// Frees the memory that the present entries do not need.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        if self.entries.is_empty() {
            self.first = Vec::new();
            self.highest = 0;
        }
    }

    /// Removes the entry of the largest outbox, or of one nearly as large; returns its socket and size.
    pub fn take_largest(&mut self) -> Option<(Socket, usize)> {
        // `highest` is only raised when entries are linked; empty classes are skipped here.
        while *self.first.get(self.highest)? == NIL {
            self.highest = self.highest.checked_sub(1)?;
        }
        let mut largest = self.first[self.highest];
        let mut index = largest;
        for _ in 0..LOOKED_AT {
            if index == NIL {
                break;
            }
            let entry = &self.entries[index as usize];
            if entry.bytes > self.entries[largest as usize].bytes {
                largest = index;
            }
            index = entry.next;
        }
        let Entry { socket, bytes, .. } = self.entries[largest as usize];
        self.remove(Ticket(largest));
        Some((socket, bytes))
    }

    /// Puts an entry at the front of its class.
    fn link(&mut self, index: u32, class: usize) {
        if self.first.is_empty() {
            self.first = vec![NIL; CLASSES];
        }
        let next = std::mem::replace(&mut self.first[class], index);
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.prev = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.class, entry.prev, entry.next) = (class as u32, NIL, next);
        self.highest = self.highest.max(class);
    }

    fn unlink(&mut self, index: u32) {
        let Entry { class, prev, next, .. } = self.entries[index as usize];
        match self.entries.get_mut(prev as usize) {
            Some(prev) => prev.next = next,
            None => self.first[class as usize] = next,
        }
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.prev = prev;
        }
    }
}

/// The class of an outbox of that size: the four highest bits of the size, added to eight times their position.
///
/// From 8 bytes on the highest of the four bits is 1, so each position has eight classes, and their numbers have no
/// gaps.
fn class_of(bytes: usize) -> usize {
    let shift = (usize::BITS - CLASS_BITS - 1).saturating_sub(bytes.leading_zeros());
    ((shift as usize) << CLASS_BITS) + (bytes >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::token::Key;

    fn socket(index: usize) -> Socket {
        Socket(Key::new(index, index as u32))
    }

    #[test]
    fn classes_are_an_eighth_wide_and_without_gaps() {
        let mut last = 0;
        for bytes in 0..100_000 {
            let class = class_of(bytes);
            assert!(class == last || class == last + 1, "at {bytes}");
            last = class;
        }
        assert_eq!(class_of(1024) + 1, class_of(1024 + 128));
        assert_eq!(class_of(usize::MAX), CLASSES - 1);
    }

    /// Compared with a plain list that is searched from end to end.
    #[test]
    fn the_largest_is_found_after_any_operations() {
        let mut waiting = Waiting::default();
        let mut plain: Vec<(usize, Option<Ticket>)> = vec![(0, None); 50];
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..50_000 {
            let at = random(50) as usize;
            match random(10) {
                0 => {
                    if let (bytes, Some(ticket)) = &mut plain[at] {
                        waiting.remove(*ticket);
                        *bytes = 0;
                        plain[at].1 = None;
                    }
                }
                1 => {
                    let most = plain.iter().filter(|(_, ticket)| ticket.is_some()).map(|(bytes, _)| *bytes).max();
                    let taken = waiting.take_largest();
                    assert_eq!(taken.map(|(_, bytes)| bytes), most);
                    if let Some((socket, _)) = taken {
                        plain[socket.0.slot()] = (0, None);
                    }
                }
                _ => {
                    let magnitude = random(24);
                    let bytes = random(1 << magnitude) as usize;
                    plain[at].0 = bytes;
                    waiting.enter(&mut plain[at].1, socket(at), bytes);
                }
            }
            assert_eq!(waiting.total(), plain.iter().map(|(bytes, _)| bytes).sum::<usize>());
        }
    }

    #[test]
    fn among_many_of_similar_size_nearly_the_largest_is_taken() {
        let mut waiting = Waiting::default();
        let mut tickets = vec![None; 10_000];
        for (at, ticket) in tickets.iter_mut().enumerate() {
            waiting.enter(ticket, socket(at), 6_000 + at % 100);
        }
        let mut total = waiting.total();
        while let Some((_, bytes)) = waiting.take_largest() {
            assert!(bytes >= 6_000);
            total -= bytes;
            assert_eq!(waiting.total(), total);
        }
        assert_eq!(total, 0);
    }
}
