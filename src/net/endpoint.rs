//! An endpoint: where a server listens, or where a client connects to.
//!
//! ```text
//!   8080                       Host("", 8080)         listen: every address; connect: localhost
//!   ("localhost", 8080)        Host("localhost", …)   a name, which is looked up
//!   ("fe80::1%eth0", 8080)     Host("fe80::1%…", …)   an address; its zone is resolved on use, without a lookup
//!   ("::1", 8080), SocketAddr  Ip
//!   "localhost:8080"           as ("localhost", 8080)
//!   Path::new("/run/app.sock") Path
//! ```
//!
//! A text is always `HOST:PORT` and a path has a type of its own, so no text can be mistaken for the other. Node takes
//! a text for a path: `server.listen("127.0.0.1:8080")` makes a unix socket of this name in the current folder.
//!
//! A resolved address is a [`SocketAddr`], port and zone included. The same link-local address (`fe80::/10`) exists on
//! every interface, so without a zone it is ambiguous (RFC 4007).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Error, is_ipv6};
use crate::Result;
use crate::error_codes;

/// The longest path of a unix socket in bytes, or the longest abstract name without its NUL: the size of `sun_path`
/// less one.
const PATH_LIMIT: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// Where to listen or connect to.
///
/// Invariant: an address that fits an [`Ip`](Endpoint::Ip) is stored as one, so that equal endpoints compare equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A name, an address with a zone, or nothing; and a port that has not been checked yet.
    Host(String, i64),
    Ip(SocketAddr),
    Path(PathBuf),
    /// A text that is not `HOST:PORT`. The call that takes it returns an error.
    Malformed(String),
}

impl Endpoint {
    /// An endpoint from `HOST:PORT`, with an IPv6 address in brackets.
    fn parse(text: String) -> Endpoint {
        let parts = text.rsplit_once(':').and_then(|(host, port)| {
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port: i64 = port.parse().ok().filter(|_| is_number)?;
            let host = match host.strip_prefix('[') {
                Some(host) => host.strip_suffix(']').filter(|host| is_ipv6(host))?,
                None if host.contains([':', '/']) => return None,
                None => host,
            };
            Some((host.to_owned(), port))
        });
        match parts {
            Some((host, port)) => Endpoint::host(host, port),
            None => Endpoint::Malformed(text),
        }
    }

    fn host(host: String, port: i64) -> Endpoint {
        match (host.parse::<IpAddr>(), u16::try_from(port)) {
            (Ok(ip), Ok(port)) => Endpoint::Ip(SocketAddr::new(ip, port)),
            _ => Endpoint::Host(host, port),
        }
    }

    /// Checks what Node checks inside the call, and returns the port; 0 for a path.
    pub fn check(&self) -> Result<u16> {
        match self {
            Endpoint::Host(_, port) => u16::try_from(*port).map_err(|_| Error::BadPort(*port)),
            Endpoint::Ip(address) => Ok(address.port()),
            Endpoint::Path(path) => check_path(path).map(|()| 0),
            Endpoint::Malformed(text) => Err(Error::InvalidAddress(text.as_str().into())),
        }
    }

    /// What `syscall` has to do to reach it. `port` is the result of [`check`](Self::check).
    pub fn resolution(&self, port: u16, syscall: &'static str) -> Resolution<'_> {
        match self {
            Endpoint::Host(host, _) if host.is_empty() => Resolution::NoHost,
            Endpoint::Host(host, _) => literal(host, port, syscall).map_or(Resolution::Name(host), Resolution::Address),
            Endpoint::Ip(address) => Resolution::Address(Ok(*address)),
            Endpoint::Path(path) => Resolution::Path(path),
            Endpoint::Malformed(text) => Resolution::Address(Err(Error::InvalidAddress(text.as_str().into()))),
        }
    }

    /// Formats it for errors and logs, with `no_host` in place of an empty host.
    pub fn show(&self, f: &mut fmt::Formatter<'_>, no_host: &str) -> fmt::Result {
        match self {
            Endpoint::Host(host, port) if host.is_empty() => write!(f, "{no_host}:{port}"),
            Endpoint::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Host(host, port) => write!(f, "{host}:{port}"),
            Endpoint::Ip(address) => write!(f, "{address}"),
            Endpoint::Path(path) => f.write_str(&show_path(path)),
            Endpoint::Malformed(text) => f.write_str(text),
        }
    }
}

/// What an endpoint stands for, when it is used.
pub(super) enum Resolution<'a> {
    NoHost,
    /// A name, which has to be looked up.
    Name(&'a str),
    /// An address, without a lookup; an error if its zone is not an interface.
    Address(Result<SocketAddr>),
    Path(&'a Path),
}

/// Implements `From` for [`Endpoint`], and for `Listen` and `Target`, which are made from one.
macro_rules! from_endpoints {
    ($($(#[$doc:meta])* $pattern:pat, $from:ty => $endpoint:expr;)*) => {
        $(impl From<$from> for Endpoint {
            fn from($pattern: $from) -> Self {
                $endpoint
            }
        })*
        $($(#[$doc])* impl From<$from> for super::Listen {
            fn from(endpoint: $from) -> Self {
                super::Listen::at(endpoint.into())
            }
        }
        $(#[$doc])* impl From<$from> for super::Target {
            fn from(endpoint: $from) -> Self {
                super::Target::at(endpoint.into())
            }
        })*
    };
}

from_endpoints! {
    /// A port. A server listens on every address, IPv4 and IPv6; a client connects to `localhost`, Node's default.
    port, u16 => Endpoint::Host(String::new(), port.into());
    /// As a `u16`. The call that takes it returns an error unless it is from 0 to 65535.
    port, i32 => Endpoint::Host(String::new(), port.into());
    /// A name or an address, and a port. An empty host is the same as no host.
    (host, port), (&str, u16) => Endpoint::host(host.to_owned(), port.into());
    /// A name or an address, and a port. The call that takes it returns an error unless the port is from 0 to 65535.
    (host, port), (&str, i32) => Endpoint::host(host.to_owned(), port.into());
    /// A name or an address, and a port. An empty host is the same as no host.
    (host, port), (String, u16) => Endpoint::host(host, port.into());
    /// `HOST:PORT`, such as `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`; `:8080` is the same as the port alone.
    /// A path is not accepted: give a `&Path`. The call that takes any other text returns
    /// [`Error::InvalidAddress`](crate::Error::InvalidAddress).
    text, &str => Endpoint::parse(text.to_owned());
    /// As a `&str`.
    text, String => Endpoint::parse(text);
    address, (IpAddr, u16) => Endpoint::Ip(address.into());
    address, (Ipv4Addr, u16) => Endpoint::Ip(address.into());
    address, (Ipv6Addr, u16) => Endpoint::Ip(address.into());
    address, SocketAddr => Endpoint::Ip(address);
    address, SocketAddrV4 => Endpoint::Ip(address.into());
    address, SocketAddrV6 => Endpoint::Ip(address.into());
    /// A unix socket.
    path, &Path => Endpoint::Path(path.to_owned());
    /// A unix socket.
    path, PathBuf => Endpoint::Path(path);
}

/// Parses `text` if it is an IP address, with or without a zone (Node's `isIP`). No name is looked up.
///
/// # Errors
/// `EINVAL` for a link-local address whose zone is not an interface: what the kernel returns from `syscall`.
pub(super) fn literal(text: &str, port: u16, syscall: &'static str) -> Option<Result<SocketAddr>> {
    if let Ok(ip) = text.parse() {
        return Some(Ok(SocketAddr::new(ip, port)));
    }
    if !is_ipv6(text) {
        return None;
    }
    // The system's resolver knows the numbers of zones. For an address it sends no query.
    if let Some(address) = (text, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next()) {
        return Some(Ok(address));
    }
    // The resolver may not know the zone of another address, but only link-local addresses need theirs.
    let ip: Ipv6Addr = text.split('%').next()?.parse().ok()?;
    Some(if ip.is_unicast_link_local() {
        let no_zone = io::Error::from_raw_os_error(error_codes::number_of("EINVAL"));
        Err(Error::system_at(syscall, &no_zone, text, Some(port)))
    } else {
        Ok(SocketAddr::new(ip.into(), port))
    })
}

/// The error of a system call that failed on an address.
pub(super) fn failed_on(syscall: &'static str, error: &io::Error, address: SocketAddr) -> Error {
    let ip = match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => format!("{}%{}", address.ip(), address.scope_id()),
        address => address.ip().to_string(),
    };
    Error::system_at(syscall, error, &ip, Some(address.port()))
}

/// Checks for an empty path, for which the system would invent a name, and for a NUL, at which the system would stop.
fn check_path(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes[0] != 0 && bytes.contains(&0) {
        return Err(Error::InvalidPath(show_path(path).into()));
    }
    Ok(())
}

/// Checks that a path fits. Node truncates a longer one, and then no client finds the socket under its full path.
pub(super) fn check_length(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.strip_prefix(b"\0").unwrap_or(bytes).len() > PATH_LIMIT {
        return Err(Error::PathTooLong { path: show_path(path).into(), limit: PATH_LIMIT });
    }
    Ok(())
}

/// Formats a path for errors and logs. An abstract name begins with `@`, as in `ss` and `/proc/net/unix`.
pub(crate) fn show_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    match text.strip_prefix('\0') {
        Some(name) => format!("@{name}"),
        None => text.into_owned(),
    }
}

/// The address of an abstract name: a path that begins with a NUL and is in no file system. `None` for other paths.
pub(crate) fn abstract_address(path: &Path) -> Option<io::Result<std::os::unix::net::SocketAddr>> {
    let name = path.as_os_str().as_bytes().strip_prefix(b"\0")?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        Some(std::os::unix::net::SocketAddr::from_abstract_name(name))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = name;
        Some(Err(io::ErrorKind::Unsupported.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Listen, Target};

    #[test]
    fn a_text_is_a_host_and_a_port() {
        let table: &[(&str, Endpoint)] = &[
            ("127.0.0.1:9706", Endpoint::from(("127.0.0.1", 9706))),
            ("[::1]:9706", Endpoint::from(("::1", 9706))),
            ("[fe80::1%eth0]:80", Endpoint::from(("fe80::1%eth0", 80))),
            ("localhost:0", Endpoint::from(("localhost", 0))),
            (":8080", Endpoint::from(8080)),
            ("localhost:65536", Endpoint::from(("localhost", 65536))),
        ];
        for (text, want) in table {
            assert_eq!(Endpoint::from(*text), *want, "{text}");
            assert_eq!(Endpoint::from((*text).to_owned()), *want, "{text}");
            assert_eq!(Listen::from(*text).to_string(), Listen::at(want.clone()).to_string(), "{text}");
            assert_eq!(Target::from(*text).to_string(), Target::at(want.clone()).to_string(), "{text}");
        }
        assert_eq!(Endpoint::from("localhost:65536").check(), Err(Error::BadPort(65536)));
    }

    #[test]
    fn no_text_is_a_path() {
        for text in [
            "",
            ":",
            "8080",
            "localhost",
            "localhost:",
            "localhost:http",
            "localhost:+80",
            "localhost:-1",
            "localhost:99999999999999999999",
            "::1:9706",
            "[localhost]:80",
            "[::1:80",
            "/run/app.sock",
            "./app.sock:80",
            "/run/app:80",
            "http://127.0.0.1:80",
            "\0name",
        ] {
            assert_eq!(Endpoint::from(text).check(), Err(Error::InvalidAddress(text.into())), "{text:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_address_gets_an_error_that_names_what_to_write() {
        let error = crate::run(|lp| crate::net::listen(lp, "/run/app.sock", crate::net::on()).map(drop));
        let error = error.expect_err("a path is not HOST:PORT");
        let hint = "a unix socket is Path::new(\"/run/app.sock\"), a port alone is a number";
        assert_eq!(error.to_string(), format!("\"/run/app.sock\" is not HOST:PORT; {hint}"));
        assert_eq!(error.code(), "ERR_INVALID_ARG_VALUE");
        crate::run(|lp| {
            let error = crate::net::Socket::connect(lp, "localhost", crate::net::on());
            assert_eq!(error.map(drop), Err(Error::InvalidAddress("localhost".into())));
            Ok(())
        })
        .expect("the loop is empty");
    }
}
