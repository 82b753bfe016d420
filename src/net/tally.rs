//! Rate limit for the log: one line a second about an event that may occur thousands of times a second.
//!
//! ```text
//!   127.0.0.1:5000 is refused   the first event is logged immediately, with its details
//!   . . . . .                   the next events are counted
//!   5 more are refused          a second later their number is logged; if it is 0, the timer stops
//! ```
//!
//! A server without such events has no timer. A server with any number of them has one timer per kind.

use std::mem;
use std::time::Duration;

use super::{NetTimer, ServerId};
use crate::event_loop::Loop;

/// The least time between two lines about the same thing.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// Counts one kind of event of one server.
#[derive(Default)]
pub(super) struct Tally {
    /// `None` if the next event is logged immediately. Otherwise a line was logged less than a second ago, and this
    /// many events have been counted since.
    unreported: Option<u64>,
}

/// The kinds of events that are counted, with what their log lines contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tallied {
    /// Connections that a full server has refused.
    Refused,
    /// Connections that were ended because they were idle.
    Idle {
        /// Their limit, in milliseconds.
        limit_ms: u32,
    },
}

impl Loop {
    /// Counts one event of `server`. Returns whether the caller must log it with its details; otherwise a later line
    /// includes it.
    pub(super) fn tally(&mut self, server: ServerId, what: Tallied) -> bool {
        let Some(tally) = self.net.tally(server, what) else { return true };
        if let Some(unreported) = &mut tally.unreported {
            *unreported += 1;
            return false;
        }
        tally.unreported = Some(0);
        self.start_net_timer(REPORT_AFTER, NetTimer::Tally(server, what));
        true
    }

    /// The timer of [`tally`](Self::tally): a second has passed since the last line.
    pub(super) fn report_tally(&mut self, server: ServerId, what: Tallied) {
        let Some(tally) = self.net.tally(server, what) else { return };
        let count = mem::take(&mut tally.unreported).unwrap_or(0);
        if count == 0 {
            return;
        }
        tally.unreported = Some(0);
        match what {
            Tallied::Refused => log::warn!(target: "bucle::net", "{server} is full: {count} more are refused"),
            Tallied::Idle { limit_ms } => {
                let limit = Duration::from_millis(limit_ms.into());
                log::info!(target: "bucle::net", "idle for {limit:?}: {count} more are closed");
            }
        }
        self.start_net_timer(REPORT_AFTER, NetTimer::Tally(server, what));
    }
}

impl super::Net {
    fn tally(&mut self, server: ServerId, what: Tallied) -> Option<&mut Tally> {
        let state = self.server_mut(server)?;
        Some(match what {
            Tallied::Refused => &mut state.refused,
            Tallied::Idle { .. } => &mut state.idle,
        })
    }
}
