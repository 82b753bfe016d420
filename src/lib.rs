//! Node's event loop and `net` module as one single-threaded Rust library, without an async runtime.
//!
//! This page is lesson one; each module is the next. Programs to run stand in `examples/`, numbered too.
//!
//! # Lesson one: the loop is lent
//!
//! A program has a *main body* and *callbacks*. [`run`] calls the one, then turns the loop, which calls the others, until
//! nothing is left that could call back: no timer, no server, no open connection.
//!
//! ```
//! use std::time::Duration;
//!
//! bucle::run(|lp| {
//!     lp.set_timeout(Duration::from_millis(1), |_| println!("4. a timer"));
//!     lp.next_tick(|lp| {
//!         println!("2. a tick: right after the main body");
//!         lp.queue_microtask(|_| println!("3. a microtask: when the ticks are done"));
//!     });
//!     println!("1. the main body");
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! Every callback gets the loop, `lp: &mut Loop`, and gives it back by returning. While it runs nothing else can: that is
//! what single-threaded means, and the borrow checker knows it. There are no locks, no `Rc<RefCell<_>>`, no `async`.
//!
//! What you keep are names: a [`TimerId`], a [`Socket`](net::Socket). They are eight bytes, can be copied, and own nothing. When the
//! thing they name is gone, they find nothing.
//!
//! # The lessons after it
//!
//! Behind each stand the programs in `examples/` that show it.
//!
//! 1. [`Loop`]: timers, ticks, microtasks, immediates, and in what order they run. (01, 02, 19, 20)
//! 2. [`net`]: servers and sockets; [`net::Handler`], who answers; [`net::Socket`], what can be done (03 to 05, 08, 09, 11);
//!    [`net::Limits`], what a peer may cost (06, 07, 17, 18); [`Socket::pipe`](net::Socket::pipe) and [`net::BlockList`] (14);
//!    [`net::Shared`], one handler for many (09, 15).
//! 3. [`Remote`]: other threads, and how they knock. (16)
//! 4. [`telnet`]: what a person at a terminal speaks; lines out of bytes. (12)
//! 5. `process` (feature `process`): signals and standard input. (10, 13)
//! 6. `trace` (feature `trace`): what the loop did, with the cause of everything. (23, 24)
//! 7. [`EventLoop`] and [`ManualClock`]: turning the loop by hand, for tests; panics caught, numbers told. (20 to 22)
//!
//! # As in Node, and not
//!
//! The order of everything is Node 20's, and is compared with it scenario by scenario (`tests/conformance`). Names are Node's in
//! snake case; search this documentation for `setImmediate` and you find [`Loop::set_immediate`].
//!
//! | in Node | here |
//! |---|---|
//! | `setTimeout`, `setInterval`, `clearTimeout` | [`Loop::set_timeout`], [`Loop::set_interval`], [`Loop::clear`] |
//! | `timeout.refresh()` after it fired | only of a timer made with [`Loop::set_timer`]; a timeout is gone once it fired |
//! | `hasRef()` of a cleared timer | `false`: the timer is gone |
//! | `setImmediate`, `process.nextTick`, `queueMicrotask` | [`Loop::set_immediate`], [`Loop::next_tick`], [`Loop::queue_microtask`] |
//! | promises | none; microtasks have their place in the order |
//! | `process.on('beforeExit')` | [`Loop::on_before_exit`] |
//! | `socket.on('data', f)` | [`net::Handler::on_data`], or [`net::on`]`().data(f)` |
//! | no `data` listener yet | [`net::SocketOptions::flowing`]` = false` |
//! | `pause` and `resume` events, `readable`, `read(n)` | none |
//! | one system call per `socket.write()` | writes of one phase leave in one system call; the answers are Node's |
//! | a reset that comes with data: `data`, `end`, `close` | `on_data`, `on_error` with `ECONNRESET`, `on_close` |
//! | a pipe's destination that has ended and refuses a chunk holds up the other ones for ever | it does not |
//! | a write to a peer whose reset came since the last poll: `false` | `true`, and the error at the end of the phase |
//! | an `error` event without a listener ends the program | it is logged as a warning |
//! | what throws (`ERR_SOCKET_BAD_PORT`) | is an `Err` |
//! | `server.listen(port)` | [`net::ServerId::listen`]; [`net::listen`] binds at once and gives the error back |
//! | one `accept` per turn | the same, or [`net::ServerOptions::accepts_per_turn`] |
//! | an object after its `close` | its handle finds nothing any more; take [`net::SocketInfo`] inside `on_close` |
//! | a pipe of a socket that is connected again | it is gone with the first connection |
//! | `connect()` again on a closed socket | from inside its `on_close` |
//! | a due timer refreshed in a tick between two timers fires all the same | it does not |
//! | encodings | UTF-8 |
//! | `worker_threads`, the thread pool | your own threads, and [`Remote`] |
#![deny(missing_docs)]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod error;
mod error_codes;
mod event_loop;
#[cfg(any(test, fuzzing))]
mod faults;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod net;
#[cfg(feature = "process")]
pub mod process;
pub mod telnet;

/// Watching a loop from outside: what it did, as values ([`Loop::start_trace`]), and holding it before a callback
/// ([`Loop::set_gate`]).
#[cfg(feature = "trace")]
pub mod trace {
    pub use crate::event_loop::{Decision, Gate, Kind, Next, Phase, Record, Records, Step, Trace};
}

pub use error::{Error, Result};
pub use event_loop::{
    AlarmId, EventLoop, Histogram, ImmediateId, KeepAlive, Loop, ManualClock, Metrics, Phase, PrepareId, Remote,
    TimerId, Turn, run,
};
