//! Revision 3: packets with their length before them, as text or as bytes.

use std::fmt::Write as _;

use super::super::error::Malformed;
use super::super::packet::{Queued, QueuedData, Revision};

/// A packet of the binary form.
pub(super) enum Framed<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// Begins a string in the binary form.
const STRING: u8 = 0;
/// Begins bytes in the binary form.
const BYTES: u8 = 1;
/// Follows the digits of a length in the binary form.
const END_OF_LENGTH: u8 = 0xff;

const BAD_LENGTH: Malformed = Malformed::new("the length of a packet is malformed");
const TOO_LONG: Malformed = Malformed::new("the length of a packet is beyond the end of the payload");

/// The next packet of `text`, which begins at `at`. Empty packets are skipped. After an error `at` has no meaning.
pub(super) fn next_in_text<'a>(text: &'a str, at: &mut usize) -> Option<Result<&'a str, Malformed>> {
    if text.is_empty() {
        return Some(Err(Malformed::new("the payload is empty")));
    }
    while *at < text.len() {
        let rest = &text[*at..];
        let (units, digits) = match length(rest.bytes(), b'0', b':') {
            Ok(length) => length,
            Err(malformed) => return Some(Err(malformed)),
        };
        let data = &rest[digits + 1..];
        let Some(len) = bytes_of_units(data, units) else { return Some(Err(TOO_LONG)) };
        *at += digits + 1 + len;
        if len > 0 {
            return Some(Ok(&data[..len]));
        }
    }
    None
}

/// The next packet of the binary form, which begins at `at`. After an error `at` has no meaning.
pub(super) fn next_in_binary<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Result<Framed<'a>, Malformed>> {
    let (&kind, rest) = bytes[*at..].split_first()?;
    Some(framed(kind, rest).map(|(framed, len)| {
        *at += 1 + len;
        framed
    }))
}

/// The packet whose length `rest` begins with, and how many bytes of `rest` both have.
fn framed(kind: u8, rest: &[u8]) -> Result<(Framed<'_>, usize), Malformed> {
    let (len, digits) = length(rest.iter().copied(), 0, END_OF_LENGTH)?;
    let data = rest[digits + 1..].get(..len).ok_or(TOO_LONG)?;
    let framed = match kind {
        STRING => Framed::Text(str::from_utf8(data).map_err(|_| Malformed::new("a packet is not UTF-8"))?),
        BYTES => Framed::Bytes(data),
        _ => return Err(Malformed::new("a packet is neither a string nor bytes")),
    };
    Ok((framed, digits + 1 + len))
}

/// A length in decimal digits, where `zero` is the digit 0, and the number of its digits. `end` follows them.
///
/// There is one form for each length: a leading zero is refused. So the digits are at most those of `usize::MAX`.
fn length(bytes: impl Iterator<Item = u8>, zero: u8, end: u8) -> Result<(usize, usize), Malformed> {
    let (mut len, mut digits) = (0usize, 0);
    for byte in bytes {
        if byte == end && digits > 0 {
            return Ok((len, digits));
        }
        let digit = byte.wrapping_sub(zero);
        if digit > 9 || digits > 0 && len == 0 {
            return Err(BAD_LENGTH);
        }
        len = len.checked_mul(10).and_then(|len| len.checked_add(digit.into())).ok_or(TOO_LONG)?;
        digits += 1;
    }
    Err(BAD_LENGTH)
}

/// How many bytes the first `units` UTF-16 code units of `text` have. `None` if the text is shorter, or if its last
/// unit would be the first half of a character.
fn bytes_of_units(text: &str, units: usize) -> Option<usize> {
    // The usual case, without decoding each character.
    if text.as_bytes().get(..units)?.is_ascii() {
        return Some(units);
    }
    let mut left = units;
    for (at, c) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(c.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

/// Appends a packet in the text form.
pub(super) fn push_text(packet: &Queued, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}:", units(packet));
    packet.push_text(Revision::V3, out);
}

/// Appends a packet in the binary form.
pub(super) fn push_binary(packet: &Queued, out: &mut Vec<u8>) {
    let (kind, first) = match packet.data {
        QueuedData::Text(_) => (STRING, packet.kind.digit() as u8),
        QueuedData::Binary(_) => (BYTES, packet.kind.number()),
    };
    out.push(kind);
    out.extend((1 + packet.size()).to_string().bytes().map(|digit| digit - b'0'));
    out.extend([END_OF_LENGTH, first]);
    match &packet.data {
        QueuedData::Text(text) => out.extend_from_slice(text.as_bytes()),
        QueuedData::Binary(bytes) => out.extend_from_slice(bytes),
    }
}

/// How many bytes [`push_text`] appends.
pub(super) fn text_len(packet: &Queued) -> usize {
    decimal_digits(units(packet)) + 1 + packet.text_len(Revision::V3)
}

/// How many bytes [`push_binary`] appends.
pub(super) fn binary_len(packet: &Queued) -> usize {
    let len = 1 + packet.size();
    1 + decimal_digits(len) + 1 + len
}

fn decimal_digits(len: usize) -> usize {
    1 + len.checked_ilog10().unwrap_or(0) as usize
}

/// The length of a packet as text in UTF-16 code units, as JavaScript counts it.
fn units(packet: &Queued) -> usize {
    match &packet.data {
        // A character has one unit for its first byte, and a second one if it has four bytes.
        QueuedData::Text(text) => {
            let units = |byte: u8| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0);
            1 + text.bytes().map(units).sum::<usize>()
        }
        QueuedData::Binary(_) => packet.text_len(Revision::V3),
    }
}
