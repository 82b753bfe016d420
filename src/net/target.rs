//! What a client connects to: the argument of [`Socket::connect_to`](super::Socket::connect_to).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::connect::LOCALHOST;
use super::endpoint::Endpoint;
use super::{Family, LocalAddress};

/// Where to connect to, and how.
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
    /// A unix socket. A path that begins with a NUL is an abstract name (Linux). One that is too long fails to connect, and what
    /// can be no path is refused, as in [`Listen::path`](super::Listen::path).
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Target::at(Endpoint::Path(path.into()))
    }

    /// If the target is a name, connects to the first address of this family that the system names, and to no other; if it
    /// names none, the name is not found (`ENOTFOUND`). All addresses are tried only where no family is set, as in Node.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Connects from this address. With the feature `late-ports`, on Linux, and unless a port is given too, its port is chosen
    /// for the target: one address then has all its ports to each of several targets.
    #[must_use]
    pub fn local_address(mut self, address: impl Into<String>) -> Self {
        self.local_address = Some(address.into());
        self
    }

    /// Connects from this port; 0, the default, is any.
    #[must_use]
    pub fn local_port(mut self, port: u16) -> Self {
        self.local_port = port;
        self
    }

    pub(super) fn at(endpoint: Endpoint) -> Self {
        Target { endpoint, family: None, local_address: None, local_port: 0 }
    }
}

/// What a server of this process is bound to; `::` and `0.0.0.0` are reached over the loopback address.
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

/// Where it connects to, as in errors and logs: `localhost:8080`, `[::1]:8080`, `/run/app.sock`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.show(f, LOCALHOST)
    }
}
