//! Which web sites may open connections.
//!
//! A browser lets every site open a WebSocket to every server, and sends the user's cookies along. It adds the header
//! `Origin` with scheme, host and port of the site (RFC 6455, 10.2). A program that is no browser can send any origin,
//! or none; the check protects users of browsers, not the server.

use ::http::header::ORIGIN;
use ::http::{HeaderMap, StatusCode};

use super::server::Refused;
use crate::websocket::fields::only;

/// Which origins [`check_origin`] allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origins {
    /// All.
    Any,
    /// The site that the server itself belongs to: an origin with `http` or `https` whose host and port are those of
    /// the request's `Host`. Ports 80 and 443 are the same as no port, for `http` and `https`. Letters are compared in
    /// any case.
    SameHost,
    /// The site itself, as with `SameHost`, and these, such as `https://example.com` or `http://localhost:3000`. The
    /// text `null` allows pages without an origin: files, and sandboxed frames.
    List(Vec<String>),
}

/// Server: checks the header `Origin` of a handshake. `host` is the request's `Host`.
///
/// A request without the header is allowed: it does not come from a browser. More than one such header is refused, and
/// so is `null` unless it is listed or any origin is allowed. The status is 403.
pub fn check_origin(headers: &HeaderMap, host: Option<&str>, origins: &Origins) -> Result<(), Refused> {
    if !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let refused = |reason| Err(Refused::new(StatusCode::FORBIDDEN, reason));
    let Some(origin) = only(headers, &ORIGIN) else {
        return refused("there is more than one header Origin");
    };
    let origin = origin.to_str().unwrap_or_default();
    let is_same_host = || host.is_some_and(|host| is_origin_of_host(origin, host));
    let is_allowed = match origins {
        Origins::Any => true,
        Origins::SameHost => is_same_host(),
        Origins::List(listed) => listed.iter().any(|listed| is_same_origin(origin, listed)) || is_same_host(),
    };
    if is_allowed { Ok(()) } else { refused("this origin is not allowed") }
}

fn is_origin_of_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Some(port) = default_port(scheme) else { return false };
    !authority.is_empty() && without_port(authority, port).eq_ignore_ascii_case(without_port(host, port))
}

fn is_same_origin(one: &str, other: &str) -> bool {
    match (one.split_once("://"), other.split_once("://")) {
        (Some((scheme, one)), Some((other_scheme, other))) if scheme.eq_ignore_ascii_case(other_scheme) => {
            let port = default_port(scheme).unwrap_or_default();
            without_port(one, port).eq_ignore_ascii_case(without_port(other, port))
        }
        _ => one == other,
    }
}

/// The end of an authority that means the same as no port.
fn default_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(":80"),
        _ if scheme.eq_ignore_ascii_case("https") => Some(":443"),
        _ => None,
    }
}

/// `authority` without `port`. An IPv6 address is in brackets, so its end is no port.
fn without_port<'a>(authority: &'a str, port: &str) -> &'a str {
    authority.strip_suffix(port).unwrap_or(authority)
}
