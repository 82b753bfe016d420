//! All outboxes of a loop: the table from which they are lent, and the memory that they share.
//!
//! ```text
//!   socket ── OutboxId ──▶ │ buffered │ buffered │ … 1024 at most │ unbuffered │ unbuffered │ …
//!                               └─▶ 2 KiB of the shared buffer          └─ chain ─▶ blocks
//! ```
//!
//! Most sockets need an outbox for a fraction of a turn only. So outboxes are lent, an idle socket owns none, and
//! echoing a message allocates nothing.
//!
//! The first 1024 outboxes have a buffer. They are lent first and serve nearly every message. A broadcast to more
//! sockets needs thousands of outboxes for a moment. Those have no buffer and store their bytes in
//! [blocks](super::blocks).
//!
//! The reply buffer is in front of the buffers. It is lent to one outbox at a time, for the duration of a read.
//!
//! Bound: all this memory is a few large allocations. When half of the connections have closed, they shrink. Thousands
//! of small allocations would not go back to the system: an allocator keeps some of them, and with each one a whole
//! page.

use std::io;
use std::num::NonZeroU32;

use super::{BUFFER_LEN, Outbox, Store};
use crate::event_loop::Cause;
use crate::event_loop::memory::{grow_vec, shrink_vec};
use crate::net::Socket;
use crate::net::limits::waiting::Waiting;
use crate::net::state::SocketState;
use crate::net::state::flag::{BLOCKED, CONNECTING, ERRORED};

/// How many outboxes have a buffer of [`BUFFER_LEN`]. A turn has at most 1024 events, so rarely more sockets have bytes
/// to send at the same time.
pub(super) const BUFFERED: usize = 1024;

/// The least number of outboxes for which there are buffers. Only pages that are written to take memory.
const FEWEST_BUFFERS: usize = 64;

/// A table with room for this many entries is small: it is not shrunk further. Every large table is shrunk before it is
/// freed, because after freeing a large block glibc keeps later blocks up to that size (it raises its
/// `M_MMAP_THRESHOLD`, mallopt(3)).
pub(in crate::net) const SMALL_TABLE: usize = 32;

/// Names an outbox, from [`Outboxes::lend`] to [`Outboxes::take_back`]: its index plus one, so that an `Option` of it
/// takes four bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) struct OutboxId(NonZeroU32);

impl OutboxId {
    fn of(index: usize) -> OutboxId {
        OutboxId(NonZeroU32::MIN.saturating_add(index as u32))
    }

    fn index(self) -> usize {
        (self.0.get() - 1) as usize
    }
}

/// How many outboxes have a buffer when the table has this many.
fn buffers_for(outboxes: usize) -> usize {
    outboxes.next_power_of_two().clamp(FEWEST_BUFFERS, BUFFERED)
}

/// The result of [`Outboxes::offer`].
pub(in crate::net) enum Offer {
    /// All bytes were taken, this many. The cause is that of the oldest write.
    Taken(Cause, usize),
    /// Not all bytes were taken. The result is that of the system call.
    NotAll(io::Result<usize>),
    /// The bytes are in several pieces. Nothing was sent.
    InPieces,
}

const _: () = assert!(size_of::<Option<OutboxId>>() == 4, "every socket has room for one");

/// The table of outboxes, their memory, and the count of the bytes that wait in them.
///
/// Invariant: an outbox is either lent to one socket, or free and empty.
pub(in crate::net) struct Outboxes {
    table: Vec<Outbox>,
    /// Free outboxes with a buffer.
    free: Vec<OutboxId>,
    /// Free outboxes without a buffer.
    free_unbuffered: Vec<OutboxId>,
    /// The highest number of connections since the table was shrunk.
    peak: usize,
    /// The number was not small since there was no connection.
    was_large: bool,
    pub store: Store,
    /// The outboxes that wait, by size.
    pub waiting: Waiting,
    /// How many bytes may wait in all outboxes together.
    pub limit: usize,
}

impl Default for Outboxes {
    fn default() -> Self {
        Outboxes {
            table: Vec::new(),
            free: Vec::new(),
            free_unbuffered: Vec::new(),
            peak: 0,
            was_large: false,
            store: Store::default(),
            waiting: Waiting::default(),
            limit: usize::MAX,
        }
    }
}

impl Outboxes {
    /// Lends an empty outbox for a write of this cause. Prefers one with a buffer.
    #[inline(always)]
    pub fn lend(&mut self, cause: Cause) -> OutboxId {
        let id = match self.free.pop() {
            Some(id) => id,
            None => self.lend_slowly(),
        };
        self.table[id.index()].cause = cause;
        id
    }

    /// No free outbox has a buffer.
    #[inline(never)]
    fn lend_slowly(&mut self) -> OutboxId {
        // All outboxes that may have a buffer exist already, and are lent.
        if self.table.len() >= BUFFERED
            && let Some(id) = self.free_unbuffered.pop()
        {
            return id;
        }
        let index = self.table.len();
        let mut outbox = Outbox::default();
        if index < BUFFERED {
            self.store.grow_buffers(buffers_for(index + 1));
            let start = Store::len_for(index);
            outbox = Outbox { start, end: start + BUFFER_LEN, head: start, tail: start, ..outbox };
        }
        grow_vec(&mut self.table, index + 1);
        self.table.push(outbox);
        OutboxId::of(index)
    }

    /// Calls `send` with all bytes of an outbox, if they are one piece. If it takes all of them, takes the outbox back.
    #[inline(always)]
    pub fn offer(&mut self, id: OutboxId, send: impl FnOnce(&[u8]) -> io::Result<usize>) -> Offer {
        let outbox = &mut self.table[id.index()];
        let Some(bytes) = outbox.in_one_piece(&self.store) else { return Offer::InPieces };
        let (cause, len) = (outbox.cause, bytes.len());
        match send(bytes) {
            Ok(n) if n == len => {
                self.take_back(id);
                Offer::Taken(cause, len)
            }
            result => Offer::NotAll(result),
        }
    }

    /// The outbox is free from now on. Bytes and callbacks that are still in it are dropped.
    #[inline(always)]
    pub fn take_back(&mut self, id: OutboxId) {
        let outbox = &mut self.table[id.index()];
        outbox.clear(&mut self.store);
        if !outbox.has_only_bytes() {
            return self.take_back_with_callbacks(id);
        }
        outbox.reset();
        self.set_free(id);
    }

    /// As [`take_back`](Self::take_back), if the outbox has callbacks (or room for some), is counted as waiting, or has
    /// the reply buffer.
    #[cold]
    #[inline(never)]
    fn take_back_with_callbacks(&mut self, id: OutboxId) {
        self.end_reply_of(id);
        let outbox = &mut self.table[id.index()];
        if let Some(ticket) = outbox.ticket.take() {
            self.waiting.remove(ticket);
        }
        outbox.reset();
        let callbacks = std::mem::take(&mut outbox.callbacks);
        self.set_free(id);
        // Last, because dropping a callback may run user code: the destructor of a captured value.
        drop(callbacks);
    }

    #[inline(always)]
    fn set_free(&mut self, id: OutboxId) {
        let free = if id.index() < BUFFERED { &mut self.free } else { &mut self.free_unbuffered };
        free.push(id);
    }

    /// Appends bytes for which the buffer of the outbox has no room: to the reply buffer, if its socket is being read
    /// and no other outbox has that buffer, or to blocks.
    #[inline(never)]
    pub fn append_large(&mut self, id: OutboxId, head: &[u8], body: &[u8], is_being_read: bool) {
        let outbox = &mut self.table[id.index()];
        if is_being_read && outbox.fits_reply_buffer(head.len() + body.len()) {
            outbox.move_to_reply_buffer(&mut self.store, id);
        }
        outbox.append(&mut self.store, head);
        outbox.append(&mut self.store, body);
    }

    /// Whether an outbox has the reply buffer.
    #[inline(always)]
    pub fn is_replying(&self) -> bool {
        self.store.replying.is_some()
    }

    /// Takes the reply buffer back. What waits in it moves to blocks.
    pub fn end_reply(&mut self) {
        if let Some(id) = self.store.replying {
            self.end_reply_of(id);
        }
    }

    fn end_reply_of(&mut self, id: OutboxId) {
        if self.store.replying == Some(id) {
            let start = (id.index() < BUFFERED).then(|| Store::len_for(id.index()));
            self.table[id.index()].leave_reply_buffer(&mut self.store, start);
        }
    }

    #[inline(always)]
    pub fn get(&self, id: OutboxId) -> &Outbox {
        &self.table[id.index()]
    }

    /// An outbox and the store, to add bytes or to remove some.
    #[inline(always)]
    pub fn open(&mut self, id: OutboxId) -> (&mut Outbox, &mut Store) {
        (&mut self.table[id.index()], &mut self.store)
    }

    /// The outbox of a socket, if it has one now.
    #[inline(always)]
    pub fn of(&self, state: &SocketState) -> Option<&Outbox> {
        state.outbox.map(|id| self.get(id))
    }

    /// As [`of`](Self::of).
    #[inline(always)]
    pub fn of_mut(&mut self, state: &SocketState) -> Option<&mut Outbox> {
        state.outbox.map(|id| self.open(id).0)
    }

    /// How many bytes of a socket the kernel does not have yet.
    #[inline(always)]
    pub fn unsent(&self, state: &SocketState) -> usize {
        self.of(state).map_or(0, Outbox::len)
    }

    /// Node's `writableLength`: the bytes that wait in the process. Bytes that are only gathered do not count, because
    /// Node would have sent them. A write that the kernel took in part counts whole, until all of it is sent.
    #[inline]
    pub fn writable_length(&self, state: &SocketState) -> u64 {
        match self.of(state) {
            Some(outbox) if state.is(BLOCKED | CONNECTING | ERRORED) || state.corks > 0 => {
                state.bytes_written - outbox.unit_start
            }
            _ => 0,
        }
    }

    /// Updates the count of the bytes that wait in this outbox.
    pub fn count(&mut self, id: OutboxId, socket: Socket) {
        let outbox = &mut self.table[id.index()];
        let bytes = outbox.len();
        self.waiting.enter(&mut outbox.ticket, socket, bytes);
    }

    #[cfg(any(test, fuzzing))]
    pub fn lent(&self) -> usize {
        self.table.len() - self.free.len() - self.free_unbuffered.len()
    }

    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.table.len()
    }

    /// Sets the number of connections, which was `before` until now. If it has fallen to half of its peak, and the peak
    /// was not small, frees memory that is no longer needed and returns `true`. Once more when the last connection of
    /// many has gone.
    pub fn shrink_if_halved(&mut self, before: usize, connections: usize) -> bool {
        self.peak = self.peak.max(before).max(connections);
        self.store.blocks.set_connections(connections);
        self.was_large |= self.peak > SMALL_TABLE;
        let is_halved = self.peak > SMALL_TABLE && connections <= self.peak / 2;
        if !is_halved && (connections > 0 || !self.was_large) {
            return false;
        }
        // The next shrink comes at half of this number, or with the last connection if this number is small.
        self.peak = connections;
        self.was_large = connections > 0;
        self.shrink();
        true
    }
}

impl Outboxes {
    /// Frees what the lent outboxes do not need.
    fn shrink(&mut self) {
        // The table can only be cut at its end: free outboxes are removed from there, up to the last lent one.
        let mut free = std::mem::take(&mut self.free);
        free.append(&mut self.free_unbuffered);
        free.sort_unstable_by_key(|id| id.index());
        while free.pop_if(|id| id.index() + 1 == self.table.len()).is_some() {
            self.table.pop();
        }
        shrink_vec(&mut self.table, SMALL_TABLE);
        if self.table.is_empty() {
            self.store.free_buffers();
        } else {
            self.store.truncate_buffers(buffers_for(self.table.len()));
        }
        // In descending order, so that `pop` lends the lowest: the highest ones stay free and can be cut off next time.
        free.reverse();
        // The unbuffered ones, with the higher indices, come first now.
        let buffered = free.iter().position(|id| id.index() < BUFFERED).unwrap_or(free.len());
        self.free = free.split_off(buffered);
        self.free_unbuffered = free;
        shrink_vec(&mut self.free_unbuffered, SMALL_TABLE);
        shrink_vec(&mut self.free, SMALL_TABLE);
        self.waiting.shrink();
    }
}
