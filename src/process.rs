//! What Node's [`process`](https://nodejs.org/docs/latest-v20.x/api/process.html) gives a server: the signals it is sent
//! and its standard input, as events of the loop.
//!
//! Standard input may be many things, some of which no loop can wait for; [`stdin`] says how it is done.
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

mod signals;
mod stdin;

pub use signals::{Signal, SignalId, exit_on, ignore, on_signal};
pub use stdin::{Input, Stdin, stdin};
