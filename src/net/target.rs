//! The target of a connection: the argument of [`Socket::connect_to`](super::Socket::connect_to).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::connect::LOCALHOST;
use super::endpoint::Endpoint;
use super::{Family, LocalAddress};

/// An address, name or path to connect to, and options for it.
///
/// ```
/// use bucle::net::{Family, Target};
///
/// let near = Target::from(8080); // localhost
/// let far = Target::from(("example.org", 80)).family(Family::V4);
/// let path = Target::path("/run/app.sock");
/// # let _ = (near, far, path);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) family: Option<Family>,
    pub(super) local_address: Option<String>,
    pub(super) local_port: u16,
}

impl Target {
    /// A unix socket. A path that begins with a NUL is an abstract name (Linux). A path that is too long fails to
    /// connect, and an impossible path is an error, as in [`Listen::path`](super::Listen::path).
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Target::at(Endpoint::Path(path.into()))
    }

    /// If the target is a name, connects to its first address of this family and tries no other address. If it has
    /// none, the connect fails with `ENOTFOUND`. As in Node, all addresses are tried only if no family is set.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Connects from this address. On Linux, with the feature `late-ports` and without a local port, the kernel chooses
    /// the port when it knows the target. One address can then use all its ports for each of several targets.
    #[must_use]
    pub fn local_address(mut self, address: impl Into<String>) -> Self {
        self.local_address = Some(address.into());
        self
    }

    /// Connects from this port. 0, the default, is any free port.
    #[must_use]
    pub fn local_port(mut self, port: u16) -> Self {
        self.local_port = port;
        self
    }

    pub(super) fn at(endpoint: Endpoint) -> Self {
        Target { endpoint, family: None, local_address: None, local_port: 0 }
    }
}

/// The address of a server in this process. `::` and `0.0.0.0` are reached through the loopback address.
impl From<LocalAddress> for Target {
    fn from(address: LocalAddress) -> Self {
        match address {
            LocalAddress::Ip(mut address) => {
                if address.ip().is_unspecified() {
                    let v4 = address.is_ipv4();
                    address.set_ip(if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
                }
                address.into()
            }
            LocalAddress::Path(path) => path.into(),
        }
    }
}

/// The target as in errors and logs: `localhost:8080`, `[::1]:8080`, `/run/app.sock`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.show(f, LOCALHOST)
    }
}
