//! Files that a server keeps in memory: a page, its script, its style sheet.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::head::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use super::{Exchange, Response};
use crate::Loop;

/// A file in memory, with its type and an `ETag` (RFC 9110, 8.8.3).
///
/// ```
/// use bucle::http::{Asset, Exchange, Request};
/// use bucle::Loop;
///
/// fn on_request(lp: &mut Loop, exchange: Exchange, request: &Request, page: &Asset) {
///     match request.path() {
///         "/" => exchange.serve(lp, request, page),
///         _ => exchange.respond_text(lp, bucle::http::StatusCode::NOT_FOUND, "not found\n"),
///     };
/// }
/// # let _ = Asset::new("text/html; charset=utf-8", "<!doctype html>");
/// ```
#[derive(Clone, Debug)]
pub struct Asset {
    bytes: Cow<'static, [u8]>,
    headers: HeaderMap,
    etag: HeaderValue,
}

impl Asset {
    /// A file with this `Content-Type`. Clients ask each time whether it has changed (`Cache-Control: no-cache`).
    pub fn new(content_type: &'static str, text: impl Into<Cow<'static, str>>) -> Asset {
        Self::from_bytes(
            content_type,
            match text.into() {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
        )
    }

    /// As [`new`](Self::new), for files that are no text.
    pub fn from_bytes(content_type: &'static str, bytes: impl Into<Cow<'static, [u8]>>) -> Asset {
        let bytes = bytes.into();
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let etag = HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\""));
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_static(content_type));
        headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-cache"));
        headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        headers.insert(HeaderName::from_static("etag"), etag.clone());
        Asset { bytes, headers, etag }
    }

    /// Adds a header to every answer, or replaces one.
    ///
    /// # Panics
    /// If the name or the value cannot be those of a header.
    pub fn header(mut self, name: &'static str, value: &'static str) -> Asset {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("the name of a header");
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Whether the client has this version already (`If-None-Match`, RFC 9110, 13.1.2).
    fn is_known(&self, request: &Request) -> bool {
        let etag = self.etag.as_bytes();
        request.headers().get_all("if-none-match").iter().any(|value| {
            let mut tags = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
        })
    }
}

impl Exchange {
    /// Answers with a file in memory: 304 if the client has it already, and 405 for methods other than GET and HEAD.
    pub fn serve(self, lp: &mut Loop, request: &Request, asset: &Asset) -> bool {
        self.serve_with(lp, request, asset, HeaderMap::new())
    }

    /// As [`serve`](Self::serve), with further headers.
    pub(crate) fn serve_with(self, lp: &mut Loop, request: &Request, asset: &Asset, headers: HeaderMap) -> bool {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = Response::new("only GET and HEAD are possible here\n");
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            *response.headers_mut() = headers;
            response.headers_mut().insert(HeaderName::from_static("allow"), HeaderValue::from_static("GET, HEAD"));
            return self.respond(lp, response);
        }
        let is_known = asset.is_known(request);
        let mut response = Response::new(if is_known { &[][..] } else { &asset.bytes });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        *response.headers_mut() = headers;
        response.headers_mut().extend(asset.headers.clone());
        self.respond(lp, response)
    }
}
