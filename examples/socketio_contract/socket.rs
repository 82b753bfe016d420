//! Events of one socket in the main namespace: echo, acknowledgements, data, its end.

use std::time::Duration;

use bucle::Loop;
use bucle::engine_io::{Revision, Transport};
use bucle::socket_io::{Binary, Namespace, Server, Socket};
use serde_json::{Map, Value, json};

/// The data of a socket: what a client has set, and the counts of `stats`.
#[derive(Default, serde::Deserialize, serde::Serialize)]
pub struct Data {
    pub value: Option<Value>,
    #[serde(skip)]
    received: u64,
    #[serde(skip)]
    sent: u64,
    #[serde(skip)]
    last: Option<String>,
}

/// The rooms of a socket, sorted, without that of its id.
pub fn other_rooms(lp: &Loop, socket: Socket) -> Vec<String> {
    let mut rooms = socket.rooms(lp);
    rooms.remove(0);
    rooms.sort();
    rooms
}

pub fn id(lp: &Loop, socket: Socket) -> String {
    socket.id(lp).map_or_else(String::new, |id| id.to_string())
}

/// `echo` of all namespaces.
pub fn echo(lp: &mut Loop, namespace: Namespace) {
    namespace.on(lp, "echo", |lp, socket, event| {
        let arguments = event.arguments();
        if event.wants_ack() {
            event.ack(lp, arguments);
        } else {
            socket.emit(lp, "echo-back", arguments);
        }
    });
}

pub fn serve(lp: &mut Loop, io: Server) {
    io.on_connection(lp, welcome);
    echo(lp, io.main());
    acknowledgements(lp, io);
    volumes(lp, io);
    counts(lp, io);
    io.on(lp, "set", |lp, socket, event| {
        let value = event.arguments().get(0).ok();
        if let Some(data) = socket.data_mut::<Data>(lp) {
            data.value = value;
        }
        event.ack(lp, ());
    });
    io.on(lp, "handshake", |lp, socket, event| {
        let handshake = handshake(lp, socket);
        event.ack(lp, handshake);
    });
    io.use_event_middleware(lp, |_, _, event| match event.name() {
        "forbidden" => Err("forbidden event".into()),
        _ => Ok(()),
    });
    io.on_error(lp, |lp, socket, error| {
        socket.emit(lp, "refused", error.message());
    });
    io.on(lp, "bye", |lp, socket, _| socket.disconnect(lp, false));
    io.on(lp, "bye-close", |lp, socket, _| socket.disconnect(lp, true));
    io.on_disconnecting(lp, |lp, socket, reason| {
        let left = json!({ "id": id(lp, socket), "reason": reason.as_str(), "rooms": other_rooms(lp, socket) });
        socket.broadcast(lp).emit(lp, "left", left);
    });
}

fn welcome(lp: &mut Loop, socket: Socket) {
    // On another node it was kept as JSON.
    if !socket.restore_data::<Data>(lp) {
        socket.set_data(lp, Data::default());
    }
    let transport = socket.transport(lp).map_or("", Transport::as_str);
    let eio = if socket.revision(lp) == Some(Revision::V3) { 3 } else { 4 };
    let recovered = socket.is_recovered(lp);
    let id = id(lp, socket);
    socket.emit(lp, "welcome", json!({ "id": id, "transport": transport, "eio": eio, "recovered": recovered }));
}

fn acknowledgements(lp: &mut Loop, io: Server) {
    io.on(lp, "ask", |lp, socket, event| {
        let arguments = event.arguments();
        socket.emit_with_ack(lp, "question", arguments, Duration::from_millis(500), |lp, socket, answer| {
            let answer = match answer {
                Ok(answer) => json!({ "ok": true, "value": answer.get::<Value>(0).unwrap_or_default() }),
                Err(_) => json!({ "ok": false }),
            };
            socket.emit(lp, "answer", answer);
        });
    });
    io.on(lp, "silent", |_, _, _| {});
    io.on(lp, "later", |lp, _, event| {
        let millis: u64 = event.arguments().get(0).unwrap_or_default();
        if let Some(ack) = event.take_ack() {
            lp.set_timeout(Duration::from_millis(millis), move |lp| {
                ack.send(lp, millis);
            });
        }
    });
}

/// Many events, and large ones.
fn volumes(lp: &mut Loop, io: Server) {
    let number = |event: &bucle::socket_io::Event<'_>| event.arguments().get::<u32>(0).unwrap_or_default();
    io.on(lp, "ticks", move |lp, socket, event| {
        let n = number(event);
        for i in 0..n {
            socket.emit_volatile(lp, "tick", i);
        }
        socket.emit(lp, "tick-end", n);
    });
    io.on(lp, "count", move |lp, socket, event| {
        for i in 0..number(event) {
            socket.emit(lp, "number", i);
        }
    });
    io.on(lp, "blob", move |lp, socket, event| {
        let text = "x".repeat(number(event) as usize);
        socket.emit(lp, "blob", text);
    });
    io.on(lp, "bytes", move |lp, socket, event| {
        let bytes = (0..number(event)).map(|i| i as u8).collect::<Vec<u8>>();
        socket.emit(lp, "bytes", Binary(bytes));
    });
}

/// `stats`, counted by catch-all listeners.
fn counts(lp: &mut Loop, io: Server) {
    io.on_any(lp, |lp, socket, event| {
        let name = event.name();
        if let Some(data) = socket.data_mut::<Data>(lp) {
            data.received += 1;
            if name != "stats" {
                data.last = Some(name.to_owned());
            }
        }
    });
    io.on_any_outgoing(lp, |lp, socket, _| {
        if let Some(data) = socket.data_mut::<Data>(lp) {
            data.sent += 1;
        }
    });
    io.on(lp, "stats", |lp, socket, event| {
        let Some(data) = socket.data::<Data>(lp) else { return };
        let stats = json!({ "received": data.received, "sent": data.sent, "last": data.last });
        event.ack(lp, stats);
    });
}

fn handshake(lp: &Loop, socket: Socket) -> Value {
    let Some(handshake) = socket.handshake(lp) else { return Value::Null };
    let headers: Map<_, _> = handshake.headers().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let query: Map<_, _> =
        handshake.query().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    json!({
        "auth": socket.auth::<Value>(lp).unwrap_or_else(|| json!({})),
        "query": query,
        "headers": headers,
        "address": handshake.address().map(|address| address.ip().to_string()),
        "xdomain": handshake.xdomain(),
    })
}
