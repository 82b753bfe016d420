//! Who has waited too long: for a connection, a greeting, the socket, or a reply.
//!
//! Looked for now and then, and once more at the end of the steady phase. Each thing that is overdue is counted as what it
//! is; what cannot go on without it is given up.

use bucle::Loop;

use super::conn::{ConnState, Loss};
use super::run::{FIN_TIMEOUT_NS, Run};
use crate::cli::load::check::Phase;
use crate::cli::load::options::Model;
use crate::cli::load::stage::Stage;

impl Run {
    /// Who is overdue.
    pub(crate) fn sweep(&mut self, lp: &mut Loop, now: u64) {
        let timeout = self.rules.timeout;
        let is_running = self.stage > Stage::Waiting && self.stage < Stage::Closing;
        for at in 0..self.conns.len() {
            let conn = &self.conns[at];
            let age = now.saturating_sub(conn.since);
            match conn.state {
                ConnState::Connecting if age > timeout => self.connect_failed(lp, at, "ETIMEDOUT"),
                ConnState::Closing if age > FIN_TIMEOUT_NS && self.stage < Stage::Closing => {
                    self.finished_closing(lp, at)
                }
                ConnState::Greeting if self.stage == Stage::Connecting && age > timeout => {
                    self.stop_awaiting_greeting(lp, at)
                }
                ConnState::Greeting if is_running => self.sweep_greeting(lp, at, now),
                ConnState::Ready if is_running => self.sweep_ready(lp, at, now),
                _ => {}
            }
        }
        let Run { room, rules, book, .. } = self;
        if let Some(room) = room {
            room.expire(rules, now, &mut |finding| book.note(rules, &finding, now));
            self.pump_freed(lp);
        }
    }

    /// The steady phase is over, and there are connections whose greeting has not come: each had a message to send. The
    /// connects have waited for it as long as it takes, so no more time is given.
    pub(crate) fn count_ungreeted(&mut self, now: u64) {
        // The others give up one by one while the run drains, or begin by connecting anew.
        let is_kept_waiting = matches!(self.model(), Model::Closed { .. } | Model::Open { .. } | Model::Hold);
        if self.book.ledger.is_interrupted || !is_kept_waiting {
            return;
        }
        let is_due = matches!(self.model(), Model::Closed { .. }) && self.left.is_none();
        for at in 0..self.conns.len() {
            if self.conns[at].state != ConnState::Greeting {
                continue;
            }
            self.book.ledger.ungreeted += 1;
            if is_due {
                let phase = self.phase_at(now);
                self.unsent_first(at, phase, now);
            }
        }
    }

    /// The message that a connection would have sent first.
    fn unsent_first(&mut self, at: usize, phase: Phase, now: u64) {
        let conn = &self.conns[at];
        let (id, seq) = (conn.id, conn.replies.next_seq());
        let text = self.rules.messages.text(id, seq);
        self.book.unsent(id, Some(seq), phase, &text, now);
    }

    /// A greeting that does not come: what waits for it is not sent.
    fn sweep_greeting(&mut self, lp: &mut Loop, at: usize, now: u64) {
        let waited = now.saturating_sub(self.conns[at].since.max(self.go_at));
        if let Model::Open { .. } = self.model() {
            return self.drop_overdue(at, now);
        }
        if waited <= self.rules.timeout || matches!(self.model(), Model::Hold) {
            return;
        }
        let phase = match self.model() {
            Model::Closed { .. } => self.claim_one(now),
            Model::Churn => Some(self.conns[at].phase),
            // A script's pass is counted by itself.
            _ => None,
        };
        if let Some(phase) = phase {
            self.unsent_first(at, phase, now);
        }
        self.book.ledger.ungreeted += 1;
        self.connection_lost(lp, at, Loss::GivenUp);
    }

    fn sweep_ready(&mut self, lp: &mut Loop, at: usize, now: u64) {
        self.sweep_pass(lp, at, now);
        let timeout = self.rules.timeout;
        let is_stuck = |run: &Run| {
            let oldest = run.conns[at].outbox.front();
            oldest.is_some_and(|oldest| now.saturating_sub(oldest.since) > timeout)
        };
        if is_stuck(self) {
            self.update_taken(lp, at, now);
            if is_stuck(self) {
                return self.connection_lost(lp, at, Loss::GivenUp);
            }
        }
        let Run { conns, book, rules, .. } = self;
        let conn = &mut conns[at];
        let before = conn.replies.unanswered();
        if before > 0 {
            let id = conn.id;
            conn.replies.expire(rules, id, now, &mut |finding| book.note(rules, &finding, now));
            if conn.replies.unanswered() < before {
                self.pump(lp, at);
            }
        }
    }
}
