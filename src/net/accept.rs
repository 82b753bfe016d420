//! Accepting: one connection a turn as in Node, or more; and doing without descriptors. [`refuse`](super::refuse) has
//! what a full server does.
//!
//! The listener is edge-triggered like every descriptor: it stays on the ready list until an accept has found nobody.
//! Node takes one connection per turn; [`ServerOptions::accepts_per_turn`](super::ServerOptions::accepts_per_turn) takes
//! more, for storms of connects.

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

/// How long a server whose accept has failed waits before it tries again by itself. One that had no descriptor left also
/// does whenever a connection closes. Twenty attempts a second cost nothing that can be measured, and a person does not
/// notice the wait.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How many newcomers in a row may have left before their turn: all that a backlog holds. When more have, it is not they
/// who fail but the call, refused by a seccomp filter or a security module (`EPERM`), and asking on would burn a core.
const GONE_IN_A_ROW: u32 = BACKLOG;

/// How long no attempt may have failed before there are descriptors enough again. One that is freed is taken by the next
/// in line, which does not mean that the line is over.
const RECOVERED_AFTER: Duration = Duration::from_secs(1);

/// The least time between two lines of the log about a want of descriptors. From then on each takes twice as long as the
/// one before, up to [`REPORT_SELDOM`].
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// The most time between two lines of the log while descriptors are still lacking.
const REPORT_SELDOM: Duration = Duration::from_secs(60);

impl Loop {
    /// The kernel has connections for a server.
    pub(crate) fn serve_listener(&mut self, key: Key) {
        let server = ServerId(key);
        let Some(state) = self.net.server_mut(server) else { return };
        if !state.is_ready {
            // On the ready list it is served once in this poll, from there.
            self.accept_connections(server);
        }
    }

    pub(super) fn serve_ready_listener(&mut self, key: Key) {
        let server = ServerId(key);
        let Some(state) = self.net.server_mut(server) else { return };
        state.is_ready = false;
        self.accept_connections(server);
    }

    /// Accepts within the budget of a turn, a boundary after each. What is left is looked at in the next turn.
    fn accept_connections(&mut self, server: ServerId) {
        let ready = self.note(Kind::Ready, server.0.serial(), 0);
        let outer = self.act_for(ready);
        self.accept_within_budget(server);
        self.act_for(outer);
    }

    fn accept_within_budget(&mut self, server: ServerId) {
        let Some(state) = self.net.server(server) else { return };
        for _ in 0..state.options.accepts_per_turn.max(1) {
            let Some(state) = self.net.server_mut(server) else { return };
            if state.accepts_later {
                // Whoever knocks in between is found then.
                return;
            }
            let error = match state.listener.accept() {
                Ok((stream, peer)) => {
                    state.gone_in_a_row = 0;
                    self.accepted(server, stream, peer);
                    self.boundary();
                    continue;
                }
                Err(error) => error,
            };
            match accept_failure(&error) {
                AcceptFailure::NobodyThere => {
                    state.gone_in_a_row = 0;
                    return self.backlog_is_empty(server);
                }
                AcceptFailure::TryNext if state.gone_in_a_row < GONE_IN_A_ROW => state.gone_in_a_row += 1,
                AcceptFailure::NoDescriptor => return self.starve(server, &error),
                AcceptFailure::TryNext | AcceptFailure::Other => return self.accept_later(server, &error),
            }
        }
        self.put_listener_on_ready_list(server);
    }

    /// The call itself fails. Whoever knocked may be waiting still, and the kernel will not say so again: a timer does.
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

    fn accepted(&mut self, server: ServerId, mut stream: Stream, peer: Option<SocketAddr>) {
        let Some(state) = self.net.server(server) else { return };
        if state.max_connections > 0 && state.connections as usize >= state.max_connections {
            return self.refuse(server, stream, peer);
        }
        let (handler, options) = (state.handler, &state.options);
        let high_water_mark = u32::try_from(options.high_water_mark).unwrap_or(u32::MAX);
        let timeout = options.timeout;
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
        // Registered before it is inserted: a failure leaves nothing behind.
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
        self.share_handler(handler);
        if let Some(state) = self.net.server_mut(server) {
            state.connections += 1;
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
        let is_going_away = self.count_for_drain(server);
        self.emit(socket, Kind::OnConnection, port, |handler, lp| handler.on_connection(lp, socket));
        if is_going_away {
            self.announce_going_away(socket);
        }
    }

    /// No descriptor was left for a newcomer, who waits in the kernel's backlog. The kernel will not report it again:
    /// the server tries when a connection closes, and on a timer, for descriptors are freed elsewhere too. Those who are
    /// connected are served on.
    fn starve(&mut self, server: ServerId, error: &io::Error) {
        let now = self.now();
        let starvation = &mut self.net.starvation;
        if !starvation.servers.contains(&server) {
            starvation.servers.push(server);
        }
        starvation.failed += 1;
        starvation.last_failed = Some(now);
        if starvation.retry.is_some() {
            return;
        }
        (starvation.since, starvation.report_after) = (Some(now), REPORT_AFTER);
        if starvation.may_report(now) {
            let why = error_codes::message(error.raw_os_error().unwrap_or(0));
            log::warn!(target: "bucle::net", "{server}: cannot accept for now: {why}; trying again and again");
        }
        self.net.starvation.retry = Some(self.start_net_timer(RETRY_AFTER, NetTimer::Starvation));
    }

    /// Servers that had no descriptor left try again, in the next poll.
    pub(super) fn accept_again(&mut self) {
        for server in mem::take(&mut self.net.starvation.servers) {
            self.put_listener_on_ready_list(server);
        }
    }

    /// The timer of starvation: tries again, logs from time to time how it goes, and ends once no attempt has failed for
    /// [`RECOVERED_AFTER`].
    pub(super) fn accept_after_starvation(&mut self, timer: TimerId) {
        self.refresh(timer);
        self.accept_again();
        let now = self.now();
        let starvation = &mut self.net.starvation;
        let lasted = |start: Option<Instant>| start.map_or(Duration::ZERO, |start| now.duration_since(start));
        let (whole, quiet) = (lasted(starvation.since), lasted(starvation.last_failed));
        if quiet >= RECOVERED_AFTER && starvation.may_report(now) {
            let failed = mem::take(&mut starvation.failed);
            let spell = (whole - quiet).as_secs_f32();
            log::warn!(target: "bucle::net", "accepting again: descriptors were lacking for {spell:.1} s, {failed} attempts had failed");
            if let Some(retry) = starvation.retry.take() {
                self.clear(retry);
            }
        } else if lasted(starvation.reported) >= starvation.report_after {
            starvation.report_after = (starvation.report_after * 2).min(REPORT_SELDOM);
            starvation.reported = Some(now);
            let (failed, spell) = (starvation.failed, whole.as_secs_f32());
            log::warn!(target: "bucle::net", "still cannot accept after {spell:.0} s, {failed} attempts have failed");
        }
    }
}

/// What is remembered while servers cannot accept for want of descriptors. However many servers it hits and however often
/// it comes and goes, at most one line a second is logged about it.
#[derive(Default)]
pub(super) struct Starvation {
    /// Those that have yet to try again.
    servers: Vec<ServerId>,
    /// While it lasts.
    retry: Option<TimerId>,
    since: Option<Instant>,
    last_failed: Option<Instant>,
    /// Attempts to accept that failed since it began.
    failed: u64,
    reported: Option<Instant>,
    report_after: Duration,
}

impl Starvation {
    /// Whether the last line about it is old enough; if so, there is a new one.
    fn may_report(&mut self, now: Instant) -> bool {
        let may = self.reported.is_none_or(|reported| now.duration_since(reported) >= REPORT_AFTER);
        if may {
            self.reported = Some(now);
        }
        may
    }
}

enum AcceptFailure {
    NobodyThere,
    /// This newcomer has left already, or its network failed: the next one may be fine (accept(2), "Error handling").
    TryNext,
    NoDescriptor,
    Other,
}

fn accept_failure(error: &io::Error) -> AcceptFailure {
    use error_codes::*;
    match error.kind() {
        io::ErrorKind::WouldBlock => return AcceptFailure::NobodyThere,
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
