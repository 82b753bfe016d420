//! Properties of the parsers of counts, times and addresses, for any text.

use proptest::prelude::*;

use super::*;
use crate::cli::load::threshold::Threshold;
use crate::cli::load::units::LONGEST;

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A plain second implementation: digits and one of the units.
fn count_plainly(text: &str) -> Option<u128> {
    [("", 1), ("k", 1000), ("M", 1_000_000)].into_iter().find_map(|(unit, factor)| {
        let digits = text.strip_suffix(unit).filter(|digits| is_number(digits))?;
        Some(digits.parse::<u128>().unwrap_or(u128::MAX).saturating_mul(factor))
    })
}

/// A plain second implementation: nanoseconds, rounded down.
fn time_plainly(text: &str) -> Option<u128> {
    let units = [
        ("", 1e9 as u128),
        ("us", 1000),
        ("ms", 1_000_000),
        ("s", 1e9 as u128),
        ("m", 60e9 as u128),
        ("h", 3600e9 as u128),
    ];
    units.into_iter().find_map(|(unit, unit_ns)| {
        let number = text.strip_suffix(unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let fraction_ns = fraction.parse::<u128>().ok()? * unit_ns / 10_u128.pow(fraction.len() as u32);
        Some(whole.parse::<u128>().unwrap_or(u128::MAX).saturating_mul(unit_ns).saturating_add(fraction_ns))
    })
}

fn typed() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[ +-]?[0-9]{0,8}(\\.[0-9]{0,13})?(|us|ms|s|m|h|k|M|d|K)(/s)?",
        1 => "[0-9]{15,45}[hkM]?",
        1 => ".{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_count_is_a_number_and_a_unit_or_refused(text in typed()) {
        let want = count_plainly(&text).filter(|count| (1..=i64::MAX as u128).contains(count));
        prop_assert_eq!(count(&text).ok().map(u128::from), want);
        let want = count_plainly(text.strip_suffix("/s").unwrap_or(&text));
        prop_assert_eq!(rate(&text).ok().map(u128::from), want.filter(|rate| (1..=1_000_000_000).contains(rate)));
    }

    #[test]
    fn a_time_is_a_number_and_a_unit_or_refused(text in typed()) {
        let want = time_plainly(&text).filter(|&ns| ns <= LONGEST.as_nanos());
        prop_assert_eq!(time(&text).ok().map(|time| time.as_nanos()), want);
    }

    #[test]
    fn a_target_that_is_understood_has_a_host_and_a_port(
        text in prop_oneof![4 => "(|[a-z.]{1,6}|\\[?[0-9a-f:]{2,6}\\]?)(:[+]?[0-9]{0,6})?", 1 => ".{0,12}"],
    ) {
        if let Ok(Target::Plain(Address::Tcp(host, port))) = target(&text) {
            prop_assert!(!host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control()));
            prop_assert!(port > 0);
            prop_assert_eq!(Address::parse(&text), Ok(Address::Tcp(host, port)));
        }
    }

    #[test]
    fn ranges_of_addresses_hold_each_once_and_in_order(first in any::<u32>(), more in 0..300_u32) {
        let last = first.saturating_add(more);
        let (low, high) = (std::net::Ipv4Addr::from(first), std::net::Ipv4Addr::from(last));
        let Ok(Sources::These(list)) = sources(&format!("{low}-{high},::1")) else {
            return Err(TestCaseError::fail("a range is understood"));
        };
        let want = (first..=last).map(|bits| IpAddr::V4(bits.into())).chain(["::1".parse().expect("an address")]);
        prop_assert!(list.into_iter().eq(want));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,20}") {
        drop((sources(&text), ramp(&text), procs(&text), expect(&text)));
        drop((size(&text), connections(&text), Threshold::parse(&text)));
    }
}
