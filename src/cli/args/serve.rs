//! The options of `serve`, and what they mean.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use bucle::net::Limits;
use bucle::redis;

use super::verbose;
use crate::cli::load::{count, number, time};
use crate::cli::serve::{HIGH_WATER_MARK, Inspect, Kind, Serve, Web};
use crate::cli::target::Address;

/// A port that needs no privileges, and that the tutorial uses.
const PORT: &str = "8080";

/// The smallest limit of a trace: room for its head, some turns, and the event that says that the limit is reached.
const LEAST_TRACE: u64 = 16 * 1024;

/// The room that an outbox needs besides the answer to the longest line: the bytes that may be queued before the server
/// stops reading, and as much again for the text that it adds to lines.
const LEAST_OUTBOX: usize = 2 * HIGH_WATER_MARK;

/// Spinning for longer than this has no benefit.
const LONGEST_SPIN: Duration = Duration::from_secs(1);

/// The port of `--http` without a value.
const HTTP_PORT: &str = "8081";

/// The port of `--inspect` without a value, [`bucle::inspect::PORT`].
const INSPECT_PORT: &str = "9339";

/// By default only this machine can connect.
const HOST: &str = "127.0.0.1";

pub(super) fn command() -> clap::Command {
    clap::Command::new("serve")
        .about("Runs a server until Ctrl-C")
        .arg(
            Arg::new("kind")
                .value_name("SERVER")
                .help("Which server")
                .default_value("chat")
                .value_parser(PossibleValuesParser::new(Kind::ALL.map(possible_kind)).map(|name| Kind::of(&name))),
        )
        .arg(
            Arg::new("place")
                .value_name("PORT|HOST:PORT|unix:PATH")
                .conflicts_with_all(["host", "port", "unix"])
                .help("Where to listen, in short: instead of --host, --port and --unix"),
        )
        .arg(Arg::new("host").long("host").value_name("HOST").default_value(HOST).help("Address or name to listen on"))
        .arg(
            number("port", "PORT")
                .short('p')
                .default_value(PORT)
                .value_parser(port)
                .help("Port to listen on; 0 picks a free one"),
        )
        .arg(
            Arg::new("unix")
                .long("unix")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with_all(["host", "port"])
                .help("Listen on a unix socket instead"),
        )
        .arg(
            Arg::new("http")
                .long("http")
                .value_name("[HOST:]PORT")
                .num_args(0..=1)
                .default_missing_value(HTTP_PORT)
                .help("Also serve browsers, WebSocket (chat, echo) and Socket.IO at /socket.io/ (chat, tutorial); 0 picks a free port [default port: 8081]"),
        )
        .arg(
            Arg::new("origin")
                .long("origin")
                .value_name("URL")
                .action(ArgAction::Append)
                .requires("http")
                .value_parser(origin)
                .help("Pages of this site may connect too, such as https://example.org; can be repeated"),
        )
        .arg(
            number("message-limit", "SIZE")
                .default_value("1M")
                .value_parser(size)
                .help("Close a connection of WebSocket or Socket.IO that sends a longer message (echo, tutorial; the chat's messages are lines)"),
        )
        .arg(
            number("handshake-timeout", "TIME")
                .default_value("10s")
                .value_parser(time)
                .help("Close an HTTP connection whose request takes longer; 0 is never"),
        )
        .arg(
            Arg::new("reuse-port")
                .long("reuse-port")
                .action(ArgAction::SetTrue)
                .conflicts_with("unix")
                .help("Share the port: start several servers, and the kernel distributes the connections among them"),
        )
        .arg(
            Arg::new("cluster")
                .long("cluster")
                .value_name("redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]")
                .help("Chat: be a node of the cluster at this Redis server; members of all nodes are in the same rooms"),
        )
        .arg(
            number("max-connections", "COUNT")
                .value_parser(connections)
                .help("Refuse connections beyond this many [default: the limit of open files, less 32]"),
        )
        .arg(
            number("idle-timeout", "TIME")
                .value_parser(time)
                .help("Close a connection after this long without traffic: 90s, 1.5h, 500ms; 0 is never"),
        )
        .arg(
            number("write-timeout", "TIME")
                .default_value("30s")
                .value_parser(time)
                .help("Disconnect a peer that reads none of its queued bytes for this long; 0 is never"),
        )
        .arg(
            number("outbox-limit", "SIZE")
                .default_value("1M")
                .value_parser(size)
                .help("Disconnect a peer with more queued bytes than this; 0 is no limit"),
        )
        .arg(
            number("total-outbox-limit", "SIZE")
                .default_value("64M")
                .value_parser(size)
                .help("If more than this is queued for all peers together, disconnect the peer with the most; 0 is no limit"),
        )
        .arg(
            number("line-limit", "SIZE")
                .default_value("64K")
                .value_parser(size)
                .help("Close a connection that sends a longer line"),
        )
        .arg(
            Arg::new("inspect")
                .long("inspect")
                .value_name("[HOST:]PORT")
                .num_args(0..=1)
                .default_missing_value(INSPECT_PORT)
                .help("Also serve a page that shows the loop at work and can pause and step it; 0 picks a free port [default port: 9339]"),
        )
        .arg(
            Arg::new("inspect-read-only")
                .long("inspect-read-only")
                .action(ArgAction::SetTrue)
                .requires("inspect")
                .help("The page shows the loop, and cannot pause it"),
        )
        .arg(
            Arg::new("inspect-allow-remote")
                .long("inspect-allow-remote")
                .action(ArgAction::SetTrue)
                .requires("inspect")
                .help("--inspect may listen on an address that other machines reach; the connection is not encrypted"),
        )
        .arg(
            Arg::new("trace")
                .long("trace")
                .value_name("FILE")
                .value_parser(PathBufValueParser::new().try_map(trace_path))
                .help("Write what the loop does to FILE, for ui.perfetto.dev or chrome://tracing; replaces a trace, but no other file"),
        )
        .arg(
            number("trace-limit", "SIZE")
                .default_value("256M")
                .requires("trace")
                .value_parser(trace_size)
                .help("Stop recording when the file is this large: 64M, 500K, 2G"),
        )
        .arg(
            number("spin", "TIME")
                .value_parser(spin)
                .help("Poll for this long before sleeping: 50us, at most 1s; replies come faster, but it uses a whole core"),
        )
        .arg(verbose())
        .after_help("Examples:\n  bucle serve chat --http\n  bucle serve echo 9000 -vv")
        .after_long_help(
            "Under systemd it takes passed sockets (LISTEN_FDS) and reports when it is ready (NOTIFY_SOCKET).\n\n\
             Examples:\n  bucle serve\n  bucle serve echo 9000 -vv\n  bucle serve chat --host 0.0.0.0 --idle-timeout 5m\n  bucle serve chat --http\n  bucle serve chat 0 --cluster redis://localhost\n  bucle serve tutorial --http\n  bucle serve echo --inspect",
        )
}

fn possible_kind(kind: Kind) -> clap::builder::PossibleValue {
    clap::builder::PossibleValue::new(kind.name()).help(kind.about())
}

/// Reads the options of `serve`. Options that are wrong only in combination are an error here: the message, and a
/// command to try.
pub(super) fn serve_of(matches: &ArgMatches) -> Result<Serve, (String, String)> {
    let help = || "bucle serve --help".to_owned();
    let place = matches.get_one::<String>("place");
    let address = match (matches.get_one::<PathBuf>("unix"), place) {
        (Some(path), _) => Address::Unix(path.clone()),
        (None, Some(text)) => Address::parse_to_listen(text).map_err(|why| {
            let kind: Kind = matches.get_one("kind").copied().unwrap_or(Kind::Chat);
            (format!("cannot listen on '{}': {why}", text.escape_debug()), format!("{} {PORT}", kind.command()))
        })?,
        (None, None) => {
            let host = matches.get_one::<String>("host").map_or(HOST, String::as_str);
            if let Some((host, port)) = host_with_port(host) {
                let kind = matches.get_one("kind").copied().unwrap_or(Kind::Chat);
                let flag = if host.is_empty() { String::new() } else { format!(" --host {host}") };
                let advice = format!("{}{flag} --port {port}", kind.command());
                return Err((format!("--host {host}:{port}: the port goes to --port"), advice));
            }
            // `[::1]` is accepted too: users know it from addresses with a port.
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Address::Tcp(bare.to_owned(), matches.get_one("port").copied().unwrap_or_default())
        }
    };
    let web = web_of(matches, &address)?;
    let cluster = cluster_of(matches)?;
    let inspect = inspect_of(matches)?;
    let bytes = |name| matches.get_one::<u64>(name).map_or(0, |&bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let limit = |name| Some(bytes(name)).filter(|&bytes| bytes > 0);
    let (outbox_bytes, line_limit) = (limit("outbox-limit"), bytes("line-limit"));
    if line_limit == 0 {
        return Err(("--line-limit: a line has at least one byte".to_owned(), help()));
    }
    // Even a peer that reads everything must have room for its own answers.
    let least = line_limit.saturating_add(LEAST_OUTBOX);
    if let Some(bytes) = outbox_bytes.filter(|&bytes| bytes < least) {
        let why = format!("--outbox-limit of {bytes} bytes: lines of up to {line_limit} bytes need at least {least}");
        return Err((why, help()));
    }
    let limits = Limits {
        outbox_bytes,
        write_timeout: matches.get_one("write-timeout").copied().unwrap_or_default(),
        ..Limits::NONE
    };
    Ok(Serve {
        kind: matches.get_one("kind").copied().unwrap_or(Kind::Chat),
        address,
        reuse_port: matches.get_flag("reuse-port"),
        max_connections: matches.get_one("max-connections").copied(),
        idle_timeout: matches.get_one("idle-timeout").copied().unwrap_or_default(),
        limits,
        total_outbox_limit: limit("total-outbox-limit"),
        line_limit,
        web,
        cluster,
        inspect,
        spin: matches.get_one("spin").copied().unwrap_or_default(),
        trace: matches.get_one("trace").cloned(),
        trace_limit: matches.get_one("trace-limit").copied().unwrap_or(u64::MAX),
    })
}

/// The Redis server of `--cluster`. The URL may have a password, so it is in no message.
fn cluster_of(matches: &ArgMatches) -> Result<Option<redis::url::Address>, (String, String)> {
    let Some(url) = matches.get_one::<String>("cluster") else { return Ok(None) };
    let kind: Kind = matches.get_one("kind").copied().unwrap_or(Kind::Chat);
    let help =
        || "bucle serve chat --cluster redis://localhost      or  --cluster redis://:PASSWORD@HOST:6379".to_owned();
    if kind != Kind::Chat {
        return Err((format!("--cluster: only the chat can be a node of a cluster, not {}", kind.name()), help()));
    }
    redis::url::parse(url).map(Some).map_err(|bad| (format!("--cluster: {bad}"), help()))
}

/// The options of `--inspect`.
fn inspect_of(matches: &ArgMatches) -> Result<Option<Inspect>, (String, String)> {
    let Some(text) = matches.get_one::<String>("inspect") else { return Ok(None) };
    let kind: Kind = matches.get_one("kind").copied().unwrap_or(Kind::Chat);
    let help = || format!("{} --inspect {INSPECT_PORT}      or  --inspect 127.0.0.1:{INSPECT_PORT}", kind.command());
    let (host, port_text) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let port = port(port_text).map_err(|why| (format!("--inspect {text}: {why}"), help()))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ip = if bare == "localhost" { Ok(IpAddr::from(Ipv4Addr::LOCALHOST)) } else { bare.parse::<IpAddr>() };
    let ip = ip.map_err(|_| (format!("--inspect {text}: the host must be an IP address or localhost"), help()))?;
    let allow_remote = matches.get_flag("inspect-allow-remote");
    if !ip.is_loopback() && !allow_remote {
        let why = format!("--inspect {text}: other machines could reach this address");
        return Err((why, format!("{}      or  {} --inspect {text} --inspect-allow-remote", help(), kind.command())));
    }
    let address = SocketAddr::new(ip, port);
    Ok(Some(Inspect { address, allow_remote, read_only: matches.get_flag("inspect-read-only") }))
}

/// The options of `--http`.
fn web_of(matches: &ArgMatches, server: &Address) -> Result<Option<Web>, (String, String)> {
    let Some(address) = matches.get_one::<String>("http") else { return Ok(None) };
    let kind: Kind = matches.get_one("kind").copied().unwrap_or(Kind::Chat);
    if kind.web_scheme().is_none() {
        let why = format!("--http: {} is for plain TCP only", kind.name());
        return Err((why, "bucle serve chat --http      or  echo --http, or  tutorial --http".to_owned()));
    }
    let (host, port_text) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => match server {
            Address::Tcp(host, _) => (host.as_str(), address.as_str()),
            Address::Unix(_) => (HOST, address.as_str()),
        },
    };
    let help = || format!("{} --http 8081      or  --http 127.0.0.1:8081", kind.command());
    let port = port(port_text).map_err(|why| (format!("--http {address}: {why}"), help()))?;
    if host.is_empty() {
        return Err((format!("--http {address}: the host is missing"), help()));
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let message_limit = matches.get_one::<u64>("message-limit").copied().unwrap_or_default();
    if message_limit == 0 {
        return Err(("--message-limit: a message has at least one byte".to_owned(), "bucle serve --help".to_owned()));
    }
    Ok(Some(Web {
        host: bare.to_owned(),
        port,
        message_limit: usize::try_from(message_limit).unwrap_or(usize::MAX),
        handshake_timeout: matches.get_one("handshake-timeout").copied().unwrap_or_default(),
        origins: matches.get_many::<String>("origin").into_iter().flatten().cloned().collect(),
    }))
}

/// The origin of a site: a scheme, a host and perhaps a port, without a path.
fn origin(text: &str) -> Result<String, String> {
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    let authority = trimmed.strip_prefix("https://").or_else(|| trimmed.strip_prefix("http://"));
    match authority {
        Some(authority) if !authority.is_empty() && !authority.contains(['/', ' ', '?', '#', '@']) => {
            Ok(trimmed.to_ascii_lowercase())
        }
        _ => Err("write it like https://example.org or http://example.org:8000".to_owned()),
    }
}

/// Splits text that should be a host only, but has a port too. A name has no colon, and an IPv6 address has at least
/// two.
fn host_with_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
    (is_port && is_host).then_some((host, port))
}

/// A trace cannot go to standard output, which has the line with the address.
fn trace_path(path: PathBuf) -> Result<PathBuf, String> {
    if path.as_os_str() == "-" {
        Err("a trace goes to a file: give its name, for example t.json".to_owned())
    } else {
        Ok(path)
    }
}

fn trace_size(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes < LEAST_TRACE { Err("a trace needs at least 16K".to_owned()) } else { Ok(bytes) }
}

/// `64M`, `500K`, `2G` or `2GiB`, or bytes without a unit; units of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "write it like 64M, 500K or 2G".to_owned())?;
    let unit_bytes = match unit {
        "" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        _ => return Err(format!("there is no unit {unit:?}; write it like 64M, 500K or 2G")),
    };
    number.checked_mul(unit_bytes).ok_or_else(|| "that is more than any machine has".to_owned())
}

/// A time to spin: any time up to [`LONGEST_SPIN`].
fn spin(text: &str) -> Result<Duration, String> {
    match time(text) {
        Ok(time) if time > LONGEST_SPIN => Err("at most 1s: spinning uses a whole core".to_owned()),
        Ok(time) => Ok(time),
        Err(_) => Err("write it like 50us or 1ms; a bare number is seconds".to_owned()),
    }
}

/// A number of connections, written as for `bucle load`.
fn connections(text: &str) -> Result<usize, String> {
    let number = count(text)?;
    usize::try_from(number).map_err(|_| "that is more than can be counted".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    // `parse` would accept a sign too.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { text.parse().ok() } else { None };
    number.ok_or_else(|| "a port is a number from 0 to 65535".to_owned())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let table = [
            ("64M", Some(64 << 20)),
            ("500k", Some(500 << 10)),
            ("2G", Some(2 << 30)),
            ("1MiB", Some(1 << 20)),
            ("16384", Some(16384)),
            ("0", Some(0)),
            ("", None),
            ("M", None),
            ("64MB", None),
            ("-1", None),
            ("99999999999G", None),
            ("99999999999999999999", None),
        ];
        for (text, want) in table {
            assert_eq!(size(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn a_time_to_spin_is_short() {
        let table = [
            ("50us", Some(50)),
            ("1ms", Some(1000)),
            ("0.5ms", Some(500)),
            ("1", Some(1_000_000)),
            ("0", Some(0)),
            ("1.1s", None),
            ("1h", None),
            ("", None),
            ("abc", None),
            ("+5us", None),
            ("-5us", None),
        ];
        for (text, want_us) in table {
            assert_eq!(spin(text).ok(), want_us.map(Duration::from_micros), "{text:?}");
        }
        assert!(spin("abc").is_err_and(|why| why.contains("50us")), "the error shows how to write a time");
    }

    #[test]
    fn a_port_is_not_part_of_a_host() {
        let table = [
            ("127.0.0.1:90", Some(("127.0.0.1", "90"))),
            ("localhost:8080", Some(("localhost", "8080"))),
            ("[::1]:80", Some(("[::1]", "80"))),
            (":80", Some(("", "80"))),
            ("127.0.0.1", None),
            ("::1", None),
            ("[::1]", None),
            ("fe80::1:80", None),
        ];
        for (text, want) in table {
            assert_eq!(host_with_port(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_port_is_a_number() {
        let table = [("0", Some(0)), ("65535", Some(65535)), ("65536", None), ("-1", None), ("+1", None), ("", None)];
        for (text, want) in table {
            assert_eq!(port(text).ok(), want, "{text:?}");
        }
    }
}
