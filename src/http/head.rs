//! Heads of requests and responses: bytes in, values out (RFC 9112, sections 2 to 6).
//!
//! Three steps lead from received bytes to a [`Request`] or a [`ResponseHead`]:
//!
//! ```text
//!   bytes ──▶ finder.rs ──▶ httparse ──▶ target.rs, fields.rs ──▶ Request, Framing
//!             where the     start line   what the specification
//!             head ends     and fields   says about their values
//! ```
//!
//! 1. **The end.** Each byte is examined once, when it arrives: a peer that sends a head byte by byte costs no more
//!    than one that sends it whole. A first line that is not HTTP is refused at its first wrong byte, and so are a bare
//!    CR, a bare LF and a folded line.
//! 2. **The fields.** The crate `httparse` parses the complete head.
//! 3. **The meaning.** The target, `Host`, the lengths and `Expect` must be valid, and there is one way to read each of
//!    them.
//!
//! # What is refused
//!
//! | status | reason | RFC |
//! |---|---|---|
//! | 400 | the first line is not HTTP; more than two empty lines before it | 9112, 2.2 and 3 |
//! | 400 | a bare LF, which a server may accept but need not; a bare CR; a control byte | 9112, 2.2; 9110, 5.5 |
//! | 400 | a blank before the first field or a colon; a field that is folded | 9112, 2.2, 5.1 and 5.2 |
//! | 400 | `Content-Length` twice, or with `Transfer-Encoding`, or not a number | 9112, 6.3 |
//! | 400 | `Transfer-Encoding` in HTTP/1.0, or one that does not end with `chunked`, or has it twice | 9112, 6.1, 6.3 |
//! | 400 | no `Host` in HTTP/1.1; two of them; one that is not a host and a port | 9112, 3.2 |
//! | 400 | a target that is neither a path nor an absolute URI, nor `*` for OPTIONS | 9112, 3.2 |
//! | 405 | CONNECT and TRACE | 9110, 9.3.6 and 9.3.8 |
//! | 413 | a `Content-Length` of more than 64 bits | 9110, 8.6 |
//! | 414 | a target so long that the head is over its limit | 9112, 3 |
//! | 417 | `Expect` with anything but `100-continue` | 9110, 10.1.1 |
//! | 431 | more bytes or more fields than [`HeadLimits`] | 6585, 5 |
//! | 501 | another coding before `chunked`; a method of more than 32 bytes | 9112, 6.1 and 3 |
//! | 505 | a version other than 1.0 and 1.1, also the beginning of HTTP/2 | 9110, 15.6.6 |
//!
//! A method is any token, as in the specification. The handler answers those that it does not know.

use ::http::header::{CONNECTION, UPGRADE};
pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use httparse::Status;

use super::body::Framing;
use super::refusal::{Malformed, Refusal};
pub use finder::HeadLimits;
use finder::{Finder, Kind, NOT_A_HEAD};
use target::Target;

mod fields;
mod finder;
#[cfg(test)]
mod smuggling;
mod target;
#[cfg(test)]
mod tests;

/// A request: its head, and its body if the caller has read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    method: Method,
    target: String,
    version: Version,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    /// The method. It may be any token, also in small letters; `get` is not `GET` (RFC 9110, section 9.1).
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target as it was sent: a path with a query, an absolute URI, or `*` (RFC 9112, section 3.2).
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path in the target, without the query. Percent signs are not decoded. It begins with `/`, or is `*`.
    pub fn path(&self) -> &str {
        Target::of(&self.target).path
    }

    /// The target behind its first `?`.
    pub fn query(&self) -> Option<&str> {
        Target::of(&self.target).query
    }

    /// The version: 1.0 or 1.1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All fields, under names in small letters.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a field; the first one if there are several. `None` also if the value is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        fields::text(&self.headers, name)
    }

    /// The host and the port that the request is for. The host in an absolute target wins over the field `Host`
    /// (RFC 9112, section 3.2.2). `None` only in HTTP/1.0.
    pub fn host(&self) -> Option<&str> {
        Target::of(&self.target).authority.or_else(|| self.header("host"))
    }

    /// The body. It is empty until [`set_body`](Request::set_body) is called.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Adds the body that was read after the head.
    pub fn set_body(&mut self, body: Vec<u8>) {
        self.body = body;
    }

    /// The connection may be used for another request (RFC 9112, section 9.3): by default in HTTP/1.1, and in HTTP/1.0
    /// if the client sent `keep-alive`.
    pub fn keeps_alive(&self) -> bool {
        fields::keeps_alive(self.version, &self.headers)
    }

    /// The field is a list that contains `token`. A list may be spread over several fields; blanks and tabs around
    /// commas have no meaning, and neither has the case of letters (RFC 9110, section 5.6.1).
    pub fn has_token(&self, header: HeaderName, token: &str) -> bool {
        fields::has_token(&self.headers, header, token)
    }

    /// The client proposes to go on with `protocol` on this connection (RFC 9110, section 7.8). Never in HTTP/1.0.
    pub fn upgrades_to(&self, protocol: &str) -> bool {
        self.version == Version::HTTP_11 && self.has_token(CONNECTION, "upgrade") && self.has_token(UPGRADE, protocol)
    }

    /// The client waits for a response 100 before it sends the body (RFC 9110, section 10.1.1). Never in HTTP/1.0.
    pub fn expects_continue(&self) -> bool {
        self.version == Version::HTTP_11 && self.has_token(::http::header::EXPECT, "100-continue")
    }
}

/// The head of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    status: StatusCode,
    reason: String,
    version: Version,
    headers: HeaderMap,
}

impl ResponseHead {
    /// The status: 100 to 999.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text behind the status. It may be empty, and is if it is not ASCII. Only for logs and for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The version: 1.0 or 1.1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All fields, under names in small letters.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a field; the first one if there are several. `None` also if the value is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        fields::text(&self.headers, name)
    }

    /// The connection may be used for another request; see [`Request::keeps_alive`]. A body with
    /// [`Framing::UntilClose`] closes it all the same.
    pub fn keeps_alive(&self) -> bool {
        fields::keeps_alive(self.version, &self.headers)
    }

    /// The field is a list that contains `token`; see [`Request::has_token`].
    pub fn has_token(&self, header: HeaderName, token: &str) -> bool {
        fields::has_token(&self.headers, header, token)
    }

    /// The server goes on with `protocol` on this connection: the bytes behind the head belong to it.
    pub fn upgrades_to(&self, protocol: &str) -> bool {
        self.status == StatusCode::SWITCHING_PROTOCOLS
            && self.has_token(CONNECTION, "upgrade")
            && self.has_token(UPGRADE, protocol)
    }
}

/// Parses the heads of one connection, one after the other. It does not matter where the reads cut them.
///
/// The caller stores the received bytes, and passes all of them, from the beginning of the head, whenever more have
/// arrived. The parser remembers how many it has examined, so each byte is examined once. 16 bytes, and no heap; a
/// parser between two heads has no state, so the caller may drop it there.
///
/// ```
/// use bucle::http::body::Framing;
/// use bucle::http::head::{HeadLimits, HeadParser};
///
/// let (mut parser, limits) = (HeadParser::default(), HeadLimits::default());
/// let mut received = b"GET /chat?room=1 HTTP/1.1\r\nHo".to_vec();
/// assert!(parser.request(&received, &limits)?.is_none());
///
/// received.extend_from_slice(b"st: localhost\r\n\r\n");
/// let (request, framing, used) = parser.request(&received, &limits)?.expect("it is complete");
/// assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
/// assert_eq!((framing, used), (Framing::None, received.len()));
/// # Ok::<(), bucle::http::Refusal>(())
/// ```
#[derive(Clone, Default, Debug)]
pub struct HeadParser {
    finder: Finder,
}

const _: () = assert!(size_of::<HeadParser>() <= 16);

impl HeadParser {
    /// Parses the request at the front of `bytes`: the request, the framing of its body, and the length of its head.
    /// `None` if the head is not complete.
    ///
    /// # Errors
    ///
    /// The head is not acceptable, or cannot become so. A further call with the same bytes returns the same error.
    pub fn request(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Request, Framing, usize)>, Refusal> {
        let Some(found) = self.finder.find(Kind::Request, bytes, limits)? else { return Ok(None) };
        let (request, framing) = parse_whole_request(&bytes[found.start..found.end], found.fields)?;
        self.finder = Finder::default();
        Ok(Some((request, framing, found.end)))
    }

    /// The same for the response to a request with the method `request_method`, which decides whether there is a body.
    ///
    /// A response with a status below 200, except 101, is followed by the final response (RFC 9110, section 15.2).
    ///
    /// # Errors
    ///
    /// As for [`request`](HeadParser::request).
    pub fn response(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
        request_method: &Method,
    ) -> Result<Option<(ResponseHead, Framing, usize)>, Malformed> {
        let Some(found) = self.finder.find(Kind::Response, bytes, limits)? else { return Ok(None) };
        let (response, framing) = parse_whole_response(&bytes[..found.end], found.fields, request_method)?;
        self.finder = Finder::default();
        Ok(Some((response, framing, found.end)))
    }
}

/// Parses the request at the front of `bytes`, for callers that have all of it; see [`HeadParser::request`].
///
/// # Errors
///
/// The head is not acceptable, or cannot become so.
pub fn parse_request(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Request, Framing, usize)>, Refusal> {
    HeadParser::default().request(bytes, limits)
}

/// Parses the response at the front of `bytes`, for callers that have all of it; see [`HeadParser::response`].
///
/// # Errors
///
/// The head is not acceptable, or cannot become so.
pub fn parse_response(
    bytes: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
) -> Result<Option<(ResponseHead, Framing, usize)>, Malformed> {
    HeadParser::default().response(bytes, limits, request_method)
}

/// Parses a head that ends with `head` and has `field_count` lines of fields.
fn parse_whole_request(head: &[u8], field_count: usize) -> Result<(Request, Framing), Refusal> {
    let mut room = vec![httparse::EMPTY_HEADER; field_count];
    let mut parsed = httparse::Request::new(&mut room);
    is_whole(parsed.parse(head), head)?;
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Refusal::bad(NOT_A_HEAD));
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::bad("a bad method"))?;
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "CONNECT and TRACE are not served"));
    }
    if !target::is_valid(target, &method) {
        return Err(Refusal::bad("a bad request target"));
    }
    let (version, headers) = (version(minor), fields::collect(parsed.headers)?);
    fields::check_host(version, &headers)?;
    fields::check_expect(&headers)?;
    let framing = fields::framing(version, &headers)?.unwrap_or(Framing::None);
    Ok((Request { method, target: target.to_owned(), version, headers, body: Vec::new() }, framing))
}

fn parse_whole_response(
    head: &[u8],
    field_count: usize,
    request_method: &Method,
) -> Result<(ResponseHead, Framing), Refusal> {
    let mut room = vec![httparse::EMPTY_HEADER; field_count];
    let mut parsed = httparse::Response::new(&mut room);
    is_whole(parsed.parse(head), head)?;
    let (Some(minor), Some(code)) = (parsed.version, parsed.code) else { return Err(Refusal::bad(NOT_A_HEAD)) };
    let status = StatusCode::from_u16(code).map_err(|_| Refusal::bad("a status below 100"))?;
    let reason = parsed.reason.unwrap_or_default().to_owned();
    let (version, headers) = (version(minor), fields::collect(parsed.headers)?);
    // RFC 9112, section 6.3: these responses end with their head, whatever its fields claim.
    let is_bodiless = *request_method == Method::HEAD
        || (*request_method == Method::CONNECT && status.is_success())
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match is_bodiless {
        true => Framing::None,
        false => fields::framing(version, &headers)?.unwrap_or(Framing::UntilClose),
    };
    Ok((ResponseHead { status, reason, version, headers }, framing))
}

/// httparse has parsed the head and has found the same end as the finder.
fn is_whole(parsed: httparse::Result<usize>, head: &[u8]) -> Result<(), Refusal> {
    use httparse::Error;
    match parsed {
        Ok(Status::Complete(len)) if len == head.len() => Ok(()),
        Err(Error::HeaderName) => Err(Refusal::bad("a bad name of a field")),
        Err(Error::HeaderValue) => Err(Refusal::bad("a control byte in a field")),
        Err(Error::Status) => Err(Refusal::bad("a bad status line")),
        _ => Err(Refusal::bad(NOT_A_HEAD)),
    }
}

/// The finder has refused all other versions.
fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}
