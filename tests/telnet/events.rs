//! Every event of `net` reaches the telnet handler, or telnet uses it up.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};

use super::net_events::{assert_that_all_are_forwarded, events_of_net};
use super::*;

#[test]
fn the_file_that_forwards_implements_every_event() {
    assert_that_all_are_forwarded("src/telnet/forward.rs");
}

/// Each event of `net`, and the telnet event in which a handler sees it, with the name of that handler.
const EVENTS: &[(&str, &[&str])] = &[
    ("on_connection", &["server: open"]),
    ("on_lookup", &["client: lookup"]),
    ("on_connect", &["client: open"]),
    ("on_ready", &["client: ready"]),
    ("on_upgrade", &["upgraded: open"]),
    ("on_read", &["server: line", "client: line"]),
    ("on_data", &["called: line"]),
    ("on_text", &["upgraded: line"]),
    ("on_drain", &["server: drain", "client: drain"]),
    ("on_end", &["server: end", "client: end"]),
    ("on_finish", &["server: finish", "client: finish"]),
    ("on_timeout", &["server: timeout", "client: timeout"]),
    ("on_error", &["server: error", "refused: error"]),
    ("on_close", &["server: close", "client: close", "refused: close"]),
    ("on_going_away", &["server: going_away"]),
    ("is_busy", &["server: busy"]),
    ("on_listening", &["server: listening"]),
    ("on_drop", &["server: drop"]),
    ("on_server_error", &["second: server_error"]),
    ("on_server_close", &["server: server_close"]),
];

/// How often each event was seen, and the last client of each handler.
#[derive(Default)]
struct Seen {
    events: BTreeMap<String, usize>,
    clients: BTreeMap<&'static str, Client>,
}

struct Witness {
    name: &'static str,
    seen: Rc<RefCell<Seen>>,
}

impl Witness {
    fn see(&self, event: &str) {
        *self.seen.borrow_mut().events.entry(format!("{}: {event}", self.name)).or_default() += 1;
    }
}

impl Handler for Witness {
    fn on_open(&mut self, _: &mut Loop, client: Client) {
        self.seen.borrow_mut().clients.insert(self.name, client);
        self.see("open");
    }
    fn on_lookup(&mut self, _: &mut Loop, _: Client, result: Result<IpAddr, &Error>) {
        assert!(result.expect("localhost has an address").is_loopback());
        self.see("lookup");
    }
    fn on_ready(&mut self, _: &mut Loop, _: Client) {
        self.see("ready");
    }
    fn on_line(&mut self, _: &mut Loop, _: Client, _: &[u8]) {
        self.see("line");
    }
    fn on_drain(&mut self, _: &mut Loop, _: Client) {
        self.see("drain");
    }
    fn on_end(&mut self, _: &mut Loop, _: Client) {
        self.see("end");
    }
    fn on_finish(&mut self, _: &mut Loop, _: Client) {
        self.see("finish");
    }
    fn on_timeout(&mut self, lp: &mut Loop, client: Client) {
        client.socket().set_timeout(lp, Duration::ZERO);
        self.see("timeout");
    }
    fn on_error(&mut self, _: &mut Loop, _: Client, _: Error) {
        self.see("error");
    }
    fn on_close(&mut self, _: &mut Loop, _: Client, _: bool) {
        self.see("close");
    }
    fn on_going_away(&mut self, _: &mut Loop, _: Client) {
        self.see("going_away");
    }
    fn is_busy(&self, _: &Loop, _: Client) -> bool {
        self.see("busy");
        false
    }
    fn on_listening(&mut self, _: &mut Loop, _: ServerId) {
        self.see("listening");
    }
    fn on_drop(&mut self, _: &mut Loop, _: ServerId, _: Dropped) {
        self.see("drop");
    }
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {
        self.see("server_error");
    }
    fn on_server_close(&mut self, _: &mut Loop, _: ServerId) {
        self.see("server_close");
    }
}

/// A loop whose handlers report what they see.
struct Stage {
    event_loop: EventLoop,
    seen: Rc<RefCell<Seen>>,
}

impl Stage {
    fn telnet(&self, name: &'static str) -> Telnet<Witness> {
        Telnet::new(Options::default(), Witness { name, seen: self.seen.clone() })
    }

    /// Does something with the last client of a handler.
    fn with(&mut self, name: &str, act: impl FnOnce(&mut Loop, Client)) {
        let client = self.seen.borrow().clients[name];
        self.event_loop.enter(|lp| act(lp, client));
    }

    fn count(&self, event: &str) -> usize {
        self.seen.borrow().events.get(event).copied().unwrap_or_default()
    }

    fn await_count(&mut self, event: &str, count: usize) {
        let limit = Instant::now() + LIMIT;
        while self.count(event) < count {
            assert!(Instant::now() < limit, "waited for {event}: {:?}", self.seen.borrow().events);
            self.event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        }
    }

    fn await_all(&mut self, events: &[&str]) {
        for event in events {
            self.await_count(event, 1);
        }
    }

    fn connect(&mut self, name: &'static str, host: &str, port: u16) {
        let telnet = self.telnet(name);
        self.event_loop.enter(|lp| Socket::connect(lp, (host, port), telnet).expect("a good address"));
    }
}

#[test]
fn every_event_of_net_reaches_the_telnet_handler() {
    let mut stage = Stage { event_loop: EventLoop::new().expect("a loop"), seen: Rc::default() };

    // A server with place for one connection, and a client that looks its name up.
    let options = ServerOptions { max_connections: Some(1), ..server_options() };
    let telnet = stage.telnet("server");
    let (server, port) = stage.event_loop.enter(|lp| {
        let server = Server::new(lp, options, telnet);
        server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        (server, server.port(lp).expect("it is bound"))
    });
    stage.connect("client", "localhost", port);
    stage.await_all(&["server: listening", "client: lookup", "client: open", "client: ready", "server: open"]);

    // Lines, until the kernel takes no more: then there is a drain.
    let lines = [&[b'x'; 1023][..], b"\n"].concat().repeat(64);
    // One after the other: a side that waits for its drain does not read.
    for (name, events) in [("server", ["client: line", "server: drain"]), ("client", ["server: line", "client: drain"])]
    {
        stage.with(name, |lp, client| while client.write(lp, &lines) {});
        stage.await_all(&events);
    }

    for name in ["server", "client"] {
        stage.with(name, |lp, client| client.socket().set_timeout(lp, Duration::from_millis(1)));
    }
    stage.await_all(&["server: timeout", "client: timeout"]);

    // The server is full.
    let refused = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stage.await_all(&["server: drop"]);
    drop(refused);

    // Once the client ends first, once the server.
    stage.with("client", |lp, client| client.end(lp));
    stage.await_all(&["client: finish", "client: close", "server: end", "server: finish", "server: close"]);
    assert_eq!(stage.count("client: end"), 0, "it has ended first");
    stage.connect("client", "127.0.0.1", port);
    stage.await_count("server: open", 2);
    stage.with("server", |lp, client| client.end(lp));
    stage.await_all(&["client: end"]);
    stage.await_count("server: close", 2);

    // Errors: of a connection, of an attempt to connect, of a server.
    stage.connect("client", "127.0.0.1", port);
    stage.await_count("server: open", 3);
    stage.with("server", |lp, client| client.socket().destroy_with(lp, Error::custom("E_TEST", "no")));
    stage.await_all(&["server: error"]);
    let closed_port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.local_addr().expect("it is bound").port()
    };
    stage.connect("refused", "127.0.0.1", closed_port);
    stage.await_all(&["refused: error", "refused: close"]);
    assert_eq!(stage.count("refused: open"), 0);
    let telnet = stage.telnet("second");
    stage.event_loop.enter(|lp| {
        let second = Server::new(lp, server_options(), telnet);
        second.listen(lp, ("127.0.0.1", port)).expect("it may try");
    });
    stage.await_all(&["second: server_error"]);

    // A drain, with one connection.
    stage.await_count("server: close", 3);
    stage.connect("client", "127.0.0.1", port);
    stage.await_count("server: open", 4);
    stage.event_loop.enter(|lp| server.drain(lp, Drain::default()));
    stage.await_all(&["server: going_away", "server: busy", "server: server_close"]);

    // A socket that is upgraded, and decodes text.
    let telnet = stage.telnet("upgraded");
    let port = stage.event_loop.enter(|lp| {
        let telnet = Shared::new(lp, telnet);
        let door = net::on().connection(move |lp, socket| {
            socket.set_encoding(lp);
            socket.upgrade(lp, telnet, "");
        });
        net::listen(lp, ("127.0.0.1", 0), door).expect("a free port").port(lp).expect("it is bound")
    });
    stage.connect("client", "127.0.0.1", port);
    stage.await_all(&["upgraded: open"]);
    stage.with("client", |lp, client| assert!(client.write_line(lp, "hola")));
    stage.await_all(&["upgraded: line"]);

    // Only a program that calls the handler itself uses `on_data`.
    let mut telnet = stage.telnet("called");
    stage.with("upgraded", |lp, client| net::Handler::on_data(&mut telnet, lp, client.socket(), b"hola\r\n"));

    for event in events_of_net() {
        let (_, seen_as) = EVENTS.iter().find(|(of_net, _)| *of_net == event).expect("every event is in the table");
        for name in *seen_as {
            assert!(stage.count(name) > 0, "{event} is not seen as {name}: {:?}", stage.seen.borrow().events);
        }
    }
}
