//! Properties: statements about the code that must hold for every input.
//!
//! A *property* is a function that takes any bytes and panics if the code under test breaks one of its promises. The
//! first bytes of the input choose limits, policies and the lengths of the reads. The rest is what the peer sends:
//!
//! ```text
//!   input      10 │ 02  03 05 │ h o l | a \r \n a d | i ó s \n
//!              │    │   └ lengths of the first chunks; the last chunk takes the rest
//!              │    └ number of these lengths
//!              └ a field of this property: here, the longest line
//! ```
//!
//! Each property is defined in a `properties.rs` beside the code that it tests, so it can use private items. [`input`]
//! takes an input apart; the properties import it, and this module imports the properties. Two callers run them: the
//! fuzz targets in `fuzz/` for hours, and the test below for about a second.

pub(crate) mod input;
#[cfg(test)]
mod tests;

/// Telnet: bytes to events and back, and the option negotiation in them.
pub fn telnet_codec(input: &[u8]) {
    crate::telnet::codec::properties::hold_for(input);
    crate::telnet::negotiation::properties::hold_for(input);
}

/// The line splitter, with and without line breaks in its output.
pub fn lines(input: &[u8]) {
    crate::telnet::lines::properties::hold_for(input);
    crate::telnet::edit::properties::hold_for(input);
}

/// permessage-deflate: streams and offers.
#[cfg(feature = "websocket")]
pub fn ws_deflate(input: &[u8]) {
    crate::websocket::deflate::properties::hold_for(input);
}

/// UTF-8 decoding across reads.
pub fn utf8(input: &[u8]) {
    crate::net::utf8_properties_hold_for(input);
}

/// Heads of HTTP requests and responses, with the bodies of pipelined requests.
#[cfg(feature = "http")]
pub fn http_head(input: &[u8]) {
    crate::http::properties::hold_for_heads(input);
}

/// HTTP responses as a client reads them: interim responses, head and body.
#[cfg(feature = "http")]
pub fn http_client(input: &[u8]) {
    crate::http::properties::hold_for_client(input);
}

/// Bodies of HTTP messages: chunks to data and back, and the other framings.
#[cfg(feature = "http")]
pub fn http_body(input: &[u8]) {
    crate::http::properties::hold_for_bodies(input);
}

/// Servers, peers and a kernel whose actions are chosen by the input.
pub fn server(input: &[u8]) {
    crate::faults::chance::hold_for(input);
}

/// WebSocket frame headers and masks.
#[cfg(feature = "websocket")]
pub fn ws_frame(input: &[u8]) {
    crate::websocket::properties::hold_for_frame(input);
}

/// WebSocket messages from bytes, by all rules of RFC 6455.
#[cfg(feature = "websocket")]
pub fn ws_receiver(input: &[u8]) {
    crate::websocket::properties::hold_for_receiver(input);
}

/// Requests of an HTTP client, servers, and a kernel whose actions are chosen by the input.
#[cfg(feature = "http")]
pub fn web_client(input: &[u8]) {
    crate::faults::requests::hold_for(input);
}

/// A server of requests and WebSockets, clients, and a kernel whose actions are chosen by the input.
#[cfg(feature = "websocket")]
pub fn web_server(input: &[u8]) {
    crate::faults::web::chance::hold_for(input);
}

/// Sessions of Engine.IO and sockets of Socket.IO, clients, and a kernel whose actions are chosen by the input.
#[cfg(feature = "socket-io")]
pub fn sio_session(input: &[u8]) {
    crate::faults::web::sessions::hold_for(input);
}

/// Clients of Socket.IO, servers that break the protocol, and a kernel whose actions are chosen by the input.
#[cfg(feature = "socket-io")]
pub fn sio_client(input: &[u8]) {
    crate::faults::web::clients::hold_for(input);
}

/// Cookies as a client of Engine.IO keeps them.
#[cfg(feature = "socket-io")]
pub fn eio_cookies(input: &[u8]) {
    crate::engine_io::cookies_hold_for(input);
}

/// Frames of Redis: replies and commands.
#[cfg(feature = "redis")]
pub fn redis_frame(input: &[u8]) {
    crate::redis::properties::hold_for(input);
}

/// Messages between the nodes of a cluster: MessagePack and JSON.
#[cfg(feature = "redis")]
pub fn redis_messages(input: &[u8]) {
    crate::socket_io::redis_adapter::properties::hold_for(input);
}

/// Packets of Engine.IO: frames to packets and back, and open packets.
#[cfg(feature = "socket-io")]
pub fn eio_packet(input: &[u8]) {
    crate::engine_io::properties::hold_for_packet(input);
}

/// Payloads of Engine.IO: bodies to packets and back, in both revisions, and JSONP.
#[cfg(feature = "socket-io")]
pub fn eio_payload(input: &[u8]) {
    crate::engine_io::properties::hold_for_payload(input);
}

/// Socket.IO packets and the JSON in them.
#[cfg(feature = "socket-io")]
pub fn sio_packet(input: &[u8]) {
    crate::socket_io::properties::hold_for_packet(input);
}

/// Sequences of Socket.IO messages: packets and their attachments.
#[cfg(feature = "socket-io")]
pub fn sio_decoder(input: &[u8]) {
    crate::socket_io::properties::hold_for_decoder(input);
}
