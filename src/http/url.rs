//! The URLs that a client connects to (RFC 3986, RFC 9110, section 4.2): `http://` here, `ws://` in the layer above.
//!
//! ```text
//!   http://[::1]:8080/chat?room=1#top
//!          └──┬─────┘└────┬─────┘└┬─┘
//!     host and port   sent as it  not sent
//!                     is
//! ```

use std::{error, fmt};

use ::http::Uri;

/// The port of a URL without one, for HTTP (RFC 9110, section 4.2.1) and for WebSocket (RFC 6455, section 3).
const DEFAULT_PORT: u16 = 80;

/// The parts of a URL.
///
/// They are visible ASCII without blanks, so they cannot end the line of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// A name or an address, to connect to. An IPv6 address is without brackets.
    pub host: String,
    /// 80 if the URL has none.
    pub port: u16,
    /// The header `Host`: host and port, without the port if it is 80.
    pub authority: String,
    /// Starts with `/`. A fragment, which is not sent, is left out.
    pub path_and_query: String,
}

/// A text that is no URL of an HTTP server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadUrl {
    /// The URL starts with `https://`.
    Tls,
    /// The URL does not start with `http://`.
    Scheme,
    /// There is no host, or a character that a URL cannot have.
    Malformed,
    /// The port is no number from 1 to 65535.
    Port,
    /// There is a user or a password in front of the host.
    UserInfo,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadUrl::Tls => "TLS is not supported: the URL must start with http:// instead of https://",
            BadUrl::Scheme => "the URL must start with http://",
            BadUrl::Malformed => "the URL is malformed: http://HOST:PORT/PATH is expected",
            BadUrl::Port => "the port of the URL must be a number from 1 to 65535",
            BadUrl::UserInfo => "the URL cannot contain a user or a password; send the header Authorization instead",
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

/// Takes a URL apart. Only `http://` is accepted.
///
/// A user name is refused, as RFC 9110 (section 4.2.4) advises: programs show URLs in logs. Letters beyond ASCII are
/// refused, too: the caller encodes them, with percent signs in a path and as `xn--…` in a name.
///
/// ```
/// use bucle::http::url::parse_url;
///
/// let target = parse_url("http://[::1]:8080/chat?room=1#top")?;
/// assert_eq!((target.host.as_str(), target.port), ("::1", 8080));
/// assert_eq!((target.authority.as_str(), target.path_and_query.as_str()), ("[::1]:8080", "/chat?room=1"));
/// # Ok::<(), bucle::http::url::BadUrl>(())
/// ```
pub fn parse_url(url: &str) -> Result<Target, BadUrl> {
    match url.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => {}
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => return Err(BadUrl::Tls),
        _ => return Err(BadUrl::Scheme),
    }
    let (url, _) = url.split_once('#').unwrap_or((url, ""));
    Ok(take_apart(url)?)
}

/// A mistake behind the scheme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mistake {
    Malformed,
    Port,
    UserInfo,
}

/// Takes a URL apart whose scheme the caller has checked, and whose fragment it has removed.
pub(crate) fn take_apart(url: &str) -> Result<Target, Mistake> {
    // `Uri` lets some characters beyond ASCII pass.
    if !url.is_ascii() {
        return Err(Mistake::Malformed);
    }
    let uri: Uri = url.parse().map_err(|_| Mistake::Malformed)?;
    let (Some(authority), Some(path_and_query)) = (uri.authority(), uri.path_and_query()) else {
        return Err(Mistake::Malformed);
    };
    if authority.as_str().contains('@') {
        return Err(Mistake::UserInfo);
    }
    let host = authority.host();
    let port = match authority.as_str()[host.len()..].strip_prefix(':') {
        None if authority.as_str().len() > host.len() => return Err(Mistake::Malformed),
        None | Some("") => DEFAULT_PORT,
        // `parse` accepts a plus sign.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => return Err(Mistake::Port),
            Ok(port) => port,
        },
        Some(_) => return Err(Mistake::Port),
    };
    let authority = if port == DEFAULT_PORT { host.to_owned() } else { format!("{host}:{port}") };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(Mistake::Malformed);
    }
    let path_and_query = match path_and_query.as_str() {
        query if query.starts_with('?') => format!("/{query}"),
        path => path.to_owned(),
    };
    Ok(Target { host, port, authority, path_and_query })
}

#[cfg(test)]
mod tests;
