//! Draining: closes a server and its connections without losing requests or answers, within a time limit.
//!
//! `close` only stops a server from accepting; its connections may stay open without end. Destroying them loses
//! requests that have arrived and answers that are being sent. A drain ends each connection when it is quiet:
//!
//! ```text
//!   drain ─▶ a tick: on_going_away for every connection
//!     │
//!     ├─ accept the connections of the backlog, then close the listener  (leave_backlog: close it now)
//!     ├─ every `quiet`:  end each connection that was quiet since the last round: its peer has sent nothing, no data
//!     │                  from the peer or for it waits, and its handler is not busy
//!     ├─ after `grace`:  end all other connections
//!     ├─ a second later: destroy connections for which no bytes wait and whose peers have not sent a FIN
//!     └─ after `limit`:  destroy the rest
//!                                     last connection destroyed ─▶ on_server_close
//! ```
//!
//! When a drain has ended a connection, no more data is delivered from it. The program did not end it, so it might
//! answer that data, and a write after the end is an error. `on_finish`, `on_end`, `on_error` and `on_close` are still
//! called.
//!
//! A drain costs one map entry per connection while it lasts: it compares counts of bytes that each socket has anyway.
//! Servers that do not drain pay nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::leave::LEAVE_LIMIT;
use super::server::ServerTick;
use super::state::flag::*;
use super::{BACKLOG, NetTick, NetTimer, ServerId, Socket};
use crate::event_loop::{Kind, Loop, TimerId};

/// How a server drains; the times are counted from the beginning of the drain: see [`ServerId::drain`].
///
/// ```
/// use std::time::Duration;
/// use bucle::net::{self, Drain, Socket, on};
///
/// bucle::run(|lp| {
///     let echo = on().data(|lp, socket, chunk| { socket.write(lp, chunk); });
///     let server = net::listen(lp, ("127.0.0.1", 0), echo)?;
///     // A client that never closes its side.
///     let port = server.port(lp).expect("it is bound");
///     Socket::connect(lp, ("127.0.0.1", port), on().connect(|lp, socket| { socket.write(lp, "hola"); }))?;
///     // A real server would do this when it gets SIGTERM.
///     server.drain(lp, Drain { grace: Duration::from_millis(200), ..Drain::default() });
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
///
/// The steps, in order:
///
/// 1. Every connection gets [`on_going_away`](super::Handler::on_going_away), in a tick.
/// 2. Connections that wait in the kernel's backlog are accepted, at most [`BACKLOG`], unless
///    [`leave_backlog`](Self::leave_backlog). Then the listener is closed.
/// 3. Connections that are quiet for [`quiet`](Self::quiet) are ended, unless [`is_busy`](super::Handler::is_busy).
/// 4. After [`grace`](Self::grace) all other connections are ended, too. Queued bytes are still sent.
/// 5. A second later connections are destroyed if no bytes wait for them and their peers have not sent a FIN.
/// 6. After [`limit`](Self::limit) the rest is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drain {
    /// A connection is ended when no data has arrived on it for this long. Default: 10 ms, enough for data that is in
    /// the kernel or on its way through a local network.
    pub quiet: Duration,
    /// How long busy connections, and connections on which data keeps arriving, are served. Default: 1 s.
    pub grace: Duration,
    /// How long the whole drain may take. Default: 4.5 s, because service managers commonly wait 5 s or more before
    /// they kill the process.
    pub limit: Duration,
    /// Connections that wait in the backlog are not accepted. If another process holds the listening socket too
    /// ([`Listen::from_fd`](super::Listen::from_fd)), they wait for it; otherwise the kernel resets them. Default: no.
    pub leave_backlog: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            quiet: Duration::from_millis(10),
            grace: Duration::from_secs(1),
            limit: Duration::from_millis(4500),
            leave_backlog: false,
        }
    }
}

/// The state of a drain.
pub(super) struct Draining {
    times: Drain,
    since: Instant,
    /// The tick has run: a connection that is accepted from now on gets `on_going_away` right after `on_connection`.
    is_announced: bool,
    /// How many more connections of the backlog are accepted. `None`: the listener was closed.
    backlog: Option<u32>,
    /// How many bytes had been read from each connection in the last round.
    bytes_read: HashMap<Socket, u64>,
    /// The timer of the next step.
    timer: Option<TimerId>,
}

impl Loop {
    fn draining(&mut self, server: ServerId) -> Option<&mut Draining> {
        self.net.server_mut(server)?.drain.as_deref_mut()
    }

    /// Begins a drain.
    pub(super) fn drain_server(&mut self, server: ServerId, times: Drain) {
        let since = self.now();
        let Some(state) = self.net.server_mut(server) else { return };
        if state.drain.is_some() {
            return;
        }
        log::debug!(target: "bucle::net", "{server} drains {} connections", state.connections);
        let backlog = (state.listener.is_bound() && !times.leave_backlog).then_some(BACKLOG);
        let bytes_read = HashMap::new();
        state.drain = Some(Box::new(Draining { times, since, is_announced: false, backlog, bytes_read, timer: None }));
        self.tick(NetTick::Server(server, ServerTick::GoingAway));
        if backlog.is_some() {
            // From the next poll on connections are accepted until the backlog is empty, even if the kernel does not
            // report the listener.
            self.put_listener_on_ready_list(server);
        } else {
            // Also cancels a bind that is still to come, in a tick or after a lookup. Without connections this ends the
            // drain.
            self.close_server(server, None);
        }
    }

    /// The tick that follows the call of `drain`: `on_going_away` for every connection, then the first timer.
    pub(super) fn announce_drain(&mut self, server: ServerId) {
        let Some(draining) = self.draining(server) else { return };
        draining.is_announced = true;
        let times = draining.times;
        for socket in server.sockets(self) {
            // Stores the byte count that the first round compares with.
            self.has_sent_nothing(server, socket);
            // User code, which may end the drain: `draining` and the sockets are looked up again where they are used.
            self.announce_going_away(socket);
        }
        self.start_drain_timer(server, times.quiet.min(times.grace).min(times.limit));
    }

    /// Calls `on_going_away`, unless the socket is destroyed.
    pub(super) fn announce_going_away(&mut self, socket: Socket) {
        if self.net.socket(socket).is_some_and(|state| !state.is(DESTROYED)) {
            self.emit(socket, Kind::OnGoingAway, 0, |handler, lp| handler.on_going_away(lp, socket));
        }
    }

    /// Counts a connection that is being accepted. Returns whether the caller must call `on_going_away` after
    /// `on_connection`; before the tick of the drain it need not, because that tick calls it for all connections.
    pub(super) fn count_for_drain(&mut self, server: ServerId) -> bool {
        let Some(draining) = self.draining(server) else { return false };
        let is_announced = draining.is_announced;
        draining.backlog = draining.backlog.map(|left| left.saturating_sub(1));
        if draining.backlog == Some(0) {
            // As many connections as a backlog holds were accepted, so later ones arrived after the drain began.
            self.backlog_is_empty(server);
        }
        is_announced
    }

    /// No connection waits to be accepted. A server that drains closes its listener now.
    pub(super) fn backlog_is_empty(&mut self, server: ServerId) {
        if let Some(draining) = self.draining(server)
            && draining.backlog.take().is_some()
        {
            self.close_server(server, None);
        }
    }

    /// The timer of a drain: does what is due, and starts the timer of the next step.
    pub(super) fn go_on_draining(&mut self, server: ServerId) {
        let now = self.now();
        let Some(draining) = self.draining(server) else { return };
        draining.timer = None;
        let (times, elapsed) = (draining.times, now.saturating_duration_since(draining.since));
        let leave_at = times.grace.saturating_add(LEAVE_LIMIT);
        let sockets = server.sockets(self);
        if elapsed >= times.limit {
            return self.destroy_rest(server, &sockets, times.limit);
        }
        let next = if elapsed < times.grace {
            self.end_quiet(server, &sockets);
            elapsed.saturating_add(times.quiet).min(times.grace)
        } else {
            // The listener is still open if accepting fails, or if connections arrive as fast as they are accepted.
            self.backlog_is_empty(server);
            self.end_all(&sockets);
            if elapsed < leave_at {
                leave_at
            } else {
                self.destroy_silent(&sockets);
                times.limit
            }
        };
        self.start_drain_timer(server, next.min(times.limit).saturating_sub(elapsed));
    }

    /// Starts the timer of the next step, unless the drain has ended.
    fn start_drain_timer(&mut self, server: ServerId, wait: Duration) {
        // Checked first: a timer that no `Draining` knows could not be cleared.
        if self.draining(server).is_none() {
            return;
        }
        let timer = self.start_net_timer(wait, NetTimer::Drain(server));
        if let Some(draining) = self.draining(server) {
            draining.timer = Some(timer);
        }
    }

    /// A round: ends the connections that were quiet since the last round.
    fn end_quiet(&mut self, server: ServerId, sockets: &[Socket]) {
        for &socket in sockets {
            // `has_sent_nothing` is called for every socket, because it stores the byte count for the next round. The
            // cheap tests come before the system call and user code (`is_busy`).
            if self.has_sent_nothing(server, socket) && self.has_nothing_waiting(socket) && !self.is_busy(socket) {
                self.end_socket(socket, None, None);
                self.discard_input(socket);
            }
        }
    }

    /// Whether no bytes have been read from a connection since the last call. Stores the byte count for the next call.
    fn has_sent_nothing(&mut self, server: ServerId, socket: Socket) -> bool {
        let Some(bytes_read) = self.net.socket(socket).map(|state| state.bytes_read) else { return false };
        let Some(draining) = self.draining(server) else { return false };
        draining.bytes_read.insert(socket, bytes_read) == Some(bytes_read)
    }

    /// Whether no bytes wait for the peer, and no data from it waits to be delivered.
    fn has_nothing_waiting(&self, socket: Socket) -> bool {
        const WAITING: u32 = PAUSED | RESUMING | UPGRADING | NEED_DRAIN | BLOCKED | ENDED | DESTROYED;
        let Some(state) = self.net.socket(socket).filter(|state| !state.is(WAITING)) else { return false };
        if self.net.outboxes.unsent(state) > 0 || state.corks > 0 || state.has_undelivered() {
            return false;
        }
        // Last, because it is a system call. The kernel may have data that a busy loop has not read yet.
        !state.stream.has_unread()
    }

    /// Calls the handler's `is_busy`. It gets the loop by shared reference, so it cannot change what this round checks.
    fn is_busy(&mut self, socket: Socket) -> bool {
        let Some(slot) = self.net.socket(socket).map(|state| state.handler) else { return false };
        self.with_handler(slot, |handler, lp| handler.is_busy(lp, socket)).unwrap_or(false)
    }

    /// The grace period is over: ends every connection.
    fn end_all(&mut self, sockets: &[Socket]) {
        for &socket in sockets {
            if self.net.socket(socket).is_some_and(|state| state.is_writable()) {
                self.end_socket(socket, None, None);
            }
            // Also if the program has ended the socket itself: a paused socket must be read to receive the peer's FIN.
            self.discard_input(socket);
        }
    }

    /// Destroys the connections for which no bytes wait. Their peers have had a second to send a FIN.
    fn destroy_silent(&mut self, sockets: &[Socket]) {
        for &socket in sockets {
            if self.net.socket(socket).is_some_and(|state| self.net.outboxes.unsent(state) == 0) {
                self.destroy_socket(socket, None);
            }
        }
    }

    /// The time limit is reached: destroys the connections that are left.
    fn destroy_rest(&mut self, server: ServerId, sockets: &[Socket], limit: Duration) {
        if !sockets.is_empty() {
            let count = sockets.len();
            log::warn!(target: "bucle::net", "{server}: destroying {count} connections that did not end in {limit:?}");
        }
        self.backlog_is_empty(server);
        for &socket in sockets {
            self.destroy_socket(socket, None);
        }
        // The drain has ended with the last connection, unless the program made the server listen again meanwhile.
        self.end_drain(server);
    }

    /// Ends a drain.
    pub(super) fn end_drain(&mut self, server: ServerId) {
        let Some(state) = self.net.server_mut(server) else { return };
        if let Some(timer) = state.drain.take().and_then(|draining| draining.timer) {
            self.clear(timer);
        }
    }
}
