//! Handlers: the values whose methods the loop calls when something happens to a server or a socket.
//!
//! ```text
//!   server #1 ─┐
//!   socket #2 ─┼─▶ slot 0: Echo, 3 users             a handler is dropped with its last user
//!   socket #3 ─┘
//!   socket #4 ───▶ slot 1: WebSocket, 1 user         after `upgrade` or `set_handler`
//! ```
//!
//! A handler is a value with state. A server and all its sockets share one handler, so an idle socket needs no memory
//! for it. [`Socket::set_handler`] and [`Socket::upgrade`] give one socket a handler of its own.
//!
//! While a handler runs it is *out*: it is taken from its slot, and put back when the callback returns. So the callback
//! can borrow the handler and the loop at the same time. It may destroy the socket whose event it handles, close the
//! server, or replace its own handler.

use std::any::Any;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::state::flag::UPGRADING;
use super::{Error, Loop, ServerId, Socket};
use crate::event_loop::Kind;

/// Handles the events of a server and its sockets, or of a client.
///
/// Every method has a default that does nothing, with two exceptions: `on_error` and `on_server_error` report the
/// error, so that an error that is not handled can be seen. If the program has a logger for the crate `log`, this is a
/// warning in its log, and otherwise a line on standard error, at most 10 in a second. (A logger whose
/// [maximum level](log::max_level) is `Off` counts as none.)
///
/// The names are Node's ([net.Server](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netserver),
/// [net.Socket](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netsocket)).
#[expect(unused_variables, reason = "the names are for implementations")]
pub trait Handler: Any {
    /// A server has accepted `socket`.
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {}
    /// The host name of a client was looked up: one call for each address, or one call with the error.
    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, result: Result<std::net::IpAddr, &Error>) {}
    /// A client is connected.
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {}
    /// A client is connected, and the writes that were made before have been sent.
    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {}
    /// The socket was given this handler by [`Socket::upgrade`]. Data follows, beginning with the `head`.
    fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {}
    /// Bytes have arrived, in a buffer that the handler may change: `buf` is the loop's own read buffer, and its
    /// contents are not used after this call. For protocols that decode in place. The default calls
    /// [`on_data`](Self::on_data).
    ///
    /// Only the loop calls this method. A handler that wraps another one forwards `on_read`, not `on_data`; otherwise a
    /// wrapped handler that implements only `on_read` gets nothing
    /// ([Node: `onread`](https://nodejs.org/docs/latest-v20.x/api/net.html#socketconnectoptions-connectlistener)).
    #[doc(alias = "onread")]
    fn on_read(&mut self, lp: &mut Loop, socket: Socket, buf: &mut [u8]) {
        self.on_data(lp, socket, buf);
    }
    /// Bytes have arrived. A chunk is the result of one read: it may contain a part of a message, or several messages.
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {}
    /// Text has arrived. Called instead of `on_data` after [`Socket::set_encoding`].
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {}
    /// All queued bytes have been sent, after a write that returned `false`.
    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {}
    /// The peer has ended, and everything that it sent has been delivered. Unless `allow_half_open` is set, this side
    /// ends right afterwards, too.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {}
    /// This side has ended: all bytes and the FIN have been sent.
    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {}
    /// The socket has been idle for the time set with [`Socket::set_timeout`]. The loop does not close it, unless its
    /// server has an [`idle_message`](super::ServerOptions::idle_message).
    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {}
    /// Something has failed; `on_close` follows. The default reports that the error is not handled.
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        lp.report_unhandled("bucle::net", &socket, &error, "net::Handler::on_error, or net::on().error(…)");
    }
    /// The socket is closed. This is its last event: afterwards its handle names nothing. `had_error` is `true` if an
    /// error was the reason.
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, had_error: bool) {}

    /// The socket's server has begun to drain ([`ServerId::drain`](super::ServerId::drain)): this connection ends soon.
    ///
    /// A handler can send what its protocol has for this case: an HTTP server adds `Connection: close` to its next
    /// answer, a WebSocket server sends a close frame with code 1001 (*going away*). It need not do anything. A
    /// connection that is accepted during the drain gets this right after `on_connection`.
    fn on_going_away(&mut self, lp: &mut Loop, socket: Socket) {}
    /// Returns whether an answer to this connection is still being prepared. This is no event: a drain calls it before
    /// it ends a quiet connection, and a busy connection stays open until [`Drain::grace`](super::Drain::grace) is
    /// over.
    ///
    /// For handlers that answer later than in the callback that received the request. Default: `false`.
    fn is_busy(&self, lp: &Loop, socket: Socket) -> bool {
        false
    }

    /// The server is bound and accepts connections.
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {}
    /// The server was full ([`max_connections`](super::ServerOptions::max_connections)) and has refused a connection.
    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {}
    /// The server could not listen, or could not accept. The default reports that the error is not handled.
    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        let remedy = "net::Handler::on_server_error, or net::on().server_error(…)";
        lp.report_unhandled("bucle::net", &server, &error, remedy);
    }
    /// The server is closed, and its last connection is destroyed.
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {}
}

/// A connection that a full server has refused. Both addresses are `None` on a unix path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// This side of the connection.
    pub local: Option<SocketAddr>,
    /// The peer's side.
    pub remote: Option<SocketAddr>,
}

/// The slot of a handler. It exists as long as a server, a socket or a [`Shared`](super::Shared) uses it.
pub(super) struct HandlerSlot {
    /// `None` while the handler is out.
    pub handler: Option<Box<dyn Handler>>,
    /// The number of servers, sockets and `Shared` names that use it.
    pub users: u32,
    /// The serial of the [`Shared`](super::Shared) that names it, if there is one.
    pub name: Option<NonZeroU32>,
    /// Set from when shared state is given to a socket or server as its handler until it is converted. See
    /// [`Shared`](super::Shared).
    pub conversion: Option<Conversion>,
}

/// Turns the contents of a slot into a handler that gets events.
pub(super) type Conversion = fn(Box<dyn Handler>) -> Box<dyn Handler>;

impl Loop {
    pub(super) fn add_handler(&mut self, handler: Box<dyn Handler>) -> u32 {
        self.net.handlers.insert(HandlerSlot { handler: Some(handler), users: 1, name: None, conversion: None }) as u32
    }

    pub(super) fn share_handler(&mut self, slot: u32) {
        self.net.handlers[slot as usize].users += 1;
    }

    /// Removes one user. Without users the handler is dropped, now or, if it is running, when its callback returns.
    pub(super) fn release_handler(&mut self, slot: u32) {
        let entry = &mut self.net.handlers[slot as usize];
        entry.users -= 1;
        if entry.users == 0 && entry.handler.is_some() {
            self.net.handlers.remove(slot as usize);
        }
    }

    /// Lends a handler and the loop to `f`. `None` if the handler is running already, or if `f` panicked and panics are
    /// caught.
    #[inline(always)]
    pub(super) fn with_handler<R>(&mut self, slot: u32, f: impl FnOnce(&mut dyn Handler, &mut Loop) -> R) -> Option<R> {
        let mut handler = self.net.handlers.get_mut(slot as usize)?.handler.take()?;
        let result = if self.catches_panics() {
            self.call_caught(|lp| f(&mut *handler, lp))
        } else {
            Some(f(&mut *handler, self))
        };
        // The slot exists still: while its handler is out, `release_handler` does not remove it.
        let entry = &mut self.net.handlers[slot as usize];
        if entry.users > 0 {
            // The slot is empty. `forget` tells the compiler that there is no old handler to drop.
            std::mem::forget(entry.handler.replace(handler));
        } else {
            // The last user was removed during the call. `handler` is dropped at the end of this function.
            self.net.handlers.remove(slot as usize);
        }
        result
    }

    /// As [`with_handler`](Self::with_handler), for callers that know the handler's type.
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

    /// Calls the handler of `socket`: every event of a socket goes through here or [`emit_to`](Self::emit_to).
    /// Afterwards the socket may be destroyed, upgraded or gone, so the caller must look up its state again.
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

    /// As [`emit`](Self::emit), for callers that have looked up the handler already.
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

    /// A callback of `socket` has panicked, and the panic was caught. The connection may be in the middle of a message,
    /// so the socket is destroyed.
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
