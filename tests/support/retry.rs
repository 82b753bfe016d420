//! Repeats system calls that a signal has interrupted.

use std::io::{self, ErrorKind};

/// Calls again as long as the call fails with `EINTR`.
///
/// Sockets with a timeout return `EINTR` even for signals without a handler, such as a stop and a continue of the test
/// (signal(7)). `read_until`, `read_to_end` and `write_all` repeat the call themselves; a bare `read` or `connect` does
/// not.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
