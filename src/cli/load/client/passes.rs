//! `--script`: the passes of each connection, step by step.

use bucle::Loop;

use super::book::Trouble;
use super::conn::{ActivePass, ConnState, Loss};
use super::run::Run;
use crate::cli::load::check::{Pending, Phase, Verdict};
use crate::cli::load::options::Model;
use crate::cli::load::script::{Action, Pass};
use crate::cli::load::stage::Stage;
use crate::cli::load::units::{grouped, nanos};

impl Run {
    /// Begins the next pass of a connection; connects first if the connection is closed.
    pub(crate) fn next_pass(&mut self, lp: &mut Loop, at: usize) {
        if self.conns[at].is_busy {
            return;
        }
        let Model::Script(script) = self.model().clone() else { return };
        let now = self.now();
        let Some(phase) = self.claim_one(now) else { return };
        self.set_busy(at, true);
        let conn = &mut self.conns[at];
        let seq = conn.replies.next_seq();
        conn.replies.skip_seq();
        conn.phase = phase;
        conn.pass = Some(Box::new(ActivePass {
            pass: Pass::new(&script, conn.id, seq),
            phase,
            began: now,
            started: None,
            ended: now,
            waits_since: None,
            pauses_since: None,
            paused: 0,
            paused_at_start: 0,
            paused_at_end: 0,
        }));
        match conn.state {
            ConnState::Ready | ConnState::Greeting => self.run_steps(lp, at),
            ConnState::Resting => self.connect(lp, at),
            // The previous connection is still closing; `open_for_pass` connects when it is closed.
            _ => {}
        }
    }

    /// Runs the steps until one has to wait.
    pub(crate) fn run_steps(&mut self, lp: &mut Loop, at: usize) {
        if self.conns[at].has_dropped && self.conns[at].pass.is_some() {
            return self.refuse_pass(lp, at);
        }
        loop {
            let now = self.now();
            let conn = &mut self.conns[at];
            if conn.state != ConnState::Ready || !conn.outbox.is_empty() {
                return;
            }
            let Some(active) = &mut conn.pass else { return };
            if active.pauses_since.is_some() {
                return;
            }
            match active.pass.next() {
                Action::Send(bytes) => {
                    if active.started.is_none() {
                        (active.started, active.paused_at_start) = (Some(now), active.paused);
                    }
                    let (phase, seq) = (active.phase, active.pass.seq);
                    conn.last_sent = Some(active.pass.said());
                    let wire = self.on_the_wire(bytes);
                    if !self.write_step(lp, at, &wire, phase, seq) {
                        return;
                    }
                }
                Action::Wait => {
                    if !active.pass.found(&mut conn.unread) {
                        active.waits_since.get_or_insert(now);
                        return;
                    }
                    active.waits_since = None;
                    (active.ended, active.paused_at_end) = (now, active.paused);
                }
                Action::Pause(time) => {
                    active.pauses_since = Some(now);
                    if self.stage >= Stage::Drain {
                        return self.cut_pause(lp, at, now);
                    }
                    let seq = active.pass.seq;
                    let call = self.later(move |run, lp| run.end_pause(lp, at, seq));
                    lp.set_timeout(time, call);
                    return;
                }
                Action::Close => {
                    self.pass_succeeded(at, now);
                    self.end(lp, at);
                    return;
                }
                Action::Done => {
                    self.pass_succeeded(at, now);
                    self.set_busy(at, false);
                    let call = self.later(move |run, lp| run.next_pass(lp, at));
                    lp.set_immediate(call);
                    if self.stage == Stage::Steady && self.left == Some(0) {
                        self.advance(lp);
                    }
                    return;
                }
            }
        }
    }

    fn end_pause(&mut self, lp: &mut Loop, at: usize, seq: u64) {
        let Some(active) = self.conns[at].pass.as_mut().filter(|active| active.pass.seq == seq) else { return };
        let now = nanos(self.origin.elapsed());
        active.paused += active.pauses_since.take().map_or(0, |since| now.saturating_sub(since));
        self.run_steps(lp, at);
    }

    /// At the end of the steady phase: ends the passes that pause.
    pub(super) fn cut_pauses(&mut self, now: u64) {
        for at in 0..self.conns.len() {
            if self.conns[at].pass.as_ref().is_some_and(|active| active.pauses_since.is_some()) {
                self.end_in_pause(at, now);
            }
        }
    }

    /// A pass that comes to a pause after the steady phase: ends it.
    fn cut_pause(&mut self, lp: &mut Loop, at: usize, now: u64) {
        self.end_in_pause(at, now);
        self.advance(lp);
    }

    /// Ends a pass in its pause. It was right if only pauses and a close are left of it.
    fn end_in_pause(&mut self, at: usize, now: u64) {
        let Some(active) = &mut self.conns[at].pass else { return };
        active.paused += active.pauses_since.take().map_or(0, |since| now.saturating_sub(since));
        if active.pass.has_only_pauses_left() {
            self.pass_succeeded(at, now);
        } else {
            self.count_unfinished_pass(at);
        }
        self.set_busy(at, false);
    }

    /// `--timeout` after the steady phase: the passes under way are unfinished.
    pub(super) fn cut_passes(&mut self) {
        for at in 0..self.conns.len() {
            if self.conns[at].pass.is_some() {
                self.count_unfinished_pass(at);
                self.set_busy(at, false);
            }
        }
    }

    /// All steps are done: counts one exact reply, which ended when the last expected text was found.
    fn pass_succeeded(&mut self, at: usize, now: u64) {
        let Some(active) = self.conns[at].pass.take() else { return };
        let counts = self.book.ledger.phase(active.phase);
        counts.sent += 1;
        counts.expected += 1;
        counts.exact += 1;
        // Without an expected text the pass has ended now.
        let (ended, paused) =
            if active.ended > active.began { (active.ended, active.paused_at_end) } else { (now, active.paused) };
        // A pause is no response time: the beginning is moved by the pauses that came after it.
        let due = (active.began + paused).min(ended);
        let started = match active.started {
            Some(started) => (started + paused.saturating_sub(active.paused_at_start)).min(ended),
            None => due,
        };
        self.conns[at].has_replied = true;
        let message = Pending { seq: active.pass.seq, phase: active.phase, due, started, sent: Some(started) };
        self.book.exact(&message, ended);
    }

    /// The connection of a pass is lost or given up: counts the pass as missing, or as unsent if no greeting came.
    pub(crate) fn fail_pass(&mut self, at: usize, now: u64) {
        let Some(active) = self.conns[at].pass.take() else { return };
        let (id, seq) = (self.conns[at].id, active.pass.seq);
        if active.waits_since.is_none() && active.started.is_none() && self.conns[at].state == ConnState::Greeting {
            return self.book.unsent(id, Some(seq), active.phase, b"", now);
        }
        let counts = self.book.ledger.phase(active.phase);
        counts.sent += 1;
        counts.expected += 1;
        counts.missing += 1;
        self.record_failed_pass(at, &active, Verdict::Missing, now);
    }

    /// The connect for a pass has failed. With `--reconnect` the pass begins when the connection is open, so its
    /// number and its part of `-n` are given back. Otherwise it is unsent.
    pub(super) fn pass_not_begun(&mut self, at: usize) {
        let Some(active) = self.conns[at].pass.take() else { return };
        if !self.job.load.reconnect {
            let (id, now) = (self.conns[at].id, self.now());
            return self.book.unsent_without_connection(id, active.pass.seq, active.phase, b"", now);
        }
        self.conns[at].replies.give_back_seq(active.pass.seq);
        if let (Phase::Steady, Some(left)) = (active.phase, &mut self.left) {
            *left += 1;
        }
    }

    /// More bytes came than `--max-reply` while no step waited for them: the pass is wrong, and the connection, some of
    /// whose bytes are lost, is given up.
    fn refuse_pass(&mut self, lp: &mut Loop, at: usize) {
        let Some(active) = self.conns[at].pass.take() else { return };
        let now = self.now();
        let counts = self.book.ledger.phase(active.phase);
        counts.sent += 1;
        counts.expected += 1;
        counts.wrong += 1;
        let limit = grouped(self.rules.max_reply as u64);
        let why = format!("more than {limit} bytes, the limit of --max-reply, came while no step expected a text");
        self.conns[at].fault = Some(why);
        self.record_failed_pass(at, &active, Verdict::Wrong, now);
        self.connection_lost(lp, at, Loss::GivenUp);
    }

    /// Records the failure with the text that was sent last, the text that is expected, and the bytes that came
    /// instead.
    fn record_failed_pass(&mut self, at: usize, active: &ActivePass, kind: Verdict, now: u64) {
        let (conn, pass) = (&self.conns[at], &active.pass);
        let sent = conn.last_sent.map(|said| pass.text_of(said)).unwrap_or_default();
        let trouble = Trouble {
            conn: conn.id,
            seq: Some(pass.seq),
            kind,
            sent: &sent,
            expected: pass.wanted(),
            received: &conn.unread,
            line: pass.line(),
            reason: conn.fault.as_deref(),
        };
        self.book.fail(now, &trouble);
    }

    /// Gives up a pass whose expected text, or whose write, has timed out: the first is missing, the second unsent.
    pub(crate) fn sweep_pass(&mut self, lp: &mut Loop, at: usize, now: u64) {
        let timeout = self.rules.timeout;
        let conn = &mut self.conns[at];
        let Some(active) = &conn.pass else { return };
        if active.waits_since.is_some_and(|since| now.saturating_sub(since) > timeout) {
            return self.connection_lost(lp, at, Loss::GivenUp);
        }
        if conn.outbox.front().is_some_and(|step| now.saturating_sub(step.since) > timeout) {
            let Some(active) = conn.pass.take() else { return };
            self.book.ledger.phase(active.phase).unsent += 1;
            self.record_failed_pass(at, &active, Verdict::Unsent, now);
            self.connection_lost(lp, at, Loss::GivenUp);
        }
    }

    /// Counts a pass under way as unfinished: after Ctrl-C, or when it takes longer than the run. A pass that has only
    /// paused was not begun.
    pub(crate) fn count_unfinished_pass(&mut self, at: usize) {
        let Some(active) = self.conns[at].pass.take() else { return };
        if active.started.is_none() && active.waits_since.is_none() && active.ended == active.began {
            return;
        }
        let counts = self.book.ledger.phase(active.phase);
        counts.sent += 1;
        counts.expected += 1;
        counts.unfinished += 1;
    }
}
