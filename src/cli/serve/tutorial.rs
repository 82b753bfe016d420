//! The servers of the tutorial that bucle began with.
//!
//! The one for lines greets, answers each line, and announces a `bye` to all clients. The one for Socket.IO greets with
//! the event `messageClient`, prints the texts of the event `messageServer`, and announces a `bye` to the other clients
//! with the event `event`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;

use bucle::http::{self, Exchange, Request, StatusCode};
use bucle::net::{Error, Socket};
use bucle::socket_io::{Event, Server};
use bucle::telnet::lines::printable;
use bucle::telnet::{self, Client, Handler};
use bucle::{Loop, process};

use super::errors::log_error;
use super::web::OwnHost;

/// How many characters of a text are printed. The line with them fits into a pipe at once.
const PRINTED: usize = 500;

#[derive(Default)]
pub(crate) struct Tutorial {
    clients: BTreeSet<Client>,
}

impl Handler for Tutorial {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        self.clients.insert(client);
        client.write_line(lp, "¡Bienvenido!");
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        // Three writes, one packet: they are gathered until the end of the phase.
        client.write(lp, "server: ");
        client.write_line(lp, line);
        if line == b"bye" {
            telnet::broadcast(lp, &self.clients, "Broadcasting bye\r\n");
        }
    }

    fn on_close(&mut self, _: &mut Loop, client: Client, _had_error: bool) {
        self.clients.remove(&client);
    }
}

/// Adds the listeners of the server for Socket.IO.
pub(crate) fn serve(lp: &mut Loop, io: Server) {
    io.on_connection(lp, |lp, socket| {
        socket.emit(lp, "messageClient", "Welcome");
    });
    io.on(lp, "messageServer", |lp, socket, event| {
        let text = text(event);
        match (text.trim(), socket.id(lp)) {
            ("bye", _) => drop(socket.broadcast(lp).emit(lp, "event", "Bye everybody")),
            (text, Some(id)) => print(&format!("client{id}: {}\n", shortened(text))),
            (_, None) => {}
        }
    });
}

/// The text of the first argument, which may be binary: the tutorial's client sends what it has read from its terminal.
fn text<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let arguments = event.arguments();
    match arguments.binary(0) {
        Some(bytes) => String::from_utf8_lossy(bytes),
        // A number is printed as it was sent.
        None => arguments.text(0).or_else(|| arguments.raw(0).map(Cow::from)).unwrap_or_default(),
    }
}

/// The beginning of a text, safe to show.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(PRINTED) {
        Some((end, _)) => format!("{}…", printable(&text.as_bytes()[..end])),
        None => printable(text.as_bytes()).into_owned(),
    }
}

/// Prints a line, unless that would block: the server must not wait for a reader of its output.
fn print(line: &str) {
    if !process::takes_a_line(&io::stdout()) {
        log::warn!(target: "bucle::serve", "standard output is full, this line is not printed: {}", line.trim_end());
    } else if let Err(error) = process::write_stdout(line.as_bytes()) {
        log::warn!(target: "bucle::serve", "cannot write to standard output: {error}");
    }
}

/// The HTTP server of `serve tutorial --http`, beside Socket.IO.
pub(crate) struct Site {
    own_host: OwnHost,
}

impl Site {
    pub(crate) fn new(own_host: OwnHost) -> Site {
        Site { own_host }
    }
}

impl http::Handler for Site {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if self.own_host.accepts(lp, exchange, request) {
            exchange.respond_text(lp, StatusCode::NOT_FOUND, "there is nothing here; Socket.IO is at /socket.io/\n");
        }
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log_error(socket, &error);
    }
}
