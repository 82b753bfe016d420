//! How other threads reach the loop.
//!
//! A loop and everything in it belong to one thread. Another thread (a database client, a name lookup) gets a
//! [`Remote`] and posts closures through it. A post wakes the poll, which runs the closures, with a callback boundary
//! after each:
//!
//! ```text
//!   helper thread                        loop thread
//!   remote.post(|lp| …) ──▶ queue ──▶ poll wakes ──▶ |lp| … ──▶ ticks
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, mem};

use super::Loop;

type Closure = Box<dyn FnOnce(&mut Loop) + Send>;

/// A closure that waits to be run on the loop.
pub(super) enum Posted {
    /// A callback of the program.
    Program(Closure),
    /// This crate's own, such as the result of a lookup.
    Internal(Closure),
}

/// What all remotes of a loop share.
struct RemoteState {
    /// `None` when the loop is gone.
    queue: Mutex<Option<Vec<Posted>>>,
    /// How many [`KeepAlive`] guards there are, plus how many posted closures have not been run.
    holds: AtomicUsize,
    waker: mio::Waker,
}

/// A handle to the loop for other threads; from [`Loop::remote`]. Cheap to clone.
///
/// A closure that is posted while the loop runs is called before the loop ends. A remote alone does not keep the loop
/// alive: a closure that is posted after the loop ended waits until the loop is run again, and is dropped with the
/// loop. Take a [`hold`](Remote::hold) while the loop waits for a result from another thread.
#[derive(Clone)]
pub struct Remote {
    state: Arc<RemoteState>,
}

/// Keeps the loop alive until it is dropped, on any thread; from [`Remote::hold`].
#[must_use = "the loop is kept alive only as long as this lives"]
pub struct KeepAlive {
    remote: Remote,
}

impl Remote {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        let state = RemoteState { queue: Mutex::new(Some(Vec::new())), holds: AtomicUsize::new(0), waker };
        Remote { state: Arc::new(state) }
    }

    /// Queues `f`. The loop calls it in its poll phase, after the closures that were posted before.
    ///
    /// This never waits, and the queue has no limit. A thread that may be faster than the loop should wait for a reply
    /// from time to time.
    ///
    /// Returns `false`, and drops `f`, if the loop is gone.
    pub fn post(&self, f: impl FnOnce(&mut Loop) + Send + 'static) -> bool {
        self.push(Posted::Program(Box::new(f)))
    }

    /// As [`post`](Self::post), for a closure of this crate: it is no callback of the program, so it is not counted,
    /// recorded or held by a gate. Callbacks that it makes are.
    pub(crate) fn post_internal(&self, f: impl FnOnce(&mut Loop) + Send + 'static) -> bool {
        self.push(Posted::Internal(Box::new(f)))
    }

    fn push(&self, posted: Posted) -> bool {
        let is_first = {
            let mut queue = self.lock();
            let Some(queue) = queue.as_mut() else { return false };
            queue.push(posted);
            self.state.holds.fetch_add(1, Ordering::AcqRel);
            queue.len() == 1
        };
        // If the queue was not empty, the post before this one has already woken the loop.
        if is_first {
            self.wake();
        }
        true
    }

    /// Whether the loop is gone. The closures that it had not called are gone too.
    pub fn is_closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Drops what was posted, when the loop is dropped. A posted closure may own a remote, and so would keep itself
    /// alive.
    pub(crate) fn close(&self) {
        let posted = self.lock().take();
        drop(posted);
    }

    /// Keeps the loop alive until the guard is dropped.
    pub fn hold(&self) -> KeepAlive {
        self.state.holds.fetch_add(1, Ordering::AcqRel);
        KeepAlive { remote: self.clone() }
    }

    /// Whether a guard exists or a closure waits to be called.
    pub(crate) fn is_held(&self) -> bool {
        self.state.holds.load(Ordering::Acquire) > 0
    }

    /// Takes the closures that have been posted since the last call.
    pub(super) fn take_posted(&self) -> Vec<Posted> {
        let posted = self.lock().as_mut().map(mem::take).unwrap_or_default();
        self.state.holds.fetch_sub(posted.len(), Ordering::AcqRel);
        posted
    }

    /// How many closures wait to be called.
    #[cfg(feature = "trace")]
    pub(super) fn posted(&self) -> usize {
        self.lock().as_ref().map_or(0, Vec::len)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Posted>>> {
        // A poisoned queue is still valid: only an allocation can panic while the lock is held.
        self.state.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Err(error) = self.state.waker.wake() {
            log::error!(target: "bucle::loop", "cannot wake the loop: {error}");
        }
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        // The last guard is gone: wake the loop, which may have no reason left to wait.
        if self.remote.state.holds.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.remote.wake();
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAlive").finish_non_exhaustive()
    }
}
