//! What holds for sizes and times, whatever is typed.

use proptest::prelude::*;

use super::*;

/// The same again, with numbers that are never too small: digits, one of the units, and nothing else.
fn plainly(text: &str, units: &[(&str, u128)]) -> Option<u128> {
    units.iter().find_map(|(unit, factor)| {
        let digits = text.strip_suffix(unit)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u128>().unwrap_or(u128::MAX).saturating_mul(*factor))
    })
}

/// Nearly right, or anything.
fn typed() -> impl Strategy<Value = String> {
    prop_oneof![8 => "0{0,2}[0-9]{0,12}[ -]?(|ms|s|m|h|k|K|M|g|G|KiB|MiB|GiB|d)", 1 => "[0-9]{15,45}[hGs]?", 1 => ".{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_size_is_a_number_and_a_unit_or_refused(text in typed()) {
        let (k, m, g) = (1 << 10, 1 << 20, 1 << 30);
        let units = [
            ("", 1), ("k", k), ("K", k), ("KiB", k), ("m", m), ("M", m), ("MiB", m), ("g", g), ("G", g), ("GiB", g),
        ];
        let want = plainly(&text, &units).filter(|&bytes| bytes <= u128::from(u64::MAX));
        prop_assert_eq!(size(&text).ok().map(u128::from), want);
        let want = want.filter(|&bytes| bytes >= u128::from(LEAST_TRACE));
        prop_assert_eq!(trace_size(&text).ok().map(u128::from), want);
    }

    #[test]
    fn a_time_is_a_number_and_a_unit_or_refused(text in typed()) {
        let units = [("", 1000), ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let want = plainly(&text, &units).filter(|&ms| ms < 1 << 31);
        prop_assert_eq!(duration(&text).ok().map(|time| time.as_millis()), want);
    }
}
