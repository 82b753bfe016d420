//! What Node's [`process`](https://nodejs.org/docs/latest-v20.x/api/process.html) gives a server: the signals it is sent
//! and its standard input, as events of the loop; and its standard output.
//!
//! A signal interrupts a program anywhere, and almost nothing is allowed there. So the handler only leaves a note, in a
//! pipe that the loop is waiting on, and your callback runs later, as a callback like any other:
//!
//! ```text
//!   kill -TERM ──▶ handler: a byte into a pipe ──▶ poll wakes ──▶ |lp, signal| … ──▶ ticks
//!                  (between any two instructions)   (poll phase, on the loop's thread)
//! ```
//!
//! `SIGPIPE` is not among the signals: Rust's runtime ignores it before `main`, so a write to a reader that is gone
//! answers with the error `EPIPE`, as in Node.

mod resources;
mod signals;
mod stdin;
mod stdout;
mod terminal;

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;

pub use resources::{cpu_usage, raise_descriptor_limit};
pub use signals::{Signal, SignalId, exit_on, ignore, notice, on_signal};
pub use stdin::{Input, Stdin, stdin};
pub use stdout::{TerminalOutput, columns, columns_of, takes_a_line, write_stderr, write_stdout};
pub use terminal::{TerminalKeys, discard_typed, stop};

/// Waits, without the loop, until a file that somebody else has made non-blocking can be read or written. It is left
/// as it is: `O_NONBLOCK` would change for everybody who has the same file open.
fn wait_until(file: &impl AsRawFd, is_ready: mio::Interest) -> io::Result<()> {
    let mut poll = mio::Poll::new()?;
    poll.registry().register(&mut SourceFd(&file.as_raw_fd()), mio::Token(0), is_ready)?;
    match poll.poll(&mut mio::Events::with_capacity(1), None) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}
