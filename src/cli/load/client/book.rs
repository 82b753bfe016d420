//! Writes the findings of all connections into the ledger.

use crate::cli::load::check::{Finding, Pending, Phase, Reason, Rules, Verdict};
use crate::cli::load::ledger::{Failure, Ledger};
use crate::cli::load::message::show;
use crate::cli::load::units::grouped;

/// How many bytes of a message are shown with the first failure.
const SHOWN: usize = 1000;

/// The ledger, and the state that its entries depend on.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) ledger: Ledger,
    pub(crate) has_steady_begun: bool,
    /// When the last exact reply of the steady phase came.
    pub(crate) last_exact: u64,
}

/// A failure, with the bytes as they were on the wire.
#[derive(Debug)]
pub(crate) struct Trouble<'a> {
    pub(crate) conn: u64,
    pub(crate) seq: Option<u64>,
    pub(crate) kind: Verdict,
    pub(crate) sent: &'a [u8],
    pub(crate) expected: Option<&'a [u8]>,
    pub(crate) received: &'a [u8],
    pub(crate) line: Option<u64>,
    pub(crate) reason: Option<&'a str>,
}

/// A reply that came before the kernel had taken its message whole. Its result is counted only if the kernel takes the
/// rest of the message.
#[derive(Debug)]
pub(crate) struct EarlyReply {
    message: Pending,
    verdict: Verdict,
    /// The reply, as a failure is reported.
    failure: Failure,
}

impl EarlyReply {
    /// The result of this message, if it is one.
    pub(crate) fn of(rules: &Rules, finding: &Finding<'_>, now: u64) -> Option<EarlyReply> {
        let failure = failure_of(rules, finding, now);
        finding.message.map(|message| EarlyReply { message, verdict: finding.verdict, failure })
    }
}

impl Book {
    /// The phase that a reply without a message is counted in: the current one.
    fn phase_now(&self) -> Phase {
        if self.has_steady_begun { Phase::Steady } else { Phase::Warmup }
    }

    /// Counts a finding; the first that is not exact becomes the first failure.
    pub(crate) fn note(&mut self, rules: &Rules, finding: &Finding<'_>, now: u64) {
        self.count(finding.verdict, finding.message, now, || failure_of(rules, finding, now));
    }

    /// The kernel has taken a message whole whose reply came before: counts the reply.
    pub(crate) fn note_early(&mut self, reply: EarlyReply) {
        let EarlyReply { message, verdict, failure } = reply;
        self.count(verdict, Some(message), failure.at, || failure);
    }

    fn count(&mut self, verdict: Verdict, message: Option<Pending>, now: u64, failure: impl FnOnce() -> Failure) {
        let phase = message.map_or(self.phase_now(), |message| message.phase);
        self.ledger.phase(phase).count(verdict);
        if verdict == Verdict::Exact {
            let Some(message) = message else { return };
            self.exact(&message, now);
            return;
        }
        // A late reply was drawn as a failure before, when it was missing.
        if verdict != Verdict::Late {
            self.ledger.timeline.failed(now);
        }
        self.ledger.fail_first(failure);
    }

    /// Counts the times of an exact reply whose last byte came at `now`.
    pub(crate) fn exact(&mut self, message: &Pending, now: u64) {
        self.ledger.timeline.exact(now);
        if message.phase == Phase::Steady {
            self.ledger.measured(now.saturating_sub(message.due), now.saturating_sub(message.started));
            self.last_exact = now;
        }
    }

    /// Counts a message that the kernel did not take whole.
    pub(crate) fn unsent(&mut self, conn: u64, seq: Option<u64>, phase: Phase, sent: &[u8], now: u64) {
        self.unsent_because(conn, seq, phase, sent, now, None);
    }

    /// Counts a message that the kernel did not take whole, although a reply to it has come.
    pub(crate) fn unsent_but_answered(&mut self, reply: EarlyReply, now: u64) {
        let EarlyReply { message, failure, .. } = reply;
        self.ledger.phase(message.phase).unsent += 1;
        self.ledger.timeline.failed(now);
        let reason = failure.reason.or_else(|| Some("a reply came before the message was sent whole".to_owned()));
        self.ledger.fail_first(|| Failure { at: now, kind: Verdict::Unsent.name(), reason, ..failure });
    }

    /// Counts a message that was due while there was no connection.
    pub(crate) fn unsent_without_connection(&mut self, conn: u64, seq: u64, phase: Phase, sent: &[u8], now: u64) {
        self.unsent_because(conn, Some(seq), phase, sent, now, Some("there was no connection"));
    }

    fn unsent_because(
        &mut self,
        conn: u64,
        seq: Option<u64>,
        phase: Phase,
        sent: &[u8],
        now: u64,
        reason: Option<&'static str>,
    ) {
        self.ledger.phase(phase).unsent += 1;
        let kind = Verdict::Unsent;
        self.fail(now, &Trouble { conn, seq, kind, sent, expected: None, received: b"", line: None, reason });
    }

    /// Draws a failure in the timeline, and keeps it if it is the first.
    pub(crate) fn fail(&mut self, at: u64, trouble: &Trouble<'_>) {
        self.ledger.timeline.failed(at);
        self.ledger.fail_first(|| Failure {
            at,
            conn: trouble.conn,
            seq: trouble.seq,
            kind: trouble.kind.name(),
            sent: show(trouble.sent, SHOWN),
            expected: trouble.expected.map(|text| show(text, SHOWN)),
            received: show(trouble.received, SHOWN),
            line: trouble.line,
            reason: trouble.reason.map(str::to_owned),
        });
    }
}

/// The failure that the report shows for a finding.
fn failure_of(rules: &Rules, finding: &Finding<'_>, now: u64) -> Failure {
    let sent = finding.seq.map(|seq| rules.messages.text(finding.conn, seq)).unwrap_or_default();
    Failure {
        at: now,
        conn: finding.conn,
        seq: finding.seq,
        kind: finding.verdict.name(),
        sent: show(&sent, SHOWN),
        expected: None,
        received: show(finding.received, SHOWN),
        line: None,
        reason: finding.reason.map(|reason| match reason {
            Reason::Words(words) => words.to_owned(),
            Reason::TooLong => {
                format!("the reply is longer than {} bytes, the limit of --max-reply", grouped(rules.max_reply as u64))
            }
        }),
    }
}
