//! The messages between nodes of `createShardedAdapter` of `@socket.io/redis-adapter` 8, and of
//! `@socket.io/redis-streams-adapter` 0.3: one format for all of them.
//!
//! ```text
//!   {"uid":"<16 hexadecimal digits>","nsp":"/","type":3,"data":{…}}
//! ```
//!
//! | type | | data |
//! |---|---|---|
//! | 3 | a broadcast | `{packet:{type:2, data:[event, …]}, opts:{rooms, except, flags}}`, with `requestId` if it is acknowledged |
//! | 4, 5 | sockets join rooms, or leave them | `{opts, rooms}` |
//! | 6 | sockets are disconnected | `{opts, close}` |
//! | 7, 8 | sockets are asked for, and the answer | `{opts, requestId}`, `{requestId, sockets}` |
//! | 9, 10 | an event for servers, and the answer | `{packet:[event, …], requestId}`, `{requestId, packet}` |
//! | 11, 12 | answers to a broadcast: how many sockets have it, and what one has answered | `{requestId, clientCount}`, `{requestId, packet}` |
//!
//! The data is built as JSON with attachments. If there are attachments, or the other side wants MessagePack, it is
//! written as that.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::msgpack::{self, Reader};
use super::wire::{self, Broadcast, Flags, Outgoing, Response};
use crate::socket_io::adapter::{RemoteSocket, Target};
use crate::socket_io::arguments::OwnedArguments;
use crate::socket_io::json;
use crate::socket_io::malformed::Malformed;

#[cfg(test)]
mod tests;

/// The numbers of messages.
pub(super) mod kind {
    pub const BROADCAST: u64 = 3;
    pub const SOCKETS_JOIN: u64 = 4;
    pub const SOCKETS_LEAVE: u64 = 5;
    pub const DISCONNECT_SOCKETS: u64 = 6;
    pub const FETCH_SOCKETS: u64 = 7;
    pub const FETCH_SOCKETS_RESPONSE: u64 = 8;
    pub const SERVER_SIDE_EMIT: u64 = 9;
    pub const SERVER_SIDE_EMIT_RESPONSE: u64 = 10;
    pub const BROADCAST_CLIENT_COUNT: u64 = 11;
    pub const BROADCAST_ACK: u64 = 12;
}

const NOT_WANTED: Malformed = Malformed::new("a field of the message is missing or has another type");

/// A message that is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Encoded<'a> {
    pub kind: u64,
    /// JSON, with placeholders for the attachments.
    pub data: String,
    pub attachments: &'a [Vec<u8>],
}

impl Encoded<'_> {
    /// The whole message. JSON, unless it has attachments or `msgpack` is wanted.
    pub fn message(&self, uid: &str, namespace: &str, msgpack: bool) -> Vec<u8> {
        let Encoded { kind, data, attachments } = self;
        let mut text = String::with_capacity(data.len() + namespace.len() + 64);
        text.push_str("{\"uid\":");
        json::push_string(&mut text, uid);
        text.push_str(",\"nsp\":");
        json::push_string(&mut text, namespace);
        text.push_str(&format!(",\"type\":{kind},\"data\":"));
        text.push_str(data);
        text.push('}');
        if !msgpack && attachments.is_empty() {
            return text.into_bytes();
        }
        let mut out = Vec::new();
        msgpack::push_json(&mut out, &text, attachments);
        out
    }

    /// The data as a field of an entry: JSON, or MessagePack as base64 if there are attachments.
    pub fn field(&self) -> Cow<'_, str> {
        if self.attachments.is_empty() {
            return Cow::Borrowed(&self.data);
        }
        let mut out = Vec::new();
        msgpack::push_json(&mut out, &self.data, self.attachments);
        Cow::Owned(STANDARD.encode(out))
    }
}

/// The first bytes of the messages of this node, as JSON and as MessagePack. The node recognizes its own messages by
/// them, without parsing.
pub(super) fn own_prefixes(uid: &str) -> [Vec<u8>; 2] {
    let mut msgpack = Vec::new();
    msgpack::push_map(&mut msgpack, 4);
    msgpack::push_str(&mut msgpack, "uid");
    msgpack::push_str(&mut msgpack, uid);
    [format!("{{\"uid\":\"{uid}\",").into_bytes(), msgpack]
}

/// An event for the sockets of other nodes. With a number they acknowledge it.
pub(super) fn encode_broadcast<'a>(event: Outgoing<'a>, request_id: Option<&str>) -> Encoded<'a> {
    let arguments = event.arguments.as_arguments();
    let list = arguments.as_json();
    let mut data = String::with_capacity(list.len() + 128);
    data.push_str("{\"packet\":{\"type\":2,\"data\":[");
    push_event(&mut data, event.name, list);
    data.push_str("]},");
    push_request_id(&mut data, request_id);
    push_options(&mut data, event.target, event.flags);
    data.push('}');
    Encoded { kind: kind::BROADCAST, data, attachments: arguments.attachments() }
}

fn push_event(out: &mut String, name: &str, list: &str) {
    json::push_string(out, name);
    if !list.is_empty() {
        out.push(',');
        out.push_str(list);
    }
}

fn push_request_id(out: &mut String, request_id: Option<&str>) {
    if let Some(request_id) = request_id {
        out.push_str("\"requestId\":");
        json::push_string(out, request_id);
        out.push(',');
    }
}

fn push_options(out: &mut String, target: &Target, flags: Flags) {
    out.push_str("\"opts\":{");
    for (name, rooms) in [("\"rooms\":[", &target.rooms), ("\"except\":[", &target.except)] {
        out.push_str(name);
        for (number, room) in rooms.iter().enumerate() {
            if number > 0 {
                out.push(',');
            }
            json::push_string(out, room);
        }
        out.push_str("],");
    }
    let mut list = Vec::new();
    if flags.volatile {
        list.push("\"volatile\":true".to_owned());
    }
    if !flags.compress {
        list.push("\"compress\":false".to_owned());
    }
    if let Some(timeout) = flags.timeout {
        list.push(format!("\"timeout\":{}", timeout.as_millis()));
    }
    out.push_str(&format!("\"flags\":{{{}}}}}", list.join(",")));
}

fn encode_value(kind: u64, data: &Value) -> Encoded<'static> {
    Encoded { kind, data: data.to_string(), attachments: &[] }
}

fn options(target: &Target) -> Value {
    json!({ "rooms": target.rooms, "except": target.except, "flags": {} })
}

/// Sockets of other nodes join rooms or leave them.
pub(super) fn encode_rooms(target: &Target, rooms: &[String], join: bool) -> Encoded<'static> {
    let kind = if join { kind::SOCKETS_JOIN } else { kind::SOCKETS_LEAVE };
    encode_value(kind, &json!({ "opts": options(target), "rooms": rooms }))
}

/// Sockets of other nodes are disconnected.
pub(super) fn encode_disconnect(target: &Target, close: bool) -> Encoded<'static> {
    encode_value(kind::DISCONNECT_SOCKETS, &json!({ "opts": options(target), "close": close }))
}

/// The sockets of other nodes are asked for.
pub(super) fn encode_fetch(target: &Target, request_id: &str) -> Encoded<'static> {
    encode_value(kind::FETCH_SOCKETS, &json!({ "opts": options(target), "requestId": request_id }))
}

/// An event for the servers of other nodes.
pub(super) fn encode_server_side_emit<'a>(
    name: &str,
    arguments: &'a OwnedArguments,
    request_id: Option<&str>,
) -> Encoded<'a> {
    let mut data = "{".to_owned();
    push_request_id(&mut data, request_id);
    data.push_str("\"packet\":[");
    push_event(&mut data, name, arguments.as_arguments().as_json());
    data.push_str("]}");
    Encoded { kind: kind::SERVER_SIDE_EMIT, data, attachments: arguments.as_arguments().attachments() }
}

/// The sockets of this node, for a node that has asked.
pub(super) fn encode_sockets(request_id: &str, sockets: Vec<RemoteSocket>) -> Encoded<'static> {
    let sockets: Vec<Value> = sockets.into_iter().map(wire::socket_value).collect();
    encode_value(kind::FETCH_SOCKETS_RESPONSE, &json!({ "requestId": request_id, "sockets": sockets }))
}

/// The answer of this node's server.
pub(super) fn encode_server_answer(request_id: &str, value: &Value) -> Encoded<'static> {
    encode_value(kind::SERVER_SIDE_EMIT_RESPONSE, &json!({ "requestId": request_id, "packet": value }))
}

/// How many sockets of this node have got an event that they acknowledge.
pub(super) fn encode_client_count(request_id: &str, count: usize) -> Encoded<'static> {
    encode_value(kind::BROADCAST_CLIENT_COUNT, &json!({ "requestId": request_id, "clientCount": count }))
}

/// The acknowledgement of one of them. Nodes carry its first argument.
pub(super) fn encode_ack<'a>(request_id: &str, arguments: &'a OwnedArguments) -> Encoded<'a> {
    let mut data = "{".to_owned();
    push_request_id(&mut data, Some(request_id));
    match arguments.as_arguments().raw(0) {
        Some(first) => data.push_str(&format!("\"packet\":{first}}}")),
        None => {
            data.pop();
            data.push('}');
        }
    }
    Encoded { kind: kind::BROADCAST_ACK, data, attachments: arguments.as_arguments().attachments() }
}

/// A message of another node.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Body {
    Broadcast {
        broadcast: Broadcast,
        /// Its receivers acknowledge it to the node that has sent it.
        request_id: Option<String>,
        /// The packet has a number of its own: one socket of the other node acknowledges it.
        is_numbered: bool,
    },
    Rooms {
        target: Target,
        rooms: Vec<String>,
        join: bool,
    },
    Disconnect {
        target: Target,
        close: bool,
    },
    Fetch {
        target: Target,
        request_id: String,
    },
    ServerSideEmit {
        name: String,
        arguments: OwnedArguments,
        request_id: Option<String>,
    },
    Response {
        request_id: String,
        response: Response,
    },
}

/// A message with its sender.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Message {
    pub uid: String,
    pub namespace: String,
    /// `None`: its type is not known.
    pub body: Option<Body>,
}

/// Reads a message: JSON or MessagePack.
pub(super) fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
    let (text, attachments) = text_of(bytes, || Cow::Borrowed(bytes))?;
    let text = text.trim_matches(json::is_blank);
    let member = |name| find(text, name).ok_or(NOT_WANTED);
    Ok(Message {
        uid: name(member("uid")?)?,
        namespace: name(member("nsp")?)?,
        body: decode_body(integer(member("type")?)?, find(text, "data").unwrap_or("null"), attachments)?,
    })
}

/// Reads the data of an entry: JSON, or MessagePack as base64. `None`: its type is not known.
pub(super) fn decode_field(kind: u64, field: &[u8]) -> Result<Option<Body>, Malformed> {
    // What is not base64 is no MessagePack either.
    let (text, attachments) = text_of(field, || Cow::Owned(STANDARD.decode(field).unwrap_or_default()))?;
    decode_body(kind, text.trim_matches(json::is_blank), attachments)
}

/// The text and the attachments of bytes that are JSON, or of the MessagePack that `msgpack` returns.
fn text_of<'a>(
    bytes: &'a [u8],
    msgpack: impl FnOnce() -> Cow<'a, [u8]>,
) -> Result<(Cow<'a, str>, Vec<Vec<u8>>), Malformed> {
    if bytes.first() == Some(&b'{') {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("a message is not UTF-8"))?;
        json::check(text)?;
        return Ok((Cow::Borrowed(text), Vec::new()));
    }
    let bytes = msgpack();
    let (mut text, mut attachments) = (String::new(), Vec::new());
    let mut reader = Reader::new(&bytes);
    reader.json(&mut text, &mut attachments)?;
    reader.finish()?;
    Ok((Cow::Owned(text), attachments))
}

fn decode_body(kind: u64, data: &str, attachments: Vec<Vec<u8>>) -> Result<Option<Body>, Malformed> {
    let request_id = || find(data, "requestId").filter(|text| *text != "null").map(name).transpose();
    let wanted_id = || request_id()?.ok_or(NOT_WANTED);
    let target = || target(find(data, "opts").ok_or(NOT_WANTED)?);
    let body = match kind {
        kind::BROADCAST => {
            let packet = find(data, "packet").ok_or(NOT_WANTED)?;
            if !matches!(find(packet, "type"), Some("2" | "5")) {
                return Err(NOT_WANTED);
            }
            let (name, arguments) = event(find(packet, "data").ok_or(NOT_WANTED)?, attachments)?;
            let flags = flags(find(data, "opts").and_then(|options| find(options, "flags")).unwrap_or_default())?;
            let broadcast = Broadcast { name, arguments, target: target()?, flags, ..Broadcast::default() };
            let is_numbered = find(packet, "id").is_some_and(|id| id != "null");
            Body::Broadcast { broadcast, request_id: request_id()?, is_numbered }
        }
        kind::SOCKETS_JOIN | kind::SOCKETS_LEAVE => Body::Rooms {
            target: target()?,
            rooms: names(find(data, "rooms").unwrap_or("null"))?,
            join: kind == kind::SOCKETS_JOIN,
        },
        kind::DISCONNECT_SOCKETS => Body::Disconnect { target: target()?, close: find(data, "close") == Some("true") },
        kind::FETCH_SOCKETS => Body::Fetch { target: target()?, request_id: wanted_id()? },
        kind::SERVER_SIDE_EMIT => {
            let (name, arguments) = event(find(data, "packet").ok_or(NOT_WANTED)?, attachments)?;
            Body::ServerSideEmit { name, arguments, request_id: request_id()? }
        }
        kind::FETCH_SOCKETS_RESPONSE => {
            let sockets = value(find(data, "sockets").ok_or(NOT_WANTED)?)?;
            let Value::Array(sockets) = sockets else { return Err(NOT_WANTED) };
            let sockets = sockets.into_iter().map(wire::socket).collect::<Option<_>>().ok_or(NOT_WANTED)?;
            Body::Response { request_id: wanted_id()?, response: Response::Sockets(sockets) }
        }
        kind::SERVER_SIDE_EMIT_RESPONSE => {
            let value = value(find(data, "packet").unwrap_or("null"))?;
            Body::Response { request_id: wanted_id()?, response: Response::Server(value) }
        }
        kind::BROADCAST_CLIENT_COUNT => {
            let count = integer(find(data, "clientCount").ok_or(NOT_WANTED)?)?;
            let response = Response::ClientCount(usize::try_from(count).unwrap_or(usize::MAX));
            Body::Response { request_id: wanted_id()?, response }
        }
        kind::BROADCAST_ACK => {
            let list = find(data, "packet").unwrap_or_default().to_owned();
            let response = Response::Ack(OwnedArguments::new(list, attachments)?);
            Body::Response { request_id: wanted_id()?, response }
        }
        _ => return Ok(None),
    };
    Ok(Some(body))
}

/// The text of a member's value. Names that nodes write need no escapes.
fn find<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let is_it = |text: &str| text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) == Some(name);
    json::members(object).find(|(text, _)| is_it(text)).map(|(_, value)| value)
}

fn integer(text: &str) -> Result<u64, Malformed> {
    text.parse().map_err(|_| NOT_WANTED)
}

fn value(text: &str) -> Result<Value, Malformed> {
    serde_json::from_str(text).map_err(|_| NOT_WANTED)
}

/// A name: a string, or a number, which JavaScript takes for one.
fn name(text: &str) -> Result<String, Malformed> {
    match json::string(text) {
        Some(name) => Ok(name.into_owned()),
        None if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Ok(json::number(text).into_owned())
        }
        None => Err(NOT_WANTED),
    }
}

fn names(list: &str) -> Result<Vec<String>, Malformed> {
    match list.as_bytes().first() {
        Some(b'[') => json::items(list).map(name).collect(),
        Some(b'n') => Ok(Vec::new()),
        _ => Err(NOT_WANTED),
    }
}

fn target(options: &str) -> Result<Target, Malformed> {
    let list = |name| names(find(options, name).unwrap_or("null"));
    Ok(Target { rooms: list("rooms")?, except: list("except")? })
}

fn flags(object: &str) -> Result<Flags, Malformed> {
    let timeout = find(object, "timeout").filter(|text| *text != "null");
    let timeout = timeout.map(|text| text.parse::<f64>().map_err(|_| NOT_WANTED)).transpose()?;
    Ok(Flags {
        volatile: find(object, "volatile") == Some("true"),
        compress: find(object, "compress") != Some("false"),
        // The cast saturates.
        timeout: timeout.map(|milliseconds| std::time::Duration::from_millis(milliseconds as u64)),
    })
}

/// The name and the arguments of an event.
fn event(list: &str, attachments: Vec<Vec<u8>>) -> Result<(String, OwnedArguments), Malformed> {
    if !list.starts_with('[') {
        return Err(NOT_WANTED);
    }
    let mut items = json::items(list);
    let name = name(items.next().ok_or(NOT_WANTED)?)?;
    Ok((name, OwnedArguments::new(items.rest().to_owned(), attachments)?))
}
