//! Engine.IO, the transport of Socket.IO: sessions over HTTP long-polling and WebSocket.

mod error;
pub mod packet;
pub mod payload;

pub use error::Malformed;
