//! The flags of `bucle load`, for clap.

use std::path::PathBuf;

use clap::{Arg, ArgAction, value_parser};

use super::values::{connections, expect, max_reply, positive_time, procs, ramp, rate, size, sources};
use crate::cli::load::threshold::Threshold;
use crate::cli::load::units::{count, time};
use crate::cli::socket_io;
use crate::cli::target::words;

pub(crate) fn command() -> clap::Command {
    clap::Command::new("load")
        .about("Load-tests a server, and checks every reply")
        .long_about("Load-tests a TCP server of lines or bytes, a WebSocket server, or a Socket.IO server, and checks every reply")
        .args(words::args())
        .arg(number("connections", "N").short('c').default_value("10").value_parser(connections).help("Connections open at once"))
        .arg(number("duration", "TIME").short('d').value_parser(positive_time).help("Length of the steady phase  [default: 10s]"))
        .arg(number("requests", "N").short('n').value_parser(count).conflicts_with_all(["duration", "hold"]).help("Instead of -d: exactly N messages in the steady phase"))
        .arg(number("rate", "N[/s]").short('r').value_parser(rate).conflicts_with_all(["in-flight", "churn", "script", "hold"]).help("Open model: N messages a second in all, on schedule, whether or not replies came"))
        .arg(number("in-flight", "N").value_parser(count).conflicts_with_all(["churn", "script", "hold"]).help("Closed model: unanswered messages per connection  [default: 1]"))
        .arg(number("ramp", "TIME|N/s").value_parser(ramp).help("Make the connections evenly over TIME, or N a second  [default: at once]"))
        .arg(number("warmup", "TIME").value_parser(time).help("The same load before the steady phase, checked and counted separately  [default: 1s; 0 with -n, --hold]"))
        .arg(flag("hold").conflicts_with_all(["churn", "script", "expect", "crlf", "fail-fast", "binary", "event"]).help("Connect, stay idle for -d, close"))
        .arg(flag("churn").conflicts_with("script").help("Connect, send one message, read its reply, close, and repeat"))
        .arg(one("message", "TEXT").short('m').conflicts_with_all(["file", "script", "hold"]).allow_hyphen_values(true).help(r"The message to send; {conn} {seq} {rand:N} \n \r \t \\ \xHH  [default: {conn}:{seq} {rand:32}\n]"))
        .arg(number("size", "SIZE").value_parser(size).conflicts_with_all(["message", "file", "script", "hold"]).help("The default message, filled up to exactly this many bytes, its line end included"))
        .arg(one("file", "FILE").value_parser(value_parser!(PathBuf)).conflicts_with_all(["script", "hold"]).help("Messages from FILE, one per line, in turn; each connection starts at the top"))
        .arg(flag("crlf").help(r"Every message ends in \r\n"))
        .arg(flag("binary").help("WebSocket: the messages are binary, not text"))
        .arg(one("event", "NAME").value_parser(socket_io::event_option).help("Socket.IO: the event that carries the messages  [default: echo]"))
        .arg(one("auth", "JSON").value_parser(socket_io::check_auth).help("Socket.IO: credentials for the server, a JSON object"))
        .arg(flag("telnet").help("Remove telnet commands from replies and refuse all telnet options"))
        .arg(flag("skip-line").help("Each connection reads one line (a greeting) before it sends"))
        .arg(one("expect", "MODE").value_parser(expect).conflicts_with("script").help("What a reply must be: echo, line, prefix:TEXT, regex:REGEX, fanout, fanout:others, none  [default: echo]"))
        .arg(one("script", "FILE").value_parser(value_parser!(PathBuf)).help("A conversation, one step per line: send TEXT, expect TEXT, pause TIME, close; -d ends a pause"))
        .arg(flag("reconnect").conflicts_with("churn").help("Open a lost or refused connection anew, after 100 ms, doubled up to 5 s"))
        .arg(flag("fail-fast").help("End the run at the first reply that is not exact"))
        .arg(number("timeout", "TIME").default_value("5s").value_parser(positive_time).help("Time limit for a connect, and for each reply"))
        .arg(number("max-reply", "SIZE").default_value("64M").value_parser(max_reply).help("The longest message and reply; a longer reply is wrong"))
        .arg(number("procs", "N|auto").default_value("1").value_parser(procs).help("Number of processes that share the load"))
        .arg(one("source", "IP[-IP][,…]").value_parser(|text: &str| sources(text)).help("Source addresses, used in turn  [default: auto]"))
        .arg(one("fail-if", "CONDITION").action(ArgAction::Append).value_parser(Threshold::parse).help("Exit with 5 when true: 'p99>5ms', 'rate<10k', 'errors>0'; 5 alone is 5 seconds; can be repeated"))
        .arg(flag("json").help("Print the report as one JSON object"))
        .arg(one("html", "FILE").value_parser(value_parser!(PathBuf)).help("Write the report as a web page too, with curves"))
        .arg(one("compare", "FILE").value_parser(value_parser!(PathBuf)).help("Compare with FILE, earlier reports of --json with the same options: before, after, and the spread"))
        .arg(flag("dry-run").help("Print the plan and stop"))
        .arg(one("worker", "I/N/SEED").hide(true))
        .after_help(EXAMPLES)
        .after_long_help(format!("{HELP}\n\n{LONG_EXAMPLES}"))
}

/// What `-h` shows at its end.
const EXAMPLES: &str = "Examples:\n  bucle load :8080 -c 1k -d 30s\n  bucle load :8080 -r 50k --fail-if 'p99>5ms'";

const LONG_EXAMPLES: &str = "Examples:\n  bucle load\n  bucle load :8080 -c 1k -d 30s\n  bucle load :8080 -r 50k --fail-if 'p99>5ms'\n  bucle load :8080 -c 100k --hold --procs auto\n  bucle load ws://127.0.0.1:8081/ -c 50 -r 20k\n  bucle load sio://127.0.0.1:3000/ -c 50 --event echo";

/// What `--help` says below the options.
const HELP: &str = "Times take us, ms, s, m or h; a number without a unit is seconds. Counts take k and M: 1k is 1000. Sizes take k and M too, or kB and MB (units of 1000), or KiB and MiB (units of 1024).\n\n\
             ws://: a message is one text message, or a binary one with --binary. No line end is added or needed: the \
             default message and those of --size and --file have none, and -m is sent as it is. A reply is one message of \
             the same type, and a greeting (--skip-line) is one message. Without a port it is 80. There is no TLS (wss://).\n\n\
             sio://: over WebSocket only. A message is an event with one string, and its reply is the acknowledgement, which \
             must bring the string back (--expect echo). Other events of the server are ignored; a greeting (--skip-line) \
             is one event. A refused namespace is a failed connect. There are no fan-outs and no scripts.\n\n\
             Exit codes: 0 all right. 1 a connect failed, a connection was lost, or the report or the page of --html could \
             not be written. 2 the command line is wrong. 3 no connection could be made. 4 a message was wrong, missing, \
             out of order, duplicate, unexpected or unsent, or none was sent in the steady phase. 5 a --fail-if was true. \
             6 a limit of the machine is too low. 130 Ctrl-C. If several apply, it is the first of 130, 3, 4, 5, 1 and 0.";

fn one(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value)
}

/// An option whose value is a number, a time or a size. The value may begin with a minus: our own parser then explains
/// the error, and it refuses a flag too. Options for paths or text do not allow this, because the next
/// flag would be taken for a value that was forgotten.
pub(crate) fn number(name: &'static str, value: &'static str) -> Arg {
    one(name, value).allow_hyphen_values(true)
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}
