//! The server's side of the opening handshake (RFC 6455, 4.2).

use std::collections::HashSet;
use std::{error, fmt};

use ::http::header::{
    ALLOW, CONNECTION, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use ::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::head::{VERSION, WEBSOCKET, accept_key, push_extra, push_field};
use crate::websocket::extensions;
use crate::websocket::fields::{has_token, is_token, list, only};

/// The parts of a request that [`check_request`] looks at.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// `GET`, if the request is a handshake.
    pub method: &'a Method,
    /// The version of HTTP.
    pub version: Version,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The host that the client has named, with its port: the header `Host`. `None` if there is none.
    pub host: Option<&'a str>,
}

/// A request that may be answered with [`response`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The subprotocols that the client offers, the best first. Each is a token, and none occurs twice.
    pub protocols: Vec<String>,
}

/// A request that is answered with an error. The connection can still be used for HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The status of the answer.
    pub status: StatusCode,
    /// A sentence for the body of the answer and for the log.
    pub reason: &'static str,
    /// Headers that the status requires.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, reason: &'static str) -> Refused {
        Refused { status, reason, headers: Vec::new() }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Refused {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.reason)
    }
}

impl error::Error for Refused {}

/// Server: checks that a request is a handshake, and a correct one (RFC 6455, 4.2.1).
///
/// | the request | is answered with |
/// |---|---|
/// | is no `GET` | 405 |
/// | is not HTTP/1.1 | 505 |
/// | does not ask for an upgrade to `websocket` | 426, which names the protocol |
/// | has another `Sec-WebSocket-Version` than 13, or none, or several | 426, which names the version |
/// | has no host, no `upgrade` in `Connection`, no key of 16 bytes, or two keys | 400 |
/// | has a malformed list of extensions or subprotocols, or a subprotocol twice | 400 |
pub fn check_request(request: RequestParts<'_>) -> Result<Opening, Refused> {
    let headers = request.headers;
    let bad = |reason| Err(Refused::new(StatusCode::BAD_REQUEST, reason));
    if request.method != Method::GET {
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket handshake is a GET request");
        return Err(refused.with(ALLOW, "GET"));
    }
    if request.version != Version::HTTP_11 {
        let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        return Err(Refused::new(status, "a WebSocket handshake needs HTTP/1.1"));
    }
    if !has_token(headers, &UPGRADE, WEBSOCKET) {
        let refused = Refused::new(StatusCode::UPGRADE_REQUIRED, "this address is for WebSocket connections");
        return Err(refused.with(UPGRADE, WEBSOCKET));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return bad("the header Connection does not contain upgrade; a proxy may have removed it");
    }
    if request.host.is_none_or(str::is_empty) {
        return bad("the header Host is missing");
    }
    if only(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        let refused = Refused::new(StatusCode::UPGRADE_REQUIRED, "this server speaks version 13 of WebSocket");
        return Err(refused.with(UPGRADE, WEBSOCKET).with(SEC_WEBSOCKET_VERSION, VERSION));
    }
    let Some(key) = only(headers, &SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).filter(|key| is_key(key))
    else {
        return bad("Sec-WebSocket-Key must occur once and have 16 bytes in base64");
    };
    if extensions::parse(headers).is_err() {
        return bad("Sec-WebSocket-Extensions is malformed");
    }
    let Some(protocols) = offered_protocols(headers) else {
        return bad("Sec-WebSocket-Protocol must be a list of different tokens");
    };
    Ok(Opening { accept: accept_key(key), protocols })
}

/// 16 bytes in base64: 22 characters, of which the last one has four unused bits, and two padding characters.
pub(super) fn is_key(key: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.len() == 24 && key.strip_suffix("==").is_some_and(|digits| digits.bytes().all(is_base64))
}

/// `None` if an element is no token or occurs twice.
fn offered_protocols(headers: &HeaderMap) -> Option<Vec<String>> {
    let offered = list(headers, &SEC_WEBSOCKET_PROTOCOL).collect::<Option<Vec<&str>>>()?;
    let mut seen = HashSet::new();
    let is_legal = offered.iter().all(|protocol| is_token(protocol) && seen.insert(*protocol));
    is_legal.then(|| offered.into_iter().map(str::to_owned).collect())
}

/// Server: the first subprotocol of the client's list that the server supports.
///
/// The client's order decides, because the client lists them by preference (RFC 6455, 4.1); npm `ws` does the same. If
/// the result is `None` the connection has no subprotocol. A browser that has offered some fails it then.
///
/// ```
/// use bucle::websocket::handshake::choose_protocol;
///
/// let names = |list: [&str; 2]| list.map(str::to_owned);
/// let chosen = choose_protocol(&names(["chat.v2", "chat.v1"]), &names(["chat.v1", "chat.v2"]));
/// assert_eq!(chosen.as_deref(), Some("chat.v2"));
/// ```
pub fn choose_protocol(offered: &[String], supported: &[String]) -> Option<String> {
    offered.iter().find(|protocol| supported.contains(protocol)).cloned()
}

/// Server: the whole answer 101, up to and with the blank line. Frames follow it.
///
/// `accept` is that of the [`Opening`], `protocol` one of its protocols, and `extensions` the answer of
/// [`deflate::negotiate`](crate::websocket::deflate::negotiate). `extra` are headers of the program, such as
/// `Set-Cookie`. Headers that belong to the handshake itself, or to a body, are left out of `extra`.
pub fn response(accept: &str, protocol: Option<&str>, extensions: Option<&str>, extra: &HeaderMap) -> Vec<u8> {
    let mut head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
    push_field(&mut head, "Sec-WebSocket-Accept", accept);
    if let Some(protocol) = protocol {
        push_field(&mut head, "Sec-WebSocket-Protocol", protocol);
    }
    if let Some(extensions) = extensions {
        push_field(&mut head, "Sec-WebSocket-Extensions", extensions);
    }
    push_extra(&mut head, extra);
    head
}
