//! Draining: how a server with connections is closed in order.
//!
//! Closing a server only stops it from accepting; its connections go on as long as they like. Destroying them loses
//! requests that have arrived and answers that are on their way. A drain is between the two, and takes a bounded time:
//!
//! ```text
//!   drain ─▶ a tick: on_going_away for every connection
//!     │
//!     ├─ accept what waits in the backlog, then close the listener
//!     ├─ every `quiet`:  end each connection that was quiet for that long: it has sent nothing, nothing that it sent
//!     │                  waits here or in the kernel, nothing waits for it, and its handler is not busy with it
//!     ├─ after `grace`:  end all the others
//!     ├─ a second later: destroy those that have received everything and do not answer with a FIN
//!     └─ after `limit`:  destroy the rest
//!                                            last connection gone ─▶ on_server_close
//! ```
//!
//! A connection that a drain has ended delivers no data any more: the program did not end it and might answer, and a
//! write after the end would be an error. `on_finish`, `on_end`, `on_error` and `on_close` still come.
//!
//! While no server drains, nothing here costs anything: a drain compares byte counts that every socket has anyway.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::leave::LEAVE_LIMIT;
use super::server::ServerTick;
use super::state::flag::*;
use super::{BACKLOG, NetTick, NetTimer, ServerId, Socket};
use crate::event_loop::{Kind, Loop, TimerId};

/// The times of a drain, each counted from its beginning: see [`ServerId::drain`].
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
/// How the steps follow each other:
///
/// 1. Every connection gets [`on_going_away`](super::Handler::on_going_away), in a tick.
/// 2. Connections that wait in the kernel's backlog are accepted, at most [`BACKLOG`]. Then the listener is closed.
/// 3. Connections that are quiet for [`quiet`](Self::quiet) are ended, unless [`is_busy`](super::Handler::is_busy).
/// 4. After [`grace`](Self::grace) all others are ended, too. What was written is still sent.
/// 5. A second later those are destroyed for which nothing waits, and that have not answered with a FIN.
/// 6. After [`limit`](Self::limit) the rest is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drain {
    /// A connection on which nothing has arrived for that long is ended. Default: 10 ms, in which whatever is in the
    /// kernel or on its way through a local network arrives.
    pub quiet: Duration,
    /// How long connections on which data keeps arriving, and busy ones, are served. Default: 1 s.
    pub grace: Duration,
    /// How long all of it may take. Default: 4.5 s; a service manager commonly waits 5 s or more before it kills.
    pub limit: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Drain { quiet: Duration::from_millis(10), grace: Duration::from_secs(1), limit: Duration::from_millis(4500) }
    }
}

/// What is remembered of a server while it drains.
pub(super) struct Draining {
    times: Drain,
    since: Instant,
    /// Its tick has run: connections that are accepted from now on are told one by one.
    is_announced: bool,
    /// How many more connections of the backlog are accepted. `None`: the listener was closed.
    backlog: Option<u32>,
    /// How much each connection had sent at the last look.
    bytes_read: HashMap<Socket, u64>,
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
        let backlog = state.listener.is_bound().then_some(BACKLOG);
        let bytes_read = HashMap::new();
        state.drain = Some(Box::new(Draining { times, since, is_announced: false, backlog, bytes_read, timer: None }));
        self.tick(NetTick::Server(server, ServerTick::GoingAway));
        if backlog.is_some() {
            // The next poll accepts until nothing waits, whether the kernel reports the listener or not.
            self.put_listener_on_ready_list(server);
        } else {
            // A lookup or a tick may be about to bind it; this prevents that. Without connections it is over already.
            self.close_server(server, None);
        }
    }

    /// The tick of a drain.
    pub(super) fn announce_drain(&mut self, server: ServerId) {
        let Some(draining) = self.draining(server) else { return };
        draining.is_announced = true;
        let times = draining.times;
        for socket in server.sockets(self) {
            // The first look, with which the first round compares.
            self.has_sent_nothing(server, socket);
            self.announce_going_away(socket);
        }
        self.start_drain_timer(server, times.quiet.min(times.grace).min(times.limit));
    }

    pub(super) fn announce_going_away(&mut self, socket: Socket) {
        if self.net.socket(socket).is_some_and(|state| !state.is(DESTROYED)) {
            self.emit(socket, Kind::OnGoingAway, 0, |handler, lp| handler.on_going_away(lp, socket));
        }
    }

    /// A connection is accepted. Whether `on_going_away` has to follow: the tick of a drain that has just begun sees to
    /// that itself.
    pub(super) fn count_for_drain(&mut self, server: ServerId) -> bool {
        let Some(draining) = self.draining(server) else { return false };
        let is_announced = draining.is_announced;
        draining.backlog = draining.backlog.map(|left| left.saturating_sub(1));
        if draining.backlog == Some(0) {
            // As many as a backlog holds: the next one has come after the drain began.
            self.backlog_is_empty(server);
        }
        is_announced
    }

    /// Nothing is left to be accepted. A server that drains stops listening now.
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
            // It still listens if accepting fails, or if connections come as fast as they are accepted.
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

    /// Starts the timer of the next step, unless the last one was the end of the drain.
    fn start_drain_timer(&mut self, server: ServerId, wait: Duration) {
        if self.draining(server).is_none() {
            return;
        }
        let timer = self.start_net_timer(wait, NetTimer::Drain(server));
        if let Some(draining) = self.draining(server) {
            draining.timer = Some(timer);
        }
    }

    /// A round: ends the connections on which nothing happens any more.
    fn end_quiet(&mut self, server: ServerId, sockets: &[Socket]) {
        for &socket in sockets {
            // The first comes first, for it remembers what it sees.
            if self.has_sent_nothing(server, socket) && self.has_nothing_waiting(socket) && !self.is_busy(socket) {
                self.end_socket(socket, None, None);
                self.discard_input(socket);
            }
        }
    }

    /// Whether a connection has sent nothing since the last look; this is the next last look.
    fn has_sent_nothing(&mut self, server: ServerId, socket: Socket) -> bool {
        let Some(bytes_read) = self.net.socket(socket).map(|state| state.bytes_read) else { return false };
        let Some(draining) = self.draining(server) else { return false };
        draining.bytes_read.insert(socket, bytes_read) == Some(bytes_read)
    }

    /// Whether nothing waits for the peer, and nothing that it has sent waits to be delivered.
    fn has_nothing_waiting(&self, socket: Socket) -> bool {
        const WAITING: u32 = PAUSED | RESUMING | UPGRADING | NEED_DRAIN | BLOCKED | ENDED | DESTROYED;
        let Some(state) = self.net.socket(socket).filter(|state| !state.is(WAITING)) else { return false };
        if self.net.outboxes.unsent(state) > 0 || state.corks > 0 || state.has_undelivered() {
            return false;
        }
        // Last, for it is a system call. On a busy loop the poll may not have come to this socket yet.
        !state.stream.has_unread()
    }

    /// What the handler says. It gets the loop for reading only, so it cannot change what this round has seen.
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
            // Also where the program has ended: a paused socket has to read to find the peer's FIN.
            self.discard_input(socket);
        }
    }

    /// Destroys the connections that have been sent everything, and whose peers do not answer.
    fn destroy_silent(&mut self, sockets: &[Socket]) {
        for &socket in sockets {
            if self.net.socket(socket).is_some_and(|state| self.net.outboxes.unsent(state) == 0) {
                self.destroy_socket(socket, None);
            }
        }
    }

    /// The limit is over.
    fn destroy_rest(&mut self, server: ServerId, sockets: &[Socket], limit: Duration) {
        if !sockets.is_empty() {
            let count = sockets.len();
            log::warn!(target: "bucle::net", "{server}: destroying {count} connections that did not end in {limit:?}");
        }
        self.backlog_is_empty(server);
        for &socket in sockets {
            self.destroy_socket(socket, None);
        }
        // It is over already, unless the program has it listen again.
        self.end_drain(server);
    }

    /// Nothing is left to be drained.
    pub(super) fn end_drain(&mut self, server: ServerId) {
        let Some(state) = self.net.server_mut(server) else { return };
        if let Some(timer) = state.drain.take().and_then(|draining| draining.timer) {
            self.clear(timer);
        }
    }
}
