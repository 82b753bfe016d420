//! The state of one socket, in 72 bytes.
//!
//! Reading and writing are two state machines that are nearly independent, inside one life:
//!
//! ```text
//!   life       new ── connect_to ──▶ connecting ──▶ connected ── destroy ──▶ destroyed ──▶ on_close ──▶ slot free
//!
//!   reading    READING ── FIN read ──▶ EOF ── inbox empty, on_end ──▶ END_EMITTED ───────────────┐
//!                                                                                                ├─▶ both: destroy
//!   writing    Open ── end() ──▶ Ending ── no bytes wait ──▶ ShuttingDown ── FIN ──▶ Finished ───┘
//! ```
//!
//! An idle connection is this struct and nothing else: no buffer, no heap block. State that only some sockets need is
//! kept elsewhere while it is needed: bytes to be sent in an outbox that the loop lends ([`SocketState::outbox`]),
//! everything else (an inbox, pipes, callbacks) in a box ([`More`]).
//!
//! The flags share one `u32`, so that a busy path checks everything that concerns it with one comparison.

use std::time::Duration;

use super::inbox::Inbox;
use super::leave::Leaving;
use super::outbox::OutboxId;
use super::stream::Stream;
use super::utf8::Utf8Decoder;
use super::{Error, Limits, Socket, WriteCallback};
use crate::event_loop::TimerId;
use crate::event_loop::slots::HasSerial;

/// In place of a server's slot: no server has accepted this socket.
pub(super) const NO_SERVER: u32 = u32::MAX;

/// The value of [`SocketState::idle_limit_ms`] before a limit is set.
pub(super) const IDLE_LIMIT_UNSET: u32 = u32::MAX;

/// One socket.
pub(super) struct SocketState {
    pub serial: u32,
    /// See [`flag`].
    flags: u32,
    pub stream: Stream,
    /// The slot of its handler.
    pub handler: u32,
    /// The slot of the server that accepted it, or [`NO_SERVER`].
    pub server: u32,
    /// With this many queued bytes `write` returns `false`; with this many bytes the inbox is full.
    pub high_water_mark: u32,
    /// As the program set it; 0 is off. [`IDLE_LIMIT_UNSET`] if it never did.
    pub idle_limit_ms: u32,
    pub idle_timer: Option<TimerId>,
    pub bytes_read: u64,
    /// Bytes that the program has written, sent or not.
    pub bytes_written: u64,
    /// The outbox that holds gathered, queued or corked bytes. `None` while there are none.
    pub outbox: Option<OutboxId>,
    /// How many corks hold writes back.
    pub corks: u16,
    /// Bits for the protocol above, such as telnet; see `layer.rs`.
    pub tag: u16,
    /// The rarely needed part. See [`free_more_if_empty`](Self::free_more_if_empty).
    pub more: Option<Box<More>>,
}

#[cfg(not(any(debug_assertions, test, fuzzing)))]
const _: () = assert!(size_of::<SocketState>() <= 72, "an idle connection costs this much");

/// The rarely needed part of a socket's state.
#[derive(Default)]
pub(super) struct More {
    /// Bytes that were read while the socket was not flowing.
    pub inbox: Inbox,
    /// What is read is thrown away; see `net/leave.rs`.
    pub discards_input: bool,
    /// While a peer that leaves takes what waits for it; see `net/leave.rs`.
    pub leaving: Option<Leaving>,
    /// Turns bytes into text after `set_encoding`.
    pub decoder: Option<Utf8Decoder>,
    /// The decoder came after the FIN: as in Node a character that the FIN cut in two is dropped.
    pub drops_tail: bool,
    /// Run when the FIN is sent.
    pub end_callbacks: Vec<WriteCallback>,
    /// The pipes from this socket.
    pub pipes: Vec<Pipe>,
    /// The sources of the pipes to this socket, one entry for each pipe.
    pub piped_from: Vec<Socket>,
    /// The first error, which later callbacks get.
    pub errored: Option<Error>,
    pub connecting: Option<Box<super::connect::Connecting>>,
    /// Set by a `reset_and_destroy` that must wait for the connection.
    pub resets_on_connect: Option<Reset>,
    /// `end` was called before `connect_to`: the FIN is sent as soon as the socket is connected.
    pub ends_on_connect: bool,
    /// This and the next three: options that each new descriptor of a client socket gets.
    pub no_delay: bool,
    pub urgent_in_line: bool,
    pub keep_alive: Option<Duration>,
    pub user_timeout: Duration,
    /// Limits of this socket, instead of its server's.
    pub limits: Option<Box<Limits>>,
}

impl More {
    /// Whether every field has its default, so that the box can be freed.
    fn is_empty(&self) -> bool {
        self.inbox.is_empty()
            && !self.discards_input
            && self.leaving.is_none()
            && self.decoder.is_none()
            && self.end_callbacks.is_empty()
            && self.pipes.is_empty()
            && self.piped_from.is_empty()
            && self.errored.is_none()
            && self.connecting.is_none()
            && self.resets_on_connect.is_none()
            && !self.ends_on_connect
            && !self.no_delay
            && !self.urgent_in_line
            && self.keep_alive.is_none()
            && self.user_timeout.is_zero()
            && self.limits.is_none()
    }
}

/// When a `reset_and_destroy` that waited for the connection is carried out. As in Node, the order of the calls
/// decides: writes that were made before it are sent before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    BeforeWrites,
    AfterWrites,
}

/// A pipe, as its source knows it.
#[derive(Clone, Copy)]
pub(super) struct Pipe {
    pub to: Socket,
    /// The destination is ended when the source ends.
    pub ends: bool,
    /// The source is paused until this destination drains.
    pub is_awaited: bool,
    /// The source has been paused for this destination before. From then on its drain resumes the source even if the
    /// program has paused it, as in Node.
    pub has_waited: bool,
}

/// The state of a socket's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Link {
    /// `connect_to` was never called.
    Unopened = 0,
    /// `connect_to` was called and has neither succeeded nor failed yet.
    Connecting = flag::OPENED | flag::CONNECTING,
    /// Connected or accepted. The value stays when the socket is destroyed.
    Connected = flag::OPENED,
}

/// The state of a socket's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Life {
    Alive = 0,
    /// `destroy` was called, by the program or by the loop. `on_close` is still to come.
    Destroyed = flag::DESTROYED_BIT,
    /// The tick after a destroy without an error has run: the inbox is not delivered any more.
    Silent = flag::CLOSING_BIT,
    /// `on_close` is running or has run. From here on `connect_to` may connect the socket again.
    Closing = flag::DESTROYED_BIT | flag::CLOSING_BIT,
}

/// The state of the writing side, from open to ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Writing {
    Open = 0,
    /// `end` was called, and bytes still wait.
    Ending = flag::ENDING_BIT,
    /// The shutdown is queued for the pending phase, or done.
    ShuttingDown = flag::SHUTTING_BIT,
    /// The FIN is sent and `on_finish` has been called.
    Finished = flag::ENDING_BIT | flag::SHUTTING_BIT,
}

/// The bits of [`SocketState::flags`].
///
/// Six of them hold the three enums above and are changed by the setters of the enums only. They can be tested like the
/// others ([`SocketState::is`], [`SocketState::among`]).
pub(super) mod flag {
    macro_rules! flags {
        ($($(#[$doc:meta])* $name:ident,)*) => { flags!(@ 0u32; $($(#[$doc])* $name,)*); };
        (@ $bit:expr; $(#[$doc:meta])* $name:ident, $($rest:tt)*) => {
            $(#[$doc])* pub const $name: u32 = 1 << ($bit);
            flags!(@ $bit + 1; $($rest)*);
        };
        (@ $bit:expr;) => { const _: u32 = u32::BITS - $bit; /* More flags than bits do not compile. */ };
    }

    flags! {
        /// [`Link`](super::Link): the socket has, or had, a connection or an attempt at one.
        OPENED,
        /// [`Link::Connecting`](super::Link::Connecting).
        CONNECTING,
        /// One of the two bits of [`Life`](super::Life). A test for `destroy` needs both: [`DESTROYED`].
        DESTROYED_BIT,
        /// The other one.
        CLOSING_BIT,
        /// One of the two bits of [`Writing`](super::Writing). To test whether `end` was called use [`ENDED`].
        ENDING_BIT,
        /// The other one.
        SHUTTING_BIT,

        /// It was destroyed with an error.
        HAD_ERROR,
        /// `on_error` has been called.
        ERROR_EMITTED,

        /// Data is delivered as it arrives.
        FLOWING,
        /// The program takes the data: the socket was flowing from the start, or was resumed. Without this flag only a
        /// pipe makes it flow. Node: the socket has a `data` listener.
        PROGRAM_READS,
        /// `pause` was called, and no `resume` since.
        PAUSED,
        /// A tick of `resume` is in the queue.
        RESUMING,
        /// The descriptor is read when it is readable. Such a socket keeps the loop alive.
        READING,
        /// The kernel may have bytes to read: no read has found the socket empty since the last event.
        READABLE,
        /// The FIN has been read.
        EOF,
        /// `on_end` was called.
        END_EMITTED,
        /// A FIN, hang-up or error was reported. A short read does not mean that all was read: the end follows.
        HANGUP,
        /// A hang-up or error was reported. Writes are sent immediately, not gathered, so that their error appears
        /// where Node reports it. Reads go on to the end within the turn.
        BROKEN,
        /// The descriptor has urgent data. A read stops before it although more bytes follow.
        URGENT,
        /// On the ready list, put there in an even turn; see `ready.rs`.
        READY_EVEN,
        /// On the ready list, put there in an odd turn.
        READY_ODD,

        /// The kernel refused bytes. They wait in the outbox until the socket is writable.
        BLOCKED,
        /// A send has used up its budget; the kernel might take more.
        UNFINISHED,
        /// On the list of sockets with gathered bytes.
        UNSENT,
        /// A write returned `false`: `on_drain` must follow.
        NEED_DRAIN,
        /// The socket has failed: a write, or a `destroy` with an error.
        ERRORED,
        /// `destroy_soon` was called: the socket is destroyed when it has finished.
        DESTROY_ON_FINISH,

        /// The peer's end is not answered with an end of this side.
        ALLOW_HALF_OPEN,
        /// `unref` was called: reading does not keep the loop alive.
        UNREFERENCED,
        /// Counted in `Loop::active`: keeps the loop alive.
        COUNTED,
        /// Data takes the slow path: there may be bytes in the inbox, a decoder or a pipe.
        SLOW_DELIVERY,
        /// The handler was replaced by `upgrade`, and its `on_upgrade` is a tick away. Nothing is delivered until then.
        UPGRADING,
    }

    /// `end` was called: any value of [`Writing`](super::Writing) but `Open`.
    pub const ENDED: u32 = ENDING_BIT | SHUTTING_BIT;

    /// `destroy` was called: any value of [`Life`](super::Life) but `Alive`.
    pub const DESTROYED: u32 = DESTROYED_BIT | CLOSING_BIT;

    /// The bits of the three enums.
    pub(super) const OF_ENUMS: u32 = OPENED | CONNECTING | DESTROYED | ENDED;
}

impl HasSerial for SocketState {
    #[inline]
    fn serial(&self) -> u32 {
        self.serial
    }
}

impl SocketState {
    pub fn new(serial: u32, handler: u32, server: u32, high_water_mark: u32) -> Self {
        SocketState {
            serial,
            flags: 0,
            stream: Stream::None,
            handler,
            server,
            high_water_mark,
            idle_limit_ms: IDLE_LIMIT_UNSET,
            idle_timer: None,
            bytes_read: 0,
            bytes_written: 0,
            outbox: None,
            corks: 0,
            tag: 0,
            more: None,
        }
    }

    /// Whether any of these flags is set.
    #[inline]
    pub fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// The flags of `mask` that are set. `among(A | B) == A` means that A is set and B is not.
    #[inline]
    pub fn among(&self, mask: u32) -> u32 {
        self.flags & mask
    }

    #[inline]
    pub fn set(&mut self, flags: u32) {
        debug_assert!(flags & flag::OF_ENUMS == 0, "link, life and writing are changed by their setters");
        self.flags |= flags;
    }

    #[inline]
    pub fn clear(&mut self, flags: u32) {
        debug_assert!(flags & flag::OF_ENUMS == 0, "link, life and writing are changed by their setters");
        self.flags &= !flags;
    }

    pub(super) fn link(&self) -> Link {
        match self.among(flag::OPENED | flag::CONNECTING) {
            0 => Link::Unopened,
            flag::OPENED => Link::Connected,
            _ => Link::Connecting,
        }
    }

    pub(super) fn set_link(&mut self, link: Link) {
        self.flags = self.flags & !(flag::OPENED | flag::CONNECTING) | link as u32;
    }

    /// Whether `on_close` is running or has run.
    pub(super) fn is_closing(&self) -> bool {
        self.among(flag::DESTROYED) == Life::Closing as u32
    }

    /// Whether the inbox and the end may still be delivered. As in Node a destroyed socket goes on with it until
    /// `on_error`, or until the tick after a destroy without an error.
    pub(super) fn may_deliver(&self) -> bool {
        !self.is(flag::ERROR_EMITTED) && self.among(flag::DESTROYED) <= Life::Destroyed as u32
    }

    pub(super) fn set_life(&mut self, life: Life) {
        self.flags = self.flags & !flag::DESTROYED | life as u32;
    }

    pub(super) fn writing(&self) -> Writing {
        match self.among(flag::ENDED) {
            0 => Writing::Open,
            flag::ENDING_BIT => Writing::Ending,
            flag::SHUTTING_BIT => Writing::ShuttingDown,
            _ => Writing::Finished,
        }
    }

    pub(super) fn set_writing(&mut self, writing: Writing) {
        self.flags = self.flags & !flag::ENDED | writing as u32;
    }

    /// The rarely needed part. Allocates it if there is none.
    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Frees the rarely needed part if it is empty. Called where that is likely: after an inbox was delivered, a
    /// connection made, a pipe removed.
    pub fn free_more_if_empty(&mut self) {
        if self.more.as_ref().is_some_and(|more| more.is_empty()) {
            self.more = None;
        }
    }

    /// Whether options of the descriptor are remembered for later descriptors: of the next address, or of the next
    /// connection. An accepted socket never gets another descriptor, and saves the memory.
    pub fn remembers_options(&self) -> bool {
        self.server == NO_SERVER
    }

    /// See [`Socket::is_ready_for_more`].
    #[inline(always)]
    pub fn is_ready_for_more(&self) -> bool {
        use flag::*;
        const OBSTACLES: u32 = PAUSED | NEED_DRAIN | ENDED | DESTROYED | UPGRADING;
        self.among(OPENED | OBSTACLES) == OPENED
    }

    /// Whether the descriptor is read when it is readable.
    #[inline]
    pub fn wants_read(&self) -> bool {
        use flag::*;
        self.among(READING | OPENED | DESTROYED | EOF | CONNECTING) == READING | OPENED
    }

    pub fn inbox_len(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.inbox.len())
    }

    /// Whether received data is thrown away.
    pub fn discards_input(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.discards_input)
    }

    /// Whether received data has not been delivered yet. After the FIN an incomplete character counts, too: it will be
    /// delivered as a replacement character.
    pub fn has_undelivered(&self) -> bool {
        let has_tail =
            |more: &More| !more.drops_tail && more.decoder.as_ref().is_some_and(|decoder| decoder.is_midway());
        self.inbox_len() > 0 || self.is(flag::EOF) && self.more.as_ref().is_some_and(|more| has_tail(more))
    }

    /// Whether data or an end may still be delivered: Node's `readable`.
    pub fn is_readable(&self) -> bool {
        use flag::*;
        !self.is(DESTROYED | ERROR_EMITTED | END_EMITTED)
    }

    /// Whether a write would be accepted: Node's `writable`.
    pub fn is_writable(&self) -> bool {
        use flag::*;
        !self.is(DESTROYED | ERRORED | ENDED)
    }

    /// Whether this side ends because the peer has. As in Node, a later write then fails with [`Error::EndedByPeer`].
    pub fn answers_end(&self) -> bool {
        use flag::*;
        self.among(END_EMITTED | ALLOW_HALF_OPEN) == END_EMITTED
    }

    /// Whether the socket keeps the loop alive: it is connecting, has a write in flight, or is reading and referenced.
    pub fn keeps_alive(&self) -> bool {
        use flag::*;
        if self.is(DESTROYED) {
            return false; // From here on the closing list keeps the loop alive.
        }
        let is_reading = self.wants_read() && !self.is(UNREFERENCED);
        // A `connect_to` that has returned an error leaves the socket connecting, with nothing under way.
        let is_dialing = self.is(CONNECTING) && self.more.as_ref().is_some_and(|more| more.connecting.is_some());
        is_reading || is_dialing || self.is(BLOCKED)
    }

    /// A closed socket is connected again. States, counters and errors are reset, options and corks stay. As in Node
    /// the new connection keeps the loop alive, also after an `unref` of the old one.
    pub fn reset_for_new_life(&mut self) {
        use flag::*;
        // The ready list and the list of unsent sockets may still have an entry of this socket; their flags must stay,
        // or it would get a second entry.
        // As in Node a `destroy_soon` that has not taken effect holds for the next connection.
        const KEPT: u32 = ALLOW_HALF_OPEN | FLOWING | PROGRAM_READS | PAUSED | SLOW_DELIVERY | DESTROY_ON_FINISH;
        self.clear(!(KEPT | READY_EVEN | READY_ODD | UNSENT | OF_ENUMS));
        self.set_link(Link::Unopened);
        self.set_life(Life::Alive);
        self.set_writing(Writing::Open);
        self.bytes_read = 0;
        self.bytes_written = 0;
        if let Some(more) = &mut self.more {
            more.errored = None;
            more.resets_on_connect = None;
            more.ends_on_connect = false;
            more.inbox = Inbox::default();
            more.discards_input = false;
            more.leaving = None;
        }
    }
}
