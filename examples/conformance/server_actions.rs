//! Actions on servers.

use std::rc::Rc;
use std::time::Duration;

use bucle::net::{Family, HIGH_WATER_MARK, Listen, LocalAddress, Server, ServerId, ServerOptions};
use bucle::{Loop, Result};

use crate::runner::{Context, Object, Runner};
use crate::scenario::Action;
use crate::watcher::{Watcher, Wiring};

/// The host of a server, if the scenario names no other.
pub const LOCALHOST: &str = "127.0.0.1";

impl Runner {
    /// Runs `action` if it belongs to this file.
    pub fn server_action(self: &Rc<Self>, lp: &mut Loop, action: &Action, context: &Context) -> bool {
        match action.name.as_str() {
            "server" => {
                let watcher = Watcher::of_server(self, action);
                let server = Server::new(lp, server_options(action), watcher);
                self.state().objects.insert(action.name_of("as").to_owned(), Object::Server(server.id()));
            }
            "listen" => {
                let name = action.name_of("on");
                let on = self.where_to_listen(lp, action);
                if let Err(error) = self.server(name).listen(lp, on) {
                    self.refused(name, "listen", error.code());
                }
            }
            "close" => self.close(lp, action, context.name(action, "on")),
            "get_connections" => {
                // Node counts when it is asked, and reports in a tick.
                let (runner, name) = (Rc::clone(self), action.name_of("on").to_owned());
                let connections = self.server(&name).connections(lp);
                lp.next_tick(move |lp| {
                    runner.line(&name, &format!("connections -> {connections}"));
                    runner.noted(lp, &name, "connections");
                });
            }
            "max_connections" => {
                self.server(action.name_of("on")).set_max_connections(lp, action.count("n").unwrap_or(0));
            }
            "address" => {
                let name = context.name(action, "on");
                let address = self.address(lp, name).map(|address| self.shown_address(&address));
                self.line(name, &format!("address -> {}", address.as_deref().unwrap_or("none")));
            }
            "path_exists" => {
                let name = action.name_of("path");
                self.line("main", &format!("exists <{name}> -> {}", self.path(name).exists()));
            }
            _ => return false,
        }
        true
    }

    pub fn server(&self, name: &str) -> ServerId {
        match self.object(name) {
            Object::Server(server) => server,
            _ => panic!("scenario error: {name} is no server"),
        }
    }

    fn close(self: &Rc<Self>, lp: &mut Loop, action: &Action, name: &str) {
        let server = self.server(name);
        let Some(label) = action.text("cb") else { return server.close(lp) };
        let (runner, name, label) = (Rc::clone(self), name.to_owned(), label.to_owned());
        server.close_then(lp, move |lp, result| {
            runner.line(&name, &format!("close-cb {label} {}", outcome(&result)));
            runner.noted(lp, &name, "close-cb");
        });
    }

    fn where_to_listen(&self, lp: &Loop, action: &Action) -> Listen {
        let mut on = if let Some(path) = action.text("path") {
            Listen::path(self.path(path))
        } else {
            let port = match action.text("port_of") {
                Some(other) => self.port_of(lp, other),
                None => action.number("port") as i32,
            };
            match (action.has("host"), action.text("host")) {
                (true, None) => Listen::from(port),
                (_, host) => Listen::from((host.unwrap_or(LOCALHOST), port)),
            }
        };
        if let Some(backlog) = action.count("backlog") {
            on = on.backlog(backlog as u32);
        }
        // `exclusive` is ignored: it is about processes that share a listener, and here there is one process.
        on.ipv6_only(action.flag("ipv6Only"))
    }

    fn port_of(&self, lp: &Loop, server: &str) -> i32 {
        let address = self.server(server).address(lp);
        address.and_then(|address| address.port()).unwrap_or_else(|| panic!("{server} has no port")).into()
    }

    /// The address of a server, or the local address of a socket.
    fn address(&self, lp: &mut Loop, name: &str) -> Option<LocalAddress> {
        match self.object(name) {
            Object::Server(server) => server.address(lp),
            _ => self.info(lp, name)?.local.map(LocalAddress::Ip),
        }
    }

    fn shown_address(&self, address: &LocalAddress) -> String {
        match address {
            LocalAddress::Path(path) => format!("path={}", self.symbol(path)),
            LocalAddress::Ip(address) => {
                let (ip, family) = (address.ip(), Family::from(address.ip()));
                format!("family={family} address={ip} port={}", if address.port() > 0 { "port" } else { "0" })
            }
        }
    }
}

fn server_options(action: &Action) -> ServerOptions {
    let options = action.get("options");
    let flag = |key: &str| options[key].as_bool().unwrap_or(false);
    ServerOptions {
        allow_half_open: flag("allowHalfOpen"),
        pause_on_connect: flag("pauseOnConnect"),
        flowing: Wiring::of(|key| action.get("sockets")[key].clone()).listens,
        no_delay: flag("noDelay"),
        keep_alive: flag("keepAlive"),
        keep_alive_initial_delay: Duration::from_millis(options["keepAliveInitialDelay"].as_u64().unwrap_or(0)),
        high_water_mark: options["highWaterMark"].as_u64().map_or(HIGH_WATER_MARK, |n| n as usize),
        max_connections: action.count("max_connections"),
        ..ServerOptions::default()
    }
}

/// The result that a callback got: `ok`, or the code of the error.
pub fn outcome(result: &Result<()>) -> &str {
    match result {
        Ok(()) => "ok",
        Err(error) => error.code(),
    }
}
