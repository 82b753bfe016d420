//! The fields of a head that control the connection: `Host`, the lengths, `Connection` and `Expect` (RFC 9112,
//! sections 3.2, 6 and 9; RFC 9110, sections 5.6 and 10.1).

use std::str;

use ::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::target::is_authority;
use crate::http::body::Framing;
use crate::http::refusal::Refusal;
use crate::http::syntax::is_token;

/// Copies the fields into a map, in their order.
pub(super) fn collect(parsed: &[httparse::Header]) -> Result<HeaderMap, Refusal> {
    let too_many = |_| Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many fields");
    let mut headers = HeaderMap::try_with_capacity(parsed.len()).map_err(too_many)?;
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::bad("a bad name of a field"))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Refusal::bad("a control byte in a field"))?;
        headers.try_append(name, value).map_err(too_many)?;
    }
    Ok(headers)
}

/// The first value under `name`, if it is UTF-8.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    str::from_utf8(headers.get(name)?.as_bytes()).ok()
}

/// The members of a list, over all its fields, without empty ones (RFC 9110, section 5.6.1.2).
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(name).into_iter();
    let pieces = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    pieces.map(trim).filter(|member| !member.is_empty())
}

/// Without the blanks and tabs around it (`OWS` in RFC 9110, section 5.6.3).
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

pub(super) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    members(headers, name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
}

/// RFC 9112, section 9.3: `close` wins; the default depends on the version.
pub(super) fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    !has_token(headers, CONNECTION, "close")
        && (version == Version::HTTP_11 || has_token(headers, CONNECTION, "keep-alive"))
}

/// RFC 9112, section 3.2: exactly one host in HTTP/1.1, at most one in HTTP/1.0.
pub(super) fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_10 => Ok(()),
        (None, _) => Err(Refusal::bad("no Host field")),
        (_, Some(_)) => Err(Refusal::bad("two Host fields")),
        (Some(host), None) if str::from_utf8(host.as_bytes()).is_ok_and(is_authority) => Ok(()),
        _ => Err(Refusal::bad("a bad Host field")),
    }
}

/// RFC 9110, section 10.1.1: there is only one expectation that a server can meet.
pub(super) fn check_expect(headers: &HeaderMap) -> Result<(), Refusal> {
    match members(headers, EXPECT).all(|member| member.eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(()),
        false => Err(Refusal::new(StatusCode::EXPECTATION_FAILED, "an Expect field other than 100-continue")),
    }
}

/// The framing that the fields claim, or `None` if they claim nothing (RFC 9112, section 6.3).
pub(super) fn framing(version: Version, headers: &HeaderMap) -> Result<Option<Framing>, Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (headers.contains_key(TRANSFER_ENCODING), lengths.next(), lengths.next()) {
        (true, Some(_), _) => Err(Refusal::bad("both Content-Length and Transfer-Encoding")),
        (true, None, _) if version == Version::HTTP_10 => Err(Refusal::bad("Transfer-Encoding in HTTP/1.0")),
        (true, None, _) => is_only_chunked(headers).map(|()| Some(Framing::Chunked)),
        (false, None, _) => Ok(None),
        (false, Some(_), Some(_)) => Err(Refusal::bad("two Content-Length fields")),
        (false, Some(len), None) => length(len.as_bytes()).map(|len| Some(Framing::Length(len))),
    }
}

/// Chunked is the only coding that is understood, and a message has it once, as the last one (RFC 9112, section 6.1).
///
/// A list with empty members is refused: a reader that takes the field for a word does not see `chunked` in it.
fn is_only_chunked(headers: &HeaderMap) -> Result<(), Refusal> {
    let values = headers.get_all(TRANSFER_ENCODING).iter();
    let codings: Vec<_> = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(trim).collect();
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match codings.split_last() {
        Some((last, [])) if is_chunked(last) => Ok(()),
        Some((last, _)) if !is_chunked(last) => Err(Refusal::bad("Transfer-Encoding does not end with chunked")),
        Some((_, others)) if others.iter().any(is_chunked) => Err(Refusal::bad("Transfer-Encoding has chunked twice")),
        Some((_, others)) if others.iter().all(|coding| is_word(coding)) => {
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "a Transfer-Encoding other than chunked"))
        }
        _ => Err(Refusal::bad("a bad Transfer-Encoding")),
    }
}

fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token)
}

/// Digits and nothing else (RFC 9110, section 8.6). Rust's own parser would accept a plus sign.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::bad("a bad Content-Length"));
    }
    let parsed = str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    parsed.ok_or(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "Content-Length is over 64 bits"))
}
