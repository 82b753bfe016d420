//! Node's event loop and `net` module as a single-threaded Rust library, without an async runtime. HTTP/1.1, WebSocket
//! and Socket.IO stand on it.
//!
//! This page is the first lesson, and each module is a further one. The programs in `examples/` are numbered lessons,
//! too.
//!
//! # Lesson one: callbacks borrow the loop
//!
//! A program has a *main body* and *callbacks*. [`run`] calls the main body. Then it turns the loop, which calls the
//! callbacks, until nothing is left that could cause another one: no timer, no server, no open connection.
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
//! Every callback borrows the loop as `lp: &mut Loop` until it returns. No other callback can run in the meantime; the
//! borrow checker guarantees it. So there are no locks, no `Rc<RefCell<_>>` and no `async`.
//!
//! A program keeps handles such as [`TimerId`] and [`Socket`](net::Socket). A handle is eight bytes, can be copied,
//! and owns nothing. After its object is gone, the handle refers to nothing, never to another object.
//!
//! # Further lessons
//!
//! The numbers are those of the programs in `examples/` that show it.
//!
//! 1. [`Loop`]: timers, ticks, microtasks, immediates, and the order in which they run. (01, 02, 19, 20)
//! 2. [`net`]: servers and sockets. [`net::Handler`] receives events and [`net::Socket`] acts on a connection (03 to
//!    05, 08, 09, 11, 36); [`net::Limits`] bounds the cost of a peer (06, 07, 17, 18);
//!    [`Socket::pipe`](net::Socket::pipe) and [`net::BlockList`] (14); [`net::Shared`] is state, or a handler, for many
//!    sockets (09, 15); [`net::ServerId::drain`] closes a server in order, and
//!    [`Socket::upgrade`](net::Socket::upgrade) changes the protocol of a connection.
//! 3. [`Remote`]: running closures from other threads. (16)
//! 4. [`telnet`]: the protocol of terminal users; bytes become lines. (12)
//! 5. `http` (feature `http`): requests and answers, streams of events, upgrades to other protocols (25, 28); a client.
//! 6. `websocket` (feature `websocket`): messages to and from browsers, topics, compression; server and client. (26 to
//!    29)
//! 7. `socket_io` (feature `socket-io`): events with names, arguments and acknowledgements; rooms, namespaces,
//!    recovery; server and client (30 to 34). `engine_io` has the sessions below.
//! 8. `process` (feature `process`): signals and standard input. (10, 13, 29)
//! 9. `trace` (feature `trace`): records of what the loop did, each with its cause (23, 24), and a gate that can hold
//!    the loop before a callback.
//! 10. `inspect` (feature `inspect`): a page that shows a loop while it turns, and can pause and step it. (35)
//! 11. `redis` (feature `redis`): a link to Redis. With `socket_io::redis_adapter` several servers are one.
//! 12. [`EventLoop`] and [`ManualClock`]: turning the loop by hand, for tests; catching panics; metrics. (20 to 22)
//!     [`Loop::on_prepare`] calls an observer before every turn, and [`EventLoop::next_wait`] is for a loop inside
//!     another poll.
//!
//! # Differences from Node
//!
//! The order of callbacks is that of Node 20, and tests compare it scenario by scenario (`tests/conformance`). Names
//! are Node's in snake case; search this documentation for `setImmediate` and you find [`Loop::set_immediate`].
//!
//! | in Node | here |
//! |---|---|
//! | `setTimeout`, `setInterval`, `clearTimeout` | [`Loop::set_timeout`], [`Loop::set_interval`], [`Loop::clear`] |
//! | `timeout.refresh()` after it fired | only for timers of [`Loop::set_timer`]; a timeout no longer exists after it fired |
//! | `hasRef()` of a cleared timer | `false`: the timer no longer exists |
//! | `setImmediate`, `process.nextTick`, `queueMicrotask` | [`Loop::set_immediate`], [`Loop::next_tick`], [`Loop::queue_microtask`] |
//! | promises | not available; microtasks run where Node runs them |
//! | `process.on('beforeExit')` | [`Loop::on_before_exit`] |
//! | `socket.on('data', f)` | [`net::Handler::on_data`], or [`net::on`]`().data(f)` |
//! | `onread` of `net.connect` | [`net::Handler::on_read`]; the buffer is the loop's own |
//! | no `data` listener yet | [`net::SocketOptions::flowing`]` = false` |
//! | `pause` and `resume` events, `readable`, `read(n)` | not available |
//! | one system call per `socket.write()` | one system call for all writes of a phase; return values and callbacks are Node's. The peer may read two writes as one chunk |
//! | one poll serves several ready sockets, level-triggered | edge-triggered, so the order of sockets may differ |
//! | a reset that arrives with data: `data`, `end`, `close` | `on_data`, `on_error` with `ECONNRESET`, `on_close` |
//! | a pipe's destination that has ended and refuses a chunk blocks the other destinations | it does not block them |
//! | a write to a peer whose reset arrived since the last poll returns `false` and fails | it returns `true`; the error follows at the end of the phase. Of two such writes in one phase, or before the connection, the first may succeed, and then no error follows |
//! | an `error` event without a listener ends the program | it is logged as a warning; without a logger it is a line on standard error (36) |
//! | a thrown error (`ERR_SOCKET_BAD_PORT`) | an `Err` |
//! | `server.listen(port)` | [`net::ServerId::listen`]; [`net::listen`] binds immediately and returns the error |
//! | `server.listen("127.0.0.1:8080")` makes a unix socket of this name | a text is `HOST:PORT`; a path is a [`Path`](std::path::Path) |
//! | one `accept` per turn | the same, or [`net::ServerOptions::accepts_per_turn`] |
//! | a connection of a socket to itself, to a port without a server | `ECONNREFUSED`; the next address is tried |
//! | an object after its `close` | its handle refers to nothing; use [`net::SocketInfo`] inside `on_close` |
//! | a pipe of a socket that is connected again | removed with the first connection |
//! | `connect()` again on a closed socket | only inside its `on_close` |
//! | a timer runs up to 1 ms early: it counts in whole milliseconds | the same; see [`Loop::set_timeout`] |
//! | a due timer that is refreshed in a tick between two timers still fires | it does not fire |
//! | `end()` and `resetAndDestroy()` in one callback: the process spins, or gets `EINVAL` | the reset is sent |
//! | `end()` before the second of several addresses connects: the socket never finishes | the FIN is sent |
//! | `end()`, `connect()` and again `end()` on a new socket: `ERR_MULTIPLE_CALLBACK` | the FIN is sent once |
//! | `localPort` that is read between `connect()` and its system call stays unknown until the connection is made | it is known after the system call |
//! | `http.createServer` | `http::listen`: a request is delivered with its whole body |
//! | `http.Agent`, `http.request` | `http::Client`: a response is delivered with its whole body |
//! | the package `ws` | `websocket`; `docs/node.md` has a table of its names |
//! | the packages `socket.io` and `engine.io` | `socket_io` and `engine_io`; `docs/node.md` has a table of their names, and the page of `socket_io` one of differences |
//! | encodings | UTF-8 only |
//! | `worker_threads`, the thread pool | threads of the program, and [`Remote`] |
#![deny(missing_docs)]
#![forbid(unsafe_code)]

// Programs in documents are compiled as examples. They need all features.
#[cfg(all(doctest, feature = "socket-io"))]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../README.es.md")]
    mod readme_in_spanish {}
    #[cfg(feature = "redis")]
    #[doc = include_str!("../docs/cluster.md")]
    mod cluster {}
    #[cfg(feature = "inspect")]
    #[doc = include_str!("../docs/live-page.md")]
    mod live_page {}
    #[doc = include_str!("../docs/net.md")]
    mod net {}
    #[doc = include_str!("../docs/socketio.md")]
    mod socket_io {}
    #[doc = include_str!("../docs/telnet.md")]
    mod telnet {}
    #[doc = include_str!("../docs/websocket.md")]
    mod websocket {}
}

#[cfg(feature = "socket-io")]
pub mod backoff;
#[cfg(feature = "socket-io")]
pub mod engine_io;
mod error;
mod error_codes;
mod event_loop;
#[cfg(any(test, fuzzing))]
mod faults;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "inspect")]
pub mod inspect;
pub mod net;
#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "socket-io")]
pub mod socket_io;
pub mod telnet;
#[cfg(feature = "websocket")]
pub mod websocket;

/// Watching a loop from outside: what it did, as values ([`Loop::start_trace`]), and holding it before a callback
/// ([`Loop::set_gate`]).
#[cfg(feature = "trace")]
pub mod trace {
    pub use crate::event_loop::{
        CHROME_HEAD, Chrome, Decision, Gate, Kind, Next, Phase, Queues, Record, Records, SlowCallback, Step, Trace,
    };
}

pub use error::{Error, Result};
pub(crate) use event_loop::Kind;
#[cfg(feature = "socket-io")]
pub(crate) use event_loop::memory::{free_vec, grow_vec, insert_into_slab, remove_from_slab};
#[cfg(feature = "socket-io")]
pub(crate) use event_loop::slots::{HasSerial, Slots};
#[cfg(feature = "socket-io")]
pub(crate) use event_loop::token::Key;
pub use event_loop::{
    EventLoop, Histogram, ImmediateId, KeepAlive, Loop, ManualClock, Metrics, Phase, PrepareId, Remote, TimerId,
    TimerOrImmediate, Turn, run,
};
