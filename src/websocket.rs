//! The WebSocket protocol (RFC 6455): messages in both directions over one connection.
pub mod utf8;
