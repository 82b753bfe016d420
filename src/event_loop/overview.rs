//! The state of a loop at one moment, for observers: the lengths of its queues, the slow callbacks, the times of its
//! turns.
//!
//! ```text
//!   ticks ─┐
//!   microtasks, immediates, timers, posted ─┼─▶ Loop::queues ─▶ Queues
//!   pending, closing, ready, unsent, events ┘
//! ```
//!
//! The phases take some lists out of the loop while they work on them. Such a list is counted by a counter that the
//! phase keeps, so a loop that a gate holds in the middle of a phase shows what is left of the list.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Histogram, Kind, Loop, Record};

/// How many slow callbacks are kept.
const SLOW_KEPT: usize = 16;

/// Measurements that are made only while the loop is observed.
#[derive(Default)]
pub(super) struct Overview {
    turn_times: Histogram,
    slow: VecDeque<SlowCallback>,
    /// How many events the last wait has reported.
    events: usize,
}

/// How many entries each queue of a loop has; from [`Loop::queues`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Queues {
    /// Ticks, of the program and of sockets.
    pub ticks: usize,
    /// Microtasks.
    pub microtasks: usize,
    /// Immediates.
    pub immediates: usize,
    /// Timers, those of sockets included.
    pub timers: usize,
    /// Shutdowns and failed connects that wait for the pending phase.
    pub pending: usize,
    /// Sockets whose `on_close` is still to come.
    pub closing: usize,
    /// Sockets and servers that the next poll serves without an event of the kernel.
    pub ready: usize,
    /// Sockets with gathered bytes, which the end of the phase sends.
    pub unsent: usize,
    /// Events of the last wait that have not been served yet.
    pub events: usize,
    /// Closures of other threads that have not been called yet.
    pub posted: usize,
    /// The time until the first timer; zero if it is due. `None` without timers.
    pub next_timer: Option<Duration>,
}

/// A callback that took longer than the limit of [`Loop::warn_of_slow_callbacks`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SlowCallback {
    /// When it began, since the loop was made.
    pub start: Duration,
    /// The kind of callback.
    pub kind: Kind,
    /// The serial of the socket or server that it was about, or 0.
    pub subject: u32,
    /// How long it took.
    pub took: Duration,
    /// How many timers were due when it ended.
    pub late_timers: usize,
    /// How late the first of them was then.
    pub late_by: Duration,
}

impl Loop {
    /// The lengths of the queues at this moment.
    ///
    /// ```
    /// bucle::run(|lp| {
    ///     lp.set_immediate(|_| {});
    ///     lp.next_tick(|_| {});
    ///     assert_eq!((lp.queues().immediates, lp.queues().ticks), (1, 1));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), bucle::Error>(())
    /// ```
    pub fn queues(&self) -> Queues {
        let net = self.net.queue_lengths();
        let reported = self.observed.as_ref().map_or(0, |observed| observed.overview.events);
        Queues {
            ticks: self.ticks.ticks.len(),
            microtasks: self.ticks.microtasks.len(),
            immediates: self.immediates.len(),
            timers: self.timers.len(),
            pending: net.pending,
            closing: net.closing,
            ready: net.ready,
            unsent: net.unsent,
            events: reported.saturating_sub(self.counters.events_served),
            posted: self.counters.posted_left + self.remote.posted(),
            next_timer: self.until_timer_at(self.clock.elapsed()),
        }
    }

    /// The last slow callbacks, oldest first; at most 16. Empty while nothing is recorded; see
    /// [`start_trace`](Self::start_trace).
    pub fn slow_callbacks(&self) -> impl Iterator<Item = &SlowCallback> {
        self.observed.iter().flat_map(|observed| &observed.overview.slow)
    }

    /// How long turns took, from the end of one wait to the beginning of the next, since the loop is observed: by a
    /// ring of records or by a gate. An event that arrives meanwhile waits for up to this time. `None` if nothing
    /// observes the loop.
    pub fn turn_times(&self) -> Option<&Histogram> {
        self.observed.as_ref().map(|observed| &observed.overview.turn_times)
    }

    /// Measures a turn, before its next wait.
    pub(super) fn count_turn_time(&mut self) {
        let took = self.clock.elapsed().saturating_sub(self.counters.polled_at);
        if let Some(observed) = &mut self.observed {
            observed.overview.turn_times.record(took);
        }
    }

    /// The gate's event is passed over. It was counted as served, so it is added to those that were reported.
    pub(super) fn pass_gate_event(&mut self) {
        if let Some(observed) = &mut self.observed {
            observed.overview.events += 1;
        }
    }

    /// A wait has reported this many events, without the gate's.
    pub(super) fn begin_events(&mut self, reported: usize) {
        self.counters.events_served = 0;
        if let Some(observed) = &mut self.observed {
            observed.overview.events = reported;
        }
    }

    /// Keeps a slow callback. `late`: how many timers were due at its end, and by how much.
    pub(super) fn note_slow(&mut self, record: &Record, took: Duration, late: Option<(usize, Duration)>) {
        let Some(observed) = &mut self.observed else { return };
        let slow = &mut observed.overview.slow;
        if slow.len() == SLOW_KEPT {
            slow.pop_front();
        }
        let (late_timers, late_by) = late.unwrap_or_default();
        let start = Duration::from_nanos(record.start_ns);
        slow.push_back(SlowCallback { start, kind: record.kind, subject: record.subject, took, late_timers, late_by });
    }
}
