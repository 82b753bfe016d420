//! IP addresses as Node's `net` sees them: what is one, and which are blocked.
//!
//! ```text
//!   text  "::ffff:10.0.0.1"
//!           |  is_ip: 0, 4 or 6
//!           v
//!   IpAddr ----> BlockList: address | start-end | network/prefix ----> blocked or not
//! ```
//!
//! An IPv4 client of a dual-stack server shows up as `::ffff:a.b.c.d`, an IPv4 address *mapped* into IPv6 (RFC 4291,
//! 2.5.5.2). The whole difficulty of a block list is that both spellings must meet the same rule.
//!
//! Nothing here opens a socket or asks a name server.

mod block_list;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

pub use block_list::BlockList;

/// Tells what `text` is: `4` for an IPv4 address, `6` for an IPv6 address, `0` for anything else.
///
/// The numbers are Node's ([`net.isIP`](https://nodejs.org/docs/latest-v20.x/api/net.html#netisipinput)). See
/// [`is_ipv4`] and [`is_ipv6`] for what counts.
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

/// Tells whether `text` is an IPv4 address: four decimals from 0 to 255, without leading zeros or blanks.
///
/// `127.1` and `0x7f.0.0.1`, which some systems take, are none
/// ([`net.isIPv4`](https://nodejs.org/docs/latest-v20.x/api/net.html#netisipv4input)).
#[doc(alias = "isIPv4")]
pub fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

/// Tells whether `text` is an IPv6 address, with or without a `%zone`, and without brackets.
///
/// The last two groups may be written as an IPv4 address. A zone is one or more of `0-9 a-z A-Z - . :`, which leaves out
/// the `_` of some interface names, as Node does
/// ([`net.isIPv6`](https://nodejs.org/docs/latest-v20.x/api/net.html#netisipv6input)).
#[doc(alias = "isIPv6")]
pub fn is_ipv6(text: &str) -> bool {
    let (address, zone) = split_zone(text);
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)
}

/// One of the two kinds of IP address; `IPv4` where nothing is said, as in Node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Family {
    /// Four bytes, printed `IPv4`.
    #[default]
    V4,
    /// Sixteen bytes, printed `IPv6`.
    V6,
}

impl Family {
    /// How many bits an address has: the longest prefix a subnet can have.
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

/// An IP address with a port, checked once and then only read.
///
/// Node's [`net.SocketAddress`](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netsocketaddress). It turns into
/// a [`SocketAddr`] with `into()`.
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

/// What a [`SocketAddress`] is made from; each field left at its default means what it means in Node.
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
    /// Checks the options and puts them together.
    ///
    /// Fails with `ERR_INVALID_ADDRESS` if the address is not one of the family, and with `ERR_OUT_OF_RANGE` if an IPv6
    /// flow label has more than 20 bits (Node 20 aborts the process there). An IPv6 address loses its `%zone`.
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

/// Why an address, a range or a subnet was refused. Nothing was changed: correct the argument and try again.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is not an address of the family asked for.
    InvalidAddress {
        /// The text as given.
        text: String,
        /// The family asked for.
        family: Family,
    },
    /// A range starts after its end.
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

/// An address as libuv's `uv_inet_ntop` writes it.
///
/// It differs from Rust in one case only, the IPv4-compatible addresses given up long ago (RFC 4291, 2.5.5.1):
/// `::10.0.0.1` here, `::a00:1` in Rust.
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

/// Reads an address of `family`, dropping an IPv6 zone whatever it holds.
///
/// All of the text counts. Node 20 stops at a NUL character, so that `"10.0.0.1\0..."` passes, and reads only 39 bytes
/// of an address with a zone, so that a long one ending in an IPv4 address is taken for another address.
fn parse(text: &str, family: Family) -> Result<IpAddr, AddressError> {
    let ip = match family {
        Family::V4 => text.parse().map(IpAddr::V4),
        Family::V6 => split_zone(text).0.parse().map(IpAddr::V6),
    };
    ip.map_err(|_| AddressError::InvalidAddress { text: text.to_owned(), family })
}

/// `fe80::1%eth0` into `fe80::1` and `eth0`.
fn split_zone(text: &str) -> (&str, Option<&str>) {
    match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    }
}

/// Tells whether Node's `isIPv6` takes `zone` for the name of an interface.
fn is_zone(zone: &str) -> bool {
    !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte))
}

#[cfg(test)]
mod tests;
