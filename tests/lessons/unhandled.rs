//! Lesson 36, errors without a handler.

use crate::headers::expected;
use crate::lesson::Lesson;

const NAME: &str = "36_errors_without_a_handler";

#[test]
fn without_a_logger_an_unhandled_error_is_one_line_on_stderr_with_its_code_and_what_handles_it() {
    // `RUST_LOG` is without effect here: this way the lesson starts no logger.
    let (stdout, stderr, success) = Lesson::start_logging("trace", NAME, &[]).finish();
    assert_eq!((stdout.as_str(), stderr.as_str(), success), ("", expected(NAME).as_str(), true));
}

#[test]
fn with_a_logger_it_is_a_warning_of_the_log_and_nothing_else() {
    let (_, stderr, success) = Lesson::start_logging("warn", NAME, &["logger"]).finish();
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(success && lines.len() == 6 && !stderr.contains("bucle: "), "{stderr}");
    assert!(lines[1].contains("WARN  bucle::net] server #2: listen EADDRNOTAVAIL"), "{stderr}");
    assert!(lines[2].contains("WARN  bucle::net] #1: connect ECONNREFUSED 127.0.0.1:1; not handled: "), "{stderr}");
}

#[test]
fn a_logger_that_wants_no_warnings_gets_none_and_nothing_is_on_stderr() {
    let (_, stderr, success) = Lesson::start_logging("error", NAME, &["logger"]).finish();
    assert!(success && !stderr.contains("not handled"), "{stderr}");
    assert_eq!(stderr.lines().count(), 4, "{stderr}");
}
