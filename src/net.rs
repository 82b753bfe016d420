//! Sockets and servers, as in Node's [`net`](https://nodejs.org/docs/latest-v20.x/api/net.html).
//!
//! A [`Socket`] is a handle of 8 bytes: it can be copied, kept and compared, and owns nothing. The loop keeps the state
//! of the socket, so every method takes the loop that is lent to the callback. When the socket is gone, its handle
//! names nothing: `write` returns `false`, `info` returns `None`. It never names another socket of the same loop.
//!
//! ```
//! use bucle::net::{self, Handler, Socket};
//! use bucle::Loop;
//!
//! /// Answers every chunk with itself.
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
//!         socket.write(lp, chunk);
//!     }
//! }
//!
//! /// Sends one message, and ends the connection when the answer has come.
//! struct Ask;
//!
//! impl Handler for Ask {
//!     fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
//!         socket.write(lp, "hola");
//!     }
//!     fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
//!         assert_eq!(chunk, b"hola");
//!         socket.end(lp);
//!     }
//! }
//!
//! bucle::run(|lp| {
//!     let server = net::listen(lp, ("127.0.0.1", 0), Echo)?;
//!     let port = server.port(lp).expect("it is bound");
//!     Socket::connect(lp, ("127.0.0.1", port), Ask)?;
//!     server.unref(lp);
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! `ARCHITECTURE.md`, "The path of a byte", follows a byte from the peer through the loop and back.

mod accept;
mod address;
mod close;
mod connect;
mod connected;
mod dial;
mod drain;
mod end;
mod endpoint;
mod handler;
mod inbox;
mod layer;
mod leave;
mod limits;
mod listener;
mod lookup;
mod on;
mod outbox;
mod pending;
mod pipe;
mod read;
mod ready;
mod refuse;
mod send;
mod server;
mod shared;
#[cfg(any(test, fuzzing))]
pub(crate) mod simulated;
mod socket;
mod state;
mod stream;
mod summary;
mod tally;
mod target;
mod tick;
mod timer;
mod unhandled;
mod upgrade;
mod utf8;
mod write;

use std::collections::VecDeque;
use std::num::NonZeroU32;

use slab::Slab;

pub use address::*;
pub use drain::Drain;
pub use handler::{Dropped, Handler};
pub use limits::{Limit, Limits, READS_PER_TURN};
pub use listener::{Listen, LocalAddress};
pub use on::{On, on};
pub use server::{Server, ServerId, ServerOptions, listen, listen_with};
pub use shared::{IntoHandler, Shared};
pub use socket::{ReadyState, Socket, SocketInfo, SocketOptions};
pub use summary::{SocketSummary, sockets};
pub use target::Target;

pub use crate::error::{Error, SystemError};
use crate::event_loop::slots::Slots;
use crate::event_loop::{Cause, Loop};
use accept::Shortage;
use handler::HandlerSlot;
use layer::Tables;
pub(crate) use layer::Urgent;
use lookup::Resolver;
use outbox::{Outbox, Outboxes};
use pending::Pending;
use ready::ReadyList;
use refuse::Leaving;
use server::ServerState;
use state::{Pipe, SocketState, flag};
pub(crate) use tick::NetTick;
pub(crate) use timer::NetTimer;
use unhandled::Unhandled;
#[cfg(any(test, fuzzing))]
pub(crate) use utf8::properties::hold_for as utf8_properties_hold_for;

/// Node's default `highWaterMark`, in bytes.
pub const HIGH_WATER_MARK: usize = 16 * 1024;

/// Node's default `backlog` of a listening server.
pub const BACKLOG: u32 = 511;

/// The callback of a write or an end: gets the result when it is complete or has failed.
pub(crate) type WriteCallback = Box<dyn FnOnce(&mut Loop, crate::Result<()>)>;

/// All sockets, servers and handlers of a loop.
#[derive(Default)]
pub(crate) struct Net {
    sockets: Slots<SocketState>,
    servers: Slots<ServerState>,
    handlers: Slab<HandlerSlot>,
    next_serial: u32,
    /// The last name that was given to a handler; see [`Shared`].
    last_name: u32,
    /// Scratch: text that cannot be borrowed from the read buffer.
    text_buf: String,
    /// Scratch: the copy of a chunk that a handler may change, while pipes get the original.
    copy_buf: Vec<u8>,
    /// Scratch: a copy of the pipes that a chunk or an end goes to.
    pipes_buf: Vec<Pipe>,
    /// Sockets with gathered bytes, which are sent at the end of the phase.
    unsent: Vec<Socket>,
    /// How many bytes they have gathered, at most: bytes that were sent before the end of the phase may still be
    /// counted.
    gathered: usize,
    outboxes: Outboxes,
    /// The socket whose handler is being called with what was read from it. Its large answers use the reply buffer.
    replying: Option<Socket>,
    /// State that protocols keep for single sockets.
    tables: Tables,
    /// The first bytes for handlers whose `on_upgrade` is due.
    heads: Vec<(Socket, Vec<u8>)>,
    ready: ReadyList,
    /// Errors that no handler has handled.
    unhandled: Unhandled,
    /// Work for the pending phase, in the order of the calls.
    pending: VecDeque<(Pending, Cause)>,
    /// Destroyed sockets whose `on_close` is due in the close phase; a stack, as in libuv.
    closing: Vec<(Socket, Cause)>,
    /// How many of them the running close phase has not closed yet. It has taken them out of the list.
    closing_left: usize,
    resolver: Resolver,
    /// The number of calls of `connect_to`. Names each attempt, so that a late lookup or timer of one does not affect
    /// another.
    attempts: u64,
    /// Servers that could not accept because the process had no free descriptor.
    shortage: Shortage,
    /// Refused connections that are still open, so that their peers can read the reason.
    refused: Leaving,
    /// Open connections that servers have accepted, and how many there may be.
    accepted: usize,
    accepted_limit: Option<usize>,
    /// Takes the place of the kernel in tests and fuzzers.
    #[cfg(any(test, fuzzing))]
    simulated: Option<simulated::Kernel>,
}

/// The lengths of the lists of sockets that wait for a phase.
#[cfg(feature = "trace")]
pub(crate) struct QueueLengths {
    pub pending: usize,
    pub closing: usize,
    pub ready: usize,
    pub unsent: usize,
}

impl Net {
    #[inline]
    fn socket(&self, socket: Socket) -> Option<&SocketState> {
        self.sockets.get(socket.0)
    }

    #[inline]
    fn socket_mut(&mut self, socket: Socket) -> Option<&mut SocketState> {
        self.sockets.get_mut(socket.0)
    }

    /// A socket and all outboxes: borrowed together, because the state names an outbox in the table.
    #[inline]
    fn socket_and_outboxes(&mut self, socket: Socket) -> Option<(&mut SocketState, &mut Outboxes)> {
        let state = self.sockets.get_mut(socket.0)?;
        Some((state, &mut self.outboxes))
    }

    /// The outbox of a socket, if it has one now.
    fn outbox_mut(&mut self, socket: Socket) -> Option<&mut Outbox> {
        let (state, outboxes) = self.socket_and_outboxes(socket)?;
        outboxes.of_mut(state)
    }

    /// Takes the callbacks of the write in flight out.
    fn take_inflight_callbacks(&mut self, socket: Socket) -> Vec<WriteCallback> {
        self.outbox_mut(socket).map_or_else(Vec::new, Outbox::take_inflight_callbacks)
    }

    fn server(&self, server: ServerId) -> Option<&ServerState> {
        self.servers.get(server.0)
    }

    fn server_mut(&mut self, server: ServerId) -> Option<&mut ServerState> {
        self.servers.get_mut(server.0)
    }

    pub(crate) fn connections(&self) -> usize {
        self.sockets.len()
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.sockets.iter().map(|(_, socket)| self.outboxes.writable_length(socket)).sum()
    }

    /// Gives a handler a name that is used once.
    fn name_handler(&mut self, slot: u32) -> NonZeroU32 {
        // Not from the serials of sockets and servers: their numbers are in the log, and shall not have gaps.
        self.last_name = self.last_name.wrapping_add(1);
        let name = NonZeroU32::new(self.last_name).unwrap_or(NonZeroU32::MAX);
        self.handlers[slot as usize].name = Some(name);
        name
    }

    /// The next serial. Sockets, servers and handlers share one sequence.
    fn take_serial(&mut self) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        self.next_serial
    }

    /// Whether sockets have gathered bytes, which the end of the phase must send.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether the pending phase has work.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The lengths of the lists, for an observer.
    #[cfg(feature = "trace")]
    pub(crate) fn queue_lengths(&self) -> QueueLengths {
        QueueLengths {
            pending: self.pending.len(),
            closing: self.closing.len() + self.closing_left,
            ready: self.ready.len(),
            unsent: self.unsent.len(),
        }
    }

    /// Whether the close phase has work.
    pub(crate) fn has_closing(&self) -> bool {
        !self.closing.is_empty()
    }
}

impl Loop {
    /// Updates whether a socket is counted among the things that keep the loop alive. Called after every change that
    /// matters.
    fn recount(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        let keeps_alive = state.keeps_alive();
        if keeps_alive == state.is(flag::COUNTED) {
            return;
        }
        if keeps_alive {
            state.set(flag::COUNTED);
            self.active += 1;
        } else {
            state.clear(flag::COUNTED);
            self.active -= 1;
        }
    }
}

#[cfg(test)]
mod model;
