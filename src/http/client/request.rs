//! A request of a client, and its bytes.

use std::time::Duration;

use ::http::header::{HOST, TE, UPGRADE};
use ::http::{HeaderMap, Method};

use crate::http::fields::{is_of_the_connection, push_header};
use crate::http::url::Target;

/// The default of [`ClientRequest::timeout`].
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request, for [`Client::request`](super::Client::request).
///
/// ```
/// use std::time::Duration;
/// use bucle::http::{ClientRequest, HeaderValue};
///
/// let timeout = Duration::from_secs(5);
/// let mut request = ClientRequest { timeout, ..ClientRequest::post("http://localhost:8080/rooms", "name=one") };
/// request.headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientRequest {
    /// The method. All but CONNECT are possible.
    pub method: Method,
    /// `http://host:port/path?query`; see [`parse_url`](crate::http::url::parse_url).
    pub url: String,
    /// Further headers. `Host` takes the place of the one that is made from the URL. Headers about the connection and
    /// the length of the body are set by the client; in this map they are left out: `Connection`, `Content-Length`,
    /// `Keep-Alive`, `TE`, `Transfer-Encoding` and `Upgrade`.
    pub headers: HeaderMap,
    /// The whole body. It is sent with its length.
    pub body: Vec<u8>,
    /// How long the whole exchange may take: the wait for a connection, the connect, and the request up to the last
    /// byte of the response. Zero: no limit. Default: 60 s.
    pub timeout: Duration,
}

impl ClientRequest {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> ClientRequest {
        ClientRequest { method, url: url.into(), headers: HeaderMap::new(), body: Vec::new(), timeout: TIMEOUT }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> ClientRequest {
        ClientRequest::new(Method::GET, url)
    }

    /// A POST request with a body. Its `Content-Type` is the program's to set.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> ClientRequest {
        ClientRequest { body: body.into(), ..ClientRequest::new(Method::POST, url) }
    }

    /// The head of the request on the wire. With `closes` the server is told that no other request follows.
    pub(super) fn head(&self, target: &Target, closes: bool) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        for part in [self.method.as_str(), " ", &target.path_and_query, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        let host = self.headers.get(HOST).map_or(target.authority.as_bytes(), |host| host.as_bytes());
        push_header(&mut head, "Host", host);
        for (name, value) in &self.headers {
            if !is_of_the_connection(name) && ![HOST, TE, UPGRADE].contains(name) {
                push_header(&mut head, name.as_str(), value.as_bytes());
            }
        }
        // RFC 9110, 8.6: a length of 0 is said if the method usually has a body.
        if !self.body.is_empty() || matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            push_header(&mut head, "Content-Length", self.body.len().to_string().as_bytes());
        }
        if closes {
            push_header(&mut head, "Connection", b"close");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::http::body::Framing;
    use crate::http::head::{HeadLimits, parse_request};
    use crate::http::url::parse_url;

    fn head(request: &ClientRequest) -> String {
        let target = parse_url(&request.url).expect("a good URL");
        String::from_utf8(request.head(&target, false)).expect("text")
    }

    fn with(mut request: ClientRequest, headers: &[(&'static str, &'static str)]) -> ClientRequest {
        for (name, value) in headers {
            request.headers.append(*name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn a_request_has_a_host_and_the_length_of_its_body() {
        let url = "http://a:81/x?y=1#z";
        let table = [
            (ClientRequest::get("http://a"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (ClientRequest::get(url), "GET /x?y=1 HTTP/1.1\r\nHost: a:81\r\n\r\n"),
            (ClientRequest::get("http://[::1]:81/"), "GET / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n"),
            (ClientRequest::post(url, "hola"), "POST /x?y=1 HTTP/1.1\r\nHost: a:81\r\nContent-Length: 4\r\n\r\n"),
            (ClientRequest::post(url, ""), "POST /x?y=1 HTTP/1.1\r\nHost: a:81\r\nContent-Length: 0\r\n\r\n"),
            (ClientRequest::new(Method::DELETE, url), "DELETE /x?y=1 HTTP/1.1\r\nHost: a:81\r\n\r\n"),
        ];
        for (request, want) in table {
            assert_eq!(head(&request), want);
        }
        let target = parse_url("http://a").expect("a good URL");
        let closing = ClientRequest::get("http://a").head(&target, true);
        assert_eq!(closing, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn headers_of_the_program_are_sent_but_not_those_of_the_connection() {
        let own = [
            ("connection", "close"),
            ("content-length", "7"),
            ("keep-alive", "timeout=1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
        ];
        assert_eq!(head(&with(ClientRequest::get("http://a"), &own)), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let request =
            with(ClientRequest::get("http://a"), &[("x-a", "b"), ("host", "c:1"), ("x-a", ""), ("host", "d")]);
        assert_eq!(head(&request), "GET / HTTP/1.1\r\nHost: c:1\r\nx-a: b\r\nx-a: \r\n\r\n");
    }

    proptest! {
        /// Whatever the program passes, a server reads one request with the same meaning.
        #[test]
        fn a_request_is_read_as_it_was_meant(
            method in "[A-Z]{1,8}|GET|POST|PUT",
            path in "[ -~\\r\\n]{0,20}",
            fields in proptest::collection::vec(("[a-z-]{1,8}|host|connection|content-length", "[ -~\\r\\n\\x80-\\xff]{0,12}"), 0..4),
            body in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let url = format!("http://localhost:1/{path}");
            let (Ok(method), Ok(target)) = (Method::from_bytes(method.as_bytes()), parse_url(&url)) else { return Ok(()) };
            let mut request = ClientRequest { method, body, ..ClientRequest::new(Method::GET, url) };
            for (name, value) in fields.iter().filter(|(name, _)| name != "host" && name != "expect") {
                if let (Ok(name), Ok(value)) = (name.parse::<::http::HeaderName>(), HeaderValue::from_str(value)) {
                    request.headers.append(name, value);
                }
            }
            let bytes = request.head(&target, false);
            let parsed = parse_request(&bytes, &HeadLimits::default());
            if matches!(request.method, Method::CONNECT | Method::TRACE) {
                return Ok(());
            }
            let (read, framing, used) = parsed.expect("a good request").expect("it is whole");
            prop_assert_eq!(used, bytes.len());
            prop_assert_eq!((read.method(), read.target()), (&request.method, target.path_and_query.as_str()));
            let len = match framing {
                Framing::None => 0,
                Framing::Length(len) => len,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(len, request.body.len() as u64);
            prop_assert_eq!(read.host(), Some("localhost:1"));
        }
    }
}
