//! Node's event loop and `net` module as one single-threaded Rust library, without an async runtime.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

#[allow(dead_code)]
mod error_codes;
mod event_loop;
pub mod net;
pub mod telnet;
