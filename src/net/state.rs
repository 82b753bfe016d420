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

use std::any::Any;
use std::net::SocketAddr;
use std::time::Duration;

use super::inbox::Inbox;
use super::outbox::OutboxId;
use super::stream::Stream;
use super::utf8::Utf8Decoder;
use super::{Error, Limits, Socket, WriteCallback};
use crate::event_loop::TimerId;
use crate::event_loop::slots::HasSerial;

/// No server: the socket is a client's.
pub(crate) const NO_SERVER: u32 = u32::MAX;

/// One socket.
pub(crate) struct SocketState {
    pub serial: u32,
    pub flags: u32,
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
    pub corks: u32,
    /// What few sockets need.
    pub more: Option<Box<More>>,
}

#[cfg(not(any(debug_assertions, test, fuzzing)))]
const _: () = assert!(size_of::<SocketState>() <= 72, "an idle connection costs this much");

/// The rarely needed part of a socket's state.
#[derive(Default)]
pub(crate) struct More {
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
    pub peer: Option<SocketAddr>,
    /// What the protocol above remembers of this connection; see `net/layer.rs`.
    pub layer: Option<Box<dyn Any>>,
}

/// When a reset is done that was asked for while connecting: in the order of the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    BeforeWrites,
    AfterWrites,
}

/// One end of `pipe`.
#[derive(Clone, Copy)]
pub(crate) struct Pipe {
    pub to: Socket,
    /// The destination ends with the source.
    pub ends: bool,
    /// The source has stopped reading until this destination drains.
    pub is_awaited: bool,
    /// It has done so before: a drain resumes it, whyever it is paused then.
    pub has_waited: bool,
}

/// The states and conditions a socket can be in; see the picture above.
pub(crate) mod flag {
    macro_rules! flags {
        ($($(#[$doc:meta])* $name:ident,)*) => { flags!(@ 0u32; $($(#[$doc])* $name,)*); };
        (@ $bit:expr; $(#[$doc:meta])* $name:ident, $($rest:tt)*) => {
            $(#[$doc])* pub const $name: u32 = 1 << ($bit);
            flags!(@ $bit + 1; $($rest)*);
        };
        (@ $bit:expr;) => { const _: u32 = u32::BITS - $bit; /* More flags than bits do not compile. */ };
    }

    flags! {
        /// Has, or had, something to close: a connection, or an attempt at one.
        OPENED,
        /// `connect_to` was called and has neither succeeded nor failed.
        CONNECTING,
        /// `destroy` was called, by the program or by the loop.
        DESTROYED,
        /// It was destroyed with an error.
        HAD_ERROR,
        /// The handler has heard of an error.
        ERROR_EMITTED,

        /// Somebody wants the data: `on_data` is called as it comes.
        FLOWING,
        /// Not only a pipe does: it was made flowing, or resumed by the program.
        LISTENS,
        /// `pause` was called, and no `resume` since.
        PAUSED,
        /// A tick of `resume` is in the queue.
        RESUMING,
        /// The descriptor is read when there is something: what keeps the loop alive.
        READING,
        /// The kernel has, as far as we know, more to read.
        READABLE,
        /// The FIN has been read.
        EOF,
        /// `on_end` was called.
        END_EMITTED,
        /// A FIN, hang-up or error was reported: a short read does not mean that all was read.
        HANGUP,
        /// A hang-up or error was reported: a write is tried at once, for it may fail, and a read goes on to the end.
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
        /// A write answered `false`: `on_drain` is owed.
        NEED_DRAIN,
        /// A write failed.
        ERRORED,
        /// `end` was called.
        ENDING,
        /// The shutdown has been asked for, in the pending phase.
        SHUTTING,
        /// The FIN is sent and `on_finish` has been called.
        FINISHED,
        /// `destroy_soon`: destroyed as soon as it has finished.
        DESTROY_ON_FINISH,

        ALLOW_HALF_OPEN,
        /// Does not keep the loop alive by reading.
        UNREFERENCED,
        /// Counted among what keeps the loop alive.
        COUNTED,
        /// The slot is in the middle of `on_close`.
        CLOSING,
        /// Data goes through the slow path: an inbox, a decoder or a pipe is there.
        DETOUR,
    }
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
            more: None,
        }
    }

    #[inline]
    pub fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    #[inline]
    pub fn set(&mut self, flag: u32) {
        self.flags |= flag;
    }

    #[inline]
    pub fn clear(&mut self, flag: u32) {
        self.flags &= !flag;
    }

    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
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
        self.flags & (READING | OPENED | DESTROYED | EOF | CONNECTING) == READING | OPENED
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
        self.flags & (DESTROYED | ERROR_EMITTED | END_EMITTED) == 0
    }

    /// Whether a program may still write to it: Node's `writable`.
    pub fn is_writable(&self) -> bool {
        use flag::*;
        self.flags & (DESTROYED | ERRORED | ENDING) == 0
    }

    /// Whether the peer ended and this side will not stay half open: a write after our own end is the peer's fault.
    pub fn answers_end(&self) -> bool {
        use flag::*;
        self.flags & (END_EMITTED | ALLOW_HALF_OPEN) == END_EMITTED
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

    /// A closed socket that is connected again starts anew: states, counters and errors, but not its options.
    pub fn begin_life(&mut self) {
        use flag::*;
        const KEPT: u32 = ALLOW_HALF_OPEN | UNREFERENCED | FLOWING | LISTENS | PAUSED | DETOUR;
        self.flags &= KEPT | READY_EVEN | READY_ODD | UNSENT;
        if self.is(FLOWING) {
            self.set(READING);
        }
        self.bytes_read = 0;
        self.bytes_written = 0;
        if let Some(more) = &mut self.more {
            more.errored = None;
            more.peer = None;
            more.resets_on_connect = None;
            more.inbox = Inbox::default();
            more.discards_input = false;
            more.layer = None;
        }
    }

    /// The address of the peer, remembered so that it is still known after the close.
    pub fn peer_addr(&mut self) -> Option<SocketAddr> {
        if let Some(peer) = self.more.as_ref().and_then(|more| more.peer) {
            return Some(peer);
        }
        let peer = self.stream.peer_addr()?;
        self.more().peer = Some(peer);
        Some(peer)
    }
}
