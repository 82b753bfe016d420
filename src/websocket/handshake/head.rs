//! The header lines that both sides write.

use ::http::HeaderMap;
use ::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

/// The version of the protocol (RFC 6455, 4.1).
pub(super) const VERSION: &str = "13";

/// The token of the header `Upgrade`.
pub(super) const WEBSOCKET: &str = "websocket";

/// The answer to a key (RFC 6455, 4.2.2): the SHA-1 of the key and a fixed text, in base64.
///
/// ```
/// let accept = bucle::websocket::handshake::accept_key("dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455, 1.3.
/// ```
pub fn accept_key(key: &str) -> String {
    let hash = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    BASE64_STANDARD.encode(hash)
}

pub(super) fn push_field(head: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_ref());
    head.extend_from_slice(b"\r\n");
}

/// The headers of the program, and the blank line.
pub(super) fn push_extra(head: &mut Vec<u8>, extra: &HeaderMap) {
    const OWN: [HeaderName; 10] = [
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for (name, value) in extra.iter().filter(|(name, _)| !OWN.contains(name)) {
        push_field(head, name.as_str(), value);
    }
    head.extend_from_slice(b"\r\n");
}
