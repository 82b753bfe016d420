//! The help of a command: `-h` has the options that most users need, with a few words each, on one screen; `--help` has
//! all of them, in groups.

use clap::{ArgAction, Command};

/// The heading of options that are in no group.
const OTHERS: &str = "Other options";

/// A group of options.
pub(crate) struct Group {
    heading: &'static str,
    /// Options that `-h` shows, and what it says about them.
    common: &'static [(&'static str, &'static str)],
    /// Options that only `--help` shows.
    rare: &'static [&'static str],
}

/// Whether the short help is asked for. It is made before the command line is parsed.
pub(crate) fn is_short() -> bool {
    std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "-h")
}

/// Puts the options into groups. Options that are in no group are shown by `--help` only, under [`OTHERS`].
pub(crate) fn arrange(command: Command, groups: &'static [Group], is_short: bool) -> Command {
    command.mut_args(|arg| {
        let id = &*arg.get_id().to_string();
        let common = groups.iter().flat_map(|group| group.common).find(|(name, _)| *name == id);
        let heading =
            groups.iter().find(|group| group.rare.contains(&id) || group.common.iter().any(|(name, _)| *name == id));
        let is_positional = arg.is_positional();
        let arg = match common {
            Some((_, words)) if is_short => {
                let takes_values = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
                let arg = arg.help(*words).hide_default_value(takes_values).hide_possible_values(takes_values);
                match short_value(id) {
                    Some(name) => arg.value_name(name),
                    None => arg,
                }
            }
            _ if is_positional => arg,
            Some(_) => arg,
            None => arg.hide_short_help(true),
        };
        if is_short || is_positional { arg } else { arg.help_heading(heading.map_or(OTHERS, |group| group.heading)) }
    })
}

/// Shorter names of values: with a long name, clap gives the words a row of their own.
fn short_value(id: &str) -> Option<&'static str> {
    Some(match id {
        "http" | "inspect" => "PORT",
        "fail-if" => "IF",
        _ => return None,
    })
}

/// The options of `bucle` itself: the short help of a command leaves them out.
pub(crate) fn arrange_top(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_action() {
        ArgAction::Help | ArgAction::Version => arg,
        _ => arg.hide_short_help(true).help_heading(OTHERS),
    })
}

/// What `-h` says about the target of `connect` and `load`.
const TARGET: (&str, &str) = ("target", "HOST:PORT, HOST PORT, :PORT, unix:PATH, ws://…, sio://…  [:8080]");

/// `serve`.
pub(crate) const SERVE: &[Group] = &[
    Group {
        heading: "Where to listen",
        common: &[
            ("kind", "chat, echo, lines, relay, tutorial, discard"),
            ("place", "Where to listen  [default: 127.0.0.1:8080]"),
            ("host", "Address or name to listen on  [default: 127.0.0.1]"),
            ("port", "Port to listen on; 0: a free one  [default: 8080]"),
            ("unix", "Listen on a unix socket"),
        ],
        rare: &[],
    },
    Group {
        heading: "Browsers",
        common: &[("http", "Also serve HTTP, WebSocket and Socket.IO  [8081]")],
        rare: &["origin", "message-limit", "handshake-timeout"],
    },
    Group { heading: "Scaling", common: &[], rare: &["reuse-port", "cluster", "spin"] },
    Group {
        heading: "Limits",
        common: &[
            ("max-connections", "Refuse connections beyond this many"),
            ("idle-timeout", "Close connections that are idle: 90s, 5m"),
        ],
        rare: &["write-timeout", "outbox-limit", "total-outbox-limit", "line-limit"],
    },
    Group {
        heading: "Watching the server",
        common: &[("inspect", "Also serve a page that shows the loop  [9339]")],
        rare: &["inspect-read-only", "inspect-allow-remote", "trace", "trace-limit"],
    },
    LOG,
];

/// What `serve` and `connect` have in common.
const LOG: Group =
    Group { heading: OTHERS, common: &[("verbose", "Log more: -v servers, -vv connections, -vvv events")], rare: &[] };

/// `connect`.
pub(crate) const CONNECT: &[Group] = &[
    Group {
        heading: "Connection",
        common: &[
            TARGET,
            ("timeout", "Give up if there is no connection in this time: 10s"),
            ("reconnect", "ws://, sio://: open a lost connection again"),
        ],
        rare: &["port", "linger"],
    },
    Group {
        heading: "Input and output",
        common: &[
            ("crlf", r"TCP: lines end in \r\n"),
            ("raw", "Write control bytes of the server unchanged"),
            ("no-history", "Neither read nor keep lines of earlier sessions"),
        ],
        rare: &["hex"],
    },
    Group {
        heading: "Socket.IO",
        common: &[
            ("event", "A line is the text of this event"),
            ("ack", "Ask for acknowledgements"),
            ("auth", "Credentials for the server, a JSON object"),
        ],
        rare: &["transport"],
    },
    LOG,
];

/// `load`.
pub(crate) const LOAD: &[Group] = &[
    Group {
        heading: "Connection",
        common: &[TARGET, ("connections", "Connections open at once  [default: 10]")],
        rare: &["port", "ramp", "timeout", "reconnect", "source", "procs"],
    },
    Group {
        heading: "Load",
        common: &[
            ("duration", "How long to measure  [default: 10s]"),
            ("requests", "Instead of -d: this many messages"),
            ("rate", "Messages a second, on schedule"),
        ],
        rare: &["in-flight", "warmup", "hold", "churn"],
    },
    Group {
        heading: "Messages and replies",
        common: &[
            ("message", r"The message: -m 'hola {seq}\n'"),
            ("expect", "echo, line, prefix:TEXT, regex:REGEX, fanout, none"),
            ("skip-line", "The server greets with a line"),
        ],
        rare: &["script", "size", "file", "crlf", "binary", "telnet", "max-reply"],
    },
    Group { heading: "Socket.IO", common: &[], rare: &["event", "auth"] },
    Group {
        heading: "Report",
        common: &[
            ("fail-if", "Exit with 5 when true: 'p99>5ms'"),
            ("json", "Print one JSON object"),
            ("html", "Also write a page with curves"),
            ("compare", "Compare with an earlier --json"),
        ],
        rare: &["fail-fast", "dry-run"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_without_a_group_are_in_the_long_help_only() {
        const GROUPS: &[Group] = &[Group { heading: "First", common: &[("a", "few words")], rare: &["b"] }];
        let option = |name: &'static str| clap::Arg::new(name).long(name).help("many words");
        let command = || Command::new("x").args(["a", "b", "c"].map(option));
        let short = arrange(command(), GROUPS, true).render_help().to_string();
        assert!(short.contains("few words") && !short.contains("many words") && !short.contains("First"), "{short}");
        let long = arrange(command(), GROUPS, false).render_long_help().to_string();
        assert!(long.contains("First:") && long.contains("--b ") && long.contains("many words"), "{long}");
        assert!(long.contains("Other options:") && long.contains("--c ") && !long.contains("few words"), "{long}");
    }
}
