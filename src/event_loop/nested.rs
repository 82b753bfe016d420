//! Nested loops: one loop waits for the descriptor of another one, and turns it when the descriptor is readable.
//!
//! ```text
//!   outer poll ── waits for ──▶ descriptor of the inner poll ── readable when ──▶ a socket of the inner loop is ready
//! ```
//!
//! The program that waits needs two things from the inner loop: its descriptor, and how long it need not be turned. A
//! gate (`gate.rs`) serves an inner loop in the wait of another one; any program with a poll of its own can do the
//! same.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::EventLoop;

impl EventLoop {
    /// How long the loop need not be turned if its descriptor does not become readable before. Zero: turn it now.
    /// `None`: no limit, it waits for its descriptor only.
    ///
    /// For a program that waits for the loop by its [descriptor](#impl-AsRawFd-for-EventLoop) and turns it with
    /// [`turn`](Self::turn). The result is zero after a turn that had events: a descriptor that is watched
    /// edge-triggered is reported once per change, and the loop may not have taken all events. It is also zero while a
    /// tick, an immediate, a shutdown, a close, gathered bytes or an entry of the ready list wait. Otherwise it is the
    /// time until the first timer; with a [`ManualClock`](crate::ManualClock) that is a time of that clock.
    #[doc(alias = "uv_backend_timeout")]
    pub fn next_wait(&self) -> Option<Duration> {
        let lp = &self.lp;
        if self.had_events || lp.has_work() || !lp.ticks.is_empty() || lp.net.has_unsent() {
            return Some(Duration::ZERO);
        }
        lp.until_timer_at(lp.clock.elapsed())
    }
}

/// The descriptor of the loop's poll. It is readable when the loop has events; then [`EventLoop::turn`] serves them. It
/// must not be closed, and nothing may be registered with it
/// ([libuv: `uv_backend_fd`](https://docs.libuv.org/en/v1.x/loop.html#c.uv_backend_fd)).
///
/// There is no `AsFd`: mio's poll has none, and without it a `BorrowedFd` takes `unsafe`.
impl AsRawFd for EventLoop {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}
