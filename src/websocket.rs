//! The WebSocket protocol (RFC 6455): messages in both directions over one connection.
pub mod close;
pub mod frame;
pub mod mask;
pub mod utf8;

#[cfg(test)]
pub(crate) mod properties;
