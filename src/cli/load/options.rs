//! The options of `bucle load`.
//!
//! clap knows the flags and which of them exclude each other; `values` reads the single values; this file checks them
//! together. Each error is a sentence that says what is wrong and what to type instead, and comes before anything is
//! connected.

mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bucle::websocket::frame::Opcode;
use bucle::websocket::handshake;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::check::{Expect, Fanout};
use super::message::{LineEnd, Messages, Template, unescape};
use super::schedule::Schedule;
use super::script::Script;
use super::threshold::Threshold;
use super::units::{count, nanos, time};
use crate::cli::socket_io::{self, Place};
use crate::cli::target::{Address, words};
pub(crate) use values::{Procs, Ramp, Sources, Target, positive_time};
use values::{connections, expect, max_reply, procs, ramp, rate, size, sources, target};

/// The default message. All messages are different, and each names its connection. For `ws://` it has no line end.
const MESSAGE: &str = "{conn}:{seq} {rand:32}\\n";

/// The default of `--event`.
const EVENT: &str = "echo";

/// The default of `--max-reply`.
const MAX_REPLY: u64 = 64_000_000;

/// The options of a run.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) place: Address,
    pub(crate) protocol: Protocol,
    pub(crate) connections: u64,
    pub(crate) model: Model,
    pub(crate) length: Length,
    pub(crate) ramp: Ramp,
    pub(crate) warmup: Duration,
    pub(crate) messages: Messages,
    pub(crate) telnet: bool,
    pub(crate) skip_line: bool,
    pub(crate) expect: Expect,
    /// Whether a lost or refused connection is opened anew.
    pub(crate) reconnect: bool,
    /// Whether the run ends at the first reply that is not exact.
    pub(crate) fail_fast: bool,
    pub(crate) timeout: Duration,
    /// The longest message and the longest reply, in bytes.
    pub(crate) max_reply: u64,
    pub(crate) procs: Procs,
    pub(crate) sources: Sources,
    pub(crate) fail_if: Vec<Threshold>,
    pub(crate) json: bool,
    pub(crate) html: Option<PathBuf>,
    /// Reports to compare with.
    pub(crate) compare: Option<PathBuf>,
    pub(crate) dry_run: bool,
    /// Warnings about options that are valid, but perhaps not meant.
    pub(crate) warnings: Vec<String>,
    /// Set in a worker process: its share of the work.
    pub(crate) worker: Option<String>,
}

impl Load {
    /// The length of the steady phase in nanoseconds, if the options determine it.
    pub(crate) fn steady_ns(&self) -> Option<u64> {
        match (self.length, &self.model) {
            (Length::For(time), _) => Some(nanos(time)),
            (Length::Messages(count), Model::Open { rate }) => {
                u64::try_from(u128::from(count) * 1_000_000_000 / u128::from(*rate)).ok()
            }
            (Length::Messages(_), _) => None,
        }
    }

    /// The length of the longest text that is sent or expected.
    pub(crate) fn longest_message(&self) -> u64 {
        match &self.model {
            Model::Hold => 0,
            Model::Script(script) => script.longest(self.connections),
            _ => self.messages.longest(self.connections),
        }
    }

    /// Whether replies are compared with what is expected.
    pub(crate) fn is_checked(&self) -> bool {
        match self.model {
            Model::Hold => false,
            Model::Script(_) => true,
            _ => !matches!(self.expect, Expect::None),
        }
    }

    /// The name of what a reply must be, as it is typed.
    pub(crate) fn expect_name(&self) -> String {
        match self.model {
            Model::Script(_) => "script".to_owned(),
            _ => self.expect.name(),
        }
    }

    /// `tcp://127.0.0.1:8080`, `unix:/run/app.sock`, `ws://127.0.0.1:8080/path` or `sio://127.0.0.1:8080/namespace`.
    pub(crate) fn target_url(&self) -> String {
        match &self.protocol {
            Protocol::WebSocket { target, socket_io: Some(socket_io), .. } => {
                return format!("sio://{}{}", target.authority, socket_io.namespace);
            }
            Protocol::WebSocket { target, .. } => return format!("ws://{}{}", target.authority, target.path_and_query),
            Protocol::Tcp => {}
        }
        match &self.place {
            Address::Tcp(..) => format!("tcp://{}", self.place),
            Address::Unix(_) => self.place.to_string(),
        }
    }
}

/// The protocol of the connections.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    /// Messages are lines or bytes, over TCP or a unix socket.
    Tcp,
    /// Messages are WebSocket messages of this type: text or binary. With Socket.IO they are events.
    WebSocket { target: handshake::Target, opcode: Opcode, socket_io: Option<Arc<SocketIo>> },
}

/// The namespace and the events of a load over Socket.IO.
#[derive(Clone, Debug)]
pub(crate) struct SocketIo {
    pub(crate) namespace: String,
    /// The credentials for the server, a JSON object.
    pub(crate) auth: Option<String>,
    /// The name of the event. Its argument is the message.
    pub(crate) event: String,
}

impl Protocol {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::WebSocket { socket_io: None, .. } => "websocket",
            Protocol::WebSocket { socket_io: Some(_), .. } => "socket.io",
        }
    }

    pub(crate) fn socket_io(&self) -> Option<&Arc<SocketIo>> {
        match self {
            Protocol::WebSocket { socket_io, .. } => socket_io.as_ref(),
            Protocol::Tcp => None,
        }
    }

    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self, Protocol::WebSocket { .. })
    }
}

/// The load model: when a message is sent.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    /// When its connection has fewer than `in_flight` unanswered messages.
    Closed { in_flight: u64 },
    /// On schedule, `rate` messages a second over all connections.
    Open { rate: u64 },
    /// Never: the connections are held idle.
    Hold,
    /// Once on each connection, which then closes and is opened again.
    Churn,
    /// As the steps of the script require.
    Script(Script),
}

impl Model {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Model::Closed { .. } => "closed",
            Model::Open { .. } => "open",
            Model::Hold => "hold",
            Model::Churn => "churn",
            Model::Script(_) => "script",
        }
    }

    pub(crate) fn rate(&self) -> Option<u64> {
        match self {
            Model::Open { rate } => Some(*rate),
            _ => None,
        }
    }
}

/// The length of the steady phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    For(Duration),
    /// This many messages; with `--churn` connections, with `--script` passes.
    Messages(u64),
}

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
        .arg(flag("hold").conflicts_with_all(["churn", "script"]).help("Connect, stay idle for -d, close"))
        .arg(flag("churn").conflicts_with("script").help("Connect, send one message, read its reply, close, and repeat"))
        .arg(one("message", "TEXT").short('m').conflicts_with_all(["file", "script", "hold"]).allow_hyphen_values(true).help(r"The message to send; {conn} {seq} {rand:N} \n \r \t \\ \xHH  [default: {conn}:{seq} {rand:32}\n]"))
        .arg(number("size", "BYTES").value_parser(size).conflicts_with_all(["message", "file", "script", "hold"]).help("The default message, filled up to exactly BYTES including its line end"))
        .arg(one("file", "FILE").value_parser(value_parser!(PathBuf)).conflicts_with_all(["script", "hold"]).help("Messages from FILE, one per line, in turn; each connection starts at the top"))
        .arg(flag("crlf").help(r"Every message ends in \r\n"))
        .arg(flag("binary").help("ws://: the messages are binary, not text"))
        .arg(one("event", "NAME").value_parser(socket_io::check_event).help("sio://: the event that carries the messages  [default: echo]"))
        .arg(one("auth", "JSON").value_parser(socket_io::check_auth).help("sio://: credentials for the server, a JSON object"))
        .arg(flag("telnet").help("Remove telnet commands from replies and refuse all telnet options"))
        .arg(flag("skip-line").help("Each connection reads one line (a greeting) before it sends"))
        .arg(one("expect", "MODE").value_parser(expect).conflicts_with("script").help("What a reply must be: echo, line, prefix:TEXT, regex:REGEX, fanout, fanout:others, none  [default: echo]"))
        .arg(one("script", "FILE").value_parser(value_parser!(PathBuf)).help("A conversation, one step per line: send TEXT, expect TEXT, pause TIME, close; -d ends a pause"))
        .arg(flag("reconnect").conflicts_with("churn").help("Open a lost or refused connection anew, after 100 ms, doubled up to 5 s"))
        .arg(flag("fail-fast").help("End the run at the first reply that is not exact"))
        .arg(number("timeout", "TIME").default_value("5s").value_parser(positive_time).help("Time limit for a connect, and for each reply"))
        .arg(number("max-reply", "BYTES").default_value("64M").value_parser(max_reply).help("The longest message and reply; a longer reply is wrong"))
        .arg(number("procs", "N|auto").default_value("1").value_parser(procs).help("Number of processes that share the load"))
        .arg(one("source", "IP[-IP][,…]").value_parser(|text: &str| sources(text)).help("Source addresses, used in turn  [default: auto]"))
        .arg(one("fail-if", "METRIC OP VALUE").action(ArgAction::Append).value_parser(Threshold::parse).help("Exit with 5 when true: 'p99>5ms', 'rate<10k', 'errors>0'; 5 alone is 5 seconds; repeatable"))
        .arg(flag("json").help("Print the report as one JSON object"))
        .arg(one("html", "FILE").value_parser(value_parser!(PathBuf)).help("Write the report as a web page too, with curves"))
        .arg(one("compare", "OLD.json").value_parser(value_parser!(PathBuf)).help("Compare with earlier reports of --json with the same options: before, after, and the spread"))
        .arg(flag("dry-run").help("Print the plan and stop"))
        .arg(one("worker", "I/N/SEED").hide(true))
        .after_help(EXAMPLES)
        .after_long_help(format!("{HELP}\n\n{LONG_EXAMPLES}"))
}

/// What `-h` shows at its end.
const EXAMPLES: &str = "Examples:\n  bucle load :8080 -c 1k -d 30s\n  bucle load :8080 -r 50k --fail-if 'p99>5ms'";

const LONG_EXAMPLES: &str = "Examples:\n  bucle load\n  bucle load :8080 -c 1k -d 30s\n  bucle load :8080 -r 50k --fail-if 'p99>5ms'\n  bucle load :8080 -c 100k --hold --procs auto\n  bucle load ws://127.0.0.1:8081/ -c 50 -r 20k\n  bucle load sio://127.0.0.1:3000/ -c 50 --event echo";

/// What `--help` says below the options.
const HELP: &str = "Times take us, ms, s, m or h; a number without a unit is seconds. Counts take k and M.\n\n\
             ws://: a message is one text message, or a binary one with --binary. No line end is added or needed: the \
             default message and those of --size and --file have none, and -m is sent as it is. A reply is one message of \
             the same type, and a greeting (--skip-line) is one message. Without a port it is 80. There is no TLS (wss://).\n\n\
             sio://: over WebSocket only. A message is an event with one string, and its reply is the acknowledgement, which \
             must bring the string back (--expect echo). Other events of the server are ignored; a greeting (--skip-line) \
             is one event. A refused namespace is a failed connect. There are no fan-outs and no scripts.";

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

/// Builds the options from what clap has read. `Err` is a sentence: what is wrong, and what to type instead.
pub(crate) fn load_of(matches: &ArgMatches) -> Result<Load, String> {
    let text = words::typed(matches)?;
    let target = target(&text).map_err(|why| words::cannot_understand(&text, &why))?;
    let opcode = if matches.get_flag("binary") { Opcode::Binary } else { Opcode::Text };
    let (place, protocol) = match target {
        Target::Plain(_) | Target::SocketIo(_) if opcode == Opcode::Binary => {
            return Err("--binary is for WebSocket: leave it out, or try  ws://HOST:PORT/PATH".to_owned());
        }
        Target::Plain(_) | Target::WebSocket(_) if matches.contains_id("event") || matches.contains_id("auth") => {
            return Err("--event and --auth are for Socket.IO: leave them out, or try  sio://HOST:PORT/".to_owned());
        }
        Target::Plain(place) => (place, Protocol::Tcp),
        Target::WebSocket(target) => {
            let place = Address::Tcp(target.host.clone(), target.port);
            (place, Protocol::WebSocket { target, opcode, socket_io: None })
        }
        Target::SocketIo(Place { target, namespace }) => {
            let auth = matches.get_one::<String>("auth").cloned();
            let event = matches.get_one::<String>("event").cloned().unwrap_or_else(|| EVENT.to_owned());
            let socket_io = Some(Arc::new(SocketIo { namespace, auth, event }));
            let place = Address::Tcp(target.host.clone(), target.port);
            (place, Protocol::WebSocket { target, opcode, socket_io })
        }
    };
    let expect = matches.get_one::<Expect>("expect").cloned().unwrap_or(Expect::Echo);
    let line_end = if matches.get_flag("crlf") { LineEnd::CrLf } else { LineEnd::AsIs };
    let script = matches.get_one::<PathBuf>("script").map(|path| Script::parse(&read(path)?, line_end)).transpose()?;
    let requests = matches.get_one::<u64>("requests").copied();
    let model = match (script, matches.get_one::<u64>("rate")) {
        (Some(script), _) => Model::Script(script),
        (None, Some(&rate)) => Model::Open { rate },
        _ if matches.get_flag("hold") => Model::Hold,
        _ if matches.get_flag("churn") => Model::Churn,
        _ => Model::Closed { in_flight: matches.get_one("in-flight").copied().unwrap_or(1) },
    };
    let length = match requests {
        Some(count) => Length::Messages(count),
        None => Length::For(matches.get_one("duration").copied().unwrap_or(Duration::from_secs(10))),
    };
    let has_warmup = requests.is_none() && !matches!(model, Model::Hold);
    let warmup = matches.get_one("warmup").copied();
    let mut messages = messages(matches, line_end, protocol.is_websocket())?;
    let is_typed = matches.contains_id("message");
    let expects_lines = matches!(expect, Expect::Line | Expect::Prefix(_) | Expect::Regex(_));
    let adds_break = is_typed && expects_lines && !protocol.is_websocket() && !messages.are_lines();
    if adds_break {
        messages.add_line_breaks();
    }
    let load = Load {
        place,
        protocol,
        connections: matches.get_one("connections").copied().unwrap_or(10),
        length,
        ramp: matches.get_one("ramp").copied().unwrap_or(Ramp::AtOnce),
        warmup: warmup.unwrap_or(Duration::from_secs(u64::from(has_warmup))),
        messages,
        telnet: matches.get_flag("telnet"),
        skip_line: matches.get_flag("skip-line"),
        reconnect: matches.get_flag("reconnect"),
        fail_fast: matches.get_flag("fail-fast"),
        timeout: matches.get_one("timeout").copied().unwrap_or(Duration::from_secs(5)),
        max_reply: matches.get_one("max-reply").copied().unwrap_or(MAX_REPLY),
        procs: matches.get_one("procs").copied().unwrap_or(Procs::Count(1)),
        sources: matches.get_one("source").cloned().unwrap_or(Sources::Auto),
        fail_if: matches.get_many::<Threshold>("fail-if").into_iter().flatten().cloned().collect(),
        json: matches.get_flag("json"),
        html: matches.get_one::<PathBuf>("html").cloned(),
        compare: matches.get_one::<PathBuf>("compare").cloned(),
        dry_run: matches.get_flag("dry-run"),
        warnings: Vec::new(),
        worker: matches.get_one::<String>("worker").cloned(),
        model,
        expect,
    };
    check(&load)?;
    let added = adds_break.then(|| {
        let expect = load.expect.name();
        let mode = expect.split(':').next().unwrap_or_default();
        format!(r"a line break is added to -m, because --expect {mode} is for servers of lines: -m 'TEXT\n' has it")
    });
    let warnings = mistaken(&load).into_iter().chain(added).collect();
    Ok(Load { warnings, ..load })
}

/// A warning about words in braces that are not placeholders. They are sent as text, which may be meant, or a typing
/// error.
fn mistaken(load: &Load) -> Option<String> {
    let mut words: Vec<String> = match &load.model {
        Model::Script(script) => script.mistaken().collect(),
        _ => load.messages.mistaken().collect(),
    };
    words.dedup();
    words.truncate(3);
    let is_or_are = if words.len() == 1 {
        "is not a placeholder and is sent as it is"
    } else {
        "are not placeholders and are sent as they are"
    };
    let list = words.join(" ");
    (!words.is_empty()).then(|| format!("{list} {is_or_are}; the placeholders are {{conn}}, {{seq}} and {{rand:N}}"))
}

/// Checks that clap cannot make.
fn check(load: &Load) -> Result<(), String> {
    if let (Model::Open { rate }, Length::For(time)) = (&load.model, load.length)
        && let due = Schedule::first_from(*rate, load.warmup)
        && due >= load.warmup.as_nanos() + time.as_nanos()
    {
        return Err(format!(
            "at {rate} a second no message is due in the steady phase: use a longer -d or a higher -r"
        ));
    }
    if matches!((&load.place, &load.sources), (Address::Unix(_), Sources::These(_))) {
        return Err("a unix socket has no source address: leave out --source".to_owned());
    }
    if let Expect::Fanout(kind) = load.expect {
        if kind == Fanout::Others && load.connections < 2 {
            return Err("--expect fanout:others needs at least two connections: try  -c 2".to_owned());
        }
        if matches!(load.model, Model::Churn) {
            return Err("--churn closes each connection before a fan-out can reach it: leave out --churn or --expect"
                .to_owned());
        }
        if load.procs != Procs::Count(1) && load.worker.is_none() {
            return Err(
                "a fan-out is checked in one process, which needs all connections: leave out --procs".to_owned()
            );
        }
        if load.reconnect {
            return Err("the server of a fan-out may not know a new connection yet when the next message is sent: \
                        leave out --reconnect"
                .to_owned());
        }
        if load.protocol.is_websocket() && !load.messages.are_tagged() {
            return Err("with --expect fanout every message must begin with '{conn}:{seq} ': \
                        try  -m '{conn}:{seq} hola'"
                .to_owned());
        }
        if !load.protocol.is_websocket() && !load.messages.are_tagged_lines() {
            return Err("with --expect fanout every message must be one line that begins with '{conn}:{seq} ': \
                        try  -m '{conn}:{seq} hola\\n'"
                .to_owned());
        }
    }
    if load.protocol.socket_io().is_some() {
        if matches!(load.expect, Expect::Fanout(_)) {
            return Err("a fan-out is not checked over Socket.IO, only acknowledgements: leave out --expect".to_owned());
        }
        if matches!(load.model, Model::Script(_)) {
            return Err("--script is for TCP and WebSocket: leave it out, or try  ws://HOST:PORT/PATH".to_owned());
        }
    }
    if let Protocol::WebSocket { opcode, ref socket_io, .. } = load.protocol {
        if load.telnet {
            return Err("--telnet is for TCP, and the target is a WebSocket: leave out --telnet".to_owned());
        }
        let are_utf8 = match &load.model {
            Model::Script(script) => script.sends_utf8(),
            _ => load.messages.are_utf8(),
        };
        if opcode == Opcode::Text && !are_utf8 {
            return Err(match socket_io {
                Some(_) => "a message is not valid UTF-8, but a string must be: write other characters".to_owned(),
                None => "a message is not valid UTF-8, but a text message must be: try  --binary".to_owned(),
            });
        }
    }
    Ok(())
}

fn messages(matches: &ArgMatches, line_end: LineEnd, is_websocket: bool) -> Result<Messages, String> {
    let text = matches.get_one::<String>("message");
    // In `-m` a line end is typed, so it is meant.
    let removes = is_websocket && line_end == LineEnd::AsIs && text.is_none();
    let line_end = if removes { LineEnd::Removed } else { line_end };
    if let Some(path) = matches.get_one::<PathBuf>("file") {
        return Messages::from_file(&read(path)?, line_end)
            .map_err(|why| format!("{}: {why}; write one message a line", path.display()));
    }
    if let Some(&size) = matches.get_one::<u64>("size") {
        return Ok(Messages::filled(size as usize, line_end));
    }
    let text = text.map_or(MESSAGE, String::as_str);
    Ok(Messages::one(Template::parse(&unescape(text)?)?, line_end))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}; check the file name", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Load, String> {
        let matches = command().try_get_matches_from([&["load"], args].concat()).map_err(|error| error.to_string())?;
        load_of(&matches)
    }

    #[test]
    fn options_that_exclude_each_other() {
        let table: &[(&[&str], bool)] = &[
            (&[], true),
            (&["-n", "5"], true),
            (&["-n", "5", "-d", "1s"], false),
            (&["-r", "5/s", "--in-flight", "2"], false),
            (&["-r", "5", "--churn"], false),
            (&["-r", "5", "--script", "x"], false),
            (&["--in-flight", "5"], true),
            (&["--hold", "-d", "1s"], true),
            (&["--hold", "-n", "1"], false),
            (&["--hold", "--churn"], false),
            (&["--size", "32"], true),
            (&["--size", "31"], false),
            (&["--size", "32", "-m", "x"], false),
            (&["-m", ""], false),
            (&["-m", r"\q"], false),
            (&["-m", "hola"], true),
            (&["-m", "-hola"], true),
            (&["-c", "0"], false),
            (&["-d", "0"], false),
            (&["--warmup", "0"], true),
            (&["--timeout", "0"], false),
            (&["--max-reply", "1M"], true),
            (&["--max-reply", "0"], false),
            (&["--max-reply", "2000M"], false),
            (&["--expect", "fanout"], true),
            (&["--expect", "fanout", "-m", r"hola\n"], false),
            (&["--expect", "fanout", "-m", "{conn}:{seq} hola"], false),
            (&["--expect", "fanout", "-m", r"{conn}:{seq} a\nb\n"], false),
            (&["--expect", "fanout:others", "-m", r"{conn}:{seq} b\n"], true),
            (&["--expect", "fanout:others", "-c", "1"], false),
            (&["--expect", "fanout", "--procs", "2"], false),
            (&["--expect", "fanout", "--procs", "auto"], false),
            (&["--expect", "fanout", "--churn"], false),
            (&["--reconnect"], true),
            (&["--reconnect", "--hold"], true),
            (&["--reconnect", "--churn"], false),
            (&["--reconnect", "--expect", "fanout"], false),
            (&["--fail-fast", "-r", "5"], true),
            (&["--expect", "regex:("], false),
            (&["--expect", "prefix:OK"], true),
            (&["--expect", "all"], false),
            (&["--fail-if", "p99>5ms", "--fail-if", "rate<1k/s"], true),
            (&["--fail-if", "p98>5ms"], false),
            (&["--file", "/nowhere/at/all"], false),
            (&["--script", "/nowhere/at/all"], false),
            (&["--ramp", "100/s"], true),
            (&["--ramp", "x"], false),
            (&["--procs", "auto"], true),
            (&["--procs", "0"], false),
            (&["--bogus"], false),
        ];
        for (args, is_fine) in table {
            assert_eq!(parse(args).is_ok(), *is_fine, "{args:?}: {:?}", parse(args).err());
        }
    }

    #[test]
    fn messages_of_a_websocket_have_no_line_end_unless_it_is_typed() {
        let text = |args: &[&str]| {
            let load = parse(&[&["ws://h:1/p"], args].concat()).expect("options that fit");
            assert_eq!(load.target_url(), "ws://h:1/p");
            String::from_utf8(load.messages.text(7, 3)).expect("text")
        };
        assert!(text(&[]).starts_with("7:3 ") && text(&[]).len() == 4 + 32);
        assert_eq!(text(&["-m", r"a\n"]), "a\n");
        assert_eq!(text(&["-m", "a", "--crlf"]), "a\r\n");
        assert!(text(&["--size", "40"]).len() == 40 && !text(&["--size", "40"]).ends_with('\n'));
        let table: &[(&[&str], bool)] = &[
            (&["ws://h", "--binary", "-m", r"\xff"], true),
            (&["ws://h", "-m", r"\xff"], false),
            (&["ws://h", "-m", r"\xc3{seq}\xa9"], false),
            (&["ws://h", "-m", r"\xc3\xa9{seq}"], true),
            (&["ws://h", "--telnet"], false),
            (&["h", "--binary"], false),
            (&["ws://h", "--expect", "fanout"], true),
            (&["ws://h", "--expect", "fanout", "-m", "{conn}:{seq} a"], true),
            (&["ws://h", "--expect", "fanout", "-m", "a"], false),
            (&["wss://h"], false),
            (&["sio://h"], true),
            (&["sio://h/admin", "--event", "say", "--auth", r#"{"token":"x"}"#], true),
            (&["sio://h", "--event", "connect"], false),
            (&["sio://h", "--auth", "x"], false),
            (&["sio://h", "--binary"], false),
            (&["sio://h", "--telnet"], false),
            (&["sio://h", "--expect", "fanout"], false),
            (&["sio://h", "-m", r"\xff"], false),
            (&["ws://h", "--event", "say"], false),
            (&["h", "--auth", "{}"], false),
        ];
        for (args, is_fine) in table {
            assert_eq!(parse(args).is_ok(), *is_fine, "{args:?}: {:?}", parse(args).err());
        }
    }

    #[test]
    fn a_line_break_is_added_to_a_typed_message_if_the_replies_are_lines() {
        let table: &[(&[&str], &str, usize)] = &[
            (&["-m", "a"], "a", 0),
            (&["-m", "a", "--expect", "none"], "a", 0),
            (&["-m", "a", "--expect", "line"], "a\n", 1),
            (&["-m", "{seq}", "--expect", "prefix:x"], "0\n", 1),
            (&["-m", r"a\nb", "--expect", "regex:x"], "a\nb\n", 1),
            (&["-m", r"a\n", "--expect", "line"], "a\n", 0),
            (&["-m", "a", "--expect", "line", "--crlf"], "a\r\n", 0),
            (&["ws://h", "-m", "a", "--expect", "line"], "a", 0),
        ];
        for (args, want, warnings) in table {
            let load = parse(args).expect("options that fit");
            let text = String::from_utf8(load.messages.text(0, 0)).expect("text");
            assert_eq!((text.as_str(), load.warnings.len()), (*want, *warnings), "{args:?}");
        }
    }

    #[test]
    fn the_default_warm_up_depends_on_the_model() {
        let warmup = |args: &[&str]| parse(args).map(|load| load.warmup.as_secs());
        assert_eq!(warmup(&[]), Ok(1));
        assert_eq!(warmup(&["-n", "5"]), Ok(0));
        assert_eq!(warmup(&["--hold"]), Ok(0));
        assert_eq!(warmup(&["--churn"]), Ok(1));
        assert_eq!(warmup(&["-n", "5", "--warmup", "2s"]), Ok(2));
    }
}
