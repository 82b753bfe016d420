//! Lines and events of Socket.IO, without sockets.
//!
//! ```text
//!   a line of the input                       a message
//!   say "hola" {"to":"ana"}                   42["say","hola",{"to":"ana"}]
//!   "chat message" "hola" ?                   420["chat message","hola"]      `?` wants the acknowledgement
//!   hola              with --event say        42["say","hola"]
//!
//!   a message                                 a line of the output
//!   42["said","hola",7]                       said "hola" 7
//!   430["bien"]                               "chat message" ? "bien"
//!   42["say","hola"]  with --event say        hola
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;

use bucle::socket_io::binary::Reconstructor;
use bucle::socket_io::packet::{self, Limits, Packet, PacketType};
use bucle::socket_io::{Arguments, json};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::socket_io::{self, Message, PONG, Place, TransportChoice};

/// How many acknowledgements may be open. It bounds the memory for a server that never sends one. A server that is only
/// slow usually reads slowly, too, and the client sends no faster than the server reads.
const MOST_UNANSWERED: usize = 100_000;

/// How events are written and read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct EventOptions {
    /// A line is the text of this event.
    pub(crate) event: Option<String>,
    /// Every event wants the acknowledgement.
    pub(crate) ack: bool,
    /// The credentials for the server, a JSON object.
    pub(crate) auth: Option<String>,
    /// `None`: the default.
    pub(crate) transport: Option<TransportChoice>,
}

/// The protocol on one connection.
pub(super) struct Events {
    pub(super) place: Place,
    options: EventOptions,
    /// Binary values are shown as strings of hexadecimal digits.
    shows_hex: bool,
    /// The names of the events whose acknowledgements have not come, by number.
    unanswered: BTreeMap<u64, Rc<str>>,
    /// The last name in it, which the next event shares if it has the same.
    last_name: Rc<str>,
    next_id: u64,
    reconstructor: Reconstructor,
}

/// The reaction to a message of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Nothing,
    /// A message is sent.
    Send(String),
    /// The namespace is joined.
    Joined,
    /// The namespace is refused, with this message.
    Refused(String),
    /// A line is shown.
    Show(String),
    /// The server has disconnected this client from the namespace.
    Ended,
    /// The server ends the session.
    Closed,
}

impl Events {
    pub(super) fn new(place: Place, options: EventOptions, shows_hex: bool) -> Events {
        let reconstructor = Reconstructor::default();
        Events {
            place,
            options,
            shows_hex,
            unanswered: BTreeMap::new(),
            last_name: "".into(),
            next_id: 0,
            reconstructor,
        }
    }

    pub(super) fn transport(&self) -> TransportChoice {
        self.options.transport.unwrap_or_default()
    }

    /// A new connection is opened. Acknowledgements of events of the last one do not come any longer.
    pub(super) fn reset(&mut self) {
        self.unanswered.clear();
        self.reconstructor = Reconstructor::default();
    }

    /// The message for a line. `None` for a line without an event. The error is half a sentence about what is wrong.
    pub(super) fn message(&mut self, line: &str) -> Result<Option<String>, String> {
        let mut message = "4".to_owned();
        if let Some(event) = self.options.event.clone() {
            let id = if self.options.ack { Some(self.new_id(&event)?) } else { None };
            message.clear();
            socket_io::push_event(&mut message, &self.place.namespace, id, &event, line);
            return Ok(Some(message));
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let (name, rest) = name_of(line)?;
        socket_io::check_event(&name).map_err(|why| format!("has the event {name:?}: {why}"))?;
        let (rest, asks) = match rest.trim_end().strip_suffix('?') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let mut list = String::new();
        json::push_string(&mut list, &name);
        for value in serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>() {
            let value = value.map_err(|error| format!("has an argument that is no JSON: {error}"))?;
            list.push(',');
            list.push_str(value.get());
        }
        let id = if asks || self.options.ack { Some(self.new_id(&name)?) } else { None };
        packet::push_header(&mut message, PacketType::Event, 0, &self.place.namespace, id);
        message.extend(["[", &list, "]"]);
        Ok(Some(message))
    }

    fn new_id(&mut self, name: &str) -> Result<u64, String> {
        if self.unanswered.len() >= MOST_UNANSWERED {
            return Err(format!(
                "asks for an acknowledgement, and {MOST_UNANSWERED} acknowledgements of earlier events have not come"
            ));
        }
        if *self.last_name != *name {
            self.last_name = name.into();
        }
        let id = self.next_id;
        self.next_id += 1;
        self.unanswered.insert(id, self.last_name.clone());
        Ok(id)
    }

    /// The message that leaves the namespace.
    pub(super) fn leave(&self) -> String {
        let mut message = "4".to_owned();
        packet::push_header(&mut message, PacketType::Disconnect, 0, &self.place.namespace, None);
        message
    }

    /// Takes in a text message. The error is half a sentence about the rule that the server has broken.
    pub(super) fn receive_text(&mut self, text: &str) -> Result<Step, String> {
        let packet = match text.strip_prefix('4') {
            Some(text) => match self.reconstructor.text(text, &Limits::default()) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(Step::Nothing),
                Err(error) => return Err(error.to_string()),
            },
            None => {
                return Ok(match socket_io::read_session(text)? {
                    Message::Open => {
                        Step::Send(socket_io::connect(&self.place.namespace, self.options.auth.as_deref()))
                    }
                    Message::Ping => Step::Send(PONG.to_owned()),
                    Message::Closed => Step::Closed,
                    _ => Step::Nothing,
                });
            }
        };
        Ok(match socket_io::read_packet(packet, &self.place.namespace) {
            Message::Joined => Step::Joined,
            Message::Refused(message) => Step::Refused(message),
            Message::Left => Step::Ended,
            Message::Packet(packet) => {
                let (name, arguments) = match packet.kind {
                    PacketType::Ack | PacketType::BinaryAck => (None, Arguments::of_ack(&packet, None)),
                    _ => {
                        let (name, arguments) = Arguments::of_event(&packet, None);
                        (Some(name), arguments)
                    }
                };
                self.show(&packet, name.as_deref(), arguments)
            }
            _ => Step::Nothing,
        })
    }

    /// Takes in a binary message, which belongs to the packet before it.
    pub(super) fn receive_binary(&mut self, bytes: &[u8]) -> Result<Step, String> {
        let complete = self.reconstructor.binary(bytes).map_err(|error| error.to_string())?;
        let Some(complete) = complete else { return Ok(Step::Nothing) };
        let packet = complete.packet();
        if packet.namespace != self.place.namespace {
            return Ok(Step::Nothing);
        }
        let attachments = Some(complete.attachments());
        Ok(match packet.kind {
            PacketType::BinaryAck => self.show(&packet, None, Arguments::of_ack(&packet, attachments)),
            _ => {
                let (name, arguments) = Arguments::of_event(&packet, attachments);
                self.show(&packet, Some(&name), arguments)
            }
        })
    }

    /// The line for an event, or without a name for an acknowledgement.
    fn show(&mut self, packet: &Packet<'_>, name: Option<&str>, arguments: Arguments<'_>) -> Step {
        let asked = match name {
            Some(_) => None,
            None => packet.id.and_then(|id| self.unanswered.remove(&id)),
        };
        let Some(name) = name.or(asked.as_deref()) else { return Step::Nothing };
        if let Some(event) = &self.options.event {
            if event != name {
                return Step::Nothing;
            }
            // Other arguments are shown as JSON.
            if let Some(text) = arguments.text(0).filter(|_| arguments.len() == 1) {
                return Step::Show(text.into_owned());
            }
            return Step::Show(self.list(arguments));
        }
        let mut line = shown_name(name);
        if asked.is_some() {
            line.push_str(" ?");
        }
        let list = self.list(arguments);
        if !list.is_empty() {
            line.push(' ');
            line.push_str(&list);
        }
        Step::Show(line)
    }

    /// The arguments as JSON texts with blanks between them.
    fn list(&self, arguments: Arguments<'_>) -> String {
        let texts = arguments.iter().map(|text| match self.shows_hex && !arguments.attachments().is_empty() {
            true => with_hex(text, arguments.attachments()),
            false => text.to_owned(),
        });
        texts.collect::<Vec<_>>().join(" ")
    }
}

/// The name at the beginning of a line, a word or a JSON string, and the rest of the line.
fn name_of(line: &str) -> Result<(String, &str), String> {
    if !line.starts_with('"') {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        return Ok((name.to_owned(), rest));
    }
    let mut strings = serde_json::Deserializer::from_str(line).into_iter::<String>();
    match strings.next() {
        Some(Ok(name)) => {
            let rest = &line[strings.byte_offset()..];
            Ok((name, rest))
        }
        _ => Err("begins with an event whose name is no JSON string".to_owned()),
    }
}

/// A name as it would be typed.
fn shown_name(name: &str) -> String {
    let is_word = !name.is_empty() && !name.starts_with('"') && !name.contains(char::is_whitespace);
    if is_word {
        return name.to_owned();
    }
    let mut text = String::new();
    json::push_string(&mut text, name);
    text
}

/// A JSON text with the bytes of its placeholders as strings. The rest of the text stays as it was sent: reading and
/// writing numbers could change them.
fn with_hex(text: &str, attachments: &[Vec<u8>]) -> String {
    let mut out = String::new();
    let (mut copied, mut is_in_string, mut is_escaped) = (0, false, false);
    // Where the last object begins, unless it has a list or another object: a placeholder has none.
    let mut object = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_in_string,
            b'"' => is_in_string = !is_in_string,
            _ if is_in_string => {}
            b'{' => object = Some(at),
            b'[' => object = None,
            b'}' => {
                if let Some(start) = object.take()
                    && let Some(bytes) = bytes_of(&text[start..=at], attachments)
                {
                    out.extend([&text[copied..start], "\"", &hex(bytes), "\""]);
                    copied = at + 1;
                }
            }
            _ => {}
        }
    }
    out + &text[copied..]
}

/// The bytes that an object stands for, if it is a placeholder.
fn bytes_of<'a>(object: &str, attachments: &'a [Vec<u8>]) -> Option<&'a [u8]> {
    let object: Value = serde_json::from_str(object).ok()?;
    if object.get("_placeholder") != Some(&Value::Bool(true)) {
        return None;
    }
    let number = usize::try_from(object.get("num")?.as_u64()?).ok()?;
    attachments.get(number).map(Vec::as_slice)
}

/// Two digits for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(url: &str, options: EventOptions, shows_hex: bool) -> Events {
        Events::new(socket_io::parse_url(url).expect("a URL"), options, shows_hex)
    }

    fn plain() -> Events {
        events("sio://h/a", EventOptions::default(), true)
    }

    fn with_event(ack: bool) -> Events {
        events("sio://h", EventOptions { event: Some("say".to_owned()), ack, ..EventOptions::default() }, false)
    }

    #[test]
    fn bytes_in_hexadecimal() {
        let table: [(&[u8], &str); 3] = [(b"", ""), (b"\x00\x0f\xf0\xff", "000ff0ff"), (b"hola", "686f6c61")];
        for (bytes, want) in table {
            assert_eq!(hex(bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_is_an_event_and_its_arguments() {
        let table = [
            ("say", Ok(r#"42/a,["say"]"#)),
            (r#"  say "hola"  {"a": [1]} 7 "#, Ok(r#"42/a,["say","hola",{"a": [1]},7]"#)),
            (r#""chat message" "hola""#, Ok(r#"42/a,["chat message","hola"]"#)),
            (r#""a\"b"1"#, Ok(r#"42/a,["a\"b",1]"#)),
            ("say 1 2 ?", Ok(r#"42/a,0["say",1,2]"#)),
            ("say?", Ok(r#"42/a,["say?"]"#)),
            ("say ?", Ok(r#"42/a,0["say"]"#)),
            (r#"say "?""#, Ok(r#"42/a,["say","?"]"#)),
            ("", Ok("")),
            ("say hola", Err("has an argument that is no JSON: ")),
            ("say {", Err("has an argument that is no JSON: ")),
            ("say 1, 2", Err("has an argument that is no JSON: ")),
            (r#""say"#, Err("begins with an event whose name is no JSON string")),
            ("connect 1", Err(r#"has the event "connect": Socket.IO uses this name itself"#)),
        ];
        for (line, want) in table {
            match (plain().message(line), want) {
                (Ok(got), Ok(want)) => assert_eq!(got.unwrap_or_default(), want, "{line}"),
                (Err(why), Err(want)) => assert!(why.starts_with(want), "{line}: {why}"),
                (got, want) => panic!("{line}: {got:?} instead of {want:?}"),
            }
        }
        let message = |events: &mut Events, line| events.message(line).expect("a line").expect("an event");
        assert_eq!(message(&mut with_event(false), "say \"hola\" ?"), r#"42["say","say \"hola\" ?"]"#);
        assert_eq!(message(&mut with_event(false), ""), r#"42["say",""]"#);
        let mut asking = with_event(true);
        assert_eq!(message(&mut asking, "a"), r#"420["say","a"]"#);
        assert_eq!(message(&mut asking, "b"), r#"421["say","b"]"#);
    }

    #[test]
    fn events_are_lines() {
        let table = [
            (r#"42/a,["said","hola", {"a":1} ,7]"#, r#"said "hola" {"a":1} 7"#),
            (r#"42/a,["said"]"#, "said"),
            (r#"42/a,["chat message","ho\nla"]"#, r#""chat message" "ho\nla""#),
            (r#"42/a,5["asks"]"#, "asks"),
        ];
        for (message, want) in table {
            assert_eq!(plain().receive_text(message), Ok(Step::Show(want.to_owned())), "{message}");
        }
        assert_eq!(plain().receive_text(r#"42["said"]"#), Ok(Step::Nothing), "another namespace");
        let mut events = with_event(false);
        assert_eq!(events.receive_text(r#"42["say","ho\nla"]"#), Ok(Step::Show("ho\nla".to_owned())));
        assert_eq!(events.receive_text(r#"42["say",7,"x"]"#), Ok(Step::Show("7 \"x\"".to_owned())));
        assert_eq!(events.receive_text(r#"42["other","hola"]"#), Ok(Step::Nothing));
    }

    #[test]
    fn an_acknowledgement_is_a_line_with_the_name_of_its_event() {
        let mut events = plain();
        for line in ["echo 1 ?", "\"chat message\" ?"] {
            events.message(line).expect("an event");
        }
        let show = |text: &str| Ok(Step::Show(text.to_owned()));
        assert_eq!(events.receive_text(r#"43/a,1["x"]"#), show(r#""chat message" ? "x""#));
        assert_eq!(events.receive_text("43/a,0[]"), show("echo ?"));
        assert_eq!(events.receive_text("43/a,0[]"), Ok(Step::Nothing), "a second time");
        assert_eq!(events.receive_text("43/a,9[]"), Ok(Step::Nothing), "a number that was not used");
        let mut events = with_event(true);
        events.message("hola").expect("an event");
        assert_eq!(events.receive_text(r#"430["hola"]"#), show("hola"));
    }

    #[test]
    fn the_number_of_open_acknowledgements_is_limited() {
        for (mut events, line) in [(plain(), "say ?"), (with_event(true), "hola")] {
            (0..MOST_UNANSWERED).for_each(|_| drop(events.message(line).expect("it is sent")));
            let why = events.message(line).expect_err("there are too many");
            assert!(why.starts_with("asks for an acknowledgement, and 100000 "), "{why}");
            let ack = if line == "hola" { "430[]" } else { "43/a,0[]" };
            assert!(matches!(events.receive_text(ack), Ok(Step::Show(_))));
            assert!(events.message(line).is_ok(), "one is answered");
        }
    }

    #[test]
    fn binary_values_are_shown_in_hexadecimal_or_as_placeholders() {
        let text = r#"452-/a,["file",{"b":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]"#;
        for (shows_hex, want) in [
            (true, r#"file {"b":"ff00"} "01""#),
            (false, r#"file {"b":{"_placeholder":true,"num":1}} {"_placeholder":true,"num":0}"#),
        ] {
            let mut events = events("sio://h/a", EventOptions::default(), shows_hex);
            assert_eq!(events.receive_text(text), Ok(Step::Nothing));
            assert_eq!(events.receive_binary(b"\x01"), Ok(Step::Nothing));
            assert_eq!(events.receive_binary(b"\xff\x00"), Ok(Step::Show(want.to_owned())));
        }
        assert!(plain().receive_binary(b"\x01").is_err());
    }

    #[test]
    fn only_the_placeholders_of_a_text_are_replaced() {
        let attachments = [b"\x00".to_vec(), b"\xff".to_vec()];
        let table = [
            ("12345678901234567890123", "12345678901234567890123"),
            (r#"[1.10,{"_placeholder":true,"num":0},-0]"#, r#"[1.10,"00",-0]"#),
            (r#"{ "num": 1, "_placeholder": true }"#, r#""ff""#),
            (r#"{"a":[{"_placeholder":true,"num":1}],"b":{"c":1e5}}"#, r#"{"a":["ff"],"b":{"c":1e5}}"#),
            (r#"{"_placeholder":true,"num":2}"#, r#"{"_placeholder":true,"num":2}"#),
            (r#"{"_placeholder":false,"num":0}"#, r#"{"_placeholder":false,"num":0}"#),
            (r#""{\"_placeholder\":true,\"num\":0}""#, r#""{\"_placeholder\":true,\"num\":0}""#),
            (r#"["\\",{"_placeholder":true,"num":0},"{"]"#, r#"["\\","00","{"]"#),
        ];
        for (text, want) in table {
            assert_eq!(with_hex(text, &attachments), want, "{text}");
        }
    }

    #[test]
    fn the_session_is_opened_kept_and_left() {
        let auth = Some(r#"{"token":"x"}"#.to_owned());
        let mut events = events("sio://h/a", EventOptions { auth, ..EventOptions::default() }, false);
        let table = [
            (r#"0{"sid":"s"}"#, Step::Send(r#"40/a,{"token":"x"}"#.to_owned())),
            (r#"40/a,{"sid":"t"}"#, Step::Joined),
            ("2", Step::Send("3".to_owned())),
            ("6", Step::Nothing),
            (r#"44/a,{"message":"no"}"#, Step::Refused("no".to_owned())),
            ("41/a,", Step::Ended),
            ("1", Step::Closed),
        ];
        for (message, want) in table {
            assert_eq!(events.receive_text(message), Ok(want), "{message}");
        }
        assert_eq!(events.leave(), "41/a,");
        assert!(events.receive_text("hola").is_err());
        assert!(events.receive_text("42/a,").is_err());
    }
}
