//! The target of `connect` and `load` on the command line: one word, a host and a port as two words, or `-p`.

use clap::{Arg, ArgMatches};

use super::{Address, host_and_port_of, parse_port, port_in, split};
use crate::cli::usage::Usage;

/// The forms of a target.
const HELP: &str = "HOST:PORT or HOST PORT, HOST (port 8080), :PORT or PORT (this machine), unix:PATH; \
     ws://HOST:PORT/PATH (WebSocket), sio://HOST:PORT/NAMESPACE (Socket.IO)  [default: 127.0.0.1:8080]";

/// The arguments, which [`typed`] reads.
pub(crate) fn args() -> [Arg; 3] {
    [
        Arg::new("target").value_name("TARGET").help(HELP),
        Arg::new("port-word").value_name("PORT").hide(true),
        Arg::new("port")
            .short('p')
            .long("port")
            .value_name("PORT")
            .allow_hyphen_values(true)
            .conflicts_with("port-word")
            .help("The port, if it is not in the target: 'HOST PORT' and 'HOST -p PORT' mean HOST:PORT"),
    ]
}

/// The target of this command as one word.
pub(crate) fn typed(command: &str, matches: &ArgMatches) -> Result<String, Usage> {
    let text = |name| matches.get_one::<String>(name).map(String::as_str);
    let target = text("target").unwrap_or_default();
    match text("port-word").or(text("port")) {
        None => Ok(target.to_owned()),
        Some(port) => join(target, port).map_err(|mistake| {
            let target = &without_secrets(target);
            // The reason quotes the target.
            let Mistake { why, meant } = join(target, port).err().unwrap_or(mistake);
            let words = format!("{target} {port}");
            Usage::new(sentence(words.trim_start(), &why), format!("bucle {command} {meant}"))
        }),
    }
}

/// The error for a target that is not valid. `why` is half a sentence.
pub(crate) fn cannot_understand(command: &str, target: &str, why: &str) -> Usage {
    let target = &without_secrets(target);
    Usage::new(sentence(target, why), format!("bucle {command} {}", meant(target)))
}

/// A target as messages show it. Of a URL they leave out what may be a secret: the query, and the user and the password
/// before the host.
pub(crate) fn without_secrets(target: &str) -> String {
    let Some((scheme, rest)) = target.split_once("://") else { return target.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn sentence(target: &str, why: &str) -> String {
    format!("cannot understand the target '{}': {why}", target.escape_debug())
}

/// A valid target in place of one that is not valid: the one that the user probably meant, or an example.
fn meant(target: &str) -> String {
    let (scheme, rest) = target.split_once("://").unwrap_or(("", target));
    let is_address = |text: &str| Address::parse(text).is_ok_and(|it| it.to_string() != "127.0.0.1:8080");
    match scheme.to_ascii_lowercase().as_str() {
        "ws" => "ws://127.0.0.1:8081/".to_owned(),
        "sio" => "sio://127.0.0.1:8081/".to_owned(),
        "wss" if !rest.is_empty() => format!("ws://{rest}"),
        "" if target.contains('/') && !target.contains(char::is_whitespace) => format!("unix:{target}"),
        "" => port_in(target).unwrap_or_else(|| "127.0.0.1:8080".to_owned()),
        _ => Some(host_and_port_of(rest)).filter(|host| is_address(host)).unwrap_or("127.0.0.1:8080").to_owned(),
    }
}

/// Words that are no target.
#[derive(Debug)]
struct Mistake {
    /// Half a sentence.
    why: String,
    /// The target that the user probably meant.
    meant: String,
}

/// Joins a host and a port.
fn join(target: &str, port: &str) -> Result<String, Mistake> {
    let mistake = |why: String, meant: String| Mistake { why, meant };
    let with_port = |port| match split(target) {
        Ok((host, _)) if !host.is_empty() => Address::Tcp(host.to_owned(), port).to_string(),
        _ => Address::Tcp("127.0.0.1".to_owned(), port).to_string(),
    };
    let number = parse_port(port).map_err(|why| mistake(why, with_port(super::PORT)))?;
    if target.starts_with("unix:") || target.contains('/') && !target.contains("://") {
        let path = target.strip_prefix("unix:").unwrap_or(target);
        return Err(mistake("a unix socket has no port".to_owned(), format!("unix:{path}")));
    }
    if let Some((scheme, rest)) = target.split_once("://") {
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let has_port =
            host.parse::<std::net::SocketAddr>().is_ok() || split(host).is_ok_and(|(_, port)| port.is_some());
        return Err(match has_port {
            true => mistake("it has a port already".to_owned(), target.to_owned()),
            false => {
                let meant = format!("{scheme}://{host}:{number}{path}");
                mistake(format!("write {meant}"), meant)
            }
        });
    }
    match split(target) {
        Ok((host, None)) => Ok(Address::Tcp(host.to_owned(), number).to_string()),
        Ok((_, Some(other))) if other == port => Ok(target.to_owned()),
        Ok((_, Some(other))) => Err(mistake(format!("there are two ports, {other} and {port}"), with_port(number))),
        Err(why) => Err(mistake(why, with_port(number))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_no_secret_of_a_url() {
        let table = [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("unix:/tmp/a?b", "unix:/tmp/a?b"),
            ("ws://h:1/room?token=x", "ws://h:1/room"),
            ("ws://h?token=/x", "ws://h"),
            ("sio://h/a#x", "sio://h/a"),
            ("ws://me:p@ss@h/a@b", "ws://h/a@b"),
        ];
        for (target, want) in table {
            assert_eq!(without_secrets(target), want, "{target}");
        }
    }

    #[test]
    fn a_host_and_a_port_are_joined() {
        let table = [
            ("", "9000", Ok(":9000")),
            ("example.org", "80", Ok("example.org:80")),
            ("::1", "80", Ok("[::1]:80")),
            ("[::1]", "80", Ok("[::1]:80")),
            ("example.org:80", "80", Ok("example.org:80")),
            ("example.org:80", "81", Err(("two ports, 80 and 81", "example.org:81"))),
            ("8080", "81", Err(("two ports, 8080 and 81", "127.0.0.1:81"))),
            ("example.org", "http", Err(("number from 1", "example.org:8080"))),
            ("example.org", "0", Err(("number from 1", "example.org:8080"))),
            ("", "-1", Err(("number from 1", "127.0.0.1:8080"))),
            ("unix:/tmp/a", "80", Err(("no port", "unix:/tmp/a"))),
            ("/tmp/a", "80", Err(("no port", "unix:/tmp/a"))),
            ("ws://h/path", "80", Err(("write ws://h:80/path", "ws://h:80/path"))),
            ("sio://h", "80", Err(("write sio://h:80/", "sio://h:80/"))),
            ("ws://h:81/", "80", Err(("a port already", "ws://h:81/"))),
            ("ws://[::1]:81/", "80", Err(("a port already", "ws://[::1]:81/"))),
        ];
        for (target, port, want) in table {
            match (join(target, port), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{target:?} {port:?}"),
                (Err(got), Err((why, meant))) => {
                    assert!(got.why.contains(why) && got.meant == meant, "{target:?} {port:?}: {got:?}");
                }
                (got, want) => panic!("{target:?} {port:?}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn a_target_that_is_not_valid_is_followed_by_one_that_is() {
        let table = [
            ("/run/app.sock", "unix:/run/app.sock"),
            ("http://example.org/index.html", "example.org"),
            ("http://", "127.0.0.1:8080"),
            ("wss://example.org/chat", "ws://example.org/chat"),
            ("ws://h:0/", "ws://127.0.0.1:8081/"),
            ("SIO://", "sio://127.0.0.1:8081/"),
            ("::1:9032", "[::1]:9032"),
            ("a b", "127.0.0.1:8080"),
            ("99999", "127.0.0.1:8080"),
        ];
        for (target, want) in table {
            assert_eq!(meant(target), want, "{target:?}");
        }
    }
}
