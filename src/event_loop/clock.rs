//! The loop's clock: real time, or time that a test drives.
//!
//! The loop reads its clock before and after it waits for the kernel, before it runs timers, and when a timer is made.
//! It works with that time until the next reading. The clock is monotonic, so setting the wall clock has no effect.

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
    origin: Instant,
    manual: Option<ManualClock>,
}

impl Clock {
    pub fn new(manual: Option<ManualClock>) -> Self {
        Clock { origin: Instant::now(), manual }
    }

    pub fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// Time since the loop was made.
    pub fn elapsed(&self) -> Duration {
        match &self.manual {
            Some(manual) => manual.elapsed.get(),
            None => self.origin.elapsed(),
        }
    }

    pub fn origin(&self) -> Instant {
        self.origin
    }
}
