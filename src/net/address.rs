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
//! 2.5.5.2). The whole difficulty of a block list is that both spellings must meet the same rule. One function,
//! [`compare`], knows about it for addresses and ranges, and one, [`to_ipv6_bits`], for subnets.
//!
//! Nothing here opens a socket or asks a name server.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

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
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
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

/// Addresses a program wants nothing to do with, by address, by range or by subnet.
///
/// Node's [`net.BlockList`](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netblocklist). The list only answers;
/// to refuse clients, ask it on every new connection. Rules are tried one after the other, as in Node: thousands of rules
/// on a busy server would want the ranges sorted and merged instead.
///
/// An IPv4 address and its mapped form `::ffff:a.b.c.d` meet the same rules, whichever form the rule was written in.
/// One case falls out of that, and does in Node: an IPv6 *range* holds an IPv4 address only if both its ends are mapped
/// addresses, so `::` to `ffff::` blocks `::ffff:10.0.0.1` but not `10.0.0.1`, while the *subnet* `::/0` blocks both.
///
/// Where an IPv6 address is asked for, a `%zone` may follow and is ignored: a rule holds on every interface.
///
/// ```
/// use bucle::net::{BlockList, Family};
///
/// let mut list = BlockList::new();
/// list.add_subnet("10.0.0.0", 8, Family::V4)?;
/// assert!(list.check("10.1.2.3", Family::V4));
/// assert!(list.check("::ffff:10.1.2.3", Family::V6));
/// assert!(!list.check("11.1.2.3", Family::V4));
/// assert_eq!(list.rules(), ["Subnet: IPv4 10.0.0.0/8"]);
/// # Ok::<(), bucle::net::AddressError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct BlockList {
    /// Oldest first.
    rules: Vec<Rule>,
}

impl BlockList {
    /// A list that blocks nothing.
    pub fn new() -> BlockList {
        BlockList::default()
    }

    /// Blocks one address.
    ///
    /// Fails with `ERR_INVALID_ADDRESS` if `address` is not one of `family`.
    #[doc(alias = "addAddress")]
    pub fn add_address(&mut self, address: &str, family: Family) -> Result<(), AddressError> {
        self.rules.push(Rule::Address(parse(address, family)?));
        Ok(())
    }

    /// Blocks the addresses from `start` to `end`, both included.
    ///
    /// Fails with `ERR_INVALID_ADDRESS` if either is not an address of `family`, and with `ERR_INVALID_ARG_VALUE` if
    /// `start` comes after `end`.
    #[doc(alias = "addRange")]
    pub fn add_range(&mut self, start: &str, end: &str, family: Family) -> Result<(), AddressError> {
        let (start, end) = (parse(start, family)?, parse(end, family)?);
        if start > end {
            return Err(AddressError::StartAfterEnd { start, end });
        }
        self.rules.push(Rule::Range { start, end });
        Ok(())
    }

    /// Blocks the addresses that share their first `prefix` bits with `network`; its other bits do not matter.
    ///
    /// Fails with `ERR_INVALID_ADDRESS` if `network` is not an address of `family`, and with `ERR_OUT_OF_RANGE` if
    /// `prefix` is over 32 (IPv4) or 128 (IPv6).
    #[doc(alias = "addSubnet")]
    pub fn add_subnet(&mut self, network: &str, prefix: u8, family: Family) -> Result<(), AddressError> {
        let network = parse(network, family)?;
        if prefix > family.bits() {
            return Err(AddressError::PrefixOutOfRange { prefix, family });
        }
        self.rules.push(Rule::Subnet { network, prefix });
        Ok(())
    }

    /// Tells whether `address` is blocked. What is not an address of `family` is not.
    pub fn check(&self, address: &str, family: Family) -> bool {
        parse(address, family).is_ok_and(|ip| self.check_ip(ip))
    }

    /// Tells whether `ip` is blocked: [`check`](BlockList::check) for an address that is one already, such as a peer's.
    pub fn check_ip(&self, ip: IpAddr) -> bool {
        self.rules.iter().any(|rule| rule.covers(ip))
    }

    /// The rules in Node's words and order: the newest first.
    pub fn rules(&self) -> Vec<String> {
        self.rules.iter().rev().map(Rule::to_string).collect()
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

#[derive(Clone, Debug)]
enum Rule {
    Address(IpAddr),
    /// Invariant: both ends are of one family, and `start <= end`.
    Range {
        start: IpAddr,
        end: IpAddr,
    },
    /// Invariant: `prefix` is at most the number of bits in `network`.
    Subnet {
        network: IpAddr,
        prefix: u8,
    },
}

impl Rule {
    fn covers(&self, ip: IpAddr) -> bool {
        match *self {
            Rule::Address(address) => compare(ip, address) == Some(Ordering::Equal),
            Rule::Range { start, end } => {
                compare(start, ip).is_some_and(Ordering::is_le) && compare(ip, end).is_some_and(Ordering::is_le)
            }
            Rule::Subnet { network, prefix } => {
                let free_bits = u32::from(Family::from(network).bits() - prefix);
                let differing_bits = to_ipv6_bits(ip) ^ to_ipv6_bits(network);
                // All 128 bits are free in `::/0`, and a shift by 128 would overflow.
                differing_bits.checked_shr(free_bits).unwrap_or(0) == 0
            }
        }
    }
}

/// Node's words: `Address: IPv4 10.0.0.1`, `Range: IPv4 10.0.0.1-10.0.0.9`, `Subnet: IPv6 fe80::/10`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Rule::Address(ip) => write!(f, "Address: {} {}", Family::from(ip), Spelled(ip)),
            Rule::Range { start, end } => {
                write!(f, "Range: {} {}-{}", Family::from(start), Spelled(start), Spelled(end))
            }
            Rule::Subnet { network, prefix } => {
                write!(f, "Subnet: {} {}/{prefix}", Family::from(network), Spelled(network))
            }
        }
    }
}

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

/// Orders two addresses; an IPv4 address and an IPv6 one have an order only if the latter is a mapped address.
fn compare(one: IpAddr, other: IpAddr) -> Option<Ordering> {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V6(other)) => Some(one.cmp(&other.to_ipv4_mapped()?)),
        (IpAddr::V6(one), IpAddr::V4(other)) => Some(one.to_ipv4_mapped()?.cmp(&other)),
        _ => Some(one.cmp(&other)),
    }
}

/// The 128 bits of an IPv6 address, or of the address an IPv4 address is mapped to.
fn to_ipv6_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
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
mod tests {
    use super::Family::{V4, V6};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classifies_as_node_does() {
        // The first part is tests/conformance/golden/net-is-ip.trace, the rest was read from Node 20.20.2 too.
        let table: &[(&str, &str, u8)] = &[
            ("IPv4 loopback", "127.0.0.1", 4),
            ("IPv6 loopback", "::1", 6),
            ("IPv6 unspecified", "::", 6),
            ("three decimals", "1.2.3", 0),
            ("five decimals", "1.2.3.4.5", 0),
            ("decimal over 255", "256.1.1.1", 0),
            ("leading zero", "01.2.3.4", 0),
            ("mapped", "::ffff:127.0.0.1", 6),
            ("zone", "fe80::1%eth0", 6),
            ("nothing", "", 0),
            ("host name", "localhost", 0),
            ("eight groups", "1:2:3:4:5:6:7:8", 6),
            ("seven groups", "1:2:3:4:5:6:7", 0),
            ("two gaps", "::1::2", 0),
            ("six groups and IPv4", "1:2:3:4:5:6:1.2.3.4", 6),
            ("five digits in a group", "12345::", 0),
            ("empty zone", "::%", 0),
            ("leading blank", " 127.0.0.1", 0),
            ("IPv4 unspecified", "0.0.0.0", 4),
            // ---
            ("highest IPv4", "255.255.255.255", 4),
            ("two zeros", "00.0.0.0", 0),
            ("hex in IPv4", "0x7f.0.0.1", 0),
            ("trailing dot", "1.2.3.4.", 0),
            ("trailing line break", "1.2.3.4\n", 0),
            ("trailing NUL", "1.2.3.4\0", 0),
            ("signed", "+1.2.3.4", 0),
            ("other digits", "١.2.3.4", 0),
            ("IPv4 with a zone", "1.2.3.4%eth0", 0),
            ("IPv4 with a port", "1.2.3.4:80", 0),
            ("upper case", "FE80::ABCD", 6),
            ("not hex", "fe80::g", 0),
            ("gap of one group, in front", "::2:3:4:5:6:7:8", 6),
            ("gap of one group, behind", "1:2:3:4:5:6:7::", 6),
            ("gap of no group", "1:2:3:4::5:6:7:8", 0),
            ("three colons", ":::", 0),
            ("one colon", ":", 0),
            ("leading colon", ":1:2:3:4:5:6:7", 0),
            ("trailing colon", "1:2:3:4:5:6:7:", 0),
            ("nine groups", "1:2:3:4:5:6:7:8:9", 0),
            ("IPv4 too early", "1:2:3:4:5:1.2.3.4", 0),
            ("IPv4 too late", "1:2:3:4:5:6:7:1.2.3.4", 0),
            ("IPv4 in the middle", "::1.2.3.4:5", 0),
            ("IPv4 in front", "1.2.3.4::", 0),
            ("gap of one group before IPv4", "1:2:3:4:5::1.2.3.4", 6),
            ("leading zero in embedded IPv4", "::01.2.3.4", 0),
            ("brackets", "[::1]", 0),
            ("prefix", "::1/64", 0),
            ("zone of every kind", "::1%aZ0-.:", 6),
            ("zone after IPv4 part", "::1.2.3.4%1", 6),
            ("underscore in zone", "::1%eth_0", 0),
            ("percent in zone", "::1%%", 0),
            ("accent in zone", "::1%é", 0),
            ("line break in zone", "::1%a\n", 0),
        ];
        for (name, text, want) in table {
            assert_eq!(is_ip(text), *want, "{name}");
            assert_eq!(is_ipv4(text), *want == 4, "{name}");
            assert_eq!(is_ipv6(text), *want == 6, "{name}");
        }
    }

    #[test]
    fn families_are_spelled_as_node_does() {
        assert_eq!(format!("{V4} {V6}"), "IPv4 IPv6");
        assert_eq!(Family::from(IpAddr::from([127, 0, 0, 1])), V4);
        assert_eq!(Family::default(), V4);
    }

    /// tests/conformance/golden/net-block-list.trace.
    #[test]
    fn block_list_of_the_golden_trace() {
        let mut list = BlockList::new();
        list.add_address("10.0.0.1", V4).unwrap();
        list.add_range("10.0.1.5", "10.0.1.9", V4).unwrap();
        list.add_subnet("192.168.0.0", 16, V4).unwrap();
        list.add_subnet("fe80::", 10, V6).unwrap();
        assert_eq!(list.add_range("10.0.0.9", "10.0.0.2", V4).unwrap_err().code(), "ERR_INVALID_ARG_VALUE");
        assert_eq!(list.add_address("bad", V4).unwrap_err().code(), "ERR_INVALID_ADDRESS");
        let table = [
            ("the address", "10.0.0.1", V4, true),
            ("the one after it", "10.0.0.2", V4, false),
            ("before the range", "10.0.1.4", V4, false),
            ("start of the range", "10.0.1.5", V4, true),
            ("end of the range", "10.0.1.9", V4, true),
            ("after the range", "10.0.1.10", V4, false),
            ("last of the subnet", "192.168.255.255", V4, true),
            ("after the subnet", "192.169.0.0", V4, false),
            ("in the IPv6 subnet", "fe80::1", V6, true),
            ("late in the IPv6 subnet", "febf::1", V6, true),
            ("after the IPv6 subnet", "fec0::1", V6, false),
            ("the address, mapped", "::ffff:10.0.0.1", V6, true),
            ("the one after it, mapped", "::ffff:10.0.0.2", V6, false),
        ];
        for (name, address, family, want) in table {
            assert_eq!(list.check(address, family), want, "{name}");
        }
    }

    fn list_of(kind: &str, first: &str, second: &str, family: Family) -> Result<BlockList, AddressError> {
        let mut list = BlockList::new();
        match kind {
            "address" => list.add_address(first, family)?,
            "range" => list.add_range(first, second, family)?,
            _ => list.add_subnet(first, second.parse().expect("a prefix in the table"), family)?,
        }
        Ok(list)
    }

    #[test]
    fn both_spellings_of_an_ipv4_address_meet_the_same_rules() {
        let everything = ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        let (plain, mapped) = (("10.0.0.5", V4), ("::ffff:10.0.0.5", V6));
        let table = [
            ("IPv4 address", ("address", "10.0.0.5", "", V4), plain, true),
            ("IPv4 address, asked mapped", ("address", "10.0.0.5", "", V4), mapped, true),
            ("mapped address", ("address", "::ffff:10.0.0.5", "", V6), plain, true),
            ("compatible is not mapped", ("address", "::10.0.0.5", "", V6), plain, false),
            ("IPv4 range, asked mapped", ("range", "10.0.0.5", "10.0.0.5", V4), mapped, true),
            ("IPv4 range, asked IPv6", ("range", "0.0.0.0", "255.255.255.255", V4), ("::1", V6), false),
            ("mapped range", ("range", "::ffff:10.0.0.0", "::ffff:10.0.1.0", V6), plain, true),
            ("IPv6 range, asked mapped", ("range", everything.0, everything.1, V6), mapped, true),
            ("IPv6 range, asked IPv4", ("range", everything.0, everything.1, V6), plain, false),
            ("half mapped range", ("range", "::", "::ffff:10.0.0.9", V6), plain, false),
            ("half mapped range, other half", ("range", "::ffff:10.0.0.0", everything.1, V6), plain, false),
            ("range counts in network order", ("range", "10.0.0.9", "10.0.1.2", V4), ("10.0.1.1", V4), true),
            ("IPv4 subnet of one", ("subnet", "10.0.0.5", "32", V4), plain, true),
            ("IPv4 subnet of one, asked mapped", ("subnet", "10.0.0.5", "32", V4), mapped, true),
            ("IPv4 subnet of one, asked its neighbour", ("subnet", "10.0.0.4", "32", V4), plain, false),
            ("IPv4 subnet of all", ("subnet", "1.2.3.4", "0", V4), mapped, true),
            ("IPv4 subnet of all, asked IPv6", ("subnet", "1.2.3.4", "0", V4), ("::1", V6), false),
            ("IPv6 subnet of all", ("subnet", "::1", "0", V6), plain, true),
            ("mapped subnet", ("subnet", "::ffff:10.0.0.0", "104", V6), plain, true),
            ("IPv6 subnet of one", ("subnet", "fe80::1", "128", V6), ("fe80::1", V6), true),
            ("IPv6 subnet of two", ("subnet", "fe80::1", "127", V6), ("fe80::", V6), true),
            ("IPv6 subnet of two, asked the next", ("subnet", "fe80::1", "127", V6), ("fe80::2", V6), false),
            ("zone of the rule is ignored", ("address", "fe80::1%eth0", "", V6), ("fe80::1", V6), true),
            ("zone of the question is ignored", ("address", "fe80::1", "", V6), ("fe80::1%not a zone", V6), true),
            ("not an address", ("subnet", "::", "0", V6), ("bad", V6), false),
            ("address of the other family", ("subnet", "::", "0", V6), ("::1", V4), false),
            ("text after a NUL", ("subnet", "::", "0", V6), ("10.0.0.5\0", V4), false),
        ];
        for (name, (kind, first, second, rule_family), (address, family), want) in table {
            let list = list_of(kind, first, second, rule_family).unwrap();
            assert_eq!(list.check(address, family), want, "{name}");
        }
    }

    #[test]
    fn refused_rules_say_what_is_wrong_and_leave_no_trace() {
        let invalid = "ERR_INVALID_ADDRESS";
        let table = [
            ("not an address", ("address", "bad", "", V4), invalid, "\"bad\" is not an IPv4 address"),
            ("IPv6 as IPv4", ("address", "::1", "", V4), invalid, "\"::1\" is not an IPv4 address"),
            ("IPv4 as IPv6", ("address", "1.2.3.4", "", V6), invalid, "\"1.2.3.4\" is not an IPv6 address"),
            ("text after a NUL", ("address", "1.2.3.4\0", "", V4), invalid, "\"1.2.3.4\\0\" is not an IPv4"),
            ("bad start", ("range", "", "1.2.3.4", V4), invalid, "\"\" is not an IPv4 address"),
            ("bad end", ("range", "::2", "bad", V6), invalid, "\"bad\" is not an IPv6 address"),
            ("IPv6 range backwards", ("range", "::2", "::1", V6), "ERR_INVALID_ARG_VALUE", "after its end ::1"),
            ("IPv4 prefix", ("subnet", "10.0.0.0", "33", V4), "ERR_OUT_OF_RANGE", "IPv4 takes 0 to 32"),
            ("IPv6 prefix", ("subnet", "fe80::", "129", V6), "ERR_OUT_OF_RANGE", "IPv6 takes 0 to 128"),
            ("bad network before bad prefix", ("subnet", "bad", "255", V4), invalid, "\"bad\" is not an IPv4"),
        ];
        for (name, (kind, first, second, family), code, words) in table {
            let error = list_of(kind, first, second, family).unwrap_err();
            assert_eq!(error.code(), code, "{name}");
            assert!(error.to_string().contains(words), "{name}: {error}");
        }

        let mut list = BlockList::new();
        let _ = list.add_subnet("10.0.0.0", 33, V4);
        assert_eq!(list.rules(), [""; 0]);
    }

    #[test]
    fn rules_are_listed_in_nodes_words_newest_first() {
        let mut list = BlockList::new();
        list.add_address("1.2.3.4", V4).unwrap();
        list.add_address("1.2.3.4", V4).unwrap();
        list.add_address("::1%lo", V6).unwrap();
        list.add_range("1.1.1.1", "1.1.1.1", V4).unwrap();
        list.add_subnet("1.2.3.4", 8, V4).unwrap();
        list.add_subnet("fe80::1", 10, V6).unwrap();
        let want = [
            "Subnet: IPv6 fe80::1/10",
            "Subnet: IPv4 1.2.3.4/8",
            "Range: IPv4 1.1.1.1-1.1.1.1",
            "Address: IPv6 ::1",
            "Address: IPv4 1.2.3.4",
            "Address: IPv4 1.2.3.4",
        ];
        assert_eq!(list.rules(), want);
    }

    #[test]
    fn addresses_are_spelled_as_libuv_does() {
        let table = [
            ("lower case, no leading zeros", "FE80::00AB", "fe80::ab"),
            ("mapped", "::ffff:102:304", "::ffff:1.2.3.4"),
            ("compatible", "::10.0.0.1", "::10.0.0.1"),
            ("compatible, written as groups", "::1:0", "::0.1.0.0"),
            ("too low to be compatible", "::0.0.1.0", "::100"),
            ("nearly mapped", "::fffe:1.2.3.4", "::fffe:102:304"),
            ("one zero group is written out", "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
            ("the longest gap is left out", "1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("the first of equal gaps is left out", "1:0:0:2:3:0:0:4", "1::2:3:0:0:4"),
        ];
        for (name, text, want) in table {
            let options = SocketAddressOptions { address: Some(text), family: V6, ..Default::default() };
            assert_eq!(SocketAddress::new(options).unwrap().address(), want, "{name}");
        }
    }

    #[test]
    fn socket_addresses_fill_in_what_is_missing() {
        let none = SocketAddressOptions::default();
        let v6 = SocketAddressOptions { family: V6, ..none };
        let table = [
            ("nothing", none, "127.0.0.1:0"),
            ("IPv6", v6, "[::]:0"),
            ("port", SocketAddressOptions { port: 65535, ..none }, "127.0.0.1:65535"),
            ("address", SocketAddressOptions { address: Some("1.2.3.4"), ..none }, "1.2.3.4:0"),
            ("zone", SocketAddressOptions { address: Some("::1%lo"), ..v6 }, "[::1]:0"),
        ];
        for (name, options, want) in table {
            assert_eq!(SocketAddr::from(SocketAddress::new(options).unwrap()).to_string(), want, "{name}");
        }
    }

    #[test]
    fn a_flow_label_belongs_to_ipv6_and_has_20_bits() {
        let label = |flowlabel, family| {
            let options = SocketAddressOptions { flowlabel, family, ..Default::default() };
            SocketAddress::new(options).map(|address| address.flowlabel()).map_err(|error| error.code())
        };
        assert_eq!(label(5, V4), Ok(0));
        assert_eq!(label(u32::MAX, V4), Ok(0));
        assert_eq!(label(5, V6), Ok(5));
        assert_eq!(label(0xf_ffff, V6), Ok(0xf_ffff));
        assert_eq!(label(0x10_0000, V6), Err("ERR_OUT_OF_RANGE"));
    }

    /// Texts made of what addresses are made of, so that some of them are addresses.
    fn nearly_an_address() -> impl Strategy<Value = String> {
        const PIECES: &[&str] =
            &["0", "1", "255", "256", "01", "ffff", "12345", ".", ":", "::", "%", "eth0", "1.2.3.4", "\0", "é"];
        proptest::collection::vec(proptest::sample::select(PIECES), 0..14).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_text_is_classified_without_a_panic(text in ".*", near in nearly_an_address()) {
            for text in [text, near] {
                let kind = is_ip(&text);
                let mut list = BlockList::new();
                // Only a zone may be one thing to `is_ip` (refused) and another to the list (ignored).
                prop_assert_eq!(list.add_address(&text, V4).is_ok(), kind == 4);
                prop_assert!(kind != 6 || list.add_address(&text, V6).is_ok());
                prop_assert!(text.contains('%') || kind == 6 || list.add_address(&text, V6).is_err());
            }
        }

        /// The subnet rule against the plain definition: the first bits, one by one.
        #[test]
        fn a_subnet_is_what_shares_the_first_bits(network: u32, other: u32, kept_bits in 0..=32u8, prefix in 0..=32u8) {
            let low_bits = u32::MAX.checked_shr(kept_bits.into()).unwrap_or(0);
            let address = Ipv4Addr::from((network & !low_bits) | (other & low_bits));
            let network = Ipv4Addr::from(network);
            let shares_prefix =
                (0..prefix).all(|bit| (network.to_bits() << bit) >> 31 == (address.to_bits() << bit) >> 31);

            let mut list = BlockList::new();
            list.add_subnet(&network.to_string(), prefix, V4).unwrap();
            prop_assert_eq!(list.check_ip(address.into()), shares_prefix);
            prop_assert_eq!(list.check_ip(address.to_ipv6_mapped().into()), shares_prefix);
        }
    }
}
