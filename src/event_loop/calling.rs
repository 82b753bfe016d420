//! Calling the program: all callbacks go through [`Loop::in_callback`].
//!
//! ```text
//!   timers, ticks, immediates, posted closures ──▶ call ──┐
//!   events of sockets and servers ──▶ emit, emit_server ──┼─▶ in_callback: gate, counter, record ──▶ user code
//!   events of a protocol above, such as on_line ──────────┘                                │
//!                                                            call_caught, if panics are caught
//! ```
//!
//! So one place counts callbacks, records them and holds them at a gate. `emit` is in `net/handler.rs`. A boundary is
//! not part of a call: the phase that makes the call drains the ticks afterwards.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Cause, Kind, Loop};

impl Loop {
    /// Calls a closure of the program. Returns `false` if it panicked and the panic was caught.
    pub(crate) fn call<R>(&mut self, kind: Kind, cause: Cause, f: impl FnOnce(&mut Loop) -> R) -> bool {
        self.call_sized(kind, cause, 0, f)
    }

    /// As [`call`](Self::call), with a size for the record.
    pub(super) fn call_sized<R>(
        &mut self,
        kind: Kind,
        cause: Cause,
        size: usize,
        f: impl FnOnce(&mut Loop) -> R,
    ) -> bool {
        self.in_callback(kind, cause, 0, size, |lp| {
            if lp.catches_panics {
                lp.call_caught(f).is_some()
            } else {
                f(lp);
                true
            }
        })
    }

    /// Runs `f`, which makes one callback of the program. The gate may hold the loop before the callback; the callback
    /// is counted and recorded.
    ///
    /// A protocol that turns one callback into several, such as a chunk into lines, makes each of them with this
    /// function and a [`Kind`] of its own. Then a trace shows each line, and a step of the gate ends at each line.
    #[inline(always)]
    pub(crate) fn in_callback<R>(
        &mut self,
        kind: Kind,
        cause: Cause,
        subject: u32,
        size: usize,
        f: impl FnOnce(&mut Loop) -> R,
    ) -> R {
        // May hold the loop for as long as the gate likes.
        let span = self.begin_callback(cause, kind, subject, size);
        self.counters.callbacks += 1;
        let result = f(self);
        self.end(span);
        result
    }

    /// As [`in_callback`](Self::in_callback), for a layer that makes many small callbacks, such as the lines of a
    /// chunk. On a loop that is not observed this costs one branch and the counter.
    #[inline(always)]
    pub(crate) fn in_layer_callback(&mut self, kind: Kind, subject: u32, size: usize, f: impl FnOnce(&mut Loop)) {
        if self.is_observed() {
            return self.in_layer_callback_observed(kind, subject, size, f);
        }
        self.counters.callbacks += 1;
        f(self);
    }

    /// As [`in_layer_callback`](Self::in_layer_callback), for a callback at whose end the layer has more to do, and
    /// whose panic ends no connection: if panics are caught, this one does not leave here.
    #[cfg(feature = "socket-io")]
    pub(crate) fn in_guarded_callback(&mut self, kind: Kind, subject: u32, size: usize, f: impl FnOnce(&mut Loop)) {
        self.in_layer_callback(kind, subject, size, |lp| _ = lp.guarded(f));
    }

    /// Runs `f`, which may call the program from a tick or a timer of a layer. Returns `false` if a panic was caught.
    #[cfg(feature = "socket-io")]
    pub(crate) fn guarded(&mut self, f: impl FnOnce(&mut Loop)) -> bool {
        if self.catches_panics {
            return self.call_caught(f).is_some();
        }
        f(self);
        true
    }

    #[cold]
    #[inline(never)]
    fn in_layer_callback_observed(&mut self, kind: Kind, subject: u32, size: usize, f: impl FnOnce(&mut Loop)) {
        self.in_callback(kind, self.cause(), subject, size, f);
    }

    /// Calls a closure of the program and catches its panic, which is logged and counted.
    #[inline(always)]
    pub(crate) fn call_caught<R>(&mut self, f: impl FnOnce(&mut Loop) -> R) -> Option<R> {
        // The loop keeps its invariants: callbacks are called between its own changes of state, never within one.
        match catch_unwind(AssertUnwindSafe(|| f(self))) {
            Ok(result) => Some(result),
            Err(panic) => {
                self.count_panic(&*panic);
                None
            }
        }
    }

    /// Counts and logs a caught panic. A panic's payload is a string, unless the program uses `panic_any`.
    #[cold]
    #[inline(never)]
    fn count_panic(&mut self, panic: &(dyn Any + Send)) {
        self.caught_panics += 1;
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?");
        let so_far = self.caught_panics;
        log::error!(target: "bucle::loop", "a callback panicked: {text} ({so_far} so far)");
    }

    pub(crate) fn catches_panics(&self) -> bool {
        self.catches_panics
    }
}
