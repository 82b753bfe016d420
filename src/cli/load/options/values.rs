//! Reads the values of options: rates, sizes, targets, addresses, expectations.
//!
//! Each function takes text and returns a value, or a sentence that explains how to write one.

use std::net::IpAddr;
use std::time::Duration;

use bucle::websocket::handshake;

use crate::cli::load::check::{Expect, Fanout};
use crate::cli::load::units::{self, count, time};
use crate::cli::socket_io::{self, Place};
use crate::cli::target::Address;

/// The smallest `--size`: it has room for the connection, the number and enough random letters to make messages
/// different.
const SMALLEST: u64 = 32;

/// The largest `--size`.
const LARGEST: u64 = 256 * 1024 * 1024;

/// The most connections of one run. `{conn}` and the plan could count further; the report could not.
const MOST_CONNECTIONS: u64 = 1 << 31;

/// The most processes of one run. No machine gains from more than this.
pub(crate) const MOST_PROCS: u64 = 1024;

/// How fast the connections are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ramp {
    AtOnce,
    Over(Duration),
    PerSecond(u64),
}

/// How many processes share the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Procs {
    Count(u64),
    Auto,
}

/// The source addresses of the connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sources {
    Auto,
    These(Vec<IpAddr>),
}

impl Sources {
    /// The addresses as `--source` reads them. `None`: auto.
    pub(crate) fn name(&self) -> Option<String> {
        let Sources::These(list) = self else { return None };
        let is_next = |ip: &IpAddr, next: &IpAddr| match (ip, next) {
            (IpAddr::V4(ip), IpAddr::V4(next)) => u32::from(*ip).checked_add(1) == Some(u32::from(*next)),
            (IpAddr::V6(ip), IpAddr::V6(next)) => u128::from(*ip).checked_add(1) == Some(u128::from(*next)),
            _ => false,
        };
        let range = |range: &[IpAddr]| match range {
            [first, .., last] => format!("{first}-{last}"),
            one => one.iter().map(ToString::to_string).collect(),
        };
        Some(list.chunk_by(is_next).map(range).collect::<Vec<_>>().join(","))
    }
}

/// Where the connections go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// A host and a port, or a unix socket.
    Plain(Address),
    WebSocket(handshake::Target),
    SocketIo(Place),
}

impl Target {
    /// The kind of target, as errors name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Target::Plain(Address::Tcp(..)) => "plain TCP",
            Target::Plain(Address::Unix(_)) => "a unix socket",
            Target::WebSocket(_) => "a WebSocket server",
            Target::SocketIo(_) => "a Socket.IO server",
        }
    }
}

/// Reads a target as `bucle connect` does.
pub(crate) fn target(text: &str) -> Result<Target, String> {
    let scheme = text.split_once("://").map_or(String::new(), |(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_str() {
        "sio" => return socket_io::parse_url(text).map(Target::SocketIo),
        "ws" => return handshake::parse_url(text).map(Target::WebSocket).map_err(|error| error.to_string()),
        "wss" => return Err(format!("there is no TLS in bucle, so use ws:// instead of {}://", &text[..3])),
        _ => {}
    }
    Address::parse(text).map(Target::Plain)
}

pub(crate) fn connections(text: &str) -> Result<u64, String> {
    match count(text)? {
        number if number <= MOST_CONNECTIONS => Ok(number),
        _ => Err(format!("at most {MOST_CONNECTIONS} connections are possible")),
    }
}

pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    if number.contains('.') && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err("a rate is a whole number of messages a second, 1 or more; \
                    for a lower rate use --script with a pause"
            .to_owned());
    }
    match count(number)? {
        number if number <= 1_000_000_000 => Ok(number),
        _ => Err("the highest rate is 1000M a second".to_owned()),
    }
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        number if (SMALLEST..=LARGEST).contains(&number) => Ok(number),
        _ => Err(format!("it must be between {SMALLEST} and {LARGEST} bytes; for another size use -m")),
    }
}

/// A size of 1 or more. As in counts, `k` and `M` are a thousand and a million.
fn bytes(text: &str) -> Result<u64, String> {
    let advice = "write it like 500, 64k or 1M (units of 1000), or 64KiB (units of 1024)";
    match units::size(text, &[("k", 1_000), ("M", 1_000_000)], advice)? {
        0 => Err("it must be 1 or more".to_owned()),
        number => Ok(number),
    }
}

pub(crate) fn max_reply(text: &str) -> Result<u64, String> {
    /// A reply is kept in memory until it is whole.
    const MOST: u64 = 1 << 30;
    match bytes(text)? {
        number if number <= MOST => Ok(number),
        _ => Err(format!("at most {MOST} bytes are possible")),
    }
}

pub(crate) fn positive_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be more than 0".to_owned()),
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
    if text == "auto" {
        return Ok(Procs::Auto);
    }
    match count(text)? {
        number if number <= MOST_PROCS => Ok(Procs::Count(number)),
        _ => Err(format!("at most {MOST_PROCS} processes are possible")),
    }
}

pub(crate) fn expect(text: &str) -> Result<Expect, String> {
    let regex = |pattern: &str| {
        regex::bytes::Regex::new(pattern).map(Expect::Regex).map_err(|error| format!("the regex is not valid: {error}"))
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

/// Reads `auto`, or addresses and ranges of addresses: `10.0.0.1-10.0.0.4,10.0.1.1`.
pub(crate) fn sources(text: &str) -> Result<Sources, String> {
    /// More addresses than this are a typing error.
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
                return Err(format!("at most {MOST} source addresses are possible"));
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
    fn a_target_is_a_host_and_a_port() {
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
        ];
        for (text, want) in table {
            let want = want.map(|(host, port)| Target::Plain(Address::Tcp(host.to_owned(), port)));
            assert_eq!(target(text).ok(), want, "{text:?}");
        }
        assert_eq!(target("unix:/tmp/x"), Ok(Target::Plain(Address::Unix("/tmp/x".into()))));
    }

    #[test]
    fn a_url_is_a_websocket_target() {
        let table = [
            ("ws://localhost", Ok(("localhost", 80, "localhost", "/"))),
            ("ws://localhost:8081", Ok(("localhost", 8081, "localhost:8081", "/"))),
            ("WS://[::1]:8081/chat?room=1", Ok(("::1", 8081, "[::1]:8081", "/chat?room=1"))),
            ("wss://localhost", Err("there is no TLS in bucle, so use ws:// instead of wss://")),
            ("WSS://localhost", Err("use ws:// instead of WSS://")),
            ("ws://", Err("ws://HOST:PORT/PATH is expected")),
            ("ws://host:0", Err("a number from 1 to 65535")),
            ("ws://host/#top", Err("fragment")),
            ("http://host:80", Err("host:80")),
        ];
        for (text, want) in table {
            match (target(text), want) {
                (Ok(Target::WebSocket(target)), Ok((host, port, authority, path))) => {
                    assert_eq!((target.host.as_str(), target.port), (host, port), "{text}");
                    assert_eq!(
                        (target.authority.as_str(), target.path_and_query.as_str()),
                        (authority, path),
                        "{text}"
                    );
                }
                (Err(why), Err(want)) => assert!(why.contains(want), "{text}: {why}"),
                (got, want) => panic!("{text}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn a_letter_alone_is_a_unit_of_1000() {
        let table = [("32", Some(32)), ("4k", Some(4_000)), ("4kB", Some(4_000)), ("4KiB", Some(4_096)), ("4K", None)];
        for (text, want) in table.into_iter().chain([("1M", Some(1_000_000)), ("31", None), ("1GiB", None)]) {
            assert_eq!(size(text).ok(), want, "{text:?}");
        }
        assert_eq!((max_reply("64M"), max_reply("1MiB")), (Ok(64_000_000), Ok(1 << 20)));
        assert!(max_reply("0").is_err() && max_reply("2GB").is_err());
    }

    #[test]
    fn source_addresses_are_lists_and_ranges() {
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

    #[test]
    fn source_addresses_are_named_as_they_are_read() {
        let table = [
            ("auto", None),
            ("127.0.0.2", Some("127.0.0.2")),
            ("127.0.0.254,127.0.0.255-127.0.1.1,10.0.0.1", Some("127.0.0.254-127.0.1.1,10.0.0.1")),
            ("::1-::2,10.0.0.1,10.0.0.1", Some("::1-::2,10.0.0.1,10.0.0.1")),
        ];
        for (text, want) in table {
            let read = sources(text).expect("addresses");
            assert_eq!(read.name().as_deref(), want, "{text}");
            assert_eq!(sources(want.unwrap_or("auto")), Ok(read), "{text}");
        }
    }
}
