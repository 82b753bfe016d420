//! Properties of JSON, packets and attachments, for any text and any sequence of messages.

use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::arguments::{Arguments, EncodeError, Header, encode_ack, encode_event};
use super::binary::{Attachments, Binary, Reconstructor};
use super::json::{self, MAX_DEPTH, Token};
use super::packet::{self, Limits, Packet, PacketType, RESERVED_EVENTS};
use crate::fuzzing::input::Input;

/// The first two bytes of the input choose limits.
fn limits(input: &mut Input<'_>) -> Limits {
    let attachments = usize::from(input.byte());
    let bytes = usize::from(input.byte());
    Limits { max_attachments: attachments % 16, max_namespace: bytes, max_bytes: bytes * 4 }
}

/// The rest of the input is a text: packets mean what they mean to a plain version, and are written as they were read.
pub(crate) fn hold_for_packet(input: &[u8]) {
    let mut input = Input(input);
    let limits = limits(&mut input);
    let text = String::from_utf8_lossy(input.0);
    is_read_as_by_serde_json(&text);
    let packet = packet::parse(&text, &limits).ok();
    assert_eq!(packet, parse_plainly(&text, &limits));
    if let Some(packet) = packet {
        is_read_as_by_serde_json(packet.data.unwrap_or_default());
        is_written_as_it_was_read(&packet);
    }
}

/// The chunks of the input are messages. An odd first byte of a chunk means a binary one.
pub(crate) fn hold_for_decoder(input: &[u8]) {
    let mut input = Input(input);
    let limits = limits(&mut input);
    let mut reconstructor = Reconstructor::default();
    // A packet that waits, with its attachments and their number.
    let mut waiting: Option<(String, Vec<Vec<u8>>, usize)> = None;
    for chunk in input.chunks() {
        let mut message = Input(chunk);
        let is_binary = message.byte() & 1 == 1;
        let text = String::from_utf8_lossy(message.0);
        if is_binary {
            let whole = reconstructor.binary(message.0);
            let Some((text, mut attachments, count)) = waiting.take() else {
                return assert!(whole.is_err(), "no packet waits");
            };
            attachments.push(message.0.to_vec());
            if text.len() + attachments.concat().len() > limits.max_bytes {
                return assert!(whole.is_err(), "too many bytes");
            }
            let whole = whole.expect("an attachment is awaited");
            assert_eq!(whole.is_some(), attachments.len() == count, "the last attachment completes the packet");
            match whole {
                None => waiting = Some((text, attachments, count)),
                Some(whole) => {
                    assert_eq!(whole.attachments()[..], attachments);
                    assert_eq!(Ok(whole.packet()), packet::parse(&text, &limits));
                    is_echoed(&whole.packet(), Some(whole.attachments()));
                }
            }
        } else {
            let packet = reconstructor.text(&text, &limits);
            let Some(plain) = parse_plainly(&text, &limits).filter(|_| waiting.is_none()) else {
                return assert!(packet.is_err(), "a text that is no packet, or comes too early");
            };
            if plain.attachments == 0 {
                assert_eq!(packet, Ok(Some(plain)));
                is_echoed(&plain, None);
                continue;
            }
            let data: Option<Value> = plain.data.and_then(|data| serde_json::from_str(data).ok());
            let is_right = data.map(|data| placeholders_are_right(&data, plain.attachments));
            match packet {
                Ok(packet) => {
                    assert_eq!(packet, None, "attachments must come first");
                    assert!(is_right != Some(false) && text.len() <= limits.max_bytes);
                }
                Err(_) => return assert!(is_right != Some(true) || text.len() > limits.max_bytes),
            }
            waiting = Some((text.to_string(), Vec::new(), plain.attachments));
        }
        assert_eq!(reconstructor.is_waiting(), waiting.is_some());
    }
}

/// Sends the arguments of an event or acknowledgement back: they arrive as they were.
fn is_echoed(packet: &Packet<'_>, attachments: Option<&Attachments>) {
    let arguments = match packet.kind {
        PacketType::Event | PacketType::BinaryEvent => Arguments::of_event(packet, attachments).1,
        PacketType::Ack | PacketType::BinaryAck => Arguments::of_ack(packet, attachments),
        _ => return,
    };
    for index in 0..=arguments.len() {
        let bytes = arguments.binary(index);
        if let Ok(Binary(same)) = arguments.get(index) {
            assert_eq!(bytes, Some(&same[..]));
        }
        if let Ok(value) = arguments.get::<Value>(index) {
            let number = value["num"].as_f64().filter(|_| value["_placeholder"] == true).map(|number| number as usize);
            let plain = number.and_then(|number| attachments?.get(number)).map(Vec::as_slice);
            assert_eq!(bytes, plain, "{value}");
        }
    }

    let header = Header { max_attachments: usize::MAX, ..Header::new("/", Some(1)) };
    let (mut text, mut sent) = (String::new(), Vec::new());
    encode_ack(&mut text, &mut sent, &header, &arguments).expect("received arguments can be sent");
    assert_eq!(sent, arguments.attachments());
    let mut reconstructor = Reconstructor::default();
    let first = reconstructor.text(&text, &Limits::NONE).expect("a packet");
    let last = sent.iter().fold(None, |_, bytes| reconstructor.binary(bytes.as_slice()).expect("an attachment"));
    let (again, received) = match &last {
        None => (first.expect("it has no attachments"), None),
        Some(whole) => (whole.packet(), Some(whole.attachments())),
    };
    assert_eq!(Arguments::of_ack(&again, received), arguments);
}

/// Whether each object whose `_placeholder` is `true` has the number of an attachment.
fn placeholders_are_right(value: &Value, count: usize) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| placeholders_are_right(item, count)),
        Value::Object(members) => {
            let is_one = members.get("_placeholder") == Some(&Value::Bool(true));
            let number = members.get("num").and_then(Value::as_f64);
            let is_right = number.is_some_and(|number| (0..count).any(|index| index as f64 == number));
            (!is_one || is_right) && members.values().all(|member| placeholders_are_right(member, count))
        }
        _ => true,
    }
}

/// The grammar, from left to right; JSON is read by serde_json.
fn parse_plainly<'a>(text: &'a str, limits: &Limits) -> Option<Packet<'a>> {
    let number = |digits: &str| {
        let number: u64 = digits.parse().ok()?;
        (number < 1 << 53 && number.to_string() == digits).then_some(number)
    };
    let digit = text.chars().next().filter(char::is_ascii)?;
    let kind = PacketType::of(digit as u8)?;
    let (mut rest, mut attachments, mut namespace, mut id) = (&text[1..], 0, "/", None);
    if kind.is_binary() {
        let (count, after) = rest.split_once('-')?;
        (attachments, rest) = (number(count)? as usize, after);
        if attachments == 0 || attachments > limits.max_attachments {
            return None;
        }
    }
    if rest.starts_with('/') {
        (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        if namespace.len() > limits.max_namespace {
            return None;
        }
    }
    let digits = &rest[..rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len())];
    if !digits.is_empty() {
        id = Some(number(digits)?);
        rest = &rest[digits.len()..];
    }
    let data = (!rest.is_empty()).then(|| rest.trim_end_matches([' ', '\t', '\n', '\r']));
    if let Some(data) = data {
        let value: &RawValue = serde_json::from_str(data).ok()?;
        if value.get() != data || Plain::of(data).depth > MAX_DEPTH as usize {
            return None;
        }
    }
    let is_right = match kind {
        PacketType::Connect => data.is_none_or(|data| data.starts_with('{')),
        PacketType::Disconnect => data.is_none(),
        PacketType::ConnectError => data?.starts_with(['{', '"']),
        PacketType::Ack | PacketType::BinaryAck => data?.starts_with('['),
        PacketType::Event | PacketType::BinaryEvent => {
            let items: Vec<&RawValue> = serde_json::from_str(data?).ok()?;
            let name = items.first()?.get();
            match serde_json::from_str::<String>(name) {
                Ok(name) => !RESERVED_EVENTS.contains(&&*name),
                Err(_) => !name.starts_with(['[', '{', 't', 'f', 'n']),
            }
        }
    };
    is_right.then_some(Packet { kind, attachments, namespace, id, data })
}

/// Facts about a text that is JSON, counted character by character.
#[derive(Default)]
struct Plain {
    depth: usize,
    containers: usize,
    members: usize,
}

impl Plain {
    fn of(text: &str) -> Plain {
        let (mut plain, mut depth, mut is_string, mut is_escaped) = (Plain::default(), 0_usize, false, false);
        for character in text.chars() {
            match character {
                _ if is_escaped => is_escaped = false,
                '\\' if is_string => is_escaped = true,
                '"' => is_string = !is_string,
                _ if is_string => {}
                '[' | '{' => {
                    depth += 1;
                    plain.containers += 1;
                    plain.depth = plain.depth.max(depth);
                }
                ']' | '}' => depth = depth.saturating_sub(1),
                ':' => plain.members += 1,
                _ => {}
            }
        }
        plain
    }
}

/// Any text is JSON or not, and an array has the same items.
fn is_read_as_by_serde_json(text: &str) {
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let plain = Plain::of(text);
    assert_eq!(json::check(text).is_ok(), is_json && plain.depth <= MAX_DEPTH as usize);
    let count = |token: fn(&Token<'_>) -> bool| json::tokens(text).filter(token).count();
    if !is_json {
        assert!(json::items(text).count() + count(|_| true) <= 2 * text.len(), "each item has a character");
        return;
    }
    assert_eq!(count(|token| *token == Token::Open), plain.containers);
    assert_eq!(count(|token| *token == Token::Close), plain.containers);
    assert_eq!(count(|token| matches!(token, Token::Name(_))), plain.members);
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(items) => assert!(json::items(text).eq(items.iter().map(|item| item.get()))),
        Err(_) => assert_eq!(json::items(text).count(), 0),
    }
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    match serde_json::from_str::<String>(text) {
        Ok(string) => {
            assert_eq!(json::string(text), Some(string.as_str().into()));
            let mut again = String::new();
            json::push_string(&mut again, &string);
            assert_eq!(again, serde_json::to_string(&string).expect("every string is JSON"));
        }
        // Half of a surrogate pair.
        Err(_) if text.starts_with('"') => assert!(json::string(text).is_some_and(|text| text.contains('\u{fffd}'))),
        Err(_) => assert_eq!(json::string(text), None),
    }
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        let [number, again] = [text, &json::number(text).replace("Infinity", "inf")].map(str::parse::<f64>);
        assert_eq!(number, again);
    }
}

/// The packet that is written from the parts of `packet` has the same parts.
fn is_written_as_it_was_read(packet: &Packet<'_>) {
    let mut out = String::new();
    packet::push_header(&mut out, packet.kind, packet.attachments, packet.namespace, packet.id);
    out.push_str(packet.data.unwrap_or_default());
    assert_eq!(packet::parse(&out, &Limits::NONE).as_ref(), Ok(packet));
    if !matches!(packet.kind, PacketType::Event | PacketType::BinaryEvent) {
        return;
    }

    let attachments: Option<Attachments> =
        (packet.attachments > 0).then(|| vec![b"bytes".to_vec(); packet.attachments].into());
    let (name, arguments) = Arguments::of_event(packet, attachments.as_ref());
    let header = Header { max_attachments: usize::MAX, ..Header::new(packet.namespace, packet.id) };
    let (mut text, mut sent) = (String::new(), Vec::new());
    match encode_event(&mut text, &mut sent, &header, &name, &arguments, None) {
        Ok(()) => {
            let again = packet::parse(&text, &Limits::NONE).expect("a packet");
            assert_eq!(Packet { data: packet.data, ..again }, *packet);
            assert_eq!(Arguments::of_event(&again, attachments.as_ref()), (name, arguments));
        }
        Err(error) => {
            assert!(matches!(error, EncodeError::Refused(_)), "placeholders without attachments");
            assert!(packet.attachments > 0 && text.is_empty() && sent.is_empty());
        }
    }
}
