//! The target of a request (RFC 9112, section 3.2), and the host and port in it (RFC 3986, section 3.2).

use std::net::Ipv6Addr;

use ::http::Method;

/// The schemes that an absolute target may have. A proxy may send the two of WebSocket, too (RFC 6455, section 3).
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

/// The parts of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target<'a> {
    /// Only in an absolute URI.
    pub(super) scheme: Option<&'a str>,
    /// Only in an absolute URI: the host, and the port if it was sent.
    pub(super) authority: Option<&'a str>,
    /// Up to the first `?`. An absolute URI without a path has the path `/`.
    pub(super) path: &'a str,
    /// Behind the first `?`.
    pub(super) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Splits a target. Whether the parts are valid is up to [`is_valid`].
    pub(super) fn of(target: &'a str) -> Target<'a> {
        let (scheme, authority, rest) = match target.split_once("://") {
            Some((scheme, rest)) if !target.starts_with('/') => {
                let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(scheme), Some(authority), rest)
            }
            _ => (None, None, target),
        };
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        Target { scheme, authority, path: if path.is_empty() { "/" } else { path }, query }
    }
}

/// A request with this method may have this target. The bytes are visible ASCII without `#`; the finder has checked it.
///
/// Browsers send some characters unencoded that RFC 3986 does not allow, such as `|`. They are accepted.
pub(super) fn is_valid(target: &str, method: &Method) -> bool {
    match Target::of(target) {
        Target { scheme: Some(scheme), authority: Some(authority), .. } => {
            SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) && is_authority(authority)
        }
        Target { path, .. } => {
            path.starts_with('/') && target.starts_with('/') || target == "*" && method == Method::OPTIONS
        }
    }
}

/// The text is a host and perhaps a port: the value of a field `Host`, or the authority of a URI without a user name.
///
/// A comma is refused, although RFC 3986 allows it in a name: two fields `Host` that a proxy has joined look like that.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            let port = if after.is_empty() { Some("") } else { after.strip_prefix(':') };
            return address.parse::<Ipv6Addr>().is_ok() && port.is_some_and(is_port);
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    !host.is_empty() && is_name(host.as_bytes()) && is_port(port)
}

/// A name or an IPv4 address: letters, digits and marks, or bytes behind a percent sign.
fn is_name(mut rest: &[u8]) -> bool {
    loop {
        rest = match rest {
            [] => return true,
            [b'%', first, second, after @ ..] if first.is_ascii_hexdigit() && second.is_ascii_hexdigit() => after,
            [byte, after @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(byte) => after,
            _ => return false,
        };
    }
}

/// A port may be left out, also behind the colon.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_targets() {
        type Row<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, Option<&'a str>);
        let table: &[Row] = &[
            ("a path", "/where", None, "/where", None),
            ("the root", "/", None, "/", None),
            ("with a query (RFC 9112, 3.2.1)", "/where?q=now", None, "/where", Some("q=now")),
            ("an empty query", "/where?", None, "/where", Some("")),
            ("a second question mark", "/a?b?c", None, "/a", Some("b?c")),
            ("a URI in the query", "/a?next=http://b/c", None, "/a", Some("next=http://b/c")),
            ("a URI in the path", "/http://b/c", None, "/http://b/c", None),
            ("two slashes are a path", "//host/path", None, "//host/path", None),
            ("absolute (3.2.2)", "http://www.example.org/pub/x", Some("www.example.org"), "/pub/x", None),
            ("absolute, with a port", "ws://localhost:8081/chat?a", Some("localhost:8081"), "/chat", Some("a")),
            ("absolute, without a path", "HTTP://host", Some("host"), "/", None),
            ("absolute, a query without a path", "https://host?a/b", Some("host"), "/", Some("a/b")),
            ("the whole server (3.2.4)", "*", None, "*", None),
        ];
        for (name, target, authority, path, query) in table {
            let split = Target::of(target);
            assert_eq!((split.authority, split.path, split.query), (*authority, *path, *query), "{name}");
            assert!(is_valid(target, &Method::OPTIONS), "{name}");
        }
    }

    #[test]
    fn refuses_bad_targets() {
        let table = [
            ("the whole server, but not OPTIONS", "*"),
            ("a star with more", "*/"),
            ("authority-form is for CONNECT", "example.com:80"),
            ("a relative path", "where"),
            ("only a query", "?q"),
            ("another scheme", "ftp://host/"),
            ("no scheme", "://host/"),
            ("a URI behind a name", "x?y=http://host/"),
            ("one slash", "http:/host/"),
            ("no host", "http:///path"),
            ("a user name (RFC 9110, 4.2.4)", "http://user@host/"),
            ("a port that is none", "http://host:port/"),
        ];
        for (name, target) in table {
            assert!(!is_valid(target, &Method::GET), "{name}");
        }
    }

    #[test]
    fn knows_hosts_with_ports() {
        let table = [
            ("a name", "example.com", true),
            ("a name with a port", "example.com:8080", true),
            ("the highest port", "example.com:65535", true),
            ("a port too high", "example.com:65536", false),
            ("an empty port (RFC 3986, 3.2.3)", "example.com:", true),
            ("a port with a sign", "example.com:+80", false),
            ("two ports", "example.com:80:80", false),
            ("a name with an underscore", "my_host", true),
            ("an IPv4 address", "127.0.0.1:80", true),
            ("an IPv6 address", "[::1]", true),
            ("an IPv6 address with a port", "[2001:db8::1]:443", true),
            ("an IPv6 address without brackets", "::1", false),
            ("a zone", "[fe80::1%25eth0]", false),
            ("a name in brackets", "[localhost]", false),
            ("brackets that do not close", "[::1", false),
            ("text behind the brackets", "[::1]x", false),
            ("encoded bytes", "caf%C3%A9.example", true),
            ("a cut encoded byte", "caf%C", false),
            ("nothing", "", false),
            ("only a port", ":80", false),
            ("a user name", "user@example.com", false),
            ("a path", "example.com/", false),
            ("a scheme", "http://example.com", false),
            ("two hosts", "a.example,b.example", false),
            ("two hosts with a blank", "a.example, b.example", false),
            ("a blank inside", "exam ple.com", false),
            ("not ASCII", "café.example", false),
            ("a backslash", "a\\b", false),
        ];
        for (name, text, want) in table {
            assert_eq!(is_authority(text), want, "{name}");
        }
    }
}
