//! Prepare callbacks: observers get control before every turn.
//!
//! ```text
//!   prepare ─▶ (ticks and writes of the observers) ─▶ pending ─▶ poll ─▶ check ─▶ close ─▶ timers ─▶ prepare ─▶ …
//! ```
//!
//! libuv calls its prepare handles directly before the poll. Here they come before the pending phase, so that an
//! `end` or a write of an observer is carried out in the same turn, before the loop waits.

use std::time::Duration;

use super::Loop;

/// Names a prepare callback; from [`Loop::on_prepare`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PrepareId(u64);

type PrepareCallback = Box<dyn FnMut(&mut Loop) -> Option<Duration>>;

/// The prepare callbacks in the order in which they were added, which is that of their ids.
#[derive(Default)]
pub(super) struct Prepares {
    list: Vec<Prepare>,
    /// The id of the next one. Ids are not used again.
    next: u64,
}

struct Prepare {
    id: PrepareId,
    /// Taken out while it runs.
    callback: Option<PrepareCallback>,
}

impl Prepares {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn add(&mut self, callback: PrepareCallback) -> PrepareId {
        let id = PrepareId(self.next);
        self.next += 1;
        self.list.push(Prepare { id, callback: Some(callback) });
        id
    }

    fn place(&self, id: PrepareId) -> Option<usize> {
        self.list.binary_search_by_key(&id, |prepare| prepare.id).ok()
    }

    fn remove(&mut self, id: PrepareId) -> bool {
        self.place(id).map(|place| self.list.remove(place)).is_some()
    }

    /// Takes out the first callback with an id in `from..end`. A callback whose panic was not caught is still out, and
    /// is skipped.
    fn take_next(&mut self, from: u64, end: u64) -> Option<(PrepareId, PrepareCallback)> {
        let mut waiting = self.list.iter_mut().filter(|prepare| (from..end).contains(&prepare.id.0));
        waiting.find_map(|prepare| Some((prepare.id, prepare.callback.take()?)))
    }

    /// Puts a callback back after its call, unless it was removed meanwhile.
    fn put_back(&mut self, id: PrepareId, callback: PrepareCallback) {
        if let Some(place) = self.place(id) {
            self.list[place].callback = Some(callback);
        }
    }
}

impl Loop {
    /// Has `f` called before every turn of the loop, with the loop lent, until
    /// [`remove_prepare`](Self::remove_prepare). It returns how long that turn may wait for the kernel at most;
    /// `None` sets no limit. The smallest limit of all prepare callbacks counts.
    ///
    /// For observers: programs that read the trace (`Loop::start_trace`), count, or draw. A prepare callback does not
    /// keep the loop alive. It does not count as a callback of the program: it is neither counted nor recorded, and a
    /// gate does not hold the loop before it. Ticks that it queues are run, and bytes that it writes are sent, before
    /// the turn begins. A prepare callback that another one adds is called from the next turn on. One that panics is
    /// not called again, where [panics are caught](crate::EventLoop::catch_panics) ([libuv:
    /// `uv_prepare_t`](https://docs.libuv.org/en/v1.x/prepare.html)).
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let turns = Rc::new(Cell::new(0));
    /// let seen = turns.clone();
    /// bucle::run(|lp| {
    ///     lp.on_prepare(move |_| {
    ///         seen.set(seen.get() + 1);
    ///         None
    ///     });
    ///     lp.set_immediate(|lp| {
    ///         lp.set_immediate(|_| {});
    ///     });
    ///     Ok(())
    /// })?;
    /// assert_eq!(turns.get(), 2);
    /// # Ok::<(), bucle::Error>(())
    /// ```
    #[doc(alias = "uv_prepare_start")]
    pub fn on_prepare(&mut self, f: impl FnMut(&mut Loop) -> Option<Duration> + 'static) -> PrepareId {
        self.prepares.add(Box::new(f))
    }

    /// Removes a prepare callback; from inside its own call too. `false` if it is gone already.
    #[doc(alias = "uv_prepare_stop")]
    pub fn remove_prepare(&mut self, id: PrepareId) -> bool {
        self.prepares.remove(id)
    }

    /// Calls the prepare callbacks before a turn that may wait as long as `max_wait`. Returns how long it may wait now.
    #[inline]
    pub(super) fn prepare(&mut self, max_wait: Option<Duration>) -> Option<Duration> {
        if self.prepares.is_empty() {
            return max_wait;
        }
        self.run_prepares(max_wait)
    }

    #[cold]
    #[inline(never)]
    fn run_prepares(&mut self, mut max_wait: Option<Duration>) -> Option<Duration> {
        // Callbacks that are added meanwhile have ids from `end` on.
        let (mut from, end) = (0, self.prepares.next);
        // A callback may add and remove others, so the next one is looked up by its id.
        while let Some((id, mut callback)) = self.prepares.take_next(from, end) {
            from = id.0 + 1;
            let limit = if self.catches_panics {
                let limit = self.call_caught(|lp| callback(lp));
                if limit.is_none() {
                    self.prepares.remove(id);
                }
                limit.flatten()
            } else {
                callback(self)
            };
            self.prepares.put_back(id, callback);
            max_wait = shorter(max_wait, limit);
        }
        // Ticks and writes of the callbacks: before the turn, which may sleep.
        self.catch_up();
        max_wait
    }
}

/// The shorter of two waits; `None` has no limit.
pub(super) fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
