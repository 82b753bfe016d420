//! The server of Engine.IO, as clients see it: raw HTTP, and WebSocket connections of tungstenite.

#![cfg(feature = "socket-io")]

#[path = "support/raw_http.rs"]
mod raw_http;

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bucle::engine_io::{
    self, Attached, CloseReason, ConnectionError, Cookie, Cors, CorsOrigin, Engine, Handler, Message, NotFound,
    Opening, Options, Session,
};
use bucle::http::{HeaderMap, HeaderValue, Http, Request};
use bucle::net::{Drain, Server};
use bucle::{EventLoop, Loop, ManualClock, Remote};
use raw_http::{Answer, Connection, LIMIT, UPGRADE, ask};
use tungstenite::{Message as Frame, WebSocket};

/// Sends every message back, and reports the events.
struct Echo {
    events: Sender<String>,
}

impl Echo {
    fn note(&self, what: impl Into<String>) {
        // After the test the receiver is gone.
        let _ = self.events.send(what.into());
    }
}

impl Handler for Echo {
    fn on_open(&mut self, _: &mut Loop, _: Session, _: Opening<'_>) {
        self.note("open");
    }
    fn on_headers(&mut self, _: &mut Loop, headers: &mut HeaderMap, _: &Request, is_initial: bool) {
        headers.insert("x-initial", HeaderValue::from_static(if is_initial { "yes" } else { "no" }));
    }
    fn on_message(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {
        session.send(lp, message);
    }
    fn on_upgrade(&mut self, _: &mut Loop, _: Session) {
        self.note("upgrade");
    }
    fn on_close(&mut self, _: &mut Loop, _: Session, reason: CloseReason, _: &'static str) {
        self.note(format!("close: {reason}"));
    }
    fn on_connection_error(&mut self, _: &mut Loop, error: &ConnectionError, _: &Request) {
        self.note(format!("error: {} {error}", error.code.number()));
    }
}

thread_local! {
    /// The clock of the loop in this thread.
    static CLOCK: ManualClock = ManualClock::new();
}

/// A server on a loop in a thread. Its time passes only in [`advance`](Running::advance).
struct Running {
    address: SocketAddr,
    engine: Engine<Echo>,
    server: Server<Http<Attached<Echo, NotFound>>>,
    events: Receiver<String>,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn new(options: Options) -> Running {
        let (events, received) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut event_loop = EventLoop::with_clock(CLOCK.with(Clone::clone)).expect("a loop");
            event_loop.enter(|lp| {
                let (http_options, server_options) =
                    (engine_io::http_options(&options), engine_io::server_options(&options));
                let engine = Engine::new(lp, options, Echo { events });
                let http = Http::new(http_options, engine.attach(NotFound));
                let server = bucle::net::listen_with(lp, ("127.0.0.1", 0), server_options, http).expect("a server");
                let port = server.port(lp).expect("it is bound");
                ready.send((engine, server, port, lp.remote())).expect("the test waits");
            });
            event_loop.run().expect("it runs");
        });
        let (engine, server, port, remote) = started.recv_timeout(LIMIT).expect("the server starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Running { address, engine, server, events: received, remote, thread: Some(thread) }
    }

    fn with_defaults() -> Running {
        Running::new(Options { allow_eio3: true, ..Options::default() })
    }

    fn event(&self) -> String {
        self.events.recv_timeout(LIMIT).expect("an event")
    }

    fn ask(&self, method: &str, target: &str, headers: &[&str], body: &str) -> Answer {
        ask(self.address, method, target, headers, body.as_bytes())
    }

    /// Opens a session that polls. Returns the target of its requests.
    fn open(&self, query: &str) -> String {
        let target = format!("/engine.io/?{query}&transport=polling");
        let answer = self.ask("GET", &target, &[], "");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(self.event(), "open");
        format!("{target}&sid={}", sid_of(&answer))
    }

    fn websocket(&self, target: &str) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        let target = target.replace("polling", "websocket");
        tungstenite::client::client(format!("ws://{}{target}", self.address), stream).expect("it is accepted").0
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

/// The id in an open packet, which may be in a script.
fn sid_of(answer: &Answer) -> String {
    let text = answer.text().replace('\\', "");
    let (_, rest) = text.split_once("\"sid\":\"").expect("an open packet");
    rest[..20].to_owned()
}

fn text(ws: &mut WebSocket<TcpStream>) -> String {
    match ws.read().expect("a message") {
        Frame::Text(text) => text.as_str().to_owned(),
        other => panic!("{other:?} is no text"),
    }
}

#[test]
fn a_request_of_another_revision_than_its_session_is_refused() {
    let running = Running::with_defaults();
    for (opens, other) in [("EIO=4", "EIO=3"), ("EIO=3", "EIO=4")] {
        let target = running.open(opens).replace(opens, other);
        let answer = running.ask("GET", &target, &[], "");
        assert_eq!((answer.status, answer.text().as_str()), (400, r#"{"code":3,"message":"Bad request"}"#));
        assert_eq!(running.event(), "error: 3 Bad request (the session has another protocol revision)");
        let answer = running.ask("GET", &target.replace("polling", "websocket"), &UPGRADE, "");
        assert_eq!((answer.status, answer.text().as_str()), (400, "Bad request"));
        assert_eq!(running.event(), "error: 3 Bad request (the session has another protocol revision)");
    }
}

#[test]
fn the_first_request_decides_whether_a_session_polls_with_scripts() {
    let running = Running::with_defaults();
    let target = running.open("EIO=4&j=7");
    let post = |target: &str, body: &str| running.ask("POST", target, &[], body).status;
    assert_eq!(post(&target.replace("&j=7", ""), "d=4%5C%5Cn%5Cn"), 200);
    let answer = running.ask("GET", &target.replace("&j=7", "&j=8"), &[], "");
    assert_eq!(answer.text(), r#"___eio[7]("4\\n\n");"#);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));

    let plain = running.open("EIO=4");
    assert_eq!(post(&format!("{plain}&j=1"), "4d=hola"), 200);
    assert_eq!(running.ask("GET", &format!("{plain}&j=1"), &[], "").text(), "4d=hola");
}

#[test]
fn a_session_that_polls_with_scripts_gets_binary_data_as_text() {
    let running = Running::with_defaults();
    let target = running.open("EIO=3&j=0");
    let answer = running.ask("POST", &target, &[], "d=6:b4AQID");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(running.ask("GET", &target, &[], "").text(), r#"___eio[0]("6:b4AQID");"#);
}

#[test]
fn a_script_needs_a_number() {
    let running = Running::with_defaults();
    for j in ["j", "j=", "j=x"] {
        let answer = running.ask("GET", &format!("/engine.io/?EIO=4&transport=polling&{j}"), &[], "");
        assert_eq!((answer.status, answer.text().as_str()), (400, r#"{"code":3,"message":"Bad request"}"#));
    }
}

#[test]
fn every_answer_has_the_headers_for_pages_of_other_origins() {
    let cors =
        Cors { origin: CorsOrigin::Exactly("http://app.example".to_owned()), credentials: true, ..Cors::default() };
    let running = Running::new(Options { cors: Some(cors), max_http_buffer_size: 1000, ..Options::default() });
    let origin = "Origin: http://app.example";
    let check = |answer: &Answer, status: u16| {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://app.example"), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{answer:?}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{answer:?}");
    };
    check(&running.ask("GET", "/engine.io/?EIO=4&transport=polling", &[origin], ""), 200);
    check(&running.ask("GET", "/engine.io/?EIO=4&transport=tube", &[origin], ""), 400);
    check(&running.ask("GET", "/engine.io/?EIO=3&transport=polling", &[origin], ""), 400);
    check(&running.ask("GET", "/engine.io/?EIO=4&transport=polling&sid=x", &[origin], ""), 400);
    while running.events.try_recv().is_ok() {}
    let target = running.open("EIO=4");
    check(&running.ask("POST", &target, &[origin], "4hola"), 200);
    check(&running.ask("GET", &target, &[origin], ""), 200);
    check(&running.ask("PUT", &target, &[origin], ""), 500);
    check(&running.ask("POST", &target, &[origin], &"x".repeat(1001)), 413);
    assert_eq!(running.event(), "close: transport error");
    let target = running.open("EIO=4");
    check(&running.ask("POST", &target, &[origin, "Content-Type: application/octet-stream"], "4"), 400);
    let [a, b, c, d] = UPGRADE;
    check(&running.ask("GET", "/engine.io/?EIO=4&transport=websocket", &[origin, a, b, c, d], ""), 101);
}

#[test]
fn the_headers_of_the_program_are_in_answers_to_valid_requests() {
    let cookie = Cookie { name: "sio".to_owned(), ..Cookie::default() };
    let running = Running::new(Options { cookie: Some(cookie), ..Options::default() });
    let first = running.ask("GET", "/engine.io/?EIO=4&transport=polling", &[], "");
    assert_eq!((first.header("x-initial"), first.header("cache-control")), (Some("yes"), Some("no-store")));
    let sid = sid_of(&first);
    assert_eq!(first.header("set-cookie"), Some(format!("sio={sid}; Path=/; HttpOnly; SameSite=Lax").as_str()));
    let target = format!("/engine.io/?EIO=4&transport=polling&sid={sid}");
    for (method, body) in [("POST", "4hola"), ("GET", "")] {
        let later = running.ask(method, &target, &[], body);
        assert_eq!((later.header("x-initial"), later.header("cache-control")), (Some("no"), Some("no-store")));
        assert_eq!(later.header("set-cookie"), None);
    }
    let refused = running.ask("GET", "/engine.io/?EIO=4&transport=tube", &[], "");
    assert_eq!(refused.header("x-initial"), None);
    let upgrade = running.ask("GET", &target.replace("polling", "websocket"), &UPGRADE, "");
    assert_eq!((upgrade.status, upgrade.header("x-initial")), (101, Some("no")));
    let direct = running.ask("GET", "/engine.io/?EIO=4&transport=websocket", &UPGRADE, "");
    assert_eq!((direct.status, direct.header("x-initial")), (101, Some("yes")));
    assert_eq!(direct.header("set-cookie"), None, "only answers of polling have the cookie, as in Node");
}

#[test]
fn a_refused_upgrade_is_answered_as_in_node_and_the_connection_is_closed() {
    let running = Running::with_defaults();
    let mut connection = Connection::new(running.address);
    let answer = connection.ask("GET", "/engine.io/?EIO=4&transport=websocket&sid=x", &UPGRADE, b"");
    assert_eq!((answer.status, answer.text().as_str()), (400, "Session ID unknown"));
    assert_eq!((answer.header("connection"), answer.header("content-type")), (Some("close"), Some("text/html")));
    assert!(connection.is_closed());
    assert_eq!(running.event(), "error: 1 Session ID unknown");
}

#[test]
fn options_that_cannot_be_sent_are_an_error() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let cookie = Cookie { name: "a b".to_owned(), ..Cookie::default() };
        let cors = Cors { origin: CorsOrigin::Exactly(String::new()), ..Cors::default() };
        for (options, text) in [
            (Options { cookie: Some(cookie), ..Options::default() }, "cookie.name"),
            (Options { cors: Some(cors), ..Options::default() }, "cors.origin"),
        ] {
            let (events, _) = mpsc::channel();
            let Err(error) = engine_io::listen(lp, ("127.0.0.1", 0), options, Echo { events }) else {
                panic!("{text} is accepted");
            };
            assert!(error.to_string().contains(text), "{error}");
        }
    });
}

#[test]
fn a_packet_that_cannot_be_parsed_ends_the_session() {
    let running = Running::with_defaults();
    let target = running.open("EIO=4");
    assert_eq!(running.ask("POST", &target, &[], "4hola\x1e9").status, 400);
    assert_eq!(running.event(), "close: parse error");
    let mut ws = running.websocket("/engine.io/?EIO=4&transport=websocket");
    assert!(text(&mut ws).starts_with('0'));
    ws.send(Frame::text("abc")).expect("it reads");
    assert_eq!((running.event(), running.event()), ("open".to_owned(), "close: parse error".to_owned()));
}

/// A client of revision 4 on a slow connection: the pong is behind a long message.
#[test]
fn a_message_extends_the_time_for_a_pong() {
    let running = Running::with_defaults();
    let seconds = Duration::from_secs;
    let mut ws = running.websocket("/engine.io/?EIO=4&transport=websocket");
    assert!(text(&mut ws).starts_with('0'));
    running.advance(seconds(25));
    assert_eq!(text(&mut ws), "2");
    running.advance(seconds(19));
    ws.send(Frame::text("4hola")).expect("it reads");
    assert_eq!(text(&mut ws), "4hola");
    running.advance(seconds(19));
    ws.send(Frame::text("4hola")).expect("it reads");
    assert_eq!(text(&mut ws), "4hola");
    running.advance(seconds(1));
    assert_eq!((running.event(), running.event()), ("open".to_owned(), "close: ping timeout".to_owned()));
}

#[test]
fn closing_the_engine_answers_polls_with_what_was_sent_before() {
    let running = Running::with_defaults();
    let target = running.open("EIO=4");
    let mut poll = Connection::new(running.address);
    poll.send("GET", &target, &[], b"");
    let idle = running.open("EIO=4");
    let mut ws = running.websocket("/engine.io/?EIO=4&transport=websocket");
    assert!(text(&mut ws).starts_with('0'));
    assert_eq!(running.event(), "open");
    // The poll has arrived when its answer would come at once.
    let engine = running.engine;
    while running.run(move |lp| engine.sessions(lp).iter().filter(|session| session.is_writable(lp)).count()) < 2 {}
    running.run(move |lp| {
        for session in engine.sessions(lp) {
            session.send(lp, "bye");
        }
        engine.close(lp);
    });
    assert_eq!(poll.answer().text(), "4bye");
    assert_eq!(text(&mut ws), "4bye");
    assert!(matches!(ws.read(), Ok(Frame::Close(None))));
    for _ in 0..3 {
        assert_eq!(running.event(), "close: forced close");
    }
    assert_eq!(running.ask("GET", &idle, &[], "").text(), r#"{"code":1,"message":"Session ID unknown"}"#);
    assert_eq!(running.run(move |lp| engine.session_count(lp)), 0);
}

#[test]
fn a_drain_ends_sessions_as_server_shutting_down() {
    let running = Running::with_defaults();
    let target = running.open("EIO=4");
    let mut poll = Connection::new(running.address);
    poll.send("GET", &target, &[], b"");
    let mut ws = running.websocket("/engine.io/?EIO=4&transport=websocket");
    assert!(text(&mut ws).starts_with('0'));
    assert_eq!(running.event(), "open");
    let engine = running.engine;
    while running.run(move |lp| engine.sessions(lp).iter().filter(|session| session.is_writable(lp)).count()) < 2 {}
    let server = running.server;
    running.run(move |lp| server.drain(lp, Drain::default()));
    assert_eq!(poll.answer().text(), "1");
    assert!(poll.is_closed());
    assert!(matches!(ws.read(), Ok(Frame::Close(Some(frame))) if u16::from(frame.code) == 1001));
    for _ in 0..2 {
        assert_eq!(running.event(), "close: server shutting down");
    }
}
