//! Rules that block addresses: single addresses, ranges and subnets.
//!
//! A rule has to match an IPv4 address and its mapped IPv6 form alike. [`compare`] sees to that for addresses and
//! ranges, [`to_ipv6_bits`] for subnets.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use super::{AddressError, Family, Spelled, parse};

/// A list of blocked addresses, ranges and subnets
/// (Node: [`net.BlockList`](https://nodejs.org/docs/latest-v20.x/api/net.html#class-netblocklist)).
///
/// The list does not refuse connections itself: call [`check_ip`](BlockList::check_ip) for every new connection. Rules
/// are tried one after the other, as in Node. A busy server with thousands of rules would need sorted and merged
/// ranges.
///
/// An IPv4 address and its mapped form `::ffff:a.b.c.d` match the same rules, in whichever form the rule was written.
/// There is one exception, as in Node: an IPv6 *range* matches an IPv4 address only if both ends are mapped addresses.
/// So the range from `::` to `ffff::` blocks `::ffff:10.0.0.1` but not `10.0.0.1`, while the *subnet* `::/0` blocks
/// both.
///
/// A `%zone` after an IPv6 address is ignored: a rule holds on every interface.
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
    /// # Errors
    /// `ERR_INVALID_ADDRESS` if `address` is not one of `family`.
    #[doc(alias = "addAddress")]
    pub fn add_address(&mut self, address: &str, family: Family) -> Result<(), AddressError> {
        self.rules.push(Rule::Address(parse(address, family)?));
        Ok(())
    }

    /// Blocks the addresses from `start` to `end`, both included.
    ///
    /// # Errors
    /// `ERR_INVALID_ADDRESS` if either is not an address of `family`; `ERR_INVALID_ARG_VALUE` if `start` comes after
    /// `end`.
    #[doc(alias = "addRange")]
    pub fn add_range(&mut self, start: &str, end: &str, family: Family) -> Result<(), AddressError> {
        let (start, end) = (parse(start, family)?, parse(end, family)?);
        if start > end {
            return Err(AddressError::StartAfterEnd { start, end });
        }
        self.rules.push(Rule::Range { start, end });
        Ok(())
    }

    /// Blocks the addresses whose first `prefix` bits are those of `network`. The other bits of `network` are ignored.
    ///
    /// # Errors
    /// `ERR_INVALID_ADDRESS` if `network` is not an address of `family`; `ERR_OUT_OF_RANGE` if `prefix` is over 32
    /// (IPv4) or 128 (IPv6).
    #[doc(alias = "addSubnet")]
    pub fn add_subnet(&mut self, network: &str, prefix: u8, family: Family) -> Result<(), AddressError> {
        let network = parse(network, family)?;
        if prefix > family.bits() {
            return Err(AddressError::PrefixOutOfRange { prefix, family });
        }
        self.rules.push(Rule::Subnet { network, prefix });
        Ok(())
    }

    /// Whether `address` is blocked. `false` if it is not an address of `family`.
    pub fn check(&self, address: &str, family: Family) -> bool {
        parse(address, family).is_ok_and(|ip| self.check_ip(ip))
    }

    /// Whether `ip` is blocked: [`check`](BlockList::check) for a parsed address, such as a peer's.
    pub fn check_ip(&self, ip: IpAddr) -> bool {
        self.rules.iter().any(|rule| rule.covers(ip))
    }

    /// The rules as text, in Node's format and order: the newest first.
    pub fn rules(&self) -> Vec<String> {
        self.rules.iter().rev().map(Rule::to_string).collect()
    }
}

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

/// Node's format: `Address: IPv4 10.0.0.1`, `Range: IPv4 10.0.0.1-10.0.0.9`, `Subnet: IPv6 fe80::/10`.
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

/// Compares two addresses. An IPv4 address and an IPv6 address are ordered only if the latter is a mapped address.
fn compare(one: IpAddr, other: IpAddr) -> Option<Ordering> {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V6(other)) => Some(one.cmp(&other.to_ipv4_mapped()?)),
        (IpAddr::V6(one), IpAddr::V4(other)) => Some(one.to_ipv4_mapped()?.cmp(&other)),
        _ => Some(one.cmp(&other)),
    }
}

/// The 128 bits of an IPv6 address, or of the mapped form of an IPv4 address.
fn to_ipv6_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}
