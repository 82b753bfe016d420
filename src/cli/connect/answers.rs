//! When the answers to everything that was sent have arrived.
//!
//! A WebSocket cannot be closed in one direction only: after the close frame of one side the other side sends nothing
//! more. So at the end of the input the client has to judge when the server has answered. It does not know the
//! protocol of the server. It counts:
//!
//! ```text
//!   fewer messages received than sent    an answer may follow: wait until nothing has arrived for `--linger`
//!   as many, or more                     a late one may follow: wait for a short quiet time, and `--linger` in all
//! ```

use std::time::{Duration, Instant};

/// How long nothing may arrive before the answers are taken for complete. More than a round trip to the other side of
/// the earth, and little for a user who waits.
const QUIET: Duration = Duration::from_millis(500);

/// Counts messages, and when the last one was sent or received.
pub(super) struct Answers {
    sent: u64,
    received: u64,
    active_at: Instant,
    /// When it was first seen, after the end of the input, that as many messages were received as sent.
    complete_at: Option<Instant>,
}

impl Answers {
    pub(super) fn new(now: Instant) -> Answers {
        Answers { sent: 0, received: 0, active_at: now, complete_at: None }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.sent += 1;
        self.active_at = now;
    }

    pub(super) fn received(&mut self, now: Instant) {
        self.received += 1;
        self.active_at = now;
    }

    /// Bytes wait to be sent or shown: the quiet time has not begun.
    pub(super) fn not_quiet(&mut self, now: Instant) {
        self.active_at = now;
    }

    /// Whether the answers are complete, or do not come. Called after the end of the input.
    pub(super) fn are_over(&mut self, now: Instant, linger: Duration) -> bool {
        let quiet = now.saturating_duration_since(self.active_at);
        if self.received < self.sent {
            return quiet >= linger;
        }
        let complete_at = *self.complete_at.get_or_insert(now);
        quiet >= QUIET.min(linger) || now.saturating_duration_since(complete_at) >= linger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(5);

    /// The milliseconds after which the answers are over, for messages that were sent at 0 ms and received at these.
    fn over_after(sent: u64, received_ms: &[u64], linger: Duration) -> u64 {
        let begin = Instant::now();
        let mut answers = Answers::new(begin);
        (0..sent).for_each(|_| answers.sent(begin));
        for ms in 0.. {
            let now = begin + Duration::from_millis(ms);
            received_ms.iter().filter(|&&at| at == ms).for_each(|_| answers.received(now));
            if answers.are_over(now, linger) {
                return ms;
            }
        }
        unreachable!("they are over some time")
    }

    #[test]
    fn the_wait_ends_when_nothing_more_is_expected() {
        let often: Vec<u64> = (0..100).map(|n| n * 100).collect();
        let table: [(&str, u64, &[u64], Duration, u64); 9] = [
            ("nothing was sent", 0, &[], LINGER, 500),
            ("a greeting only", 0, &[200], LINGER, 700),
            ("each message is answered", 2, &[10, 10], LINGER, 510),
            ("an answer is late", 2, &[10, 4_000], LINGER, 4_500),
            ("answers come slowly for a long time", 3, &[4_000, 8_000, 12_000], LINGER, 12_500),
            ("no answer", 1, &[], LINGER, 5_000),
            ("an answer is missing", 2, &[1_000], LINGER, 6_000),
            ("the server never stops", 1, &often, LINGER, 5_000),
            ("a short linger", 2, &[10], Duration::from_millis(100), 110),
        ];
        for (name, sent, received_ms, linger, want_ms) in table {
            assert_eq!(over_after(sent, received_ms, linger), want_ms, "{name}");
        }
        assert_eq!(over_after(7, &[], Duration::ZERO), 0, "no wait");
    }

    #[test]
    fn bytes_that_wait_put_the_quiet_time_off() {
        let begin = Instant::now();
        let mut answers = Answers::new(begin);
        answers.sent(begin);
        let later = begin + 2 * LINGER;
        answers.not_quiet(later);
        assert!(!answers.are_over(later, LINGER));
        assert!(answers.are_over(later + LINGER, LINGER));
    }
}
