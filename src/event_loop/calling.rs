//! The one way from the loop into the program: a callback is held by the gate if there is one, counted, recorded, and
//! where that is wanted its panic is caught. Handlers take the same way ([`emit`](Loop::emit) in `net/handler.rs`).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Cause, Kind, Loop};

impl Loop {
    /// Calls a closure of the program. Returns whether it returned; where panics are not caught, it always does.
    pub(crate) fn call<R>(&mut self, kind: Kind, cause: Cause, f: impl FnOnce(&mut Loop) -> R) -> bool {
        self.call_sized(kind, cause, 0, f)
    }

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

    /// Runs `f`, which makes one callback of the program: the gate may hold the loop before it, it is counted and
    /// recorded.
    ///
    /// A layer that makes several callbacks of one, such as lines of a chunk, makes each of them with this and a
    /// [`Kind`] of its own. Then a trace shows each line, and a step by the gate ends at each line.
    #[inline(always)]
    pub(crate) fn in_callback<R>(
        &mut self,
        kind: Kind,
        cause: Cause,
        subject: u32,
        size: usize,
        f: impl FnOnce(&mut Loop) -> R,
    ) -> R {
        let span = self.begin_callback(cause, kind, subject, size);
        self.counters.callbacks += 1;
        let result = f(self);
        self.end(span);
        result
    }

    /// Calls a closure of the program and catches its panic, which is logged and counted.
    #[inline(always)]
    pub(crate) fn call_caught<R>(&mut self, f: impl FnOnce(&mut Loop) -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(|| f(self))) {
            Ok(result) => Some(result),
            Err(panic) => {
                self.count_panic(&*panic);
                None
            }
        }
    }

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
