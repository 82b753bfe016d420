//! Properties of sizes, times and ports, for any text that is typed.

use proptest::prelude::*;

use super::*;

/// The same parser, written with numbers that cannot overflow: digits and one of the units.
fn simple_parse(text: &str, units: &[(&str, u128)]) -> Option<u128> {
    units.iter().find_map(|(unit, factor)| {
        let digits = text.strip_suffix(unit)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u128>().unwrap_or(u128::MAX).saturating_mul(*factor))
    })
}

/// Text that is nearly a size or a time, or any text.
fn typed() -> impl Strategy<Value = String> {
    prop_oneof![8 => "0{0,2}[0-9]{0,12}[ -]?(|ms|s|m|h|k|K|M|g|G|KiB|MiB|GiB|kB|MB|GB|d)", 1 => "[0-9]{15,45}[hGs]?", 1 => ".{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_size_is_a_number_and_a_unit_or_refused(text in typed()) {
        let (k, m, g) = (1 << 10, 1 << 20, 1 << 30);
        let units = [
            ("", 1), ("k", k), ("K", k), ("KiB", k), ("m", m), ("M", m), ("MiB", m), ("g", g), ("G", g), ("GiB", g),
            ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000),
        ];
        let want = simple_parse(&text, &units).filter(|&bytes| bytes <= u128::from(u64::MAX));
        prop_assert_eq!(size(&text).ok().map(u128::from), want);
        let want = want.filter(|&bytes| bytes >= u128::from(LEAST_TRACE));
        prop_assert_eq!(trace_size(&text).ok().map(u128::from), want);
    }

    /// The syntax of times is tested with the options of `bucle load`.
    #[test]
    fn a_time_to_spin_is_at_most_a_second(text in typed()) {
        prop_assert_eq!(spin(&text).ok(), time(&text).ok().filter(|time| *time <= LONGEST_SPIN));
    }

    #[test]
    fn a_port_is_a_number_or_refused(text in "[ +-]?[0-9]{0,7}") {
        let want = simple_parse(&text, &[("", 1)]).filter(|&port| port < 1 << 16);
        prop_assert_eq!(parse_port_to_listen(&text).ok().map(u128::from), want);
    }
}
