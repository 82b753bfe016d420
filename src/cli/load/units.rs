//! Counts, times and rates as text: how they are typed, and how they are printed.
//!
//! ```text
//!   typed      "10k"  "2.5ms"   ──count, time──▶            10_000       Duration
//!   printed    "10,000"  "2.50 ms"   ◀──grouped, time_of──  10_000       2_500_000 ns
//! ```
//!
//! This file is at the bottom of `bucle load`: it imports no other file of it.

use std::time::Duration;

/// The longest timer of the loop, as in Node: 2^31 − 1 ms, or 24 days.
pub(crate) const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// Reads a count: 1 or more; `1k` is a thousand, `1M` a million.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix('k').map(|digits| (digits, 1000)) {
        Some(pair) => pair,
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a count is a whole number, 1 or more: 500, 10k, 1M".to_owned());
    }
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match number {
        Some(0) => Err("it must be 1 or more".to_owned()),
        Some(number) if number <= i64::MAX as u64 => Ok(number),
        _ => Err("the number is too large".to_owned()),
    }
}

/// Reads a size in bytes. `KiB`, `MiB` and `GiB` are units of 1024, and `kB`, `MB` and `GB` of 1000. The units
/// of one letter differ between commands: `letters` has them with their factors. `advice` is the error.
pub(crate) fn size(text: &str, letters: &[(&str, u64)], advice: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let known = UNITS.iter().chain(letters).find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let (Ok(number), Some(factor)) = (number.parse::<u64>(), known) else {
        return Err(advice.to_owned());
    };
    number.checked_mul(factor).ok_or_else(|| "that is more than any machine has".to_owned())
}

/// Reads a time: `10us`, `2.5ms`, `2s`, `1m`, `1h`; a number without a unit is seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let advice = "write it like 500us, 20ms, 10s, 5m or 1h; a bare number is seconds";
    if text.starts_with('-') {
        return Err(format!("a time cannot be negative; {advice}"));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ns: u128 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(format!("there is no unit {unit:?}; {advice}")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(advice.to_owned());
    }
    let whole = whole.parse::<u64>().map_err(|_| advice.to_owned())?;
    // An hour has 13 digits of nanoseconds, so further digits of the fraction change nothing.
    let fraction = &fraction[..fraction.len().min(13)];
    let scale = 10u128.pow(fraction.len() as u32);
    let fraction = fraction.parse::<u64>().map_err(|_| advice.to_owned())?;
    let ns = u128::from(whole) * unit_ns + u128::from(fraction) * unit_ns / scale;
    match u64::try_from(ns).map(Duration::from_nanos) {
        Ok(time) if time <= LONGEST => Ok(time),
        _ => Err("the longest time is 24 days".to_owned()),
    }
}

/// The time in nanoseconds; at most 584 years, which is what a `u64` holds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The number with commas: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A whole number, or one from 100 on, without decimals; any other number with one decimal.
pub(crate) fn plain(value: f64) -> String {
    if value.fract() == 0.0 || value >= 100.0 { grouped(value.round() as u64) } else { format!("{value:.1}") }
}

/// As [`time_of`], but without zeros at the end, for times that the user has typed: `5 s`, `2.5 ms`.
pub(crate) fn short_time(ns: u64) -> String {
    let text = time_of(ns);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// A time with all its digits and a unit: `5.101 ms`.
pub(crate) fn exact_time(ns: u64) -> String {
    let (unit_ns, decimals, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (1_000, 3, "us"),
        1_000_000..1_000_000_000 => (1_000_000, 6, "ms"),
        _ => (1_000_000_000, 9, "s"),
    };
    let (whole, fraction) = (ns / unit_ns, ns % unit_ns);
    let text = format!("{whole}.{fraction:0decimals$}");
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A time as [`time`] reads it, exactly: `10ms`.
pub(crate) fn typed_time(ns: u64) -> String {
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("0.{}us", format!("{ns:03}").trim_end_matches('0')),
        _ => exact_time(ns).replace(' ', ""),
    }
}

/// A time with three digits and a unit: `1.50 us`, `15.0 ms`, `150 s`.
pub(crate) fn time_of(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    match value {
        _ if value >= 100.0 => format!("{value:.0} {unit}"),
        _ if value >= 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_k_and_m() {
        let table = [
            ("1", Some(1)),
            ("500", Some(500)),
            ("1k", Some(1000)),
            ("20M", Some(20_000_000)),
            ("0", None),
            ("0k", None),
            ("", None),
            ("k", None),
            ("-1", None),
            ("+1", None),
            ("1.5k", None),
            ("1K", None),
            ("1kk", None),
            ("99999999999999999999", None),
            ("9999999999999999M", None),
        ];
        for (text, want) in table {
            assert_eq!(count(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024_and_of_1000() {
        let table = [
            ("500", Some(500)),
            ("0", Some(0)),
            ("64KiB", Some(64 << 10)),
            ("64MiB", Some(64 << 20)),
            ("2GiB", Some(2 << 30)),
            ("64kB", Some(64_000)),
            ("64MB", Some(64_000_000)),
            ("2GB", Some(2_000_000_000)),
            ("3x", Some(15)),
            ("3k", None),
            ("", None),
            ("KiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("1 MiB", None),
            ("64KB", None),
            ("99999999999GiB", None),
            ("99999999999999999999", None),
        ];
        for (text, want) in table {
            assert_eq!(size(text, &[("x", 5)], "").ok(), want, "{text:?}");
        }
    }

    #[test]
    fn times_have_units() {
        let table = [
            ("500us", Some(500)),
            ("20ms", Some(20_000)),
            ("2.5ms", Some(2_500)),
            ("10s", Some(10_000_000)),
            ("10", Some(10_000_000)),
            ("0.000001", Some(1)),
            ("1.5", Some(1_500_000)),
            ("5m", Some(300_000_000)),
            ("1h", Some(3_600_000_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            (".5s", None),
            ("5.", None),
            ("1.2.3", None),
            ("-1s", None),
            ("1d", None),
            ("5 m", None),
            ("600h", None),
            ("99999999999999999999", None),
            ("18446744073709551615h", None),
        ];
        for (text, want_us) in table {
            assert_eq!(time(text).ok(), want_us.map(Duration::from_micros), "{text:?}");
        }
    }

    #[test]
    fn numbers_and_times_are_easy_to_read() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let table =
            [(0, "0 ns"), (999, "999 ns"), (1500, "1.50 us"), (15_000_000, "15.0 ms"), (150_000_000_000, "150 s")];
        for (ns, want) in table {
            assert_eq!(time_of(ns), want);
        }
    }

    #[test]
    fn a_time_can_be_printed_with_all_its_digits() {
        let table =
            [(0, "0 ns"), (999, "999 ns"), (1_001, "1.001 us"), (5_101_000, "5.101 ms"), (100_000_000, "100 ms")];
        for (ns, want) in table.into_iter().chain([(60_000_000_001, "60.000000001 s")]) {
            assert_eq!(exact_time(ns), want);
        }
    }

    #[test]
    fn a_time_can_be_printed_as_it_is_typed() {
        let table = [(0, "0s"), (1, "0.001us"), (500, "0.5us"), (10_000_000, "10ms"), (2_500_000_000, "2.5s")];
        for (ns, want) in table.into_iter().chain([(5_101_001, "5.101001ms"), (3_600_000_000_000, "3600s")]) {
            assert_eq!(typed_time(ns), want);
            assert_eq!(time(want), Ok(Duration::from_nanos(ns)));
        }
    }

    #[test]
    fn typed_times_are_printed_without_zeros() {
        let table = [(0, "0 ns"), (200, "200 ns"), (1000, "1 us"), (20_000, "20 us"), (2_500_000, "2.5 ms")];
        for (ns, want) in table.into_iter().chain([(5_000_000_000, "5 s"), (100_000_000_000, "100 s")]) {
            assert_eq!(short_time(ns), want);
        }
    }
}
