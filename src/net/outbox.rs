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
//! What waits for a slow peer stands in a chain of blocks. A single buffer would be as long as the next power of two, leave
//! holes of half its size behind it each time it grows, and free nothing before the last byte is out.
//!
//! ```text
//!   bytes              chain
//!   ░░░░░░▓▓▓▓▓▓▓▓ ──▶ ▓▓▓▓▓▓▓▓▓▓▓▓▓▓ ──▶ ▓▓▓▓▓▓▓▓▓
//!   sent  ▲ head       16 KiB each        grows up to that
//! ```
//!
//! Most sockets need an outbox for a fraction of a turn only. So the loop keeps the boxes in a pool: echoing a message
//! allocates nothing, and an idle socket owns none.

use std::collections::VecDeque;

use super::WriteCallback;
use super::limits::waiting::{Ticket, Waiting};
use crate::event_loop::{Cause, TimerId};

/// How many bytes of capacity one pooled outbox may keep.
const KEEP_CAPACITY: usize = 16 * 1024;

/// How many bytes of capacity the whole pool may keep. A fan-out of short lines to 10,000 sockets stays below it.
const POOL_CAPACITY: usize = 4 * 1024 * 1024;

/// How long a block of the chain is that several writes share. Redis's number (`PROTO_REPLY_CHUNK_BYTES`).
const BLOCK: usize = 16 * 1024;

/// How long a block is when it begins: what waits for thousands of peers is mostly little for each.
const FIRST_BLOCK: usize = 2 * 1024;

/// How many boxes the pool may keep, and not many more than there are connections: what lies about between other things
/// on the heap keeps the allocator from giving a crowd's memory back when it has left.
const POOL_BOXES: usize = 32 * 1024;

/// How many it may keep however few connections there are.
const SPARE_BOXES: usize = 16;

#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// What is before this has been sent.
    head: usize,
    /// What waits behind `bytes`; only while there is something.
    ///
    /// Invariant: with a chain there is something unsent in `bytes`, and what is gathered is never in a chain.
    chain: Option<Box<Chain>>,
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

/// Blocks of bytes; none is empty.
#[derive(Default)]
struct Chain {
    blocks: VecDeque<Vec<u8>>,
    len: usize,
}

impl Chain {
    fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            let block = match self.blocks.back_mut() {
                Some(block) if block.len() < BLOCK => block,
                // A long write has a block for itself: it leaves in as few system calls as it would alone.
                _ if bytes.len() >= BLOCK => return self.blocks.push_back(bytes.to_vec()),
                _ => self.blocks.push_back_mut(Vec::new()),
            };
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - block.len()));
            if block.capacity() - block.len() < now.len() {
                let capacity = (2 * block.capacity()).max(block.len() + now.len()).clamp(FIRST_BLOCK, BLOCK);
                block.reserve_exact(capacity - block.len());
            }
            block.extend_from_slice(now);
            bytes = later;
        }
    }
}

impl Outbox {
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.head + self.chain.as_ref().map_or(0, |chain| chain.len)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be sent first: all there is, unless it has been waiting ([`queue`](Self::queue)).
    #[inline(always)]
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// Behind what is gathered.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        debug_assert!(self.chain.is_none());
        // Sent bytes at the front are dropped when they are at least as many as those that move: amortised O(1).
        if self.head > 0 && self.head >= self.len() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Behind what waits.
    pub fn queue(&mut self, bytes: &[u8]) {
        if self.is_empty() || self.chain.is_none() && self.len() + bytes.len() <= BLOCK {
            self.push(bytes);
        } else if !bytes.is_empty() {
            self.chain.get_or_insert_default().push(bytes);
        }
    }

    /// As [`push`](Self::push), into one that is fresh from the pool.
    #[inline]
    pub fn push_first(&mut self, bytes: &[u8]) {
        debug_assert!(self.head == 0 && self.bytes.is_empty());
        self.bytes.extend_from_slice(bytes);
    }

    /// The kernel took `n` bytes.
    pub fn advance(&mut self, n: usize) {
        self.head += n;
        if self.head < self.bytes.len() {
            return;
        }
        self.head -= self.bytes.len();
        match self.chain.as_mut().and_then(|chain| Some((chain.blocks.pop_front()?, chain))) {
            Some((block, chain)) => {
                chain.len -= block.len();
                if chain.len == 0 {
                    self.chain = None;
                }
                self.bytes = block;
                // What was taken may end in the middle of any block.
                self.advance(0);
            }
            None => {
                debug_assert!(self.head == 0);
                self.bytes.clear();
                self.bytes.shrink_to(KEEP_CAPACITY);
            }
        }
    }

    /// What waits will not be sent.
    pub fn discard(&mut self) {
        self.bytes = Vec::new();
        self.chain = None;
        self.head = 0;
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

    /// Whether it holds no more than a pooled outbox may keep, and never waited.
    #[inline]
    fn is_small(&self) -> bool {
        self.bytes.capacity() <= KEEP_CAPACITY
            && self.callbacks.capacity() == 0
            && self.ticket.is_none()
            && self.chain.is_none()
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
    // The boxes themselves are what is pooled: a socket holds one pointer, and moving an outbox costs nothing.
    #[allow(clippy::vec_box)]
    boxes: Vec<Box<Outbox>>,
    capacity: usize,
    pub waiting: Waiting,
    /// How many bytes may wait in all of them.
    pub limit: usize,
}

impl Default for OutboxPool {
    fn default() -> Self {
        OutboxPool { boxes: Vec::new(), capacity: 0, waiting: Waiting::default(), limit: usize::MAX }
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
        if outbox.is_small() && capacity <= POOL_CAPACITY && self.boxes.len() < POOL_BOXES {
            outbox.reset();
            self.capacity = capacity;
            self.boxes.push(outbox);
        } else {
            self.give_back_trimmed(outbox);
        }
    }

    /// A connection has gone, and there are so many: with the crowd its boxes go, too.
    pub fn shrink_to(&mut self, connections: usize) {
        while self.boxes.len() > connections + SPARE_BOXES
            && let Some(outbox) = self.boxes.pop()
        {
            self.capacity -= outbox.bytes.capacity();
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back_trimmed(&mut self, mut outbox: Box<Outbox>) {
        if let Some(ticket) = outbox.ticket.take() {
            self.waiting.remove(ticket);
        }
        outbox.reset();
        outbox.bytes.shrink_to(KEEP_CAPACITY);
        outbox.callbacks = VecDeque::new();
        outbox.chain = None;
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
