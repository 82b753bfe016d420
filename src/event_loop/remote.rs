//! The one door for other threads.
//!
//! A loop belongs to one thread, and so does everything in it. Another thread (a database client, a name lookup) gets a
//! [`Remote`] and posts closures through it; the poll wakes up and runs them, one callback boundary after each:
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

struct Shared {
    /// `None` when the loop is gone.
    queue: Mutex<Option<Vec<Posted>>>,
    /// Guards that keep the loop alive, and what was posted and has not been run.
    holds: AtomicUsize,
    waker: mio::Waker,
}

/// A way into the loop from another thread; from [`Loop::remote`]. Cheap to clone.
///
/// What was posted before the loop had nothing left to do is run. But a remote alone keeps nothing alive: what is posted later
/// waits until the loop is run again, and is dropped with it. Take a [`hold`](Remote::hold) for as long as an answer is
/// awaited.
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Shared>,
}

/// Keeps the loop alive until it is dropped, from whatever thread; from [`Remote::hold`].
#[must_use = "the loop is kept alive only as long as this lives"]
pub struct KeepAlive {
    remote: Remote,
}

impl Remote {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        let shared = Shared { queue: Mutex::new(Some(Vec::new())), holds: AtomicUsize::new(0), waker };
        Remote { shared: Arc::new(shared) }
    }

    /// Has `f` run on the loop, in its poll phase, after what was posted before. It never waits, and the queue has no limit:
    /// a thread that can be faster than the loop should wait for an answer now and then.
    ///
    /// `false` if the loop is gone; then `f` is dropped.
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
            self.shared.holds.fetch_add(1, Ordering::AcqRel);
            queue.len() == 1
        };
        // Whoever finds a queue with something in it knows that the loop has been woken for it.
        if is_first {
            self.wake();
        }
        true
    }

    /// Whether the loop is gone, and with it everything that was posted and not run.
    pub fn is_closed(&self) -> bool {
        self.lock().is_none()
    }

    /// The loop is dropped. What was posted may have a remote itself, and would keep itself alive.
    pub(crate) fn close(&self) {
        let posted = self.lock().take();
        drop(posted);
    }

    /// Keeps the loop alive until the guard is dropped.
    pub fn hold(&self) -> KeepAlive {
        self.shared.holds.fetch_add(1, Ordering::AcqRel);
        KeepAlive { remote: self.clone() }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.shared.holds.load(Ordering::Acquire) > 0
    }

    /// What has been posted since the last call.
    pub(super) fn take_posted(&self) -> Vec<Posted> {
        let posted = self.lock().as_mut().map(mem::take).unwrap_or_default();
        self.shared.holds.fetch_sub(posted.len(), Ordering::AcqRel);
        posted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Posted>>> {
        // A poisoned queue is whole all the same: nothing can panic between its lock and unlock but an allocation.
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Err(error) = self.shared.waker.wake() {
            log::error!(target: "bucle::loop", "cannot wake the loop: {error}");
        }
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        // The last one to let go wakes the loop, which may be waiting for nothing any more.
        if self.remote.shared.holds.fetch_sub(1, Ordering::AcqRel) == 1 {
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
