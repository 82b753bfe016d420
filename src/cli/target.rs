//! Addresses, as users write them.
//!
//! ```text
//!   example.org:7000    a host and a port        example.org    the host's port 8080
//!   :7000  7000         a port on this machine   [::1]:7000     an IPv6 address and a port
//!   unix:/run/app.sock  a unix socket
//! ```

pub(crate) mod words;

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// The default host. An IP address, because `localhost` may resolve to `::1`, where the server may not listen.
const HOST: &str = "127.0.0.1";

/// The default port: that of the tutorial and of `bucle serve`.
const PORT: u16 = 8080;

/// Where a server listens, or a client connects to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// A host, by name or address, and a port.
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Address {
    /// Parses what was typed. The error is half a sentence about what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Address, String> {
        Address::parse_with(text, parse_port)
    }

    /// As [`parse`](Self::parse), where a server listens: port 0 is any free port.
    pub(crate) fn parse_to_listen(text: &str) -> Result<Address, String> {
        Address::parse_with(text, parse_port_to_listen)
    }

    fn parse_with(text: &str, parse_port: impl FnOnce(&str) -> Result<u16, String>) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err("the path is missing".into()) } else { Ok(Address::Unix(path.into())) };
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(format!("this is plain TCP; leave out {scheme}:// and write {}", host_and_port_of(rest)));
        }
        if text.contains('/') {
            return Err(format!("a path is written as unix:{text}"));
        }
        let (host, port) = split(text)?;
        if host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("a host contains no spaces".into());
        }
        Ok(Address::Tcp(if host.is_empty() { HOST } else { host }.to_owned(), port.map_or(Ok(PORT), parse_port)?))
    }
}

/// The host and the port; each may be missing.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the closing ] is missing")?;
        // A link-local address has the name of its interface behind a `%` (RFC 4007, 11).
        let (address, zone) = host.split_once('%').unwrap_or((host, "interface"));
        if address.parse::<Ipv6Addr>().is_err() || zone.is_empty() {
            return Err("between [ and ] there must be an IPv6 address".into());
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("after the ] only :PORT may follow".into()),
        };
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return match port_in(text) {
            // 0:0:0:0:0:0:x:y is obsolete (RFC 4291, 2.5.5.1): no machine has such an address, but users type
            // `::1:9032`.
            Some(meant) if address.segments().starts_with(&[0; 6]) => Err(format!("did you mean {meant}?")),
            _ => Ok((text, None)),
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Err(match port_in(text) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "an IPv6 address is written in brackets, as in [::1]:8080".into(),
        }),
        Some((host, port)) => Ok((host, Some(port))),
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(("", Some(text))),
        None => Ok((text, None)),
    }
}

/// What the user probably meant with an IPv6 address and a port without brackets.
pub(crate) fn port_in(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && parse_port(port).is_ok();
    (is_port && host.parse::<Ipv6Addr>().is_ok()).then(|| format!("[{host}]:{port}"))
}

fn parse_port(text: &str) -> Result<u16, String> {
    number_of(text).filter(|&port| port > 0).ok_or_else(|| "the port is a number from 1 to 65535".into())
}

/// As [`parse_port`], where a server listens.
pub(crate) fn parse_port_to_listen(text: &str) -> Result<u16, String> {
    number_of(text).ok_or_else(|| "the port is a number from 1 to 65535, or 0 for any free one".into())
}

fn number_of(text: &str) -> Option<u16> {
    // `parse` would accept a sign too.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// The host and port of a URL; `rest` is what follows the scheme.
fn host_and_port_of(rest: &str) -> &str {
    rest.split('/').next().filter(|host| !host.is_empty()).unwrap_or("HOST:PORT")
}

/// As the user would type it: `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/app.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_users_write_them() {
        let table = [
            ("", Ok("127.0.0.1:8080")),
            (":7000", Ok("127.0.0.1:7000")),
            ("7000", Ok("127.0.0.1:7000")),
            ("localhost", Ok("localhost:8080")),
            ("example.org:80", Ok("example.org:80")),
            ("10.0.0.1:65535", Ok("10.0.0.1:65535")),
            ("::1", Ok("[::1]:8080")),
            ("[::1]", Ok("[::1]:8080")),
            ("[::1]:80", Ok("[::1]:80")),
            ("[fe80::1%eth0]:80", Ok("[fe80::1%eth0]:80")),
            ("unix:/tmp/a b:c", Ok("unix:/tmp/a b:c")),
            ("unix:relative", Ok("unix:relative")),
            ("unix:", Err("path is missing")),
            ("/run/app.sock", Err("unix:/run/app.sock")),
            ("./app.sock", Err("unix:./app.sock")),
            ("http://example.org:80/index.html", Err("example.org:80")),
            ("tcp://", Err("HOST:PORT")),
            ("host:", Err("number from 1")),
            (":", Err("number from 1")),
            (":0", Err("number from 1")),
            (":65536", Err("number from 1")),
            (":-1", Err("number from 1")),
            (":+80", Err("number from 1")),
            ("host:http", Err("number from 1")),
            ("99999", Err("number from 1")),
            ("fe80::1:2:3", Ok("[fe80::1:2:3]:8080")),
            ("1:2:3", Err("brackets")),
            ("::1:9032", Err("did you mean [::1]:9032?")),
            ("::1:80", Err("did you mean [::1]:80?")),
            ("[::1:80]", Ok("[::1:80]:8080")),
            ("::1:54321", Err("did you mean [::1]:54321?")),
            ("fe80::1:54321", Err("did you mean [fe80::1]:54321?")),
            ("::1:99999", Err("brackets")),
            ("::ffff:10.0.0.1", Ok("[::ffff:10.0.0.1]:8080")),
            ("::2", Ok("[::2]:8080")),
            ("[::1", Err("closing ]")),
            ("[::1]80", Err("only :PORT")),
            ("[example.org]:80", Err("IPv6 address")),
            ("[a%b]:1", Err("IPv6 address")),
            ("[fe80::1%]:1", Err("IPv6 address")),
            ("[%eth0]:1", Err("IPv6 address")),
            ("my host:80", Err("no spaces")),
        ];
        for (text, want) in table {
            match (Address::parse(text), want) {
                (Ok(address), Ok(want)) => assert_eq!(address.to_string(), want, "{text:?}"),
                (Err(why), Err(want)) => assert!(why.contains(want), "{text:?}: {why}"),
                (got, want) => panic!("{text:?}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn a_server_may_listen_on_any_free_port() {
        let address = |text| Address::parse_to_listen(text).map(|address| address.to_string());
        assert_eq!(address("0").as_deref(), Ok("127.0.0.1:0"));
        assert_eq!(address("0.0.0.0:0").as_deref(), Ok("0.0.0.0:0"));
        assert_eq!(address("9000").as_deref(), Ok("127.0.0.1:9000"));
        assert!(address("65536").is_err_and(|why| why.ends_with("or 0 for any free one")));
    }

    #[test]
    fn a_shown_address_can_be_typed_again() {
        for text in [":7000", "localhost", "::1", "unix:/tmp/a b:c"] {
            let address = Address::parse(text);
            assert_eq!(Address::parse(&address.as_ref().map(Address::to_string).unwrap_or_default()), address);
        }
    }
}
