//! The options of `serve`, and what they mean.

mod first_word;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use bucle::net::Limits;
use bucle::redis;

use self::first_word::{FirstWordParser, words_of};
use super::verbose;
use crate::cli::load::{self, count, number, time};
use crate::cli::serve::{HIGH_WATER_MARK, Inspect, Kind, Serve, Web};
use crate::cli::target::{Address, parse_port_to_listen};
use crate::cli::usage::Usage;

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
                .value_parser(FirstWordParser),
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
                .value_parser(parse_port_to_listen)
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
                .value_name("PORT|HOST:PORT")
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
                .value_name("URL")
                .help("Chat: be a node of the cluster at this Redis server: redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]; members of all nodes are in the same rooms"),
        )
        .arg(
            number("max-connections", "N")
                .value_parser(connections)
                .help("Refuse connections beyond this many [default: the limit of open files, less 32]"),
        )
        .arg(
            number("idle-timeout", "TIME")
                .value_parser(time)
                .help("Close a connection after this long without traffic: 90s, 1.5h; 0 is never"),
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
                .value_name("PORT|HOST:PORT")
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
                .help("Stop recording when the file is this large"),
        )
        .arg(
            number("spin", "TIME")
                .value_parser(spin)
                .help("Poll for this long before sleeping: 50us, at most 1s; replies come faster, but it uses a whole core"),
        )
        .arg(verbose())
        .after_help("Examples:\n  bucle serve chat --http\n  bucle serve echo 9000 -vv")
        .after_long_help(
            "Sizes take K, M and G or KiB, MiB and GiB (units of 1024), or kB, MB and GB (units of 1000). Times take us, \
             ms, s, m or h; a number without a unit is seconds.\n\n\
             Under systemd it takes passed sockets (LISTEN_FDS) and reports when it is ready (NOTIFY_SOCKET).\n\n\
             Examples:\n  bucle serve\n  bucle serve echo 9000 -vv\n  bucle serve chat --host 0.0.0.0 --idle-timeout 5m\n  bucle serve chat --http\n  bucle serve chat 0 --cluster redis://localhost\n  bucle serve tutorial --http\n  bucle serve echo --inspect",
        )
}

/// Reads the options of `serve`. Options that are wrong only in combination are an error here.
pub(super) fn serve_of(matches: &ArgMatches) -> Result<Serve, Usage> {
    let (kind, place) = words_of(matches)?;
    let address = address_of(matches, kind, place)?;
    let web = web_of(matches, kind, &address)?;
    let cluster = cluster_of(matches, kind)?;
    let inspect = inspect_of(matches, kind)?;
    let bytes = |name| matches.get_one::<u64>(name).map_or(0, |&bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let limit = |name| Some(bytes(name)).filter(|&bytes| bytes > 0);
    let (outbox_bytes, line_limit) = (limit("outbox-limit"), bytes("line-limit"));
    if line_limit == 0 {
        let why = "--line-limit: a line has at least one byte";
        return Err(Usage::new(why, format!("{} --line-limit 64K", kind.command())));
    }
    // Even a peer that reads everything must have room for its own answers.
    let least = line_limit.saturating_add(LEAST_OUTBOX);
    if let Some(bytes) = outbox_bytes.filter(|&bytes| bytes < least) {
        let why = format!("--outbox-limit of {bytes} bytes: lines of up to {line_limit} bytes need at least {least}");
        return Err(Usage::new(why, format!("{} … --outbox-limit {least}", kind.command())));
    }
    let limits = Limits {
        outbox_bytes,
        write_timeout: matches.get_one("write-timeout").copied().unwrap_or_default(),
        ..Limits::NONE
    };
    Ok(Serve {
        kind,
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

/// Where the server listens.
fn address_of(matches: &ArgMatches, kind: Kind, place: Option<String>) -> Result<Address, Usage> {
    if let Some(path) = matches.get_one::<PathBuf>("unix") {
        return Ok(Address::Unix(path.clone()));
    }
    if let Some(text) = place {
        return Address::parse_to_listen(&text).map_err(|why| {
            let why = format!("cannot listen on '{}': {why}", text.escape_debug());
            Usage::new(why, format!("{} {PORT}", kind.command()))
        });
    }
    let host = matches.get_one::<String>("host").map_or(HOST, String::as_str);
    if let Some((host, port)) = host_with_port(host) {
        let flag = if host.is_empty() { String::new() } else { format!(" --host {host}") };
        let why = format!("--host {host}:{port}: the port goes to --port");
        return Err(Usage::new(why, format!("{}{flag} --port {port}", kind.command())));
    }
    // `[::1]` is accepted too: users know it from addresses with a port.
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok(Address::Tcp(bare.to_owned(), matches.get_one("port").copied().unwrap_or_default()))
}

/// The Redis server of `--cluster`. The URL may have a password, so it is in no message.
fn cluster_of(matches: &ArgMatches, kind: Kind) -> Result<Option<redis::url::Address>, Usage> {
    let Some(url) = matches.get_one::<String>("cluster") else { return Ok(None) };
    let usage = |why| {
        let command = "bucle serve chat --cluster redis://localhost      or  --cluster redis://:PASSWORD@HOST:6379";
        Usage::new(why, command)
    };
    if kind != Kind::Chat {
        return Err(usage(format!("--cluster: only the chat can be a node of a cluster, not {}", kind.name())));
    }
    redis::url::parse(url).map(Some).map_err(|bad| usage(format!("--cluster: {bad}")))
}

/// The options of `--inspect`.
fn inspect_of(matches: &ArgMatches, kind: Kind) -> Result<Option<Inspect>, Usage> {
    let Some(text) = matches.get_one::<String>("inspect") else { return Ok(None) };
    let usage = |why: String| {
        let command = kind.command();
        Usage::new(why, format!("{command} --inspect {INSPECT_PORT}      or  --inspect 127.0.0.1:{INSPECT_PORT}"))
    };
    check_not_a_server("--inspect", text)?;
    let (host, port_text) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let port = parse_port_to_listen(port_text).map_err(|why| usage(format!("--inspect {text}: {why}")))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ip = if bare == "localhost" { Ok(IpAddr::from(Ipv4Addr::LOCALHOST)) } else { bare.parse::<IpAddr>() };
    let ip = ip.map_err(|_| usage(format!("--inspect {text}: the host must be an IP address or localhost")))?;
    let allow_remote = matches.get_flag("inspect-allow-remote");
    if !ip.is_loopback() && !allow_remote {
        let why = format!("--inspect {text}: other machines could reach this address");
        return Err(usage(why).or(format!("{} --inspect {text} --inspect-allow-remote", kind.command())));
    }
    let address = SocketAddr::new(ip, port);
    Ok(Some(Inspect { address, allow_remote, read_only: matches.get_flag("inspect-read-only") }))
}

/// `--http echo` is a server behind an option that takes a port.
fn check_not_a_server(option: &str, value: &str) -> Result<(), Usage> {
    match Kind::ALL.into_iter().find(|kind| kind.name() == value) {
        Some(kind) => {
            let why = format!("{option} {value}: the name of the server comes before this option");
            Err(Usage::new(why, format!("{} {option}", kind.command())))
        }
        None => Ok(()),
    }
}

/// The options of `--http`.
fn web_of(matches: &ArgMatches, kind: Kind, server: &Address) -> Result<Option<Web>, Usage> {
    let Some(address) = matches.get_one::<String>("http") else { return Ok(None) };
    check_not_a_server("--http", address)?;
    if kind.web_scheme().is_none() {
        let why = format!("--http: {} is for plain TCP only", kind.name());
        return Err(Usage::new(why, "bucle serve chat --http      or  echo --http, or  tutorial --http"));
    }
    let (host, port_text) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => match server {
            Address::Tcp(host, _) => (host.as_str(), address.as_str()),
            Address::Unix(_) => (HOST, address.as_str()),
        },
    };
    let usage = |why: &str| {
        let command = kind.command();
        let command = format!("{command} --http {HTTP_PORT}      or  --http 127.0.0.1:{HTTP_PORT}");
        Usage::new(format!("--http {address}: {why}"), command)
    };
    let port = parse_port_to_listen(port_text).map_err(|why| usage(&why))?;
    if host.is_empty() {
        return Err(usage("the host is missing"));
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let message_limit = matches.get_one::<u64>("message-limit").copied().unwrap_or_default();
    if message_limit == 0 {
        let why = "--message-limit: a message has at least one byte";
        return Err(Usage::new(why, format!("{} --http --message-limit 1M", kind.command())));
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

/// A letter alone is a unit of 1024, as in systemd.
fn size(text: &str) -> Result<u64, String> {
    let letters = [("K", 1 << 10), ("k", 1 << 10), ("M", 1 << 20), ("m", 1 << 20), ("G", 1 << 30), ("g", 1 << 30)];
    load::size(text, &letters, "write it like 64M, 500K or 2G (units of 1024), or 64MB (units of 1000)")
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
            ("64MB", Some(64_000_000)),
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
}
