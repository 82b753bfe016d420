//! The poll phase: waiting for the kernel, and no longer than need be; then everybody has what it reports for them.
//!
//! ```text
//!   how long?   0: something waits that needs no kernel        until the first timer        for ever
//!      │
//!   epoll_wait ─▶ events ─▶ socket: read, write      listener: accept      waker: what threads have posted
//!                             │
//!                 leftovers of the turn before (the ready list), pending up to 8 rounds
//! ```

use std::io;
use std::time::{Duration, Instant};

use super::token::{self, TokenKind};
use super::{EventLoop, Kind, Loop, PENDING_ROUNDS, Phase, Readiness};
use crate::{Error, Result};

impl EventLoop {
    /// Poll phase: waits for the kernel, and runs what it reports.
    pub(super) fn poll_for_io(&mut self, max_wait: Option<Duration>) -> Result<usize> {
        let phase = self.lp.begin_phase(Phase::Poll);
        let wait = self.lp.poll_wait(max_wait);
        let waiting = self.lp.begin(self.lp.cause(), Kind::Wait, 0, 0);
        let may_sleep = wait != Some(Duration::ZERO);
        let before = self.lp.now;
        let polled = if may_sleep && !self.spin.is_zero() {
            self.spin_then_sleep(wait)
        } else {
            self.poll.poll(&mut self.events, wait)
        };
        match polled {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(error) => return Err(Error::system("poll", &error)),
        }
        let lp = &mut self.lp;
        lp.update_now();
        lp.count_turn(if may_sleep { lp.now - before } else { Duration::ZERO });
        lp.measured(&waiting, || self.events.iter().count());
        lp.end(waiting);
        log::trace!(target: "bucle::loop", "poll: {} ready", self.events.iter().count());
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

    /// As a poll that may sleep, but it is put off: see [`spin`](Self::spin).
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
    /// may, the loop looks at the clock.
    fn poll_wait(&mut self, max_wait: Option<Duration>) -> Option<Duration> {
        let is_busy = max_wait == Some(Duration::ZERO)
            || self.is_stopping
            || self.immediates.referenced() > 0
            || self.net.has_pending()
            || self.net.has_closing()
            || self.net.has_ready()
            || !self.is_alive();
        if is_busy {
            return Some(Duration::ZERO);
        }
        let Some(until_timer) = self.until_timer() else { return max_wait };
        let until_timer = if self.clock.is_manual() { Duration::ZERO } else { until_timer };
        Some(max_wait.map_or(until_timer, |max_wait| max_wait.min(until_timer)))
    }

    /// How long it is until the first timer, from now: callbacks have taken their time since the last look at the clock.
    fn until_timer(&mut self) -> Option<Duration> {
        self.update_now();
        let expiry = self.timers.next_expiry()?;
        Some(Duration::from_millis((expiry - self.now_ms).max(0) as u64))
    }

    /// One event of the kernel, to the one it is for. An event for somebody who is gone finds nobody.
    #[inline]
    fn dispatch(&mut self, token: mio::Token, readiness: Readiness, read_buf: &mut [u8]) {
        let (kind, key) = token::open(token);
        match kind {
            TokenKind::Socket => self.serve_socket(key, readiness, read_buf),
            TokenKind::Server => self.serve_listener(key),
            #[cfg(feature = "process")]
            TokenKind::Source => self.serve_source(key),
            TokenKind::Waker => self.run_posted(),
        }
    }

    /// What other threads have posted, a boundary after each.
    fn run_posted(&mut self) {
        for posted in self.remote.take_posted() {
            self.call(Kind::Posted, self.cause(), posted);
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
