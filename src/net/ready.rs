//! Which sockets and servers are served in a poll: those that the kernel reports, and those on the ready list.
//!
//! epoll is edge-triggered: the kernel reports a descriptor once, and again only when something new arrives. Whoever
//! leaves something undone (a read over its budget, a send that stopped early, a connection still in the backlog) puts
//! the socket or server on the *ready list*. The next poll then does not wait, and serves the list after the events.
//!
//! A socket may be in both. Its event is served and the list passes over it: a fresh event may carry what the list does
//! not know, such as a FIN. Two flags, for even and for odd turns, tell an entry that was made before this poll from one
//! that is made during it.

use std::mem;

use mio::Token;

use super::state::flag;
use super::{Net, ServerId, Socket};
use crate::event_loop::token::{self, Key, TokenKind};
use crate::event_loop::{Kind, Loop, Readiness};

/// The flags that mark an entry of the ready list, for even and for odd turns.
const READY_FLAGS: [u32; 2] = [flag::READY_EVEN, flag::READY_ODD];

/// Sockets and servers that are ready although the kernel will not report them again.
#[derive(Default)]
pub(super) struct ReadyList {
    tokens: Vec<Token>,
    /// Flips with every poll: entries made during a poll get the other flag than those that it serves.
    is_odd_turn: bool,
}

impl ReadyList {
    /// Adds a server. The caller keeps a server from being added twice.
    pub fn push_server(&mut self, server: ServerId) {
        self.tokens.push(server.0.token(TokenKind::Server));
    }

    /// Frees the room of a list that was long, but for `few` entries.
    pub fn shrink_to(&mut self, few: usize) {
        self.tokens.shrink_to(few);
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

    /// As [`put_on_ready_list`](Self::put_on_ready_list), if the kernel has something to read.
    pub(super) fn put_on_ready_list_if_readable(&mut self, socket: Socket) {
        if self.socket(socket).is_some_and(|state| state.is(flag::READABLE)) {
            self.put_on_ready_list(socket);
        }
    }

    /// Has a socket served in the next poll, which will not wait.
    pub(super) fn put_on_ready_list(&mut self, socket: Socket) {
        let new_flag = self.ready.new_flag();
        let Some(state) = self.socket_mut(socket) else { return };
        if !state.is(new_flag) {
            state.set(new_flag);
            self.ready.tokens.push(socket.0.token(TokenKind::Socket));
        }
    }

    /// Has a socket go on sending in the next poll, which will not wait.
    pub(super) fn put_on_ready_list_to_send(&mut self, socket: Socket) {
        if let Some(state) = self.socket_mut(socket) {
            state.set(flag::UNFINISHED);
            self.put_on_ready_list(socket);
        }
    }
}

impl Loop {
    /// Serves the entries of the ready list that [`Net::begin_poll`] returned. A socket that this poll has already read,
    /// because of an event, has lost its old flag and is passed over.
    pub(crate) fn serve_ready(&mut self, mut tokens: Vec<Token>, read_buf: &mut [u8]) {
        if tokens.is_empty() {
            return;
        }
        let old_flag = self.net.ready.old_flag();
        for &token in &tokens {
            match token::open(token) {
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
                (_, key) => self.serve_ready_listener(key),
            }
        }
        if self.net.ready.tokens.is_empty() {
            // Keep the allocation, so that a ready list in every turn allocates nothing.
            tokens.clear();
            self.net.ready.tokens = tokens;
        }
    }

    /// One event of one socket.
    #[inline]
    pub(crate) fn serve_socket(&mut self, key: Key, readiness: Readiness, read_buf: &mut [u8]) {
        let ready = self.note(Kind::Ready, key.serial(), 0);
        let outer = self.act_for(ready);
        let old_flag = self.net.ready.old_flag();
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
        if state.is(when) && state.among(flag::BLOCKED | flag::DESTROYED) == flag::BLOCKED {
            self.send_queued(socket);
            self.boundary();
        }
    }
}
