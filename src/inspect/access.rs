//! Access to the page: the rules for `Host`, `Origin` and the token.
//!
//! A page of another site runs in the same browser, and can send requests to this machine. Four headers stop it:
//!
//! | header | must be | otherwise | stops |
//! |---|---|---|---|
//! | `Host` | the address that the inspector listens on, or `localhost`, with its port | 421 | DNS rebinding: a foreign name that leads to this machine |
//! | `Origin`, if it is sent | `http://` and the `Host` | 403 | requests of foreign pages that change something |
//! | `Sec-Fetch-Site`, if it is sent | `same-origin`, or `none`: the user has typed the URL | 403 | requests of foreign pages, also for images and scripts, which have no `Origin` |
//! | `Cookie`, or `Authorization: Bearer` | the token of the printed URL | 401 | everyone else on this machine |
//!
//! `Host` is checked also if the target of the request is absolute, and then the host of the target, too.
//!
//! They are checked in this order, before the path is looked at. The cookie is `SameSite=Strict`, so a browser does not
//! send it with requests of foreign sites either. But for a browser all ports of a host are one *site*: it sends the
//! cookie also with requests from and to servers on other ports of the same host. `Sec-Fetch-Site` refuses those that
//! arrive here. Nothing keeps the cookie from those other servers: docs/live-page.md tells the user what to do.
//!
//! A listener on all addresses (`0.0.0.0`) accepts any IP address as the name in `Host`: an address cannot be rebound.

use std::net::{IpAddr, SocketAddr};

/// The address of the inspector and its token.
pub(super) struct Access {
    address: SocketAddr,
    token: String,
}

/// The fields of a request that decide about its access.
#[derive(Clone, Copy, Default)]
pub(super) struct Claim<'a> {
    /// `Host`.
    pub host: Option<&'a str>,
    /// The host of an absolute target, such as `http://127.0.0.1:9339/`.
    pub target_host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `Cookie`.
    pub cookie: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// The part of the target behind `?`.
    pub query: Option<&'a str>,
    /// Whether the request is a GET of `/`.
    pub is_for_page: bool,
}

/// The answer to a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Allowed,
    /// The printed URL was opened: the browser gets the cookie.
    GivesCookie,
    Refused(Refused),
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    ForeignHost,
    ForeignOrigin,
    NoToken,
}

impl Refused {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Refused::ForeignHost => 421,
            Refused::ForeignOrigin => 403,
            Refused::NoToken => 401,
        }
    }

    /// The answer in words.
    pub fn text(self) -> &'static str {
        match self {
            Refused::ForeignHost => "the inspector is not at this host; open the URL that the program has printed\n",
            Refused::ForeignOrigin => {
                "pages of other sites cannot use the inspector; copy the printed URL into the address bar\n"
            }
            Refused::NoToken => "open the URL that the program has printed: it contains the token\n",
        }
    }
}

impl Access {
    pub fn new(address: SocketAddr, token: String) -> Access {
        Access { address, token }
    }

    /// The URL of the page, without the token.
    pub fn base_url(&self) -> String {
        let ip = match self.address.ip() {
            // Nothing connects to `0.0.0.0` everywhere.
            ip if ip.is_unspecified() => return format!("http://localhost:{}/", self.address.port()),
            ip => ip,
        };
        format!("http://{}/", SocketAddr::new(ip, self.address.port()))
    }

    /// The value of `Set-Cookie`. The name contains the port, because cookies of one host are shared by its ports.
    pub fn cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name(), self.token)
    }

    pub fn verdict(&self, claim: Claim) -> Verdict {
        let Some(host) = claim.host.filter(|host| self.is_own_host(host)) else {
            return Verdict::Refused(Refused::ForeignHost);
        };
        // By RFC 9112, 3.2.2 it wins over the field. Here both must be right.
        if !claim.target_host.is_none_or(|host| self.is_own_host(host)) {
            return Verdict::Refused(Refused::ForeignHost);
        }
        let is_own_origin =
            |origin: &str| origin.strip_prefix("http://").is_some_and(|rest| rest.eq_ignore_ascii_case(host));
        // A browser sends it with every request. Scripts do not.
        let is_own_site = |site: &str| matches!(site, "same-origin" | "none");
        if !claim.origin.is_none_or(is_own_origin) || !claim.fetch_site.is_none_or(is_own_site) {
            return Verdict::Refused(Refused::ForeignOrigin);
        }
        if claim.is_for_page && query_value(claim.query, "t").is_some_and(|token| self.is_token(token)) {
            return Verdict::GivesCookie;
        }
        let bearer = claim.authorization.and_then(|value| value.strip_prefix("Bearer "));
        let cookies = claim.cookie.into_iter().flat_map(|value| value.split(';'));
        let name = self.cookie_name();
        let mut values = cookies.filter_map(|pair| pair.trim().strip_prefix(name.as_str())?.strip_prefix('='));
        if bearer.is_some_and(|token| self.is_token(token)) || values.any(|token| self.is_token(token)) {
            return Verdict::Allowed;
        }
        Verdict::Refused(Refused::NoToken)
    }

    fn cookie_name(&self) -> String {
        format!("bucle_inspect_{}", self.address.port())
    }

    fn is_own_host(&self, host: &str) -> bool {
        let port = self.address.port();
        // Port 80 is not written.
        let (name, host_port) = match host.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port),
            _ => (host, "80"),
        };
        if host_port != port.to_string() {
            return false;
        }
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_address = bare.parse::<IpAddr>().is_ok_and(|ip| {
            let ip_is_own = self.address.ip().is_unspecified() || ip == self.address.ip();
            // Only the usual form of an address is its name, and an IPv6 address has brackets.
            ip_is_own && bare == ip.to_string() && ip.is_ipv6() == (bare.len() < name.len())
        });
        is_address || name.eq_ignore_ascii_case("localhost")
    }

    /// Compares in a time that does not depend on how many bytes are right.
    fn is_token(&self, text: &str) -> bool {
        let (a, b) = (self.token.as_bytes(), text.as_bytes());
        !a.is_empty() && a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }
}

/// The value of a name in a query string, as it is written there.
pub(super) fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "00112233445566778899aabbccddeeff";
    const COOKIE: &str = "a=b; bucle_inspect_9339=00112233445566778899aabbccddeeff";

    fn access(address: &str) -> Access {
        Access::new(address.parse().expect("an address"), TOKEN.to_owned())
    }

    #[test]
    fn a_host_is_the_address_or_localhost_with_the_port() {
        let table = [
            ("127.0.0.1:9339", "127.0.0.1:9339", true),
            ("127.0.0.1:9339", "localhost:9339", true),
            ("127.0.0.1:9339", "LocalHost:9339", true),
            ("127.0.0.1:9339", "127.0.0.1:9340", false),
            ("127.0.0.1:9339", "127.0.0.1", false),
            ("127.0.0.1:9339", "127.0.0.1:", false),
            ("127.0.0.1:9339", "127.0.0.1:09339", false),
            ("127.0.0.1:9339", "127.0.0.2:9339", false),
            ("127.0.0.1:9339", "[::1]:9339", false),
            ("127.0.0.1:9339", "0177.0.0.1:9339", false),
            ("127.0.0.1:9339", "127.1:9339", false),
            ("127.0.0.1:9339", "2130706433:9339", false),
            ("127.0.0.1:9339", "evil.example:9339", false),
            ("127.0.0.1:9339", "localhost.evil.example:9339", false),
            ("127.0.0.1:9339", "127.0.0.1.evil.example:9339", false),
            ("127.0.0.1:9339", "127.0.0.1.:9339", false),
            ("127.0.0.1:9339", "evil.example@127.0.0.1:9339", false),
            ("127.0.0.1:9339", "", false),
            ("127.0.0.1:80", "127.0.0.1", true),
            ("127.0.0.1:80", "evil.example", false),
            ("[::1]:9339", "[::1]:9339", true),
            ("[::1]:9339", "::1:9339", false),
            ("[::1]:9339", "[0:0:0:0:0:0:0:1]:9339", false),
            ("[::1]:9339", "127.0.0.1:9339", false),
            ("0.0.0.0:9339", "192.168.1.7:9339", true),
            ("0.0.0.0:9339", "[127.0.0.1]:9339", false),
            ("0.0.0.0:9339", "evil.example:9339", false),
        ];
        for (address, host, want) in table {
            let claim = Claim { host: Some(host), cookie: Some(COOKIE), ..Claim::default() };
            let is_own = access(address).is_own_host(host);
            assert_eq!(is_own, want, "{host:?} at {address}");
            let is_refused = access(address).verdict(claim) == Verdict::Refused(Refused::ForeignHost);
            assert_eq!(is_refused, !want, "{host:?} at {address}");
        }
        let table = [
            (Some("127.0.0.1:9339"), Some("127.0.0.1:9339"), true),
            (Some("127.0.0.1:9339"), Some("localhost:9339"), true),
            (Some("evil.example"), Some("127.0.0.1:9339"), false),
            (Some("127.0.0.1:9339"), Some("evil.example"), false),
            (None, Some("127.0.0.1:9339"), false),
        ];
        for (host, target_host, want) in table {
            let claim = Claim { host, target_host, cookie: Some(COOKIE), ..Claim::default() };
            let is_allowed = access("127.0.0.1:9339").verdict(claim) == Verdict::Allowed;
            assert_eq!(is_allowed, want, "{host:?} and {target_host:?}");
        }
        let nameless = Claim { cookie: Some(COOKIE), ..Claim::default() };
        assert_eq!(access("127.0.0.1:9339").verdict(nameless), Verdict::Refused(Refused::ForeignHost));
    }

    #[test]
    fn an_origin_is_that_of_the_host() {
        let table = [
            (None, true),
            (Some("http://127.0.0.1:9339"), true),
            (Some("http://localhost:9339"), false),
            (Some("https://127.0.0.1:9339"), false),
            (Some("http://127.0.0.1:9340"), false),
            (Some("http://evil.example"), false),
            (Some("null"), false),
            (Some(""), false),
        ];
        for (origin, want) in table {
            let claim = Claim { host: Some("127.0.0.1:9339"), origin, cookie: Some(COOKIE), ..Claim::default() };
            let verdict = access("127.0.0.1:9339").verdict(claim);
            let wanted = if want { Verdict::Allowed } else { Verdict::Refused(Refused::ForeignOrigin) };
            assert_eq!(verdict, wanted, "{origin:?}");
        }
    }

    #[test]
    fn a_browser_says_that_the_request_is_from_this_origin_or_from_the_user() {
        let table = [
            (None, true),
            (Some("same-origin"), true),
            (Some("none"), true),
            (Some("same-site"), false),
            (Some("cross-site"), false),
            (Some("same-origin same-origin"), false),
            (Some(""), false),
        ];
        for (fetch_site, want) in table {
            let claim = Claim { host: Some("127.0.0.1:9339"), fetch_site, cookie: Some(COOKIE), ..Claim::default() };
            let verdict = access("127.0.0.1:9339").verdict(claim);
            let wanted = if want { Verdict::Allowed } else { Verdict::Refused(Refused::ForeignOrigin) };
            assert_eq!(verdict, wanted, "{fetch_site:?}");
        }
    }

    #[test]
    fn a_request_needs_the_token() {
        let page = |query| Claim { query: Some(query), is_for_page: true, ..Claim::default() };
        let cookie = |cookie| Claim { cookie: Some(cookie), ..Claim::default() };
        let bearer = |value| Claim { authorization: Some(value), ..Claim::default() };
        let no_token = Verdict::Refused(Refused::NoToken);
        let table = [
            ("nothing", Claim::default(), no_token),
            ("the URL", page("t=00112233445566778899aabbccddeeff"), Verdict::GivesCookie),
            ("the URL, and more", page("a=b&t=00112233445566778899aabbccddeeff"), Verdict::GivesCookie),
            ("a guess", page("t=00112233445566778899aabbccddee00"), no_token),
            ("a beginning", page("t=0011"), no_token),
            ("an empty guess", page("t="), no_token),
            ("the cookie", cookie(COOKIE), Verdict::Allowed),
            ("a cookie of another port", cookie("bucle_inspect_9340=00112233445566778899aabbccddeeff"), no_token),
            ("a guessed cookie", cookie("bucle_inspect_9339=x"), no_token),
            (
                "two cookies",
                cookie("bucle_inspect_9339=x;bucle_inspect_9339=00112233445566778899aabbccddeeff"),
                Verdict::Allowed,
            ),
            ("the header for scripts", bearer("Bearer 00112233445566778899aabbccddeeff"), Verdict::Allowed),
            ("a guessed header", bearer("Bearer x"), no_token),
        ];
        for (name, claim, want) in table {
            let claim = Claim { host: Some("localhost:9339"), ..claim };
            assert_eq!(access("127.0.0.1:9339").verdict(claim), want, "{name}");
        }
        let elsewhere =
            Claim { is_for_page: false, host: Some("localhost:9339"), ..page("t=00112233445566778899aabbccddeeff") };
        assert_eq!(access("127.0.0.1:9339").verdict(elsewhere), no_token, "the token in a URL is for the page only");
    }

    #[test]
    fn without_a_token_nothing_is_allowed() {
        let access = Access::new(([127, 0, 0, 1], 9339).into(), String::new());
        let claim = Claim { host: Some("127.0.0.1:9339"), query: Some("t="), is_for_page: true, ..Claim::default() };
        assert_eq!(access.verdict(claim), Verdict::Refused(Refused::NoToken));
    }
}
