//! A place: where a server listens, and where a client connects to.
//!
//! ```text
//!   8080                       Host("", 8080)         every address, or localhost: whoever listens or connects knows
//!   ("localhost", 8080)        Host("localhost", …)   a name, to be looked up
//!   ("fe80::1%eth0", 8080)     Host("fe80::1%…", …)   an address whose zone is found when it is used: no lookup
//!   ("::1", 8080), SocketAddr  Ip
//!   "/run/app.sock"            Path
//! ```
//!
//! From here on an address is a [`SocketAddr`], port and zone included: a link-local address (`fe80::/10`) is the same on
//! every interface, and without its zone nobody knows which one is meant (RFC 4007).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Error, is_ipv6};
use crate::Result;
use crate::error_codes;

/// How many bytes the path of a unix socket may have, or the name behind the NUL: `sun_path`, less one.
const PATH_LIMIT: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// Where to listen, or to connect to.
///
/// Invariant: what can be an [`Ip`](Place::Ip) is one, so that equal places compare equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A name, or an address with a zone, or nothing; and a port that nobody has checked yet.
    Host(String, i64),
    Ip(SocketAddr),
    Path(PathBuf),
}

impl Place {
    fn host(host: String, port: i64) -> Place {
        match (host.parse::<IpAddr>(), u16::try_from(port)) {
            (Ok(ip), Ok(port)) => Place::Ip(SocketAddr::new(ip, port)),
            _ => Place::Host(host, port),
        }
    }

    /// Checks what Node checks at once, and gives the port; 0 for a path.
    pub fn check(&self) -> Result<u16> {
        match self {
            Place::Host(_, port) => u16::try_from(*port).map_err(|_| Error::BadPort(*port)),
            Place::Ip(address) => Ok(address.port()),
            Place::Path(path) => check_path(path).map(|()| 0),
        }
    }

    /// What is to be done with it by `syscall`; `port` is what [`check`](Self::check) gave.
    pub fn meaning(&self, port: u16, syscall: &'static str) -> Meaning<'_> {
        match self {
            Place::Host(host, _) if host.is_empty() => Meaning::NoHost,
            Place::Host(host, _) => literal(host, port, syscall).map_or(Meaning::Name(host), Meaning::Address),
            Place::Ip(address) => Meaning::Address(Ok(*address)),
            Place::Path(path) => Meaning::Path(path),
        }
    }

    /// As in errors and logs, with `no_host` where none is named.
    pub fn show(&self, f: &mut fmt::Formatter<'_>, no_host: &str) -> fmt::Result {
        match self {
            Place::Host(host, port) if host.is_empty() => write!(f, "{no_host}:{port}"),
            Place::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Host(host, port) => write!(f, "{host}:{port}"),
            Place::Ip(address) => write!(f, "{address}"),
            Place::Path(path) => f.write_str(&show_path(path)),
        }
    }
}

/// What a place stands for.
pub(super) enum Meaning<'a> {
    NoHost,
    /// A name, to be looked up.
    Name(&'a str),
    /// An address that is known already; an error if its zone is no interface.
    Address(Result<SocketAddr>),
    Path(&'a Path),
}

/// The conversions of [`Place`], and of those who are made from one: `Listen` and `Target`.
macro_rules! from_places {
    ($($(#[$doc:meta])* $pattern:pat, $from:ty => $place:expr;)*) => {
        $(impl From<$from> for Place {
            fn from($pattern: $from) -> Self {
                $place
            }
        })*
        $($(#[$doc])* impl From<$from> for super::Listen {
            fn from(place: $from) -> Self {
                super::Listen::at(place.into())
            }
        }
        $(#[$doc])* impl From<$from> for super::Target {
            fn from(place: $from) -> Self {
                super::Target::at(place.into())
            }
        })*
    };
}

from_places! {
    /// A port: for a server on every address, IPv4 and IPv6; for a client on `localhost`, Node's default.
    port, u16 => Place::Host(String::new(), port.into());
    /// As a `u16`. Anything but 0 to 65535 is refused by the call that it is given to.
    port, i32 => Place::Host(String::new(), port.into());
    /// A name or an address, and a port. An empty host is none.
    (host, port), (&str, u16) => Place::host(host.to_owned(), port.into());
    /// A name or an address, and a port. Anything but 0 to 65535 is refused by the call that it is given to.
    (host, port), (&str, i32) => Place::host(host.to_owned(), port.into());
    /// A name or an address, and a port. An empty host is none.
    (host, port), (String, u16) => Place::host(host, port.into());
    address, (IpAddr, u16) => Place::Ip(address.into());
    address, (Ipv4Addr, u16) => Place::Ip(address.into());
    address, (Ipv6Addr, u16) => Place::Ip(address.into());
    address, SocketAddr => Place::Ip(address);
    address, SocketAddrV4 => Place::Ip(address.into());
    address, SocketAddrV6 => Place::Ip(address.into());
    path, &Path => Place::Path(path.to_owned());
    path, PathBuf => Place::Path(path);
}

/// What `text` means if it is an IP address, with or without a zone: Node's `isIP`. No name is looked up.
///
/// # Errors
/// `EINVAL`, as the kernel would answer to `syscall`, for a link-local address whose zone is no interface.
pub(super) fn literal(text: &str, port: u16, syscall: &'static str) -> Option<Result<SocketAddr>> {
    if let Ok(ip) = text.parse() {
        return Some(Ok(SocketAddr::new(ip, port)));
    }
    if !is_ipv6(text) {
        return None;
    }
    // The system's resolver knows the numbers of zones; of what is an address already it asks nobody.
    if let Some(address) = (text, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next()) {
        return Some(Ok(address));
    }
    // Only link-local addresses need their zone, and only of those it is sure to know it.
    let ip: Ipv6Addr = text.split('%').next()?.parse().ok()?;
    Some(if ip.is_unicast_link_local() {
        let no_zone = io::Error::from_raw_os_error(error_codes::number_of("EINVAL"));
        Err(Error::system_at(syscall, &no_zone, text, Some(port)))
    } else {
        Ok(SocketAddr::new(ip.into(), port))
    })
}

/// A failed system call on an address.
pub(super) fn failed_on(syscall: &'static str, error: &io::Error, address: SocketAddr) -> Error {
    let ip = match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => format!("{}%{}", address.ip(), address.scope_id()),
        address => address.ip().to_string(),
    };
    Error::system_at(syscall, error, &ip, Some(address.port()))
}

/// Refuses what can be no path. The system would stop at a NUL, and make up a name where there is none.
fn check_path(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes[0] != 0 && bytes.contains(&0) {
        return Err(Error::InvalidPath(show_path(path).into()));
    }
    Ok(())
}

/// Refuses a path that does not fit. Node cuts it off, and whoever looks for the whole of it finds nothing.
pub(super) fn check_length(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.strip_prefix(b"\0").unwrap_or(bytes).len() > PATH_LIMIT {
        return Err(Error::PathTooLong { path: show_path(path).into(), limit: PATH_LIMIT });
    }
    Ok(())
}

/// A path to show: abstract names begin with `@`, as in `ss` and `/proc/net/unix`.
pub(super) fn show_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    match text.strip_prefix('\0') {
        Some(name) => format!("@{name}"),
        None => text.into_owned(),
    }
}

/// The address of a path that begins with a NUL: a name that is in no file system.
pub(super) fn abstract_address(path: &Path) -> Option<io::Result<std::os::unix::net::SocketAddr>> {
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
