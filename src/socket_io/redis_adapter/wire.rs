//! The messages between nodes, in the format of `@socket.io/redis-adapter` 8 and `@socket.io/redis-emitter` 5.
//!
//! | message | channel | format |
//! |---|---|---|
//! | a broadcast | `P#N#`, or `P#N#<room>#` for one room | MessagePack: `[uid, {type:2, data:[event, …], nsp:N}, {rooms, except, flags}]` |
//! | a request | `P-request#N#` | JSON: `{uid, requestId, type, …}`; a broadcast with acknowledgements is MessagePack |
//! | a response | `P-response#N#`, or `P-response#N#<uid>#` | JSON: `{requestId, …}`; an acknowledgement is MessagePack |
//!
//! `P` is the key of the cluster, `socket.io`, and `N` the namespace. Any program that may publish can have written a
//! message, so every field of every message may be missing or have another type.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::msgpack::{self, Reader};
use crate::socket_io::adapter::{Answer, RemoteSocket, Target};
use crate::socket_io::arguments::OwnedArguments;
use crate::socket_io::binary;
use crate::socket_io::json;
use crate::socket_io::malformed::Malformed;

#[cfg(test)]
mod tests;

/// The numbers of requests and of responses.
mod kind {
    pub const SOCKETS: u64 = 0;
    pub const ALL_ROOMS: u64 = 1;
    pub const REMOTE_JOIN: u64 = 2;
    pub const REMOTE_LEAVE: u64 = 3;
    pub const REMOTE_DISCONNECT: u64 = 4;
    pub const REMOTE_FETCH: u64 = 5;
    pub const SERVER_SIDE_EMIT: u64 = 6;
    pub const BROADCAST: u64 = 7;
    pub const BROADCAST_CLIENT_COUNT: u64 = 8;
    pub const BROADCAST_ACK: u64 = 9;
}

/// The types of packets that carry events: EVENT and BINARY_EVENT.
const EVENT_TYPES: [u64; 2] = [2, 5];

const NOT_WANTED: Malformed = Malformed::new("a field of the message is missing or has another type");

/// The beginning of the channels of broadcasts. That of a room has its name and `#` behind it.
pub(super) fn channel(key: &str, namespace: &str) -> String {
    format!("{key}#{namespace}#")
}

/// The channel of a broadcast: nodes without its only room need not read it.
pub(super) fn broadcast_channel(key: &str, namespace: &str, target: &Target) -> String {
    let mut channel = channel(key, namespace);
    if let [room] = target.rooms.as_slice() {
        channel.push_str(room);
        channel.push('#');
    }
    channel
}

/// The channel of requests.
pub(super) fn request_channel(key: &str, namespace: &str) -> String {
    format!("{key}-request#{namespace}#")
}

/// The channel of responses. That of a single node has its name and `#` behind it.
pub(super) fn response_channel(key: &str, namespace: &str) -> String {
    format!("{key}-response#{namespace}#")
}

/// An event for the sockets of other nodes.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Broadcast {
    pub namespace: String,
    pub name: String,
    pub arguments: OwnedArguments,
    pub target: Target,
    pub flags: Flags,
}

/// The flags of a broadcast that mean something to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flags {
    pub volatile: bool,
    pub compress: bool,
    /// How long acknowledgements are waited for.
    pub timeout: Option<Duration>,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags { volatile: false, compress: true, timeout: None }
    }
}

/// An event that is to be sent, borrowed.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub arguments: &'a OwnedArguments,
    pub target: &'a Target,
    pub flags: Flags,
}

/// A broadcast.
pub(super) fn encode_broadcast(uid: &str, event: Outgoing<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::push_array(&mut out, 3);
    msgpack::push_str(&mut out, uid);
    push_packet(&mut out, event);
    push_options(&mut out, event);
    out
}

fn push_packet(out: &mut Vec<u8>, event: Outgoing<'_>) {
    let arguments = event.arguments.as_arguments();
    msgpack::push_map(out, 3);
    msgpack::push_str(out, "type");
    msgpack::push_integer(out, EVENT_TYPES[0]);
    msgpack::push_str(out, "data");
    msgpack::push_array(out, 1 + arguments.len());
    msgpack::push_str(out, event.name);
    for argument in arguments.iter() {
        msgpack::push_json(out, argument, arguments.attachments());
    }
    msgpack::push_str(out, "nsp");
    msgpack::push_str(out, event.namespace);
}

fn push_options(out: &mut Vec<u8>, event: Outgoing<'_>) {
    msgpack::push_map(out, 3);
    for (name, rooms) in [("rooms", &event.target.rooms), ("except", &event.target.except)] {
        msgpack::push_str(out, name);
        msgpack::push_array(out, rooms.len());
        for room in rooms {
            msgpack::push_str(out, room);
        }
    }
    let Flags { volatile, compress, timeout } = event.flags;
    msgpack::push_str(out, "flags");
    msgpack::push_map(out, usize::from(volatile) + usize::from(!compress) + usize::from(timeout.is_some()));
    if volatile {
        msgpack::push_str(out, "volatile");
        msgpack::push_bool(out, true);
    }
    if !compress {
        msgpack::push_str(out, "compress");
        msgpack::push_bool(out, false);
    }
    if let Some(timeout) = timeout {
        msgpack::push_str(out, "timeout");
        msgpack::push_integer(out, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }
}

/// Reads a broadcast. `None`: this node has sent it.
pub(super) fn decode_broadcast(bytes: &[u8], own: &str) -> Result<Option<Broadcast>, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.array_len()? != 3 {
        return Err(NOT_WANTED);
    }
    if reader.name()? == own {
        return Ok(None);
    }
    let mut broadcast = read_packet(&mut reader)?;
    read_options(&mut reader, &mut broadcast)?;
    reader.finish()?;
    Ok(Some(broadcast))
}

/// Reads a map, of which `read` takes the values of the names that it knows.
fn read_map(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&str, &mut Reader<'_>) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    for _ in 0..reader.map_len()? {
        let name = reader.name()?;
        if !read(&name, reader)? {
            reader.skip()?;
        }
    }
    Ok(())
}

fn read_packet(reader: &mut Reader<'_>) -> Result<Broadcast, Malformed> {
    let mut broadcast = Broadcast { namespace: "/".to_owned(), ..Broadcast::default() };
    let (mut has_data, mut kind) = (false, None);
    read_map(reader, |name, reader| {
        match name {
            "type" => kind = Some(reader.integer()?),
            "nsp" => broadcast.namespace = reader.name()?.into_owned(),
            "data" => {
                let len = reader.array_len()?;
                if len == 0 {
                    return Err(NOT_WANTED);
                }
                broadcast.name = reader.name()?.into_owned();
                let (mut list, mut attachments) = (String::new(), Vec::new());
                for argument in 1..len {
                    if argument > 1 {
                        list.push(',');
                    }
                    reader.json(&mut list, &mut attachments)?;
                }
                broadcast.arguments = OwnedArguments::new(list, attachments)?;
                has_data = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if has_data && kind.is_some_and(|kind| EVENT_TYPES.contains(&kind)) { Ok(broadcast) } else { Err(NOT_WANTED) }
}

fn read_options(reader: &mut Reader<'_>, broadcast: &mut Broadcast) -> Result<(), Malformed> {
    read_map(reader, |name, reader| {
        let rooms = match name {
            "rooms" => &mut broadcast.target.rooms,
            "except" => &mut broadcast.target.except,
            "flags" => {
                let flags = &mut broadcast.flags;
                read_map(reader, |name, reader| {
                    match name {
                        "volatile" => flags.volatile = reader.bool()?,
                        "compress" => flags.compress = reader.bool()?,
                        "timeout" => flags.timeout = Some(Duration::from_millis(reader.integer()?)),
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        for _ in 0..reader.array_len()? {
            rooms.push(reader.name()?.into_owned());
        }
        Ok(true)
    })
}

/// A request of another node.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Request {
    /// The ids of the sockets in rooms.
    Sockets(Vec<String>),
    AllRooms,
    /// Sockets join rooms or leave them.
    Rooms {
        target: Target,
        rooms: Vec<String>,
        join: bool,
    },
    /// One socket joins a room or leaves it. From versions before 6.
    RoomOfOne {
        id: String,
        room: String,
        join: bool,
    },
    Disconnect {
        target: Target,
        close: bool,
    },
    /// From versions before 6.
    DisconnectOne {
        id: String,
        close: bool,
    },
    Fetch(Target),
    ServerSideEmit {
        name: String,
        arguments: OwnedArguments,
    },
    Broadcast(Broadcast),
}

/// A request with its sender and its number. An emitter that runs no server sends none, or `emitter`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Received {
    pub uid: Option<String>,
    /// An answer repeats it.
    pub request_id: Option<String>,
    pub request: Request,
}

/// Reads a request. `None`: this node has sent it, or its type is not known.
pub(super) fn decode_request(bytes: &[u8], own: &str) -> Result<Option<Received>, Malformed> {
    if bytes.first() != Some(&b'{') {
        return decode_broadcast_request(bytes, own);
    }
    let Ok(Value::Object(message)) = serde_json::from_slice(bytes) else { return Err(NOT_WANTED) };
    let uid = text(&message, "uid").map(str::to_owned);
    if uid.as_deref() == Some(own) {
        return Ok(None);
    }
    let kind = message.get("type").and_then(Value::as_u64).ok_or(NOT_WANTED)?;
    let has_options = message.contains_key("opts");
    let id = || text(&message, "sid").map(str::to_owned).ok_or(NOT_WANTED);
    let close = message.get("close").and_then(Value::as_bool).unwrap_or(false);
    let request = match kind {
        kind::SOCKETS => Request::Sockets(rooms(message.get("rooms"))?),
        kind::ALL_ROOMS => Request::AllRooms,
        kind::REMOTE_JOIN | kind::REMOTE_LEAVE => {
            let join = kind == kind::REMOTE_JOIN;
            match has_options {
                true => Request::Rooms { target: target(&message)?, rooms: rooms(message.get("rooms"))?, join },
                false => {
                    let room = message.get("room").and_then(room).ok_or(NOT_WANTED)?;
                    Request::RoomOfOne { id: id()?, room, join }
                }
            }
        }
        kind::REMOTE_DISCONNECT if has_options => Request::Disconnect { target: target(&message)?, close },
        kind::REMOTE_DISCONNECT => Request::DisconnectOne { id: id()?, close },
        kind::REMOTE_FETCH => Request::Fetch(target(&message)?),
        kind::SERVER_SIDE_EMIT => {
            let data = message.get("data").and_then(Value::as_array).ok_or(NOT_WANTED)?;
            let [name, arguments @ ..] = data.as_slice() else { return Err(NOT_WANTED) };
            let list = arguments.iter().map(Value::to_string).collect::<Vec<_>>().join(",");
            let name = room(name).ok_or(NOT_WANTED)?;
            Request::ServerSideEmit { name, arguments: OwnedArguments::new(list, Vec::new())? }
        }
        _ => return Ok(None),
    };
    Ok(Some(Received { uid, request_id: text(&message, "requestId").map(str::to_owned), request }))
}

fn decode_broadcast_request(bytes: &[u8], own: &str) -> Result<Option<Received>, Malformed> {
    let mut reader = Reader::new(bytes);
    let (mut uid, mut request_id, mut kind, mut packet) = (None, None, None, None);
    let mut options = Broadcast::default();
    read_map(&mut reader, |name, reader| {
        match name {
            "uid" => uid = Some(reader.name()?.into_owned()),
            "requestId" => request_id = Some(reader.name()?.into_owned()),
            "type" => kind = Some(reader.integer()?),
            "packet" => packet = Some(read_packet(reader)?),
            "opts" => read_options(reader, &mut options)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    reader.finish()?;
    if uid.as_deref() == Some(own) || kind.is_some_and(|kind| kind != kind::BROADCAST) {
        return Ok(None);
    }
    let (Some(packet), Some(_), Some(_)) = (packet, kind, &request_id) else { return Err(NOT_WANTED) };
    let broadcast = Broadcast { target: options.target, flags: options.flags, ..packet };
    Ok(Some(Received { uid, request_id, request: Request::Broadcast(broadcast) }))
}

fn text<'a>(message: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    message.get(name).and_then(Value::as_str)
}

/// The name of a room or an event, which in JavaScript may be a number.
fn room(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(json::number(&number.to_string()).into_owned()),
        _ => None,
    }
}

/// A list of names. A field that is missing is an empty one.
fn rooms(value: Option<&Value>) -> Result<Vec<String>, Malformed> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|item| room(item).ok_or(NOT_WANTED)).collect(),
        Some(_) => Err(NOT_WANTED),
    }
}

fn target(message: &Map<String, Value>) -> Result<Target, Malformed> {
    let options = message.get("opts").and_then(Value::as_object).ok_or(NOT_WANTED)?;
    Ok(Target { rooms: rooms(options.get("rooms"))?, except: rooms(options.get("except"))? })
}

fn options(target: &Target) -> Value {
    json!({ "rooms": target.rooms, "except": target.except })
}

/// Sockets of other nodes join rooms or leave them.
pub(super) fn encode_rooms(uid: &str, target: &Target, rooms: &[String], join: bool) -> String {
    let kind = if join { kind::REMOTE_JOIN } else { kind::REMOTE_LEAVE };
    json!({ "uid": uid, "type": kind, "opts": options(target), "rooms": rooms }).to_string()
}

/// Sockets of other nodes are disconnected.
pub(super) fn encode_disconnect(uid: &str, target: &Target, close: bool) -> String {
    json!({ "uid": uid, "type": kind::REMOTE_DISCONNECT, "opts": options(target), "close": close }).to_string()
}

/// The sockets of other nodes are asked for.
pub(super) fn encode_fetch(uid: &str, request_id: &str, target: &Target) -> String {
    json!({ "uid": uid, "requestId": request_id, "type": kind::REMOTE_FETCH, "opts": options(target) }).to_string()
}

/// The rooms of other nodes are asked for.
pub(super) fn encode_all_rooms_request(uid: &str, request_id: &str) -> String {
    json!({ "uid": uid, "requestId": request_id, "type": kind::ALL_ROOMS }).to_string()
}

/// An event for the servers of other nodes. It is JSON, so binary values become what `JSON.stringify` makes of a
/// `Buffer`.
pub(super) fn encode_server_side_emit(
    uid: &str,
    request_id: Option<&str>,
    name: &str,
    arguments: &OwnedArguments,
) -> String {
    let mut out = format!(r#"{{"uid":"{uid}","#);
    if let Some(request_id) = request_id {
        out.push_str(&format!(r#""requestId":"{request_id}","#));
    }
    out.push_str(&format!(r#""type":{},"data":["#, kind::SERVER_SIDE_EMIT));
    json::push_string(&mut out, name);
    let arguments = arguments.as_arguments();
    for argument in arguments.iter() {
        out.push(',');
        push_without_attachments(&mut out, argument, arguments.attachments());
    }
    out.push_str("]}");
    out
}

/// Appends a JSON value with its binary values inside.
fn push_without_attachments(out: &mut String, text: &str, attachments: &[Vec<u8>]) {
    if attachments.is_empty() || !text.starts_with(['[', '{']) {
        return out.push_str(text);
    }
    if let Some(bytes) = binary::placeholder(text).and_then(|number| attachments.get(number)) {
        return out.push_str(&json!({ "type": "Buffer", "data": bytes }).to_string());
    }
    if text.starts_with('[') {
        out.push('[');
        for (number, item) in json::items(text).enumerate() {
            if number > 0 {
                out.push(',');
            }
            push_without_attachments(out, item, attachments);
        }
        return out.push(']');
    }
    out.push('{');
    for (number, (name, value)) in json::members(text).enumerate() {
        if number > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push(':');
        push_without_attachments(out, value, attachments);
    }
    out.push('}');
}

/// An event that sockets of other nodes acknowledge.
pub(super) fn encode_broadcast_request(uid: &str, request_id: &str, event: Outgoing<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::push_map(&mut out, 5);
    for (name, value) in [("uid", uid), ("requestId", request_id)] {
        msgpack::push_str(&mut out, name);
        msgpack::push_str(&mut out, value);
    }
    msgpack::push_str(&mut out, "type");
    msgpack::push_integer(&mut out, kind::BROADCAST);
    msgpack::push_str(&mut out, "packet");
    push_packet(&mut out, event);
    msgpack::push_str(&mut out, "opts");
    push_options(&mut out, event);
    out
}

/// An answer of another node.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Response {
    Sockets(Vec<RemoteSocket>),
    Rooms(Vec<String>),
    Server(Value),
    ClientCount(usize),
    Ack(OwnedArguments),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Answer {
        match response {
            Response::Sockets(sockets) => Answer::Sockets(sockets),
            Response::Rooms(rooms) => Answer::Rooms(rooms),
            Response::Server(value) => Answer::Server(value),
            Response::ClientCount(count) => Answer::ClientCount(count),
            Response::Ack(arguments) => Answer::Ack(arguments),
        }
    }
}

/// Reads a response: the number of the request, and the answer. `None`: it is of a kind that this side does not ask
/// for.
pub(super) fn decode_response(bytes: &[u8]) -> Result<Option<(String, Response)>, Malformed> {
    if bytes.first() != Some(&b'{') {
        return decode_ack(bytes);
    }
    let Ok(Value::Object(mut message)) = serde_json::from_slice(bytes) else { return Err(NOT_WANTED) };
    let request_id = text(&message, "requestId").ok_or(NOT_WANTED)?.to_owned();
    let response = match message.get("type").and_then(Value::as_u64) {
        Some(kind::SERVER_SIDE_EMIT) => Response::Server(message.remove("data").unwrap_or_default()),
        Some(kind::BROADCAST_CLIENT_COUNT) => {
            let count = message.get("clientCount").and_then(Value::as_u64).ok_or(NOT_WANTED)?;
            Response::ClientCount(usize::try_from(count).unwrap_or(usize::MAX))
        }
        Some(_) => return Ok(None),
        None => match message.remove("sockets") {
            Some(Value::Array(sockets)) => {
                Response::Sockets(sockets.into_iter().map(socket).collect::<Option<_>>().ok_or(NOT_WANTED)?)
            }
            _ => match message.get("rooms") {
                Some(names) => Response::Rooms(rooms(Some(names))?),
                None => return Ok(None),
            },
        },
    };
    Ok(Some((request_id, response)))
}

fn decode_ack(bytes: &[u8]) -> Result<Option<(String, Response)>, Malformed> {
    let mut reader = Reader::new(bytes);
    let (mut request_id, mut kind) = (None, None);
    let (mut list, mut attachments) = (String::new(), Vec::new());
    read_map(&mut reader, |name, reader| {
        match name {
            "requestId" => request_id = Some(reader.name()?.into_owned()),
            "type" => kind = Some(reader.integer()?),
            "packet" if list.is_empty() => reader.json(&mut list, &mut attachments)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    reader.finish()?;
    match (request_id, kind) {
        (Some(request_id), Some(kind::BROADCAST_ACK)) => {
            Ok(Some((request_id, Response::Ack(OwnedArguments::new(list, attachments)?))))
        }
        _ => Err(NOT_WANTED),
    }
}

/// Reads a socket of another node.
pub(super) fn socket(value: Value) -> Option<RemoteSocket> {
    let Value::Object(mut socket) = value else { return None };
    Some(RemoteSocket {
        id: text(&socket, "id")?.to_owned(),
        rooms: rooms(socket.get("rooms")).ok()?,
        handshake: socket.remove("handshake").unwrap_or_default(),
        data: socket.remove("data").unwrap_or_default(),
    })
}

/// The response to a request for ids or for sockets.
pub(super) fn encode_sockets(request_id: &str, sockets: Vec<Value>) -> String {
    json!({ "requestId": request_id, "sockets": sockets }).to_string()
}

/// A socket of this node in such a response.
pub(super) fn socket_value(socket: RemoteSocket) -> Value {
    json!({ "id": socket.id, "handshake": socket.handshake, "rooms": socket.rooms, "data": socket.data })
}

/// The response to a request for all rooms.
pub(super) fn encode_all_rooms(request_id: &str, rooms: &[String]) -> String {
    json!({ "requestId": request_id, "rooms": rooms }).to_string()
}

/// The response to a request of one of the old forms: it is done.
pub(super) fn encode_done(request_id: &str) -> String {
    json!({ "requestId": request_id }).to_string()
}

/// The answer of this node's server.
pub(super) fn encode_server_answer(request_id: &str, data: &Value) -> String {
    json!({ "type": kind::SERVER_SIDE_EMIT, "requestId": request_id, "data": data }).to_string()
}

/// How many sockets of this node have got an event that they acknowledge.
pub(super) fn encode_client_count(request_id: &str, count: usize) -> String {
    json!({ "type": kind::BROADCAST_CLIENT_COUNT, "requestId": request_id, "clientCount": count }).to_string()
}

/// The acknowledgement of one of them. Nodes carry its first argument.
pub(super) fn encode_ack(request_id: &str, arguments: &OwnedArguments) -> Vec<u8> {
    let arguments = arguments.as_arguments();
    let first = arguments.raw(0);
    let mut out = Vec::new();
    msgpack::push_map(&mut out, 2 + usize::from(first.is_some()));
    msgpack::push_str(&mut out, "type");
    msgpack::push_integer(&mut out, kind::BROADCAST_ACK);
    msgpack::push_str(&mut out, "requestId");
    msgpack::push_str(&mut out, request_id);
    if let Some(first) = first {
        msgpack::push_str(&mut out, "packet");
        msgpack::push_json(&mut out, first, arguments.attachments());
    }
    out
}
