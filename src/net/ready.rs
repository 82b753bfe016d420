//! Which sockets and servers are served in a poll: those that the kernel reports, and those on the ready list.
//!
//! epoll is edge-triggered: the kernel reports a descriptor once, and again only when something new arrives. Code that
//! leaves work undone (a read over its budget, a send that stopped early, a connection still in the backlog) therefore
//! puts the socket or server on the *ready list*. The next poll does not wait, and serves the list after the events.
//!
//! ```text
//!   turn n      read stops early ──▶ ready list: #7
//!   turn n+1    poll with timeout 0 ──▶ events: #3, #7 (the FIN) ──▶ ready list: #7 was served already, skipped
//! ```
//!
//! A socket may be in both. Then its event is served and its entry is skipped: the event may report something new, such
//! as a FIN. Two flags, for even and for odd turns, distinguish an entry that was made before this poll from one that
//! is made during it.

use std::mem;

use mio::Token;

use super::state::flag;
use super::{Net, ServerId, Socket};
use crate::event_loop::memory::shrink_vec;
use crate::event_loop::token::{self, Key, TokenKind};
use crate::event_loop::{Kind, Loop, Readiness};

/// The flags that mark an entry of the ready list, for even and for odd turns.
const READY_FLAGS: [u32; 2] = [flag::READY_EVEN, flag::READY_ODD];

/// Sockets and servers that are ready although the kernel will not report them again.
#[derive(Default)]
pub(super) struct ReadyList {
    tokens: Vec<Token>,
    /// Flips with every poll, so that entries made during a poll get another flag than the entries that it serves.
    is_odd_turn: bool,
}

impl ReadyList {
    /// Adds a server. The caller keeps a server from being added twice.
    pub fn push_server(&mut self, server: ServerId) {
        self.tokens.push(server.0.token(TokenKind::Server));
    }

    /// Frees memory of a list that was long; room for `entries` stays.
    pub fn shrink_to(&mut self, entries: usize) {
        shrink_vec(&mut self.tokens, entries);
    }

    /// How many entries the next poll will serve.
    #[cfg(feature = "trace")]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The flag of entries that are made now.
    fn new_flag(&self) -> u32 {
        READY_FLAGS[usize::from(self.is_odd_turn)]
    }

    /// The flag of entries that were made before this poll began.
    #[inline]
    fn old_flag(&self) -> u32 {
        READY_FLAGS[usize::from(!self.is_odd_turn)]
    }
}

impl Net {
    /// Whether the next poll must not wait.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.tokens.is_empty()
    }

    /// Starts a poll. Returns the entries that this poll serves; entries that are made from here on wait for the next.
    pub(crate) fn begin_poll(&mut self) -> Vec<Token> {
        self.ready.is_odd_turn = !self.ready.is_odd_turn;
        mem::take(&mut self.ready.tokens)
    }

    /// As [`put_on_ready_list`](Self::put_on_ready_list), if the socket may have bytes to read.
    pub(super) fn put_on_ready_list_if_readable(&mut self, socket: Socket) {
        if self.socket(socket).is_some_and(|state| state.is(flag::READABLE)) {
            self.put_on_ready_list(socket);
        }
    }

    /// The next poll serves the socket, and does not wait.
    pub(super) fn put_on_ready_list(&mut self, socket: Socket) {
        let new_flag = self.ready.new_flag();
        let Some(state) = self.socket_mut(socket) else { return };
        if !state.is(new_flag) {
            state.set(new_flag);
            self.ready.tokens.push(socket.0.token(TokenKind::Socket));
        }
    }

    /// The next poll goes on sending the socket's outbox, and does not wait.
    pub(super) fn put_on_ready_list_to_send(&mut self, socket: Socket) {
        if let Some(state) = self.socket_mut(socket) {
            state.set(flag::UNFINISHED);
            self.put_on_ready_list(socket);
        }
    }
}

impl Loop {
    /// Serves the entries of the ready list that [`Net::begin_poll`] returned. A socket that this poll has already
    /// read, because of an event, has lost its old flag and is passed over.
    pub(crate) fn serve_ready(&mut self, mut tokens: Vec<Token>, read_buf: &mut [u8]) {
        if tokens.is_empty() {
            return;
        }
        let old_flag = self.net.ready.old_flag();
        for &token in &tokens {
            match token::open(token) {
                (TokenKind::Socket, key) => {
                    let Some(state) = self.net.socket_mut(Socket(key)) else { continue };
                    // Without the flag: an event of this poll has served the socket already.
                    if state.is(old_flag) {
                        state.clear(old_flag);
                        let ready = self.note(Kind::Ready, key.serial(), 0);
                        let outer = self.act_for(ready);
                        self.read_socket(Socket(key), read_buf);
                        self.send_on(Socket(key), flag::UNFINISHED);
                        self.act_for(outer);
                    }
                }
                (_, key) => self.serve_ready_listener(key),
            }
        }
        if self.net.ready.tokens.is_empty() {
            // Keep the allocation, so that a ready list in every turn allocates nothing.
            tokens.clear();
            self.net.ready.tokens = tokens;
        }
    }

    /// Serves one event of one socket.
    #[inline]
    pub(crate) fn serve_socket(&mut self, key: Key, readiness: Readiness, read_buf: &mut [u8]) {
        let ready = self.note(Kind::Ready, key.serial(), 0);
        let outer = self.act_for(ready);
        let old_flag = self.net.ready.old_flag();
        if let Some(state) = self.net.socket_mut(Socket(key)) {
            if readiness.is_plain_data() && !state.is(flag::CONNECTING | flag::BLOCKED) {
                // The common case: the peer has sent bytes, and the socket is neither connecting nor blocked.
                state.clear(old_flag);
                state.set(flag::READABLE);
                self.read_socket(Socket(key), read_buf);
            } else {
                self.serve_event(Socket(key), readiness, read_buf);
            }
        }
        self.act_for(outer);
    }

    /// Any event. As in Node, reading comes before writing, and a hang-up counts as both.
    #[inline(never)]
    fn serve_event(&mut self, socket: Socket, readiness: Readiness, read_buf: &mut [u8]) {
        let old_flag = self.net.ready.old_flag();
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
            state.note_urgent_event();
        }
        if is_readable {
            // It is read now, so its entry in the ready list is skipped. An event that is only writable (kqueue reports
            // one thing at a time) leaves the entry in place.
            state.clear(old_flag);
            state.set(flag::READABLE);
        }
        if state.is(flag::CONNECTING) {
            // Bytes that came with the connection are read after `on_ready`.
            if is_writable {
                self.finish_connect(socket);
            }
            return;
        }
        // Reading first: received bytes and ECONNRESET are reported before a send fails. It runs user code.
        if is_readable {
            self.read_socket(socket, read_buf);
        }
        self.send_on(socket, if is_writable { flag::BLOCKED } else { flag::UNFINISHED });
    }

    /// Sends the outbox if the socket is blocked and has the flag `when`. A boundary follows.
    fn send_on(&mut self, socket: Socket, when: u32) {
        let Some(state) = self.net.socket(socket) else { return };
        if state.is(when) && state.among(flag::BLOCKED | flag::DESTROYED) == flag::BLOCKED {
            self.send_queued(socket);
            self.boundary();
        }
    }
}
