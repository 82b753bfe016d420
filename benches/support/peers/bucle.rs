//! bucle as a user writes it, with the handlers of `bucle serve`.

use std::collections::BTreeSet;
use std::time::Duration;

use bucle::net::{self, Server, ServerOptions, Socket};
use bucle::socket_io;
use bucle::telnet::{self, Client, Telnet};
use bucle::websocket::{self, Message, WebSocket};
use bucle::{Loop, Result};

use super::Role;

struct Echo;

impl net::Handler for Echo {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if !socket.write(lp, chunk) {
            socket.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }
}

struct Lines;

impl telnet::Handler for Lines {
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        client.write(lp, line);
    }
}

#[derive(Default)]
struct Relay {
    clients: BTreeSet<Client>,
}

impl telnet::Handler for Relay {
    fn on_open(&mut self, _: &mut Loop, client: Client) {
        self.clients.insert(client);
    }

    fn on_line(&mut self, lp: &mut Loop, _: Client, line: &[u8]) {
        telnet::broadcast(lp, &self.clients, line);
    }

    fn on_close(&mut self, _: &mut Loop, client: Client, _had_error: bool) {
        self.clients.remove(&client);
    }
}

struct MessageEcho;

impl websocket::Handler for MessageEcho {
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        ws.send(lp, message);
    }
}

pub fn serve(role: Role) {
    let untouched = telnet::Options { keeps_breaks: true, ..telnet::Options::default() };
    let served = bucle::run(|lp| match role {
        Role::Echo => listen(lp, Echo),
        Role::Lines => listen(lp, Telnet::new(untouched, Lines)),
        Role::Relay => listen(lp, Telnet::new(untouched, Relay::default())),
        Role::Events => {
            let mut options = socket_io::Options::default();
            // No ping falls into a measurement.
            options.engine.ping_interval = Duration::from_secs(3600);
            let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), options)?;
            io.on(lp, "echo", |lp, _, event| {
                let arguments = event.arguments();
                event.ack(lp, arguments);
            });
            super::announce(server.port(lp).expect("it is bound"));
            Ok(())
        }
        Role::Messages => {
            let server = websocket::listen(lp, ("127.0.0.1", 0), websocket::Options::default(), MessageEcho)?;
            super::announce(server.port(lp).expect("it is bound"));
            Ok(())
        }
    });
    served.expect("the loop does not fail");
}

fn listen(lp: &mut Loop, handler: impl net::Handler) -> Result<()> {
    let options = ServerOptions { no_delay: true, accepts_per_turn: 64, ..ServerOptions::default() };
    let server = Server::new(lp, options, handler);
    server.id().listen_now(lp, ("127.0.0.1", 0))?;
    super::announce(server.id().address(lp).and_then(|address| address.port()).expect("it is bound"));
    Ok(())
}
