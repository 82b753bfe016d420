//! `--reconnect`: opening lost and refused connections anew, and the time without a connection.
//!
//! ```text
//!   lost, or refused ──▶ wait 100 ms ──▶ connect ──▶ refused ──▶ wait 200 ms ──▶ … at most 5 s
//!                            ▲              └──▶ made, and a reply comes: the next wait is 100 ms again
//!                            └ a little less, at random: clients that lost a server together do not return together
//! ```

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bucle::Loop;

use super::conn::ConnState;
use super::run::Run;
use crate::cli::load::options::Model;
use crate::cli::load::stage::Stage;
use crate::cli::load::units::nanos;

/// The first wait before a connection is opened anew.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait. A connection that lasted this long was of use.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Run {
    /// The connection was lost, or could not be made.
    pub(super) fn went_away(&mut self, at: usize, now: u64) {
        // The connections of `--churn` and `--script` come and go.
        let is_counted = match self.model() {
            Model::Churn => false,
            Model::Script(_) => self.job.load.reconnect,
            _ => true,
        };
        if is_counted {
            self.conns[at].away_since.get_or_insert(now);
        }
    }

    /// The connection is made: ends its absence, if there was one.
    pub(super) fn came_back(&mut self, at: usize, now: u64) {
        if let Some(since) = self.conns[at].away_since.take() {
            self.book.ledger.reconnects += 1;
            self.count_absence(since, now);
        }
    }

    fn count_absence(&mut self, since: u64, now: u64) {
        if self.stage > Stage::Waiting {
            self.book.ledger.away_ns += now.saturating_sub(since.max(self.go_at));
        }
    }

    /// At the end of the steady phase: counts the absences that have not ended.
    pub(super) fn count_absences(&mut self, now: u64) {
        for at in 0..self.conns.len() {
            if let Some(since) = self.conns[at].away_since.take() {
                self.count_absence(since, now);
            }
        }
    }

    /// A connection of use was lost: the next wait is short.
    pub(super) fn forget_tries(&mut self, at: usize, now: u64) {
        let conn = &mut self.conns[at];
        if conn.has_replied || now.saturating_sub(conn.since) >= nanos(LONGEST_WAIT) {
            conn.tries = 0;
        }
    }

    /// Opens the connection anew after its wait.
    pub(super) fn reconnect_later(&mut self, lp: &mut Loop, at: usize) {
        let tries = self.conns[at].tries;
        self.conns[at].tries = tries.saturating_add(1);
        self.reconnect_in(lp, at, wait(tries, RandomState::new().hash_one(at)));
    }

    fn reconnect_in(&mut self, lp: &mut Loop, at: usize, wait: Duration) {
        if self.stage >= Stage::Drain {
            return;
        }
        let call = self.later(move |run, lp| run.reconnect(lp, at));
        let timer = lp.set_timeout(wait, call);
        lp.unref(timer);
    }

    fn reconnect(&mut self, lp: &mut Loop, at: usize) {
        if self.stage < Stage::Warmup {
            // The load begins when every connection has been made or has failed; a new attempt would delay it.
            return self.reconnect_in(lp, at, FIRST_WAIT);
        }
        if self.stage >= Stage::Drain || self.conns[at].state != ConnState::Resting {
            return;
        }
        match self.model() {
            Model::Script(_) => self.next_pass(lp, at),
            _ => self.connect(lp, at),
        }
    }
}

/// The wait after this many tries in succession: three quarters of the full time and a random part of the last quarter.
fn wait(tries: u32, random: u64) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << tries.min(16)).min(LONGEST_WAIT);
    full * 3 / 4 + full * u32::from(random as u16) / (4 * u32::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_five_seconds() {
        let full = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
        for (tries, ms) in (0..).zip(full).chain([(100, 5000), (u32::MAX, 5000)]) {
            assert_eq!(wait(tries, 0), Duration::from_millis(ms) * 3 / 4);
            assert_eq!(wait(tries, u64::MAX), Duration::from_millis(ms));
            let some = wait(tries, 12_345);
            assert!(wait(tries, 0) < some && some < wait(tries, u64::MAX));
        }
    }
}
