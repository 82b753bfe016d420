//! Engine.IO, the transport of Socket.IO: sessions over HTTP long-polling and WebSocket.

pub mod cookie;
pub mod cors;
mod error;
pub mod id;
pub mod jsonp;
pub mod packet;
pub mod payload;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub mod query;

pub use error::{InvalidOption, Malformed};
