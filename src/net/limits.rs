//! Limits: how much memory and time one slow peer may cost, and how much memory all of them together.
//!
//! By default there are no limits, as in Node: if a program keeps writing although `write` has returned `false`, the
//! bytes that its peer does not read fill the memory. [`Limits`] bounds one connection ([`ServerOptions::limits`],
//! [`SocketOptions::limits`], [`Socket::set_limits`]), [`Loop::set_outbox_limit`] bounds all connections together. A
//! socket that exceeds a limit is destroyed with [`Error::TooSlow`]. Other connections are not affected.
//!
//! ```text
//!   write ─┬─ the kernel takes the bytes ──▶ nothing is checked
//!          └─ the kernel refuses bytes ──▶ they wait in the outbox and are counted
//!                │
//!                ├─ the socket's own limit is exceeded ───────────▶ destroy this socket
//!                ├─ the kernel takes none for the write timeout ──▶ destroy this socket
//!                └─ the limit of all outboxes is exceeded ────────▶ destroy the socket with the largest outbox,
//!                                                                   and the next, until the limit is kept
//! ```
//!
//! A connection whose peer reads costs nothing here: limits are checked only when the kernel has refused bytes, or when
//! bytes wait for another reason (a cork, no connection yet).
//!
//! [`ServerOptions::limits`]: super::ServerOptions::limits
//! [`SocketOptions::limits`]: super::SocketOptions::limits

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

/// Limits on the memory and time that one connection may cost. Default: [`Limits::NONE`], as in Node.
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
/// # All limits
///
/// | limit on | library | `bucle serve` | when it is reached | reason for the command's value |
/// |---|---|---|---|---|
/// | connections of a server | [none](super::ServerOptions::max_connections) | open files − 32 | [a message](super::ServerOptions::full_message), then closed | |
/// | connections of all servers | [none](crate::Loop::set_connection_limit) | open files − 32 | [a message](super::ServerOptions::full_message), then closed | Redis reserves 32, too (`CONFIG_MIN_RESERVED_FDS`) |
/// | events per turn | [1,024](crate::EventLoop::events_per_turn), as libuv | 128 | the rest in the next turn | a hundred clients that each send a line to all others take milliseconds |
/// | accepts per turn | [1](super::ServerOptions::accepts_per_turn), as Node | 64 | the rest in the next turn | thousands of connects take dozens of turns |
/// | connections that wait to be accepted | [511](super::BACKLOG), as Node | 511 | the client's kernel tries again | |
/// | reads of 64 KiB per socket and turn | [32](Limits::reads_per_turn), as libuv | 32; 1 for lines | the rest in the next turn | one read may contain thousands of lines, each sent to all clients |
/// | bytes sent per socket and turn | 1 MiB | 1 MiB | the rest in the next turn | about as much as is read per turn |
/// | gathered bytes of all sockets | 8 MiB | 8 MiB | a write is sent immediately, with the gathered bytes of its socket | |
/// | queued bytes before `write` returns `false` | [16 KiB](super::HIGH_WATER_MARK), as Node | 64 KiB | a server that answers pauses the socket | one full read |
/// | inbox of a paused socket | high-water mark and one read | the same | the socket is not read | |
/// | outbox of one socket | [none](Limits::outbox_bytes) | 1 MiB | [`Error::TooSlow`], reset | a thousand lines of a chat |
/// | callbacks of one socket | [none](Limits::callbacks) | uses no callbacks | [`Error::TooSlow`], reset | |
/// | time in which the kernel takes no bytes | [none](Limits::write_timeout) | 30 s | [`Error::TooSlow`], reset | half of nginx's `send_timeout` |
/// | all outboxes together | [none](crate::Loop::set_outbox_limit) | 64 MiB | the socket with the largest: [`Error::TooSlow`], reset | 64 peers, each at its own limit |
/// | time without an acknowledgement | [the system's](super::ServerOptions::user_timeout) | 70 s | `ETIMEDOUT` | keepalive's 60 s and its ten probes |
/// | keepalive | [off](super::ServerOptions::keep_alive) | after 60 s, 10 × 1 s | `ETIMEDOUT` | interval and count as in libuv |
/// | refused connections that are still open | 16 | 16 | the next one is closed immediately | part of the 32 reserved descriptors |
/// | idle time | [none](super::ServerOptions::timeout) | none (`--idle-timeout`) | `on_timeout`, [a message](super::ServerOptions::idle_message), then closed | |
/// | a line of telnet | [64 KiB](crate::telnet::Options::max_line) | 64 KiB | a message, then closed | one full read |
/// | a subnegotiation of telnet | the first 1 KiB | 1 KiB | the rest is skipped | |
/// | options of telnet | [those allowed](crate::telnet::Options::policy), at most 255 | none | refused; after 64 refusals of one option its requests get no answer | no client asks so often |
/// | memory kept for later outboxes | buffers: 2 KiB per connection, at most 2 MiB, and 64 KiB for the socket that is being read; blocks: 256 KiB and 16 KiB per connection, at most 8 MiB | the same | freed | a high-water mark per connection |
/// | log lines that are not read | | 1 MiB | lines are dropped and counted | about ten thousand lines |
/// | a trace | the ring's capacity (`Loop::start_trace`) | a file of 256 MiB | recording stops | |
/// | time of a drain | [4.5 s](super::Drain) | 4.5 s | the rest is destroyed | the command promises to end within 5 s |
///
/// Other queues are bounded by these. The ready list and the lists of unsent, pending and closing sockets have at most
/// one entry per socket. Ticks and microtasks are drained after every callback, so one read is all that a peer can fill
/// them with. Only the program fills timers, immediates and [posts](crate::Remote::post), so it has to limit them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes may wait in the process because the kernel has refused them, or because the socket is corked or
    /// not connected yet. Default: no limit.
    ///
    /// A write that would exceed the limit is not queued. If the kernel takes a part of a write, the rest counts: a
    /// single write that is larger than the limit and the kernel's buffer together exceeds it, too. Choose a limit well
    /// above the high-water mark, at which `write` returns `false` and the program should stop writing.
    pub outbox_bytes: Option<usize>,
    /// How many write and end callbacks may wait. Empty writes have callbacks too, so bytes alone do not bound them.
    /// Default: no limit.
    pub callbacks: Option<usize>,
    /// How long bytes may wait while the kernel takes none of them: its buffer is full, and the peer reads nothing. In
    /// whole milliseconds. Default: zero, no limit.
    ///
    /// When the time is over, one more send is tried before the socket is destroyed. The kernel reports a socket as
    /// writable only when a good part of its buffer is free, so without that send a slow reader would be mistaken for a
    /// stalled one.
    pub write_timeout: Duration,
    /// How many full reads of 64 KiB this connection gets in one turn before other connections are served; at least
    /// one. Default: [`READS_PER_TURN`].
    pub reads_per_turn: usize,
}

impl Limits {
    /// No limits, except on the reads per turn.
    pub const NONE: Limits =
        Limits { outbox_bytes: None, callbacks: None, write_timeout: Duration::ZERO, reads_per_turn: READS_PER_TURN };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::NONE
    }
}

/// The limit that was exceeded, with its value; in [`Error::TooSlow`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::outbox_bytes`].
    OutboxBytes(usize),
    /// [`Limits::callbacks`].
    Callbacks(usize),
    /// [`Limits::write_timeout`].
    WriteTimeout(Duration),
    /// [`Loop::set_outbox_limit`]. This socket had the largest outbox.
    AllOutboxes(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::OutboxBytes(bytes) => write!(f, "the limit is {bytes} bytes"),
            Limit::Callbacks(count) => write!(f, "the limit is {count} callbacks"),
            Limit::WriteTimeout(time) => write!(f, "none was sent for {time:?}"),
            Limit::AllOutboxes(bytes) => write!(f, "the largest outbox when all together exceeded {bytes} bytes"),
        }
    }
}

impl Net {
    /// The limits that hold for a socket: its own, or those of the server that accepted it.
    fn limits<'a>(&'a self, state: &'a SocketState) -> &'a Limits {
        let own = state.more.as_ref().and_then(|more| more.limits.as_deref());
        own.or_else(|| Some(&self.servers.at(state.server)?.options.limits)).unwrap_or(&Limits::NONE)
    }

    /// How many callbacks of writes and ends wait.
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
    /// Limits the bytes that may wait in all outboxes together, and so the memory that slow readers can cost the
    /// process. Default: `None`, no limit.
    ///
    /// When the limit is exceeded, the socket with the largest outbox is destroyed with [`Error::TooSlow`], and the
    /// next one, until the total is within the limit. So a peer that reads nothing is disconnected before peers that
    /// are a little behind, and no peer has to wait for another one. If more than 64 outboxes are within an eighth of
    /// the largest, the socket of any of them may be chosen.
    ///
    /// Bytes that wait only because they are gathered for the end of the phase do not count.
    pub fn set_outbox_limit(&mut self, limit: Option<usize>) {
        self.net.outboxes.limit = limit.unwrap_or(usize::MAX);
        self.evict_largest();
    }

    /// Limits the connections that all servers of the loop may have together. Default: `None`, no limit. Beyond it a
    /// connection is refused, as by a server that is full
    /// ([`ServerOptions::max_connections`](super::ServerOptions::max_connections), which limits a single server). Open
    /// connections are not affected, and sockets that connect are not counted.
    pub fn set_connection_limit(&mut self, limit: Option<usize>) {
        self.net.accepted_limit = limit;
    }

    pub(super) fn set_socket_limits(&mut self, socket: Socket, limits: Limits) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return;
        }
        let is_waiting = state.is_waiting();
        state.more().limits = Some(Box::new(limits));
        // The timer has the old write timeout. If bytes wait, the new limits are checked now.
        self.stop_write_timer(socket);
        if is_waiting {
            self.outbox_waits(socket);
        }
    }

    /// Whether a write of `bytes` bytes and `callbacks` callbacks would exceed a limit of its socket: the error, if so.
    /// Always `None` while writes need not wait.
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

    /// A write or end that exceeds a limit: it fails, with all that waited before it, and the socket is destroyed.
    #[cold]
    pub(super) fn refuse_overrun(&mut self, socket: Socket, callback: Option<WriteCallback>, error: Error) {
        match (self.net.outbox_mut(socket), callback) {
            // Behind the others: callbacks run in the order of the writes.
            (Some(outbox), Some(callback)) => outbox.push_callback(callback),
            (_, callback) => self.call_back(socket, callback, Err(error.clone())),
        }
        self.destroy_too_slow(socket, error);
    }

    /// An outbox has begun to wait, or holds more bytes than before: counts it, starts the write timeout, and checks
    /// the limits. May destroy this socket, and others.
    #[cold]
    pub(super) fn outbox_waits(&mut self, socket: Socket) {
        self.count_outbox(socket);
        // A write that the kernel took in part was not checked before: its rest is counted only now.
        if let Some(error) = self.overrun(socket, 0, 0) {
            return self.destroy_too_slow(socket, error);
        }
        self.time_blocked_write(socket);
        self.evict_largest();
    }

    /// Updates the total of queued bytes, and the place of this outbox among the others, in [`waiting`].
    pub(super) fn count_outbox(&mut self, socket: Socket) {
        if let Some(id) = self.net.socket(socket).and_then(|state| state.outbox) {
            self.net.outboxes.count(id, socket);
        }
    }

    /// The kernel has refused bytes: starts the write timeout, unless it runs already.
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

    /// Takes an outbox back although bytes or callbacks may wait in it. Returns the callbacks, which the caller must
    /// run.
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

    /// The timer of the write timeout: the kernel has taken no bytes since it was started.
    pub(super) fn write_timed_out(&mut self, socket: Socket, timer: TimerId) {
        let Some(sent_before) = self.sent_if_timed(socket, timer) else { return self.timers_clear(timer) };
        // The kernel may have room for a few bytes without having reported the socket as writable. This may run user
        // code: if all bytes are sent, `on_drain` and callbacks.
        self.send_queued(socket);
        if self.sent_if_timed(socket, timer) == Some(sent_before)
            && let Some(state) = self.net.socket(socket)
        {
            let limit = Limit::WriteTimeout(self.net.limits(state).write_timeout);
            let waiting = self.net.outboxes.unsent(state);
            self.destroy_too_slow(socket, Error::TooSlow { waiting, limit });
        }
    }

    /// How many bytes of this socket the kernel has taken. `None` if the socket is not blocked, or `timer` is not its
    /// write timer.
    fn sent_if_timed(&self, socket: Socket, timer: TimerId) -> Option<u64> {
        let state = self.net.socket(socket).filter(|state| state.is(BLOCKED))?;
        let outbox = self.net.outboxes.of(state).filter(|outbox| outbox.write_timer == Some(timer))?;
        Some(outbox.first_unsent(state.bytes_written))
    }

    /// Destroys the sockets with the largest outboxes until all outboxes together are within their limit.
    fn evict_largest(&mut self) {
        let limit = self.net.outboxes.limit;
        while self.net.outboxes.waiting.total() > limit {
            let Some((socket, waiting)) = self.net.outboxes.waiting.take_largest() else { return };
            // Its entry is removed, so the total has fallen: the loop ends even if the socket were not destroyed.
            if let Some(outbox) = self.net.outbox_mut(socket) {
                outbox.ticket = None;
            }
            self.destroy_too_slow(socket, Error::TooSlow { waiting, limit: Limit::AllOutboxes(limit) });
        }
    }

    /// Destroys a socket that has exceeded a limit.
    ///
    /// Its queued bytes are dropped immediately. Every callback gets the error; if the socket is still connecting, the
    /// callback of the first write gets [`Error::ClosedBeforeConnection`]. The peer gets a reset: after a FIN it would
    /// take the part that it has received for the whole, and the kernel would keep its own buffer until the peer reads.
    #[cold]
    fn destroy_too_slow(&mut self, socket: Socket, error: Error) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return;
        }
        if !state.is(CONNECTING) {
            // Not BLOCKED: otherwise the close phase would complete the write in flight with success.
            state.clear(BLOCKED);
            self.tick(NetTick::FailQueued(socket));
        }
        let net = &mut self.net;
        let Some(state) = net.sockets.get_mut(socket.0) else { return };
        // Set before `destroy_socket`, which would send the gathered bytes of a socket that has not failed.
        state.set(ERRORED);
        state.more().errored.get_or_insert_with(|| error.clone());
        // A linger time of zero makes the close a reset.
        state.stream.with_tcp(|stream| stream.set_linger(Some(Duration::ZERO)));
        if let Some(id) = state.outbox {
            let (outbox, store) = net.outboxes.open(id);
            // The dropped bytes do not count as written. The offsets stay in order: `unit_start` may not lie behind the
            // last byte.
            state.bytes_written -= outbox.len() as u64;
            outbox.unit_start = outbox.unit_start.min(state.bytes_written);
            outbox.clear(store);
        }
        self.destroy_socket(socket, Some(error));
    }
}

impl SocketState {
    /// Whether a write has to wait: the kernel has refused bytes, or the socket is not connected yet, corked, or has
    /// failed.
    pub(super) fn is_waiting(&self) -> bool {
        self.is(BLOCKED | CONNECTING | ERRORED) || self.corks > 0
    }
}
