//! Accepting: takes connections from the kernel's backlog, and retries when accepting fails.
//!
//! ```text
//!   listener ready ─▶ accept ─┬─ a connection ────────▶ on_connection (a full server: refuse.rs) ─▶ accept again,
//!                             │                         up to accepts_per_turn; the rest in the next turn
//!                             ├─ backlog empty ───────▶ wait until the kernel reports the listener
//!                             ├─ no free descriptor ──▶ retry when a connection closes, and every 50 ms
//!                             ├─ this one has failed ─▶ the next one, up to 511 failures in a row
//!                             └─ accept itself fails ─▶ on_server_error, retry after 50 ms
//! ```
//!
//! The listener is edge-triggered like every descriptor: the kernel reports it once, however many connections wait. So
//! it stays on the ready list until the backlog is empty. Node accepts one connection per turn;
//! [`ServerOptions::accepts_per_turn`](super::ServerOptions::accepts_per_turn) allows more, for bursts of connects.
//!
//! A failed accept never closes the server, and connections that are open are not affected.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::listener::set_listener_options;
use super::state::flag;
use super::state::{Link, SocketState};
use super::stream::Stream;
use super::{BACKLOG, Error, NetTimer, ServerId, Socket};
use crate::error_codes;
use crate::event_loop::token::{Key, TokenKind};
use crate::event_loop::{Kind, Loop, TimerId};

/// How long a server waits after a failed accept before it retries. If no descriptor was free, it also retries when a
/// connection closes. Twenty attempts a second cost too little to be measured, and a person does not notice the wait.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How many connections in a row may have failed before they were accepted: as many as a backlog holds. If more have,
/// the reason is not the connections but the call: a seccomp filter or a security module refuses it (`EPERM`).
/// Repeating it without a pause would use a whole core.
const GONE_IN_A_ROW: u32 = BACKLOG;

/// A shortage of descriptors is over when no attempt has failed for this long. One successful attempt is not enough: it
/// may have taken the only descriptor that was freed, while more connections wait.
const RECOVERED_AFTER: Duration = Duration::from_secs(1);

/// The least time between two log lines about a shortage of descriptors. While it lasts the time doubles after each
/// line, up to [`REPORT_SELDOM`].
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// The longest time between two log lines while the shortage lasts.
const REPORT_SELDOM: Duration = Duration::from_secs(60);

impl Loop {
    /// The kernel has reported a listener.
    pub(crate) fn serve_listener(&mut self, key: Key) {
        let server = ServerId(key);
        let Some(state) = self.net.server_mut(server) else { return };
        if !state.is_ready {
            // A listener on the ready list is served from there, later in this poll: once per poll, not twice.
            self.accept_connections(server);
        }
    }

    /// Serves a listener from the ready list.
    pub(super) fn serve_ready_listener(&mut self, key: Key) {
        let server = ServerId(key);
        let Some(state) = self.net.server_mut(server) else { return };
        state.is_ready = false;
        self.accept_connections(server);
    }

    /// Accepts the connections of one turn, with a boundary after each. The others follow in the next turn.
    fn accept_connections(&mut self, server: ServerId) {
        let ready = self.note(Kind::Ready, server.0.serial(), 0);
        let outer = self.act_for(ready);
        self.accept_within_budget(server);
        self.act_for(outer);
    }

    fn accept_within_budget(&mut self, server: ServerId) {
        let Some(state) = self.net.server(server) else { return };
        for _ in 0..state.options.accepts_per_turn.max(1) {
            // Looked up for each connection: the callbacks of the one before may have removed the server. If they have
            // closed it, `accept` returns `WouldBlock`.
            let Some(state) = self.net.server_mut(server) else { return };
            if state.accepts_later {
                // The retry timer runs. It accepts connections that arrive until then, too.
                return;
            }
            let error = match state.listener.accept() {
                Ok((stream, peer)) => {
                    state.gone_in_a_row = 0;
                    // Runs user code: `on_connection`, and the ticks in the boundary.
                    self.accepted(server, stream, peer);
                    self.boundary();
                    continue;
                }
                Err(error) => error,
            };
            match accept_failure(&error) {
                AcceptFailure::BacklogEmpty => {
                    state.gone_in_a_row = 0;
                    return self.backlog_is_empty(server);
                }
                // Counted across turns, and part of the turn's budget.
                AcceptFailure::TryNext if state.gone_in_a_row < GONE_IN_A_ROW => state.gone_in_a_row += 1,
                AcceptFailure::NoDescriptor => return self.no_descriptor_left(server, &error),
                AcceptFailure::TryNext | AcceptFailure::Other => return self.accept_later(server, &error),
            }
        }
        // The budget is used up and the backlog may hold more, which the kernel does not report again.
        self.put_listener_on_ready_list(server);
    }

    /// `accept` itself fails. Connections may still wait, and the kernel does not report them again, so a timer
    /// retries.
    fn accept_later(&mut self, server: ServerId, error: &io::Error) {
        let Some(state) = self.net.server_mut(server) else { return };
        state.accepts_later = true;
        state.gone_in_a_row = 0;
        self.start_net_timer(RETRY_AFTER, NetTimer::AcceptAgain(server));
        let error = Error::system("accept", error);
        self.emit_server(server, Kind::OnServerError, |handler, lp| handler.on_server_error(lp, server, error));
        self.boundary();
    }

    /// The timer of [`accept_later`](Self::accept_later).
    pub(super) fn accept_after_failure(&mut self, server: ServerId) {
        if let Some(state) = self.net.server_mut(server) {
            state.accepts_later = false;
            self.put_listener_on_ready_list(server);
        }
    }

    pub(super) fn put_listener_on_ready_list(&mut self, server: ServerId) {
        let Some(state) = self.net.server_mut(server) else { return };
        if !state.is_ready && state.listener.is_bound() {
            state.is_ready = true;
            self.net.ready.push_server(server);
        }
    }

    /// Makes a socket of an accepted connection and calls `on_connection`. A full server refuses it instead.
    fn accepted(&mut self, server: ServerId, mut stream: Stream, peer: Option<SocketAddr>) {
        let Some(state) = self.net.server(server) else { return };
        let is_server_full = state.max_connections > 0 && state.connections as usize >= state.max_connections;
        if is_server_full || self.net.accepted_limit.is_some_and(|limit| self.net.accepted >= limit) {
            return self.refuse(server, stream, peer);
        }
        let (handler, options) = (state.handler, &state.options);
        let high_water_mark = u32::try_from(options.high_water_mark).unwrap_or(u32::MAX);
        let timeout = options.timeout;
        // On Linux the connection has inherited these options from its listener.
        if cfg!(not(target_os = "linux")) {
            set_listener_options(options, |set| stream.with_tcp(set));
        }
        let mut flags = if options.allow_half_open { flag::ALLOW_HALF_OPEN } else { 0 };
        flags |= if options.flowing { flag::PROGRAM_READS } else { 0 };
        flags |= match (options.pause_on_connect, options.flowing) {
            (true, _) => flag::PAUSED,
            (false, true) => flag::READING | flag::FLOWING,
            (false, false) => flag::READING,
        };
        let serial = self.net.take_serial();
        // Registered under its future key before it is inserted: a failure leaves nothing behind, and dropping `stream`
        // closes the connection.
        let socket = Socket(self.net.sockets.next_key(serial));
        if let Err(error) = stream.register(&self.registry, socket.0.token(TokenKind::Socket)) {
            let error = Error::system("accept", &error);
            return self
                .emit_server(server, Kind::OnServerError, |handler, lp| handler.on_server_error(lp, server, error));
        }
        let mut state = SocketState::new(serial, handler, server.0.index(), high_water_mark);
        state.set_link(Link::Connected);
        state.set(flags);
        state.stream = stream;
        self.net.sockets.insert(state);
        self.net.outboxes.store.blocks.set_connections(self.net.sockets.len());
        // The socket uses its server's handler until it gets one of its own.
        self.share_handler(handler);
        if let Some(state) = self.net.server_mut(server) {
            state.connections += 1;
            self.net.accepted += 1;
        }
        self.recount(socket);
        match peer {
            Some(peer) => log::debug!(target: "bucle::net", "{socket} accepted from {peer}"),
            None => log::debug!(target: "bucle::net", "{socket} accepted"),
        }
        if !timeout.is_zero() {
            socket.set_timeout(self, timeout);
        }
        let port = peer.map_or(0, |peer| usize::from(peer.port()));
        // Closes the listener if this is the last connection that a drain accepts.
        let is_going_away = self.count_for_drain(server);
        self.emit(socket, Kind::OnConnection, port, |handler, lp| handler.on_connection(lp, socket));
        if is_going_away {
            self.announce_going_away(socket);
        }
    }

    /// No descriptor was free for a connection, which stays in the kernel's backlog. The kernel does not report it
    /// again. So the server retries when a connection closes, and on a timer, because descriptors are freed elsewhere,
    /// too.
    fn no_descriptor_left(&mut self, server: ServerId, error: &io::Error) {
        let now = self.now();
        let shortage = &mut self.net.shortage;
        if !shortage.servers.contains(&server) {
            shortage.servers.push(server);
        }
        shortage.failed += 1;
        shortage.last_failed = Some(now);
        if shortage.retry.is_some() {
            // The shortage has begun before. Its timer retries and logs.
            return;
        }
        (shortage.since, shortage.report_after) = (Some(now), REPORT_AFTER);
        if shortage.may_report(now) {
            let why = error_codes::message(error.raw_os_error().unwrap_or(0));
            log::warn!(target: "bucle::net", "{server}: cannot accept for now: {why}; retrying");
        }
        self.net.shortage.retry = Some(self.start_net_timer(RETRY_AFTER, NetTimer::Shortage));
    }

    /// Servers that had no free descriptor accept again in the next poll.
    pub(super) fn accept_again(&mut self) {
        for server in mem::take(&mut self.net.shortage.servers) {
            self.put_listener_on_ready_list(server);
        }
    }

    /// The timer of a shortage: retries, and logs from time to time. The shortage is over when no attempt has failed
    /// for [`RECOVERED_AFTER`].
    pub(super) fn retry_after_shortage(&mut self, timer: TimerId) {
        self.refresh(timer);
        self.accept_again();
        let now = self.now();
        let shortage = &mut self.net.shortage;
        let lasted = |start: Option<Instant>| start.map_or(Duration::ZERO, |start| now.duration_since(start));
        // The time since the shortage began, and since the last attempt failed.
        let (whole, quiet) = (lasted(shortage.since), lasted(shortage.last_failed));
        if quiet >= RECOVERED_AFTER && shortage.may_report(now) {
            let failed = mem::take(&mut shortage.failed);
            let spell = (whole - quiet).as_secs_f32();
            log::warn!(target: "bucle::net", "accepting again: no descriptor was free for {spell:.1} s, {failed} attempts failed");
            if let Some(retry) = shortage.retry.take() {
                self.clear(retry);
            }
        } else if lasted(shortage.reported) >= shortage.report_after {
            shortage.report_after = (shortage.report_after * 2).min(REPORT_SELDOM);
            shortage.reported = Some(now);
            let (failed, spell) = (shortage.failed, whole.as_secs_f32());
            log::warn!(target: "bucle::net", "still cannot accept after {spell:.0} s, {failed} attempts have failed");
        }
    }
}

/// A shortage of descriptors: the servers that cannot accept, and what is logged about it.
///
/// At most one line a second is logged, for all servers together, even if shortages begin and end in quick succession.
#[derive(Default)]
pub(super) struct Shortage {
    /// Servers that have not retried since their last failure.
    servers: Vec<ServerId>,
    /// The timer, while the shortage lasts.
    retry: Option<TimerId>,
    /// When the shortage began.
    since: Option<Instant>,
    last_failed: Option<Instant>,
    /// How many attempts to accept have failed since it began.
    failed: u64,
    /// When the last line was logged. Kept when the shortage ends: see [`may_report`](Self::may_report).
    reported: Option<Instant>,
    /// The time from the last line to the next one.
    report_after: Duration,
}

impl Shortage {
    /// Whether a line may be logged now: the last one is old enough. If so, the new line counts as logged.
    fn may_report(&mut self, now: Instant) -> bool {
        let may = self.reported.is_none_or(|reported| now.duration_since(reported) >= REPORT_AFTER);
        if may {
            self.reported = Some(now);
        }
        may
    }
}

/// What an error of `accept` means for the server.
enum AcceptFailure {
    /// No connection waits.
    BacklogEmpty,
    /// This connection is gone already, or its network failed. The next one may be fine (accept(2), "Error handling").
    TryNext,
    /// The process or the system has no free descriptor, or no memory for one.
    NoDescriptor,
    /// The call itself fails.
    Other,
}

fn accept_failure(error: &io::Error) -> AcceptFailure {
    use error_codes::*;
    match error.kind() {
        io::ErrorKind::WouldBlock => return AcceptFailure::BacklogEmpty,
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {
            return AcceptFailure::TryNext;
        }
        _ => {}
    }
    match error.raw_os_error() {
        Some(EMFILE | ENFILE | ENOBUFS | ENOMEM) => AcceptFailure::NoDescriptor,
        Some(errno) => match name(errno) {
            "EPROTO" | "ENETDOWN" | "ENOPROTOOPT" | "EHOSTDOWN" | "ENONET" | "EHOSTUNREACH" | "EOPNOTSUPP"
            | "ENETUNREACH" | "EPERM" => AcceptFailure::TryNext,
            _ => AcceptFailure::Other,
        },
        None => AcceptFailure::Other,
    }
}
