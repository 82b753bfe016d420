//! Properties of the messages between nodes, for any bytes.

use std::time::Duration;

use serde_json::Value;

use super::message::{self, Body};
use super::msgpack::{self, Reader};
use super::wire::{self, Broadcast, Outgoing, Received, Request, Response};
use crate::fuzzing::input::Input;
use crate::socket_io::arguments::OwnedArguments;
use crate::socket_io::json::{self, MAX_DEPTH};

/// Values come through MessagePack, and messages through what they are written as.
pub(crate) fn hold_for(input: &[u8]) {
    let bytes = Input(input).0;
    value_is_written_as_it_was_read(bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        json_comes_through(text.trim());
    }
    if let Ok(Some(broadcast)) = wire::decode_broadcast(bytes, "own") {
        let again = wire::encode_broadcast("uid", outgoing(&broadcast));
        is_same_broadcast(&wire::decode_broadcast(&again, "own").expect("a message").expect("of another"), &broadcast);
        assert_eq!(wire::decode_broadcast(&again, "uid"), Ok(None));
    }
    if let Ok(Some(received)) = wire::decode_request(bytes, "own") {
        assert_ne!(received.uid.as_deref(), Some("own"));
        request_comes_through(&received.request);
    }
    if let Ok(Some((id, response))) = wire::decode_response(bytes) {
        response_comes_through(&id, response);
    }
    if let Ok(message) = message::decode(bytes) {
        message.body.into_iter().for_each(is_same_body);
    }
    // The kind of the field is its first byte.
    if let Some((&kind, field)) = bytes.split_first()
        && let Ok(Some(body)) = message::decode_field(u64::from(kind), field)
    {
        is_same_body(body);
    }
}

/// A message of sharded channels and streams is the same when it is written and read again, in each of its forms.
fn is_same_body(body: Body) {
    let encoded = match &body {
        Body::Broadcast { broadcast, request_id, .. } => {
            message::encode_broadcast(outgoing(broadcast), request_id.as_deref())
        }
        Body::Rooms { target, rooms, join } => message::encode_rooms(target, rooms, *join),
        Body::Disconnect { target, close } => message::encode_disconnect(target, *close),
        Body::Fetch { target, request_id } => message::encode_fetch(target, request_id),
        Body::ServerSideEmit { name, arguments, request_id } => {
            message::encode_server_side_emit(name, arguments, request_id.as_deref())
        }
        Body::Response { request_id, response } => match response {
            Response::Sockets(sockets) => message::encode_sockets(request_id, sockets.clone()),
            Response::Server(value) => message::encode_server_answer(request_id, value),
            Response::ClientCount(count) => message::encode_client_count(request_id, *count),
            Response::Ack(arguments) => message::encode_ack(request_id, arguments),
            Response::Rooms(_) => unreachable!("no message of this format has rooms"),
        },
    };
    let of_field = message::decode_field(encoded.kind, encoded.field().as_bytes()).expect("a message");
    let of_message = [false, true]
        .map(|is_msgpack| message::decode(&encoded.message("uid", "/", is_msgpack)).expect("a message").body);
    for again in [of_field].into_iter().chain(of_message) {
        let again = again.expect("of a known kind");
        match (&again, &body) {
            (Body::Broadcast { broadcast: again, .. }, Body::Broadcast { broadcast, .. }) => {
                is_same_broadcast(again, broadcast);
            }
            (
                Body::ServerSideEmit { name: same, arguments: again, .. },
                Body::ServerSideEmit { name, arguments, .. },
            ) => {
                assert_eq!(same, name);
                assert_eq!(resolved_arguments(again), resolved_arguments(arguments));
            }
            (
                Body::Response { response: Response::Ack(again), .. },
                Body::Response { response: Response::Ack(arguments), .. },
            ) => {
                let first = |arguments: &OwnedArguments| resolved_arguments(arguments);
                assert_eq!(first(again), first(arguments));
            }
            _ => assert_eq!(again, body),
        }
    }
}

fn value_is_written_as_it_was_read(bytes: &[u8]) {
    let (mut text, mut attachments) = (String::new(), Vec::new());
    let mut reader = Reader::new(bytes);
    if reader.json(&mut text, &mut attachments).is_err() {
        return;
    }
    // Each byte of MessagePack is at most a placeholder.
    assert!(text.len() <= 64 * bytes.len().max(1), "{} bytes have become {}", bytes.len(), text.len());
    assert!(json::check(&text).is_ok(), "{text}");
    let mut out = Vec::new();
    msgpack::push_json(&mut out, &text, &attachments);
    let (mut again, mut same) = (String::new(), Vec::new());
    let mut reader = Reader::new(&out);
    reader.json(&mut again, &mut same).expect("what was written can be read");
    reader.finish().expect("one value");
    assert_eq!(resolved(&again, &same), resolved(&text, &attachments));
}

/// JSON without attachments is the same value behind MessagePack.
fn json_comes_through(text: &str) {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    let (mut out, mut again, mut attachments) = (Vec::new(), String::new(), Vec::new());
    // A message has an array around its values.
    if json::check(&format!("[{text}]")).is_err() {
        return;
    }
    msgpack::push_json(&mut out, text, &[]);
    let mut reader = Reader::new(&out);
    reader.json(&mut again, &mut attachments).expect("what was written can be read");
    reader.finish().expect("one value");
    let again: Value = serde_json::from_str(&again).expect("JSON");
    assert!(is_same(&again, &value), "{value} has become {again}");
    assert!(attachments.is_empty());
}

/// Whether values are equal, and numbers have the same value. serde_json reads a long number one unit too high or too
/// low, which the code under test does not.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            (a - b).abs() <= a.abs() * 4.0 * f64::EPSILON
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((a, x), (b, y))| a == b && is_same(x, y))
        }
        _ => a == b,
    }
}

/// A value with its attachments in their places.
fn resolved(text: &str, attachments: &[Vec<u8>]) -> Value {
    fn put(value: &mut Value, attachments: &[Vec<u8>]) {
        let number = value["num"].as_f64().filter(|_| value["_placeholder"] == true);
        let bytes = number.and_then(|number| (0..attachments.len()).find(|index| *index as f64 == number));
        match (bytes, value) {
            (Some(index), value) => *value = format!("bytes {:?}", attachments[index]).into(),
            (None, Value::Array(items)) => items.iter_mut().for_each(|item| put(item, attachments)),
            (None, Value::Object(members)) => members.values_mut().for_each(|member| put(member, attachments)),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(text).expect("JSON");
    put(&mut value, attachments);
    value
}

fn resolved_arguments(arguments: &OwnedArguments) -> Value {
    let arguments = arguments.as_arguments();
    resolved(&format!("[{}]", arguments.as_json()), arguments.attachments())
}

fn outgoing(broadcast: &Broadcast) -> Outgoing<'_> {
    Outgoing {
        namespace: &broadcast.namespace,
        name: &broadcast.name,
        arguments: &broadcast.arguments,
        target: &broadcast.target,
        flags: broadcast.flags,
    }
}

fn is_same_broadcast(again: &Broadcast, broadcast: &Broadcast) {
    let head = |broadcast: &Broadcast| (broadcast.namespace.clone(), broadcast.name.clone(), broadcast.target.clone());
    assert_eq!((head(again), again.flags), (head(broadcast), broadcast.flags));
    assert_eq!(resolved_arguments(&again.arguments), resolved_arguments(&broadcast.arguments));
}

/// A request that this side can make is the same request when it is read.
fn request_comes_through(request: &Request) {
    let text = match request {
        Request::Rooms { target, rooms, join } => wire::encode_rooms("uid", target, rooms, *join),
        Request::Disconnect { target, close } => wire::encode_disconnect("uid", target, *close),
        Request::Fetch(target) => wire::encode_fetch("uid", "id", target),
        Request::ServerSideEmit { name, arguments } => {
            wire::encode_server_side_emit("uid", Some("id"), name, arguments)
        }
        Request::Broadcast(broadcast) => {
            let again = wire::encode_broadcast_request("uid", "id", outgoing(broadcast));
            let again = wire::decode_request(&again, "own").expect("a request").expect("of another");
            let Request::Broadcast(again) = again.request else { panic!("another request") };
            return is_same_broadcast(&again, broadcast);
        }
        Request::Sockets(_) | Request::AllRooms | Request::RoomOfOne { .. } | Request::DisconnectOne { .. } => return,
    };
    let again = wire::decode_request(text.as_bytes(), "own");
    let Ok(Some(Received { request: again, .. })) = again else { panic!("{text} is {again:?}") };
    assert_eq!(&again, request);
}

fn response_comes_through(id: &str, response: Response) {
    let bytes = match &response {
        Response::Sockets(sockets) => {
            wire::encode_sockets(id, sockets.iter().cloned().map(wire::socket_value).collect()).into_bytes()
        }
        Response::Rooms(rooms) => wire::encode_all_rooms(id, rooms).into_bytes(),
        Response::Server(data) => wire::encode_server_answer(id, data).into_bytes(),
        Response::ClientCount(count) => wire::encode_client_count(id, *count).into_bytes(),
        Response::Ack(arguments) => wire::encode_ack(id, arguments),
    };
    let (same_id, again) = wire::decode_response(&bytes).expect("a response").expect("of a known kind");
    assert_eq!(same_id, id);
    match (&again, &response) {
        (Response::Ack(again), Response::Ack(arguments)) => {
            assert_eq!(resolved_arguments(again), resolved_arguments(arguments));
        }
        _ => assert_eq!(again, response),
    }
}

const _: () = assert!(MAX_DEPTH == 64 && Duration::from_millis(u64::MAX).as_millis() == u64::MAX as u128);
