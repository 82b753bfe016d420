//! Sockets and servers, as in Node's [`net`](https://nodejs.org/docs/latest-v20.x/api/net.html).
//!
//! A [`Socket`] is a handle of 8 bytes: it can be copied, kept and compared, and owns nothing. What the loop knows of the
//! socket stays in the loop; every method therefore takes the loop that is lent to you. A handle whose socket is gone
//! finds nothing: writing to it answers `false`, asking it answers `None`, and it never reaches a stranger.
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
//! /// Asks once and hangs up with the answer.
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
//! What happens to a written byte: see `ARCHITECTURE.md`, "a byte's journey".

mod accept;
mod address;
mod close;
mod connect;
mod end;
mod endpoint;
mod handler;
mod inbox;
mod layer;
mod limits;
mod listener;
mod lookup;
mod on;
mod outbox;
mod pipe;
mod read;
mod send;
mod server;
mod shared;
#[cfg(any(test, fuzzing))]
pub(crate) mod simulated;
mod socket;
mod state;
mod utf8;
mod write;

use std::mem;
use std::num::NonZeroU32;

use mio::Token;
use slab::Slab;

pub use address::*;
pub use connect::Target;
pub use handler::{Dropped, Handler};
pub use limits::{Limit, Limits, READS_PER_TURN};
pub use listener::{Listen, LocalAddress};
pub use on::{On, on};
pub use server::{Server, ServerId, ServerOptions, listen, listen_with};
pub use shared::{IntoHandler, Shared};
pub use socket::{ReadyState, Socket, SocketInfo, SocketOptions};

pub use crate::error::{Error, SystemError};
use crate::event_loop::token::{Key, TokenKind};
use crate::event_loop::{Kind, Loop, Phase, Readiness};
use accept::Starvation;
use handler::HandlerSlot;
use lookup::Resolver;
use outbox::{Outbox, Outboxes};
use server::{ServerState, ServerTick};
use state::{Pipe, SocketState, flag};
#[cfg(any(test, fuzzing))]
pub(crate) use utf8::properties::hold_for as utf8_properties_hold_for;

/// Node's default `highWaterMark`, in bytes.
pub const HIGH_WATER_MARK: usize = 16 * 1024;

/// Node's default `backlog` of a listening server.
pub const BACKLOG: u32 = 511;

/// What a write or an end calls when it is through, or has failed.
pub(crate) type WriteCallback = Box<dyn FnOnce(&mut Loop, crate::Result<()>)>;

/// All sockets, servers and handlers of a loop.
#[derive(Default)]
pub(crate) struct Net {
    sockets: Slab<SocketState>,
    servers: Slab<ServerState>,
    handlers: Slab<HandlerSlot>,
    next_serial: u32,
    /// Where text is put together that cannot be lent from the read buffer.
    text_buf: String,
    /// Lent to who feeds pipes, or ends them.
    pipes_buf: Vec<Pipe>,
    /// Sockets with gathered bytes, to be sent at the end of the phase.
    unsent: Vec<Socket>,
    /// How many bytes they have gathered, at most: what left before the phase's end may still be counted.
    gathered: usize,
    outboxes: Outboxes,
    /// Sockets and servers that are known to be ready although the kernel will not say so again.
    ready: Vec<Token>,
    /// Flips with every poll, so that what is put on the ready list now is told from what is served now.
    is_odd_turn: bool,
    resolver: Resolver,
    /// How many times `connect_to` was called: names each attempt, so that what was put off for one meets no other.
    attempts: u64,
    /// Servers that could not accept for want of descriptors.
    starvation: Starvation,
    /// Stands in for the kernel.
    #[cfg(any(test, fuzzing))]
    simulated: Option<simulated::Kernel>,
}

/// What a socket or server put off to the tick queue.
pub(crate) enum NetTick {
    /// Makes the `connect` call of an attempt, for an IP address.
    Connect(Socket, u64),
    Resume(Socket),
    /// The inbox is empty and the FIN was read: `on_end`.
    End(Socket),
    /// Ends the destination of a pipe that was laid when its source had ended.
    EndPipe {
        from: Socket,
        to: Socket,
        ends: bool,
    },
    /// Answers the peer's end with our own.
    AnswerEnd(Socket),
    /// The shutdown is done: end callbacks, `on_finish`.
    Finish(Socket),
    /// Writes that the kernel took at once: `on_drain` if owed, then their callbacks.
    AfterWrite(Socket, Vec<WriteCallback>),
    /// The socket was destroyed while writes or ends waited.
    FailQueued(Socket),
    WriteFailed(Socket, Box<(Vec<WriteCallback>, Error)>),
    /// A refused write or end, or an end that had finished.
    Callback(Socket, Box<(WriteCallback, crate::Result<()>)>),
    /// Destroys a socket whose name was not found.
    Destroy(Socket, Box<Error>),
    Error(Socket, Box<Error>),
    /// The close of a socket that never had a connection.
    CloseUnopened(Socket),
    Server(ServerId, ServerTick),
}

/// What waits for the pending phase.
pub(crate) enum Pending {
    /// Send what is left, then the FIN.
    Shutdown(Socket),
    /// A connect that failed at once.
    ConnectFailed(Socket, Box<Error>),
}

impl Pending {
    fn socket(&self) -> Socket {
        match self {
            Pending::Shutdown(socket) | Pending::ConnectFailed(socket, _) => *socket,
        }
    }
}

/// The marks of who is on the ready list, for even and for odd turns.
const READY_FLAGS: [u32; 2] = [flag::READY_EVEN, flag::READY_ODD];

impl Net {
    #[inline]
    pub(crate) fn socket(&self, socket: Socket) -> Option<&SocketState> {
        self.sockets.get(socket.0.slot()).filter(|state| state.serial == socket.0.serial())
    }

    #[inline]
    pub(crate) fn socket_mut(&mut self, socket: Socket) -> Option<&mut SocketState> {
        self.sockets.get_mut(socket.0.slot()).filter(|state| state.serial == socket.0.serial())
    }

    /// A socket, and what holds its bytes on their way out.
    #[inline]
    pub(crate) fn socket_and_outboxes(&mut self, socket: Socket) -> Option<(&mut SocketState, &mut Outboxes)> {
        let state = self.sockets.get_mut(socket.0.slot()).filter(|state| state.serial == socket.0.serial())?;
        Some((state, &mut self.outboxes))
    }

    /// What is on a socket's way out, if anything is.
    pub(crate) fn outbox_mut(&mut self, socket: Socket) -> Option<&mut Outbox> {
        let (state, outboxes) = self.socket_and_outboxes(socket)?;
        outboxes.of_mut(state)
    }

    /// The callbacks of the write in flight.
    pub(crate) fn take_inflight_callbacks(&mut self, socket: Socket) -> Vec<WriteCallback> {
        self.outbox_mut(socket).map_or_else(Vec::new, Outbox::take_inflight_callbacks)
    }

    pub(crate) fn server(&self, server: ServerId) -> Option<&ServerState> {
        self.servers.get(server.0.slot()).filter(|state| state.serial == server.0.serial())
    }

    pub(crate) fn server_mut(&mut self, server: ServerId) -> Option<&mut ServerState> {
        self.servers.get_mut(server.0.slot()).filter(|state| state.serial == server.0.serial())
    }

    pub(crate) fn connections(&self) -> usize {
        self.sockets.len()
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.sockets.iter().map(|(_, socket)| self.outboxes.writable_length(socket)).sum()
    }

    /// A name for a handler that is given out once.
    fn name_handler(&mut self, slot: u32) -> NonZeroU32 {
        let name = NonZeroU32::new(self.take_serial()).unwrap_or(NonZeroU32::MAX);
        self.handlers[slot as usize].name = Some(name);
        name
    }

    fn take_serial(&mut self) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        self.next_serial
    }

    fn ready_flag(&self) -> u32 {
        READY_FLAGS[usize::from(self.is_odd_turn)]
    }

    /// The mark of those who were on the ready list when this poll began.
    #[inline]
    fn old_ready_flag(&self) -> u32 {
        READY_FLAGS[usize::from(!self.is_odd_turn)]
    }

    /// Whether the next poll must not wait.
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether bytes are gathered that the end of a phase is to send.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Starts a poll: what is on the ready list now is served in it, what is added from here on in the next.
    pub(crate) fn begin_poll(&mut self) -> Vec<Token> {
        self.is_odd_turn = !self.is_odd_turn;
        mem::take(&mut self.ready)
    }

    /// As [`put_on_ready_list`](Self::put_on_ready_list), if the kernel has something to read.
    pub(crate) fn put_on_ready_list_if_readable(&mut self, socket: Socket) {
        if self.socket(socket).is_some_and(|state| state.is(flag::READABLE)) {
            self.put_on_ready_list(socket);
        }
    }

    /// Has a socket looked at in the next poll, which will not wait.
    pub(crate) fn put_on_ready_list(&mut self, socket: Socket) {
        let ready_flag = self.ready_flag();
        let Some(state) = self.socket_mut(socket) else { return };
        if !state.is(ready_flag) {
            state.set(ready_flag);
            self.ready.push(socket.0.token(TokenKind::Socket));
        }
    }

    /// Has a socket go on sending in the next poll, which will not wait.
    pub(crate) fn put_on_ready_list_to_send(&mut self, socket: Socket) {
        if let Some(state) = self.socket_mut(socket) {
            state.set(flag::UNFINISHED);
            self.put_on_ready_list(socket);
        }
    }
}

impl Loop {
    /// Serves what was ready before this poll. Whoever has been read for an event in it is passed over.
    pub(crate) fn serve_leftovers(&mut self, leftovers: Vec<Token>, read_buf: &mut [u8]) {
        if leftovers.is_empty() {
            return;
        }
        let old_flag = self.net.old_ready_flag();
        for &token in &leftovers {
            match crate::event_loop::token::open(token) {
                (TokenKind::Socket, key) => {
                    let Some(state) = self.net.socket_mut(Socket(key)) else { continue };
                    if state.is(old_flag) {
                        state.clear(old_flag);
                        let ready = self.note(Kind::Ready, key.serial(), 0);
                        let outer = self.act_for(ready);
                        self.read_socket(Socket(key), read_buf);
                        self.send_on(Socket(key), flag::UNFINISHED);
                        self.act_for(outer);
                    }
                }
                (_, key) => self.serve_leftover_listener(key),
            }
        }
        if self.net.ready.is_empty() {
            // The allocation is kept: a loop with leftovers in every turn does not allocate.
            self.net.ready = leftovers;
            self.net.ready.clear();
        }
    }

    /// One event of one socket.
    #[inline]
    pub(crate) fn serve_socket(&mut self, key: Key, readiness: Readiness, read_buf: &mut [u8]) {
        let ready = self.note(Kind::Ready, key.serial(), 0);
        let outer = self.act_for(ready);
        let old_flag = self.net.old_ready_flag();
        if let Some(state) = self.net.socket_mut(Socket(key)) {
            if readiness.is_plain_data() && !state.is(flag::CONNECTING | flag::BLOCKED) {
                // Nearly every event: a peer has sent something, and nothing else is going on.
                state.clear(old_flag);
                state.set(flag::READABLE);
                self.read_socket(Socket(key), read_buf);
            } else {
                self.serve_event(Socket(key), readiness, read_buf);
            }
        }
        self.act_for(outer);
    }

    /// Any event: reading comes before writing, and a hang-up is both.
    #[inline(never)]
    fn serve_event(&mut self, socket: Socket, readiness: Readiness, read_buf: &mut [u8]) {
        let old_flag = self.net.old_ready_flag();
        let Some(state) = self.net.socket_mut(socket) else { return };
        let is_hangup = readiness.is_any(Readiness::HANGUP);
        let is_readable = readiness.is_any(Readiness::READABLE | Readiness::HANGUP);
        let is_writable = readiness.is_any(Readiness::WRITABLE | Readiness::HANGUP);
        if is_hangup {
            state.set(flag::HANGUP);
        }
        if readiness.is_any(Readiness::BROKEN) {
            state.set(flag::BROKEN);
        }
        if readiness.is_any(Readiness::PRIORITY) {
            state.set(flag::URGENT);
        }
        if is_readable {
            // Read now, not once more as one that is left over. Where an event says one thing only (kqueue), one that is
            // just writable leaves what is unread to the ready list.
            state.clear(old_flag);
            state.set(flag::READABLE);
        }
        if state.is(flag::CONNECTING) {
            if is_writable {
                self.finish_connect(socket);
            }
            return;
        }
        if is_readable {
            self.read_socket(socket, read_buf);
        }
        self.send_on(socket, if is_writable { flag::BLOCKED } else { flag::UNFINISHED });
    }

    /// Sends what waits, if there is something and the socket is in that state.
    fn send_on(&mut self, socket: Socket, when: u32) {
        let Some(state) = self.net.socket(socket) else { return };
        if state.is(when) && state.flags & (flag::BLOCKED | flag::DESTROYED) == flag::BLOCKED {
            self.send_queued(socket);
            self.boundary();
        }
    }

    /// Counts or no longer counts a socket among what keeps the loop alive. Called after every change that matters.
    pub(crate) fn recount(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        let keeps_alive = state.keeps_alive();
        if keeps_alive != state.is(flag::COUNTED) {
            state.flags ^= flag::COUNTED;
            self.active = if keeps_alive { self.active + 1 } else { self.active - 1 };
        }
    }

    /// Pending phase: shutdowns and failed connects, in the order they were asked for.
    pub(crate) fn run_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let phase = self.begin_phase(Phase::Pending);
        for _ in 0..self.pending.len() {
            let Some((pending, cause)) = self.pending.pop_front() else { break };
            let outer = self.act_for(cause);
            match pending {
                Pending::Shutdown(socket) => self.shut_down(socket),
                Pending::ConnectFailed(socket, error) => self.attempt_failed(socket, *error),
            }
            self.boundary();
            self.act_for(outer);
        }
        self.end_phase(phase);
    }

    /// One entry of the tick queue that is a socket's or a server's.
    pub(crate) fn run_net_tick(&mut self, tick: NetTick) {
        match tick {
            NetTick::Connect(socket, attempt) => self.begin_attempt(socket, attempt),
            NetTick::Resume(socket) => self.resume_now(socket),
            NetTick::End(socket) => self.end_reached(socket),
            NetTick::EndPipe { from, to, ends } => self.end_pipe(from, to, ends),
            NetTick::AnswerEnd(socket) => self.answer_end(socket),
            NetTick::Finish(socket) => self.finished(socket),
            NetTick::AfterWrite(socket, callbacks) => self.after_write(socket, callbacks),
            NetTick::FailQueued(socket) => self.fail_queued(socket),
            NetTick::WriteFailed(socket, failed) => {
                let (callbacks, error) = *failed;
                self.write_failed(socket, callbacks, error);
            }
            NetTick::Callback(socket, call) => {
                let (callback, result) = *call;
                self.tell(socket, callback, result);
            }
            NetTick::Destroy(socket, error) => self.destroy_socket(socket, Some(*error)),
            NetTick::Error(socket, error) => self.emit_error(socket, *error),
            NetTick::CloseUnopened(socket) => self.close_socket(socket, false),
            NetTick::Server(server, tick) => self.run_server_tick(server, tick),
        }
    }
}

#[cfg(test)]
mod model;
