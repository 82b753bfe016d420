//! The server of Socket.IO, as clients see it: WebSocket connections of tungstenite that send packets by hand.

#![cfg(feature = "socket-io")]

#[path = "support/raw_http.rs"]
mod raw_http;

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bucle::net::Drain;
use bucle::socket_io::{self, HttpServer, Next, Options, RecoveryOptions, Server};
use bucle::{EventLoop, Loop, ManualClock, Remote};
use raw_http::Connection;
use tungstenite::{Message as Frame, WebSocket};

const LIMIT: Duration = raw_http::LIMIT;

thread_local! {
    /// The clock of the loop in this thread.
    static CLOCK: ManualClock = ManualClock::new();
    /// The decision of a middleware that a test makes later.
    static NEXT: RefCell<Option<Next>> = const { RefCell::new(None) };
}

/// A server on a loop in a thread. Its time passes only in [`advance`](Running::advance).
struct Running {
    address: SocketAddr,
    io: Server,
    server: HttpServer,
    events: Receiver<String>,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// `prepare` adds listeners. The events of `/` are reported.
    fn new(options: Options, prepare: impl FnOnce(&mut Loop, Server) + Send + 'static) -> Running {
        let (events, received) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut event_loop = EventLoop::with_clock(CLOCK.with(Clone::clone)).expect("a loop");
            event_loop.enter(|lp| {
                let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), options).expect("a server");
                let note = move |text: String| {
                    // After the test the receiver is gone.
                    let _ = events.send(text);
                };
                let of_connection = note.clone();
                io.on_connection(lp, move |lp, socket| {
                    let recovered = if socket.is_recovered(lp) { " again" } else { "" };
                    of_connection(format!("connection{recovered} {:?}", &socket.rooms(lp)[1..]));
                });
                let of_disconnect = note.clone();
                io.on_disconnect(lp, move |_, _, reason| of_disconnect(format!("disconnect: {reason}")));
                io.on_any(lp, move |lp, socket, event| {
                    if event.name() == "join" {
                        let room = event.arguments().text(0).unwrap_or_default().into_owned();
                        socket.join(lp, &*room);
                    }
                    note(format!("{} {}", event.name(), event.arguments().as_json()));
                });
                prepare(lp, io);
                let port = server.port(lp).expect("it is bound");
                ready.send((io, server, port, lp.remote())).expect("the test waits");
            });
            event_loop.run().expect("it runs");
        });
        let (io, server, port, remote) = started.recv_timeout(LIMIT).expect("the server starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Running { address, io, server, events: received, remote, thread: Some(thread) }
    }

    fn with_recovery(prepare: impl FnOnce(&mut Loop, Server) + Send + 'static) -> Running {
        Running::new(Options { recovery: Some(RecoveryOptions::default()), ..Options::default() }, prepare)
    }

    fn event(&self) -> String {
        self.events.recv_timeout(LIMIT).expect("an event")
    }

    fn connect(&self, query: &str) -> Client {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        let url = format!("ws://{}/socket.io/?{query}&transport=websocket", self.address);
        let mut client = Client { ws: tungstenite::client::client(url, stream).expect("it is accepted").0 };
        assert!(client.text().starts_with("0{"));
        client
    }

    /// A client that has joined `/`. Returns it with the answer.
    fn join(&self) -> (Client, serde_json::Value) {
        let (client, answer, missed) = self.join_again("");
        assert!(missed.is_empty(), "a new client has missed nothing: {missed:?}");
        (client, answer)
    }

    /// A client that has joined `/` with this data in its CONNECT. Returns it with the answer, and with what it has
    /// missed, which comes before the answer.
    fn join_again(&self, data: &str) -> (Client, serde_json::Value, Vec<String>) {
        let mut client = self.connect("EIO=4");
        client.send(&format!("40{data}"));
        let (answer, missed) = client.answer();
        (client, answer, missed)
    }

    fn advance(&self, by: Duration) {
        self.run(move |_| CLOCK.with(|clock| clock.advance(by)));
        // In the next turn the loop sees the new time.
        self.run(|_| {});
    }

    fn run<T: Send + 'static>(&self, f: impl FnOnce(&mut Loop) -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        assert!(self.remote.post(move |lp| sender.send(f(lp)).expect("the test waits")), "the loop runs");
        receiver.recv_timeout(LIMIT).expect("the loop runs")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.remote.post(|lp| lp.stop());
        let result = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(result, Some(Ok(()))), "the loop has panicked");
    }
}

struct Client {
    ws: WebSocket<TcpStream>,
}

impl Client {
    fn send(&mut self, packet: &str) {
        self.ws.send(Frame::text(packet)).expect("it reads");
    }

    fn text(&mut self) -> String {
        match self.ws.read().expect("a message") {
            Frame::Text(text) => text.as_str().to_owned(),
            other => panic!("{other:?} is no text"),
        }
    }

    /// Reads up to the answer to CONNECT. Returns it, and the packets before it.
    fn answer(&mut self) -> (serde_json::Value, Vec<String>) {
        let mut before = Vec::new();
        loop {
            let packet = self.text();
            match packet.strip_prefix("40") {
                Some(answer) => return (serde_json::from_str(answer).expect("JSON"), before),
                None => before.push(packet),
            }
        }
    }

    /// Reads up to the close frame, without texts in front of it.
    fn is_closed(&mut self) -> bool {
        matches!(self.ws.read(), Ok(Frame::Close(_)))
    }
}

/// The offset that ends an event.
fn offset_of(event: &str) -> String {
    let items: Vec<serde_json::Value> =
        serde_json::from_str(event.strip_prefix("42").expect("an event")).expect("JSON");
    items.last().and_then(|item| item.as_str()).expect("a string").to_owned()
}

fn credentials(answer: &serde_json::Value, offset: &str) -> String {
    format!(r#"{{"pid":{},"offset":"{offset}"}}"#, answer["pid"])
}

/// A phone changes its network: the server cannot know yet that the old connection is broken.
#[test]
fn a_client_that_returns_before_its_loss_was_noticed_is_recovered() {
    let running = Running::with_recovery(|_, _| {});
    let (mut old, answer) = running.join();
    assert_eq!(running.event(), "connection []");
    old.send(r#"42["join","room"]"#);
    assert_eq!(running.event(), r#"join "room""#);
    let io = running.io;
    running.run(move |lp| io.to("room").emit(lp, "one", 1));
    let offset = offset_of(&old.text());
    running.run(move |lp| io.to("room").emit(lp, "two", 2));
    let (mut new, second, missed) = running.join_again(&credentials(&answer, &offset));
    assert_eq!((&second["sid"], &second["pid"]), (&answer["sid"], &answer["pid"]));
    assert_eq!([running.event(), running.event()], ["disconnect: transport close", r#"connection again ["room"]"#]);
    assert!(missed.len() == 1 && missed[0].starts_with(r#"42["two",2,"#), "{missed:?}");
    assert!(old.text().starts_with(r#"42["two",2,"#));
    assert!(old.is_closed());
    assert_eq!(running.run(move |lp| io.engine().session_count(lp)), 1);
    running.run(move |lp| io.to("room").emit(lp, "three", 3));
    assert!(new.text().starts_with(r#"42["three",3,"#));
}

#[test]
fn a_recovered_client_that_is_lost_before_it_is_connected_can_come_back() {
    let options = RecoveryOptions { skip_middlewares: false, ..RecoveryOptions::default() };
    let running = Running::new(Options { recovery: Some(options), ..Options::default() }, |lp, io| {
        io.use_middleware(lp, |lp, socket, next| match socket.is_recovered(lp) {
            true => NEXT.with_borrow_mut(|kept| *kept = Some(next)),
            false => next.allow(lp),
        });
    });
    let (mut client, answer) = running.join();
    assert_eq!(running.event(), "connection []");
    let io = running.io;
    running.run(move |lp| io.emit(lp, "one", 1));
    let offset = offset_of(&client.text());
    drop(client);
    assert_eq!(running.event(), "disconnect: transport close");
    running.run(move |lp| io.emit(lp, "two", 2));
    for number in 3..6 {
        // The middleware has not decided when the connection is lost again.
        let mut lost = running.connect("EIO=4");
        lost.send(&format!("40{}", credentials(&answer, &offset)));
        while running.run(|_| NEXT.take().is_none()) {}
        running.run(move |lp| io.emit(lp, "more", number));
        drop(lost);
        while running.run(move |lp| io.engine().session_count(lp)) > 0 {}
    }
    let mut client = running.connect("EIO=4");
    client.send(&format!("40{}", credentials(&answer, &offset)));
    while running.run(|_| NEXT.with_borrow(|next| next.is_none())) {}
    running.run(move |lp| io.emit(lp, "last", 6));
    running.run(|lp| NEXT.take().expect("it waits").allow(lp));
    let (_, events) = client.answer();
    let starts = [r#"42["two",2,"#, r#"42["more",3,"#, r#"42["more",4,"#, r#"42["more",5,"#, r#"42["last",6,"#];
    assert_eq!(events.len(), starts.len(), "{events:?}");
    assert!(events.iter().zip(starts).all(|(event, start)| event.starts_with(start)), "{events:?}");
    assert_eq!(running.event(), "connection again []");
}

/// socket.io-client takes the last argument of each event for an offset if it is a string.
#[test]
fn a_volatile_event_that_ends_with_a_string_does_not_prevent_recovery() {
    let running = Running::with_recovery(|_, _| {});
    let io = running.io;
    let (mut client, answer) = running.join();
    running.run(move |lp| io.volatile().emit(lp, "tick", ()));
    let before = offset_of(&client.text());
    running.run(move |lp| io.emit(lp, "one", 1));
    let first = offset_of(&client.text());
    running.run(move |lp| io.volatile().emit(lp, "price", "12.50"));
    let price = client.text();
    assert_eq!(price, format!(r#"42["price","12.50","{first}"]"#));
    running.run(move |lp| io.volatile().emit(lp, "tick", 7));
    assert_eq!(client.text(), r#"42["tick",7]"#);
    running.run(move |lp| io.emit(lp, "two", 2));
    assert!(client.text().starts_with(r#"42["two",2,"#));
    for (offset, count) in [(before, 2), (first, 1)] {
        let (mut again, second, missed) = running.join_again(&credentials(&answer, &offset));
        assert_eq!(second["pid"], answer["pid"], "it is recovered with {offset}");
        assert_eq!(missed.len(), count, "{missed:?}");
        again.send("42[\"alive\"]");
        while running.event() != "alive " {}
    }
}

#[test]
fn the_attachments_of_a_packet_have_a_limit_together() {
    let mut options = Options::default();
    options.engine.max_http_buffer_size = 1000;
    let running = Running::new(options, |_, _| {});
    let (mut client, _) = running.join();
    assert_eq!(running.event(), "connection []");
    let header = r#"452-["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    client.send(header);
    client.ws.send(Frame::binary(vec![0; 600])).expect("it reads");
    client.ws.send(Frame::binary(vec![0; 400])).expect("it reads");
    assert!(running.event().starts_with("file "));
    client.send(header);
    client.ws.send(Frame::binary(vec![0; 600])).expect("it reads");
    client.ws.send(Frame::binary(vec![0; 401])).expect("it reads");
    assert!(client.is_closed());
    assert_eq!(running.event(), "disconnect: forced close");
}

#[test]
fn a_client_of_version_2_can_send_a_long_token_in_the_query_of_a_namespace() {
    let mut options = Options::default();
    options.engine.allow_eio3 = true;
    let running = Running::new(options, |lp, io| {
        io.of(lp, "/admin");
    });
    let mut client = running.connect("EIO=3");
    assert_eq!(client.text(), "40");
    client.send(&format!("40/admin?token={}", "x".repeat(4000)));
    assert_eq!(client.text(), "40/admin,");
    assert_eq!(running.event(), "connection []");
    client.send(&format!("40/{}?token=x", "y".repeat(300)));
    assert!(client.is_closed());
    assert_eq!(running.event(), "disconnect: forced close");
}

/// As in Node: only what is no packet of Engine.IO is a parse error.
#[test]
fn a_client_that_breaks_the_protocol_is_disconnected_with_forced_close() {
    for packet in ["4", "42[]", "42[\"connect\"]", "42/x,[\"a\"]", "40", "44{\"message\":\"x\"}", "43"] {
        let running = Running::new(Options::default(), |_, _| {});
        let (mut client, _) = running.join();
        assert_eq!(running.event(), "connection []");
        client.send(packet);
        assert!(client.is_closed());
        assert_eq!(running.event(), "disconnect: forced close", "{packet}");
    }
    let running = Running::new(Options::default(), |_, _| {});
    let (mut client, _) = running.join();
    assert_eq!(running.event(), "connection []");
    client.send("x");
    assert_eq!(running.event(), "disconnect: parse error");
}

/// In Node this closes the connection, and with it the sockets of other namespaces.
#[test]
fn events_that_were_on_their_way_when_the_server_disconnected_a_socket_are_ignored() {
    let running = Running::new(Options::default(), |lp, io| {
        io.of(lp, "/other");
        io.on(lp, "leave", |lp, socket, _| socket.disconnect(lp, false));
    });
    let (mut client, _) = running.join();
    client.send("40/other,");
    assert!(client.text().starts_with("40/other,"));
    for packet in ["42[\"leave\"]", "42[\"late\"]", "421[\"late\"]", "430[]", "41", "40"] {
        client.send(packet);
    }
    assert_eq!(client.text(), "41");
    assert!(client.text().starts_with("40{"));
    let io = running.io;
    running.run(move |lp| io.of(lp, "/other").emit(lp, "you", "stay"));
    assert_eq!(client.text(), r#"42/other,["you","stay"]"#);
    let events: Vec<String> = (0..4).map(|_| running.event()).collect();
    assert_eq!(events, ["connection []", "leave ", "disconnect: server namespace disconnect", "connection []"]);
}

#[test]
fn a_close_and_a_drain_disconnect_sockets_as_server_shutting_down() {
    for closes_first in [true, false] {
        let running = Running::new(Options::default(), |_, _| {});
        let (mut client, _) = running.join();
        assert_eq!(running.event(), "connection []");
        let (io, server) = (running.io, running.server);
        running.run(move |lp| {
            if closes_first {
                io.close(lp);
            }
            server.drain(lp, Drain::default());
        });
        assert!(client.is_closed());
        assert_eq!(running.event(), "disconnect: server shutting down");
    }
}

#[test]
fn a_namespace_must_be_joined_in_time() {
    let running = Running::new(Options::default(), |_, _| {});
    let mut client = running.connect("EIO=4");
    running.advance(Duration::from_secs(44));
    assert_eq!(client.text(), "2");
    client.send("3");
    running.advance(Duration::from_secs(1));
    assert!(client.is_closed());
}

/// Clients that poll vanish in every state of a session, and nothing of them is left when their time is over.
#[test]
fn a_thousand_clients_that_vanish_leave_nothing() {
    let running = Running::new(Options::default(), |_, _| {});
    let io = running.io;
    for number in 0..1000 {
        let mut connection = Connection::new(running.address);
        let target = "/socket.io/?EIO=4&transport=polling";
        let open = connection.ask("GET", target, &[], b"").text();
        let (_, rest) = open.split_once("\"sid\":\"").expect("an open packet");
        let target = format!("{target}&sid={}", &rest[..20]);
        if number % 6 == 0 {
            // It joins no namespace.
            continue;
        }
        assert_eq!(connection.ask("POST", &target, &[], b"40\x1e42[\"join\",\"room\"]").text(), "ok");
        match number % 6 {
            // It never polls.
            1 => {}
            // A poll waits. The first one is answered.
            2 => {
                connection.ask("GET", &target, &[], b"");
                connection.send("GET", &target, &[], b"");
            }
            // A body does not arrive as a whole.
            3 => connection
                .send_bytes(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n42[").as_bytes()),
            // A WebSocket connection opens, and sends nothing.
            4 => connection.send("GET", &target.replace("polling", "websocket"), &raw_http::UPGRADE, b""),
            // Attachments do not come.
            _ => drop(connection.ask("POST", &target, &[], br#"451-["x",{"_placeholder":true,"num":0}]"#)),
        }
    }
    // Those whose connection is lost in a request end at once, and the others when they do not answer a ping.
    for _ in 0..10 {
        running.advance(Duration::from_secs(10));
    }
    while running.run(move |lp| (io.engine().session_count(lp), lp.metrics().connections)) != (0, 0) {}
    assert_eq!(running.run(move |lp| (io.socket_count(lp), io.rooms(lp).len())), (0, 0));
}
