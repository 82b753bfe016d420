//! Ticks, microtasks and immediates: callbacks that wait for nothing but their turn.
//!
//! ```text
//!   callback returns ──▶ boundary ─┬▶ all ticks ──▶ all microtasks ──▶ new ticks? ── no ──▶ next callback
//!                                  └──────────────── yes ◀──────────────────┘
//!   check phase:  the immediates that were there when it began
//! ```
//!
//! Ticks that keep adding ticks starve everything else, timers and sockets included. Node specifies that for
//! [`process.nextTick`](https://nodejs.org/docs/latest-v20.x/api/process.html#processnexttickcallback-args). Immediates
//! do not starve anything: an immediate that is added by an immediate waits for the next turn.
//!
//! The queues have no limit: it is the program that fills them.

use std::collections::VecDeque;

use super::{Callback, Cause, Kind, Loop};
use crate::net::NetTick;

/// One entry of the tick queue. Ticks of the program and of sockets share one queue, because their order against each
/// other is part of Node's behaviour.
pub(crate) enum Tick {
    User(Callback),
    Net(NetTick),
}

/// The queues that are emptied at each boundary.
#[derive(Default)]
pub(crate) struct Ticks {
    pub ticks: VecDeque<(Tick, Cause)>,
    pub microtasks: VecDeque<(Callback, Cause)>,
}

impl Ticks {
    pub fn is_empty(&self) -> bool {
        self.ticks.is_empty() && self.microtasks.is_empty()
    }
}

/// Names an immediate; from [`Loop::set_immediate`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ImmediateId(u64);

struct Immediate {
    callback: Option<Callback>,
    is_referenced: bool,
    cause: Cause,
}

/// The immediates in the order in which they were made.
///
/// They are numbered without gaps, so the index of an immediate is its number minus that of the first one in the queue.
/// Clearing is therefore O(1). A cleared immediate stays in the queue without its callback until it is popped.
#[derive(Default)]
pub(crate) struct Immediates {
    line: VecDeque<Immediate>,
    first: u64,
    referenced: usize,
}

impl Immediates {
    pub fn push(&mut self, callback: Callback, cause: Cause) -> ImmediateId {
        self.line.push_back(Immediate { callback: Some(callback), is_referenced: true, cause });
        self.referenced += 1;
        ImmediateId(self.first + self.line.len() as u64 - 1)
    }

    /// The number that the next immediate will have. A check phase runs the immediates before the one of its start.
    pub fn end(&self) -> u64 {
        self.first + self.line.len() as u64
    }

    /// Removes and returns the next immediate that was made before `end`. Cleared ones are skipped.
    pub fn pop_before(&mut self, end: u64) -> Option<(Callback, Cause)> {
        while self.first < end {
            let immediate = self.line.pop_front()?;
            self.first += 1;
            if let Some(callback) = immediate.callback {
                self.referenced -= usize::from(immediate.is_referenced);
                return Some((callback, immediate.cause));
            }
        }
        None
    }

    /// The number of immediates in the queue, with cleared ones.
    pub fn queued(&self) -> usize {
        self.line.len()
    }

    fn get(&mut self, id: ImmediateId) -> Option<&mut Immediate> {
        let place = id.0.checked_sub(self.first)?;
        self.line.get_mut(place as usize).filter(|immediate| immediate.callback.is_some())
    }

    pub fn clear(&mut self, id: ImmediateId) {
        let Some(immediate) = self.get(id) else { return };
        immediate.callback = None;
        let was_referenced = immediate.is_referenced;
        self.referenced -= usize::from(was_referenced);
    }

    pub fn set_referenced(&mut self, id: ImmediateId, is_referenced: bool) {
        let Some(immediate) = self.get(id) else { return };
        if immediate.is_referenced != is_referenced {
            immediate.is_referenced = is_referenced;
            self.referenced = if is_referenced { self.referenced + 1 } else { self.referenced - 1 };
        }
    }

    pub fn is_referenced(&self, id: ImmediateId) -> bool {
        let Some(place) = id.0.checked_sub(self.first) else { return false };
        self.line.get(place as usize).is_some_and(|immediate| immediate.callback.is_some() && immediate.is_referenced)
    }

    /// How many immediates wait, cleared ones not counted.
    #[cfg(feature = "trace")]
    pub fn len(&self) -> usize {
        self.line.iter().filter(|immediate| immediate.callback.is_some()).count()
    }

    /// How many immediates keep the loop alive.
    pub fn referenced(&self) -> usize {
        self.referenced
    }
}

impl Loop {
    /// Runs ticks and microtasks: all ticks, then all microtasks, and again until both queues are empty.
    ///
    /// The loop calls this after everything that it does on one occasion. It is the only function that runs the queues,
    /// and is never called while user code is on the stack.
    #[inline]
    pub(crate) fn boundary(&mut self) {
        if !self.ticks.is_empty() {
            self.drain_ticks();
        }
    }

    /// As [`tick`](Self::tick), but puts the tick in front of all others.
    pub(crate) fn first_net_tick(&mut self, tick: NetTick) {
        let cause = self.cause();
        self.ticks.ticks.push_front((Tick::Net(tick), cause));
    }

    fn drain_ticks(&mut self) {
        loop {
            while let Some((tick, cause)) = self.ticks.ticks.pop_front() {
                match tick {
                    Tick::User(callback) => {
                        log::trace!(target: "bucle::loop", "a tick runs");
                        self.call(Kind::Tick, cause, callback);
                    }
                    // The tick is work of the loop itself: its records get the cause for which it was queued.
                    Tick::Net(tick) => {
                        log::trace!(target: "bucle::loop", "a tick of a socket or server runs");
                        let outer = self.act_for(cause);
                        self.run_net_tick(tick);
                        self.act_for(outer);
                    }
                }
            }
            // A tick that a microtask adds waits until all microtasks have run, as in Node.
            while let Some((microtask, cause)) = self.ticks.microtasks.pop_front() {
                log::trace!(target: "bucle::loop", "a microtask runs");
                self.call(Kind::Microtask, cause, microtask);
            }
            if self.ticks.ticks.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignore() -> Callback {
        Box::new(|_| {})
    }

    #[test]
    fn a_cleared_immediate_is_skipped_and_keeps_nothing_alive() {
        let mut immediates = Immediates::default();
        let a = immediates.push(ignore(), Cause::default());
        let b = immediates.push(ignore(), Cause::default());
        let c = immediates.push(ignore(), Cause::default());
        immediates.clear(b);
        immediates.clear(b);
        assert_eq!(immediates.referenced(), 2);
        let end = immediates.end();
        let late = immediates.push(ignore(), Cause::default());
        assert!(immediates.pop_before(end).is_some());
        assert!(!immediates.is_referenced(a) && immediates.is_referenced(c));
        assert!(immediates.pop_before(end).is_some());
        assert!(immediates.pop_before(end).is_none(), "an immediate that was made later waits");
        assert!(immediates.is_referenced(late));
        immediates.set_referenced(late, false);
        immediates.set_referenced(late, false);
        assert_eq!(immediates.referenced(), 0);
    }
}
