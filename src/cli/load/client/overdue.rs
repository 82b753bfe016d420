//! Timeouts: of connects, greetings, messages that the kernel does not take, and replies.
//!
//! A sweep looks at all connections every 10 to 100 ms, depending on `--timeout`. It counts each kind of timeout
//! separately, and gives up a connection that cannot continue. A timer per message would cost more than the messages.

use bucle::Loop;

use super::conn::{ConnState, Loss};
use super::run::{FIN_TIMEOUT_NS, Run};
use crate::cli::load::check::Phase;
use crate::cli::load::options::Model;
use crate::cli::load::stage::Stage;

impl Run {
    /// Looks for everything that was overdue at the time `now`.
    pub(crate) fn sweep(&mut self, lp: &mut Loop, now: u64) {
        let timeout = self.rules.timeout;
        let is_running = self.stage > Stage::Waiting && self.stage < Stage::Closing;
        for at in 0..self.conns.len() {
            let conn = &self.conns[at];
            let age = now.saturating_sub(conn.since);
            match conn.state {
                ConnState::Connecting if age > timeout => match self.handshake_time_out(at) {
                    Some(failed) => self.handshake_failed(lp, at, failed),
                    None => self.connect_failed(lp, at, "ETIMEDOUT"),
                },
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
        if self.living == 0 && is_running {
            // `--reconnect`: messages wait for a connection as long as for a socket.
            self.count_unsent_until(now.saturating_sub(timeout), now);
        }
        if self.stage == Stage::Drain && now.saturating_sub(self.drain_at) > timeout {
            self.cut_passes();
        }
        let Run { room, rules, book, .. } = self;
        if let Some(room) = room {
            room.expire(rules, now, &mut |finding| book.note(rules, &finding, now));
            self.pump_freed(lp);
        }
    }

    /// At the end of the steady phase: counts the connections without a greeting, and in the closed model the message
    /// that each of them could not send. The stage `Connecting` has already waited `--timeout` for the greetings.
    pub(crate) fn count_ungreeted(&mut self, now: u64) {
        // `--churn` and `--script` give up each connection by its own timeout, while the run drains.
        let is_kept_waiting = matches!(self.model(), Model::Closed { .. } | Model::Open { .. } | Model::Hold);
        if self.is_cut_short || !is_kept_waiting {
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

    /// Counts the first message of a connection as unsent.
    fn unsent_first(&mut self, at: usize, phase: Phase, now: u64) {
        let conn = &self.conns[at];
        let (id, seq) = (conn.id, conn.replies.next_seq());
        let text = self.rules.messages.text(id, seq);
        self.book.unsent(id, Some(seq), phase, &text, now);
    }

    /// A greeting that has not come in time: messages that wait for it are counted as unsent.
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
            // `connection_lost` counts the pass of a script.
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
            // The kernel may have taken the message since the last look.
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
