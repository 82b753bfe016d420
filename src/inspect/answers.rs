//! The answers of the site. Each of them, also a refusal, has the headers that tell a browser how little it may do.

use crate::Loop;
use crate::http::{Asset, Exchange, HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The type of JSON.
pub(super) const JSON: &str = "application/json";

/// The type of sentences.
const TEXT: &str = "text/plain; charset=utf-8";

/// The rights of the page: files and connections of this server, and nothing else. An answer that is no page has no
/// rights beyond these either. Nothing is kept by the browser, no other site is told the URL, and the type of an answer
/// is not guessed.
const HEADERS: [(&str, &str); 4] = [
    ("content-security-policy", "default-src 'self'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
];

/// A file of the page.
pub(super) fn file(content_type: &'static str, text: &'static str) -> Asset {
    HEADERS.iter().fold(Asset::new(content_type, text), |asset, (name, value)| asset.header(name, value))
}

/// An answer with the headers of all answers and these.
pub(super) fn response<B>(status: StatusCode, headers: &[(&'static str, &str)], body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    add(response.headers_mut(), &HEADERS);
    add(response.headers_mut(), headers);
    response
}

/// A value that is no header value is left out.
fn add(map: &mut HeaderMap, headers: &[(&'static str, &str)]) {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Answers with a body of this type.
pub(super) fn answer(lp: &mut Loop, exchange: Exchange, content_type: &str, body: impl AsRef<[u8]>) {
    exchange.respond(lp, response(StatusCode::OK, &[("content-type", content_type)], body));
}

/// Answers with a sentence.
pub(super) fn say(lp: &mut Loop, exchange: Exchange, status: StatusCode, sentence: &str) {
    exchange.respond(lp, response(status, &[("content-type", TEXT)], sentence));
}

/// As [`say`], and closes the connection.
pub(super) fn say_and_close(lp: &mut Loop, exchange: Exchange, status: StatusCode, sentence: &str) {
    exchange.respond_and_close(lp, response(status, &[("content-type", TEXT)], sentence));
}

/// Answers that the target has only these methods.
pub(super) fn only(lp: &mut Loop, exchange: Exchange, methods: &str) {
    let sentence = format!("only {methods} is possible here\n");
    let headers = [("content-type", TEXT), ("allow", methods)];
    exchange.respond(lp, response(StatusCode::METHOD_NOT_ALLOWED, &headers, sentence));
}
