//! Bytes on their way out.
//!
//! ```text
//!   bytes_written counts from the socket's birth ──▶
//!   ├──────── sent ────────┼────────── in the outbox ───────────┤
//!                    ▲     ▲               ▲                    ▲
//!               unit_start head       inflight_end        bytes_written
//!                    └ the write the kernel took in part ┘└ written since ┘
//! ```
//!
//! A socket has an outbox in three situations: the program's writes of this phase are being *gathered*; the kernel took
//! no more (*blocked*); or they must wait (*corked*, *connecting*). In the last two the oldest write that is not through
//! is the one *in flight*: Node counts it whole until it is, and completes what stands behind it in a second step. The
//! two marks keep that apart although it all leaves in the same system calls.
//!
//! Up to two kibibytes stand in a buffer of the outbox, if it has one, and leave in one piece. What is more stands in a chain of
//! [blocks], which grows without copying and is freed as it leaves. Outboxes are lent from a [table].

pub(super) mod blocks;
mod table;

use std::collections::VecDeque;
use std::io::IoSlice;

use self::blocks::{BLOCK, Blocks, Chain};
use super::WriteCallback;
use super::limits::waiting::Ticket;
use crate::event_loop::{Cause, TimerId};
pub(super) use table::{FEW, Offer, OutboxId, Outboxes};

/// How much an outbox's own buffer holds: some dozen lines.
pub(super) const LITTLE: usize = 2 * BLOCK;

/// What one socket has yet to hand to the kernel, and who is told when it has.
#[derive(Default)]
pub(super) struct Outbox {
    /// Where its own buffer begins in [`Store::buffers`], and where it ends: [`LITTLE`] behind, or nowhere.
    start: usize,
    end: usize,
    /// What is before this in the buffer has been sent.
    head: usize,
    /// What is before this in the buffer has been written.
    tail: usize,
    /// All there is, if the buffer has no room for it.
    ///
    /// Invariant: it has something only while the buffer has not.
    chain: Chain,
    /// Where the write begins that counts whole until it is through; an offset of the socket's life.
    pub unit_start: u64,
    /// Where the write in flight ends.
    pub inflight_end: u64,
    /// In the order of their writes.
    callbacks: VecDeque<WriteCallback>,
    /// How many of them are of the write in flight: they run at once when it is through, the others in a tick.
    inflight_callbacks: usize,
    /// The write that waits longest.
    pub cause: Cause,
    /// How much was waiting when the idle limit was last looked at: progress since then postpones it.
    pub seen_by_idle_limit: usize,
    /// Its place in the books, while it waits.
    pub ticket: Option<Ticket>,
    /// Fires when the kernel has taken nothing for too long; only while it is blocked.
    pub write_timer: Option<TimerId>,
}

/// Where the bytes of all outboxes stand.
#[derive(Default)]
pub(super) struct Store {
    /// The buffers, one after another, from the moment that the first is needed.
    buffers: Vec<u8>,
    pub blocks: Blocks,
}

impl Store {
    fn make_buffers(&mut self, count: usize) {
        if self.buffers.len() < count * LITTLE {
            // Zeroed memory of that size is the kernel's, which gives each page when it is first touched.
            let mut more = vec![0; count * LITTLE];
            more[..self.buffers.len()].copy_from_slice(&self.buffers);
            // What is large when it is freed the allocator keeps: see [`FEW`].
            self.forget_buffers(1);
            self.buffers = more;
        }
    }

    /// Nobody needs those behind the first `count`.
    fn forget_buffers(&mut self, count: usize) {
        self.buffers.truncate(count * LITTLE);
        self.buffers.shrink_to_fit();
    }
}

impl Outbox {
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

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All there is, unless it is much and therefore in [`pieces`](Self::pieces).
    #[inline(always)]
    pub fn in_one_piece<'a>(&self, store: &'a Store) -> Option<&'a [u8]> {
        if self.chain.is_empty() {
            Some(&store.buffers[self.head..self.tail])
        } else {
            self.chain.in_one_block(&store.blocks)
        }
    }

    /// Behind what there is.
    pub fn push(&mut self, store: &mut Store, bytes: &[u8]) {
        // Sent bytes at the front make room when they are at least as many as those that move: amortised O(1).
        let sent = self.head - self.start;
        if self.tail + bytes.len() > self.end && sent > 0 && sent >= self.tail - self.head {
            store.buffers.copy_within(self.head..self.tail, self.start);
            self.tail -= sent;
            self.head = self.start;
        }
        self.append(store, bytes);
    }

    /// As [`push`](Self::push), when nothing of it has been sent yet.
    #[inline(always)]
    pub fn append(&mut self, store: &mut Store, bytes: &[u8]) {
        let tail = self.tail + bytes.len();
        if !self.chain.is_empty() || tail > self.end {
            return self.push_much(store, bytes);
        }
        store.buffers[self.tail..tail].copy_from_slice(bytes);
        self.tail = tail;
    }

    #[inline(never)]
    fn push_much(&mut self, store: &mut Store, bytes: &[u8]) {
        let Store { buffers, blocks } = store;
        if self.head < self.tail {
            self.chain.push(blocks, &buffers[self.head..self.tail]);
            (self.head, self.tail) = (self.start, self.start);
        }
        self.chain.push(blocks, bytes);
    }

    /// The first `limit` bytes, as far as there are places for their pieces; says how many there are.
    pub fn pieces<'a>(&self, store: &'a Store, limit: usize, pieces: &mut [IoSlice<'a>]) -> usize {
        let Some(bytes) = self.in_one_piece(store) else { return self.chain.pieces(&store.blocks, limit, pieces) };
        pieces[0] = IoSlice::new(&bytes[..bytes.len().min(limit)]);
        1
    }

    /// The kernel took `n` bytes.
    pub fn advance(&mut self, store: &mut Store, n: usize) {
        if !self.chain.is_empty() {
            return self.chain.advance(&mut store.blocks, n);
        }
        self.head += n;
        if self.head == self.tail {
            (self.head, self.tail) = (self.start, self.start);
        }
    }

    /// What waits has been sent, or will not be.
    #[inline(always)]
    pub fn clear(&mut self, store: &mut Store) {
        (self.head, self.tail) = (self.start, self.start);
        if !self.chain.is_empty() {
            self.chain.clear(&mut store.blocks);
        }
    }

    /// How many callbacks wait.
    pub fn callbacks(&self) -> usize {
        self.callbacks.len()
    }

    pub fn push_callback(&mut self, callback: WriteCallback) {
        self.callbacks.push_back(callback);
    }

    /// All that waits is one write in flight from now on, which began at `start` and ends at `end`.
    pub fn begin_flight(&mut self, start: u64, end: u64) {
        self.unit_start = start;
        self.inflight_end = end;
        self.inflight_callbacks = self.callbacks.len();
        self.seen_by_idle_limit = self.len();
    }

    /// The kernel has all of the write in flight; these hear of it now.
    pub fn end_flight(&mut self) -> Vec<WriteCallback> {
        self.unit_start = self.inflight_end;
        self.take_inflight_callbacks()
    }

    /// Whether a write is in flight, although it may be an empty one.
    pub fn is_in_flight(&self) -> bool {
        self.inflight_end > self.unit_start || self.inflight_callbacks > 0
    }

    /// How many callbacks stand behind the write in flight.
    pub fn queued_callbacks(&self) -> usize {
        self.callbacks.len() - self.inflight_callbacks
    }

    pub fn take_inflight_callbacks(&mut self) -> Vec<WriteCallback> {
        let count = std::mem::take(&mut self.inflight_callbacks);
        self.callbacks.drain(..count).collect()
    }

    pub fn take_all_callbacks(&mut self) -> Vec<WriteCallback> {
        self.inflight_callbacks = 0;
        self.callbacks.drain(..).collect()
    }

    /// Whether there is nothing in it but bytes.
    #[inline(always)]
    fn is_clean(&self) -> bool {
        self.callbacks.capacity() == 0 && self.ticket.is_none()
    }

    #[inline(always)]
    fn reset(&mut self) {
        self.unit_start = 0;
        self.inflight_end = 0;
        self.inflight_callbacks = 0;
        self.seen_by_idle_limit = 0;
        debug_assert!(self.write_timer.is_none(), "it was blocked until now");
    }
}

#[cfg(test)]
mod model;
