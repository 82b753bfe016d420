//! The lines of a head that both sides write.

use ::http::HeaderName;

pub(super) fn push_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether this layer sets the header itself, because it says how the message is sent.
pub(super) fn is_of_the_connection(name: &HeaderName) -> bool {
    ["connection", "content-length", "keep-alive", "transfer-encoding"].contains(&name.as_str())
}
