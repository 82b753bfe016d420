//! The poll phase: waits for the kernel, no longer than necessary; then serves each event that it reports.
//!
//! ```text
//!   how long?   0: something waits that needs no kernel     until the first timer     without a limit
//!      │
//!   epoll_wait ─▶ events ─▶ socket: read, write      listener: accept      waker: closures that threads have posted
//!                             │
//!                 leftovers of the turn before (the ready list), pending up to 8 rounds
//! ```
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
    /// Poll phase: waits for the kernel, and serves what it reports. Returns how many events that were.
    pub(super) fn poll_for_io(&mut self, max_wait: Option<Duration>) -> Result<usize> {
        let phase = self.lp.begin_phase(Phase::Poll);
        let gate_events = self.wait(max_wait)?;
        let lp = &mut self.lp;
        log::trace!(target: "bucle::loop", "poll: {} ready", self.events.iter().count() - gate_events);
        let ready = lp.net.begin_poll();
        let mut events = 0;
        #[cfg(any(test, fuzzing))]
        for (token, readiness) in lp.simulated_events() {
            events += 1;
            lp.dispatch(token, readiness, &mut self.read_buf);
        }
        for event in &self.events {
            events += 1;
            lp.dispatch(event.token(), Readiness::of(event), &mut self.read_buf);
        }
        events -= gate_events;
        lp.counters.events += events as u64;
        lp.serve_ready(ready, &mut self.read_buf);
        lp.end_phase(phase);
        for _ in 0..PENDING_ROUNDS {
            if !lp.net.has_pending() {
                break;
            }
            lp.run_pending();
        }
        Ok(events)
    }

    /// Waits for the kernel. Returns how many of the events are not this loop's but the gate's.
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

    // In the three functions below `always` saves some 60 instructions a turn: they have other callers, out of the
    // way, and would be calls here, too.
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
                self.events.clear();
                Ok(())
            }
            Err(error) => Err(Error::system("poll", &error)),
        }
    }

    /// As a poll that may sleep, but it polls again and again before it does: see [`spin`](Self::spin).
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
    /// How long the poll may wait: not at all when something is there to be done, else until the first timer. Where it
    /// may, the loop reads the clock.
    #[inline(always)]
    pub(super) fn poll_wait(&mut self, max_wait: Option<Duration>) -> Option<Duration> {
        if max_wait == Some(Duration::ZERO) || self.is_stopping || self.has_work() || !self.is_alive() {
            return Some(Duration::ZERO);
        }
        let Some(until_timer) = self.until_timer() else { return max_wait };
        let until_timer = if self.clock.is_manual() { Duration::ZERO } else { until_timer };
        Some(max_wait.map_or(until_timer, |max_wait| max_wait.min(until_timer)))
    }

    /// Whether a phase has something to do that needs no event of the kernel.
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        self.immediates.referenced() > 0 || self.net.has_pending() || self.net.has_closing() || self.net.has_ready()
    }

    /// The wait is over, which began at `before` and was allowed to last for `wait`.
    #[inline(always)]
    pub(super) fn count_wait(&mut self, wait: Option<Duration>, before: Duration) {
        self.update_now();
        // A poll that may not sleep is work. `before` is the beginning of a poll that may: the clock was read for it.
        let may_sleep = wait != Some(Duration::ZERO);
        self.count_turn(if may_sleep { self.now - before } else { Duration::ZERO });
    }

    /// How long it is until the first timer, from now: callbacks have taken their time since the last reading of the
    /// clock.
    fn until_timer(&mut self) -> Option<Duration> {
        self.update_now();
        self.until_timer_at(self.now)
    }

    /// How long it is until the first timer at the time `now`.
    #[inline]
    pub(super) fn until_timer_at(&self, now: Duration) -> Option<Duration> {
        let expiry = self.timers.next_expiry()?;
        Some(Duration::from_millis((expiry - whole_ms(now)).max(0) as u64))
    }

    /// Serves one event of the kernel. An event for a socket that is gone finds nothing.
    #[inline]
    fn dispatch(&mut self, token: mio::Token, readiness: Readiness, read_buf: &mut [u8]) {
        let (kind, key) = token::open(token);
        match kind {
            TokenKind::Socket => self.serve_socket(key, readiness, read_buf),
            TokenKind::Server => self.serve_listener(key),
            #[cfg(feature = "process")]
            TokenKind::Source => self.serve_source(key),
            TokenKind::Waker if token == token::WAKER => self.run_posted(),
            // The gate was served in the wait.
            TokenKind::Waker => {}
        }
    }

    /// Runs the closures that other threads have posted, a boundary after each.
    fn run_posted(&mut self) {
        for posted in self.remote.take_posted() {
            match posted {
                Posted::Program(f) => drop(self.call(Kind::Posted, self.cause(), f)),
                // It calls the program itself, if need be.
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
