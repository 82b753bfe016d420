//! The WebSocket protocol (RFC 6455): messages in both directions over one connection.
//!
//! This module holds the pure part: bytes and values in, values out, and no socket. Read the files from the bottom up:
//!
//! ```text
//!   receiver   bytes → messages, pings, pongs and the close: all rules of RFC 6455
//!   frame      frame headers, both ways
//!   close      close codes; what a peer did wrong
//!   utf8       text that is checked as it arrives
//!   mask       the XOR over every payload of a client
//! ```
pub mod close;
pub mod frame;
pub mod mask;
pub mod receiver;
pub mod utf8;

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
