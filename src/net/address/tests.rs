//! Compared with the results of Node 20.20.2.

use super::Family::{V4, V6};
use super::*;
use proptest::prelude::*;

#[test]
fn classifies_as_node_does() {
    // The first part is tests/conformance/golden/net-is-ip.trace; the rest was recorded from Node 20.20.2 as well.
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
fn both_forms_of_an_ipv4_address_match_the_same_rules() {
    let everything = ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    let (plain, mapped) = (("10.0.0.5", V4), ("::ffff:10.0.0.5", V6));
    let table = [
        ("IPv4 address", ("address", "10.0.0.5", "", V4), plain, true),
        ("IPv4 address, checked mapped", ("address", "10.0.0.5", "", V4), mapped, true),
        ("mapped address", ("address", "::ffff:10.0.0.5", "", V6), plain, true),
        ("compatible is not mapped", ("address", "::10.0.0.5", "", V6), plain, false),
        ("IPv4 range, checked mapped", ("range", "10.0.0.5", "10.0.0.5", V4), mapped, true),
        ("IPv4 range, checked IPv6", ("range", "0.0.0.0", "255.255.255.255", V4), ("::1", V6), false),
        ("mapped range", ("range", "::ffff:10.0.0.0", "::ffff:10.0.1.0", V6), plain, true),
        ("IPv6 range, checked mapped", ("range", everything.0, everything.1, V6), mapped, true),
        ("IPv6 range, checked IPv4", ("range", everything.0, everything.1, V6), plain, false),
        ("half mapped range", ("range", "::", "::ffff:10.0.0.9", V6), plain, false),
        ("half mapped range, other half", ("range", "::ffff:10.0.0.0", everything.1, V6), plain, false),
        ("range counts in network order", ("range", "10.0.0.9", "10.0.1.2", V4), ("10.0.1.1", V4), true),
        ("IPv4 subnet of one", ("subnet", "10.0.0.5", "32", V4), plain, true),
        ("IPv4 subnet of one, checked mapped", ("subnet", "10.0.0.5", "32", V4), mapped, true),
        ("IPv4 subnet of one, checked with the next address", ("subnet", "10.0.0.4", "32", V4), plain, false),
        ("IPv4 subnet of all", ("subnet", "1.2.3.4", "0", V4), mapped, true),
        ("IPv4 subnet of all, checked IPv6", ("subnet", "1.2.3.4", "0", V4), ("::1", V6), false),
        ("IPv6 subnet of all", ("subnet", "::1", "0", V6), plain, true),
        ("mapped subnet", ("subnet", "::ffff:10.0.0.0", "104", V6), plain, true),
        ("IPv6 subnet of one", ("subnet", "fe80::1", "128", V6), ("fe80::1", V6), true),
        ("IPv6 subnet of two", ("subnet", "fe80::1", "127", V6), ("fe80::", V6), true),
        ("IPv6 subnet of two, checked with the next address", ("subnet", "fe80::1", "127", V6), ("fe80::2", V6), false),
        ("zone of the rule is ignored", ("address", "fe80::1%eth0", "", V6), ("fe80::1", V6), true),
        ("zone of the checked address is ignored", ("address", "fe80::1", "", V6), ("fe80::1%not a zone", V6), true),
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
fn invalid_rules_return_an_error_and_are_not_added() {
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
fn rules_are_listed_in_nodes_format_newest_first() {
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

/// Texts made from parts of addresses, so that some of them are addresses.
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
            // They differ only for a zone: `is_ip` may reject it, the list ignores it.
            prop_assert_eq!(list.add_address(&text, V4).is_ok(), kind == 4);
            prop_assert!(kind != 6 || list.add_address(&text, V6).is_ok());
            prop_assert!(text.contains('%') || kind == 6 || list.add_address(&text, V6).is_err());
        }
    }

    /// The subnet rule compared with its plain definition: the first bits, one by one.
    #[test]
    fn a_subnet_is_a_common_prefix(network: u32, other: u32, kept_bits in 0..=32u8, prefix in 0..=32u8) {
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
