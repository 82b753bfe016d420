//! Upgrading: a socket changes its protocol, and so its handler.
//!
//! An HTTP server that has read `Upgrade: websocket`, or a server that has read `TELNET\n`, gives the socket another
//! handler. Often the same read contains bytes behind the request, which belong to the new protocol already: its
//! *head*.
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
    /// Gives the socket another handler because its protocol changes. When the current callback has returned, before
    /// any other tick, the new handler gets [`on_upgrade`](super::Handler::on_upgrade), and then `head`, the bytes of
    /// the new protocol that the old handler has already received.
    ///
    /// `head` is delivered before all data that waits or arrives later, even if the peer has ended meanwhile. Its
    /// length is not limited. If the socket is paused, `head` waits in the inbox. A pipe gets it, too, like all data
    /// that the handler gets. If `on_end` has been called already, the new handler gets it again after `head`, and
    /// unless `allow_half_open` is set the socket answers with its own end after that one. A second `upgrade` before
    /// the tick replaces the first one and its `head`. Settings of the socket (limits, timeout, corks, pipes) stay as
    /// they are. A socket that is connecting gets `on_upgrade` first and `on_connect` when it is connected. If the
    /// socket is destroyed after this call, the new handler gets `on_upgrade` and `on_close`; if it was destroyed
    /// before, only what is still to come.
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
        if let Some(state) = lp.net.socket_mut(self) {
            state.set(UPGRADING);
            // The new handler gets an `on_end` of its own, after `head`. Cleared here and not in the tick: otherwise
            // the socket would answer the first `on_end` with its own end, or be destroyed, before `head` is delivered.
            state.clear(END_EMITTED);
        }
        let head = head.as_ref().to_vec();
        if is_first {
            lp.net.heads.push((self, head));
            lp.first_net_tick(NetTick::Upgrade(self));
        } else if let Some((_, waiting)) = lp.net.heads.iter_mut().find(|(socket, _)| *socket == self) {
            *waiting = head;
        }
    }
}

impl Loop {
    /// The tick of [`Socket::upgrade`]: `on_upgrade`, then `head`, then the bytes that wait behind it.
    ///
    /// If the loop has another event for the socket before that tick, such as `on_ready` right after `on_connect`, this
    /// runs before the event, and the tick finds nothing to do.
    #[cold]
    pub(super) fn upgrade_now(&mut self, socket: Socket) {
        if let Some(state) = self.net.socket_mut(socket) {
            state.clear(UPGRADING);
        }
        let Some(place) = self.net.heads.iter().position(|(other, _)| *other == socket) else { return };
        let (_, mut head) = self.net.heads.swap_remove(place);
        self.emit(socket, Kind::OnUpgrade, 0, |handler, lp| handler.on_upgrade(lp, socket));
        // `on_upgrade` may have paused or destroyed the socket, or upgraded it once more.
        let Some(state) = self.net.socket(socket) else { return };
        if state.is(DESTROYED) {
            return;
        }
        if state.among(FLOWING | UPGRADING) != FLOWING {
            self.unshift_socket(socket, &head);
        } else if !head.is_empty() && !state.discards_input() {
            self.deliver(socket, &mut head);
        }
        self.deliver_inbox(socket);
    }
}
