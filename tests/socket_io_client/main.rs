//! The client of Socket.IO: against the server of this crate, on a clock that is driven by hand, and against servers
//! that are written by hand.

#![cfg(feature = "socket-io")]

mod endings;
mod transports;

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::engine_io::{NotFound, Revision, Transport};
use bucle::http::{self, Exchange, Http, Request, Response, StatusCode};
use bucle::socket_io::{
    self, AckError, Auth, Binary, Client, ClientOptions, HttpServer, Options, RecoveryOptions, Server,
};
use bucle::websocket::{self, Endpoint, Message, WebSocket};
use bucle::{EventLoop, Loop, ManualClock, net};
use serde_json::{Value, json};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

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

    /// Lets a fifth of a second pass, for what must not come, and for the end of an upgrade.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.clock.advance(Duration::from_millis(10));
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
        let has_upgrade = options.engine.transports.len() == 2;
        let client = self.client("c", url, options);
        self.wait("the connection", |world| world.enter(|lp| client.is_connected(lp)));
        if has_upgrade {
            self.upgrade();
        }
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

/// The listeners of the server: it echoes, calls back, and lets clients in.
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

#[test]
fn a_pending_attempt_keeps_the_loop_alive_until_the_client_is_disconnected() {
    let mut world = World::new();
    let client = world.client("c", "http://127.0.0.1:1/", with(POLLING));
    world.until("c connect_error ECONNREFUSED");
    world.settle();
    assert!(world.event_loop.is_alive());
    world.enter(|lp| client.disconnect(lp));
    world.settle();
    assert!(!world.event_loop.is_alive());
    assert_eq!(world.take_story(), ["c connect_error ECONNREFUSED"], "it was never connected");
    // It connects again when the program wants it.
    world.enter(|lp| client.connect(lp));
    world.until("c connect_error ECONNREFUSED");
    world.enter(|lp| client.release(lp));
    world.settle();
    assert!(!world.event_loop.is_alive());
    world.enter(|lp| {
        client.connect(lp);
        assert!(!client.is_active(lp) && client.namespace(lp).is_none());
        assert!(!client.emit(lp, "echo", ()));
        assert!(client.of(lp, "/x").is_err());
    });
}

#[test]
fn a_client_does_not_connect_again_after_either_side_has_disconnected_it() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let site = world.serve(lenient());
        let client = world.connected(&site.url("/"), options);
        for (reason, is_server) in [("io client disconnect", false), ("io server disconnect", true)] {
            world.enter(|lp| match is_server {
                true => _ = client.emit(lp, "bye", ()),
                false => client.disconnect(lp),
            });
            world.until(&format!("c disconnect {reason}"));
            world.advance(100 * SECOND);
            world.settle();
            world.enter(|lp| assert!(!client.is_active(lp) && client.id(lp).is_none(), "{name}"));
            let mut story = world.take_story();
            story.retain(|line| line != "c upgrade");
            assert_eq!(story, [format!("c disconnect {reason}")], "{name}");
            world.enter(|lp| client.connect(lp));
            world.until("c connect");
            world.settle();
            world.take_story();
        }
    }
}

#[test]
fn a_client_connects_again_in_the_callback_of_its_disconnection() {
    let mut world = World::new();
    let site = world.serve(Options::default());
    let client = world.connected(&site.url("/"), with(BOTH));
    world.enter(|lp| {
        client.on_disconnect(lp, |lp, client, _| client.connect(lp));
        client.disconnect(lp);
    });
    world.until("c connect");
    world.take_story();
    world.enter(|lp| client.emit(lp, "bye", ()));
    world.until("c connect");
    assert_eq!(world.take_story()[..2], ["c disconnect io server disconnect", "c connect"]);
}

#[test]
fn a_server_that_closes_the_session_is_connected_again() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let site = world.serve(lenient());
        let client = world.connected(&site.url("/"), options);
        world.enter(|lp| client.emit(lp, "close", ()));
        world.until("c disconnect transport close");
        world.take_story();
        world.advance(SECOND);
        world.until("c connect");
        assert_eq!(world.take_story()[..3], ["c reconnect_attempt 1", "c reconnect 1", "c connect"], "{name}");
    }
}

#[test]
fn reconnection_can_be_off_or_limited() {
    let mut world = World::new();
    let off = ClientOptions { reconnection: false, ..with(POLLING) };
    world.client("a", "http://127.0.0.1:1/", off);
    let limited = ClientOptions { reconnection_attempts: Some(2), ..with(WEBSOCKET) };
    let client = world.client("b", "http://127.0.0.1:1/", limited);
    world.until("a connect_error ECONNREFUSED");
    world.until("b connect_error ECONNREFUSED");
    for (attempt, delay) in [(1, SECOND), (2, 2 * SECOND)] {
        world.take_story();
        world.advance(delay);
        world.until("b reconnect_error ECONNREFUSED");
        assert_eq!(world.story.borrow()[0], format!("b reconnect_attempt {attempt}"));
    }
    assert!(world.take_story().contains(&"b reconnect_failed".to_owned()));
    assert!(!world.event_loop.is_alive());
    world.enter(|lp| client.connect(lp));
    world.until("b connect_error ECONNREFUSED");
    world.advance(SECOND);
    world.until("b reconnect_attempt 1");
}

#[test]
fn a_name_that_is_not_found_is_tried_again() {
    let mut world = World::new();
    let label = "x".repeat(64);
    let client = world.client("c", &format!("http://{label}.invalid/"), with(POLLING));
    world.wait("an error", |world| !world.story.borrow().is_empty());
    assert!(world.take_story()[0].starts_with("c connect_error E"));
    world.advance(SECOND);
    world.until("c reconnect_attempt 1");
    world.enter(|lp| client.disconnect(lp));
}

#[test]
fn a_refused_client_does_not_ask_again_until_the_program_does() {
    let mut world = World::new();
    let site = world.serve(Options::default());
    let client = world.client("c", &site.url("/admin"), with(BOTH));
    let seen = Rc::new(RefCell::new(None));
    let error = seen.clone();
    world.enter(|lp| client.on_connect_error(lp, move |_, _, e| *error.borrow_mut() = Some(e.clone())));
    world.until("c connect_error E_REFUSED");
    let error = seen.take().expect("it was refused");
    assert_eq!(
        (error.message(), error.data(), error.is_refusal()),
        ("not authorized", Some(&json!({ "code": 401 })), true)
    );
    world.advance(100 * SECOND);
    world.settle();
    world.enter(|lp| assert!(!client.is_active(lp)));
    assert_eq!(world.take_story(), ["c connect_error E_REFUSED"]);
    world.enter(|lp| {
        client.set_auth(lp, Auth::new(json!({ "token": "secret" })));
        client.connect(lp);
    });
    world.until("c connect");
    let other = world.client("n", &site.url("/nope"), with(WEBSOCKET));
    let error = seen.clone();
    world.enter(|lp| other.on_connect_error(lp, move |_, _, e| *error.borrow_mut() = Some(e.clone())));
    world.until("n connect_error E_REFUSED");
    assert_eq!(seen.take().expect("it was refused").message(), "Invalid namespace");
}

#[test]
fn version_2_sends_its_credentials_in_the_query_of_the_namespace() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let mut world = World::new();
        let site = world.serve(lenient());
        let version_2 = || {
            let mut options = with(transports);
            options.engine.revision = Revision::V3;
            options
        };
        let refused = world.client("r", &site.url("/admin?token=no,"), version_2());
        world.until("r connect_error E_REFUSED");
        world.enter(|lp| refused.release(lp));
        let client = world.client("q", &site.url("/admin?token=secret"), version_2());
        world.until("q connect");
        world.enter(|lp| {
            let id = site.io.engine().sessions(lp).last().and_then(|session| session.id(lp)).expect("a session");
            assert_eq!(client.id(lp), Some(format!("/admin#{id}").as_str()));
        });
        let auth = ClientOptions { auth: Auth::new(json!({ "token": "secret", "n": 7 })), ..version_2() };
        let admin = world.client("a", &site.url("/admin"), auth);
        world.until("a connect");
        world.settle();
        // The main namespace was joined without asking for it.
        let story = world.story.clone();
        let main = world.enter(|lp| {
            let main = admin.of(lp, "/").expect("a good name");
            observe(lp, main, "m", &story);
            main
        });
        world.until("m connect");
        world.enter(|lp| main.disconnect(lp));
        world.until("m disconnect io client disconnect");
        world.take_story();
        world.enter(|lp| main.connect(lp));
        world.until("m connect");
    }
}

#[test]
fn auth_is_made_for_each_attempt() {
    let mut world = World::new();
    let site = world.serve(Options::default());
    let count = Rc::new(RefCell::new(0));
    let counted = count.clone();
    let auth = Auth::with(move |_| {
        *counted.borrow_mut() += 1;
        json!({ "token": if *counted.borrow() == 1 { "no" } else { "secret" } })
    });
    let client = world.client("c", &site.url("/admin"), ClientOptions { auth, ..with(POLLING) });
    world.until("c connect_error E_REFUSED");
    world.enter(|lp| client.connect(lp));
    world.until("c connect");
    assert_eq!(*count.borrow(), 2);
}

#[test]
fn namespaces_share_a_session_that_lives_as_long_as_one_of_them() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let site = world.serve(lenient());
        let main = world.connected(&site.url("/"), options);
        let secret = Auth::new(json!({ "token": "secret" }));
        let admin = world.enter(|lp| main.of_with_auth(lp, "admin", secret)).expect("a good name");
        let story = world.story.clone();
        world.enter(|lp| {
            observe(lp, admin, "a", &story);
            assert_eq!(main.of(lp, "/admin").ok(), Some(admin), "the same one");
            assert!(main.of(lp, "/a,b").is_err());
        });
        world.until("a connect");
        world.enter(|lp| {
            assert_eq!(site.io.engine().session_count(lp), 1, "{name}");
            assert_ne!(main.id(lp), admin.id(lp));
            main.disconnect(lp);
            let story = story.clone();
            admin.emit_with_ack(lp, "echo", 7, SECOND, move |_, _, result| {
                story.borrow_mut().push(format!("a ack {}", result.expect("an answer").as_json()));
            });
        });
        world.until("a ack 7");
        world.enter(|lp| {
            assert_eq!(site.io.engine().session_count(lp), 1, "{name}");
            main.connect(lp);
        });
        world.until("c connect");
        world.enter(|lp| [main, admin].into_iter().for_each(|client| client.disconnect(lp)));
        world.wait(&name, |world| world.enter(|lp| site.io.engine().session_count(lp) == 0));
    }
}

#[test]
fn events_are_kept_while_the_client_is_away_and_sent_in_their_order() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let site = world.serve(lenient());
        let client = world.client("c", &site.url("/"), ClientOptions { max_buffer: 2_000, ..options });
        world.enter(|lp| {
            assert!(client.emit(lp, "echo", 1));
            assert!(client.emit(lp, "echo", Binary(vec![2])));
            assert!(!client.emit_volatile(lp, "echo", "volatile"));
            assert!(!client.emit(lp, "echo", &*"x".repeat(2_000)), "there is no room");
            assert!(!client.emit(lp, "connect", ()), "a reserved name");
            assert!(client.emit(lp, "echo", 3));
            client.on_connect(lp, |lp, client| _ = client.emit(lp, "echo", 4));
        });
        world.until("c echo-back 4");
        let mut story = world.take_story();
        story.retain(|line| line != "c upgrade");
        let want = [
            "c connect",
            "c echo-back 1",
            r#"c echo-back {"_placeholder":true,"num":0}"#,
            "c echo-back 3",
            "c echo-back 4",
        ];
        assert_eq!(story, want, "{name}");
    }
}

/// Emits an event whose acknowledgement is written into the story.
fn ask(lp: &mut Loop, client: Client, story: &Story, name: &'static str, label: &'static str, timeout: Duration) {
    let story = story.clone();
    client.emit_with_ack(lp, name, label, timeout, move |_, _, result| {
        let text = match result {
            Ok(arguments) => arguments.as_json().to_owned(),
            Err(AckError::Timeout) => format!("{label} timeout"),
            Err(AckError::Disconnected) => format!("{label} disconnected"),
        };
        story.borrow_mut().push(format!("ack {text}"));
    });
}

#[test]
fn acknowledgements_end_with_their_connection_except_those_of_events_that_are_kept() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let site = world.serve(lenient());
        let client = world.connected(&site.url("/"), ClientOptions { ack_timeout: Some(30 * SECOND), ..options });
        let story = world.story.clone();
        world.enter(|lp| {
            ask(lp, client, &story, "silent", "sent", Duration::ZERO);
            ask(lp, client, &story, "silent", "short", SECOND);
        });
        world.settle();
        world.advance(SECOND);
        world.until("ack short timeout");
        world.enter(|lp| client.emit(lp, "close", ()));
        world.until("ack sent disconnected");
        world.take_story();
        world.enter(|lp| {
            ask(lp, client, &story, "echo", "kept", 10 * SECOND);
            ask(lp, client, &story, "echo", "too late", Duration::from_millis(500));
        });
        world.advance(Duration::from_millis(600));
        world.until("ack too late timeout");
        world.advance(SECOND);
        world.until(r#"ack "kept""#);
        world.settle();
        assert!(!world.story.borrow().iter().any(|line| line.contains("\"too late\"")), "{name}: it was not sent");
        world.take_story();
        world.enter(|lp| {
            ask(lp, client, &story, "silent", "last", Duration::ZERO);
            client.disconnect(lp);
        });
        world.until("ack last disconnected");
        assert_eq!(world.take_story(), ["c disconnect io client disconnect", "ack last disconnected"], "{name}");
    }
}

#[test]
fn a_release_answers_what_was_never_sent() {
    for retries in [0, 2] {
        let mut world = World::new();
        let options = ClientOptions { retries, ack_timeout: Some(60 * SECOND), ..with(POLLING) };
        let client = world.client("c", "http://127.0.0.1:1/", options);
        let story = world.story.clone();
        world.enter(|lp| {
            ask(lp, client, &story, "echo", "before", Duration::ZERO);
            client.release(lp);
            ask(lp, client, &story, "echo", "behind", Duration::ZERO);
        });
        world.until("ack behind disconnected");
        assert_eq!(world.take_story(), ["ack before disconnected", "ack behind disconnected"], "{retries} retries");
        world.settle();
        assert!(!world.event_loop.is_alive() && world.take_story().is_empty());
    }
}

#[test]
fn an_acknowledgement_that_is_awaited_keeps_the_loop_alive() {
    let mut world = World::new();
    let options = ClientOptions { auto_connect: false, ..with(POLLING) };
    let client = world.client("c", "http://127.0.0.1:1/", options);
    assert!(!world.event_loop.is_alive(), "it does not connect at once");
    let story = world.story.clone();
    world.enter(|lp| ask(lp, client, &story, "echo", "x", SECOND));
    assert!(world.event_loop.is_alive());
    world.advance(SECOND);
    world.until("ack x timeout");
    assert!(!world.event_loop.is_alive());
}

#[test]
fn retries_send_an_event_until_it_is_acknowledged() {
    let mut world = World::new();
    let site = world.serve(Options::default());
    let story = world.story.clone();
    world.enter(|lp| {
        let mut count = 0;
        site.io.on(lp, "flaky", move |lp, _, event| {
            count += 1;
            story.borrow_mut().push(format!("server {count} {}", event.arguments().as_json()));
            if count % 3 == 0 {
                event.ack(lp, "at last");
            }
        });
    });
    let options = ClientOptions { retries: 2, ack_timeout: Some(SECOND), ..with(WEBSOCKET) };
    let client = world.connected(&site.url("/"), options);
    let story = world.story.clone();
    world.enter(|lp| {
        ask(lp, client, &story, "flaky", "a", Duration::ZERO);
        client.emit(lp, "flaky", "b");
        ask(lp, client, &story, "silent", "c", Duration::ZERO);
    });
    for step in ["1 \"a\"", "2 \"a\"", "3 \"a\"", "4 \"b\"", "5 \"b\"", "6 \"b\""] {
        world.until(&format!("server {step}"));
        world.settle();
        world.advance(SECOND);
    }
    assert!(world.story.borrow().contains(&"ack \"at last\"".to_owned()));
    for _ in 0..3 {
        world.settle();
        world.advance(SECOND);
    }
    world.until("ack c timeout");
}

#[test]
fn an_event_is_sent_again_on_the_next_connection() {
    let mut world = World::new();
    let site = world.serve(Options::default());
    let story = world.story.clone();
    world.enter(|lp| {
        let mut count = 0;
        site.io.on(lp, "once", move |lp, socket, event| {
            count += 1;
            story.borrow_mut().push(format!("server {count}"));
            match count {
                1 => socket.session(lp).into_iter().for_each(|session| session.close(lp)),
                _ => _ = event.ack(lp, "done"),
            }
        });
    });
    let options = ClientOptions { retries: 5, ack_timeout: Some(60 * SECOND), ..with(POLLING) };
    let client = world.connected(&site.url("/"), options);
    let story = world.story.clone();
    world.enter(|lp| ask(lp, client, &story, "once", "x", Duration::ZERO));
    world.until("c disconnect transport close");
    world.advance(SECOND);
    world.until(r#"ack "done""#);
}

#[test]
fn a_client_that_returns_in_time_is_recovered() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let mut world = World::new();
        let site = world.serve(Options { recovery: Some(RecoveryOptions::default()), ..Options::default() });
        let client = world.connected(&site.url("/"), with(transports));
        let story = world.story.clone();
        let id = world.enter(|lp| {
            client.on(lp, "news", move |_, _, event| {
                let (number,): (u32,) = event.parse().expect("one number, and the offset");
                story.borrow_mut().push(format!("news {number}"));
            });
            site.io.emit(lp, "news", 1);
            client.id(lp).map(str::to_owned)
        });
        world.until("news 1");
        world.settle();
        world.take_story();
        // The connection is lost, and the server knows it. It emits before the client is back.
        world.enter(|lp| {
            for socket in site.http.sockets(lp) {
                _ = socket.reset_and_destroy(lp);
            }
        });
        world.wait("the loss", |world| world.enter(|lp| !client.is_connected(lp) && site.io.sockets(lp).is_empty()));
        world.enter(|lp| site.io.emit(lp, "news", 2));
        world.advance(SECOND);
        world.until("c connect again");
        world.until("news 2");
        world.enter(|lp| {
            assert!(client.is_recovered(lp));
            assert_eq!(client.id(lp), id.as_deref());
        });
        // After both sides have said good-bye there is nothing to recover.
        world.enter(|lp| client.disconnect(lp));
        world.settle();
        world.take_story();
        world.enter(|lp| client.connect(lp));
        world.until("c connect");
        world.enter(|lp| assert!(!client.is_recovered(lp) && client.id(lp) != id.as_deref()));
    }
}

#[test]
fn listeners_are_called_in_their_order_and_can_be_removed() {
    let mut world = World::new();
    let site = world.serve(Options::default());
    let client = world.connected(&site.url("/"), with(WEBSOCKET));
    let story = world.story.clone();
    let tell = move |text: &'static str| {
        let story = story.clone();
        move |_: &mut Loop, _: Client, _: &mut socket_io::Event<'_>| story.borrow_mut().push(text.to_owned())
    };
    world.enter(|lp| {
        client.on(lp, "echo-back", tell("on"));
        client.once(lp, "echo-back", tell("once"));
        client.on_any_outgoing(lp, tell("outgoing"));
        client.emit(lp, "echo", ());
        client.emit(lp, "echo", ());
    });
    world.wait("two echoes", |world| world.story.borrow().iter().filter(|line| *line == "on").count() == 2);
    assert_eq!(world.take_story(), ["outgoing", "outgoing", "c echo-back ", "on", "once", "c echo-back ", "on"]);
    world.enter(|lp| {
        client.off(lp, "echo-back");
        client.off_any(lp);
        let tell = tell.clone();
        client.on(lp, "echo-back", move |lp, client, event| {
            client.disconnect(lp);
            tell("last")(lp, client, event);
        });
        client.on(lp, "echo-back", |_, _, _| panic!("the client is disconnected"));
        client.emit(lp, "echo", ());
    });
    world.until("last");
    world.until("c disconnect io client disconnect");
    assert_eq!(world.take_story(), ["last", "c disconnect io client disconnect"]);
}

/// How the WebSocket connection of an upgrade fails.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Sabotage {
    Refused,
    Reset,
    ResetAfterProbe,
    SilentAfterProbe,
    WrongAnswer,
}

/// A server of Socket.IO whose upgrades fail.
struct Saboteur<F> {
    inner: F,
    endpoint: Endpoint<Probe>,
    sabotage: Sabotage,
}

struct Probe(Sabotage);

impl websocket::Handler for Probe {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        if self.0 == Sabotage::Reset {
            ws.terminate(lp);
        }
    }
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        assert_eq!(message, Message::Text("2probe"));
        match self.0 {
            Sabotage::WrongAnswer => _ = ws.send(lp, "4hola"),
            Sabotage::ResetAfterProbe => {
                ws.send(lp, "3probe");
                let socket = ws.socket();
                lp.set_immediate(move |lp| _ = socket.reset_and_destroy(lp));
            }
            _ => {}
        }
    }
}

impl<F: http::Handler> http::Handler for Saboteur<F> {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.inner.on_request(lp, exchange, request);
    }
    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.inner.on_head(lp, exchange, request);
    }
    fn on_abort(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.inner.on_abort(lp, exchange);
    }
    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.inner.on_end(lp, exchange);
    }
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if self.sabotage == Sabotage::Refused {
            let mut response = Response::new(&b"no"[..]);
            *response.status_mut() = StatusCode::FORBIDDEN;
            exchange.respond(lp, response);
        } else if let Some(handshake) = self.endpoint.handshake(lp, exchange, request) {
            handshake.accept(lp);
        }
    }
}

#[test]
fn a_failed_upgrade_leaves_the_session_alive() {
    use Sabotage::*;
    for sabotage in [Refused, Reset, ResetAfterProbe, SilentAfterProbe, WrongAnswer] {
        let mut world = World::new();
        let options = Options::default();
        let port = world.enter(|lp| {
            let io = Server::new(lp, options.clone());
            serve(lp, io);
            let endpoint = Endpoint::new(lp, websocket::Options::default(), Probe(sabotage));
            let saboteur = Saboteur { inner: io.attach(NotFound), endpoint, sabotage };
            let handler = Http::new(bucle::engine_io::http_options(&options.engine), saboteur);
            let server_options = bucle::engine_io::server_options(&options.engine);
            let server = net::listen_with(lp, ("127.0.0.1", 0), server_options, handler).expect("a port");
            server.port(lp).expect("it is bound")
        });
        let client = world.client("c", &format!("http://127.0.0.1:{port}"), with(BOTH));
        world.until("c connect");
        world.settle();
        for number in 0..3 {
            world.enter(|lp| client.emit(lp, "echo", number));
            world.until(&format!("c echo-back {number}"));
            world.advance(10 * SECOND);
            world.settle();
        }
        world.enter(|lp| assert_eq!(client.transport(lp), Some(Transport::Polling), "{sabotage:?}"));
        assert!(world.story.borrow().iter().all(|line| line.starts_with("c connect") || line.starts_with("c echo")));
    }
}

/// A server that is written by hand: it answers requests with texts.
struct Peer {
    listener: TcpListener,
    connections: Vec<(TcpStream, Vec<u8>)>,
    /// The client of the last session has joined the main namespace.
    has_joined: bool,
}

impl Peer {
    fn new() -> Peer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.set_nonblocking(true).expect("it can");
        Peer { listener, connections: Vec::new(), has_joined: false }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().expect("it is bound"))
    }

    /// Answers the requests that have arrived. `answer` gets method, target and body; `None` lets a request wait.
    fn serve(&mut self, mut answer: impl FnMut(&str, &str, &str) -> Option<(u16, String)>) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).expect("it can");
            self.connections.push((stream, Vec::new()));
        }
        self.connections.retain_mut(|(stream, received)| {
            let mut chunk = [0; 65_536];
            loop {
                match stream.read(&mut chunk) {
                    Ok(0) => return false,
                    Ok(len) => received.extend_from_slice(&chunk[..len]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return false,
                }
            }
            let text = String::from_utf8_lossy(received).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { return true };
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() < length.map_or(0, |length| length.parse().expect("a number")) {
                return true;
            }
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if let Some((status, body)) = answer(method, target, body) {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
                received.clear();
                // The client may have closed the connection.
                _ = stream.write_all((head + &body).as_bytes());
            }
            true
        });
    }
}

const OPEN: &str = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

/// Serves a client until the story has a line. After the open packet and the CONNECT answer, polls get these packets.
fn talk(world: &mut World, peer: &mut Peer, line: &str, mut packets: Vec<(u16, &str)>) {
    world.wait(line, |world| {
        let mut has_joined = peer.has_joined;
        peer.serve(|method, target, _| match method {
            "POST" => Some((200, "ok".to_owned())),
            _ if !target.contains("sid=") => {
                has_joined = false;
                Some((200, OPEN.to_owned()))
            }
            _ if !has_joined => {
                has_joined = true;
                Some((200, r#"40{"sid":"abc"}"#.to_owned()))
            }
            _ if packets.is_empty() => None,
            _ => {
                let (status, text) = packets.remove(0);
                Some((status, text.to_owned()))
            }
        });
        peer.has_joined = has_joined;
        world.story.borrow().iter().any(|other| other == line)
    });
}

#[test]
fn a_server_that_goes_silent_is_left_and_connected_again() {
    let mut world = World::new();
    let mut peer = Peer::new();
    let client = world.client("c", &peer.url(), with(POLLING));
    talk(&mut world, &mut peer, "c connect", vec![]);
    world.take_story();
    world.advance(44 * SECOND);
    world.settle();
    assert_eq!(world.take_story(), [""; 0]);
    world.advance(SECOND);
    assert_eq!(world.take_story(), ["c disconnect ping timeout"]);
    world.advance(SECOND);
    talk(&mut world, &mut peer, "c connect", vec![]);
    world.enter(|lp| client.release(lp));
}

#[test]
fn a_suspended_process_sends_nothing_to_a_connection_that_is_surely_dead() {
    let mut world = World::new();
    let mut peer = Peer::new();
    let client = world.client("c", &peer.url(), with(POLLING));
    talk(&mut world, &mut peer, "c connect", vec![]);
    world.take_story();
    world.clock.advance(3600 * SECOND);
    // The loop sees the new time in its next turn, in a timer of the program that is due before that of the session.
    world.enter(|lp| {
        lp.set_timeout(Duration::from_millis(1), move |lp| _ = client.emit(lp, "late", 1));
    });
    world.turn();
    world.until("c disconnect ping timeout");
    world.advance(SECOND);
    let mut seen = false;
    let mut has_joined = false;
    world.wait("the event", |_| {
        peer.serve(|method, target, body| match method {
            "POST" => {
                seen |= body.contains(r#"42["late",1]"#);
                Some((200, "ok".to_owned()))
            }
            _ if !target.contains("sid=") => Some((200, OPEN.to_owned())),
            _ if !std::mem::replace(&mut has_joined, true) => Some((200, r#"40{"sid":"abc"}"#.to_owned())),
            _ => None,
        });
        seen
    });
}

#[test]
fn a_server_that_breaks_the_protocol_is_left_and_connected_again() {
    let long = format!("42{:?}", ["x".repeat(3_000)]);
    let deep = format!(r#"42["x",{}{}]"#, "[".repeat(100), "]".repeat(100));
    let table: &[(&str, u16, &str, &str)] = &[
        ("an unknown session", 400, r#"{"code":1,"message":"Session ID unknown"}"#, "transport error"),
        ("no packet", 200, "", "transport error"),
        ("an unknown type", 200, "9", "transport error"),
        ("bad base64", 200, "b*", "transport error"),
        ("a second open packet", 200, OPEN, "transport error"),
        ("a close packet", 200, "1", "transport close"),
        ("a body that is too long", 200, &long, "transport error"),
        ("an unknown type of Socket.IO", 200, "49", "parse error"),
        ("no JSON", 200, r#"42["x"#, "parse error"),
        ("JSON that is too deep", 200, &deep, "parse error"),
        ("a reserved event", 200, r#"42["connect"]"#, "parse error"),
        ("too many attachments", 200, r#"4511-["x"]"#, "parse error"),
        ("an attachment without a packet", 200, "bAQID", "parse error"),
        (
            "a text instead of an attachment",
            200,
            "451-[\"x\",{\"_placeholder\":true,\"num\":0}]\u{1e}42[\"x\"]",
            "parse error",
        ),
        ("a disconnection", 200, "41", "io server disconnect"),
    ];
    for (name, status, text, reason) in table {
        let mut world = World::new();
        let mut peer = Peer::new();
        let mut options = with(POLLING);
        options.engine.max_message = 3_000;
        let client = world.client("c", &peer.url(), options);
        talk(&mut world, &mut peer, "c connect", vec![]);
        talk(&mut world, &mut peer, &format!("c disconnect {reason}"), vec![(*status, text)]);
        world.take_story();
        if *reason != "io server disconnect" {
            world.advance(SECOND);
            talk(&mut world, &mut peer, "c connect", vec![]);
        }
        world.enter(|lp| assert_eq!(client.is_connected(lp), *reason != "io server disconnect", "{name}"));
    }
}

#[test]
fn packets_that_mean_nothing_are_ignored() {
    let packets = [
        "6",
        "3",
        "5",
        "43999[1]",
        "43[1]",
        "42/other,[\"x\"]",
        "41/other,",
        "40/other,{\"sid\":\"x\"}",
        "40{\"sid\":\"twice\"}",
        "44{\"message\":\"late\"}",
    ];
    for packet in packets {
        let mut world = World::new();
        let mut peer = Peer::new();
        let client = world.client("c", &peer.url(), with(POLLING));
        talk(&mut world, &mut peer, "c connect", vec![]);
        talk(&mut world, &mut peer, "c done ", vec![(200, packet), (200, r#"42["done"]"#)]);
        world.enter(|lp| assert_eq!(client.id(lp), Some("abc"), "{packet}"));
    }
}

/// Node's server sends what a recovered client has missed before it confirms the connection.
#[test]
fn events_before_the_confirmation_are_delivered_with_it() {
    let mut world = World::new();
    let mut peer = Peer::new();
    let mut options = with(POLLING);
    options.engine.max_message = 3_000;
    let client = world.client("c", &peer.url(), options);
    let mut answers = vec![r#"42["early",1]"#, "42[\"early\",2]\u{1e}40{\"sid\":\"abc\"}\u{1e}42[\"late\",3]"];
    world.wait("the last event", |world| {
        peer.serve(|method, target, _| match method {
            "POST" => Some((200, "ok".to_owned())),
            _ if !target.contains("sid=") => Some((200, OPEN.to_owned())),
            _ if answers.is_empty() => None,
            _ => Some((200, answers.remove(0).to_owned())),
        });
        world.story.borrow().iter().any(|line| line == "c late 3")
    });
    assert_eq!(world.take_story(), ["c early 1", "c early 2", "c connect", "c late 3"]);
    world.enter(|lp| client.release(lp));
    // A server that never confirms costs a bounded amount of memory.
    let mut peer = Peer::new();
    let mut options = with(POLLING);
    options.engine.max_message = 3_000;
    world.client("d", &peer.url(), options);
    let early = format!("42{:?}", ["early", &"x".repeat(900)]);
    let mut sessions = 0;
    world.wait("a second session", |world| {
        peer.serve(|method, target, _| match method {
            "POST" => Some((200, "ok".to_owned())),
            _ if !target.contains("sid=") => {
                sessions += 1;
                Some((200, OPEN.to_owned()))
            }
            _ => Some((200, early.clone())),
        });
        world.clock.advance(Duration::from_millis(20));
        sessions == 2
    });
    assert!(!world.story.borrow().iter().any(|line| line.contains("early")));
}

#[test]
fn a_server_that_opens_no_session_is_an_error_that_is_tried_again() {
    let table: &[(Option<(u16, &str)>, &str)] = &[
        (Some((404, "not found")), "E_UNEXPECTED_RESPONSE"),
        (Some((403, r#"{"code":4,"message":"denied"}"#)), "E_UNEXPECTED_RESPONSE"),
        (Some((200, "<html>")), "E_BAD_RESPONSE"),
        (Some((200, "")), "E_BAD_RESPONSE"),
        (Some((200, "0{}")), "E_BAD_RESPONSE"),
        (Some((200, "40")), "E_BAD_RESPONSE"),
        (None, "ETIMEDOUT"),
    ];
    for (answer, code) in table {
        let mut world = World::new();
        let mut peer = Peer::new();
        let client = world.client("c", &peer.url(), with(POLLING));
        let line = format!("c connect_error {code}");
        let is_silent = answer.is_none();
        world.wait(&line, |world| {
            peer.serve(|_, _, _| answer.map(|(status, text)| (status, text.to_owned())));
            if is_silent {
                world.clock.advance(SECOND);
            }
            world.story.borrow().contains(&line)
        });
        world.advance(SECOND);
        world.until("c reconnect_attempt 1");
        world.enter(|lp| client.release(lp));
    }
}

#[test]
fn settings_of_a_server_cannot_break_the_client() {
    let opens = [
        r#"0{"sid":"s","upgrades":[],"pingInterval":0,"pingTimeout":0}"#,
        r#"0{"sid":"s","upgrades":["websocket","x"],"pingInterval":18446744073709551615,"pingTimeout":18446744073709551615,"maxPayload":0}"#,
        r#"0{"sid":"s\r\n&=é","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1e99}"#,
    ];
    for (revision, open) in [Revision::V4, Revision::V3].into_iter().flat_map(|v| opens.map(|open| (v, open))) {
        let mut world = World::new();
        let mut peer = Peer::new();
        let mut options = with(BOTH);
        options.engine.revision = revision;
        let client = world.client("c", &peer.url(), options);
        let text =
            if revision == Revision::V4 { open.to_owned() } else { format!("{}:{open}", open.encode_utf16().count()) };
        for _ in 0..50 {
            peer.serve(|_, target, _| Some((200, if target.contains("sid=") { "6".to_owned() } else { text.clone() })));
            world.clock.advance(Duration::from_millis(100));
            world.turn();
        }
        world.enter(|lp| client.release(lp));
        world.settle();
    }
}

#[test]
fn a_url_that_is_none_is_an_error_at_once() {
    let mut world = World::new();
    for url in ["", "localhost", "https://localhost", "http://localhost/a,b", "ftp://localhost"] {
        let result = world.enter(|lp| socket_io::connect(lp, url, ClientOptions::default()));
        assert_eq!(result.err().map(|error| error.code().to_owned()).as_deref(), Some("ERR_INVALID_URL"), "{url}");
    }
    let nothing = world.enter(|lp| socket_io::connect(lp, "http://localhost", with(&[])));
    assert_eq!(nothing.err().map(|error| error.code().to_owned()).as_deref(), Some("ERR_INVALID_ARG_VALUE"));
    assert!(!world.event_loop.is_alive());
}
