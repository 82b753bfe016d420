//! Sending: from a message that is due, or that the closed model allows, to the kernel.
//!
//! Each write goes to the kernel immediately, so that the clock can be read at the same moment. Bytes that the kernel
//! does not take stay queued in the socket, and nothing is written after them until they are gone:
//!
//! ```text
//!   queue (due)  ──▶  outbox (given to the socket)  ──▶  taken whole: sent
//!                        │ over --timeout: unsent, and the connection is given up
//! ```
//!
//! A server may reply to the beginning of a message. Such a reply waits in the outbox too: it is counted when the
//! message is sent, and never if the message is unsent.

use std::collections::VecDeque;
use std::time::Duration;

use bucle::Loop;
use bucle::net::Socket;
use bucle::telnet::codec;

use super::book::{Book, EarlyReply};
use super::conn::{ConnState, Outgoing};
use super::run::{Run, random};
use crate::cli::load::check::{Expect, Finding, Pending, Phase, Rules};
use crate::cli::load::options::{Model, Protocol};
use crate::cli::load::stage::Stage;
use crate::cli::load::websocket::put_frame;

/// Small messages are written together, until a batch has this many bytes.
const BATCH: usize = 64 * 1024;

/// How many due messages one turn sends; the loop then reads replies before the next.
const DUE_PER_TURN: usize = 4096;

impl Run {
    /// Allows a message (a connection of `--churn`, a pass of `--script`) to begin now, and gives its phase. In the
    /// steady phase it uses up one of `-n`.
    pub(crate) fn claim_one(&mut self, now: u64) -> Option<Phase> {
        if !matches!(self.stage, Stage::Warmup | Stage::Steady) || now >= self.steady_end {
            return None;
        }
        let phase = self.phase_at(now);
        if phase == Phase::Steady
            && let Some(left) = &mut self.left
        {
            *left = left.checked_sub(1)?;
        }
        Some(phase)
    }

    /// Gives every message that is due to a connection, and sends.
    pub(crate) fn send_due(&mut self, lp: &mut Loop) {
        let Some(mut schedule) = self.schedule else { return };
        if !matches!(self.stage, Stage::Warmup | Stage::Steady) {
            return;
        }
        let mut touched = Vec::new();
        while touched.len() < DUE_PER_TURN && self.living > 0 {
            let Some(due) = self.waiting.pop_front() else { break };
            touched.extend(self.give(due));
        }
        for count in 0.. {
            let due = self.go_at.saturating_add(schedule.due());
            let now = self.now();
            if due > now || due >= self.steady_end {
                break;
            }
            if touched.len().max(count) >= DUE_PER_TURN {
                let call = self.later(|run, lp| run.send_due(lp));
                lp.set_immediate(call);
                break;
            }
            schedule.advance();
            if self.phase_at(due) == Phase::Steady {
                self.book.ledger.lag.record(now - due);
            }
            touched.extend(self.give(due));
        }
        self.schedule = Some(schedule);
        for at in touched {
            self.pump(lp, at);
        }
        if self.living > 0 && !self.waiting.is_empty() {
            let call = self.later(|run, lp| run.send_due(lp));
            lp.set_immediate(call);
        }
    }

    /// Gives a message that is due to the connection whose turn it is. Without a connection the message waits for one.
    fn give(&mut self, due: u64) -> Option<usize> {
        let Some(at) = self.next_in_turn() else {
            self.waiting.push_back(due);
            return None;
        };
        self.conns[at].queue.push_back(due);
        self.untaken += 1;
        Some(at)
    }

    /// The next open connection, in turn.
    fn next_in_turn(&mut self) -> Option<usize> {
        for _ in 0..self.conns.len() {
            let at = self.next_conn;
            self.next_conn = (self.next_conn + 1) % self.conns.len();
            if self.conns[at].is_living() {
                return Some(at);
            }
        }
        None
    }

    /// The due time and the phase of the connection's next message, if one may begin.
    fn next_message(&mut self, at: usize, now: u64) -> Option<(u64, Phase)> {
        match *self.model() {
            Model::Open { .. } => {
                let due = self.conns[at].queue.pop_front()?;
                Some((due, self.phase_at(due)))
            }
            Model::Closed { in_flight } => {
                let conn = &self.conns[at];
                let unanswered = match self.rules.expect {
                    Expect::None => conn.outbox.len(),
                    _ => self.unanswered(at),
                };
                if unanswered as u64 >= in_flight {
                    return None;
                }
                let phase = self.claim_one(now)?;
                self.untaken += 1;
                Some((now, phase))
            }
            Model::Churn => {
                let conn = &mut self.conns[at];
                if conn.has_sent || self.stage >= Stage::Closing {
                    return None;
                }
                conn.has_sent = true;
                self.untaken += 1;
                Some((now, conn.phase))
            }
            Model::Hold | Model::Script(_) => None,
        }
    }

    fn unanswered(&self, at: usize) -> usize {
        let conn = &self.conns[at];
        match &self.room {
            Some(room) => room.unanswered(conn.id),
            None => conn.replies.unanswered(),
        }
    }

    /// Sends the messages that may be sent on a connection now.
    pub(crate) fn pump(&mut self, lp: &mut Loop, at: usize) {
        loop {
            let conn = &self.conns[at];
            if conn.state != ConnState::Ready || !conn.outbox.is_empty() {
                return;
            }
            let Some(socket) = conn.socket else { return };
            let now = self.now();
            let mut batch = std::mem::take(&mut self.scratch);
            batch.clear();
            while batch.len() < BATCH {
                let Some((due, phase)) = self.next_message(at, now) else { break };
                self.put(at, due, phase, now, &mut batch);
            }
            let is_full = batch.len() >= BATCH;
            let is_blocked = !batch.is_empty() && !self.write(lp, at, socket, &batch, now);
            let is_empty = batch.is_empty();
            self.scratch = batch;
            if is_blocked || is_empty || !is_full {
                break;
            }
        }
        self.after_pump(lp, at);
    }

    fn after_pump(&mut self, lp: &mut Loop, at: usize) {
        let conn = &self.conns[at];
        let is_through = conn.outbox.is_empty() && self.unanswered(at) == 0;
        match self.model() {
            Model::Churn if conn.state == ConnState::Ready && conn.has_sent && is_through => self.end(lp, at),
            // No reply is expected: nothing is checked, or a fan-out has no other receiver left. The next batch is sent
            // in the next turn, so that one connection does not hold the loop here.
            Model::Closed { .. } if is_through => self.pump_next_turn(lp, at),
            _ => {}
        }
        if self.stage == Stage::Steady && self.left == Some(0) {
            self.advance(lp);
        }
    }

    /// Queues a call of `pump` for the next turn, unless one is queued already.
    fn pump_next_turn(&mut self, lp: &mut Loop, at: usize) {
        let is_running = matches!(self.stage, Stage::Warmup | Stage::Steady) && self.left != Some(0);
        let is_running = is_running && self.now() < self.steady_end;
        let conn = &mut self.conns[at];
        if !is_running || conn.state != ConnState::Ready || conn.is_pump_queued {
            return;
        }
        conn.is_pump_queued = true;
        let call = self.later(move |run, lp| {
            run.conns[at].is_pump_queued = false;
            run.pump(lp, at);
        });
        lp.set_immediate(call);
    }

    /// Appends a message to the batch.
    fn put(&mut self, at: usize, due: u64, phase: Phase, now: u64, batch: &mut Vec<u8>) {
        let begin = batch.len() as u64;
        let conn = &mut self.conns[at];
        let (id, seq) = (conn.id, conn.replies.next_seq());
        let messages = &self.rules.messages;
        match self.job.load.protocol {
            Protocol::WebSocket { socket_io: Some(ref socket_io), .. } => {
                let acknowledged = (!matches!(self.rules.expect, Expect::None)).then_some(seq);
                let mask = random(&mut self.masks);
                self.packet.put_event(batch, socket_io, mask, acknowledged, |text| messages.write(id, seq, text));
            }
            Protocol::WebSocket { opcode, .. } => {
                let (mask, len) = (random(&mut self.masks), messages.len(id, seq));
                put_frame(batch, opcode, mask, len, |batch| messages.write(id, seq, batch));
            }
            Protocol::Tcp if self.job.load.telnet => codec::escape(&messages.text(id, seq), batch),
            Protocol::Tcp => messages.write(id, seq, batch),
        }
        let (start, end) = (conn.written + begin, conn.written + batch.len() as u64);
        let message = Pending { seq, phase, due, started: now, sent: None };
        let receivers = match (&mut self.room, &self.rules.expect) {
            (Some(room), _) => {
                self.conns[at].replies.skip_seq();
                let living = self.conns.iter().filter(|conn| conn.is_living()).map(|conn| conn.id);
                room.begin(id, message, living) as u64
            }
            (None, Expect::None) => {
                conn.replies.skip_seq();
                0
            }
            (None, _) => {
                conn.replies.begin(message);
                1
            }
        };
        self.conns[at].outbox.push_back(Outgoing { start, end, seq, since: due, phase, receivers, reply: None });
    }

    /// The text of a script's step in its wire form.
    pub(crate) fn on_the_wire(&mut self, text: Vec<u8>) -> Vec<u8> {
        let mut wire = Vec::new();
        match self.job.load.protocol {
            Protocol::WebSocket { opcode, .. } => {
                put_frame(&mut wire, opcode, random(&mut self.masks), text.len(), |wire| wire.extend_from_slice(&text));
            }
            Protocol::Tcp if self.job.load.telnet => codec::escape(&text, &mut wire),
            Protocol::Tcp => return text,
        }
        wire
    }

    /// Writes the bytes; whether the kernel took all of them.
    pub(crate) fn write(&mut self, lp: &mut Loop, at: usize, socket: Socket, bytes: &[u8], now: u64) -> bool {
        let before = self.conns[at].written;
        self.conns[at].written += bytes.len() as u64;
        if socket.write(lp, bytes) {
            self.taken_until(at, before + bytes.len() as u64, now);
            return true;
        }
        if socket.unsent_length(lp) > 0 {
            self.update_taken(lp, at, now);
            self.watch_blocked(lp, at);
        }
        // Without queued bytes the write has failed; `on_error` follows.
        false
    }

    /// Writes the text of a script's step, which is not counted as a message; whether the kernel took all of it.
    pub(crate) fn write_step(&mut self, lp: &mut Loop, at: usize, bytes: &[u8], phase: Phase, seq: u64) -> bool {
        let now = self.now();
        let conn = &mut self.conns[at];
        let Some(socket) = conn.socket else { return false };
        let (start, end) = (conn.written, conn.written + bytes.len() as u64);
        conn.outbox.push_back(Outgoing { start, end, seq, since: now, phase, receivers: 0, reply: None });
        self.write(lp, at, socket, bytes, now)
    }

    pub(crate) fn drained(&mut self, lp: &mut Loop, at: usize, socket: Socket) {
        if self.conns[at].socket != Some(socket) {
            return;
        }
        let now = self.now();
        self.update_taken(lp, at, now);
        self.answer_kept_ping(lp, at);
        self.send_kept_refusals(lp, at, now);
        match self.model() {
            Model::Script(_) => self.run_steps(lp, at),
            _ => self.pump(lp, at),
        }
    }

    /// Finds out how many bytes the kernel has taken: the bytes written, less those still queued in the socket.
    pub(crate) fn update_taken(&mut self, lp: &mut Loop, at: usize, now: u64) {
        let conn = &self.conns[at];
        let Some(socket) = conn.socket else { return };
        let until = conn.written - (socket.unsent_length(lp) as u64).min(conn.written);
        self.taken_until(at, until, now);
    }

    /// The kernel has taken all bytes of the connection before `until`: counts the messages that this completes.
    fn taken_until(&mut self, at: usize, until: u64, now: u64) {
        let is_script = matches!(self.model(), Model::Script(_));
        let Run { conns, book, room, .. } = self;
        let conn = &mut conns[at];
        let before = conn.taken;
        conn.taken = until.max(before);
        book.ledger.bytes_out += conn.taken - before;
        while let Some(oldest) = conn.outbox.front() {
            let (seq, is_whole, is_begun) = (oldest.seq, oldest.end <= until, oldest.start < until);
            // Its first byte was taken just now, not by an earlier write.
            if is_begun && oldest.start >= before {
                conn.replies.started(seq, now);
                if let Some(room) = room {
                    room.started(conn.id, seq, now);
                }
            }
            if !is_whole {
                break;
            }
            let counts = book.ledger.phase(oldest.phase);
            if !is_script {
                counts.sent += 1;
                counts.expected += oldest.receivers;
                self.untaken -= 1;
                match room {
                    Some(room) => room.sent(conn.id, seq, now),
                    None => conn.replies.sent(seq, now),
                }
            }
            let reply = conn.outbox.pop_front().and_then(|message| message.reply);
            if let Some(reply) = reply {
                book.note_early(*reply);
            }
        }
    }

    /// Checks each millisecond how many bytes the kernel has taken of this connection, so that messages get their
    /// times. The drain event comes only when all bytes are taken.
    fn watch_blocked(&mut self, lp: &mut Loop, at: usize) {
        self.blocked.push(at);
        if !self.is_watching_blocked {
            self.is_watching_blocked = true;
            let call = self.later(|run, lp| run.check_blocked(lp));
            let timer = lp.set_timeout(Duration::from_millis(1), call);
            lp.unref(timer);
        }
    }

    fn check_blocked(&mut self, lp: &mut Loop) {
        self.is_watching_blocked = false;
        let now = self.now();
        for at in std::mem::take(&mut self.blocked) {
            self.update_taken(lp, at, now);
            if !self.conns[at].outbox.is_empty() && self.conns[at].is_living() {
                self.watch_blocked(lp, at);
            }
        }
    }

    /// The connection is lost: counts the messages that the kernel has not taken whole as unsent.
    pub(crate) fn count_unsent(&mut self, at: usize, now: u64) {
        let is_script = matches!(self.model(), Model::Script(_));
        let outbox = std::mem::take(&mut self.conns[at].outbox);
        let queue = std::mem::take(&mut self.conns[at].queue);
        if is_script {
            return;
        }
        self.untaken -= (outbox.len() + queue.len()) as u64;
        let id = self.conns[at].id;
        for message in outbox {
            if let Some(reply) = message.reply {
                self.book.unsent_but_answered(*reply, now);
                continue;
            }
            self.conns[at].replies.forget(message.seq);
            self.forget_deliveries(id, &message);
            let text = self.rules.messages.text(id, message.seq);
            self.book.unsent(id, Some(message.seq), message.phase, &text, now);
        }
        for due in queue {
            self.unsent_due(at, due, now);
        }
    }

    /// Fan-out: a message will not be sent. Its deliveries that were counted before are expected, but no others.
    fn forget_deliveries(&mut self, id: u64, message: &Outgoing) {
        if let Some(room) = &mut self.room {
            let left = room.forget(id, message.seq) as u64;
            self.book.ledger.phase(message.phase).expected += message.receivers.saturating_sub(left);
        }
    }

    /// Without a connection: counts the messages that are due before `until` as unsent.
    pub(crate) fn count_unsent_until(&mut self, until: u64, now: u64) {
        let Some(mut schedule) = self.schedule else { return };
        let mut counts = [0, 0];
        while let Some(due) = self.waiting.pop_front_if(|due| *due < until) {
            counts[usize::from(due >= self.steady_at)] += 1;
        }
        if self.waiting.is_empty() {
            let due_before = |time: u64| schedule.due_before(time.saturating_sub(self.go_at));
            let count = due_before(until.min(self.steady_end));
            let in_warmup = due_before(self.steady_at).min(count);
            schedule.skip(count);
            counts = [counts[0] + in_warmup, counts[1] + count - in_warmup];
        }
        self.schedule = Some(schedule);
        self.count_unsent_of(Phase::Warmup, counts[0], now);
        self.count_unsent_of(Phase::Steady, counts[1], now);
    }

    /// Without a connection: counts what `-n` has left as unsent.
    pub(crate) fn count_unsent_rest(&mut self, now: u64) {
        if let (None, Some(left)) = (self.schedule, &mut self.left) {
            let count = std::mem::take(left);
            self.count_unsent_of(Phase::Steady, count, now);
        }
    }

    /// Counts messages for which there was no connection. The first failure names the connection whose turn it was.
    fn count_unsent_of(&mut self, phase: Phase, count: u64, now: u64) {
        let Some(conn) = self.conns.get(self.next_conn).filter(|_| count > 0) else { return };
        let (id, seq) = (conn.id, conn.replies.next_seq());
        let text = self.rules.messages.text(id, seq);
        self.book.unsent_without_connection(id, seq, phase, &text, now);
        self.book.ledger.phase(phase).unsent += count - 1;
    }

    fn unsent_due(&mut self, at: usize, due: u64, now: u64) {
        let (id, seq) = (self.conns[at].id, self.conns[at].replies.next_seq());
        let text = self.rules.messages.text(id, seq);
        self.conns[at].replies.skip_seq();
        self.book.unsent(id, Some(seq), self.phase_at(due), &text, now);
    }

    /// Counts messages that have waited longer than `--timeout` for the socket as unsent.
    pub(crate) fn drop_overdue(&mut self, at: usize, now: u64) {
        while let Some(due) = self.conns[at].queue.pop_front_if(|due| now.saturating_sub(*due) > self.rules.timeout) {
            self.untaken -= 1;
            self.unsent_due(at, due, now);
        }
    }

    /// Fan-out: sends on the connections one of whose messages was delivered everywhere, or has timed out.
    pub(crate) fn pump_freed(&mut self, lp: &mut Loop) {
        if matches!(self.model(), Model::Closed { .. }) && matches!(self.stage, Stage::Warmup | Stage::Steady) {
            let room = self.room.as_mut().map(|room| room.take_freed()).unwrap_or_default();
            for id in room {
                self.pump(lp, (id / self.job.of) as usize);
            }
        }
    }

    /// Ctrl-C: counts unanswered messages as unfinished. Messages that are not sent whole are not counted.
    pub(crate) fn count_unfinished(&mut self, lp: &mut Loop, at: usize, now: u64) {
        // The kernel may have taken a message since the last look.
        self.update_taken(lp, at, now);
        let Run { conns, book, .. } = self;
        let conn = &mut conns[at];
        for message in conn.replies.interrupt() {
            book.ledger.phase(message.phase).unfinished += 1;
        }
        conn.queue.clear();
        let (id, outbox) = (conn.id, std::mem::take(&mut conn.outbox));
        outbox.iter().for_each(|message| self.forget_deliveries(id, message));
        self.count_unfinished_pass(at);
        self.set_busy(at, false);
    }
}

/// Counts the finding for a reply of a connection. If the kernel has not taken the message whole, the finding waits in
/// the outbox.
pub(super) fn note_reply(
    book: &mut Book,
    rules: &Rules,
    outbox: &mut VecDeque<Outgoing>,
    finding: &Finding<'_>,
    now: u64,
) {
    let seq = finding.message.map(|message| message.seq);
    let outgoing = seq.and_then(|seq| outbox.binary_search_by_key(&seq, |outgoing| outgoing.seq).ok());
    match outgoing {
        Some(at) => outbox[at].reply = EarlyReply::of(rules, finding, now).map(Box::new),
        None => book.note(rules, finding, now),
    }
}
