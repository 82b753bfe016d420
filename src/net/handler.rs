//! Who answers: the handler of a server's or a socket's events.
//!
//! A handler is a value with state. One handler answers for a server and all of its sockets, so an idle socket needs no
//! memory for it; [`Socket::set_handler`] gives one socket its own, which is how a protocol is upgraded.
//!
//! While a handler runs it is *out*: taken from its slot, and put back after. So it may do anything to anybody,
//! itself included: destroy the socket whose event it answers, close the server, put another handler in its own place.

use std::any::Any;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::state::flag::UPGRADING;
use super::{Error, Loop, ServerId, Socket};
use crate::event_loop::Kind;

/// Answers the events of a server and its sockets, or of a client. Every method does nothing unless you write it,
/// but for the two of errors, which log: an error that nobody handles is not silent.
///
/// The names are Node's ([net.Server](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netserver),
/// [net.Socket](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netsocket)).
#[expect(unused_variables, reason = "the names are for who implements it")]
pub trait Handler: Any {
    /// A server has accepted `socket`.
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {}
    /// A client's host name was looked up: one call for every address, or one with the error.
    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, result: Result<std::net::IpAddr, &Error>) {}
    /// A client is connected.
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {}
    /// A client is connected and what was written before has been handed to the kernel.
    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {}
    /// The socket was given this handler by [`Socket::upgrade`]. Data follows, beginning with the `head`.
    fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {}
    /// Bytes have arrived, in a buffer that the handler may change: `buf` is the loop's own read buffer, and its contents are
    /// not used after this call. For protocols that decode in place. The default calls [`on_data`](Self::on_data).
    ///
    /// Only the loop calls this method. A handler that wraps another one forwards `on_read`, not `on_data`; otherwise a
    /// wrapped handler that implements only `on_read` gets nothing
    /// ([Node: `onread`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketconnectoptions-connectlistener)).
    #[doc(alias = "onread")]
    fn on_read(&mut self, lp: &mut Loop, socket: Socket, buf: &mut [u8]) {
        self.on_data(lp, socket, buf);
    }
    /// Bytes have come. A chunk is whatever one read gave: a message may come in pieces, and several in one.
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {}
    /// Text has come; instead of `on_data` after [`Socket::set_encoding`].
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {}
    /// Everything is written, after a write had answered `false`.
    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {}
    /// The peer has ended and all it sent has been delivered. Unless `allow_half_open` is set the socket answers with its
    /// own end right after.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {}
    /// Our own end is through: everything was written and the FIN sent.
    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {}
    /// Nothing has happened for the time set with [`Socket::set_timeout`]. Nothing is closed by itself.
    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {}
    /// Something failed; `on_close` follows. Unless you write this method, it is logged as a warning.
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        log::warn!(target: "bucle::net", "{socket}: {error} (nobody handles on_error)");
    }
    /// The socket's last word. Its handle finds nothing any more after this.
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, had_error: bool) {}

    /// The socket's server has begun to drain ([`ServerId::drain`](super::ServerId::drain)): this connection ends soon.
    ///
    /// For what a protocol sends in that case: an HTTP server adds `Connection: close` to its next answer, a WebSocket
    /// server sends a close frame with code 1001 (*going away*). Nothing has to be done here. A connection that is
    /// accepted during the drain gets this right after `on_connection`.
    fn on_going_away(&mut self, lp: &mut Loop, socket: Socket) {}
    /// Whether an answer to this connection is still being prepared. Not an event but a question, put by a drain before it
    /// ends a quiet connection; a busy one is left alone until [`Drain::grace`](super::Drain::grace) is over.
    ///
    /// For handlers that answer later than in the callback that got the request. Default: `false`.
    fn is_busy(&self, lp: &Loop, socket: Socket) -> bool {
        false
    }

    /// The server is bound and takes connections.
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {}
    /// The server was full ([`max_connections`](super::ServerOptions::max_connections)) and has refused a connection.
    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {}
    /// The server could not listen, or could not accept. Unless you write this method, it is logged as a warning.
    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        log::warn!(target: "bucle::net", "{server}: {error} (nobody handles on_server_error)");
    }
    /// The server is closed and its last connection is gone.
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {}
}

/// A connection that a full server has refused. Both addresses are `None` on a unix path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// Our side of the connection.
    pub local: Option<SocketAddr>,
    /// The peer's side.
    pub remote: Option<SocketAddr>,
}

/// A handler's place. It lives as long as a server or a socket refers to it.
pub(super) struct HandlerSlot {
    /// Out while it runs.
    pub handler: Option<Box<dyn Handler>>,
    pub users: u32,
    /// If it has one: see [`Shared`](super::Shared).
    pub name: Option<NonZeroU32>,
    /// Makes a handler of shared state; set while that is to happen. See [`Shared`](super::Shared).
    pub conversion: Option<Conversion>,
}

/// Makes a handler of what a slot holds.
pub(super) type Conversion = fn(Box<dyn Handler>) -> Box<dyn Handler>;

impl Loop {
    pub(super) fn add_handler(&mut self, handler: Box<dyn Handler>) -> u32 {
        self.net.handlers.insert(HandlerSlot { handler: Some(handler), users: 1, name: None, conversion: None }) as u32
    }

    pub(super) fn share_handler(&mut self, slot: u32) {
        self.net.handlers[slot as usize].users += 1;
    }

    /// One user less. The last one out takes the handler with it, unless it is running: then its call does.
    pub(super) fn release_handler(&mut self, slot: u32) {
        let entry = &mut self.net.handlers[slot as usize];
        entry.users -= 1;
        if entry.users == 0 && entry.handler.is_some() {
            self.net.handlers.remove(slot as usize);
        }
    }

    /// Lends a handler and the loop to `f`. `None` if the handler is running already, or `f` panicked and that is caught.
    #[inline(always)]
    pub(super) fn with_handler<R>(&mut self, slot: u32, f: impl FnOnce(&mut dyn Handler, &mut Loop) -> R) -> Option<R> {
        let mut handler = self.net.handlers.get_mut(slot as usize)?.handler.take()?;
        let result = if self.catches_panics() {
            self.call_caught(|lp| f(&mut *handler, lp))
        } else {
            Some(f(&mut *handler, self))
        };
        let entry = &mut self.net.handlers[slot as usize];
        if entry.users > 0 {
            // It was out, so nothing is dropped here; forgetting says so to the compiler.
            std::mem::forget(entry.handler.replace(handler));
        } else {
            self.net.handlers.remove(slot as usize);
        }
        result
    }

    /// As [`with_handler`](Self::with_handler), for who knows its type.
    pub(super) fn with_handler_as<H: Handler, R>(
        &mut self,
        slot: u32,
        f: impl FnOnce(&mut H, &mut Loop) -> R,
    ) -> Option<R> {
        self.with_handler(slot, |handler, lp| {
            let handler = (handler as &mut dyn Any).downcast_mut::<H>()?;
            Some(f(handler, lp))
        })?
    }

    /// Calls the handler of `socket`. The one way from the loop to a socket's user code.
    #[inline]
    pub(super) fn emit(
        &mut self,
        socket: Socket,
        kind: Kind,
        size: usize,
        f: impl FnOnce(&mut dyn Handler, &mut Loop),
    ) {
        let Some(mut state) = self.net.socket(socket) else { return };
        // Two events may follow each other without a tick between them: `on_connect` and `on_ready`, the callback of a
        // write and `on_drain`. If the first one has upgraded the socket, the new handler gets `on_upgrade` first.
        while state.is(UPGRADING) {
            self.upgrade_now(socket);
            match self.net.socket(socket) {
                Some(again) => state = again,
                None => return,
            }
        }
        self.emit_to(state.handler, socket, kind, size, f);
    }

    /// As [`emit`](Self::emit), for who has looked the handler up already.
    #[inline(always)]
    pub(super) fn emit_to(
        &mut self,
        slot: u32,
        socket: Socket,
        kind: Kind,
        size: usize,
        f: impl FnOnce(&mut dyn Handler, &mut Loop),
    ) {
        let result = self.in_callback(kind, self.cause(), socket.serial(), size, |lp| lp.with_handler(slot, f));
        if result.is_none() && self.catches_panics() {
            self.callback_panicked(socket);
        }
    }

    /// A callback of `socket` has panicked, and that is caught: what it was about to do will not happen.
    #[cold]
    pub(super) fn callback_panicked(&mut self, socket: Socket) {
        self.destroy_socket(socket, Some(Error::custom("E_PANIC", "a callback panicked")));
    }

    /// Calls the handler of `server`.
    pub(super) fn emit_server(&mut self, server: ServerId, kind: Kind, f: impl FnOnce(&mut dyn Handler, &mut Loop)) {
        let Some(state) = self.net.server(server) else { return };
        let slot = state.handler;
        self.in_callback(kind, self.cause(), server.0.serial(), 0, |lp| lp.with_handler(slot, f));
    }
}
