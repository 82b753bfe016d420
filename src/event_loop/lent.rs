//! What a callback asks of the loop that it is lent: timers, ticks, immediates, the clock.

use std::time::{Duration, Instant};

use super::queues::ImmediateId;
use super::{Kind, Loop, Remote, Tick, TimerCall, TimerId, TimerPayload, delay_ms, limit_ms};
use crate::net::NetTimer;

/// A timer or an immediate: what can be cleared, referenced and unreferenced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AlarmId {
    /// From [`Loop::set_timeout`], [`Loop::set_timer`] or [`Loop::set_interval`].
    Timer(TimerId),
    /// From [`Loop::set_immediate`].
    Immediate(ImmediateId),
}

impl From<TimerId> for AlarmId {
    fn from(id: TimerId) -> Self {
        AlarmId::Timer(id)
    }
}

impl From<ImmediateId> for AlarmId {
    fn from(id: ImmediateId) -> Self {
        AlarmId::Immediate(id)
    }
}

impl Loop {
    /// Now, as of the last time the loop looked: around the wait for the kernel, before the timers phase if there are
    /// timers, before each call of an interval, and whenever a timer is made or refreshed. In between it stands still,
    /// however long a callback takes ([libuv: `uv_now`](https://docs.libuv.org/en/v1.x/loop.html#c.uv_now)).
    #[doc(alias = "uv_now")]
    pub fn now(&self) -> Instant {
        self.clock.origin() + self.now
    }

    /// Runs `f` once, after at least `delay`. The timer is gone once it fired; to use it again see
    /// [`set_timer`](Self::set_timer).
    ///
    /// A delay is cut to whole milliseconds; less than one, or more than 2^31 − 1 of them, becomes one
    /// ([Node: `setTimeout`](https://nodejs.org/docs/latest-v20.x/api/timers.html#settimeoutcallback-delay-args)).
    #[doc(alias = "setTimeout")]
    pub fn set_timeout(&mut self, delay: Duration, f: impl FnOnce(&mut Loop) + 'static) -> TimerId {
        self.start_timer(delay, TimerCall::Once(Box::new(f)))
    }

    /// Runs `f` once after `delay`, and again whenever the timer is [`refresh`](Self::refresh)ed. Lives until
    /// [`clear`](Self::clear).
    #[doc(alias = "setTimeout")]
    pub fn set_timer(&mut self, delay: Duration, f: impl FnMut(&mut Loop) + 'static) -> TimerId {
        self.start_timer(delay, TimerCall::Again(Box::new(f)))
    }

    /// Runs `f` again and again, with `period` from the start of one call to the next. Missed calls are not made up
    /// ([Node: `setInterval`](https://nodejs.org/docs/latest-v20.x/api/timers.html#setintervalcallback-delay-args)).
    #[doc(alias = "setInterval")]
    pub fn set_interval(&mut self, period: Duration, f: impl FnMut(&mut Loop) + 'static) -> TimerId {
        self.start_timer(period, TimerCall::Every(Box::new(f)))
    }

    /// Runs `f` in the check phase of this turn, or of the next one when called from an immediate
    /// ([Node: `setImmediate`](https://nodejs.org/docs/latest-v20.x/api/timers.html#setimmediatecallback-args)).
    #[doc(alias = "setImmediate")]
    pub fn set_immediate(&mut self, f: impl FnOnce(&mut Loop) + 'static) -> ImmediateId {
        let cause = self.cause();
        self.immediates.push(Box::new(f), cause)
    }

    /// Runs `f` as soon as the current callback returns, before anything else
    /// ([Node: `process.nextTick`](https://nodejs.org/docs/latest-v20.x/api/process.html#processnexttickcallback-args)).
    #[doc(alias = "nextTick")]
    pub fn next_tick(&mut self, f: impl FnOnce(&mut Loop) + 'static) {
        let cause = self.cause();
        self.ticks.ticks.push_back((Tick::User(Box::new(f)), cause));
    }

    /// Runs `f` after the ticks of the current callback
    /// ([Node: `queueMicrotask`](https://nodejs.org/docs/latest-v20.x/api/globals.html#queuemicrotaskcallback)).
    #[doc(alias = "queueMicrotask")]
    pub fn queue_microtask(&mut self, f: impl FnOnce(&mut Loop) + 'static) {
        let cause = self.cause();
        self.ticks.microtasks.push_back((Box::new(f), cause));
    }

    /// Clears a timer or an immediate, from anywhere. One that is gone already is ignored.
    #[doc(alias = "clearTimeout")]
    #[doc(alias = "clearInterval")]
    #[doc(alias = "clearImmediate")]
    pub fn clear(&mut self, id: impl Into<AlarmId>) {
        match id.into() {
            AlarmId::Timer(id) => drop(self.timers.remove(id)),
            AlarmId::Immediate(id) => self.immediates.clear(id),
        }
    }

    /// Starts a timer's delay anew, from now. Works on a timer that has fired, if it was made with
    /// [`set_timer`](Self::set_timer). Says whether there was such a timer
    /// ([Node: `timeout.refresh`](https://nodejs.org/docs/latest-v20.x/api/timers.html#timeoutrefresh)).
    pub fn refresh(&mut self, id: TimerId) -> bool {
        self.update_now();
        self.timers.refresh(id, self.now_ms)
    }

    /// Lets a timer or immediate keep the loop alive, which is how it starts.
    #[doc(alias = "ref")]
    pub fn ref_(&mut self, id: impl Into<AlarmId>) {
        self.set_referenced(id.into(), true);
    }

    /// Lets the loop end although this timer or immediate is waiting. It still runs if the loop lives long enough.
    pub fn unref(&mut self, id: impl Into<AlarmId>) {
        self.set_referenced(id.into(), false);
    }

    /// Whether a timer or immediate is there and keeps the loop alive while it waits.
    #[doc(alias = "hasRef")]
    pub fn has_ref(&self, id: impl Into<AlarmId>) -> bool {
        match id.into() {
            AlarmId::Timer(id) => self.timers.is_referenced(id),
            AlarmId::Immediate(id) => self.immediates.is_referenced(id),
        }
    }

    /// The door for other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Ends [`EventLoop::run`](crate::EventLoop::run) after this turn. What is waiting is left alone.
    pub fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Has `f` called when nothing keeps the loop alive any more, after those that were given before it. If one of them makes
    /// something that does, the loop goes on, and all are called again when that is done. Not called after [`stop`](Self::stop)
    /// ([Node: `beforeExit`](https://nodejs.org/docs/latest-v20.x/api/process.html#event-beforeexit)).
    #[doc(alias = "beforeExit")]
    pub fn on_before_exit(&mut self, f: impl FnMut(&mut Loop) + 'static) {
        self.before_exit.push(Box::new(f));
    }

    /// How many panics were caught, where [`EventLoop::catch_panics`](crate::EventLoop::catch_panics) is on.
    pub fn caught_panics(&self) -> u64 {
        self.caught_panics
    }

    fn set_referenced(&mut self, id: AlarmId, is_referenced: bool) {
        match id {
            AlarmId::Timer(id) => self.timers.set_referenced(id, is_referenced),
            AlarmId::Immediate(id) => self.immediates.set_referenced(id, is_referenced),
        }
    }

    /// As [`set_timeout`](Self::set_timeout), for a closure of this crate: it is no callback of the program, so it is
    /// not counted, recorded or held by a gate.
    pub(crate) fn set_internal_timeout(&mut self, delay: Duration, f: impl FnOnce(&mut Loop) + 'static) -> TimerId {
        self.start_timer(delay, TimerCall::InternalOnce(Box::new(f)))
    }

    /// As [`set_interval`](Self::set_interval), for a closure of this crate.
    pub(crate) fn set_internal_interval(&mut self, period: Duration, f: impl FnMut(&mut Loop) + 'static) -> TimerId {
        self.start_timer(period, TimerCall::InternalEvery(Box::new(f)))
    }

    fn start_timer(&mut self, delay: Duration, call: TimerCall) -> TimerId {
        self.update_now();
        let delay = delay_ms(delay);
        let cause = self.note(Kind::Armed, 0, delay as usize);
        self.timers.insert(self.now_ms, delay, TimerPayload { call, cause })
    }

    /// Starts a timer of a socket or server: unreferenced, so it does not keep the loop alive. A limit over 2^31 − 1 ms
    /// is that long.
    pub(crate) fn start_net_timer(&mut self, limit: Duration, timer: NetTimer) -> TimerId {
        let id = self.start_timer(Duration::from_millis(limit_ms(limit).into()), TimerCall::Net(timer));
        self.timers.set_referenced(id, false);
        id
    }

    /// Something happened on a socket: its idle limit, or its write timeout, starts anew. From now, not from the loop's last
    /// look at the clock: a callback may have taken longer than the limit since.
    #[inline]
    pub(crate) fn restart_timer(&mut self, id: TimerId) {
        self.refresh(id);
    }

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
