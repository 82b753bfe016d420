//! The request with which a client came. It is one text, which is kept as long as the client ([`Texts`](super::texts)).

use std::borrow::Cow;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::engine_io::query;
use crate::http::Request;

/// The request with which a client came.
///
/// Node: [`socket.handshake`](https://socket.io/docs/v4/server-socket-instance/#sockethandshake). Its `auth` is
/// [`Socket::auth`](super::Socket::auth), because each namespace has its own.
///
/// It is a copy, so it can still be read when the client has left.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Its parts, each with a NUL (`␀`) behind it:
    ///
    /// ```text
    /// 1764723456000000000␀127.0.0.1:50123␀/socket.io/?EIO=4␀host␀localhost␀origin␀http://a.example␀
    /// time                address         target            a name and a value for each header
    /// ```
    ///
    /// The time is in nanoseconds since 1970. There is no address on a unix path: that part is empty.
    text: String,
}

impl Handshake {
    pub(super) fn of_text(text: String) -> Handshake {
        Handshake { text }
    }

    /// The text of a request that has just arrived.
    pub(super) fn text_of(request: &Request, address: Option<SocketAddr>) -> String {
        let headers_len: usize =
            request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 2).sum();
        let mut text = String::with_capacity(TIME_AND_ADDRESS + request.target().len() + headers_len);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = write!(text, "{}\0", since.as_nanos());
        if let Some(address) = address {
            let _ = write!(text, "{address}");
        }
        text.extend(["\0", request.target(), "\0"]);
        for (name, value) in request.headers() {
            // Values that are not UTF-8 are read as Latin-1, as in Node.
            let value: Cow<'_, str> = match std::str::from_utf8(value.as_bytes()) {
                Ok(value) => value.into(),
                Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>().into(),
            };
            text.extend([name.as_str(), "\0", &*value, "\0"]);
        }
        text
    }

    /// A part of the text, by its number.
    fn part(&self, number: usize) -> &str {
        self.text.split('\0').nth(number).unwrap_or_default()
    }

    /// The target of the request: path and query.
    pub fn url(&self) -> &str {
        self.part(2)
    }

    /// The headers in the order in which they were sent. Names are in small letters.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.text.split('\0').skip(3);
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
        self.part(1).parse().ok()
    }

    /// When the request arrived.
    #[doc(alias = "issued")]
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.part(0).parse().unwrap_or_default())
    }

    /// Whether a page of some origin has sent the request: it has the header `Origin`.
    pub fn xdomain(&self) -> bool {
        self.header("origin").is_some()
    }
}

/// Room for the longest time and the longest address.
const TIME_AND_ADDRESS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{HeadLimits, parse_request};

    fn handshake(head: &str) -> Handshake {
        let (request, ..) = parse_request(head.as_bytes(), &HeadLimits::default()).expect("valid").expect("complete");
        Handshake::of_text(Handshake::text_of(&request, "[fe80::1%2]:80".parse().ok()))
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
        assert_eq!(handshake.address(), "[fe80::1%2]:80".parse().ok());
        let age = handshake.time().elapsed().expect("it came before now");
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_read_as_latin_1() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n";
        let (request, ..) = parse_request(head, &HeadLimits::default()).expect("valid").expect("complete");
        let handshake = Handshake::of_text(Handshake::text_of(&request, None));
        assert_eq!((handshake.header("x"), handshake.address()), (Some("é"), None));
    }
}
