//! The client's side of the opening handshake (RFC 6455, 4.1).

use std::{error, fmt};

use ::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use ::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::head::{VERSION, WEBSOCKET, accept_key, push_extra, push_field};
use crate::http::url::{self, Mistake, Target};
use crate::websocket::deflate::{self, BadAnswer, DeflateOptions, Params};
use crate::websocket::extensions;
use crate::websocket::fields::{has_token, is_token, only};

/// A text that is no URL to connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadUrl {
    /// The URL starts with `wss://`.
    Tls,
    /// The URL does not start with `ws://`.
    Scheme,
    /// There is no host, or a character that a URL cannot have.
    Malformed,
    /// The port is no number from 1 to 65535.
    Port,
    /// There is a user or a password in front of the host.
    UserInfo,
    /// There is a fragment, `#…`, which a WebSocket URL must not have (RFC 6455, 3).
    Fragment,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadUrl::Tls => "TLS is not supported: the URL must start with ws:// instead of wss://",
            BadUrl::Scheme => "a WebSocket URL starts with ws://",
            BadUrl::Malformed => "the URL is malformed: ws://HOST:PORT/PATH is expected",
            BadUrl::Port => "the port of the URL must be a number from 1 to 65535",
            BadUrl::UserInfo => "a WebSocket URL cannot contain a user or a password; send a header instead",
            BadUrl::Fragment => "a WebSocket URL cannot contain a fragment (#); write %23 for the character",
        })
    }
}

impl error::Error for BadUrl {}

impl From<Mistake> for BadUrl {
    fn from(mistake: Mistake) -> BadUrl {
        match mistake {
            Mistake::Malformed => BadUrl::Malformed,
            Mistake::Port => BadUrl::Port,
            Mistake::UserInfo => BadUrl::UserInfo,
        }
    }
}

/// Takes a URL apart. Only `ws://` is accepted; npm `ws` accepts `http://` as well.
///
/// ```
/// use bucle::websocket::handshake::parse_url;
///
/// let target = parse_url("ws://[::1]:8080/chat?room=1")?;
/// assert_eq!((target.host.as_str(), target.port), ("::1", 8080));
/// assert_eq!((target.authority.as_str(), target.path_and_query.as_str()), ("[::1]:8080", "/chat?room=1"));
/// # Ok::<(), bucle::websocket::handshake::BadUrl>(())
/// ```
pub fn parse_url(url: &str) -> Result<Target, BadUrl> {
    match url.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("ws") => {}
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("wss") => return Err(BadUrl::Tls),
        _ => return Err(BadUrl::Scheme),
    }
    // A fragment would be dropped without a word.
    if url.contains('#') {
        return Err(BadUrl::Fragment);
    }
    Ok(url::take_apart(url)?)
}

/// The value of `Sec-WebSocket-Key`: 16 random bytes in base64. Each connection needs new ones (RFC 6455, 4.1).
pub fn key(random: [u8; 16]) -> String {
    BASE64_STANDARD.encode(random)
}

/// A subprotocol to be offered is no token, or occurs twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadProtocol;

impl fmt::Display for BadProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("subprotocols must be different tokens, without blanks and delimiters")
    }
}

impl error::Error for BadProtocol {}

/// The whole request, up to and with the blank line.
///
/// `key` is made by [`key`], and `extensions` by [`deflate::offer`]. `extra` are headers of the program, such as
/// `Origin` or `Cookie`. Headers that belong to the handshake itself, or to a body, are left out of `extra`.
pub fn request(
    target: &Target,
    key: &str,
    protocols: &[String],
    extensions: Option<&str>,
    extra: &HeaderMap,
) -> Result<Vec<u8>, BadProtocol> {
    let is_new = |at: usize| !protocols[..at].contains(&protocols[at]);
    if !(0..protocols.len()).all(|at| is_token(&protocols[at]) && is_new(at)) {
        return Err(BadProtocol);
    }
    let mut head = format!("GET {} HTTP/1.1\r\n", target.path_and_query).into_bytes();
    push_field(&mut head, "Host", &target.authority);
    push_field(&mut head, "Upgrade", WEBSOCKET);
    push_field(&mut head, "Connection", "Upgrade");
    push_field(&mut head, "Sec-WebSocket-Key", key);
    push_field(&mut head, "Sec-WebSocket-Version", VERSION);
    if !protocols.is_empty() {
        push_field(&mut head, "Sec-WebSocket-Protocol", protocols.join(", "));
    }
    if let Some(extensions) = extensions {
        push_field(&mut head, "Sec-WebSocket-Extensions", extensions);
    }
    push_extra(&mut head, extra);
    Ok(head)
}

/// The result of a handshake: the subprotocol and the compression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// The subprotocol that the server has chosen. `None` is legal even if some were offered.
    pub protocol: Option<String>,
    /// The parameters of permessage-deflate. `None`: messages are not compressed.
    pub params: Option<Params>,
}

/// An answer that does not open a WebSocket. The client must close the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadResponse {
    /// The server refuses the handshake, or redirects: the status is not 101.
    Status(StatusCode),
    /// `Upgrade` is missing or names another protocol.
    Upgrade,
    /// `Connection` does not contain `upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated or wrong: the server does not speak WebSocket.
    Accept,
    /// `Sec-WebSocket-Protocol` is repeated, or names a subprotocol that was not offered.
    Protocol,
    /// `Sec-WebSocket-Extensions` does not fit the offer.
    Extensions(BadAnswer),
}

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadResponse::Status(status) => write!(f, "the server answers with the status {status} instead of 101"),
            BadResponse::Upgrade => f.write_str("the server does not answer with Upgrade: websocket"),
            BadResponse::Connection => f.write_str("the server does not answer with Connection: Upgrade"),
            BadResponse::Accept => f.write_str("the server's Sec-WebSocket-Accept does not fit the key"),
            BadResponse::Protocol => f.write_str("the server chooses a subprotocol that was not offered"),
            BadResponse::Extensions(answer) => answer.fmt(f),
        }
    }
}

impl error::Error for BadResponse {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            BadResponse::Extensions(answer) => Some(answer),
            _ => None,
        }
    }
}

/// Checks the answer to a [`request`] with the same key, subprotocols and options (RFC 6455, 4.1, the list "the client
/// MUST validate the server's response"). `deflate` is `None` if the request had no extensions.
pub fn check_response(
    status: StatusCode,
    headers: &HeaderMap,
    key: &str,
    protocols: &[String],
    deflate: Option<&DeflateOptions>,
) -> Result<Agreed, BadResponse> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(BadResponse::Status(status));
    }
    if only(headers, &UPGRADE).is_none_or(|upgrade| !upgrade.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes())) {
        return Err(BadResponse::Upgrade);
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(BadResponse::Connection);
    }
    if only(headers, &SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| accept != accept_key(key).as_str()) {
        return Err(BadResponse::Accept);
    }
    let params = match deflate {
        Some(options) => deflate::accept(headers, options).map_err(BadResponse::Extensions)?,
        None => no_extensions(headers)?,
    };
    let protocol = match only(headers, &SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) => Some(protocols.iter().find(|offered| chosen == offered.as_str()).ok_or(BadResponse::Protocol)?),
        None if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) => return Err(BadResponse::Protocol),
        None => None,
    };
    Ok(Agreed { protocol: protocol.cloned(), params })
}

/// A server must not answer with extensions if none was offered.
fn no_extensions(headers: &HeaderMap) -> Result<Option<Params>, BadResponse> {
    match extensions::parse(headers) {
        Ok(answers) if answers.is_empty() => Ok(None),
        Ok(_) => Err(BadResponse::Extensions(BadAnswer::NotOffered)),
        Err(_) => Err(BadResponse::Extensions(BadAnswer::Malformed)),
    }
}
