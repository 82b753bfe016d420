//! A socket changes its protocol.
//!
//! An HTTP server that has read `Upgrade: websocket`, or a server that has read `TELNET\n`, gives the socket another
//! handler. It usually has a few bytes too many: what the peer sent behind the request, in the same read. These bytes are
//! the *head* of the new protocol.
//!
//! ```text
//!   on_data(old)  "GET … \r\n\r\n▒▒▒▒▒"            the callback returns
//!                  └ upgrade(new, "▒▒▒▒▒") ───────────┐
//!                                                     ▼ first tick
//!                                   on_upgrade(new) ──▶ on_read(new, "▒▒▒▒▒") ──▶ data that was read later
//! ```
//!
//! The new handler is called in a tick, not inside `upgrade`, because only the loop calls user code. The tick is put in
//! front of all others, and nothing is delivered to the socket before it.

use super::state::flag::*;
use super::{IntoHandler, NetTick, Socket};
use crate::event_loop::{Kind, Loop};

impl Socket {
    /// Gives the socket another handler because its protocol changes. When the current callback has returned, before any
    /// other tick, the new handler gets [`on_upgrade`](super::Handler::on_upgrade), and then `head`, the bytes of the new
    /// protocol that the old handler has already received.
    ///
    /// `head` is delivered before everything that waits or arrives later, however long it is, also if the peer has ended
    /// meanwhile. If the socket is paused, it waits in the inbox. If `on_end` has been called already, the new handler gets it
    /// again after `head`. A second `upgrade` before the tick replaces the first one and its `head`. Settings of the
    /// socket (limits, timeout, corks, pipes) stay as they are. A socket that is connecting gets `on_upgrade` first and
    /// `on_connect` when it is connected. If the socket is destroyed after this call, the new handler gets `on_upgrade` and
    /// `on_close`; if it was destroyed before, only what is still to come.
    ///
    /// ```
    /// use bucle::net::{self, Handler, Socket};
    /// use bucle::Loop;
    ///
    /// /// Speaks its own protocol, until the peer asks for another one.
    /// struct Greeter;
    ///
    /// impl Handler for Greeter {
    ///     fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
    ///         // (A real server puts the pieces of a request together first.)
    ///         match chunk.strip_prefix(b"ECHO\n") {
    ///             Some(head) => socket.upgrade(lp, Echo, head),
    ///             None => socket.end(lp),
    ///         }
    ///     }
    /// }
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {
    ///         socket.write(lp, "echo: ");
    ///     }
    ///     fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
    ///         socket.write(lp, chunk);
    ///     }
    /// }
    ///
    /// # let received = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    /// # let screen = received.clone();
    /// bucle::run(|lp| {
    ///     let server = net::listen(lp, ("127.0.0.1", 0), Greeter)?;
    ///     let client = net::on()
    ///         .connect(|lp, socket| socket.end_with(lp, "ECHO\nhola"))
    ///         .data(move |_, _, chunk| screen.borrow_mut().extend_from_slice(chunk));
    ///     let port = server.port(lp).expect("it is bound");
    ///     Socket::connect(lp, ("127.0.0.1", port), client)?;
    ///     server.unref(lp);
    ///     Ok(())
    /// })?;
    /// assert_eq!(*received.borrow(), b"echo: hola");
    /// # Ok::<(), bucle::Error>(())
    /// ```
    pub fn upgrade(self, lp: &mut Loop, handler: impl IntoHandler, head: impl AsRef<[u8]>) {
        let Some(state) = lp.net.socket(self) else { return };
        let (is_destroyed, is_first) = (state.is(DESTROYED), !state.is(UPGRADING));
        self.set_handler(lp, handler);
        if is_destroyed {
            return;
        }
        let head = head.as_ref().to_vec();
        if is_first {
            if let Some(state) = lp.net.socket_mut(self) {
                state.set(UPGRADING);
            }
            lp.net.heads.push((self, head));
            lp.first_net_tick(NetTick::Upgrade(self));
        } else if let Some((_, waiting)) = lp.net.heads.iter_mut().find(|(socket, _)| *socket == self) {
            *waiting = head;
        }
    }
}

impl Loop {
    /// The tick of [`Socket::upgrade`].
    pub(super) fn upgrade_now(&mut self, socket: Socket) {
        let Some(place) = self.net.heads.iter().position(|(other, _)| *other == socket) else { return };
        let (_, mut head) = self.net.heads.swap_remove(place);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.clear(UPGRADING);
        // The new handler gets an end of its own, after `head`.
        state.clear(END_EMITTED);
        self.emit(socket, Kind::OnUpgrade, 0, |handler, lp| handler.on_upgrade(lp, socket));
        // `on_upgrade` may have paused or destroyed the socket, or upgraded it once more.
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return;
        }
        if head.is_empty() || state.discards_input() {
            // Nothing to deliver but what waits behind it.
        } else if state.among(FLOWING | UPGRADING) == FLOWING {
            self.hand_over(socket, &mut head);
        } else {
            state.set(DETOUR);
            state.more().inbox.unshift(&head);
        }
        self.flow(socket);
    }
}
