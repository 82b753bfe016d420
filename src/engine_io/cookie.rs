//! The cookie with the id of the session, for load balancers that send all requests of a session to the same server.
//!
//! ```text
//!   Set-Cookie: io=lv_VI97HAXpY6yYWAAAC; Path=/; HttpOnly; SameSite=Lax
//! ```
//!
//! Engine.IO itself does not read it. The text is that of [`cookie`](https://github.com/jshttp/cookie) 0.7 for Node.

use std::fmt::Write as _;
use std::time::Duration;

use ::http::HeaderValue;

use super::error::InvalidOption;

/// The option `cookie` of a server. The default is that of Engine.IO.
///
/// ```
/// use bucle::engine_io::cookie::Cookie;
///
/// let cookie = Cookie { name: "sio".into(), ..Cookie::default() };
/// assert_eq!(cookie.set_cookie("lv_VI97HAXpY6yYWAAAC")?, "sio=lv_VI97HAXpY6yYWAAAC; Path=/; HttpOnly; SameSite=Lax");
/// # Ok::<(), bucle::engine_io::InvalidOption>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cookie {
    /// The name, a token. `io` by default.
    pub name: String,
    /// The paths for which browsers send it: this one and those below it. `/` by default. Empty: the attribute is left
    /// out, and the path is that of the request.
    pub path: String,
    /// Whether scripts of the page cannot read it. `true` by default.
    pub http_only: bool,
    /// Whether requests from pages of other sites have it. [`SameSite::Lax`] by default. `None`: the attribute is left
    /// out.
    pub same_site: Option<SameSite>,
    /// Whether browsers send it over TLS only. `false` by default.
    pub secure: bool,
    /// How long browsers keep it, in whole seconds. `None`, the default: until the browser is closed.
    pub max_age: Option<Duration>,
    /// The host for which browsers send it, with those below it. `None`, the default: only the host of the request.
    pub domain: Option<String>,
}

/// The attribute `SameSite` of a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SameSite {
    /// Requests of pages of other sites do not have the cookie, except when the user follows a link.
    Lax,
    /// Requests that come from other sites never have the cookie.
    Strict,
    /// All requests have the cookie. Browsers want [`Cookie::secure`] as well.
    None,
}

impl Default for Cookie {
    fn default() -> Cookie {
        Cookie {
            name: "io".into(),
            path: "/".into(),
            http_only: true,
            same_site: Some(SameSite::Lax),
            secure: false,
            max_age: None,
            domain: None,
        }
    }
}

impl Cookie {
    /// The value of the header `Set-Cookie` for a session. Characters of `sid` that are neither letters, digits nor
    /// one of `-_.!~*'()` are percent-encoded.
    ///
    /// # Errors
    ///
    /// The name is not a token, the path has other characters than printable ASCII or one of `;<`, or the domain is not
    /// a host name. It does not depend on `sid`, so a program can check its options with an empty one.
    pub fn set_cookie(&self, sid: &str) -> Result<HeaderValue, InvalidOption> {
        if !is_token(&self.name) {
            return Err(InvalidOption::new("cookie.name"));
        }
        let mut text = format!("{}=", self.name);
        push_encoded(sid, &mut text);
        // Writing to a string cannot fail.
        if let Some(max_age) = self.max_age {
            let _ = write!(text, "; Max-Age={}", max_age.as_secs());
        }
        if let Some(domain) = &self.domain {
            if !is_domain(domain) {
                return Err(InvalidOption::new("cookie.domain"));
            }
            let _ = write!(text, "; Domain={domain}");
        }
        if !self.path.is_empty() {
            if !self.path.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';' && byte != b'<') {
                return Err(InvalidOption::new("cookie.path"));
            }
            let _ = write!(text, "; Path={}", self.path);
        }
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        if self.secure {
            text.push_str("; Secure");
        }
        text.push_str(match self.same_site {
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        Ok(HeaderValue::try_from(text).expect("every part was checked to be printable ASCII"))
    }
}

/// A character of a token (RFC 9110, 5.6.2).
fn is_token(name: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// Whether `domain` is a host name (RFC 1034, 3.5, and RFC 1123, 2.1): labels of letters, digits and inner hyphens, at
/// most 63 characters long. A dot at the front is accepted; browsers ignore it.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.strip_prefix('.').unwrap_or(domain).split('.').all(is_label)
}

/// Appends `text` as JavaScript's `encodeURIComponent` writes it.
fn push_encoded(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cookie: &Cookie, sid: &str) -> String {
        let value = cookie.set_cookie(sid).expect("the options are valid");
        value.to_str().expect("it is ASCII").to_owned()
    }

    /// The texts of all tests are those that `cookie` 0.7.2 writes.
    #[test]
    fn attributes_are_in_the_order_of_node() {
        let default = Cookie::default;
        let table: &[(&str, Cookie, &str)] = &[
            ("default", default(), "io=abc; Path=/; HttpOnly; SameSite=Lax"),
            (
                "strict",
                Cookie { same_site: Some(SameSite::Strict), ..default() },
                "io=abc; Path=/; HttpOnly; SameSite=Strict",
            ),
            (
                "none",
                Cookie { same_site: Some(SameSite::None), secure: true, ..default() },
                "io=abc; Path=/; HttpOnly; Secure; SameSite=None",
            ),
            ("without SameSite", Cookie { same_site: None, ..default() }, "io=abc; Path=/; HttpOnly"),
            ("for scripts", Cookie { http_only: false, ..default() }, "io=abc; Path=/; SameSite=Lax"),
            ("a path", Cookie { path: "/a b~".into(), ..default() }, "io=abc; Path=/a b~; HttpOnly; SameSite=Lax"),
            ("no path", Cookie { path: "".into(), ..default() }, "io=abc; HttpOnly; SameSite=Lax"),
            (
                "whole seconds",
                Cookie { max_age: Some(Duration::from_millis(86_400_900)), ..default() },
                "io=abc; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax",
            ),
            (
                "zero seconds",
                Cookie { max_age: Some(Duration::ZERO), ..default() },
                "io=abc; Max-Age=0; Path=/; HttpOnly; SameSite=Lax",
            ),
            (
                "all",
                Cookie {
                    name: "sio".into(),
                    max_age: Some(Duration::from_secs(60)),
                    domain: Some("a.b".into()),
                    secure: true,
                    ..default()
                },
                "sio=abc; Max-Age=60; Domain=a.b; Path=/; HttpOnly; Secure; SameSite=Lax",
            ),
        ];
        for (name, cookie, want) in table {
            assert_eq!(text(cookie, "abc"), *want, "{name}");
        }
    }

    #[test]
    fn the_id_is_percent_encoded() {
        let table = [
            ("lv_VI97HAXpY6yYWAAAC", "lv_VI97HAXpY6yYWAAAC"),
            ("abc-_09AZ", "abc-_09AZ"),
            ("a b;c", "a%20b%3Bc"),
            ("é😀", "%C3%A9%F0%9F%98%80"),
            ("\"x\"", "%22x%22"),
            ("-_.!~*'()", "-_.!~*'()"),
            ("a/b+c=", "a%2Fb%2Bc%3D"),
            ("%", "%25"),
            ("\r\n\0", "%0D%0A%00"),
            ("", ""),
        ];
        for (sid, want) in table {
            assert_eq!(text(&Cookie::default(), sid), format!("io={want}; Path=/; HttpOnly; SameSite=Lax"));
        }
    }

    #[test]
    fn domains_are_host_names() {
        let with = |domain: &str| Cookie { domain: Some(domain.into()), ..Cookie::default() }.set_cookie("");
        let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
        for domain in ["example.com", ".example.com", "a-b.c", "10.0.0.1", "localhost", &format!("{longest}.com")] {
            assert!(with(domain).is_ok(), "{domain}");
        }
        for domain in ["", ".", "-a.com", "a-.com", "a..b", "a.", "..a", "exa_mple", "é.com", "a;b", &too_long] {
            assert_eq!(with(domain).map_err(|error| error.option), Err("cookie.domain"), "{domain}");
        }
    }

    #[test]
    fn names_and_paths_that_would_break_the_header_are_refused() {
        for name in ["", "a b", "a=", "a;", "é", "a\r\nb", "\0"] {
            let cookie = Cookie { name: name.into(), ..Cookie::default() };
            assert_eq!(cookie.set_cookie("abc").map_err(|error| error.option), Err("cookie.name"), "{name:?}");
        }
        for path in ["/a;b", "/é", "/<", "/\r\n", "/\t", "/\x7f"] {
            let cookie = Cookie { path: path.into(), ..Cookie::default() };
            assert_eq!(cookie.set_cookie("abc").map_err(|error| error.option), Err("cookie.path"), "{path:?}");
        }
    }
}
