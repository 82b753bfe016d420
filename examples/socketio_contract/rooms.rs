//! Events for many sockets: rooms, broadcasts, votes.

use std::time::Duration;

use bucle::Loop;
use bucle::socket_io::{Broadcast, Event, Namespace, Raw, Server, Socket};
use serde_json::{Value, json};

use super::socket::{id, other_rooms};

/// The argument of this number as names of rooms: a string, or an array of strings.
fn rooms(event: &Event<'_>, index: usize) -> Vec<String> {
    match event.arguments().get(index) {
        Ok(Value::String(room)) => vec![room],
        Ok(Value::Array(rooms)) => rooms.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Sends an event with some of the arguments that have arrived, and the sender's id behind them. They may hold binary
/// values, so they are not made values of Rust.
fn pass_on(lp: &mut Loop, socket: Socket, event: &Event<'_>, kept: &[usize], to: Broadcast, name: &str) {
    let arguments = event.arguments();
    let from = Value::from(id(lp, socket)).to_string();
    let kept = kept.iter().map(|&index| arguments.raw(index).unwrap_or("null"));
    let json: Vec<&str> = kept.chain([from.as_str()]).collect();
    let attachments: Vec<&[u8]> = arguments.attachments().iter().map(Vec::as_slice).collect();
    to.emit(lp, name, Raw { json: &json.join(","), attachments: &attachments });
}

/// Sends `said` to the receivers, and acknowledges.
fn say(lp: &mut Loop, socket: Socket, event: &mut Event<'_>, message: usize, to: Broadcast) {
    pass_on(lp, socket, event, &[0, message], to, "said");
    event.ack(lp, ());
}

/// `join`, `leave` and `say`.
pub fn join_and_say(lp: &mut Loop, namespace: Namespace) {
    namespace.on(lp, "join", |lp, socket, event| {
        socket.join(lp, rooms(event, 0));
        let rooms = other_rooms(lp, socket);
        event.ack(lp, (rooms,));
    });
    namespace.on(lp, "leave", |lp, socket, event| {
        socket.leave(lp, rooms(event, 0));
        let rooms = other_rooms(lp, socket);
        event.ack(lp, (rooms,));
    });
    namespace.on(lp, "say", |lp, socket, event| {
        let Some(namespace) = socket.namespace(lp) else { return };
        let to = namespace.to(rooms(event, 0));
        say(lp, socket, event, 1, to);
    });
}

/// `shout-all` of all namespaces: in the scope of the socket's own.
pub fn shout_all(lp: &mut Loop, namespace: Namespace) {
    namespace.on(lp, "shout-all", |lp, socket, event| {
        let Some(namespace) = socket.namespace(lp) else { return };
        shout(lp, socket, event, namespace.broadcast());
    });
}

fn shout(lp: &mut Loop, socket: Socket, event: &mut Event<'_>, to: Broadcast) {
    pass_on(lp, socket, event, &[0], to, "shouted");
    event.ack(lp, ());
}

pub fn serve(lp: &mut Loop, io: Server) {
    join_and_say(lp, io.main());
    shout_all(lp, io.main());
    io.on(lp, "say-others", |lp, socket, event| {
        let to = socket.to(lp, rooms(event, 0));
        say(lp, socket, event, 1, to);
    });
    io.on(lp, "say-except", move |lp, socket, event| {
        let to = io.to(rooms(event, 0)).except(rooms(event, 1));
        say(lp, socket, event, 2, to);
    });
    io.on(lp, "shout", |lp, socket, event| {
        let to = socket.broadcast(lp);
        shout(lp, socket, event, to);
    });
    io.on(lp, "shout-local", move |lp, socket, event| shout(lp, socket, event, io.local()));
    io.on(lp, "poll", move |lp, _, event| {
        let Some(ack) = event.take_ack() else { return };
        let to = io.to(rooms(event, 0)).timeout(Duration::from_millis(500));
        to.emit_with_ack(lp, "vote", (), |lp, answers| {
            let mut votes: Vec<Value> = answers
                .answered
                .iter()
                .map(|(_, arguments)| arguments.as_arguments().get(0).unwrap_or_default())
                .collect();
            votes.sort_by_key(Value::to_string);
            ack.send(lp, json!({ "votes": votes, "complete": answers.is_complete }));
        });
    });
    io.on(lp, "who", move |lp, _, event| {
        let Some(ack) = event.take_ack() else { return };
        io.to(rooms(event, 0)).fetch_sockets(lp, |lp, sockets| {
            let mut found: Vec<(String, Value)> = Vec::new();
            for socket in sockets {
                let mut rooms: Vec<&String> = socket.rooms.iter().filter(|room| **room != socket.id).collect();
                rooms.sort();
                let value = socket.data.get("value").cloned().unwrap_or_default();
                let entry = json!({ "id": socket.id, "rooms": rooms, "value": value });
                found.push((socket.id, entry));
            }
            found.sort_by(|one, other| one.0.cmp(&other.0));
            let found: Vec<Value> = found.into_iter().map(|(_, entry)| entry).collect();
            ack.send(lp, (found,));
        });
    });
    io.on(lp, "rooms", move |lp, _, event| {
        let Some(ack) = event.take_ack() else { return };
        io.all_rooms(lp, |lp, rooms| {
            ack.send(lp, (rooms,));
        });
    });
    io.on(lp, "move", move |lp, _, event| {
        let (from, to) = (rooms(event, 0), rooms(event, 1));
        io.to(&from).sockets_join(lp, &to);
        io.to(&from).sockets_leave(lp, &from);
        event.ack(lp, ());
    });
    io.on(lp, "kick", move |lp, _, event| {
        let close = event.arguments().get(1).unwrap_or_default();
        io.to(rooms(event, 0)).disconnect_sockets(lp, close);
    });
    cluster(lp, io);
}

/// Events that ask the other nodes of a cluster.
fn cluster(lp: &mut Loop, io: Server) {
    io.on_server_event(lp, "who-are-you", |lp, event| {
        event.ack(lp, "node");
    });
    io.on(lp, "nodes", move |lp, _, event| {
        let Some(ack) = event.take_ack() else { return };
        io.server_side_emit_with_ack(lp, "who-are-you", (), Duration::from_secs(5), |lp, result| {
            ack.send(lp, (result.answers,));
        });
    });
    io.on_server_event(lp, "announcement", move |lp, event| {
        let arguments = event.arguments();
        io.local().emit(lp, "announced", arguments);
    });
    io.on(lp, "announce", move |lp, _, event| {
        let message: Value = event.arguments().get(0).unwrap_or_default();
        io.server_side_emit(lp, "announcement", message);
        event.ack(lp, ());
    });
}
