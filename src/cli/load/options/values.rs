//! How a count, a time, a rate, a target or an expectation is written.
//!
//! Text in; a value out, or a sentence that says how to write it.

use std::net::IpAddr;
use std::time::Duration;

use super::{Procs, Ramp, Sources};
use crate::cli::load::check::{Expect, Fanout};
use crate::cli::target::Address;

/// The smallest `--size`: connection, number, and enough letters that no two messages are alike.
const SMALLEST: u64 = 32;

/// The largest message that is written by a placeholder or by `--size`.
const LARGEST: u64 = 256 * 1024 * 1024;

/// The most connections one run may have; `{conn}` and the plan's arithmetic go further, the report would not.
const MOST_CONNECTIONS: u64 = 1 << 31;

/// A timer of the loop runs at most 2^31 − 1 ms, as in Node: 24 days.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// As `bucle connect` has it, but for unix sockets.
pub(crate) fn target(text: &str) -> Result<(String, u16), String> {
    if text.starts_with("unix:") || text.starts_with(['/', '.']) {
        return Err("bucle load speaks TCP only, not to unix sockets; \
                    write it like 127.0.0.1:8080, example.org:80, [::1]:8080, :8080 or 8080"
            .to_owned());
    }
    match Address::parse(text)? {
        Address::Tcp(host, port) => Ok((host, port)),
        Address::Unix(_) => Err("bucle load speaks TCP only".to_owned()),
    }
}

/// 1 or more; `1k` is a thousand, `1M` a million.
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
        Some(0) => Err("1 is the least".to_owned()),
        Some(number) if number <= i64::MAX as u64 => Ok(number),
        _ => Err("that is more than can be counted".to_owned()),
    }
}

pub(crate) fn connections(text: &str) -> Result<u64, String> {
    match count(text)? {
        number if number <= MOST_CONNECTIONS => Ok(number),
        _ => Err(format!("{MOST_CONNECTIONS} connections are the most")),
    }
}

pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    if number.contains('.') && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err("a rate is a whole number of messages a second, 1 or more; \
                    for others there is --script, with a pause"
            .to_owned());
    }
    match count(number)? {
        number if number <= 1_000_000_000 => Ok(number),
        _ => Err("1000M a second are the most".to_owned()),
    }
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    match count(text)? {
        number if (SMALLEST..=LARGEST).contains(&number) => Ok(number),
        _ => Err(format!("between {SMALLEST} and {LARGEST} bytes; for others there is -m")),
    }
}

/// `10us`, `5ms`, `2s`, `1m`, `1h`; seconds without a unit; fractions are fine.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let advice = "write it like 500us, 20ms, 10s, 5m or 1h; a bare number is seconds";
    if text.starts_with('-') {
        return Err(format!("no time is less than nothing; {advice}"));
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
    // Nanoseconds of an hour have 13 digits: more cannot matter.
    let fraction = &fraction[..fraction.len().min(13)];
    let scale = 10u128.pow(fraction.len() as u32);
    let fraction = fraction.parse::<u64>().map_err(|_| advice.to_owned())?;
    let ns = u128::from(whole) * unit_ns + u128::from(fraction) * unit_ns / scale;
    match u64::try_from(ns).map(Duration::from_nanos) {
        Ok(time) if time <= LONGEST => Ok(time),
        _ => Err("24 days are the most".to_owned()),
    }
}

pub(crate) fn positive_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be more than nothing".to_owned()),
        time => Ok(time),
    }
}

pub(crate) fn ramp(text: &str) -> Result<Ramp, String> {
    if let Some(number) = text.strip_suffix("/s") {
        return count(number).map(Ramp::PerSecond);
    }
    Ok(match time(text)? {
        Duration::ZERO => Ramp::AtOnce,
        time => Ramp::Over(time),
    })
}

pub(crate) fn procs(text: &str) -> Result<Procs, String> {
    /// More processes than this help no machine.
    const MOST: u64 = 1024;
    if text == "auto" {
        return Ok(Procs::Auto);
    }
    match count(text)? {
        number if number <= MOST => Ok(Procs::Count(number)),
        _ => Err(format!("{MOST} processes are the most")),
    }
}

pub(crate) fn expect(text: &str) -> Result<Expect, String> {
    let regex = |pattern: &str| {
        regex::bytes::Regex::new(pattern).map(Expect::Regex).map_err(|error| format!("the regex is not one: {error}"))
    };
    match text.split_once(':') {
        None if text == "echo" => Ok(Expect::Echo),
        None if text == "line" => Ok(Expect::Line),
        None if text == "fanout" => Ok(Expect::Fanout(Fanout::Everybody)),
        None if text == "none" => Ok(Expect::None),
        Some(("fanout", "others")) => Ok(Expect::Fanout(Fanout::Others)),
        Some(("prefix", prefix)) => Ok(Expect::Prefix(prefix.as_bytes().into())),
        Some(("regex", pattern)) => regex(pattern),
        _ => Err("choose one of echo, line, prefix:TEXT, regex:REGEX, fanout, fanout:others, none".to_owned()),
    }
}

/// `auto`, or addresses and ranges of them: `10.0.0.1-10.0.0.4,10.0.1.1`.
pub(crate) fn sources(text: &str) -> Result<Sources, String> {
    /// A range of more addresses than this is a slip of the pen.
    const MOST: usize = 65_536;
    if text == "auto" {
        return Ok(Sources::Auto);
    }
    let advice = || "write addresses like 127.0.0.2 or 127.0.0.2-127.0.0.9, with commas between them".to_owned();
    let ip = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| advice());
    let mut list = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (ip(first)?, ip(last)?),
            None => (ip(part)?, ip(part)?),
        };
        let mut push = |ip: IpAddr| {
            if list.len() == MOST {
                return Err(format!("{MOST} source addresses are the most"));
            }
            list.push(ip);
            Ok(())
        };
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                (u32::from(first)..=u32::from(last)).try_for_each(|bits| push(IpAddr::V4(bits.into())))?;
            }
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                (u128::from(first)..=u128::from(last)).try_for_each(|bits| push(IpAddr::V6(bits.into())))?;
            }
            _ => return Err(format!("{part}: a range goes from a lower to a higher address of one family")),
        }
    }
    Ok(Sources::These(list))
}

#[cfg(test)]
mod properties;
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
    fn targets() {
        let table = [
            ("127.0.0.1:80", Some(("127.0.0.1", 80))),
            (":7000", Some(("127.0.0.1", 7000))),
            ("example.org:7", Some(("example.org", 7))),
            ("[::1]:9", Some(("::1", 9))),
            ("8080", Some(("127.0.0.1", 8080))),
            ("localhost", Some(("localhost", 8080))),
            ("::1", Some(("::1", 8080))),
            ("1:2:3", None),
            ("host:", None),
            ("host:0", None),
            ("host:65536", None),
            ("host:+80", None),
            ("http://host:80", None),
            ("a b:80", None),
            ("/tmp/x", None),
            ("unix:/tmp/x", None),
        ];
        for (text, want) in table {
            assert_eq!(target(text).ok(), want.map(|(host, port)| (host.to_owned(), port)), "{text:?}");
        }
    }

    #[test]
    fn source_addresses() {
        let list = |text: &str| match sources(text) {
            Ok(Sources::These(list)) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Ok(Sources::Auto) => "auto".to_owned(),
            Err(_) => "refused".to_owned(),
        };
        let table = [
            ("auto", "auto"),
            ("127.0.0.2", "127.0.0.2"),
            ("127.0.0.254-127.0.1.1", "127.0.0.254 127.0.0.255 127.0.1.0 127.0.1.1"),
            ("10.0.0.1,::1", "10.0.0.1 ::1"),
            ("10.0.0.2-10.0.0.1", "refused"),
            ("0.0.0.0-255.255.255.255", "refused"),
            ("::-ffff::", "refused"),
            ("10.0.0.1-::1", "refused"),
            ("", "refused"),
            ("1,", "refused"),
        ];
        for (text, want) in table {
            assert_eq!(list(text), want, "{text:?}");
        }
    }
}
