//! The client of Socket.IO: against the server of this crate, on a clock that is driven by hand, and against servers that
//! are written by hand.

#![cfg(feature = "socket-io")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::engine_io::{Revision, Transport};
use bucle::socket_io::{self, Binary, Client, ClientOptions, HttpServer, Options, Server};
use bucle::{EventLoop, Loop, ManualClock};
use serde_json::{Value, json};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(30);

const SECOND: Duration = Duration::from_secs(1);

type Story = Rc<RefCell<Vec<String>>>;

/// A loop with a server and clients on a clock that is driven by hand, and a story of what has happened.
struct World {
    clock: ManualClock,
    event_loop: EventLoop,
    story: Story,
}

impl World {
    fn new() -> World {
        let clock = ManualClock::new();
        let event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        World { clock, event_loop, story: Story::default() }
    }

    fn enter<R>(&mut self, f: impl FnOnce(&mut Loop) -> R) -> R {
        self.event_loop.enter(f)
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(2))).expect("the poll works");
    }

    /// Turns until the story has this line.
    fn until(&mut self, line: &str) {
        self.wait(line, |world| world.story.borrow().iter().any(|other| other == line));
    }

    fn wait(&mut self, what: &str, mut is_done: impl FnMut(&mut World) -> bool) {
        let start = Instant::now();
        while !is_done(self) {
            assert!(start.elapsed() < LIMIT, "{what} did not come: {:?}", self.story.borrow());
            self.turn();
        }
    }

    /// Turns until the client has changed to WebSocket. The server answers a waiting poll every 100 ms until then.
    fn upgrade(&mut self) {
        self.wait("the upgrade", |world| {
            world.clock.advance(Duration::from_millis(10));
            world.story.borrow().iter().any(|line| line == "c upgrade")
        });
    }

    /// Turns some times, for what must not come.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.turn();
        }
    }

    fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
        self.turn();
    }

    fn take_story(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.story.borrow_mut())
    }

    fn serve(&mut self, options: Options) -> Site {
        let (http, io) = self.enter(|lp| socket_io::listen(lp, ("127.0.0.1", 0), options)).expect("a server");
        let port = self.enter(|lp| http.port(lp)).expect("it is bound");
        self.enter(|lp| serve(lp, io));
        Site { http, io, port }
    }

    /// A client that writes its events into the story, under a name.
    fn client(&mut self, name: &'static str, url: &str, options: ClientOptions) -> Client {
        let story = self.story.clone();
        let client = self.enter(|lp| socket_io::connect(lp, url, options)).expect("a good URL");
        self.enter(|lp| observe(lp, client, name, &story));
        client
    }

    /// A client that is connected. The story is empty.
    fn connected(&mut self, url: &str, options: ClientOptions) -> Client {
        let client = self.client("c", url, options);
        self.wait("the connection", |world| world.enter(|lp| client.is_connected(lp)));
        self.take_story();
        client
    }
}

/// A server.
struct Site {
    http: HttpServer,
    io: Server,
    port: u16,
}

impl Site {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The server is gone from one moment to the next.
    fn destroy(&self, world: &mut World) {
        world.enter(|lp| {
            for socket in self.http.sockets(lp) {
                _ = socket.reset_and_destroy(lp);
            }
            self.http.close(lp);
        });
    }
}

/// What the server does: it echoes, calls back, and lets clients in.
fn serve(lp: &mut Loop, io: Server) {
    io.on(lp, "echo", |lp, socket, event| {
        let arguments = event.arguments();
        match event.take_ack() {
            Some(ack) => ack.send(lp, arguments),
            None => socket.emit(lp, "echo-back", arguments),
        };
    });
    io.on(lp, "silent", |_, _, _| {});
    io.on(lp, "bye", |lp, socket, _| socket.disconnect(lp, false));
    io.on(lp, "close", |lp, socket, _| socket.session(lp).into_iter().for_each(|session| session.close(lp)));
    io.on(lp, "ask", |lp, socket, event| {
        let arguments = event.arguments().to_owned();
        socket.emit_with_ack(lp, "question", arguments, SECOND, |lp, socket, result| {
            let answer =
                result.map(|arguments| arguments.as_json().to_owned()).unwrap_or_else(|error| error.to_string());
            socket.emit(lp, "answer", &*answer);
        });
    });
    let admin = io.of(lp, "/admin");
    admin.use_middleware(lp, |lp, socket, next| match socket.auth::<Value>(lp) {
        Some(auth) if auth["token"] == "secret" => next.allow(lp),
        _ => next.refuse(lp, socket_io::EventError::new("not authorized").with_data(json!({ "code": 401 }))),
    });
    admin.on(lp, "echo", |lp, _, event| {
        let arguments = event.arguments();
        event.ack(lp, arguments);
    });
}

fn observe(lp: &mut Loop, client: Client, name: &'static str, story: &Story) {
    let note = {
        let story = story.clone();
        move |text: String| story.borrow_mut().push(format!("{name} {text}"))
    };
    let tell = note.clone();
    client.on_connect(lp, move |lp, client| {
        let recovered = if client.is_recovered(lp) { " again" } else { "" };
        tell(format!("connect{recovered}"));
    });
    let tell = note.clone();
    client.on_connect_error(lp, move |_, _, error| tell(format!("connect_error {}", error.code())));
    let tell = note.clone();
    client.on_disconnect(lp, move |_, _, reason| tell(format!("disconnect {reason}")));
    let tell = note.clone();
    client.on_upgrade(lp, move |_, _| tell("upgrade".to_owned()));
    let tell = note.clone();
    client.on_reconnect_attempt(lp, move |_, _, attempt| tell(format!("reconnect_attempt {attempt}")));
    let tell = note.clone();
    client.on_reconnect(lp, move |_, _, attempt| tell(format!("reconnect {attempt}")));
    let tell = note.clone();
    client.on_reconnect_error(lp, move |_, _, error| tell(format!("reconnect_error {}", error.code())));
    let tell = note.clone();
    client.on_reconnect_failed(lp, move |_, _| tell("reconnect_failed".to_owned()));
    client.on_any(lp, move |_, _, event| note(format!("{} {}", event.name(), event.arguments().as_json())));
}

fn with(transports: &[Transport]) -> ClientOptions {
    let mut options = ClientOptions { randomization_factor: 0.0, ..ClientOptions::default() };
    options.engine.transports = transports.to_vec();
    options
}

const POLLING: &[Transport] = &[Transport::Polling];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const BOTH: &[Transport] = &[Transport::Polling, Transport::WebSocket];

/// Both revisions, over each transport and with an upgrade between them.
fn kinds() -> Vec<(String, ClientOptions)> {
    let mut kinds = Vec::new();
    for revision in [Revision::V4, Revision::V3] {
        for transports in [POLLING, WEBSOCKET, BOTH] {
            let mut options = with(transports);
            options.engine.revision = revision;
            kinds.push((format!("{revision:?} {transports:?}"), options));
        }
    }
    kinds
}

fn lenient() -> Options {
    let mut options = Options::default();
    options.engine.allow_eio3 = true;
    options
}

#[test]
fn events_and_acknowledgements_go_both_ways_over_all_transports() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let site = world.serve(lenient());
        let has_upgrade = options.engine.transports.len() == 2;
        let client = world.client("c", &site.url("/"), options);
        world.until("c connect");
        if has_upgrade {
            world.upgrade();
        }
        let server_side = world.enter(|lp| site.io.sockets(lp)[0].id(lp)).expect("it is there");
        world.enter(|lp| assert_eq!(client.id(lp), Some(server_side.as_str()), "{name}"));
        let story = world.story.clone();
        world.enter(|lp| {
            client.emit(lp, "echo", (1, "zwei", json!({ "a": [true, null] })));
            let binary = (Binary(vec![1, 2, 255]), json!("x"));
            client.emit_with_ack(lp, "echo", binary, SECOND, move |_, _, result| {
                let (bytes, text): (Binary, String) = result.expect("an answer").parse().expect("two values");
                story.borrow_mut().push(format!("c ack {:?} {text}", bytes.0));
            });
            client.on(lp, "question", |lp, _, event| {
                let text = event.arguments().text(0).unwrap_or_default().into_owned() + "!";
                event.ack(lp, &*text);
            });
            client.emit(lp, "ask", "why");
        });
        for line in [r#"c echo-back 1,"zwei",{"a":[true,null]}"#, "c ack [1, 2, 255] x", r#"c answer "\"why!\"""#] {
            world.until(line);
        }
        world.enter(|lp| client.disconnect(lp));
        world.until("c disconnect io client disconnect");
        world.wait("the end", |world| world.enter(|lp| site.io.engine().session_count(lp) == 0));
    }
}

#[test]
fn a_large_batch_is_posted_in_bodies_that_the_server_accepts() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let mut server = lenient();
        server.engine.max_http_buffer_size = 2_000;
        let site = world.serve(server);
        let client = world.connected(&site.url("/"), options);
        let text = "é".repeat(300);
        world.enter(|lp| (0..50).for_each(|number| _ = client.emit(lp, "echo", (number, &text))));
        world.wait(&name, |world| {
            world.story.borrow().iter().filter(|line| line.starts_with("c echo-back")).count() == 50
        });
        let order: Vec<String> = world.take_story();
        let echoes = order.iter().filter(|line| line.starts_with("c echo-back"));
        for (number, line) in echoes.enumerate() {
            assert!(line.starts_with(&format!("c echo-back {number},")), "{name}: {line}");
        }
    }
}

#[test]
fn the_client_connects_again_after_the_server_was_gone() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let site = world.serve(lenient());
        let client = world.client("c", &site.url("/"), options);
        world.until("c connect");
        world.settle();
        world.take_story();
        site.destroy(&mut world);
        world.wait(&name, |world| !world.enter(|lp| client.is_connected(lp)));
        world.wait(&name, |world| !world.story.borrow().is_empty());
        assert!(world.story.borrow()[0].starts_with("c disconnect transport "), "{name}: {:?}", world.story.borrow());
        world.take_story();
        world.enter(|lp| assert!(client.is_active(lp) && client.id(lp).is_none()));
        for (attempt, delay) in [(1, 1), (2, 2), (3, 4), (4, 5), (5, 5)] {
            world.settle();
            assert_eq!(world.take_story(), [""; 0], "{name}: nothing before the delay");
            world.advance(delay * SECOND);
            world.until("c reconnect_error ECONNREFUSED");
            let want = [
                &format!("c reconnect_attempt {attempt}"),
                "c connect_error ECONNREFUSED",
                "c reconnect_error ECONNREFUSED",
            ];
            assert_eq!(world.take_story(), want, "{name}");
        }
        // The server is there again, and knows nothing of the old session.
        let address = ("127.0.0.1", site.port);
        let again = world.enter(|lp| socket_io::listen(lp, address, lenient()));
        again.expect("the port is free");
        world.advance(5 * SECOND);
        world.until("c connect");
        let story = world.take_story();
        assert_eq!(story[..3], ["c reconnect_attempt 6", "c reconnect 6", "c connect"], "{name}");
    }
}
