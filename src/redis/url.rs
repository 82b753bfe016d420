//! URLs of Redis: `redis://user:password@host:port/database`.
//!
//! ```
//! use bucle::redis::url::{Address, parse};
//!
//! let address = parse("redis://:s3cret@db.example/2")?;
//! assert_eq!((address.host.as_str(), address.port, address.database), ("db.example", 6379, 2));
//! assert_eq!((address.user, address.password.as_deref()), (None, Some("s3cret")));
//! # Ok::<(), bucle::redis::url::BadUrl>(())
//! ```
//!
//! Source: [the URI scheme of Redis](https://www.iana.org/assignments/uri-schemes/prov/redis).

use std::{error, fmt};

#[cfg(test)]
mod tests;

/// The port of a URL without one.
pub const DEFAULT_PORT: u16 = 6379;

/// Where a Redis server is, and how to log in. `Debug` does not print the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user. `None`: the user `default`.
    pub user: Option<String>,
    /// The password. `None`: there is no login.
    pub password: Option<String>,
    /// The number of the database. Channels are the same in all of them.
    pub database: u32,
}

impl Default for Address {
    fn default() -> Address {
        Address { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT, user: None, password: None, database: 0 }
    }
}

/// `host:port`: what a log may show.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("database", &self.database)
            .finish()
    }
}

/// Why a URL cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadUrl {
    /// It does not begin with `redis://`.
    Scheme,
    /// It begins with `rediss://`: there is no TLS.
    Tls,
    /// There is no host.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The path is not the number of a database.
    Database,
    /// It has a query or a fragment.
    Query,
    /// A `%` in the user or the password is not followed by two hexadecimal digits, or the result is not UTF-8.
    Escape,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadUrl::Scheme => "the URL of Redis must begin with redis://",
            BadUrl::Tls => "rediss:// is not supported, because there is no TLS",
            BadUrl::Host => "the URL of Redis has no host",
            BadUrl::Port => "the port in the URL of Redis must be a number from 1 to 65535",
            BadUrl::Database => "the path in the URL of Redis must be the number of a database, such as /0",
            BadUrl::Query => "the URL of Redis must not have a query or a fragment",
            BadUrl::Escape => "the user or the password in the URL of Redis has a wrong %-escape",
        })
    }
}

impl error::Error for BadUrl {}

/// Parses a URL.
///
/// # Errors
/// [`BadUrl`] names the part that is wrong, and never repeats the URL, because it may have a password.
pub fn parse(url: &str) -> Result<Address, BadUrl> {
    if url.starts_with("rediss://") {
        return Err(BadUrl::Tls);
    }
    let rest = url.strip_prefix("redis://").ok_or(BadUrl::Scheme)?;
    // A password may have any character but `/`, which must be written as %2F, as in other URLs.
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    if path.contains(['?', '#']) || place.contains(['?', '#']) {
        return Err(BadUrl::Query);
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(BadUrl::Host)?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(BadUrl::Port),
            }
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(BadUrl::Host);
    }
    let port = port.map_or(Some(DEFAULT_PORT), |port| digits(port).filter(|port| *port > 0)).ok_or(BadUrl::Port)?;
    let database = if path.is_empty() { Some(0) } else { digits(path) }.ok_or(BadUrl::Database)?;
    let (user, password) = match login {
        None => (None, None),
        Some(login) => {
            let (user, password) = login.split_once(':').map_or((login, None), |(user, word)| (user, Some(word)));
            let password = password.map(unescape).transpose()?;
            (Some(unescape(user)?).filter(|user| !user.is_empty()), password.filter(|password| !password.is_empty()))
        }
    };
    Ok(Address { host: host.to_owned(), port, user, password, database })
}

/// A number without a sign.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Replaces `%41` by `A`.
fn unescape(text: &str) -> Result<String, BadUrl> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let [high, low, after @ ..] = after else { return Err(BadUrl::Escape) };
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BadUrl::Escape);
        out.push((digit(*high)? * 16 + digit(*low)?) as u8);
        rest = after;
    }
    String::from_utf8(out).map_err(|_| BadUrl::Escape)
}
