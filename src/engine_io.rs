//! Engine.IO, the transport of Socket.IO: sessions over HTTP long-polling and WebSocket.

mod error;
pub mod jsonp;
pub mod packet;
pub mod payload;
pub mod query;

pub use error::Malformed;
