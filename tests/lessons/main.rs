//! Every example is a lesson, and does what its header says.
//!
//! Those that run by themselves print exactly what stands under "Expect". The servers are talked to as in the header, and
//! then as their readers' users will: a byte at a time, without reading for a while, and with a reset.
//!
//! Nothing here waits for time to pass: a test waits for bytes, or for the end of a process, and a limit that is never
//! reached when all is well turns a hang into a failure.

mod chat;
#[cfg(feature = "process")]
mod client;
mod echo;
mod headers;
mod lesson;
mod lines;
mod other_threads;
mod panics_and_traces;
mod peer;
mod pool;
mod proxy;
#[cfg(feature = "process")]
mod shutdown;
mod statistics;
mod stock;
mod telnet;
