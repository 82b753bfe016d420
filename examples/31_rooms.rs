//! Lesson 31: rooms: which sockets get an event.
//!
//! A room is a name. Sockets join and leave it, and an event can be sent to the sockets that are in it:
//!
//! ```text
//!   socket.join("red")
//!   io.to("red").emit(…)                    all sockets in red
//!   io.to(["red", "blue"]).emit(…)          those in red or blue; a socket in both gets it once
//!   io.to("red").except("blue").emit(…)     those in red and not in blue
//!   socket.to("red").emit(…)                those in red, without this socket
//! ```
//!
//! The packet is made once, for all receivers. A room exists while a socket is in it. Each socket is in a room that its
//! own id names, so `io.to(id)` reaches one socket. When a socket is disconnected, it is still in its rooms in
//! `on_disconnecting`, and in none in `on_disconnect`.
//!
//! Run: `cargo run --example 31_rooms` (another port as an argument; 0 is any free one), and in two more terminals
//! `bucle connect 'ws://localhost:8080/socket.io/?EIO=4&transport=websocket'`. Type in both `40` and
//! `42["join","red"]`. Then type in one `42["say","red","hola"]` and `41`. (Lesson 30 explains the digits.)
//!
//! Expect in the other one, after `40{"sid":"…"}`, something like this:
//!
//! ```text
//! 42["joined","red",1]
//! 42["joined","red",2]
//! 42["said","red","hola","socket #3"]
//! 42["left","red","socket #3"]
//! ```
//!
//! Why: a program that keeps a set of sockets for each subject (lesson 7) has to remove them from all sets. Rooms do
//! it.

use bucle::socket_io::{self, Event, Options, Socket};
use bucle::{Error, Loop, Result};

/// A client that joins ever more rooms would cost ever more memory.
const MOST_ROOMS: usize = 10;

/// The first argument, if it is the name of a room that the socket is in.
fn room_of(lp: &Loop, socket: Socket, event: &Event<'_>) -> Option<String> {
    let room = event.arguments().text(0)?.into_owned();
    socket.rooms(lp).contains(&room).then_some(room)
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 31_rooms [PORT]"))?;
    bucle::run(|lp| {
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", port), Options::default())?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        io.on(lp, "join", move |lp, socket, event| {
            let Ok((room,)) = event.parse::<(String,)>() else { return };
            // The first room is the socket's own id.
            if room.len() <= 50 && socket.rooms(lp).len() <= MOST_ROOMS {
                socket.join(lp, &room);
                let size = io.room_size(lp, &room);
                io.to(&room).emit(lp, "joined", (room, size));
            }
        });
        io.on(lp, "leave", |lp, socket, event| {
            let Some(room) = room_of(lp, socket, event) else { return };
            socket.leave(lp, &room);
            socket.to(lp, &room).emit(lp, "left", (room, socket.to_string()));
        });
        io.on(lp, "say", |lp, socket, event| {
            let Some(room) = room_of(lp, socket, event) else { return };
            let Some(text) = event.arguments().text(1) else { return };
            socket.to(lp, &room).emit(lp, "said", (room, text, socket.to_string()));
        });
        io.on_disconnecting(lp, |lp, socket, _reason| {
            for room in socket.rooms(lp).split_off(1) {
                socket.to(lp, &room).emit(lp, "left", (room, socket.to_string()));
            }
        });
        Ok(())
    })
}
