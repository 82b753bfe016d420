//! Signals and standard input as events of the loop, and standard output: a part of Node's
//! [`process`](https://nodejs.org/docs/latest-v20.x/api/process.html).
//!
//! A signal interrupts a program at any instruction, and its handler may do almost nothing. So the handler only writes
//! a byte into a pipe that the loop waits on, and the program's callback runs later, like any other callback:
//!
//! ```text
//!   kill -TERM ──▶ handler: a byte into a pipe ──▶ poll wakes ──▶ |lp, signal| … ──▶ ticks
//!                  (between any two instructions)   (poll phase, on the loop's thread)
//! ```
//!
//! `SIGPIPE` is not among the signals. Rust's runtime ignores it from the start, so a write to a pipe without a reader
//! returns the error `EPIPE`, as in Node.

mod resources;
mod signals;
mod stdin;
mod stdout;
mod terminal;

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;

pub use resources::{cpu_usage, raise_descriptor_limit};
pub use signals::{Signal, SignalId, exit_on, ignore, is_ignored, notice, on_signal};
pub use stdin::{Input, Stdin, stdin};
pub use stdout::{TerminalOutput, columns, columns_of, takes_a_line, write_stderr, write_stdout};
pub use terminal::{TerminalKeys, discard_typed, stop};

/// Blocks, without the loop, until a file that another program has made non-blocking can be read or written.
///
/// `O_NONBLOCK` stays set, because clearing it would affect all processes that have the same file open.
fn wait_until(file: &impl AsRawFd, is_ready: mio::Interest) -> io::Result<()> {
    let mut poll = mio::Poll::new()?;
    poll.registry().register(&mut SourceFd(&file.as_raw_fd()), mio::Token(0), is_ready)?;
    match poll.poll(&mut mio::Events::with_capacity(1), None) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}
