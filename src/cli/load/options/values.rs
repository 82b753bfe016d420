//! How a count, a time, a rate, a target or an expectation is written.
//!
//! Text in; a value out, or a sentence that says how to write it.

use std::net::IpAddr;
use std::time::Duration;

use crate::cli::load::check::{Expect, Fanout};
use crate::cli::load::units::{count, time};
use crate::cli::target::Place;

/// The smallest `--size`: connection, number, and enough letters that no two messages are alike.
const SMALLEST: u64 = 32;

/// The largest message that is written by a placeholder or by `--size`.
const LARGEST: u64 = 256 * 1024 * 1024;

/// The most connections one run may have; `{conn}` and the plan's arithmetic go further, the report would not.
const MOST_CONNECTIONS: u64 = 1 << 31;

/// How fast connections are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ramp {
    AtOnce,
    Over(Duration),
    PerSecond(u64),
}

/// How many processes share the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Procs {
    Count(u64),
    Auto,
}

/// Where connections come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sources {
    Auto,
    These(Vec<IpAddr>),
}

/// As `bucle connect` has it, but for unix sockets.
pub(crate) fn target(text: &str) -> Result<(String, u16), String> {
    if text.starts_with("unix:") || text.starts_with(['/', '.']) {
        return Err("bucle load speaks TCP only, not to unix sockets; \
                    write it like 127.0.0.1:8080, example.org:80, [::1]:8080, :8080 or 8080"
            .to_owned());
    }
    match Place::parse(text)? {
        Place::Tcp(host, port) => Ok((host, port)),
        Place::Unix(_) => Err("bucle load speaks TCP only".to_owned()),
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
