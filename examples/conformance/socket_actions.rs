//! Actions on sockets.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bucle::net::{Error, Family, HIGH_WATER_MARK, LocalAddress, Socket, SocketInfo, SocketOptions, Target};
use bucle::{Loop, Result};

use crate::runner::{Context, Object, Runner, milliseconds};
use crate::scenario::Action;
use crate::server_actions::{LOCALHOST, outcome};
use crate::watcher::{Watcher, Wiring};

/// The callback of a write or an end.
type Done = Box<dyn FnOnce(&mut Loop, Result<()>)>;

impl Runner {
    /// Runs `action` if it belongs to this file.
    pub fn socket_action(self: &Rc<Self>, lp: &mut Loop, action: &Action, context: &Context) -> bool {
        match action.name.as_str() {
            "socket" => _ = self.new_socket(lp, action),
            "connect" => self.connect(lp, action),
            "props" => self.properties(lp, action, context.name(action, "on")),
            "write" => self.write(lp, action, context),
            "end" => self.end(lp, action, context),
            name => return self.plain_socket_action(lp, name, action, context),
        }
        true
    }

    /// The actions that are a single call on a socket.
    fn plain_socket_action(&self, lp: &mut Loop, name: &str, action: &Action, context: &Context) -> bool {
        let on = || self.socket(context.name(action, "on"));
        match name {
            "on_data" => self.add_listener(lp, context.name(action, "on")),
            "destroy" => match action.text("error") {
                Some(code) => on().destroy_with(lp, Error::custom(code.to_owned(), code)),
                None => on().destroy(lp),
            },
            "destroy_soon" => on().destroy_soon(lp),
            "reset" => {
                if let Err(error) = on().reset_and_destroy(lp) {
                    self.refused(context.name(action, "on"), "reset", error.code());
                }
            }
            "pause" => on().pause(lp),
            "resume" => on().resume(lp),
            "cork" => on().cork(lp),
            "uncork" => on().uncork(lp),
            "set_timeout" => on().set_timeout(lp, milliseconds(action.number("ms"))),
            "set_encoding" => on().set_encoding(lp),
            "set_no_delay" => on().set_no_delay(lp, action.flag("enable")),
            "set_keep_alive" => {
                on().set_keep_alive(lp, action.flag("enable"), milliseconds(action.number("delay")));
            }
            "pipe" => {
                let to = self.socket(context.name(action, "to"));
                if *action.get("end") == false { on().pipe_without_end(lp, to) } else { on().pipe(lp, to) }
            }
            "unpipe" => on().unpipe(lp, self.socket(context.name(action, "to"))),
            _ => return false,
        }
        true
    }

    fn socket(&self, name: &str) -> Socket {
        match self.object(name) {
            Object::Socket(socket) => socket,
            _ => panic!("scenario error: {name} is no socket"),
        }
    }

    fn new_socket(self: &Rc<Self>, lp: &mut Loop, action: &Action) -> Socket {
        let wiring = Wiring::of(|key| action.get(key).clone());
        let watcher = Watcher::of_client(self, wiring);
        let socket = Socket::new(lp, socket_options(action, wiring), watcher);
        self.wire(lp, action.name_of("as"), socket, wiring);
        socket
    }

    fn connect(self: &Rc<Self>, lp: &mut Loop, action: &Action) {
        let name = action.name_of("as");
        let target = self.target(lp, action);
        let socket = match action.flag("again").then(|| self.socket(name)) {
            Some(socket) if socket.exists(lp) => socket,
            _ => self.new_socket(lp, action),
        };
        if let Err(error) = socket.connect_to(lp, target) {
            self.refused(name, "connect", error.code());
        }
    }

    fn target(&self, lp: &Loop, action: &Action) -> Target {
        let options = action.get("options");
        let host = |default| action.text("host").unwrap_or(default);
        let mut target = if let Some(path) = action.text("path") {
            Target::path(self.path(path))
        } else if action.has("port") {
            Target::from((host(LOCALHOST), action.number("port") as i32))
        } else if action.text("to") == Some("refused") {
            Target::from((host(LOCALHOST), 1))
        } else {
            match self.remembered_address(lp, action.name_of("to")) {
                LocalAddress::Path(path) => Target::path(path),
                LocalAddress::Ip(address) => {
                    Target::from((host(if address.is_ipv6() { "::1" } else { LOCALHOST }), address.port()))
                }
            }
        };
        match options["family"].as_u64() {
            Some(4) => target = target.family(Family::V4),
            Some(6) => target = target.family(Family::V6),
            _ => {}
        }
        if let Some(address) = options["localAddress"].as_str() {
            target = target.local_address(address);
        }
        target
    }

    /// The address of a server, remembered from the first connection to it.
    fn remembered_address(&self, lp: &Loop, server: &str) -> LocalAddress {
        let remembered = self.state().remembered.get(server).cloned();
        remembered.unwrap_or_else(|| {
            let address = self.server(server).address(lp).unwrap_or_else(|| panic!("{server} has no address"));
            self.state().remembered.insert(server.to_owned(), address.clone());
            address
        })
    }

    /// As Node's `on('data')`: data flows from now on, unless the socket was paused.
    fn add_listener(&self, lp: &mut Loop, name: &str) {
        *self.state().listeners.entry(name.to_owned()).or_default() += 1;
        let socket = self.socket(name);
        if socket.info(lp).is_some_and(|info| info.flowing != Some(false)) {
            socket.resume(lp);
        }
    }

    fn write(self: &Rc<Self>, lp: &mut Loop, action: &Action, context: &Context) {
        let name = context.name(action, "on");
        let bytes = payload(action, context).expect("scenario error: a write of nothing");
        let socket = self.socket(name);
        let is_below_mark = match self.done(action, context, "write-cb") {
            _ if !socket.exists(lp) => self.write_after_close(lp, action, context),
            Some(done) => socket.write_then(lp, &bytes, done),
            // A write with a callback is sent at once.
            None if self.sends_each_write => socket.write_then(lp, &bytes, |_, _| {}),
            None => socket.write(lp, &bytes),
        };
        if !action.flag("quiet") {
            self.line(name, &format!("write {} -> {is_below_mark}", bytes.len()));
        }
    }

    fn write_after_close(self: &Rc<Self>, lp: &mut Loop, action: &Action, context: &Context) -> bool {
        let name = context.name(action, "on");
        let result = self.state().afterlives.get(name).map(|afterlife| afterlife.write());
        self.call_later(lp, self.done(action, context, "write-cb"), result);
        false
    }

    fn end(self: &Rc<Self>, lp: &mut Loop, action: &Action, context: &Context) {
        let name = context.name(action, "on");
        let socket = self.socket(name);
        let bytes = payload(action, context);
        let done = self.done(action, context, "end-cb");
        if !socket.exists(lp) {
            let has_payload = bytes.is_some();
            let result = self.state().afterlives.get_mut(name).and_then(|afterlife| afterlife.end(has_payload));
            return self.call_later(lp, done, result);
        }
        match (bytes, done) {
            (None, None) => socket.end(lp),
            (None, Some(done)) => socket.end_then(lp, done),
            (Some(bytes), None) => socket.end_with(lp, &bytes),
            (Some(bytes), Some(done)) => socket.end_with_then(lp, &bytes, done),
        }
        if self.sends_each_write {
            // A cork holds back later writes only: what was written before it is sent at once.
            socket.cork(lp);
            socket.uncork(lp);
        }
    }

    /// Calls `done` in a tick.
    fn call_later(&self, lp: &mut Loop, done: Option<Done>, result: Option<Result<()>>) {
        if let (Some(done), Some(result)) = (done, result) {
            lp.next_tick(move |lp| done(lp, result));
        }
    }

    /// The callback of a write or an end, if the action has one: it reports an event, then runs the `then` actions.
    fn done(self: &Rc<Self>, action: &Action, context: &Context, event: &'static str) -> Option<Done> {
        let label = action.text("cb")?.to_owned();
        let name = context.name(action, "on").to_owned();
        let runner = Rc::clone(self);
        let mut then = self.then(action, context);
        Some(Box::new(move |lp, result| {
            runner.event(lp, &name, event, Some(&format!("{label} {}", outcome(&result))));
            then(lp);
        }))
    }

    /// The state of a socket, even if it is closed.
    pub fn info(&self, lp: &mut Loop, name: &str) -> Option<SocketInfo> {
        let live = self.socket(name).info(lp);
        live.or_else(|| self.state().afterlives.get(name).map(|afterlife| afterlife.info.clone()))
    }

    fn properties(&self, lp: &mut Loop, action: &Action, name: &str) {
        let keys = action.get("keys").as_array().into_iter().flatten().filter_map(|key| key.as_str());
        let mut line = String::from("props");
        for key in keys {
            let value = match self.object(name) {
                Object::Server(server) => (key == "listening").then(|| server.is_listening(lp).to_string()),
                _ => self.info(lp, name).and_then(|info| property(&info, key)),
            };
            line += &format!(" {key}={}", value.as_deref().unwrap_or("none"));
        }
        self.line(name, &line);
    }
}

fn socket_options(action: &Action, wiring: Wiring) -> SocketOptions {
    let options = action.get("options");
    let flag = |key: &str| options[key].as_bool().unwrap_or(false);
    let time = |key: &str| Duration::from_millis(options[key].as_u64().unwrap_or(0));
    SocketOptions {
        allow_half_open: flag("allowHalfOpen"),
        high_water_mark: options["highWaterMark"].as_u64().map_or(HIGH_WATER_MARK, |n| n as usize),
        flowing: wiring.listens,
        no_delay: flag("noDelay"),
        keep_alive: flag("keepAlive"),
        keep_alive_initial_delay: time("keepAliveInitialDelay"),
        timeout: time("timeout"),
        ..SocketOptions::default()
    }
}

/// The bytes that an action writes.
fn payload<'a>(action: &'a Action, context: &'a Context) -> Option<Cow<'a, [u8]>> {
    if let Some(length) = action.count("fill") {
        return Some(fill(length).into());
    }
    if let Some(hex) = action.text("hex") {
        return Some(from_hex(hex).into());
    }
    match action.text("data")? {
        "$chunk" => Some(context.chunk.as_deref().expect("scenario error: $chunk without data").into()),
        text => Some(text.as_bytes().into()),
    }
}

/// The i-th byte is i mod 251. Because 251 is prime, each lost, repeated or moved block changes the bytes.
fn fill(length: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251).collect();
    let mut bytes = period.repeat(length.div_ceil(period.len()));
    bytes.truncate(length);
    bytes
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("scenario error: not hex") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The value of Node's property of this name, as text.
fn property(info: &SocketInfo, key: &str) -> Option<String> {
    let ip = |address: Option<SocketAddr>| address.map(|address| address.ip().to_string());
    let family = |address: Option<SocketAddr>| address.map(|address| Family::from(address.ip()).to_string());
    let port = |address: Option<SocketAddr>| address.map(|_| "port".to_owned());
    Some(match key {
        "readyState" => info.ready_state.as_str().to_owned(),
        "pending" => info.pending.to_string(),
        "connecting" => info.connecting.to_string(),
        "destroyed" => info.destroyed.to_string(),
        "readable" => info.readable.to_string(),
        "writable" => info.writable.to_string(),
        "writableEnded" => info.writable_ended.to_string(),
        "writableFinished" => info.writable_finished.to_string(),
        "writableLength" => info.writable_length.to_string(),
        "writableNeedDrain" => info.writable_need_drain.to_string(),
        "writableHighWaterMark" | "readableHighWaterMark" => info.high_water_mark.to_string(),
        "writableCorked" => info.writable_corked.to_string(),
        "bytesRead" => info.bytes_read.to_string(),
        "bytesWritten" => info.bytes_written.to_string(),
        "timeout" => info.timeout_ms.map_or_else(|| "none".to_owned(), |ms| ms.to_string()),
        "remoteAddress" => ip(info.remote)?,
        "remoteFamily" => family(info.remote)?,
        "remotePort" => port(info.remote)?,
        "localAddress" => ip(info.local)?,
        "localFamily" => family(info.local)?,
        "localPort" => port(info.local)?,
        _ => return None,
    })
}
