//! The clock of a loop: the system's monotonic one, or one that a test drives by hand.
//!
//! The loop reads its clock when time has passed or matters (around the wait for the kernel, before the timers phase,
//! when a timer is made) and uses that value until the next reading. Changes of the wall clock have no effect.
//!
//! The clock can stand still: while a gate (`gate.rs`) holds the loop, no time passes for it.
//!
//! ```text
//!   real time    0 ──────── 100 ms ──── held for 2 s ──── 2100 ms ──── 2150 ms
//!   the loop's   0 ──────── 100 ms ────────────────────── 100 ms ───── 150 ms
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A clock that stands still until the program advances it. With it, a test of minutes of heartbeats takes
/// microseconds.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use bucle::{EventLoop, ManualClock};
///
/// let clock = ManualClock::new();
/// let mut event_loop = EventLoop::with_clock(clock.clone())?;
/// let fired = Rc::new(Cell::new(false));
/// let seen = fired.clone();
/// event_loop.enter(|lp| { lp.set_timeout(Duration::from_secs(3600), move |_| seen.set(true)); });
///
/// event_loop.turn(Some(Duration::ZERO))?;
/// assert!(!fired.get());
/// clock.advance(Duration::from_secs(3600));
/// event_loop.turn(Some(Duration::ZERO))?;
/// assert!(fired.get());
/// # Ok::<(), bucle::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    elapsed: Rc<Cell<Duration>>,
}

impl ManualClock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Advances the clock by `by`. The loop sees the new time in its next turn.
    pub fn advance(&self, by: Duration) {
        self.elapsed.set(self.elapsed.get() + by);
    }
}

/// The clock of a loop.
#[derive(Debug)]
pub(crate) struct Clock {
    /// When the loop was made.
    origin: Instant,
    /// `origin` plus the time for which the clock has stood still.
    base: Instant,
    manual: Option<ManualClock>,
}

impl Clock {
    pub fn new(manual: Option<ManualClock>) -> Self {
        let origin = Instant::now();
        Clock { origin, base: origin, manual }
    }

    pub fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// Time since the loop was made, without the time that the clock has stood still.
    pub fn elapsed(&self) -> Duration {
        match &self.manual {
            Some(manual) => manual.elapsed.get().saturating_sub(self.base - self.origin),
            None => self.base.elapsed(),
        }
    }

    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// Sets the clock back to `elapsed`, as if the time since then had not passed.
    #[cfg(feature = "trace")]
    pub fn turn_back_to(&mut self, elapsed: Duration) {
        self.base += self.elapsed().saturating_sub(elapsed);
    }
}

#[cfg(all(test, feature = "trace"))]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_turned_back_goes_on_from_there() {
        let manual = ManualClock::new();
        let mut clock = Clock::new(Some(manual.clone()));
        for seconds in 1..=3 {
            manual.advance(Duration::from_secs(1));
            let start = clock.elapsed();
            manual.advance(Duration::from_secs(100));
            clock.turn_back_to(start);
            assert_eq!(clock.elapsed(), Duration::from_secs(seconds));
        }
        assert_eq!(clock.base - clock.origin, Duration::from_secs(300));
    }

    #[test]
    fn the_systems_clock_is_turned_back_too() {
        let mut clock = Clock::new(None);
        let start = clock.elapsed();
        let mut end = start;
        while end == start {
            end = clock.elapsed();
        }
        clock.turn_back_to(start);
        assert!(clock.base - clock.origin >= end - start);
    }
}
