//! Socket.IO as the clients of the command speak it: the URL, and the messages. Over a WebSocket connection:
//!
//! ```text
//!   client                                  server
//!          GET /socket.io/?EIO=4&transport=websocket, and 101
//!                                    ◀──    0{"sid":…}                the session is open
//!   40/admin,{"token":"x"}           ──▶
//!                                    ◀──    40/admin,{"sid":…}        the namespace is joined, or
//!                                           44/admin,{"message":…}    refused
//!   42/admin,7["echo","hola"]        ──▶
//!                                    ◀──    43/admin,7["hola"]        the acknowledgement 7
//!                                    ◀──    2                         a ping
//!   3                                ──▶
//! ```

use bucle::socket_io::json;
use bucle::socket_io::packet::{self, Limits, Packet, PacketType};
use bucle::websocket::handshake::{self, Target};

/// The path of the requests of Socket.IO.
const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// The answer to a ping.
pub(crate) const PONG: &str = "3";

/// Where a client connects to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The WebSocket connection below.
    pub(crate) target: Target,
    /// Begins with a slash.
    pub(crate) namespace: String,
}

/// Parses `sio://HOST:PORT/NAMESPACE?QUERY`. The query goes to the server with the handshake. The error is half a
/// sentence about what is wrong.
pub(crate) fn parse_url(text: &str) -> Result<Place, String> {
    let rest = text.get(6..).filter(|_| is_url(text)).ok_or("the URL must start with sio://")?;
    let mut target =
        handshake::parse_url(&format!("ws://{rest}")).map_err(|error| error.to_string().replace("ws://", "sio://"))?;
    let (path, query) = target.path_and_query.split_once('?').unwrap_or((&target.path_and_query, ""));
    let namespace = path.to_owned();
    if namespace.contains(',') || namespace.len() > Limits::default().max_namespace {
        return Err("a namespace has no commas, and at most 256 bytes".to_owned());
    }
    target.path_and_query = if query.is_empty() { PATH.to_owned() } else { format!("{PATH}&{query}") };
    Ok(Place { target, namespace })
}

/// How a client reaches a server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum TransportChoice {
    /// Over a WebSocket connection, or by polling if the handshake fails.
    #[default]
    Auto,
    WebSocket,
    Polling,
}

impl TransportChoice {
    /// The values of `--transport`.
    pub(crate) const NAMES: [(&str, TransportChoice); 3] = [
        ("auto", TransportChoice::Auto),
        ("websocket", TransportChoice::WebSocket),
        ("polling", TransportChoice::Polling),
    ];

    pub(crate) fn of(name: &str) -> Option<TransportChoice> {
        TransportChoice::NAMES.into_iter().find(|(other, _)| *other == name).map(|(_, choice)| choice)
    }
}

/// Whether a target is a URL of Socket.IO.
pub(crate) fn is_url(target: &str) -> bool {
    target.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sio://"))
}

/// Checks the credentials. The error is half a sentence.
pub(crate) fn check_auth(text: &str) -> Result<String, String> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => Ok(serde_json::Value::Object(object).to_string()),
        _ => Err(r#"write a JSON object, as in {"token":"x"}"#.to_owned()),
    }
}

/// Checks the value of `--event`. A program may send one without a name, but `--event ''` is an unset variable.
pub(crate) fn event_option(name: &str) -> Result<String, String> {
    if name.is_empty() { Err("the name is empty".to_owned()) } else { check_event(name) }
}

/// Checks the name of an event. The error is half a sentence.
pub(crate) fn check_event(name: &str) -> Result<String, String> {
    match packet::RESERVED_EVENTS.contains(&name) {
        true => Err("Socket.IO uses this name itself; choose another one".to_owned()),
        false => Ok(name.to_owned()),
    }
}

/// A message of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Message<'a> {
    /// The session is open.
    Open,
    /// A ping, to be answered with [`PONG`].
    Ping,
    /// The namespace is joined.
    Joined,
    /// The namespace is refused, with this message.
    Refused(String),
    /// An event or an acknowledgement. Binary messages may follow it.
    Packet(Packet<'a>),
    /// The server has disconnected the client from the namespace.
    Left,
    /// The server ends the session.
    Closed,
    /// Nothing that concerns this client.
    Other,
}

/// Reads a text message. The error is a sentence about what is wrong.
pub(crate) fn read<'a>(text: &'a str, namespace: &str) -> Result<Message<'a>, String> {
    match text.strip_prefix('4') {
        Some(text) => {
            let packet = packet::parse(text, &Limits::default()).map_err(|error| error.to_string())?;
            Ok(read_packet(packet, namespace))
        }
        None => read_session(text),
    }
}

/// As [`read`], for a message that is no packet of Socket.IO.
pub(crate) fn read_session<'a>(text: &str) -> Result<Message<'a>, String> {
    match text.as_bytes().first() {
        Some(b'0') => Ok(Message::Open),
        Some(b'1') => Ok(Message::Closed),
        Some(b'2') => Ok(Message::Ping),
        Some(b'3' | b'5' | b'6') => Ok(Message::Other),
        _ => Err("a message is no packet of Engine.IO".to_owned()),
    }
}

/// As [`read`], for a packet of Socket.IO.
pub(crate) fn read_packet<'a>(packet: Packet<'a>, namespace: &str) -> Message<'a> {
    if packet.namespace != namespace {
        return Message::Other;
    }
    match packet.kind {
        PacketType::Connect => Message::Joined,
        PacketType::ConnectError => Message::Refused(refusal(packet.data.unwrap_or_default())),
        PacketType::Disconnect => Message::Left,
        _ => Message::Packet(packet),
    }
}

/// The message in the data of a refusal, which may be any JSON.
fn refusal(data: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    match (&value, &value["message"]) {
        (serde_json::Value::String(text), _) | (_, serde_json::Value::String(text)) => text.clone(),
        _ => data.to_owned(),
    }
}

/// The message that asks for the namespace.
pub(crate) fn connect(namespace: &str, auth: Option<&str>) -> String {
    let mut message = "4".to_owned();
    packet::push_header(&mut message, PacketType::Connect, 0, namespace, None);
    message.push_str(auth.unwrap_or_default());
    message
}

/// Appends an event with one string, which wants the acknowledgement `id`.
pub(crate) fn push_event(out: &mut String, namespace: &str, id: Option<u64>, name: &str, argument: &str) {
    out.push('4');
    packet::push_header(out, PacketType::Event, 0, namespace, id);
    out.push('[');
    json::push_string(out, name);
    out.push(',');
    json::push_string(out, argument);
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_place_and_a_namespace() {
        let table = [
            ("sio://h:81", Ok(("h:81", "/", ""))),
            ("sio://h:81/", Ok(("h:81", "/", ""))),
            ("SIO://h", Ok(("h", "/", ""))),
            ("sio://[::1]:81/admin", Ok(("[::1]:81", "/admin", ""))),
            ("sio://h/a/b?token=x&y=1", Ok(("h", "/a/b", "&token=x&y=1"))),
            ("ws://h", Err("start with sio://")),
            ("sio://", Err("malformed")),
            ("sio://h:0/", Err("port")),
            ("sio://h/a,b", Err("no commas")),
            ("sio://ana:x@h", Err("password")),
        ];
        for (text, want) in table {
            match (parse_url(text), want) {
                (Ok(place), Ok((authority, namespace, query))) => {
                    assert_eq!((&*place.target.authority, &*place.namespace), (authority, namespace), "{text}");
                    assert_eq!(place.target.path_and_query, format!("{PATH}{query}"), "{text}");
                }
                (Err(why), Err(want)) => assert!(why.contains(want), "{text}: {why}"),
                (got, want) => panic!("{text}: {got:?} instead of {want:?}"),
            }
        }
        let long = format!("sio://h/{}", "x".repeat(256));
        assert!(parse_url(&long).is_err_and(|why| why.contains("256 bytes")));
    }

    #[test]
    fn messages_are_read_for_their_namespace() {
        let refused = |text: &str| Ok(Message::Refused(text.to_owned()));
        let table = [
            (r#"0{"sid":"x"}"#, Ok(Message::Open)),
            ("2", Ok(Message::Ping)),
            ("1", Ok(Message::Closed)),
            ("6", Ok(Message::Other)),
            (r#"40/a,{"sid":"x"}"#, Ok(Message::Joined)),
            ("40", Ok(Message::Other)),
            (r#"44/a,{"message":"no"}"#, refused("no")),
            (r#"44/a,"no""#, refused("no")),
            (r#"44/a,{"why":1}"#, refused(r#"{"why":1}"#)),
            ("41/a,", Ok(Message::Left)),
            (r#"42["x"]"#, Ok(Message::Other)),
            ("", Err("no packet")),
            ("9", Err("no packet of Engine.IO")),
            ("ñ", Err("no packet")),
            ("42/a,", Err("")),
        ];
        for (text, want) in table {
            match (read(text, "/a"), want) {
                (Err(why), Err(want)) => assert!(why.contains(want), "{text}: {why}"),
                (got, want) => assert_eq!(got, want.map_err(str::to_owned), "{text}"),
            }
        }
        let Ok(Message::Packet(packet)) = read(r#"43/a,7["x"]"#, "/a") else { panic!("an acknowledgement") };
        assert_eq!((packet.kind, packet.id, packet.data), (PacketType::Ack, Some(7), Some(r#"["x"]"#)));
    }

    #[test]
    fn messages_are_written_as_the_protocol_has_them() {
        assert_eq!(connect("/", None), "40");
        assert_eq!(connect("/a", Some(r#"{"t":1}"#)), r#"40/a,{"t":1}"#);
        let mut out = String::new();
        push_event(&mut out, "/a", Some(7), "e\"", "ñ\n");
        assert_eq!(out, r#"42/a,7["e\"","ñ\n"]"#);
        assert_eq!(check_auth(r#"{ "t": 1 }"#).as_deref(), Ok(r#"{"t":1}"#));
        assert!(check_auth("1").is_err() && check_auth("").is_err());
        assert!(check_event("connect").is_err() && check_event("echo").is_ok());
    }
}
