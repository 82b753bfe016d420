//! The bytes of answers: lines of a head, and the whole answer to a request that is refused.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Refusal;
use super::fields::push_header;
use super::head::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use crate::Loop;

/// The answer to a request that is refused. The connection is closed after it.
pub(super) fn refusal(lp: &mut Loop, refusal: &Refusal) -> Vec<u8> {
    let text = format!("{} {}\n", refusal.status, refusal.reason);
    let mut bytes = Vec::with_capacity(256);
    push_status(&mut bytes, refusal.status);
    let mut headers = HeaderMap::new();
    set_text(&mut headers);
    for (name, value) in &headers {
        push_header(&mut bytes, name.as_str(), value.as_bytes());
    }
    push_header(&mut bytes, "Date", date(lp).as_bytes());
    push_header(&mut bytes, "Content-Length", text.len().to_string().as_bytes());
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        push_header(&mut bytes, "Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    push_header(&mut bytes, "Connection", b"close");
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Whether an answer with this status has a body (RFC 9110, 6.4.1).
pub(super) fn has_body(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

pub(super) fn set_text(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_static("text/plain; charset=utf-8"));
}

pub(super) fn push_status(out: &mut Vec<u8>, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or("");
    let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", status.as_str());
}

/// The value of the header `Date` (RFC 9110, 6.6.1), made once a second.
#[derive(Default)]
struct DateCache {
    second: u64,
    text: String,
}

pub(super) fn date(lp: &mut Loop) -> String {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let cache = lp.layer_mut::<DateCache>();
    if cache.second != second || cache.text.is_empty() {
        *cache = DateCache { second, text: httpdate::fmt_http_date(now) };
    }
    cache.text.clone()
}
