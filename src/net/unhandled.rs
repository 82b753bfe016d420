//! Errors that no code of the program handles: a handler has the default method, an event has no listener.
//!
//! Node ends the program in this case. Here the error is reported, and the program goes on:
//!
//! ```text
//!   default method ─▶ report_unhandled ─┬─ the program has a logger ─▶ a warning in its log, if it wants warnings
//!                                       └─ it has none ─▶ a line on standard error, at most 10 in a second
//! ```
//!
//! Without the second way a program without a logger would end with success, and print nothing, when it could not
//! connect. The limit is for peers that cause errors: with a line for each connection they could cause any amount of
//! output.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::Error;
use crate::event_loop::Loop;

/// How many lines are written to standard error in a [`PERIOD`].
const LINES: u32 = 10;

/// See [`LINES`].
const PERIOD: Duration = Duration::from_secs(1);

/// How many lines this loop has written to standard error.
#[derive(Default)]
pub(super) struct Unhandled {
    /// When the current period has begun.
    since: Option<Instant>,
    /// The lines of the period.
    lines: u32,
    /// Errors for which there was no line, since the last line.
    unreported: u64,
}

impl Unhandled {
    /// Counts an error. Returns whether it gets a line, and how many errors before it had none.
    fn count(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.unreported += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.unreported))
    }
}

impl Loop {
    /// Reports an error of `whose` that nothing handles; `remedy` names the method that would handle it. `target` is
    /// that of the log.
    #[cold]
    pub(crate) fn report_unhandled(&mut self, target: &str, whose: &dyn Display, error: &Error, remedy: &str) {
        self.report_unhandled_message(target, whose, error.code(), error, remedy);
    }

    /// As [`report_unhandled`](Self::report_unhandled), for layers with errors of another type.
    #[cold]
    pub(crate) fn report_unhandled_message(
        &mut self,
        target: &str,
        whose: &dyn Display,
        code: &str,
        message: &dyn Display,
        remedy: &str,
    ) {
        if log::max_level() != log::LevelFilter::Off {
            return log::warn!(target: target, "{whose}: {message}; not handled: {remedy}");
        }
        let now = self.now();
        if let Some(unreported) = self.net.unhandled.count(now) {
            let line = line(whose, code, message, remedy, unreported);
            // Unlike `eprintln`, this does not panic if standard error is closed. There is no other place to report to.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

/// One line, whatever the message contains.
fn line(whose: &dyn Display, code: &str, message: &dyn Display, remedy: &str, unreported: u64) -> String {
    let mut line = String::from("bucle: ");
    for c in format!("{whose}: {message}").chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    // Messages of system calls have the code already.
    if !line.contains(code) {
        let _ = write!(line, " ({code})");
    }
    let _ = write!(line, "; not handled: {remedy}");
    match unreported {
        0 => {}
        1 => line += " (1 error before it is not shown)",
        n => drop(write!(line, " ({n} errors before it are not shown)")),
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_errors_a_second_get_a_line_and_the_next_line_has_the_number_of_the_others() {
        let (mut unhandled, start) = (Unhandled::default(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(unhandled.count(start), Some(0));
        }
        for _ in 0..3 {
            assert_eq!(unhandled.count(start + PERIOD - Duration::from_nanos(1)), None);
        }
        assert_eq!(unhandled.count(start + PERIOD), Some(3));
        assert_eq!(unhandled.count(start + PERIOD), Some(0));
    }

    #[test]
    fn a_line_has_the_code_once_and_what_handles_the_error() {
        let table: &[(&str, &str, u64, &str)] = &[
            (
                "ECONNREFUSED",
                "connect ECONNREFUSED 127.0.0.1:9",
                0,
                "bucle: #1: connect ECONNREFUSED 127.0.0.1:9; not handled: do x\n",
            ),
            (
                "E_QUOTA",
                "too much",
                1,
                "bucle: #1: too much (E_QUOTA); not handled: do x (1 error before it is not shown)\n",
            ),
            (
                "E_QUOTA",
                "too much",
                2,
                "bucle: #1: too much (E_QUOTA); not handled: do x (2 errors before it are not shown)\n",
            ),
            ("E_REFUSED", "a\nb\x1b[2J", 0, "bucle: #1: a\\nb\\u{1b}[2J (E_REFUSED); not handled: do x\n"),
        ];
        for (code, message, unreported, want) in table {
            assert_eq!(line(&"#1", code, message, "do x", *unreported), *want);
        }
    }
}
