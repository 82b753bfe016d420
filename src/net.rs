//! Sockets and servers.
mod address;
#[allow(dead_code)]
mod utf8;
pub use address::*;
