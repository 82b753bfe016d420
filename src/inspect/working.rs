//! Whether the inspector works, for loggers.
//!
//! Both loops of the thread count their sockets from 1, so in a log of both a reader could not tell them apart.

use std::cell::Cell;

thread_local! {
    static IS_WORKING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the inspector's own loop runs on this thread at this moment. A logger that leaves out what is logged then
/// has only lines about the watched loop.
pub fn is_working() -> bool {
    IS_WORKING.get()
}

/// Runs `f`, which makes the inner loop work.
pub(super) fn while_working<R>(f: impl FnOnce() -> R) -> R {
    /// Ends the work, also if `f` panics.
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            IS_WORKING.set(false);
        }
    }
    IS_WORKING.set(true);
    let _ends = Ends;
    f()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_ends_also_with_a_panic() {
        assert!(!is_working());
        assert!(while_working(is_working));
        let panic = std::panic::catch_unwind(|| while_working(|| panic!("at work")));
        assert!(panic.is_err() && !is_working());
    }
}
