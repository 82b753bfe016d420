//! The request with which a client came, kept as long as the client: in one block of memory, because an idle client has
//! nothing else of that size.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::SystemTime;

use crate::engine_io::query;
use crate::http::Request;

/// The request with which a client came.
///
/// Node: [`socket.handshake`](https://socket.io/docs/v4/server-socket-instance/#sockethandshake). Its `auth` is
/// [`Socket::auth`](super::Socket::auth), because each namespace has its own.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The target, and behind it `name`, NUL, `value`, NUL for each header.
    text: Box<str>,
    target_len: usize,
    address: Option<SocketAddr>,
    time: SystemTime,
}

impl Handshake {
    pub(super) fn new(request: &Request, address: Option<SocketAddr>) -> Handshake {
        let target_len = request.target().len();
        let headers_len: usize =
            request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 2).sum();
        let mut text = String::with_capacity(target_len + headers_len);
        text.push_str(request.target());
        for (name, value) in request.headers() {
            // Values that are not UTF-8 are read as Latin-1, as in Node.
            let value: Cow<'_, str> = match std::str::from_utf8(value.as_bytes()) {
                Ok(value) => value.into(),
                Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>().into(),
            };
            text.extend([name.as_str(), "\0", &*value, "\0"]);
        }
        Handshake { text: text.into_boxed_str(), target_len, address, time: SystemTime::now() }
    }

    /// The target of the request: path and query.
    pub fn url(&self) -> &str {
        &self.text[..self.target_len]
    }

    /// The headers in the order in which they were sent. Names are in small letters.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.text[self.target_len..].split('\0');
        std::iter::from_fn(move || Some((parts.next().filter(|name| !name.is_empty())?, parts.next()?)))
    }

    /// The value of a header; the first one if there are several. The name is in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The parameters of the query, those of the protocol (`EIO`, `transport`, …) included.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        query::pairs(self.url().split_once('?').map_or("", |(_, query)| query))
    }

    /// A parameter of the query.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        query::get(self.url().split_once('?').map_or("", |(_, query)| query), name)
    }

    /// The client's address; `None` on a unix path.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// When the request arrived.
    #[doc(alias = "issued")]
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// Whether a page of some origin has sent the request: it has the header `Origin`.
    pub fn xdomain(&self) -> bool {
        self.header("origin").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{HeadLimits, parse_request};

    fn handshake(head: &str) -> Handshake {
        let (request, ..) = parse_request(head.as_bytes(), &HeadLimits::default()).expect("valid").expect("complete");
        Handshake::new(&request, None)
    }

    #[test]
    fn headers_and_query_are_kept_as_they_came() {
        let handshake = handshake(
            "GET /socket.io/?EIO=4&name=Jos%C3%A9+A HTTP/1.1\r\nHost: localhost\r\nX-Empty:\r\nOrigin: http://a.example\r\n\r\n",
        );
        assert_eq!(handshake.url(), "/socket.io/?EIO=4&name=Jos%C3%A9+A");
        let headers: Vec<_> = handshake.headers().collect();
        assert_eq!(headers, [("host", "localhost"), ("x-empty", ""), ("origin", "http://a.example")]);
        assert_eq!(handshake.query_value("name").as_deref(), Some("José A"));
        assert_eq!(handshake.query_value("__proto__"), None);
        assert!(handshake.xdomain());
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_read_as_latin_1() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n";
        let (request, ..) = parse_request(head, &HeadLimits::default()).expect("valid").expect("complete");
        assert_eq!(Handshake::new(&request, None).header("x"), Some("é"));
    }
}
