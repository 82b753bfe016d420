//! The methods of [`Loop`] that callbacks call: timers, ticks, microtasks, immediates and the clock.
//!
//! `Loop` is lent to each callback as `&mut Loop`. The methods only queue and look up; none of them calls user code.
//! The phases that run the queues belong to [`EventLoop`](crate::EventLoop), so a callback cannot start the loop inside
//! itself.
//!
//! | method | the callback runs |
//! |---|---|
//! | [`next_tick`](Loop::next_tick) | when the current callback has returned |
//! | [`queue_microtask`](Loop::queue_microtask) | after all ticks |
//! | [`set_immediate`](Loop::set_immediate) | in the check phase, after the events of this turn |
//! | [`set_timeout`](Loop::set_timeout), [`set_interval`](Loop::set_interval), … | in the timers phase, after a delay |

use std::time::{Duration, Instant};

use super::queues::ImmediateId;
use super::{Kind, Loop, Remote, Tick, TimerCall, TimerId, TimerPayload, delay_ms, limit_ms};
use crate::net::NetTimer;

/// The id of a timer or of an immediate: both can be cleared, referenced and unreferenced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimerOrImmediate {
    /// From [`Loop::set_timeout`], [`Loop::set_timer`] or [`Loop::set_interval`].
    Timer(TimerId),
    /// From [`Loop::set_immediate`].
    Immediate(ImmediateId),
}

impl From<TimerId> for TimerOrImmediate {
    fn from(id: TimerId) -> Self {
        TimerOrImmediate::Timer(id)
    }
}

impl From<ImmediateId> for TimerOrImmediate {
    fn from(id: ImmediateId) -> Self {
        TimerOrImmediate::Immediate(id)
    }
}

impl Loop {
    /// The time, as of the last reading of the clock. The loop reads the clock before and after it waits for the
    /// kernel, before the timers phase if there are timers, before each call of an interval, and when a timer is made
    /// or refreshed. Between these the time does not change, however long a callback takes ([libuv:
    /// `uv_now`](https://docs.libuv.org/en/v1.x/loop.html#c.uv_now)).
    #[doc(alias = "uv_now")]
    pub fn now(&self) -> Instant {
        self.clock.origin() + self.now
    }

    /// Runs `f` once, after `delay`. The timer is gone when it has fired; [`set_timer`](Self::set_timer) makes one that
    /// can be used again.
    ///
    /// A delay is cut to whole milliseconds. A delay of less than 1 ms, or of more than 2^31 − 1, becomes 1 ms
    /// ([Node: `setTimeout`](https://nodejs.org/docs/latest-v20.x/api/timers.html#settimeoutcallback-delay-args)).
    ///
    /// The timer counts in the loop's whole milliseconds, as in Node and libuv: it is due when the clock, cut to
    /// milliseconds, is `delay` ahead of its cut value at this call. So `f` may run up to one millisecond before
    /// `delay` has passed: a timer of 1 ms that is made at 4.98 ms is due at 5 ms. A slow callback, or a wait that the
    /// kernel ends late, makes it run later; nothing else does.
    #[doc(alias = "setTimeout")]
    pub fn set_timeout(&mut self, delay: Duration, f: impl FnOnce(&mut Loop) + 'static) -> TimerId {
        self.start_timer(delay, TimerCall::Once(Box::new(f)))
    }

    /// Runs `f` once after `delay`, and again after each [`refresh`](Self::refresh). The timer exists until it is
    /// [cleared](Self::clear).
    #[doc(alias = "setTimeout")]
    pub fn set_timer(&mut self, delay: Duration, f: impl FnMut(&mut Loop) + 'static) -> TimerId {
        self.start_timer(delay, TimerCall::Again(Box::new(f)))
    }

    /// Runs `f` repeatedly, with `period` from the start of one call to the start of the next. Calls that were missed
    /// are not made up for ([Node:
    /// `setInterval`](https://nodejs.org/docs/latest-v20.x/api/timers.html#setintervalcallback-delay-args)).
    #[doc(alias = "setInterval")]
    pub fn set_interval(&mut self, period: Duration, f: impl FnMut(&mut Loop) + 'static) -> TimerId {
        self.start_timer(period, TimerCall::Every(Box::new(f)))
    }

    /// Runs `f` in the check phase of this turn; if called from an immediate, in that of the next turn
    /// ([Node: `setImmediate`](https://nodejs.org/docs/latest-v20.x/api/timers.html#setimmediatecallback-args)).
    #[doc(alias = "setImmediate")]
    pub fn set_immediate(&mut self, f: impl FnOnce(&mut Loop) + 'static) -> ImmediateId {
        let cause = self.cause();
        self.immediates.push(Box::new(f), cause)
    }

    /// Runs `f` when the current callback has returned, before everything else
    /// ([Node:
    /// `process.nextTick`](https://nodejs.org/docs/latest-v20.x/api/process.html#processnexttickcallback-args)).
    #[doc(alias = "nextTick")]
    pub fn next_tick(&mut self, f: impl FnOnce(&mut Loop) + 'static) {
        let cause = self.cause();
        self.ticks.ticks.push_back((Tick::User(Box::new(f)), cause));
    }

    /// Runs `f` when the current callback has returned and all ticks have run
    /// ([Node: `queueMicrotask`](https://nodejs.org/docs/latest-v20.x/api/globals.html#queuemicrotaskcallback)).
    #[doc(alias = "queueMicrotask")]
    pub fn queue_microtask(&mut self, f: impl FnOnce(&mut Loop) + 'static) {
        let cause = self.cause();
        self.ticks.microtasks.push_back((Box::new(f), cause));
    }

    /// Clears a timer or an immediate. May be called from anywhere; if it is gone already nothing happens.
    #[doc(alias = "clearTimeout")]
    #[doc(alias = "clearInterval")]
    #[doc(alias = "clearImmediate")]
    pub fn clear(&mut self, id: impl Into<TimerOrImmediate>) {
        match id.into() {
            TimerOrImmediate::Timer(id) => drop(self.timers.remove(id)),
            TimerOrImmediate::Immediate(id) => self.immediates.clear(id),
        }
    }

    /// Starts a timer's delay again, from now. Works after the timer has fired, too, if it was made with
    /// [`set_timer`](Self::set_timer). Returns whether the timer exists
    /// ([Node: `timeout.refresh`](https://nodejs.org/docs/latest-v20.x/api/timers.html#timeoutrefresh)).
    pub fn refresh(&mut self, id: TimerId) -> bool {
        self.update_now();
        self.timers.refresh(id, self.now_ms)
    }

    /// Lets a timer or immediate keep the loop alive. This is the default.
    #[doc(alias = "ref")]
    pub fn ref_(&mut self, id: impl Into<TimerOrImmediate>) {
        self.set_referenced(id.into(), true);
    }

    /// Lets the loop end although this timer or immediate has not run. It still runs if the loop lives long enough.
    pub fn unref(&mut self, id: impl Into<TimerOrImmediate>) {
        self.set_referenced(id.into(), false);
    }

    /// Whether a timer or immediate exists and keeps the loop alive until it has run.
    #[doc(alias = "hasRef")]
    pub fn has_ref(&self, id: impl Into<TimerOrImmediate>) -> bool {
        match id.into() {
            TimerOrImmediate::Timer(id) => self.timers.is_referenced(id),
            TimerOrImmediate::Immediate(id) => self.immediates.is_referenced(id),
        }
    }

    /// A handle that other threads can use to run callbacks on this loop.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Ends [`EventLoop::run`](crate::EventLoop::run) after this turn. Callbacks that wait stay where they are.
    pub fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Calls `f` when nothing keeps the loop alive, after the functions that were passed here before. If one of them
    /// starts something that keeps the loop alive, the loop goes on, and calls all of them again when that is done.
    /// They are not called after [`stop`](Self::stop) ([Node:
    /// `beforeExit`](https://nodejs.org/docs/latest-v20.x/api/process.html#event-beforeexit)).
    #[doc(alias = "beforeExit")]
    pub fn on_before_exit(&mut self, f: impl FnMut(&mut Loop) + 'static) {
        self.before_exit.push(Box::new(f));
    }

    /// How many panics have been caught; see [`EventLoop::catch_panics`](crate::EventLoop::catch_panics).
    pub fn caught_panics(&self) -> u64 {
        self.caught_panics
    }

    fn set_referenced(&mut self, id: TimerOrImmediate, is_referenced: bool) {
        match id {
            TimerOrImmediate::Timer(id) => self.timers.set_referenced(id, is_referenced),
            TimerOrImmediate::Immediate(id) => self.immediates.set_referenced(id, is_referenced),
        }
    }

    /// The number of the turn that runs.
    #[cfg(feature = "socket-io")]
    #[inline]
    pub(crate) fn turn_number(&self) -> u64 {
        self.counters.turns
    }

    /// As [`set_interval`](Self::set_interval), for a closure of this crate: it is no callback of the program, so it is
    /// not counted, recorded or held by a gate.
    pub(crate) fn set_internal_interval(&mut self, period: Duration, f: impl FnMut(&mut Loop) + 'static) -> TimerId {
        self.start_timer(period, TimerCall::InternalEvery(Box::new(f)))
    }

    fn start_timer(&mut self, delay: Duration, call: TimerCall) -> TimerId {
        // A timer counts from the real time at which it is made, as in libuv.
        self.update_now();
        let delay = delay_ms(delay);
        let cause = self.note(Kind::Armed, 0, delay as usize);
        self.timers.insert(self.now_ms, delay, TimerPayload { call, cause })
    }

    /// Starts a timer of a socket or server. It is unreferenced, so it does not keep the loop alive. A limit of more
    /// than 2^31 − 1 ms becomes that long.
    pub(crate) fn start_net_timer(&mut self, limit: Duration, timer: NetTimer) -> TimerId {
        let id = self.start_timer(Duration::from_millis(limit_ms(limit).into()), TimerCall::Net(timer));
        self.timers.set_referenced(id, false);
        id
    }

    /// Starts a socket's idle limit or write timeout again, because there was activity. Counts from now and not from
    /// the last reading of the clock: the callback may have taken longer than the limit since then.
    #[inline]
    pub(crate) fn restart_timer(&mut self, id: TimerId) {
        self.refresh(id);
    }

    /// Frees memory of the table of timers, when most connections have gone and their timers with them.
    pub(crate) fn shrink_timers(&mut self) {
        self.timers.shrink();
    }

    /// Reads the clock.
    #[inline]
    pub(crate) fn update_now(&mut self) {
        self.now = self.clock.elapsed();
        self.now_ms = whole_ms(self.now);
    }
}

/// The time of timers.
#[inline]
pub(super) fn whole_ms(time: Duration) -> i64 {
    time.as_secs() as i64 * 1000 + i64::from(time.subsec_millis())
}
