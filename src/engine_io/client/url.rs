//! The URLs of a client's requests.
//!
//! ```text
//!   http://localhost:3000/socket.io/?room=1&EIO=4&transport=polling&t=9x2k&sid=lv_VI97HAXpY6yYWAAAC
//!          └─────┬──────┘└────┬────┘ └──┬─┘
//!            authority       path     query of the program
//! ```

use form_urlencoded::Serializer;

use crate::engine_io::packet::Revision;
use crate::engine_io::query;
use crate::http::url::{self, BadUrl};

/// The keys that the protocol uses. A program cannot set them.
const RESERVED: [&str; 6] = ["EIO", "transport", "sid", "t", "j", "b64"];

/// Where a session is: a server, a path and the program's query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Location {
    authority: String,
    path: String,
    query: String,
}

impl Location {
    /// Takes a URL apart. Its own path is not used, as in Node. `path` gets a slash at its front and its end.
    pub fn new(url: &str, path: &str, pairs: &[(String, String)]) -> Result<Location, BadUrl> {
        let target = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => url::parse_url(&format!("http://{rest}"))?,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("wss") => return Err(BadUrl::Tls),
            _ => url::parse_url(url)?,
        };
        let in_url = target.path_and_query.split_once('?').map_or("", |(_, query)| query);
        let mut query = Serializer::new(String::new());
        for (name, value) in query::pairs(in_url).filter(|(name, _)| !RESERVED.contains(&&**name)) {
            query.append_pair(&name, &value);
        }
        for (name, value) in pairs.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str())) {
            query.append_pair(name, value);
        }
        let path = path.trim_matches('/');
        if path.contains(['?', '#']) {
            return Err(BadUrl::Malformed);
        }
        let path = if path.is_empty() { "/".to_owned() } else { format!("/{path}/") };
        // The whole must be a URL again.
        url::parse_url(&format!("http://{}{path}", target.authority))?;
        Ok(Location { authority: target.authority, path, query: query.finish() })
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL of a request for polling. `unique` is another text for each request, against caches.
    pub fn of_polling(&self, revision: Revision, id: &str, unique: &str) -> String {
        self.url("http", "polling", revision, id, Some(unique))
    }

    /// The URL of a WebSocket connection.
    pub fn of_websocket(&self, revision: Revision, id: &str) -> String {
        self.url("ws", "websocket", revision, id, None)
    }

    fn url(&self, scheme: &str, transport: &str, revision: Revision, id: &str, unique: Option<&str>) -> String {
        let mut url = format!("{scheme}://{}{}?{}", self.authority, self.path, self.query);
        if !self.query.is_empty() {
            url.push('&');
        }
        let start = url.len();
        let mut query = Serializer::for_suffix(url, start);
        query.append_pair("EIO", if revision == Revision::V4 { "4" } else { "3" });
        query.append_pair("transport", transport);
        if let Some(unique) = unique {
            query.append_pair("t", unique);
        }
        if !id.is_empty() {
            query.append_pair("sid", id);
        }
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(url: &str, path: &str, pairs: &[(&str, &str)]) -> Result<Location, BadUrl> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (str::to_owned(name), str::to_owned(value))).collect();
        Location::new(url, path, &pairs)
    }

    #[test]
    fn a_request_has_the_path_the_query_and_the_keys_of_the_protocol() {
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
        let table: &[Row<'_>] = &[
            ("http://a", "/engine.io/", &[], "http://a/engine.io/?EIO=4&transport=polling&t=u"),
            ("http://a:81/x/y", "socket.io", &[], "http://a:81/socket.io/?EIO=4&transport=polling&t=u"),
            ("ws://a:81?b=c%20d", "/", &[], "http://a:81/?b=c+d&EIO=4&transport=polling&t=u"),
            (
                "http://[::1]:81/?b=c",
                "/s",
                &[("e&", "ü=")],
                "http://[::1]:81/s/?b=c&e%26=%C3%BC%3D&EIO=4&transport=polling&t=u",
            ),
            (
                "HTTP://a?EIO=3&sid=x&t=1",
                "/s",
                &[("transport", "x"), ("j", "0")],
                "http://a/s/?EIO=4&transport=polling&t=u",
            ),
        ];
        for (url, path, pairs, want) in table {
            let location = location(url, path, pairs).expect("a good URL");
            assert_eq!(location.of_polling(Revision::V4, "", "u"), *want, "{url}");
        }
    }

    #[test]
    fn a_websocket_connection_has_the_id_of_its_session() {
        let location = location("http://a:81/?b=c", "/s/", &[]).expect("a good URL");
        assert_eq!(
            location.of_websocket(Revision::V3, "x y&"),
            "ws://a:81/s/?b=c&EIO=3&transport=websocket&sid=x+y%26"
        );
        assert_eq!(
            location.of_polling(Revision::V4, "s1", "u"),
            "http://a:81/s/?b=c&EIO=4&transport=polling&t=u&sid=s1"
        );
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "a", "/a", "ftp://a", "http://", "http://a b/", "http://u:p@a/", "ws://a:0/", "ws://"] {
            assert!(location(url, "/", &[]).is_err(), "{url:?}");
        }
        for url in ["https://a", "wss://a", "WSS://a"] {
            assert_eq!(location(url, "/", &[]), Err(BadUrl::Tls), "{url:?}");
        }
        for path in ["a b", "a\r\nb", "ä", "a?b=c", "a#b"] {
            assert!(location("http://a", path, &[]).is_err(), "{path:?}");
        }
    }
}
