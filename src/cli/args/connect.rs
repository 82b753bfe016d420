//! The options of `connect`.

use clap::{Arg, ArgAction, ArgMatches};

use super::verbose;
use crate::cli::connect::{Connect, EventOptions, Terminal};
use crate::cli::load::{number, positive_time, time};
use crate::cli::socket_io::{self, TransportChoice};
use crate::cli::target;
use crate::cli::usage::Usage;

pub(super) fn command() -> clap::Command {
    clap::Command::new("connect")
        .about("Connects to a server: lines from the terminal, or bytes from a pipe")
        .long_about(
            "Connects to a server and sends lines from the terminal (`exit` or Ctrl-D ends it), or bytes from a pipe. Over \
             WebSocket each line is a message, over Socket.IO an event.",
        )
        .args(target::words::args())
        .arg(
            Arg::new("raw")
                .long("raw")
                .action(ArgAction::SetTrue)
                .help("Write control bytes from the server unchanged, not escaped"),
        )
        .arg(
            Arg::new("hex")
                .long("hex")
                .action(ArgAction::SetTrue)
                .help("WebSocket: write binary messages in hexadecimal; without it they end the connection. Socket.IO: write binary values so"),
        )
        .arg(
            Arg::new("crlf")
                .long("crlf")
                .action(ArgAction::SetTrue)
                .help(r"TCP: lines end in \r\n, also those of a pipe"),
        )
        .arg(
            number("timeout", "TIME")
                .value_parser(positive_time)
                .help("Give up if the connection is not made in this time: 500ms, 10s  [default: that of the system; 10s over WebSocket]"),
        )
        .arg(
            Arg::new("reconnect")
                .long("reconnect")
                .action(ArgAction::SetTrue)
                .help("WebSocket, Socket.IO: open a lost connection again, after 1 s, doubled up to 10 s"),
        )
        .arg(
            Arg::new("no-history")
                .long("no-history")
                .action(ArgAction::SetTrue)
                .help("At a terminal: neither read nor keep the lines of earlier sessions"),
        )
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("NAME")
                .value_parser(socket_io::event_option)
                .help("Socket.IO: a line is the text of this event, in both directions; other events are not shown"),
        )
        .arg(
            Arg::new("ack")
                .long("ack")
                .action(ArgAction::SetTrue)
                .help("Socket.IO: ask for the acknowledgement of every event, and show it"),
        )
        .arg(
            Arg::new("auth")
                .long("auth")
                .value_name("JSON")
                .value_parser(socket_io::check_auth)
                .help("Socket.IO: credentials for the server, a JSON object"),
        )
        .arg(
            Arg::new("transport")
                .long("transport")
                .value_name("TRANSPORT")
                .value_parser(TransportChoice::NAMES.map(|(name, _)| name))
                .hide_possible_values(true)
                .help("Socket.IO: websocket, polling, or auto: WebSocket, and polling if the handshake fails [default: auto]"),
        )
        .arg(
            number("linger", "TIME")
                .value_parser(time)
                .help("WebSocket: at the end of the input, wait this long for missing answers: 500ms, 1m [default: 5s; 1s at a terminal]"),
        )
        .arg(verbose())
        .after_help("Examples:\n  bucle connect example.org 7000\n  bucle connect ws://127.0.0.1:8081/ws")
        .after_long_help(format!("{NOTES}\n\n{EXAMPLES}"))
}

const EXAMPLES: &str = "Examples:\n  bucle connect\n  bucle connect example.org 7000\n  printf 'a\\nb\\n' | bucle connect :8080\n  bucle connect ws://127.0.0.1:8081/ws\n  bucle connect sio://127.0.0.1:8081/ --event \"chat message\"";

/// What `--help` of `connect` says below the options.
const NOTES: &str = "At a terminal the line can be edited. Left, Right, Home, End, Ctrl-Left, Ctrl-Right and Ctrl-A B E F move the \
             cursor. Backspace, Delete, Ctrl-U (to the start), Ctrl-K (to the end) and Ctrl-W (a word) delete. Up and Down \
             bring back sent lines, Ctrl-R searches them (again: older ones; Ctrl-G: leave). Ctrl-L clears the screen. With \
             --raw the terminal edits the line instead.\n\n\
             Sent lines are kept in ~/.local/state/bucle/history for the next session, unless --no-history is given. \
             Passwords are not: no line is kept while the server has switched the echo off, or after it has asked for a \
             password, and no line that begins with a blank.\n\n\
             WebSocket: a line is a text message in both directions, without its line break; a line break inside a \
             received message is written as \\n. At the end of the input the client waits for as many messages as it has \
             sent and for half a second of quiet, then it closes with 1000. A close code other than 1000 is reported, and \
             the exit code is 1 unless it is 1001 (going away).\n\n\
             Socket.IO: a line is the name of an event and its arguments as JSON: say \"hola\" 7. A name \
             with blanks is a JSON string, too. Received events are written in the same way. A ? at the end of a line asks \
             for the acknowledgement, which is written as say ? \"answer\". A refused namespace is exit code 3.";

/// Reads the options.
pub(super) fn connect_of(matches: &ArgMatches) -> Result<Connect, Usage> {
    Ok(Connect {
        target: target::words::typed("connect", matches)?,
        terminal: Terminal { raw: matches.get_flag("raw"), keeps_history: !matches.get_flag("no-history") },
        hex: matches.get_flag("hex"),
        crlf: matches.get_flag("crlf"),
        timeout: matches.get_one("timeout").copied(),
        linger: matches.get_one("linger").copied(),
        reconnect: matches.get_flag("reconnect"),
        events: EventOptions {
            event: matches.get_one::<String>("event").cloned(),
            ack: matches.get_flag("ack"),
            auth: matches.get_one::<String>("auth").cloned(),
            transport: matches.get_one::<String>("transport").and_then(|name| TransportChoice::of(name)),
        },
    })
}
