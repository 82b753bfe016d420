//! The opening handshake (RFC 6455, 4): one HTTP request and its answer, after which the connection speaks WebSocket.
//!
//! ```text
//!   client                                           server
//!   GET /chat HTTP/1.1
//!   Host: server.example.com
//!   Upgrade: websocket
//!   Connection: Upgrade
//!   Sec-WebSocket-Version: 13
//!   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==  ──▶  check_request, check_origin
//!                                                    HTTP/1.1 101 Switching Protocols
//!                                                    Upgrade: websocket
//!                                                    Connection: Upgrade
//!   check_response                               ◀──  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
//!   frames                                       ◀─▶  frames
//! ```
//!
//! The key and its answer prove that the server speaks WebSocket, and that no cache answers in its place. They are no
//! secret and no authentication. The origin is different: a browser states there which site has opened the connection,
//! and without [`check_origin`] every site that a user visits can talk to the server as that user.
//!
//! `handshake/server.rs` is the server's side, `client.rs` the client's, and `origin.rs` the check of the origin. All
//! work on parsed headers and know no sockets.

mod client;
mod head;
mod origin;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Agreed, BadProtocol, BadResponse, BadUrl, check_response, key, parse_url, request};
pub use head::accept_key;
pub use origin::{Origins, check_origin};
pub use server::{Opening, Refused, RequestParts, check_request, choose_protocol, response};

pub use crate::http::url::Target;
