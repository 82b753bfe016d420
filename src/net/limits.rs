//! Bounds: what one peer may cost, and what all of them may.
//!
//! By default there are none, as in Node: a program that writes on although `write` answered `false` grows with its
//! peer's slowness. [`Limits`] holds what one connection may take ([`ServerOptions::limits`], [`SocketOptions::limits`],
//! [`Socket::set_limits`]), [`Loop::set_outbox_limit`] what all may take together. Whoever goes over one is destroyed with
//! [`Error::TooSlow`]; nobody else notices.
//!
//! ```text
//!   write ─▶ kernel takes it                                   nothing is looked at
//!        └─▶ kernel is full ─▶ outbox waits ─┬─ over its own limit ─────────▶ this peer is given up
//!                              (counted)     ├─ over the limit of all ──────▶ the largest is given up, and the next,
//!                                            │                                until the rest is below it
//!                                            └─ the kernel takes nothing
//!                                               for the write timeout ───────▶ this peer is given up
//! ```
//!
//! Nothing here costs a connection anything whose peer reads: the checks stand where the kernel has refused.

pub(super) mod waiting;

use std::fmt;
use std::time::Duration;

use super::outbox::{Outbox, OutboxId};
use super::state::SocketState;
use super::state::flag::*;
use super::{Error, Net, NetTick, NetTimer, Socket, WriteCallback};
use crate::event_loop::{Loop, TimerId};

/// How many full reads one socket gets in one turn; libuv's number (`uv__read` in `src/unix/stream.c`).
pub const READS_PER_TURN: usize = 32;

/// What one connection may take. Default: [`Limits::NONE`], which is what Node has.
///
/// ```
/// use std::time::Duration;
/// use bucle::net::{self, Limits, ServerOptions, on};
///
/// bucle::run(|lp| {
///     lp.set_outbox_limit(Some(64 * 1024 * 1024));
///     let limits = Limits {
///         outbox_bytes: Some(1024 * 1024),
///         write_timeout: Duration::from_secs(30),
///         ..Limits::NONE
///     };
///     let options = ServerOptions { limits, ..ServerOptions::default() };
///     let server = net::listen_with(lp, ("127.0.0.1", 0), options, on())?;
///     server.close(lp); // A real server would stay.
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
///
/// # Every limit there is
///
/// | what | here | `bucle serve` | beyond it | whence the command's number |
/// |---|---|---|---|---|
/// | connections | [none](super::ServerOptions::max_connections) | open files − 32 | [a last message](super::ServerOptions::full_message), closed | Redis keeps 32 back (`CONFIG_MIN_RESERVED_FDS`) |
/// | events in a turn | [1,024](crate::EventLoop::events_per_turn), libuv's | 128 | the next turn | a word to all from each of a hundred in milliseconds |
/// | accepts in a turn | [1](super::ServerOptions::accepts_per_turn), Node's | 64 | the next turn | a storm of thousands in dozens of turns |
/// | waiting to be accepted | [511](super::BACKLOG), Node's | 511 | the kernel lets them try again | |
/// | reads of 64 KiB in a turn | [32](Limits::reads_per_turn), libuv's | 32; 1 where they are lines | the next turn | a read may be thousands of lines, each for everybody |
/// | bytes sent of one socket at a time | 1 MiB | 1 MiB | the next turn | about what it is read |
/// | gathered for the end of the phase, of all sockets | 8 MiB | 8 MiB | a write takes along what its socket has | |
/// | what waits before `write` answers `false` | [16 KiB](super::HIGH_WATER_MARK), Node's | 64 KiB | servers that answer read no more from it | one full read |
/// | inbox of a paused socket | high-water mark and one read | the same | nothing more is read | |
/// | outbox of one socket | [none](Limits::outbox_bytes) | 1 MiB | [`Error::TooSlow`], reset | a thousand lines of a chat |
/// | callbacks of one socket | [none](Limits::callbacks) | it uses none | [`Error::TooSlow`], reset | |
/// | nothing taken of the outbox | [for ever](Limits::write_timeout) | 30 s | [`Error::TooSlow`], reset | half of nginx's `send_timeout` |
/// | all outboxes | [none](crate::Loop::set_outbox_limit) | 64 MiB | the largest: [`Error::TooSlow`], reset | 64 stuck peers at their own limit |
/// | nothing acknowledged | [the system's](super::ServerOptions::user_timeout) | 70 s | `ETIMEDOUT` | the keepalive's delay and its ten questions |
/// | keepalive | [off](super::ServerOptions::keep_alive) | after 60 s, 10 × 1 s | `ETIMEDOUT` | libuv's interval and count |
/// | refused connections that are still open | 16 | 16 | the next one is closed without waiting | of the 32 kept back |
/// | idle time | [no limit](super::ServerOptions::timeout) | no limit (`--idle-timeout`) | `on_timeout`, [a last message](super::ServerOptions::idle_message), closed | |
/// | a line of telnet | [64 KiB](crate::telnet::Options::max_line) | 64 KiB | told, closed | one full read |
/// | a subnegotiation of telnet | 1 KiB kept | 1 KiB | the rest is skipped | |
/// | options of telnet | [what is allowed](crate::telnet::Options::policy), 255 at most | none | refused, 64 times each with an answer | no client asks so often |
/// | kept for the next outbox | 2 KiB of buffer for each of a crowd, at most 2 MiB; 256 KiB in blocks, 16 KiB a connection, at most 8 MiB | the same | freed | a high-water mark for each |
/// | the log that nobody reads | | 1 MiB | lines are dropped and counted | some ten thousand lines |
/// | a trace | as many records as asked for (`Loop::start_trace`) | 256 MiB of file | recording stops | |
/// | closing in order | [4.5 s](super::Drain) | 4.5 s | the rest is destroyed | within the five seconds that the command promises |
///
/// What else there is has its size from these: the ready list, the lists of unsent, pending and closing sockets have one
/// entry per socket at most; ticks and microtasks are drained after every callback, so a peer fills them with no more than
/// one read. What only the program fills (timers, immediates, [posts](crate::Remote::post) of its threads) is the program's
/// to bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes may wait in the process because the kernel takes no more, the connection is not there yet, or it is
    /// corked. Default: no limit.
    ///
    /// A write that would take it over the limit is not queued; one that the kernel took in part counts with its rest, so a
    /// single write of more than the limit and the kernel's buffer is too much, too. Choose it well above the high-water
    /// mark, from which on `write` answers `false` and a program should stop by itself.
    pub outbox_bytes: Option<usize>,
    /// How many write and end callbacks may wait. Empty writes have callbacks too, so bytes alone do not bound them.
    /// Default: no limit.
    pub callbacks: Option<usize>,
    /// How long bytes may wait without the kernel taking a single one: its buffer is full, and the peer reads nothing.
    /// Whole milliseconds. Default: zero, which is for ever.
    ///
    /// Before it gives up it asks the kernel once more, which reports room only once a good part of its buffer is free: a
    /// slow reader is none that has stopped.
    pub write_timeout: Duration,
    /// How many full reads of 64 KiB this connection gets in one turn before others have theirs; at least one. Default:
    /// [`READS_PER_TURN`].
    pub reads_per_turn: usize,
}

impl Limits {
    /// Nothing is limited but the reads of a turn.
    pub const NONE: Limits =
        Limits { outbox_bytes: None, callbacks: None, write_timeout: Duration::ZERO, reads_per_turn: READS_PER_TURN };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::NONE
    }
}

/// Which limit a peer went over, and how it was set; in [`Error::TooSlow`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::outbox_bytes`].
    OutboxBytes(usize),
    /// [`Limits::callbacks`].
    Callbacks(usize),
    /// [`Limits::write_timeout`].
    WriteTimeout(Duration),
    /// [`Loop::set_outbox_limit`]: of all peers, the most was waiting for this one.
    AllOutboxes(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::OutboxBytes(bytes) => write!(f, "the limit is {bytes} bytes"),
            Limit::Callbacks(count) => write!(f, "the limit is {count} callbacks"),
            Limit::WriteTimeout(time) => write!(f, "none was taken for {time:?}"),
            Limit::AllOutboxes(bytes) => write!(f, "the largest outbox when all were over {bytes} bytes"),
        }
    }
}

impl Net {
    /// The limits that hold for a socket: its own, or those of the server that accepted it.
    fn limits<'a>(&'a self, state: &'a SocketState) -> &'a Limits {
        let own = state.more.as_ref().and_then(|more| more.limits.as_deref());
        own.or_else(|| Some(&self.servers.at(state.server)?.options.limits)).unwrap_or(&Limits::NONE)
    }

    fn waiting_callbacks(&self, state: &SocketState) -> usize {
        let writes = self.outboxes.of(state).map_or(0, Outbox::callbacks);
        writes + state.more.as_ref().map_or(0, |more| more.end_callbacks.len())
    }

    /// How many full reads a socket gets in one turn.
    pub(super) fn reads_per_turn(&self, socket: Socket) -> usize {
        self.socket(socket).map_or(0, |state| self.limits(state).reads_per_turn)
    }
}

impl Loop {
    /// Limits the bytes that may wait in all outboxes together, which is what slow readers can cost a process. `None`, the
    /// default, is no limit.
    ///
    /// When it is exceeded the largest outbox's socket is destroyed with [`Error::TooSlow`], and the next, until what is
    /// left is below it. So one who does not read at all is given up before many who are a little behind, and nobody is
    /// made to wait for another. Of more than 64 outboxes that differ by less than an eighth it is one of them.
    ///
    /// Bytes that wait only because they are gathered for the end of the phase do not count.
    pub fn set_outbox_limit(&mut self, limit: Option<usize>) {
        self.net.outboxes.limit = limit.unwrap_or(usize::MAX);
        self.evict_largest();
    }

    pub(super) fn set_socket_limits(&mut self, socket: Socket, limits: Limits) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return;
        }
        let is_waiting = state.is_waiting();
        state.more().limits = Some(Box::new(limits));
        self.stop_write_timer(socket);
        if is_waiting {
            self.outbox_waits(socket);
        }
    }

    /// Why a write that has to wait goes over a limit of its socket, if it does.
    pub(super) fn overrun(&self, socket: Socket, bytes: usize, callbacks: usize) -> Option<Error> {
        let state = self.net.socket(socket).filter(|state| state.is_waiting())?;
        let limits = self.net.limits(state);
        let waiting = self.net.outboxes.unsent(state);
        if let Some(limit) = limits.outbox_bytes.filter(|&limit| waiting.saturating_add(bytes) > limit) {
            return Some(Error::TooSlow { waiting: waiting.saturating_add(bytes), limit: Limit::OutboxBytes(limit) });
        }
        let limit = limits.callbacks.filter(|&limit| self.net.waiting_callbacks(state) + callbacks > limit)?;
        Some(Error::TooSlow { waiting, limit: Limit::Callbacks(limit) })
    }

    /// A write or end that goes over a limit: it fails with all that waited before it, and the peer is given up.
    #[cold]
    pub(super) fn refuse_overrun(&mut self, socket: Socket, callback: Option<WriteCallback>, error: Error) {
        match (self.net.outbox_mut(socket), callback) {
            // Behind the others, which are told first.
            (Some(outbox), Some(callback)) => outbox.push_callback(callback),
            (_, callback) => self.call_back(socket, callback, Err(error.clone())),
        }
        self.give_up_on(socket, error);
    }

    /// More waits in an outbox than before, or it has begun to wait: it is counted, timed, and held against the limits.
    #[cold]
    pub(super) fn outbox_waits(&mut self, socket: Socket) {
        self.count_outbox(socket);
        if let Some(error) = self.overrun(socket, 0, 0) {
            return self.give_up_on(socket, error);
        }
        self.time_blocked_write(socket);
        self.evict_largest();
    }

    /// Enters in the books how much waits in an outbox.
    pub(super) fn count_outbox(&mut self, socket: Socket) {
        if let Some(id) = self.net.socket(socket).and_then(|state| state.outbox) {
            self.net.outboxes.count(id, socket);
        }
    }

    /// The kernel has refused: from now on it has the write timeout to take something.
    fn time_blocked_write(&mut self, socket: Socket) {
        let Some(state) = self.net.socket(socket).filter(|state| state.is(BLOCKED)) else { return };
        let limit = self.net.limits(state).write_timeout;
        if limit.is_zero() || self.net.outboxes.of(state).is_none_or(|outbox| outbox.write_timer.is_some()) {
            return;
        }
        let timer = self.start_net_timer(limit, NetTimer::Write(socket));
        if let Some(outbox) = self.net.outbox_mut(socket) {
            outbox.write_timer = Some(timer);
        }
    }

    pub(super) fn stop_write_timer(&mut self, socket: Socket) {
        if let Some(timer) = self.net.outbox_mut(socket).and_then(|outbox| outbox.write_timer.take()) {
            self.timers_clear(timer);
        }
    }

    /// An outbox is taken back although something waits in it; its callbacks are for the caller to call.
    pub(super) fn take_back(&mut self, id: OutboxId) -> Vec<WriteCallback> {
        let (outbox, _) = self.net.outboxes.open(id);
        let callbacks = outbox.take_all_callbacks();
        let timer = outbox.write_timer.take();
        self.net.outboxes.take_back(id);
        if let Some(timer) = timer {
            self.timers_clear(timer);
        }
        callbacks
    }

    /// The kernel has taken nothing for the write timeout, or has not been asked.
    pub(super) fn write_timed_out(&mut self, socket: Socket, timer: TimerId) {
        let Some(sent_before) = self.sent_if_timed(socket, timer) else { return self.timers_clear(timer) };
        self.send_queued(socket);
        if self.sent_if_timed(socket, timer) == Some(sent_before)
            && let Some(state) = self.net.socket(socket)
        {
            let limit = Limit::WriteTimeout(self.net.limits(state).write_timeout);
            let waiting = self.net.outboxes.unsent(state);
            self.give_up_on(socket, Error::TooSlow { waiting, limit });
        }
    }

    /// How much the kernel has of what was written, if that timer is still the one that watches it.
    fn sent_if_timed(&self, socket: Socket, timer: TimerId) -> Option<u64> {
        let state = self.net.socket(socket).filter(|state| state.is(BLOCKED))?;
        let outbox = self.net.outboxes.of(state).filter(|outbox| outbox.write_timer == Some(timer))?;
        Some(outbox.first_unsent(state.bytes_written))
    }

    /// Takes from the largest until all together are below their limit.
    fn evict_largest(&mut self) {
        let limit = self.net.outboxes.limit;
        while self.net.outboxes.waiting.total() > limit {
            let Some((socket, waiting)) = self.net.outboxes.waiting.take_largest() else { return };
            if let Some(outbox) = self.net.outbox_mut(socket) {
                outbox.ticket = None;
            }
            self.give_up_on(socket, Error::TooSlow { waiting, limit: Limit::AllOutboxes(limit) });
        }
    }

    /// Destroys a socket whose peer is too slow. What waited for it is dropped here and now, every callback hears the error
    /// (before the connection is there the first write hears that it was closed), and the peer gets a reset: a FIN would
    /// pass the part that it has for the whole, and until it were read the kernel would keep its own buffer for a
    /// connection that nobody owns any more.
    #[cold]
    fn give_up_on(&mut self, socket: Socket, error: Error) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return;
        }
        if !state.is(CONNECTING) {
            state.clear(BLOCKED);
            self.tick(NetTick::FailQueued(socket));
        }
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return };
        state.set(ERRORED);
        state.more().errored.get_or_insert_with(|| error.clone());
        state.stream.with_tcp(|stream| stream.set_linger(Some(Duration::ZERO)));
        if let Some(id) = state.outbox {
            let (outbox, store) = net.outboxes.open(id);
            state.bytes_written -= outbox.len() as u64;
            outbox.unit_start = outbox.unit_start.min(state.bytes_written);
            outbox.clear(store);
        }
        self.destroy_socket(socket, Some(error));
    }
}

impl SocketState {
    /// Whether what is written now has to wait: the kernel has refused, there is no connection yet, or it is corked.
    pub(super) fn is_waiting(&self) -> bool {
        self.is(BLOCKED | CONNECTING | ERRORED) || self.corks > 0
    }
}
