//! The handler of every server and client. It reports each event to the runner.

use std::net::IpAddr;
use std::rc::Rc;

use bucle::net::{Dropped, Error, Family, Handler, ServerId, Socket};
use bucle::{Loop, Result};

use crate::afterlife::Afterlife;
use crate::runner::{Object, Runner};
use crate::scenario::Action;
use crate::trace::Chunk;

/// The handler of a server and the sockets it accepts, or of one client.
pub struct Watcher {
    runner: Rc<Runner>,
    /// The name of the server.
    name: String,
    /// The first part of the names of accepted sockets.
    prefix: String,
    accepted: usize,
    sockets: Wiring,
}

/// How the runner sets up a new socket.
#[derive(Clone, Copy)]
pub struct Wiring {
    /// Whether it has a data listener.
    pub listens: bool,
    pub decodes: bool,
}

impl Wiring {
    /// Reads `data` and `encoding` of an action.
    pub fn of(options: impl Fn(&str) -> serde_json::Value) -> Wiring {
        Wiring { listens: options("data") != false, decodes: options("encoding").is_string() }
    }
}

impl Watcher {
    pub fn of_server(runner: &Rc<Runner>, action: &Action) -> Watcher {
        Watcher {
            runner: Rc::clone(runner),
            name: action.name_of("as").to_owned(),
            prefix: action.text("accept").unwrap_or("s").to_owned(),
            accepted: 0,
            sockets: Wiring::of(|key| action.get("sockets")[key].clone()),
        }
    }

    pub fn of_client(runner: &Rc<Runner>, wiring: Wiring) -> Watcher {
        Watcher { runner: Rc::clone(runner), name: String::new(), prefix: String::new(), accepted: 0, sockets: wiring }
    }

    fn socket_event(&self, lp: &mut Loop, socket: Socket, event: &str, text: Option<&str>) {
        self.runner.event(lp, &self.name_of(socket), event, text);
    }

    fn server_event(&self, lp: &mut Loop, event: &str, text: &str) {
        self.runner.event(lp, &self.name, event, Some(text));
    }

    fn received(&self, lp: &mut Loop, socket: Socket, chunk: Chunk<'_>) {
        let name = self.name_of(socket);
        // A listener that is added now gets the next chunk first.
        for _ in 0..self.runner.listeners(&name) {
            self.runner.received(lp, &name, chunk);
        }
    }

    fn name_of(&self, socket: Socket) -> String {
        self.runner.state().socket_names.get(&socket).cloned().expect("a socket has its name before its first event")
    }
}

impl Handler for Watcher {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.accepted += 1;
        let name = format!("{}{}", self.prefix, self.accepted);
        self.runner.wire(lp, &name, socket, self.sockets);
        self.server_event(lp, "connection", &name);
    }

    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, result: Result<IpAddr, &Error>) {
        let text = match result {
            Ok(ip) => format!("address={ip} family={}", if Family::from(ip) == Family::V4 { 4 } else { 6 }),
            Err(error) => error.code().to_owned(),
        };
        let is_shown = self.runner.scenario.show.contains("lookup");
        self.socket_event(lp, socket, "lookup", is_shown.then_some(&text));
    }

    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.socket_event(lp, socket, "connect", Some(""));
    }

    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {
        self.socket_event(lp, socket, "ready", Some(""));
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.received(lp, socket, Chunk::Bytes(chunk));
    }

    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.received(lp, socket, Chunk::Text(text));
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        self.socket_event(lp, socket, "drain", Some(""));
    }

    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.socket_event(lp, socket, "end", Some(""));
    }

    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {
        let is_shown = self.runner.scenario.show.contains("finish");
        self.socket_event(lp, socket, "finish", is_shown.then_some(""));
    }

    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        self.socket_event(lp, socket, "timeout", Some(""));
    }

    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.socket_event(lp, socket, "error", Some(&shown(&error)));
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, had_error: bool) {
        self.socket_event(lp, socket, "close", Some(&format!("hadError={had_error}")));
        // Unless a rule has connected it again, the socket is gone after this callback. So copy its state now.
        if let Some(afterlife) = Afterlife::of(lp, socket, had_error) {
            let name = self.name_of(socket);
            self.runner.state().afterlives.insert(name, afterlife);
        }
    }

    fn on_listening(&mut self, lp: &mut Loop, _: ServerId) {
        self.server_event(lp, "listening", "");
    }

    fn on_drop(&mut self, lp: &mut Loop, _: ServerId, dropped: Dropped) {
        let family = dropped.remote.map(|remote| format!("family={}", Family::from(remote.ip())));
        self.server_event(lp, "drop", family.as_deref().unwrap_or("none"));
    }

    fn on_server_error(&mut self, lp: &mut Loop, _: ServerId, error: Error) {
        self.server_event(lp, "error", &shown(&error));
    }

    fn on_server_close(&mut self, lp: &mut Loop, _: ServerId) {
        self.server_event(lp, "close", "");
    }
}

impl Runner {
    /// Registers a new socket under its name, and sets it up.
    pub fn wire(&self, lp: &mut Loop, name: &str, socket: Socket, wiring: Wiring) {
        let mut state = self.state();
        state.objects.insert(name.to_owned(), Object::Socket(socket));
        state.socket_names.insert(socket, name.to_owned());
        if wiring.listens {
            state.listeners.insert(name.to_owned(), 1);
        }
        if wiring.decodes {
            socket.set_encoding(lp);
        }
    }

    /// How many data listeners a socket has.
    fn listeners(&self, name: &str) -> usize {
        self.state().listeners.get(name).copied().unwrap_or_default()
    }
}

/// `CODE SYSCALL`, or `CODE` alone.
fn shown(error: &Error) -> String {
    match error.syscall() {
        Some(syscall) => format!("{} {syscall}", error.code()),
        None => error.code().to_owned(),
    }
}
