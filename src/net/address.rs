//! IP addresses as in Node's `net`: which texts are addresses, and which addresses are blocked.
//!
//! ```text
//!   text  "::ffff:10.0.0.1"
//!           |  is_ip: 0, 4 or 6
//!           v
//!   IpAddr ----> BlockList: address | start-end | network/prefix ----> blocked or not
//! ```
//!
//! A dual-stack server sees an IPv4 client as `::ffff:a.b.c.d`, an IPv4 address *mapped* into IPv6 (RFC 4291, 2.5.5.2).
//! The difficulty of a block list is that the same rule has to match both spellings.
//!
//! This module opens no socket and looks up no name.

mod block_list;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

pub use block_list::BlockList;

/// Returns `4` if `text` is an IPv4 address, `6` if it is an IPv6 address, `0` otherwise
/// (Node: [`net.isIP`](https://nodejs.org/docs/latest-v20.x/api/net.html#netisipinput)).
///
/// [`is_ipv4`] and [`is_ipv6`] describe the formats.
///
/// ```
/// use bucle::net::is_ip;
///
/// assert_eq!(is_ip("127.0.0.1"), 4);
/// assert_eq!(is_ip("fe80::1%eth0"), 6);
/// assert_eq!(is_ip("localhost"), 0);
/// ```
#[doc(alias = "isIP")]
pub fn is_ip(text: &str) -> u8 {
    if is_ipv4(text) {
        4
    } else if is_ipv6(text) {
        6
    } else {
        0
    }
}

/// Whether `text` is an IPv4 address: four decimals from 0 to 255, without leading zeros or blanks.
///
/// `127.1` and `0x7f.0.0.1`, which some systems accept, are not addresses here
/// (Node: [`net.isIPv4`](https://nodejs.org/docs/latest-v20.x/api/net.html#netisipv4input)).
#[doc(alias = "isIPv4")]
pub fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

/// Whether `text` is an IPv6 address, with or without a `%zone`, and without brackets.
///
/// The last two groups may be written as an IPv4 address. A zone consists of one or more of `0-9 a-z A-Z - . :`. As in
/// Node, the `_` of some interface names is not allowed
/// (Node: [`net.isIPv6`](https://nodejs.org/docs/latest-v20.x/api/net.html#netisipv6input)).
#[doc(alias = "isIPv6")]
pub fn is_ipv6(text: &str) -> bool {
    let (address, zone) = split_zone(text);
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)
}

/// One of the two kinds of IP address. The default is IPv4, as in Node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Family {
    /// Four bytes, printed `IPv4`.
    #[default]
    V4,
    /// Sixteen bytes, printed `IPv6`.
    V6,
}

impl Family {
    /// How many bits an address has, which is also the longest prefix of a subnet.
    fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

impl From<IpAddr> for Family {
    fn from(ip: IpAddr) -> Family {
        match ip {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// Node's `socket.remoteFamily` spelling: `IPv4` or `IPv6`.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// An IP address with a port. It is checked when it is made, and cannot be changed
/// (Node: [`net.SocketAddress`](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netsocketaddress)).
///
/// `into()` converts it to a [`SocketAddr`].
///
/// ```
/// use bucle::net::{Family, SocketAddress, SocketAddressOptions};
///
/// let here = SocketAddress::new(SocketAddressOptions { port: 23, ..Default::default() })?;
/// assert_eq!((here.address().as_str(), here.port(), here.family()), ("127.0.0.1", 23, Family::V4));
/// # Ok::<(), bucle::net::AddressError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketAddress {
    ip: IpAddr,
    port: u16,
    /// Invariant: 0 for IPv4, at most [`MAX_FLOWLABEL`] for IPv6.
    flowlabel: u32,
}

/// The arguments of [`SocketAddress::new`]. The defaults are Node's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SocketAddressOptions<'a> {
    /// The address; by default `127.0.0.1`, or `::` for IPv6.
    pub address: Option<&'a str>,
    /// The kind of address; by default IPv4.
    pub family: Family,
    /// The port; by default 0.
    pub port: u16,
    /// The flow label of IPv6 (RFC 6437), 20 bits; by default 0. Ignored for IPv4.
    pub flowlabel: u32,
}

impl SocketAddress {
    /// Makes an address from `options`. The `%zone` of an IPv6 address is dropped.
    ///
    /// # Errors
    /// `ERR_INVALID_ADDRESS` if the address is not one of the family; `ERR_OUT_OF_RANGE` if an IPv6 flow label has more
    /// than 20 bits (where Node 20 aborts the process).
    pub fn new(options: SocketAddressOptions<'_>) -> Result<SocketAddress, AddressError> {
        let SocketAddressOptions { address, family, port, flowlabel } = options;
        let ip = match (address, family) {
            (Some(text), _) => parse(text, family)?,
            (None, Family::V4) => Ipv4Addr::LOCALHOST.into(),
            (None, Family::V6) => Ipv6Addr::UNSPECIFIED.into(),
        };
        match family {
            Family::V4 => Ok(SocketAddress { ip, port, flowlabel: 0 }),
            Family::V6 if flowlabel <= MAX_FLOWLABEL => Ok(SocketAddress { ip, port, flowlabel }),
            Family::V6 => Err(AddressError::FlowlabelOutOfRange { flowlabel }),
        }
    }

    /// The address as text, in Node's spelling.
    pub fn address(&self) -> String {
        Spelled(self.ip).to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The kind of address.
    pub fn family(&self) -> Family {
        self.ip.into()
    }

    /// The flow label; 0 for IPv4.
    pub fn flowlabel(&self) -> u32 {
        self.flowlabel
    }
}

impl From<SocketAddress> for SocketAddr {
    fn from(address: SocketAddress) -> SocketAddr {
        match address.ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, address.port)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, address.port, address.flowlabel, 0).into(),
        }
    }
}

/// Why an address, a range or a subnet is not valid. Nothing was changed: correct the argument and try again.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is not an address of the requested family.
    InvalidAddress {
        /// The text as given.
        text: String,
        /// The requested family.
        family: Family,
    },
    /// The start of a range is after its end.
    StartAfterEnd {
        /// The first address, as given.
        start: IpAddr,
        /// The last address, as given.
        end: IpAddr,
    },
    /// A subnet's prefix is longer than an address.
    PrefixOutOfRange {
        /// The prefix as given, in bits.
        prefix: u8,
        /// The network's family.
        family: Family,
    },
    /// A flow label has more than 20 bits.
    FlowlabelOutOfRange {
        /// The flow label as given.
        flowlabel: u32,
    },
}

impl AddressError {
    /// Node's `error.code`.
    pub fn code(&self) -> &'static str {
        match self {
            AddressError::InvalidAddress { .. } => "ERR_INVALID_ADDRESS",
            AddressError::StartAfterEnd { .. } => "ERR_INVALID_ARG_VALUE",
            AddressError::PrefixOutOfRange { .. } | AddressError::FlowlabelOutOfRange { .. } => "ERR_OUT_OF_RANGE",
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::InvalidAddress { text, family: Family::V4 } => {
                write!(f, "{text:?} is not an IPv4 address: write four decimals from 0 to 255, as in 127.0.0.1")
            }
            AddressError::InvalidAddress { text, family: Family::V6 } => {
                write!(f, "{text:?} is not an IPv6 address: write groups of up to four hex digits, as in fe80::1")
            }
            AddressError::StartAfterEnd { start, end } => {
                write!(
                    f,
                    "the range starts at {start}, after its end {end}: the start must not be greater than the end"
                )
            }
            AddressError::PrefixOutOfRange { prefix, family } => {
                write!(f, "a prefix of {prefix} bits is out of range: {family} takes 0 to {}", family.bits())
            }
            AddressError::FlowlabelOutOfRange { flowlabel } => {
                write!(f, "a flow label of {flowlabel} is out of range: it takes 0 to {MAX_FLOWLABEL}")
            }
        }
    }
}

impl std::error::Error for AddressError {}

/// A flow label has 20 bits (RFC 8200, section 3).
const MAX_FLOWLABEL: u32 = (1 << 20) - 1;

/// Formats an address as libuv's `uv_inet_ntop` does.
///
/// It differs from Rust only for IPv4-compatible addresses, which are deprecated (RFC 4291, 2.5.5.1): `::10.0.0.1`
/// here, `::a00:1` in Rust.
struct Spelled(IpAddr);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(ip) => match ip.segments() {
                [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
                    let [.., a, b, c, d] = ip.octets();
                    write!(f, "::{a}.{b}.{c}.{d}")
                }
                _ => ip.fmt(f),
            },
            IpAddr::V4(ip) => ip.fmt(f),
        }
    }
}

/// Parses an address of `family`. The zone of an IPv6 address is dropped without a check.
///
/// All of the text has to be valid. Node 20 stops at a NUL character, so it accepts `"10.0.0.1\0..."`; and it reads
/// only 39 bytes of an address with a zone, so it misreads a long one that ends in an IPv4 address.
fn parse(text: &str, family: Family) -> Result<IpAddr, AddressError> {
    let ip = match family {
        Family::V4 => text.parse().map(IpAddr::V4),
        Family::V6 => split_zone(text).0.parse().map(IpAddr::V6),
    };
    ip.map_err(|_| AddressError::InvalidAddress { text: text.to_owned(), family })
}

/// Splits `fe80::1%eth0` into `fe80::1` and `eth0`.
fn split_zone(text: &str) -> (&str, Option<&str>) {
    match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    }
}

/// Whether Node's `isIPv6` accepts `zone` as the name of an interface.
fn is_zone(zone: &str) -> bool {
    !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte))
}

#[cfg(test)]
mod tests;
