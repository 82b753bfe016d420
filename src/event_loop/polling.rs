//! The poll phase: waits for the kernel, no longer than necessary, and serves each event that it reports.
//!
//! ```text
//!   wait: 0 if work needs no event of the kernel; else until the first timer; without timers: no limit
//!     │
//!     ▼
//!   epoll_wait ─▶ each event ─┬─ a socket: read, write
//!                             ├─ a listener: accept
//!                             └─ the waker: closures that other threads have posted
//!     ▼
//!   the ready list: sockets and listeners that were not finished in an earlier poll
//!     ▼
//!   the pending phase, up to 8 rounds
//! ```
//!
//! One poll takes at most 1,024 events, and a socket gets at most 32 full reads, so a busy socket cannot keep the loop
//! in this phase.
//!
//! A loop that is observed waits in another function, which does the same and also serves the gate: `wait_observed` in
//! `gate.rs`.

use std::io;
use std::time::{Duration, Instant};

use super::lent::whole_ms;
use super::remote::Posted;
use super::token::{self, TokenKind};
use super::{EventLoop, Kind, Loop, PENDING_ROUNDS, Phase, Readiness};
use crate::{Error, Result};

impl EventLoop {
    /// Poll phase: waits for the kernel and serves the events that it reports. Returns their number.
    pub(super) fn poll_for_io(&mut self, max_wait: Option<Duration>) -> Result<usize> {
        let phase = self.lp.begin_phase(Phase::Poll);
        let gate_events = self.wait(max_wait)?;
        let lp = &mut self.lp;
        log::trace!(
            target: "bucle::loop",
            "poll: {} ready, turn {}",
            self.events.iter().count() - gate_events,
            lp.counters.turns
        );
        // Only what is on the ready list now is served in this poll: sockets that are put on it meanwhile wait for the
        // next one.
        let ready = lp.net.begin_poll();
        let mut events = 0;
        #[cfg(any(test, fuzzing))]
        for (token, readiness) in lp.simulated_events() {
            events += 1;
            lp.dispatch(token, readiness, &mut self.read_buf);
        }
        for event in &self.events {
            events += 1;
            lp.counters.events_served = events;
            lp.dispatch(event.token(), Readiness::of(event), &mut self.read_buf);
        }
        events -= gate_events;
        lp.counters.events += events as u64;
        // After the events: a socket on the list that an event has read already is passed over.
        lp.serve_ready(ready, &mut self.read_buf);
        lp.end_phase(phase);
        // As in libuv: shutdowns that callbacks of this phase have queued are carried out before the check phase.
        for _ in 0..PENDING_ROUNDS {
            if !lp.net.has_pending() {
                break;
            }
            lp.run_pending();
        }
        Ok(events)
    }

    /// Waits for the kernel. Returns how many of the events belong to the gate and not to this loop.
    #[inline]
    fn wait(&mut self, max_wait: Option<Duration>) -> Result<usize> {
        #[cfg(feature = "trace")]
        if self.lp.observed.is_some() {
            return self.wait_observed(max_wait);
        }
        let wait = self.lp.poll_wait(max_wait);
        let before = self.lp.now;
        self.poll_once(wait)?;
        self.lp.count_wait(wait, before);
        Ok(0)
    }

    // `inline(always)` on this and two functions below saves about 60 instructions a turn: each has another, rare
    // caller, and without it the compiler would not inline them here either.
    #[inline(always)]
    pub(super) fn poll_once(&mut self, wait: Option<Duration>) -> Result<()> {
        let polled = if wait != Some(Duration::ZERO) && !self.spin.is_zero() {
            self.spin_then_sleep(wait)
        } else {
            self.poll.poll(&mut self.events, wait)
        };
        match polled {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                // A signal. The events are those of an earlier poll.
                self.events.clear();
                Ok(())
            }
            Err(error) => Err(Error::system("poll", &error)),
        }
    }

    /// A poll that may sleep, but polls repeatedly without sleeping first: see [`spin`](Self::spin).
    fn spin_then_sleep(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let start = Instant::now();
        let spin = wait.map_or(self.spin, |wait| wait.min(self.spin));
        loop {
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            let spent = start.elapsed();
            if !self.events.is_empty() {
                return Ok(());
            }
            if spent >= spin {
                return self.poll.poll(&mut self.events, wait.map(|wait| wait.saturating_sub(spent)));
            }
        }
    }
}

impl Loop {
    /// How long the poll may wait: zero if there is work, else until the first timer, and at most `max_wait`. Reads the
    /// clock if the wait may not be zero.
    #[inline(always)]
    pub(super) fn poll_wait(&mut self, max_wait: Option<Duration>) -> Option<Duration> {
        if max_wait == Some(Duration::ZERO) || self.is_stopping || self.has_work() || !self.is_alive() {
            return Some(Duration::ZERO);
        }
        let Some(until_timer) = self.until_timer() else { return max_wait };
        // The time of a manual clock does not pass during a sleep.
        let until_timer = if self.clock.is_manual() { Duration::ZERO } else { until_timer };
        Some(max_wait.map_or(until_timer, |max_wait| max_wait.min(until_timer)))
    }

    /// Whether a phase has work that needs no event of the kernel.
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        self.immediates.referenced() > 0 || self.net.has_pending() || self.net.has_closing() || self.net.has_ready()
    }

    /// Counts a wait that is over. It began at `before` and was allowed to last for `wait`.
    #[inline(always)]
    pub(super) fn count_wait(&mut self, wait: Option<Duration>, before: Duration) {
        self.update_now();
        // A poll that may not sleep counts as active time. If it may sleep, `poll_wait` has read the clock just before,
        // so `before` is the beginning of the wait.
        let may_sleep = wait != Some(Duration::ZERO);
        self.count_turn(if may_sleep { self.now - before } else { Duration::ZERO });
    }

    /// The time until the first timer. Reads the clock, because callbacks have taken time since the last reading.
    fn until_timer(&mut self) -> Option<Duration> {
        self.update_now();
        self.until_timer_at(self.now)
    }

    /// The time from `now` until the first timer; zero if it is due.
    #[inline]
    pub(super) fn until_timer_at(&self, now: Duration) -> Option<Duration> {
        let expiry = self.timers.next_expiry()?;
        Some(Duration::from_millis((expiry - whole_ms(now)).max(0) as u64))
    }

    /// Serves one event of the kernel. An event of a socket that is gone has no effect: its key names nothing.
    #[inline]
    fn dispatch(&mut self, token: mio::Token, readiness: Readiness, read_buf: &mut [u8]) {
        let (kind, key) = token::open(token);
        match kind {
            TokenKind::Socket => self.serve_socket(key, readiness, read_buf),
            TokenKind::Server => self.serve_listener(key),
            #[cfg(feature = "process")]
            TokenKind::Source => self.serve_source(key),
            TokenKind::Waker if token == token::WAKER => self.run_posted(),
            // The gate's event was served in the wait.
            TokenKind::Waker => {
                #[cfg(feature = "trace")]
                self.pass_gate_event();
            }
        }
    }

    /// Runs the closures that other threads have posted, a boundary after each.
    fn run_posted(&mut self) {
        let posted = self.remote.take_posted();
        self.counters.posted_left = posted.len();
        for posted in posted {
            self.counters.posted_left -= 1;
            match posted {
                Posted::Program(f) => drop(self.call(Kind::Posted, self.cause(), f)),
                // A closure of this crate, such as the result of a lookup. It is no callback itself, but may call some.
                Posted::Internal(f) => f(self),
            }
            self.boundary();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn a_slow_timer_does_not_make_the_next_one_later_than_it_must() {
        let ms = Duration::from_millis;
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let slow = clock.clone();
        event_loop.enter(|lp| {
            lp.set_timeout(ms(10), move |_| slow.advance(ms(100)));
            lp.set_timeout(ms(150), |_| {});
        });
        clock.advance(ms(10));
        event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        assert_eq!(event_loop.lp.until_timer(), Some(ms(40)), "counted from the end of the slow one");
        clock.advance(ms(41));
        assert_eq!(event_loop.lp.until_timer(), Some(Duration::ZERO), "it is due");
    }
}
