//! The bytes of one socket that the kernel does not have yet, and the callbacks of their writes.
//!
//! ```text
//!   offset 0: the first byte that the program wrote to the socket
//!   ├───────────── sent ─────────────┼─────────── in the outbox ───────────┤
//!                        ▲           ▲                     ▲               ▲
//!                    unit_start  first_unsent         inflight_end   bytes_written
//!                        └──────── write in flight ────────┘└── queued ────┘
//! ```
//!
//! A socket has an outbox in three situations: the writes of this phase are being *gathered*; the kernel has refused
//! bytes (*blocked*); or writes must wait (*corked*, *connecting*). In the last two the oldest incomplete write is *in
//! flight*, and the writes behind it are *queued*. Node counts the write in flight whole until all of it is sent, runs
//! its callbacks first, and those of the queued writes in a tick. `unit_start` and `inflight_end` keep the two apart,
//! although they leave in the same system calls.
//!
//! Up to two kibibytes are stored in a buffer of the outbox, if it has one, and leave in one piece. More bytes are
//! stored in a chain of [blocks], which grows without copying and frees its blocks as they are sent. Outboxes are lent
//! from a [table]. How many bytes may wait is limited in `limits.rs`.
//!
//! There is one exception: the socket that is being read may use the *reply buffer*, of which the loop has one. Answers
//! of up to 64 KiB to the bytes of one read then leave in one piece too, at the end of that read. Bytes that the kernel
//! refuses move to blocks, so the next socket finds the reply buffer free.

pub(super) mod blocks;
mod table;

use std::collections::VecDeque;
use std::io::IoSlice;

use self::blocks::{BLOCK, Blocks, Chain};
use super::WriteCallback;
use super::limits::waiting::Ticket;
use crate::event_loop::memory::free_vec;
use crate::event_loop::{Cause, TimerId};
pub(super) use table::{Offer, OutboxId, Outboxes, SMALL_TABLE};

/// The length of an outbox's buffer: enough for some dozen lines.
pub(super) const BUFFER_LEN: usize = 2 * BLOCK;

/// The length of the reply buffer: the answers to one full read of an echo server.
pub(super) const REPLY_BUFFER_LEN: usize = 64 * 1024;

/// The bytes of one socket that the kernel does not have yet.
#[derive(Default)]
pub(super) struct Outbox {
    /// The buffer is this range of [`Store::buffers`]. Empty if the outbox has no buffer. While the outbox has the
    /// reply buffer, it is the range of that one.
    start: usize,
    end: usize,
    /// The bytes that wait are `head..tail` of [`Store::buffers`].
    head: usize,
    tail: usize,
    /// All bytes, if the buffer has no room for them.
    ///
    /// Invariant: the buffer or the chain is empty.
    chain: Chain,
    /// The offset where the write in flight begins.
    pub unit_start: u64,
    /// The offset where the write in flight ends.
    pub inflight_end: u64,
    /// In the order of their writes.
    callbacks: VecDeque<WriteCallback>,
    /// How many of them, from the front, belong to the write in flight.
    inflight_callbacks: usize,
    /// A write waits for the connection, though it may be empty: Node's write in flight as soon as there is one.
    pub awaits_connection: bool,
    /// The cause of the oldest write.
    pub cause: Cause,
    /// How many bytes of the write in flight waited when the idle limit was last checked; at first the whole write. If
    /// fewer wait by now, the kernel takes bytes, and the limit starts anew.
    pub seen_by_idle_limit: usize,
    /// The entry among the outboxes that wait, while it does.
    pub ticket: Option<Ticket>,
    /// Fires when the kernel has taken no bytes for the write timeout. Only while the socket is blocked.
    pub write_timer: Option<TimerId>,
}

/// The memory of all outboxes.
#[derive(Default)]
pub(super) struct Store {
    /// The reply buffer, and behind it the buffers of the outboxes, one after another. Allocated when the first one is
    /// needed.
    buffers: Vec<u8>,
    /// The outbox that has the reply buffer.
    replying: Option<OutboxId>,
    pub blocks: Blocks,
}

impl Store {
    /// The length of [`buffers`](Self::buffers) for this many outboxes with a buffer.
    fn len_for(count: usize) -> usize {
        REPLY_BUFFER_LEN + count * BUFFER_LEN
    }

    /// Makes room for `count` buffers.
    fn grow_buffers(&mut self, count: usize) {
        let len = Self::len_for(count);
        if self.buffers.len() < len {
            // The allocator maps zeroed memory of this size, and the kernel provides each page when it is first
            // touched. So an unused reply buffer is not copied.
            let mut more = vec![0; len];
            let first = if self.replying.is_some() { 0 } else { REPLY_BUFFER_LEN.min(self.buffers.len()) };
            more[first..self.buffers.len()].copy_from_slice(&self.buffers[first..]);
            free_vec(&mut self.buffers);
            self.buffers = more;
        }
    }

    /// Frees all buffers but the first `count`.
    fn truncate_buffers(&mut self, count: usize) {
        self.buffers.truncate(Self::len_for(count));
        self.buffers.shrink_to_fit();
    }

    /// Frees all buffers. No outbox is lent.
    fn free_buffers(&mut self) {
        free_vec(&mut self.buffers);
    }
}

impl Outbox {
    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.tail - self.head + self.chain.len()
    }

    /// The offset of the first byte that waits here; the kernel has all bytes before it. `written` is the socket's
    /// `bytes_written`, the offset behind the last byte.
    #[inline]
    pub fn first_unsent(&self, written: u64) -> u64 {
        written - self.len() as u64
    }

    /// How many bytes of the write in flight wait.
    pub fn in_flight(&self, written: u64) -> usize {
        self.inflight_end.saturating_sub(self.first_unsent(written)) as usize
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes, unless they are in several pieces: see [`pieces`](Self::pieces).
    #[inline(always)]
    pub fn in_one_piece<'a>(&self, store: &'a Store) -> Option<&'a [u8]> {
        if self.chain.is_empty() {
            Some(&store.buffers[self.head..self.tail])
        } else {
            self.chain.in_one_block(&store.blocks)
        }
    }

    /// Appends bytes. Some bytes of the outbox may have been sent already.
    pub fn push(&mut self, store: &mut Store, bytes: &[u8]) {
        let sent = self.head - self.start;
        // No room at the end. If at least as many bytes were sent as are left, those that are left move to the start:
        // amortised O(1) for each byte.
        if self.tail + bytes.len() > self.end && sent > 0 && sent >= self.tail - self.head {
            store.buffers.copy_within(self.head..self.tail, self.start);
            self.tail -= sent;
            self.head = self.start;
        }
        self.append(store, bytes);
    }

    /// As [`push`](Self::push), but leaves the room of sent bytes unused. For gathering, where none have been sent.
    #[inline(always)]
    pub fn append(&mut self, store: &mut Store, bytes: &[u8]) {
        if !self.append_to_buffer(store, &[], bytes) {
            self.push_to_chain(store, bytes);
        }
    }

    /// Appends bytes in two parts if the buffer has room for them. Returns `false` if not, and has done nothing then.
    #[inline(always)]
    pub fn append_to_buffer(&mut self, store: &mut Store, head: &[u8], body: &[u8]) -> bool {
        let tail = self.tail + head.len() + body.len();
        if !self.chain.is_empty() || tail > self.end {
            return false;
        }
        let room = &mut store.buffers[self.tail..tail];
        if !head.is_empty() {
            room[..head.len()].copy_from_slice(head);
        }
        room[head.len()..].copy_from_slice(body);
        self.tail = tail;
        true
    }

    /// Whether the reply buffer has room for what waits and `len` bytes more.
    fn fits_reply_buffer(&self, len: usize) -> bool {
        self.chain.is_empty() && self.tail - self.head + len <= REPLY_BUFFER_LEN
    }

    /// Moves to the reply buffer, unless another outbox has it. `id` is the name of this outbox.
    #[inline(never)]
    fn move_to_reply_buffer(&mut self, store: &mut Store, id: OutboxId) {
        if store.replying.is_some() {
            return;
        }
        store.replying = Some(id);
        let len = self.tail - self.head;
        store.buffers.copy_within(self.head..self.tail, 0);
        (self.start, self.end) = (0, REPLY_BUFFER_LEN);
        (self.head, self.tail) = (0, len);
    }

    /// Gives the reply buffer back. Bytes that are still in it move to blocks. `start` is the start of this outbox's
    /// own buffer; an outbox that has none gets an empty range.
    fn leave_reply_buffer(&mut self, store: &mut Store, start: Option<usize>) {
        store.replying = None;
        if self.head < self.tail {
            self.chain.push(&mut store.blocks, &store.buffers[self.head..self.tail]);
        }
        (self.start, self.end) = start.map_or((0, 0), |start| (start, start + BUFFER_LEN));
        (self.head, self.tail) = (self.start, self.start);
    }

    /// Whether it has the reply buffer.
    #[inline(always)]
    fn is_replying(&self) -> bool {
        self.end == REPLY_BUFFER_LEN
    }

    /// Appends bytes to the chain, behind those of the buffer, which move there.
    #[inline(never)]
    fn push_to_chain(&mut self, store: &mut Store, bytes: &[u8]) {
        let Store { buffers, blocks, .. } = store;
        // The bytes of the buffer come first. From here on it is empty, and the chain holds everything.
        if self.head < self.tail {
            self.chain.push(blocks, &buffers[self.head..self.tail]);
            (self.head, self.tail) = (self.start, self.start);
        }
        self.chain.push(blocks, bytes);
    }

    /// Fills `pieces` with the first `limit` bytes, or with as many as fit, and returns the number of pieces.
    pub fn pieces<'a>(&self, store: &'a Store, limit: usize, pieces: &mut [IoSlice<'a>]) -> usize {
        let Some(bytes) = self.in_one_piece(store) else { return self.chain.pieces(&store.blocks, limit, pieces) };
        pieces[0] = IoSlice::new(&bytes[..bytes.len().min(limit)]);
        1
    }

    /// Removes the first `n` bytes: the kernel has them.
    pub fn advance(&mut self, store: &mut Store, n: usize) {
        if !self.chain.is_empty() {
            return self.chain.advance(&mut store.blocks, n);
        }
        self.head += n;
        // Empty: the next bytes begin at the start again.
        if self.head == self.tail {
            (self.head, self.tail) = (self.start, self.start);
        }
    }

    /// Removes all bytes.
    #[inline(always)]
    pub fn clear(&mut self, store: &mut Store) {
        (self.head, self.tail) = (self.start, self.start);
        if !self.chain.is_empty() {
            self.chain.clear(&mut store.blocks);
        }
    }

    /// The number of callbacks.
    pub fn callbacks(&self) -> usize {
        self.callbacks.len()
    }

    /// Adds the callback of the write that was added last.
    pub fn push_callback(&mut self, callback: WriteCallback) {
        self.callbacks.push_back(callback);
    }

    /// From now on everything in the outbox is one write in flight, from offset `start` to `end`.
    pub fn begin_flight(&mut self, start: u64, end: u64) {
        self.unit_start = start;
        self.inflight_end = end;
        self.inflight_callbacks = self.callbacks.len();
        self.seen_by_idle_limit = (end - start) as usize;
    }

    /// The write in flight is complete. Returns its callbacks.
    pub fn end_flight(&mut self) -> Vec<WriteCallback> {
        self.unit_start = self.inflight_end;
        self.take_inflight_callbacks()
    }

    /// The number of callbacks of queued writes.
    pub fn queued_callbacks(&self) -> usize {
        self.callbacks.len() - self.inflight_callbacks
    }

    /// Takes the callbacks of the write in flight out.
    pub fn take_inflight_callbacks(&mut self) -> Vec<WriteCallback> {
        let count = std::mem::take(&mut self.inflight_callbacks);
        self.callbacks.drain(..count).collect()
    }

    /// Takes all callbacks out.
    pub fn take_all_callbacks(&mut self) -> Vec<WriteCallback> {
        self.inflight_callbacks = 0;
        self.callbacks.drain(..).collect()
    }

    /// Whether it can be taken back on the fast path: no memory for callbacks, not counted as waiting, and without the
    /// reply buffer.
    #[inline(always)]
    fn has_only_bytes(&self) -> bool {
        self.callbacks.capacity() == 0 && self.ticket.is_none() && !self.is_replying()
    }

    /// Resets what remains when bytes and callbacks have been removed.
    #[inline(always)]
    fn reset(&mut self) {
        self.unit_start = 0;
        self.inflight_end = 0;
        self.inflight_callbacks = 0;
        self.seen_by_idle_limit = 0;
        self.awaits_connection = false;
        debug_assert!(self.write_timer.is_none(), "the timer is cleared when the socket is no longer blocked");
    }
}

#[cfg(test)]
mod model;
