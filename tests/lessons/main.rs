//! Every example is a lesson and does what its header promises.
//!
//! A lesson that needs no client must print exactly the lines under "Expect". A server lesson is used as its header
//! shows, and then as real clients use it: one byte at a time, without reading for a while, and with a reset.
//!
//! No test sleeps to let time pass. A test waits for bytes or for the end of a process. A time limit, which a correct
//! lesson never reaches, turns a hang into a failure.

mod chat;
#[cfg(feature = "process")]
mod client;
mod echo;
mod headers;
#[cfg(feature = "http")]
mod http_page;
mod lesson;
mod lines;
#[cfg(feature = "inspect")]
mod live_page;
mod other_threads;
mod panics_and_traces;
mod peer;
mod pool;
mod proxy;
#[cfg(feature = "process")]
mod shutdown;
#[cfg(feature = "socket-io")]
mod socket_io;
mod statistics;
mod stock;
mod telnet;
mod unhandled;
#[cfg(feature = "websocket")]
mod websocket;
#[cfg(all(feature = "process", feature = "websocket"))]
mod websocket_client;
