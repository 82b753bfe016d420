//! The target of `connect` and `load` on the command line: one word, a host and a port as two words, or `-p`.

use clap::{Arg, ArgMatches};

use super::{Address, parse_port, split};

/// The forms of a target.
const HELP: &str = "HOST:PORT or HOST PORT, HOST (port 8080), :PORT or PORT (this machine), unix:PATH; \
     ws://HOST:PORT/PATH (WebSocket), sio://HOST:PORT/NAMESPACE (Socket.IO)  [default: 127.0.0.1:8080]";

/// The arguments, which [`typed`] reads.
pub(crate) fn args() -> [Arg; 3] {
    [
        Arg::new("target").value_name("HOST:PORT|unix:PATH|ws://…|sio://…").help(HELP),
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

/// The target as one word. The error is a sentence.
pub(crate) fn typed(matches: &ArgMatches) -> Result<String, String> {
    let text = |name| matches.get_one::<String>(name).map(String::as_str);
    let target = text("target").unwrap_or_default();
    match text("port-word").or(text("port")) {
        None => Ok(target.to_owned()),
        Some(port) => {
            let words = format!("{target} {port}");
            join(target, port).map_err(|why| cannot_understand(words.trim_start(), &why))
        }
    }
}

/// The message for a target that is not valid.
pub(crate) fn cannot_understand(target: &str, why: &str) -> String {
    format!("cannot understand the target '{}': {why}", target.escape_debug())
}

/// Joins a host and a port. The error is half a sentence.
fn join(target: &str, port: &str) -> Result<String, String> {
    let number = parse_port(port)?;
    if target.starts_with("unix:") || target.contains('/') && !target.contains("://") {
        return Err("a unix socket has no port".to_owned());
    }
    if let Some((scheme, rest)) = target.split_once("://") {
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        return Err(match host.parse::<std::net::SocketAddr>().is_ok() || split(host)?.1.is_some() {
            true => "it has a port already".to_owned(),
            false => format!("write {scheme}://{host}:{number}{path}"),
        });
    }
    match split(target)? {
        (host, None) => Ok(Address::Tcp(host.to_owned(), number).to_string()),
        (_, Some(other)) if other == port => Ok(target.to_owned()),
        (_, Some(other)) => Err(format!("there are two ports, {other} and {port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_joined() {
        let table = [
            ("", "9000", Ok(":9000")),
            ("example.org", "80", Ok("example.org:80")),
            ("::1", "80", Ok("[::1]:80")),
            ("[::1]", "80", Ok("[::1]:80")),
            ("example.org:80", "80", Ok("example.org:80")),
            ("example.org:80", "81", Err("two ports, 80 and 81")),
            ("8080", "81", Err("two ports, 8080 and 81")),
            ("example.org", "http", Err("number from 1")),
            ("example.org", "0", Err("number from 1")),
            ("example.org", "-1", Err("number from 1")),
            ("unix:/tmp/a", "80", Err("no port")),
            ("/tmp/a", "80", Err("no port")),
            ("ws://h/path", "80", Err("write ws://h:80/path")),
            ("sio://h", "80", Err("write sio://h:80/")),
            ("ws://h:81/", "80", Err("a port already")),
            ("ws://[::1]:81/", "80", Err("a port already")),
        ];
        for (target, port, want) in table {
            match (join(target, port), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{target:?} {port:?}"),
                (Err(why), Err(want)) => assert!(why.contains(want), "{target:?} {port:?}: {why}"),
                (got, want) => panic!("{target:?} {port:?}: {got:?} instead of {want:?}"),
            }
        }
    }
}
