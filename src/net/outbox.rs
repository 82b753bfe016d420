//! Bytes on their way out, and the pool they are lent from.
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
//! Two kibibytes at most stand in a buffer of the outbox, and leave in one piece. What is more stands in a chain of [blocks],
//! which grows without copying and is freed as it leaves.
//!
//! Most sockets need an outbox for a fraction of a turn only. So the loop keeps the boxes in a pool: echoing a message
//! allocates nothing, and an idle socket owns none.

pub(crate) mod blocks;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use self::blocks::{BLOCK, Blocks, Chain};
use super::WriteCallback;
use super::limits::waiting::{Ticket, Waiting};
use crate::event_loop::{Cause, TimerId};

/// How much stands in the outbox's own buffer: some dozen lines.
pub(crate) const LITTLE: usize = 2 * BLOCK;

/// How many bytes of capacity the pool may keep. A fan-out of short lines to 10,000 sockets stays below it.
const POOL_CAPACITY: usize = 4 * 1024 * 1024;

/// How many boxes the pool may keep.
const POOL_BOXES: usize = 32 * 1024;

/// How many connections are no crowd.
const FEW: usize = 32;

#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// What is before this has been sent.
    head: usize,
    /// All there is, if it is more than a little.
    ///
    /// Invariant: it has something only while `bytes` has not.
    chain: Chain,
    /// Where the write begins that counts whole until it is through; an offset of the socket's life.
    pub unit_start: u64,
    /// Where the write in flight ends: callbacks up to here run at once when it is through, later ones in a tick.
    pub inflight_end: u64,
    /// Callbacks and the offsets at which they are due, ascending.
    callbacks: VecDeque<(u64, WriteCallback)>,
    pub corks: u32,
    /// The write that waits longest.
    pub cause: Cause,
    /// How much was waiting when the idle limit was last looked at: progress since then postpones it.
    pub seen_by_idle_limit: usize,
    /// Its place in the books, while it waits.
    pub ticket: Option<Ticket>,
    /// Fires when the kernel has taken nothing for too long; only while it is blocked.
    pub write_timer: Option<TimerId>,
}

impl Outbox {
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.head + self.chain.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All there is, unless it is much and therefore in [`pieces`](Self::pieces).
    #[inline(always)]
    pub fn in_one_piece(&self) -> Option<&[u8]> {
        self.chain.is_empty().then(|| &self.bytes[self.head..])
    }

    /// Behind what there is.
    pub fn push(&mut self, blocks: &mut Blocks, bytes: &[u8]) {
        if !self.chain.is_empty() || self.len() + bytes.len() > LITTLE {
            return self.push_much(blocks, bytes);
        }
        // Sent bytes at the front are dropped when they are at least as many as those that move: amortised O(1).
        if self.head > 0 && self.head >= self.len() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// As [`push`](Self::push), when nothing of it has been sent yet and with `bytes` it is still [`LITTLE`].
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        debug_assert!(self.head == 0 && self.chain.is_empty() && self.len() + bytes.len() <= LITTLE);
        self.bytes.extend_from_slice(bytes);
    }

    #[inline(never)]
    fn push_much(&mut self, blocks: &mut Blocks, bytes: &[u8]) {
        if self.chain.is_empty() {
            self.chain.push(blocks, &self.bytes[self.head..]);
            self.bytes.clear();
            self.head = 0;
        }
        self.chain.push(blocks, bytes);
    }

    /// It waits from now on, perhaps for long: the buffer takes no more memory than it needs.
    pub fn settle(&mut self) {
        self.bytes.drain(..mem::take(&mut self.head));
        self.bytes.shrink_to_fit();
    }

    /// The first `limit` bytes, as far as there are places for their pieces; says how many there are.
    pub fn pieces<'a>(&'a self, blocks: &'a Blocks, limit: usize, pieces: &mut [IoSlice<'a>]) -> usize {
        let Some(bytes) = self.in_one_piece() else { return self.chain.pieces(blocks, limit, pieces) };
        pieces[0] = IoSlice::new(&bytes[..bytes.len().min(limit)]);
        1
    }

    /// The kernel took `n` bytes.
    pub fn advance(&mut self, blocks: &mut Blocks, n: usize) {
        if !self.chain.is_empty() {
            return self.chain.advance(blocks, n);
        }
        self.head += n;
        if self.head == self.bytes.len() {
            self.head = 0;
            self.bytes.clear();
        }
    }

    /// What waits will not be sent.
    pub fn discard(&mut self, blocks: &mut Blocks) {
        self.bytes = Vec::new();
        self.head = 0;
        self.chain.clear(blocks);
    }

    /// How many callbacks wait.
    pub fn callbacks(&self) -> usize {
        self.callbacks.len()
    }

    pub fn push_callback(&mut self, due_at: u64, callback: WriteCallback) {
        self.callbacks.push_back((due_at, callback));
    }

    pub fn has_callbacks(&self) -> bool {
        !self.callbacks.is_empty()
    }

    /// The callbacks that are due up to `offset`.
    pub fn take_callbacks(&mut self, offset: u64) -> Vec<WriteCallback> {
        let count = self.callbacks.partition_point(|(due_at, _)| *due_at <= offset);
        self.callbacks.drain(..count).map(|(_, callback)| callback).collect()
    }

    pub fn take_all_callbacks(&mut self) -> Vec<WriteCallback> {
        self.take_callbacks(u64::MAX)
    }

    /// Whether nothing has to be taken out of it before it goes back to the pool.
    #[inline]
    fn is_clean(&self) -> bool {
        self.callbacks.capacity() == 0 && self.ticket.is_none() && self.chain.is_empty()
    }

    #[inline]
    fn reset(&mut self) {
        self.bytes.clear();
        self.head = 0;
        self.unit_start = 0;
        self.inflight_end = 0;
        self.corks = 0;
        self.seen_by_idle_limit = 0;
        debug_assert!(self.write_timer.is_none(), "it was blocked until now");
    }
}

/// Outboxes that nobody needs right now, and the books of those that wait.
///
/// Invariant: `capacity` is the sum of what the boxes hold, at most [`POOL_CAPACITY`].
pub(crate) struct OutboxPool {
    #[expect(
        clippy::vec_box,
        reason = "the boxes are what is pooled: a socket holds one pointer, moving it costs nothing"
    )]
    boxes: Vec<Box<Outbox>>,
    capacity: usize,
    /// The most connections since half of them had left.
    crowd: usize,
    /// Where what waits is, if it is much.
    pub blocks: Blocks,
    pub waiting: Waiting,
    /// How many bytes may wait in all of them.
    pub limit: usize,
}

impl Default for OutboxPool {
    fn default() -> Self {
        let (boxes, capacity, crowd, limit) = (Vec::new(), 0, 0, usize::MAX);
        OutboxPool { boxes, capacity, crowd, blocks: Blocks::default(), waiting: Waiting::default(), limit }
    }
}

impl OutboxPool {
    #[inline(always)]
    pub fn take(&mut self, cause: Cause) -> Box<Outbox> {
        let mut outbox = match self.boxes.pop() {
            Some(outbox) => {
                self.capacity -= outbox.bytes.capacity();
                outbox
            }
            None => new_outbox(),
        };
        outbox.cause = cause;
        outbox
    }

    #[inline(always)]
    pub fn give_back(&mut self, mut outbox: Box<Outbox>) {
        let capacity = self.capacity + outbox.bytes.capacity();
        if outbox.is_clean() && capacity <= POOL_CAPACITY && self.boxes.len() < POOL_BOXES {
            outbox.reset();
            self.capacity = capacity;
            self.boxes.push(outbox);
        } else {
            self.give_back_trimmed(outbox);
        }
    }

    /// There are so many connections now. Says whether half of a crowd has left: then nothing is kept that served it, for
    /// what lies about between other things on the heap keeps the allocator from giving the crowd's memory back.
    pub fn crowd_has_left(&mut self, connections: usize) -> bool {
        self.crowd = self.crowd.max(connections);
        self.blocks.connections_are(connections);
        if self.crowd <= FEW || connections > self.crowd / 2 {
            return false;
        }
        self.crowd = connections;
        self.boxes = Vec::new();
        self.capacity = 0;
        self.waiting.shrink();
        true
    }

    #[cold]
    #[inline(never)]
    fn give_back_trimmed(&mut self, mut outbox: Box<Outbox>) {
        if let Some(ticket) = outbox.ticket.take() {
            self.waiting.remove(ticket);
        }
        outbox.chain.clear(&mut self.blocks);
        outbox.reset();
        outbox.callbacks = VecDeque::new();
        let capacity = self.capacity + outbox.bytes.capacity();
        if capacity <= POOL_CAPACITY && self.boxes.len() < POOL_BOXES {
            self.capacity = capacity;
            self.boxes.push(outbox);
        }
    }
}

#[cold]
#[inline(never)]
fn new_outbox() -> Box<Outbox> {
    Box::default()
}

#[cfg(test)]
mod model;
