//! All outboxes of a loop: a table they are lent from, and what they share.
//!
//! ```text
//!   socket ── OutboxId ──▶ │ buffered │ buffered │ … 1024 at most │ bare │ bare │ bare │ …
//!                               └─▶ its 2 KiB of one piece of memory     └─ chain ─▶ blocks
//! ```
//!
//! Most sockets need an outbox for a fraction of a turn only, so they are lent, and an idle socket owns none: echoing a
//! message allocates nothing.
//!
//! The first thousand have a buffer, are lent first and serve nearly every message. A larger crowd to which something is said
//! takes thousands more for a moment; those are bare and hold what they are given in [blocks](super::blocks). So what serves a crowd
//! lies in few large pieces of memory, which go back whole when it has left, and not in thousands of small ones between what
//! stays: of those an allocator keeps a few here and there, and with them every page that they lie on.

use std::io;
use std::num::NonZeroU32;

use super::{LITTLE, Outbox, Store};
use crate::event_loop::Cause;
use crate::net::Socket;
use crate::net::limits::waiting::Waiting;
use crate::net::state::SocketState;
use crate::net::state::flag::{BLOCKED, CONNECTING, ERRORED};

/// How many outboxes may have a buffer of [`LITTLE`] of their own: as many as hold something at the same time nearly always, for
/// a turn has as many events at most.
pub(super) const BUFFERED: usize = 1024;

/// For how many there are buffers at least. Only pages that are written to take memory.
const FEWEST_BUFFERS: usize = 64;

/// How many connections are no crowd. A table that has served one keeps room for so many: of what is large when it is freed
/// glibc keeps as much from then on (`M_MMAP_THRESHOLD` in mallopt(3)), of what has shrunk before it does not.
pub(in crate::net) const FEW: usize = 32;

/// Names an outbox, from [`Outboxes::lend`] to [`Outboxes::take_back`].
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

/// For how many outboxes there are buffers when there are so many of them.
fn buffers_for(outboxes: usize) -> usize {
    outboxes.next_power_of_two().clamp(FEWEST_BUFFERS, BUFFERED)
}

/// What became of an offer.
pub(in crate::net) enum Offer {
    /// So many bytes were taken: all there were. What waited longest was that write's.
    Taken(Cause, usize),
    /// Not all, or none, for this reason.
    Less(io::Result<usize>),
    /// It is in several pieces.
    Much,
}

const _: () = assert!(size_of::<Option<OutboxId>>() == 4, "every socket has room for one");

/// The table, and the books of those that wait.
///
/// Invariant: an outbox is either lent to one socket, or free and empty.
pub(in crate::net) struct Outboxes {
    table: Vec<Outbox>,
    /// Those with a buffer that nobody needs right now.
    free: Vec<OutboxId>,
    /// The others.
    free_bare: Vec<OutboxId>,
    /// The most connections since half of them had left.
    crowd: usize,
    pub store: Store,
    pub waiting: Waiting,
    /// How many bytes may wait in all of them.
    pub limit: usize,
}

impl Default for Outboxes {
    fn default() -> Self {
        Outboxes {
            table: Vec::new(),
            free: Vec::new(),
            free_bare: Vec::new(),
            crowd: 0,
            store: Store::default(),
            waiting: Waiting::default(),
            limit: usize::MAX,
        }
    }
}

impl Outboxes {
    /// An empty one.
    #[inline(always)]
    pub fn lend(&mut self, cause: Cause) -> OutboxId {
        let id = match self.free.pop() {
            Some(id) => id,
            None => self.lend_bare(),
        };
        self.table[id.index()].cause = cause;
        id
    }

    #[inline(never)]
    fn lend_bare(&mut self) -> OutboxId {
        if self.table.len() >= BUFFERED
            && let Some(id) = self.free_bare.pop()
        {
            return id;
        }
        let index = self.table.len();
        let mut outbox = Outbox::default();
        if index < BUFFERED {
            self.store.make_buffers(buffers_for(index + 1));
            let start = index * LITTLE;
            outbox = Outbox { start, end: start + LITTLE, head: start, tail: start, ..outbox };
        }
        self.table.push(outbox);
        OutboxId::of(index)
    }

    /// Offers `send` all that waits in it, if that is one piece. If everything is taken, the outbox is taken back.
    #[inline(always)]
    pub fn offer(&mut self, id: OutboxId, send: impl FnOnce(&[u8]) -> io::Result<usize>) -> Offer {
        let outbox = &mut self.table[id.index()];
        let Some(bytes) = outbox.in_one_piece(&self.store) else { return Offer::Much };
        let (cause, len) = (outbox.cause, bytes.len());
        match send(bytes) {
            Ok(n) if n == len => {
                self.take_back(id);
                Offer::Taken(cause, len)
            }
            result => Offer::Less(result),
        }
    }

    /// Nobody needs it any more. What still waits in it is dropped, and its callbacks with it.
    #[inline(always)]
    pub fn take_back(&mut self, id: OutboxId) {
        let outbox = &mut self.table[id.index()];
        outbox.clear(&mut self.store);
        if !outbox.is_clean() {
            return self.take_back_unclean(id);
        }
        outbox.reset();
        self.set_free(id);
    }

    #[cold]
    #[inline(never)]
    fn take_back_unclean(&mut self, id: OutboxId) {
        let outbox = &mut self.table[id.index()];
        if let Some(ticket) = outbox.ticket.take() {
            self.waiting.remove(ticket);
        }
        outbox.reset();
        let callbacks = std::mem::take(&mut outbox.callbacks);
        self.set_free(id);
        // Last, for dropping what callbacks own may run code of the program.
        drop(callbacks);
    }

    #[inline(always)]
    fn set_free(&mut self, id: OutboxId) {
        let free = if id.index() < BUFFERED { &mut self.free } else { &mut self.free_bare };
        free.push(id);
    }

    #[inline(always)]
    pub fn get(&self, id: OutboxId) -> &Outbox {
        &self.table[id.index()]
    }

    /// With what it takes to put something into it, or out.
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

    /// How many bytes of a socket have yet to reach the kernel.
    #[inline(always)]
    pub fn unsent(&self, state: &SocketState) -> usize {
        self.of(state).map_or(0, Outbox::len)
    }

    /// Node's `writableLength`: what waits in the process. Bytes that wait only because they are gathered do not count:
    /// the kernel would have taken them. A write that the kernel took in part counts whole.
    #[inline]
    pub fn writable_length(&self, state: &SocketState) -> u64 {
        match self.of(state) {
            Some(outbox) if state.is(BLOCKED | CONNECTING | ERRORED) || state.corks > 0 => {
                state.bytes_written - outbox.unit_start
            }
            _ => 0,
        }
    }

    /// Enters in the books how much waits in it now.
    pub fn count(&mut self, id: OutboxId, socket: Socket) {
        let outbox = &mut self.table[id.index()];
        let bytes = outbox.len();
        self.waiting.enter(&mut outbox.ticket, socket, bytes);
    }

    #[cfg(any(test, fuzzing))]
    pub fn lent(&self) -> usize {
        self.table.len() - self.free.len() - self.free_bare.len()
    }

    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.table.len()
    }

    /// There are so many connections now. Says whether half of a crowd has left: then nothing is kept that served it.
    pub fn crowd_has_left(&mut self, connections: usize) -> bool {
        self.crowd = self.crowd.max(connections);
        self.store.blocks.connections_are(connections);
        if self.crowd <= FEW || connections > self.crowd / 2 {
            return false;
        }
        // What is no crowd does not become one by half of it leaving.
        self.crowd = connections;
        self.shrink();
        true
    }
}

impl Outboxes {
    /// Keeps no more than what is lent needs.
    fn shrink(&mut self) {
        let mut free = std::mem::take(&mut self.free);
        free.append(&mut self.free_bare);
        free.sort_unstable_by_key(|id| id.index());
        while free.pop_if(|id| id.index() + 1 == self.table.len()).is_some() {
            self.table.pop();
        }
        self.table.shrink_to(FEW);
        self.store.forget_buffers(buffers_for(self.table.len()));
        // The lowest are lent first, so that the next crowd's end finds the highest free.
        free.reverse();
        let buffered = free.iter().position(|id| id.index() < BUFFERED).unwrap_or(free.len());
        self.free = free.split_off(buffered);
        self.free_bare = free;
        self.free_bare.shrink_to(FEW);
        self.waiting.shrink();
    }
}
