//! Lesson 32: acknowledgements with a time limit, and who has answered.
//!
//! An event can ask for an acknowledgement. It then carries a number, and the answer repeats the number:
//!
//! ```text
//!   server   420["name?"]              to one socket      client   430["ana"]
//!   server   422["question","lunch?"]  to many            client   432["pizza"]
//! ```
//!
//! * `socket.emit_with_ack` waits for one client. Its closure is called once: with the answer, or with an error when
//!   the time is over or the socket is disconnected.
//! * `emit_with_ack` of a broadcast waits for all receivers. Its closure gets the answers with the ids of their
//!   sockets, and the ids of those that have not answered. It is called early when no answer can come any more.
//! * A client may ask, too. A server that does not know the answer yet keeps the acknowledgement with `take_ack`.
//!
//! Run: `cargo run --example 32_who_answered` (another port as an argument; 0 is any free one. A second argument is the
//! time limit in milliseconds), and in two more terminals
//! `bucle connect 'ws://localhost:8080/socket.io/?EIO=4&transport=websocket'`. Type `40` in both, and answer `name?`
//! with `430["ana"]` in one and with `431["luis"]` in the other. Then ana asks: `427["ask","lunch?"]`. Luis answers
//! `432["pizza"]`, or waits.
//!
//! Expect in ana's terminal one of these:
//!
//! ```text
//! 437[["luis: pizza"]]
//! 437[["luis has not answered"]]
//! ```
//!
//! Why: without a limit, one client that does not answer would keep all the others waiting.

use bucle::socket_io::{self, Options, Server, Socket, SocketId};
use bucle::{Error, Loop, Result};
use std::{collections::HashMap, env, time::Duration};

/// The data of a socket: the name that its client has given.
#[derive(serde::Serialize)]
struct Name(String);

/// Asks a new client for its name. One that does not answer is disconnected.
fn ask_name(lp: &mut Loop, socket: Socket, limit: Duration) {
    socket.emit_with_ack(lp, "name?", (), limit, |lp, socket, answer| {
        let Some(name) = answer.ok().and_then(|arguments| arguments.text(0)) else {
            return socket.disconnect(lp, true);
        };
        socket.set_data(lp, Name(name.chars().take(20).collect()));
        socket.join(lp, "named");
    });
}

/// A client asks: the question goes to all others with a name, and the client gets a line for each of them.
fn ask_others(lp: &mut Loop, io: Server, limit: Duration) {
    io.on(lp, "ask", move |lp, socket, event| {
        let Ok((question,)) = event.parse::<(String,)>() else { return };
        let Some(ack) = event.take_ack() else { return };
        let others = socket.to(lp, "named").timeout(limit);
        // The names are collected now, because a socket that leaves has no data any more.
        let of = |other: Socket| Some((other.id(lp)?, other.data::<Name>(lp)?.0.clone()));
        let names: HashMap<SocketId, String> = others.sockets(lp).into_iter().filter_map(of).collect();
        others.emit_with_ack(lp, "question", question, move |lp, answers| {
            let name = |id: &SocketId| names.get(id).map_or("", String::as_str);
            let mut lines = Vec::new();
            for (id, arguments) in &answers.answered {
                let text = arguments.as_arguments().text(0).unwrap_or_default();
                lines.push(format!("{}: {text}", id.as_ref().map_or("", name)));
            }
            lines.extend(answers.missing.iter().map(|id| format!("{} has not answered", name(id))));
            ack.send(lp, (lines,));
        });
    });
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1).map(|text| text.parse::<u32>().ok());
    let [port, limit] = [8080, 30_000].map(|default| args.next().unwrap_or(Some(default)));
    let usage = || Error::custom("E_USAGE", "usage: 32_who_answered [PORT [MILLISECONDS]]");
    let port = port.and_then(|port| u16::try_from(port).ok()).ok_or_else(usage)?;
    let limit = Duration::from_millis(limit.filter(|limit| *limit > 0).ok_or_else(usage)?.into());
    bucle::run(|lp| {
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", port), Options::default())?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        io.on_connection(lp, move |lp, socket| ask_name(lp, socket, limit));
        ask_others(lp, io, limit);
        Ok(())
    })
}
