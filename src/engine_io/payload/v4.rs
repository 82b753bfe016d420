//! Revision 4: packets with a separator between them.

use super::super::packet::{Queued, Revision};

/// Separates two packets. JSON text does not contain it.
const SEPARATOR: char = '\u{1e}';

/// The next packet of `text`, which begins at `at`. It may be empty.
///
/// A text with n separators has n + 1 packets, so an empty text has one. After the last packet `at` is behind the end.
pub(super) fn next<'a>(text: &'a str, at: &mut usize) -> Option<&'a str> {
    let rest = text.get(*at..)?;
    let len = memchr::memchr(SEPARATOR as u8, rest.as_bytes()).unwrap_or(rest.len());
    *at += len + 1;
    Some(&rest[..len])
}

/// Appends a packet, and a separator before it if it is not the first one.
pub(super) fn push(packet: &Queued, out: &mut String) {
    if !out.is_empty() {
        out.push(SEPARATOR);
    }
    packet.push_text(Revision::V4, out);
}
