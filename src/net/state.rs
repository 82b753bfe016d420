//! What the loop knows of one socket, in as few bytes as it takes.
//!
//! Two halves that hardly know of each other, and a life they share:
//!
//! ```text
//!             connect_to                connected              destroy
//!   new ──────────────▶ CONNECTING ──────────────▶ open ──────────────▶ DESTROYED ──▶ on_close ──▶ slot free
//!                                                  │  ▲
//!   reading    READING ──── the FIN ────▶ EOF ──── inbox empty ────▶ END_EMITTED ─┐
//!                                                                                 ├─▶ destroys itself
//!   writing    open ──── end() ────▶ ENDING ──── outbox empty, shut down ──▶ FINISHED ─┘
//! ```
//!
//! An idle connection is this struct and nothing else: no buffer, no heap block. What only some sockets have (bytes
//! that wait to be sent, an inbox, a pipe, callbacks) hangs in two boxes that are empty until needed.

use std::time::Duration;

use super::inbox::Inbox;
use super::outbox::OutboxId;
use super::stream::Stream;
use super::utf8::Utf8Decoder;
use super::{Error, Limits, Socket, WriteCallback};
use crate::event_loop::TimerId;
use crate::event_loop::slots::HasSerial;

/// No server: the socket is a client's.
pub(super) const NO_SERVER: u32 = u32::MAX;

/// One socket.
pub(super) struct SocketState {
    pub serial: u32,
    /// See [`flag`].
    flags: u32,
    pub stream: Stream,
    /// The slot of the handler that answers for it.
    pub handler: u32,
    /// The slot of the server that accepted it, or [`NO_SERVER`].
    pub server: u32,
    /// Queued bytes from which on `write` answers `false`, and an inbox is full.
    pub high_water_mark: u32,
    /// As the program set it; 0 is off.
    pub idle_limit_ms: u32,
    pub idle_timer: Option<TimerId>,
    pub bytes_read: u64,
    /// All that the program has written, whether it has left the process or not.
    pub bytes_written: u64,
    /// Bytes on their way out. Lent by the loop only while there are any.
    pub outbox: Option<OutboxId>,
    /// How many corks hold writes back. There is an outbox while there are any.
    pub corks: u16,
    /// Bits for the protocol above, such as telnet; see `layer.rs`.
    pub tag: u16,
    /// The rarely needed part. It is freed when it is empty again.
    pub more: Option<Box<More>>,
}

#[cfg(not(any(debug_assertions, test, fuzzing)))]
const _: () = assert!(size_of::<SocketState>() <= 72, "an idle connection costs this much");

/// The rarely needed part of a socket's state.
#[derive(Default)]
pub(super) struct More {
    /// Bytes received while nobody took them: paused, or not asked for yet.
    pub inbox: Inbox,
    /// What is read is thrown away; see `net/leave.rs`.
    pub discards_input: bool,
    /// Turns bytes into text after `set_encoding`.
    pub decoder: Option<Utf8Decoder>,
    pub end_callbacks: Vec<WriteCallback>,
    /// Where this socket's data goes.
    pub pipes: Vec<Pipe>,
    /// Who pipes into this socket, once for each pipe.
    pub piped_from: Vec<Socket>,
    /// The first error, which later callbacks are told.
    pub errored: Option<Error>,
    pub connecting: Option<Box<super::connect::Connecting>>,
    /// `reset_and_destroy` while connecting: done as soon as it is connected.
    pub resets_on_connect: Option<Reset>,
    pub no_delay: bool,
    pub keep_alive: Option<Duration>,
    pub user_timeout: Duration,
    /// Its own limits, instead of its server's.
    pub limits: Option<Box<Limits>>,
}

impl More {
    /// Whether everything has the value that it has without this box.
    fn is_empty(&self) -> bool {
        self.inbox.is_empty()
            && !self.discards_input
            && self.decoder.is_none()
            && self.end_callbacks.is_empty()
            && self.pipes.is_empty()
            && self.piped_from.is_empty()
            && self.errored.is_none()
            && self.connecting.is_none()
            && self.resets_on_connect.is_none()
            && !self.no_delay
            && self.keep_alive.is_none()
            && self.user_timeout.is_zero()
            && self.limits.is_none()
    }
}

/// When a reset is done that was asked for while connecting: in the order of the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    BeforeWrites,
    AfterWrites,
}

/// One end of `pipe`.
#[derive(Clone, Copy)]
pub(super) struct Pipe {
    pub to: Socket,
    /// The destination ends with the source.
    pub ends: bool,
    /// The source has stopped reading until this destination drains.
    pub is_awaited: bool,
    /// It has done so before: a drain resumes it, whyever it is paused then.
    pub has_waited: bool,
}

/// How far a socket's connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Link {
    /// `connect_to` was never called.
    Unopened = 0,
    /// `connect_to` was called, and has neither succeeded nor failed.
    Connecting = flag::OPENED | flag::CONNECTING,
    /// Connected, or accepted. A socket that is destroyed later keeps this value.
    Connected = flag::OPENED,
}

/// Where a socket is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Life {
    Alive = 0,
    /// `destroy` was called, by the program or by the loop. `on_close` is still to come.
    Destroyed = flag::DESTROYED,
    /// `on_close` is running or has run. From here on `connect_to` may begin a new life.
    Closing = flag::DESTROYED | flag::CLOSING,
}

/// How far the end of the writing side has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Writing {
    Open = 0,
    /// `end` was called, and bytes wait.
    Ending = flag::ENDING_BIT,
    /// The pending phase has been asked for the shutdown.
    ShuttingDown = flag::SHUTTING_BIT,
    /// The FIN is sent and `on_finish` has been called.
    Finished = flag::ENDING_BIT | flag::SHUTTING_BIT,
}

/// The bits of [`SocketState::flags`].
///
/// Six of them hold the three enums above and are changed through these only. They can be tested like the others, so
/// that the busiest paths look at everything that concerns them with one comparison ([`SocketState::among`]).
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
        /// [`Link`](super::Link): has, or had, something to close: a connection, or an attempt at one.
        OPENED,
        /// [`Link::Connecting`](super::Link::Connecting).
        CONNECTING,
        /// [`Life::Destroyed`](super::Life::Destroyed), or `Closing`.
        DESTROYED,
        /// [`Life::Closing`](super::Life::Closing).
        CLOSING,
        /// One of the two bits of [`Writing`](super::Writing). A test for `end` needs both: [`ENDED`].
        ENDING_BIT,
        /// The other one.
        SHUTTING_BIT,

        /// It was destroyed with an error.
        HAD_ERROR,
        /// `on_error` has been called.
        ERROR_EMITTED,

        /// Data is wanted: `on_read` is called as it comes.
        FLOWING,
        /// The program itself wants the data: it made the socket flowing, or resumed it. Without this only a pipe does.
        LISTENS,
        /// `pause` was called, and no `resume` since.
        PAUSED,
        /// A tick of `resume` is in the queue.
        RESUMING,
        /// The descriptor is read when there is something. This is what keeps the loop alive.
        READING,
        /// The kernel has more to read, as far as the loop knows.
        READABLE,
        /// The FIN has been read.
        EOF,
        /// `on_end` was called.
        END_EMITTED,
        /// A FIN, hang-up or error was reported: a short read does not mean that all was read.
        HANGUP,
        /// A hang-up or error was reported: a write is tried immediately, because it may fail, and a read goes on to the end.
        BROKEN,
        /// The descriptor has urgent data: a read stops short of it.
        URGENT,
        /// On the ready list of an even, or of an odd turn.
        READY_EVEN,
        READY_ODD,

        /// The kernel took no more: the outbox waits for the socket to become writable.
        BLOCKED,
        /// A send has stopped although the kernel might take more.
        UNFINISHED,
        /// On the list of sockets with gathered bytes.
        UNSENT,
        /// A write returned `false`: `on_drain` must follow.
        NEED_DRAIN,
        /// A write failed.
        ERRORED,
        /// `destroy_soon`: destroyed as soon as it has finished.
        DESTROY_ON_FINISH,

        ALLOW_HALF_OPEN,
        /// Does not keep the loop alive by reading.
        UNREFERENCED,
        /// Counted among what keeps the loop alive.
        COUNTED,
        /// Data goes through the slow path: an inbox, a decoder or a pipe is there.
        DETOUR,
        /// The handler was replaced by `upgrade`, and its `on_upgrade` is a tick away. Nothing is delivered until then.
        UPGRADING,
    }

    /// `end` was called: any value of [`Writing`](super::Writing) but `Open`.
    pub const ENDED: u32 = ENDING_BIT | SHUTTING_BIT;

    /// The bits that only the setters of the enums change.
    pub(super) const OF_ENUMS: u32 = OPENED | CONNECTING | DESTROYED | CLOSING | ENDED;
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
            idle_limit_ms: 0,
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

    /// Those of `mask` that are set. `among(A | B) == A` says that A is set and B is not.
    #[inline]
    pub fn among(&self, mask: u32) -> u32 {
        self.flags & mask
    }

    #[inline]
    pub fn set(&mut self, flags: u32) {
        debug_assert!(flags & flag::OF_ENUMS == 0, "link, life and writing have setters of their own");
        self.flags |= flags;
    }

    #[inline]
    pub fn clear(&mut self, flags: u32) {
        debug_assert!(flags & flag::OF_ENUMS == 0, "link, life and writing have setters of their own");
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

    pub(super) fn set_life(&mut self, life: Life) {
        self.flags = self.flags & !(flag::DESTROYED | flag::CLOSING) | life as u32;
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

    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Frees the rarely needed part if nothing is in it any more. Called where that is likely: after an inbox was
    /// delivered, a connection made, a pipe taken away.
    pub fn free_more_if_empty(&mut self) {
        if self.more.as_ref().is_some_and(|more| more.is_empty()) {
            self.more = None;
        }
    }

    /// Whether options of the descriptor are kept for another one: the next address, the next connection. Whom a server
    /// has accepted has one for good, and keeps its memory small.
    pub fn remembers_options(&self) -> bool {
        self.server == NO_SERVER
    }

    /// Whether the descriptor should be read when the kernel has something.
    #[inline]
    pub fn wants_read(&self) -> bool {
        use flag::*;
        self.among(READING | OPENED | DESTROYED | EOF | CONNECTING) == READING | OPENED
    }

    pub fn inbox_len(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.inbox.len())
    }

    /// Whether what is read is thrown away.
    pub fn discards_input(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.discards_input)
    }

    /// Whether received data waits to be delivered; after the FIN the rest of a cut character counts too.
    pub fn has_undelivered(&self) -> bool {
        let has_tail = |more: &More| more.decoder.as_ref().is_some_and(|decoder| decoder.is_midway());
        self.inbox_len() > 0 || self.is(flag::EOF) && self.more.as_ref().is_some_and(|more| has_tail(more))
    }

    /// Whether a program may still read from it: Node's `readable`.
    pub fn is_readable(&self) -> bool {
        use flag::*;
        !self.is(DESTROYED | ERROR_EMITTED | END_EMITTED)
    }

    /// Whether a program may still write to it: Node's `writable`.
    pub fn is_writable(&self) -> bool {
        use flag::*;
        !self.is(DESTROYED | ERRORED | ENDED)
    }

    /// Whether the peer ended and this side will not stay half open: a write after our own end is the peer's fault.
    pub fn answers_end(&self) -> bool {
        use flag::*;
        self.among(END_EMITTED | ALLOW_HALF_OPEN) == END_EMITTED
    }

    /// Gives its outbox up, and what corks it.
    #[inline]
    pub fn take_outbox(&mut self) -> Option<OutboxId> {
        self.corks = 0;
        self.outbox.take()
    }

    /// Whether it keeps the loop alive by itself: a request in flight, or reading.
    pub fn keeps_alive(&self) -> bool {
        use flag::*;
        if self.is(DESTROYED) {
            return false; // The closing list counts it now.
        }
        let is_reading = self.wants_read() && !self.is(UNREFERENCED);
        is_reading || self.is(CONNECTING | BLOCKED)
    }

    /// A closed socket is connected again: states, counters and errors start anew, options stay.
    pub fn begin_life(&mut self) {
        use flag::*;
        const KEPT: u32 = ALLOW_HALF_OPEN | UNREFERENCED | FLOWING | LISTENS | PAUSED | DETOUR;
        self.clear(!(KEPT | READY_EVEN | READY_ODD | UNSENT | OF_ENUMS));
        self.set_link(Link::Unopened);
        self.set_life(Life::Alive);
        self.set_writing(Writing::Open);
        if self.is(FLOWING) {
            self.set(READING);
        }
        self.bytes_read = 0;
        self.bytes_written = 0;
        if let Some(more) = &mut self.more {
            more.errored = None;
            more.resets_on_connect = None;
            more.inbox = Inbox::default();
            more.discards_input = false;
        }
    }
}
