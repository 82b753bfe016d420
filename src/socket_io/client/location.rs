//! The URL of a client: a server, a namespace, and a query.
//!
//! ```text
//!   http://localhost:3000/admin?token=x
//!          └─────┬──────┘└──┬─┘ └──┬──┘
//!             server    namespace query of every request
//! ```

use crate::http::url::{self, BadUrl};

/// The parts of a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Location {
    /// For the session below, with the query.
    pub server: String,
    /// Begins with `/` and has no comma.
    pub namespace: String,
    /// Without its `?`. May be empty.
    pub query: String,
}

impl Location {
    /// Takes a URL apart. The schemes `http`, `ws` and `sio` mean the same.
    pub fn parse(url: &str) -> Result<Location, BadUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(BadUrl::Scheme)?;
        let is = |name: &str| scheme.eq_ignore_ascii_case(name);
        let target = if is("ws") || is("sio") {
            url::parse_url(&format!("http://{rest}"))?
        } else if is("wss") || is("sios") {
            return Err(BadUrl::Tls);
        } else {
            url::parse_url(url)?
        };
        let (path, query) = target.path_and_query.split_once('?').unwrap_or((&target.path_and_query, ""));
        if !is_name(path) {
            return Err(BadUrl::Malformed);
        }
        let server = match query {
            "" => format!("http://{}/", target.authority),
            query => format!("http://{}/?{query}", target.authority),
        };
        Ok(Location { server, namespace: path.to_owned(), query: query.to_owned() })
    }
}

/// Whether a namespace can have this name: a comma would end it.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with('/') && !name.contains(',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_server_a_namespace_and_a_query() {
        let table = [
            ("http://a", "http://a/", "/", ""),
            ("http://a:81/", "http://a:81/", "/", ""),
            ("sio://a:81/admin", "http://a:81/", "/admin", ""),
            ("WS://[::1]:81/a/b/?c=d#e", "http://[::1]:81/?c=d", "/a/b/", "c=d"),
            ("http://a?c=d", "http://a/?c=d", "/", "c=d"),
        ];
        for (url, server, namespace, query) in table {
            let want = Location { server: server.to_owned(), namespace: namespace.to_owned(), query: query.to_owned() };
            assert_eq!(Location::parse(url), Ok(want), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "localhost:3000", "/admin", "ftp://a", "http://", "http://a/a,b", "sio://u@a", "ws://a:x"] {
            assert!(Location::parse(url).is_err(), "{url}");
        }
        for url in ["https://a", "wss://a", "sios://a"] {
            assert_eq!(Location::parse(url), Err(BadUrl::Tls), "{url}");
        }
    }
}
