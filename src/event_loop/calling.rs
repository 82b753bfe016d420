//! The one way from the loop into the program: a closure is called, counted, recorded, and where that is wanted its panic is
//! caught. Handlers take the same way ([`emit`](Loop::emit) in `net/handler.rs`).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Cause, Kind, Loop};

impl Loop {
    /// Calls a closure of the program. Says whether it came back; where panics are not caught, it always does.
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
        self.counters.callbacks += 1;
        let span = self.begin(cause, kind, 0, size);
        let is_whole = if self.catches_panics {
            self.call_caught(f).is_some()
        } else {
            f(self);
            true
        };
        self.end(span);
        is_whole
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
