//! The options of `bucle load`.
//!
//! clap knows the flags and which of them exclude each other (`command`); `values` reads the single values; `checks`
//! looks at all of them together. Each error says what is wrong and what to type instead, and comes before anything is
//! connected.

mod checks;
mod command;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bucle::websocket::frame::Opcode;
use bucle::websocket::handshake;
use clap::ArgMatches;

use super::check::Expect;
use super::handover;
use super::message::{LineEnd, Messages, Template, unescape};
use super::script::Script;
use super::threshold::Threshold;
use super::units::nanos;
use crate::cli::advice::cannot_read;
use crate::cli::socket_io::Place;
use crate::cli::target::{Address, words};
use crate::cli::usage::Usage;
pub(crate) use command::{command, number};
use values::target;
pub(crate) use values::{MOST_PROCS, Procs, Ramp, Sources, Target, positive_time};

/// The default message. All messages are different, and each names its connection. For `ws://` it has no line end.
const MESSAGE: &str = "{conn}:{seq} {rand:32}\\n";

/// The default of `--event`.
const EVENT: &str = "echo";

/// A command that prints a file for `--file`.
const FILE: &str = r"printf 'hola {seq}\nadiós {seq}\n'";

/// A command that prints a file for `--script`. The server gets a line break, so that the script has one escaped.
const SCRIPT: &str = r"printf '%s\n' 'send hola\n' 'expect hola'";

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
    /// The bytes of `--file` or `--script` for the workers, if there may be any.
    pub(crate) input: Option<Arc<[u8]>>,
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

    /// How long a text that is sent or expected can be.
    pub(crate) fn longest_message(&self) -> u64 {
        let last = match self.length {
            // A single connection may send all messages. A pass that could not connect uses a number, too.
            Length::Messages(count) if self.warmup.is_zero() && !self.reconnect => count - 1,
            _ => u64::MAX,
        };
        match &self.model {
            Model::Hold => 0,
            Model::Script(script) => script.longest(self.connections, last),
            _ => self.messages.longest(self.connections, last),
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

    /// The transport of Socket.IO.
    pub(crate) fn transport(&self) -> Option<&'static str> {
        self.socket_io().map(|_| "websocket")
    }

    pub(crate) fn socket_io(&self) -> Option<&Arc<SocketIo>> {
        match self {
            Protocol::WebSocket { socket_io, .. } => socket_io.as_ref(),
            Protocol::Tcp => None,
        }
    }

    /// Whether messages are sent as binary messages of WebSocket.
    pub(crate) fn is_binary(&self) -> bool {
        matches!(self, Protocol::WebSocket { opcode: Opcode::Binary, .. })
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

/// Builds the options from what clap has read.
pub(crate) fn load_of(matches: &ArgMatches) -> Result<Load, Usage> {
    let text = words::typed("load", matches)?;
    let target = target(&text).map_err(|why| words::cannot_understand("load", &text, &why))?;
    let opcode = if matches.get_flag("binary") { Opcode::Binary } else { Opcode::Text };
    let (place, protocol) = match target {
        Target::Plain(_) | Target::SocketIo(_) if opcode == Opcode::Binary => {
            let why = format!("--binary is for WebSocket, and the target is {}", target.kind());
            return Err(Usage::new(why, "bucle load ws://HOST:PORT/PATH --binary"));
        }
        Target::Plain(_) | Target::WebSocket(_) if let Some((option, value)) = only_socket_io(matches) => {
            let why = format!("{option} is for Socket.IO, and the target is {}", target.kind());
            return Err(Usage::new(why, format!("bucle load sio://HOST:PORT/ {option} {value}")));
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
    let input = input(matches)?;
    let bytes = input.as_deref().unwrap_or_default();
    let script = matches.get_one::<PathBuf>("script").map(|path| script(path, bytes, line_end)).transpose()?;
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
    let mut messages = messages(matches, bytes, line_end, protocol.is_websocket())?;
    let is_typed = matches.contains_id("message");
    let expects_lines = matches!(expect, Expect::Line | Expect::Prefix(_) | Expect::Regex(_));
    let adds_break = is_typed && expects_lines && !protocol.is_websocket() && !messages.are_lines();
    if adds_break {
        messages.add_line_breaks();
    }
    let procs = matches.get_one("procs").copied().unwrap_or(Procs::Count(1));
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
        procs,
        input: input.filter(|_| procs != Procs::Count(1)).map(Arc::from),
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
    checks::check(&load)?;
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

/// The messages. `input`: the bytes of `--file`.
fn messages(matches: &ArgMatches, input: &[u8], line_end: LineEnd, is_websocket: bool) -> Result<Messages, Usage> {
    let text = matches.get_one::<String>("message");
    // In `-m` a line end is typed, so it is meant.
    let removes = is_websocket && line_end == LineEnd::AsIs && text.is_none();
    let line_end = if removes { LineEnd::Removed } else { line_end };
    if let Some(path) = matches.get_one::<PathBuf>("file") {
        return Messages::from_file(input, line_end).map_err(|why| {
            let path = path.display();
            Usage::new(format!("--file: {path}: {why}; it has one message a line"), format!("{FILE} > FILE"))
        });
    }
    if let Some(&size) = matches.get_one::<u64>("size") {
        return Ok(Messages::filled(size as usize, line_end));
    }
    let text = text.map_or(MESSAGE, String::as_str);
    let template = unescape(text).and_then(|bytes| Template::parse(&bytes));
    let template = template.map_err(|why| Usage::new(format!("-m: {why}"), r"bucle load … -m 'hola {seq}\n'"))?;
    Ok(Messages::one(template, line_end))
}

fn script(path: &Path, bytes: &[u8], line_end: LineEnd) -> Result<Script, Usage> {
    Script::parse(bytes, line_end).map_err(|why| {
        let path = path.display();
        Usage::new(format!("--script: {path}: {why}"), format!("{SCRIPT} > FILE      for an example"))
    })
}

/// The first of the options that are for Socket.IO only, with its value.
fn only_socket_io(matches: &ArgMatches) -> Option<(&'static str, String)> {
    let value = |(id, option)| matches.get_one::<String>(id).map(|value| (option, format!("'{value}'")));
    [("event", "--event"), ("auth", "--auth")].into_iter().find_map(value)
}

/// The bytes of `--file` or `--script`; a worker gets them from its parent. The error has a command that writes a file.
fn input(matches: &ArgMatches) -> Result<Option<Vec<u8>>, Usage> {
    let options = [("file", "--file", FILE), ("script", "--script", SCRIPT)];
    let path = |(id, option, example)| Some((matches.get_one::<PathBuf>(id)?, option, example));
    let Some((path, option, example)) = options.into_iter().find_map(path) else { return Ok(None) };
    let bytes = if matches.contains_id("worker") { handover::receive() } else { std::fs::read(path) };
    bytes.map(Some).map_err(|error| cannot_read(option, path, &error, |name| format!("{example} > {name}")))
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::Fingerprint;
    use super::*;

    fn parse(args: &[&str]) -> Result<Load, String> {
        let matches = command().try_get_matches_from([&["load"], args].concat()).map_err(|error| error.to_string())?;
        load_of(&matches).map_err(|usage| usage.why)
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
            // Nothing is sent or checked.
            (&["--hold", "--expect", "line"], false),
            (&["--hold", "--crlf"], false),
            (&["--hold", "--fail-fast"], false),
            (&["--hold", "ws://h", "--binary"], false),
            (&["--hold", "sio://h", "--event", "say"], false),
            (&["--hold", "--skip-line", "--telnet", "--reconnect"], true),
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
            (&["--expect", "none", "--fail-if", "rate<1k", "--fail-if", "errors>0"], true),
            (&["--expect", "none", "--fail-if", "rate<1k", "--fail-if", "p99>5ms"], false),
            (&["--expect", "none", "--fail-if", "wrong>0"], false),
            (&["--hold", "--fail-if", "errors>0"], true),
            (&["--hold", "--fail-if", "rate<1"], false),
            (&["--hold", "--fail-if", "max>1s"], false),
            (&["--expect", "none", "--fail-if", "missing>0"], false),
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
    fn options_that_send_the_same_bytes_have_the_same_fingerprint() {
        let of = |args: &[&str]| {
            let mut fingerprint = Fingerprint::new();
            parse(args).expect("options that fit").messages.add_to(&mut fingerprint);
            fingerprint.text()
        };
        let path = std::env::temp_dir().join(format!("bucle-load-fingerprint-{}", std::process::id()));
        std::fs::write(&path, "a {seq}\n").expect("a file can be written");
        let file = path.to_str().expect("a name");
        let table: &[(&[&str], &[&str], bool)] = &[
            (&["-m", "a", "--expect", "line"], &["-m", r"a\n", "--expect", "line"], true),
            (&["-m", r"a\n", "--crlf"], &["-m", r"a\r\n"], true),
            (&["-m", r"a {seq}\n"], &["--file", file], true),
            (&["-m", "{seq}", "--expect", "line"], &["-m", r"{seq}\n"], true),
            (&["--size", "64"], &["--size", "65"], false),
            (&["-m", "{rand:4}"], &["-m", "{rand:5}"], false),
            (&["-m", "{conn}"], &["-m", "{seq}"], false),
            (&["-m", "a"], &["-m", r"a\n"], false),
        ];
        for (one, other, are_equal) in table {
            assert_eq!(of(one) == of(other), *are_equal, "{one:?} {other:?}");
        }
        std::fs::remove_file(path).expect("it is there");
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
