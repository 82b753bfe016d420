//! Lessons 22 and 23: panics, and the warning of a slow callback.

use crate::headers::expected;
use crate::lesson::Lesson;

#[test]
fn a_panic_costs_one_connection() {
    let name = "22_panics_and_metrics";
    let (stdout, stderr, success) = Lesson::start(name, &[]).finish();
    assert_eq!((stdout, success), (expected(name), true), "{stderr}");
    assert!(stderr.contains("attempt to divide by zero"), "{stderr}");
}

#[cfg(feature = "trace")]
#[test]
fn the_loop_logs_a_warning_for_a_slow_callback() {
    let (_, stderr, success) = Lesson::start_logging("warn", "23_a_slow_callback", &[]).finish();
    assert!(success && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains("slow callback: immediate took 30 ms; it made"), "{stderr}");
}
