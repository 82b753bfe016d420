//! The timers phase: calls the timers that are due, in Node's order.
//!
//! ```text
//!   payload taken out ─▶ Running ─▶ the closure is called ─┬─ the timer still exists: closure put back, or removed
//!                                                          └─ the callback has cleared it: closure dropped
//! ```
//!
//! A closure is taken out of its timer while it runs, because it gets the whole loop, and so the timers. Timers that
//! fall due during the phase wait for the next turn, so timers cannot hold the loop here.

use std::mem;
#[cfg(feature = "trace")]
use std::time::Duration;

use super::{Cause, Kind, Loop, Phase, TimerCall, TimerId};

impl Loop {
    /// Timers phase: calls every timer that is due when the phase begins, in Node's order, with a boundary after each.
    /// Timers that fall due meanwhile wait for the next turn.
    pub(super) fn run_due_timers(&mut self) {
        // A loop without timers need not read the clock.
        if self.timers.next_expiry().is_none() {
            return;
        }
        self.update_now();
        let phase = self.begin_phase(Phase::Timers);
        while self.run_pass() {
            // As in libuv, a timer that is due by now fires before the phase ends.
            self.update_now();
        }
        self.end_phase(phase);
    }

    /// Calls the timers that are due now. Returns whether another pass must follow.
    ///
    /// libuv has one timer for all of Node's. It is set when a pass is over, before the last ticks run. If those ticks
    /// arm or refresh a timer, the loop looks at its clock, and libuv's timer may be due: then Node gets another pass
    /// at once.
    fn run_pass(&mut self) -> bool {
        self.timers.begin_pass(self.now_ms);
        let mut before_ticks = None;
        while let Some(id) = self.timers.next_due() {
            if before_ticks.is_none() {
                log::trace!(target: "bucle::loop", "timers: at least one is due");
            }
            self.fire(id);
            self.timers.settle();
            before_ticks = Some((self.timers.next_expiry(), self.now_ms));
            self.boundary();
        }
        let (Some((before, now_ms)), Some(expiry)) = (before_ticks, self.timers.next_expiry()) else { return false };
        let wake = match before {
            // Node sets libuv's timer to at least a millisecond from now.
            Some(before) if before <= expiry => before.max(now_ms + 1),
            // The last ticks have armed an earlier one, which sets it anew.
            _ => expiry,
        };
        self.now_ms >= wake
    }

    /// Runs the action of a timer. While it runs, the timer holds [`TimerCall::Running`].
    fn fire(&mut self, id: TimerId) {
        let Some(payload) = self.timers.payload_mut(id) else { return };
        let cause = payload.cause;
        match mem::replace(&mut payload.call, TimerCall::Running) {
            TimerCall::Once(callback) => {
                self.call_timer(id, cause, callback);
                self.put_back(id, None);
            }
            TimerCall::Again(mut callback) => {
                // After a caught panic the timer is removed.
                let is_whole = self.call_timer(id, cause, |lp| callback(lp));
                self.put_back(id, is_whole.then_some(TimerCall::Again(callback)));
            }
            TimerCall::Every(mut callback) => {
                // As in Node, the next interval begins when the callback begins, not when it ends.
                self.update_now();
                let start = self.now_ms;
                let is_whole = self.call_timer(id, cause, |lp| callback(lp));
                if self.put_back(id, is_whole.then_some(TimerCall::Every(callback))) {
                    self.timers.refresh(id, start);
                }
            }
            TimerCall::InternalEvery(mut callback) => {
                self.update_now();
                let start = self.now_ms;
                let outer = self.act_for(cause);
                callback(self);
                self.act_for(outer);
                if self.put_back(id, Some(TimerCall::InternalEvery(callback))) {
                    self.timers.refresh(id, start);
                }
            }
            TimerCall::Net(timer) => {
                // Put back before the call: the timer's function refreshes it or clears it.
                self.put_back(id, Some(TimerCall::Net(timer)));
                let outer = self.act_for(cause);
                self.run_net_timer(timer, id);
                self.act_for(outer);
            }
            // Left over from a callback whose panic was not caught.
            TimerCall::Running => {}
        }
    }

    /// Calls the closure of a timer. Returns `false` if it panicked and the panic was caught.
    fn call_timer(&mut self, id: TimerId, cause: Cause, f: impl FnOnce(&mut Loop)) -> bool {
        #[cfg(feature = "trace")]
        let late_ms = self.late_ms(id);
        #[cfg(feature = "trace")]
        log::trace!(target: "bucle::loop", "a timer fires, {late_ms} ms late");
        #[cfg(not(feature = "trace"))]
        let (_, late_ms) = (id, 0);
        #[cfg(not(feature = "trace"))]
        log::trace!(target: "bucle::loop", "a timer fires");
        self.call_sized(Kind::Timer, cause, late_ms, f)
    }

    /// The number of timers that should have fired by `now`, and the delay of the one that waits longest.
    #[cfg(feature = "trace")]
    pub(super) fn late_timers(&self, now: Duration) -> Option<(usize, Duration)> {
        let (count, late_ms) = self.timers.late(now.as_millis() as i64)?;
        Some((count, Duration::from_millis(late_ms)))
    }

    /// How late a timer is that fires now, in milliseconds. Reads the clock, because the timer may have waited for
    /// others in this phase.
    #[cfg(feature = "trace")]
    fn late_ms(&self, id: TimerId) -> usize {
        let now_ms = match &self.observed {
            Some(_) => self.clock.elapsed().as_millis() as i64,
            None => self.now_ms,
        };
        self.timers.expiry(id).map_or(0, |expiry| (now_ms - expiry).max(0) as usize)
    }

    /// Gives a timer its action back after the call, or removes the timer if `call` is `None`. Returns whether the
    /// timer still exists: the callback may have cleared it.
    fn put_back(&mut self, id: TimerId, call: Option<TimerCall>) -> bool {
        let Some(payload) = self.timers.payload_mut(id) else { return false };
        match call {
            Some(call) => {
                payload.call = call;
                true
            }
            None => {
                self.timers.remove(id);
                false
            }
        }
    }
}
