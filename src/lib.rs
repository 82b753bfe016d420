//! Node's event loop and `net` module as one single-threaded Rust library, without an async runtime.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod error;
mod error_codes;
mod event_loop;
pub mod net;
#[cfg(feature = "process")]
pub mod process;
pub mod telnet;

pub use error::{Error, Result};
pub use event_loop::{AlarmId, EventLoop, ImmediateId, KeepAlive, Loop, ManualClock, Remote, TimerId, Turn, run};
