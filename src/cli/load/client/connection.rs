//! The life of one connection: its states, the bytes it receives, and its end.
//!
//! ```text
//!   Unused ─▶ Connecting ─▶ Greeting ─▶ Ready ─▶ Closing ─▶ Gone
//!                 │            (--skip-line)  │              ▲ │
//!                 └───────── failed ──────────┴── lost ──────┘ └▶ with --churn, --script and --reconnect: Resting,
//!                                                                   then Connecting
//! ```

use std::time::Duration;

use bucle::Loop;
use bucle::net::{Error, Handler, Shared, Socket};
use bucle::websocket::CloseCode;
use bucle::websocket::frame::Opcode;

use super::conn::{ConnState, Loss, Wire};
use super::run::Run;
use super::sending::note_reply;
use crate::cli::load::check::{Finding, Reason, Verdict, behind_line};
use crate::cli::load::ledger::Why;
use crate::cli::load::options::{Model, Protocol};
use crate::cli::load::stage::Stage;
use crate::cli::load::websocket::type_name;

/// The handler of one connection: passes each event to the run, with the index of the connection.
pub(crate) struct ConnHandler {
    pub(crate) run: Shared<Run>,
    pub(crate) at: usize,
}

impl Handler for ConnHandler {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.run.with(lp, |run, lp| run.connect_succeeded(lp, self.at, socket));
    }
    fn on_read(&mut self, lp: &mut Loop, socket: Socket, chunk: &mut [u8]) {
        self.run.with(lp, |run, lp| run.received(lp, self.at, socket, chunk));
    }
    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        self.run.with(lp, |run, lp| run.drained(lp, self.at, socket));
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.run.with(lp, |run, lp| run.ended(lp, self.at, socket, Loss::Closed));
    }
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.run.with(lp, |run, lp| run.failed(lp, self.at, socket, &error));
    }
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _: bool) {
        // `on_end` or `on_error` usually came first; this call is for a socket that the library destroyed without
        // either.
        self.run.with(lp, |run, lp| run.ended(lp, self.at, socket, Loss::Reset));
    }
}

/// Received data, from which what belongs to the protocol is removed.
#[derive(Clone, Copy)]
pub(super) enum Incoming<'a> {
    /// Any part of the server's stream.
    Bytes(&'a [u8]),
    /// A whole message, and its type.
    Message(Opcode, &'a [u8]),
    /// Socket.IO: the argument of the acknowledgement of the message `seq`.
    Acknowledgement { seq: u64, argument: &'a [u8] },
}

impl<'a> Incoming<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Incoming::Bytes(bytes) | Incoming::Message(_, bytes) => bytes,
            Incoming::Acknowledgement { argument, .. } => argument,
        }
    }

    /// The bytes or the message after the greeting. The greeting is one line or one message; `None` if it is not
    /// complete.
    fn behind_greeting(self) -> Option<Incoming<'a>> {
        match self {
            Incoming::Bytes(bytes) => behind_line(bytes).map(Incoming::Bytes),
            Incoming::Message(..) => Some(Incoming::Bytes(&[])),
            // Nothing is sent before the greeting, so that it is of no message.
            Incoming::Acknowledgement { .. } => None,
        }
    }
}

impl Run {
    /// Whether the event is of the current socket: a late event of an earlier one is ignored.
    pub(crate) fn is_current_socket(&self, at: usize, socket: Socket) -> bool {
        self.conns[at].socket == Some(socket)
    }

    pub(crate) fn set_busy(&mut self, at: usize, is_busy: bool) {
        let conn = &mut self.conns[at];
        if conn.is_busy != is_busy {
            conn.is_busy = is_busy;
            self.busy = if is_busy { self.busy + 1 } else { self.busy - 1 };
        }
    }

    /// Whether a connection that ends is opened again.
    pub(crate) fn reopens(&self) -> bool {
        matches!(self.model(), Model::Churn | Model::Script(_)) || self.job.load.reconnect
    }

    /// Begins the next connection of `--churn`, or the next pass.
    pub(crate) fn reopen(&mut self, lp: &mut Loop, at: usize) {
        match self.model() {
            Model::Churn => self.churn(lp, at),
            Model::Script(_) => self.next_pass(lp, at),
            _ => {}
        }
    }

    /// `--churn`: begins the next connection, unless the ramp has not reached this one yet.
    pub(crate) fn churn(&mut self, lp: &mut Loop, at: usize) {
        let now = self.now();
        let starts = self.go_at.saturating_add(self.launch_time(at));
        if now < starts {
            let call = self.later(move |run, lp| run.churn(lp, at));
            let timer = lp.set_timeout(Duration::from_nanos(starts - now), call);
            return lp.unref(timer);
        }
        if self.conns[at].is_busy {
            return;
        }
        let Some(phase) = self.claim_one(now) else { return self.after_end(lp) };
        self.set_busy(at, true);
        let conn = &mut self.conns[at];
        conn.has_sent = false;
        conn.phase = phase;
        self.connect(lp, at);
    }

    /// Sends what the connection may send now: it has become ready, or has received something.
    pub(crate) fn continue_conn(&mut self, lp: &mut Loop, at: usize) {
        match self.model() {
            Model::Script(_) => self.run_steps(lp, at),
            Model::Hold => {}
            _ => self.pump(lp, at),
        }
    }

    fn received(&mut self, lp: &mut Loop, at: usize, socket: Socket, mut chunk: &mut [u8]) {
        if !self.is_current_socket(at, socket) {
            return;
        }
        self.book.ledger.bytes_in += chunk.len() as u64;
        if self.is_cut_short {
            return;
        }
        if self.conns[at].state == ConnState::Connecting {
            let Some(frames) = self.receive_answer(lp, at, socket, chunk) else { return };
            chunk = frames;
        }
        let now = self.now();
        if !self.conns[at].outbox.is_empty() {
            // A message that is answered must be counted as sent first, also if no drain event has come yet.
            self.update_taken(lp, at, now);
        }
        let mut ending = None;
        match std::mem::take(&mut self.conns[at].wire) {
            Wire::Plain => self.process(at, Incoming::Bytes(chunk), now),
            Wire::Telnet(mut telnet) => {
                let data = self.decode(lp, at, socket, &mut telnet, chunk, now);
                self.conns[at].wire = Wire::Telnet(telnet);
                self.process(at, Incoming::Bytes(&data), now);
            }
            Wire::WebSocket(ws) => ending = self.receive_websocket(lp, at, socket, ws, chunk, now),
        }
        if self.conns[at].state == ConnState::Ready {
            self.stop_awaiting_greeting(lp, at);
        }
        if self.is_over_by_failure(lp) {
            return;
        }
        self.continue_conn(lp, at);
        if self.room.is_some() {
            // This may have been the last delivery of another connection's message, which may now send its next one.
            self.pump_freed(lp);
        }
        if let Some(ending) = ending {
            self.websocket_ended(lp, at, socket, ending);
        }
    }

    /// Checks received data; a script keeps it for its steps.
    pub(super) fn process(&mut self, at: usize, data: Incoming<'_>, now: u64) {
        let Run { conns, book, rules, room, job, .. } = self;
        let conn = &mut conns[at];
        let mut data = data;
        if conn.state == ConnState::Greeting {
            let Some(rest) = data.behind_greeting() else { return };
            conn.state = ConnState::Ready;
            conn.since = now;
            data = rest;
        }
        let wrong_type = match (data, &job.load.protocol) {
            (Incoming::Message(got, _), Protocol::WebSocket { opcode, .. }) if got != *opcode => Some((got, *opcode)),
            _ => None,
        };
        let id = conn.id;
        match (&job.load.model, room) {
            (Model::Hold, _) => {}
            (Model::Script(_), _) => conn.keep_unread(data.bytes(), rules.max_reply),
            (_, Some(room)) => {
                let mut returned = 0;
                let mut note = |finding: Finding<'_>| {
                    returned += u64::from(finding.verdict == Verdict::Unexpected);
                    book.note(rules, &finding, now);
                };
                match data {
                    Incoming::Bytes(bytes) => {
                        conn.lines.feed(bytes, rules.max_reply, |line| room.line(rules, id, line, now, &mut note));
                    }
                    // Messages of the other type are announcements, or their deliveries will be missing.
                    Incoming::Message(..) if wrong_type.is_some() => {}
                    Incoming::Message(_, message) => room.line(rules, id, message, now, &mut note),
                    // There are no fan-outs over Socket.IO.
                    Incoming::Acknowledgement { .. } => {}
                }
                book.ledger.returned += returned;
            }
            (_, None) => {
                let has_replied = &mut conn.has_replied;
                let (mut first_wrong, mut echoed, mut answered, mut other_end) = (0, 0, 0, 0);
                let mut emit = |finding: Finding<'_>| {
                    if !std::mem::replace(has_replied, true) {
                        first_wrong += u64::from(matches!(finding.verdict, Verdict::Wrong | Verdict::Unexpected));
                        let is_echo = |seq| rules.messages.is_text(id, seq, finding.received);
                        let is_in = |seq| rules.messages.is_in(id, seq, finding.received);
                        let of_message = finding.seq.filter(|_| finding.verdict == Verdict::Wrong);
                        echoed += u64::from(of_message.is_some_and(is_echo));
                        answered += u64::from(of_message.is_some_and(is_in));
                        let has_other_end = |seq| rules.messages.is_text_with_other_end(id, seq, finding.received);
                        other_end += u64::from(of_message.is_some_and(has_other_end));
                    }
                    note_reply(book, rules, &mut conn.outbox, &finding, now);
                };
                match (data, wrong_type) {
                    (Incoming::Message(_, message), Some((got, want))) if job.load.is_checked() => {
                        let (got, want) = (type_name(got), type_name(want));
                        let why = format!("a {got} message came; a reply must be a {want} message, as its message is");
                        conn.replies.refuse(id, message, Reason::Words(&why), &mut emit);
                    }
                    (Incoming::Message(_, message), _) => conn.replies.message(rules, id, message, now, &mut emit),
                    (Incoming::Acknowledgement { seq, argument }, _) => {
                        conn.replies.acknowledgement(rules, id, seq, argument, now, &mut emit);
                    }
                    (Incoming::Bytes(bytes), _) => conn.replies.feed(rules, id, bytes, now, &mut emit),
                }
                book.ledger.doubtful += conn.replies.take_doubtful();
                book.ledger.first_wrong += first_wrong;
                book.ledger.echoed += echoed;
                book.ledger.answered += answered;
                book.ledger.other_end += other_end;
            }
        }
    }

    /// The server has sent its FIN, or the socket is closed.
    fn ended(&mut self, lp: &mut Loop, at: usize, socket: Socket, loss: Loss) {
        if !self.is_current_socket(at, socket) {
            return;
        }
        match self.conns[at].state {
            ConnState::Connecting => match self.handshake_end(at) {
                Some(failed) => self.handshake_failed(lp, at, failed),
                None => self.connect_failed(lp, at, "ECONNRESET"),
            },
            _ if self.is_websocket() => self.websocket_cut(lp, at, loss),
            ConnState::Closing => self.finished_closing(lp, at),
            _ => self.connection_lost(lp, at, loss),
        }
    }

    fn failed(&mut self, lp: &mut Loop, at: usize, socket: Socket, error: &Error) {
        if !self.is_current_socket(at, socket) {
            return;
        }
        match self.conns[at].state {
            ConnState::Connecting => self.connect_failed(lp, at, error.code()),
            _ if self.is_websocket() => self.websocket_cut(lp, at, Loss::Reset),
            ConnState::Closing => self.finished_closing(lp, at),
            _ => self.connection_lost(lp, at, Loss::Reset),
        }
    }

    /// Sends our FIN, or our close frame; the connection is read until the server's FIN.
    pub(crate) fn end(&mut self, lp: &mut Loop, at: usize) {
        let now = self.now();
        let conn = &mut self.conns[at];
        match (conn.state, conn.socket) {
            (ConnState::Greeting | ConnState::Ready, Some(socket)) => {
                conn.state = ConnState::Closing;
                conn.since = now;
                match self.is_websocket() {
                    true => self.send_close(lp, at, socket, CloseCode::NORMAL),
                    false => socket.end(lp),
                }
            }
            (ConnState::Connecting, _) => {
                // After Ctrl-C, or an attempt of `--reconnect` at the end: an unfinished connect is not counted.
                self.connecting -= 1;
                self.drop_socket(lp, at);
            }
            _ => {}
        }
    }

    /// Both FINs are sent, or the server's did not come in time.
    pub(crate) fn finished_closing(&mut self, lp: &mut Loop, at: usize) {
        self.release(lp, at);
        self.reopen_soon(lp, at);
        self.after_end(lp);
    }

    /// Destroys the socket of a connection. Bytes that were received and not consumed yet are checked first.
    pub(crate) fn release(&mut self, lp: &mut Loop, at: usize) {
        let now = self.now();
        if self.conns[at].state == ConnState::Closing {
            self.count_missing_close(at);
        }
        let Run { conns, book, rules, is_cut_short, .. } = self;
        let conn = &mut conns[at];
        if conn.socket.is_none() {
            return;
        }
        if !*is_cut_short {
            let (id, fault) = (conn.id, conn.fault.as_deref());
            conn.replies.end(id, &mut |finding| book.note(rules, &finding.because(fault), now));
        }
        self.living -= usize::from(conn.state != ConnState::Connecting);
        self.drop_socket(lp, at);
        self.stop_awaiting_greeting(lp, at);
    }

    pub(crate) fn drop_socket(&mut self, lp: &mut Loop, at: usize) {
        let reopens = self.reopens();
        let conn = &mut self.conns[at];
        if let Some(socket) = conn.socket.take() {
            socket.destroy(lp);
        }
        conn.state = if reopens { ConnState::Resting } else { ConnState::Gone };
    }

    /// The connection ended before the run closed it.
    pub(crate) fn connection_lost(&mut self, lp: &mut Loop, at: usize, loss: Loss) {
        let now = self.now();
        match loss {
            Loss::Closed => {
                self.update_taken(lp, at, now);
                self.book.ledger.lost_closed += 1;
            }
            Loss::Reset => self.book.ledger.lost_reset += 1,
            Loss::GivenUp => {}
        }
        self.count_unsent(at, now);
        if let Some(room) = &mut self.room {
            let Run { book, rules, conns, .. } = self;
            let fault = conns[at].fault.as_deref();
            room.left(conns[at].id, &mut |finding| book.note(rules, &finding.because(fault), now));
        }
        self.fail_pass(at, now);
        self.release(lp, at);
        if self.room.is_some() {
            self.pump_freed(lp);
        }
        self.went_away(at, now);
        self.forget_tries(at, now);
        if self.job.load.reconnect {
            self.set_busy(at, false);
            self.reconnect_later(lp, at);
        } else {
            self.reopen_soon(lp, at);
        }
        self.after_end(lp);
    }

    fn reopen_soon(&mut self, lp: &mut Loop, at: usize) {
        if !self.reopens() || self.conns[at].pass.is_some() {
            return self.open_for_pass(lp, at);
        }
        self.set_busy(at, false);
        if self.stage < Stage::Drain && self.stage > Stage::Waiting {
            let call = self.later(move |run, lp| run.reopen(lp, at));
            lp.set_immediate(call);
        }
    }

    /// Connects for a pass that was begun while the previous connection was closing.
    fn open_for_pass(&mut self, lp: &mut Loop, at: usize) {
        if self.conns[at].pass.is_some() && self.conns[at].state == ConnState::Resting && self.stage < Stage::Closing {
            self.connect(lp, at);
        }
    }

    /// A connection has ended: if it was the last, the run goes to its next stage.
    pub(crate) fn after_end(&mut self, lp: &mut Loop) {
        if self.stage > Stage::Waiting && self.stage < Stage::Drain && self.has_no_connection_left() {
            return self.end_early(lp, Why::NoConnection);
        }
        if self.is_over_by_failure(lp) {
            return;
        }
        if self.stage == Stage::Closing || self.left == Some(0) {
            self.advance(lp);
        }
    }
}
