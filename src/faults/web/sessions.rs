//! Sessions of Engine.IO, and the sockets of Socket.IO on them, on the simulated kernel: what their program is
//! promised, whatever clients and the kernel do.
//!
//! A [`Diary`] records the events of each session and each socket, and panics at the first that must not come:
//!
//! ```text
//!   session   on_open ── on_message, on_upgrade, on_drain … ── on_close
//!   socket    on_connection ── events … ── on_disconnecting ── on_disconnect
//!   question  emit_with_ack ── its closure, once
//! ```
//!
//! When nothing happens any more, every request on an open connection must have its answer. At the end the loop holds
//! nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::wire;
use crate::Loop;
use crate::engine_io::{self, CloseReason, Engine, Handler, Message, NotFound, Opening, Session};
use crate::faults::chance::{Chance, answer, text};
use crate::faults::{Step, World};
use crate::http::{self, Http, StatusCode};
use crate::net::simulated::{Kernel, Peer};
use crate::net::{Drain, ServerId};
use crate::socket_io::{self, RecoveryOptions, Server, Socket};
use crate::websocket::frame::{Header, Opcode};
use crate::websocket::mask::apply_mask;

/// Stands for the id of a session in [`Step::Fill`]. It is as long as an id.
const ANY_ID: &str = "(the id of session )";

/// Stands for the secret with which a client of Socket.IO comes back. It is as long as a secret.
const ANY_PID: &str = "(the secret of one )";

const _: () = assert!(ANY_ID.len() == 20 && ANY_PID.len() == 20);

/// The texts of 20 characters between `before` and `after` in everything that the loop has written.
fn written(kernel: &Kernel, before: &str, after: &str) -> Vec<String> {
    const LEN: usize = 20;
    let mut found = Vec::new();
    for peer in kernel.peers() {
        kernel.with_bytes(peer, |taken, _| {
            let text = String::from_utf8_lossy(taken);
            for (at, _) in text.match_indices(before) {
                let rest = &text[at + before.len()..];
                if let Some((id, rest)) = rest.split_at_checked(LEN)
                    && rest.starts_with(after)
                {
                    found.push(id.to_owned());
                }
            }
        });
    }
    found
}

fn ids(kernel: &Kernel) -> Vec<String> {
    written(kernel, "0{\"sid\":\"", "\",\"upgrades\"")
}

fn pids(kernel: &Kernel) -> Vec<String> {
    written(kernel, "\"pid\":\"", "\"")
}

/// Whether a peer that is to send these bytes must still wait for the session of this number.
pub(in crate::faults) fn must_wait(kernel: &Kernel, peer: Peer, number: usize, bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let lacks = |placeholder: &str, known: fn(&Kernel) -> Vec<String>| {
        text.contains(placeholder) && known(kernel).len() <= number
    };
    !kernel.has_ended(peer) && (lacks(ANY_ID, ids) || lacks(ANY_PID, pids))
}

/// The bytes with the id and the secret of the session of this number.
pub(in crate::faults) fn filled(kernel: &Kernel, number: usize, mut bytes: Vec<u8>) -> Vec<u8> {
    for (placeholder, known) in [(ANY_ID, ids as fn(&Kernel) -> Vec<String>), (ANY_PID, pids)] {
        let Some(id) = known(kernel).get(number).cloned() else { continue };
        while let Some(at) = bytes.windows(placeholder.len()).position(|part| part == placeholder.as_bytes()) {
            bytes.splice(at..at + placeholder.len(), id.bytes());
        }
    }
    bytes
}

/// Checks that each whole request on an open connection has its answer.
fn check_answers(kernel: &Kernel) {
    for peer in kernel.peers() {
        if !kernel.is_open(peer) {
            continue;
        }
        kernel.with_bytes(peer, |mut taken, sent| {
            for asked in wire::requests(sent).into_iter().filter(|asked| asked.body.is_some()) {
                match wire::response(&mut taken, &asked.method) {
                    Some(answered) if answered.status == StatusCode::SWITCHING_PROTOCOLS => return,
                    Some(answered) => assert!(answered.is_whole, "{peer:?}: {asked:?} has {answered:?}"),
                    None => panic!("{peer:?}: {asked:?} has no answer"),
                }
            }
        });
    }
}

/// The events of a session.
#[derive(Clone, Default, Debug)]
struct SessionRecord {
    events: Vec<&'static str>,
    received: Vec<String>,
    /// The program has closed it.
    is_closed: bool,
    reason: Option<CloseReason>,
}

/// The events of a socket.
#[derive(Clone, Default, Debug)]
struct SocketRecord {
    events: Vec<String>,
    is_recovered: bool,
    has_ended: bool,
}

/// The records of all sessions, sockets and questions.
#[derive(Clone, Default)]
struct Diary {
    sessions: Rc<RefCell<BTreeMap<Session, SessionRecord>>>,
    sockets: Rc<RefCell<BTreeMap<Socket, SocketRecord>>>,
    /// How many questions were asked, and how many have their result.
    questions: Rc<Cell<(usize, usize)>>,
}

impl Diary {
    fn session(&self, session: Session, event: &'static str, check: impl FnOnce(&mut SessionRecord)) {
        let mut sessions = self.sessions.borrow_mut();
        let is_new = !sessions.contains_key(&session);
        let record = sessions.entry(session).or_default();
        assert_eq!(is_new, event == "open", "{session} gets {event}: {record:?}");
        assert_eq!(record.reason, None, "{session} gets {event} after its end: {record:?}");
        let is_repeated = matches!(event, "upgrade") && record.events.contains(&event);
        assert!(!is_repeated, "{session} gets {event} twice: {record:?}");
        record.events.push(event);
        check(record);
    }

    fn socket(&self, socket: Socket, event: &str) {
        let mut sockets = self.sockets.borrow_mut();
        let is_new = !sockets.contains_key(&socket);
        let record = sockets.entry(socket).or_default();
        assert_eq!(is_new, event == "connection", "{socket} gets {event}: {record:?}");
        assert!(!record.has_ended, "{socket} gets {event} after its end: {record:?}");
        let is_leaving = record.events.last().is_some_and(|last| last.starts_with("disconnecting"));
        assert_eq!(is_leaving, event.starts_with("disconnect "), "{socket} gets {event}: {record:?}");
        record.has_ended = event.starts_with("disconnect ");
        record.events.push(event.to_owned());
    }

    /// All sessions so far.
    fn all_sessions(&self) -> Vec<Session> {
        self.sessions.borrow().keys().copied().collect()
    }

    fn all_sockets(&self) -> Vec<Socket> {
        self.sockets.borrow().keys().copied().collect()
    }

    fn close(&self, lp: &mut Loop, session: Session) {
        if let Some(record) = self.sessions.borrow_mut().get_mut(&session) {
            record.is_closed = true;
        }
        session.close(lp);
        assert!(!session.is_open(lp));
        assert!(!session.send(lp, "too late"));
    }

    /// Asks a client, which must be recorded once.
    fn ask(&self, lp: &mut Loop, socket: Socket, timeout: Duration) {
        let count = |asked, answered| {
            let (a, b) = self.questions.get();
            self.questions.set((a + asked, b + answered));
        };
        count(1, 0);
        let questions = self.questions.clone();
        socket.emit_with_ack(lp, "question", 1, timeout, move |_, _, _| {
            let (asked, answered) = questions.get();
            questions.set((asked, answered + 1));
        });
    }

    fn ask_all(&self, lp: &mut Loop, io: Server) {
        let (asked, answered) = self.questions.get();
        self.questions.set((asked + 1, answered));
        let questions = self.questions.clone();
        io.emit_with_ack(lp, "question", (), move |_, answers| {
            let (asked, answered) = questions.get();
            questions.set((asked, answered + 1));
            assert_eq!(answers.is_complete, answers.missing.is_empty());
        });
    }

    /// Every session and every socket has ended, and every question has its result.
    fn check_at_the_end(&self) {
        for (session, record) in &*self.sessions.borrow() {
            assert!(record.reason.is_some(), "{session} has no end: {record:?}");
        }
        for (socket, record) in &*self.sockets.borrow() {
            assert!(record.has_ended, "{socket} has no end: {record:?}");
        }
        let (asked, answered) = self.questions.get();
        assert_eq!(asked, answered, "questions without, or with several, results");
    }

    /// The events of all sessions and sockets, as text: the same for all harmless answers of the kernel.
    #[cfg(test)]
    fn results(&self) -> Vec<String> {
        let sessions = self.sessions.borrow();
        let of_sessions = sessions.values().map(|record| {
            let events: std::collections::BTreeSet<_> =
                record.events.iter().filter(|event| **event != "drain").collect();
            format!("{events:?} {:?} {:?}", record.received, record.reason)
        });
        let sockets = self.sockets.borrow();
        let of_sockets =
            sockets.values().map(|record| format!("recovered {}: {:?}", record.is_recovered, record.events));
        of_sessions.chain(of_sockets).collect()
    }
}

/// The action of the program in an event of a session.
type OnSession = Rc<dyn Fn(&mut Loop, Session, Option<Message<'_>>)>;

/// The action of the program in an event of a socket.
type OnSocket = Rc<dyn Fn(&mut Loop, Server, Socket)>;

/// A handler whose events are recorded.
struct Watched {
    diary: Diary,
    act: OnSession,
}

impl Handler for Watched {
    fn on_open(&mut self, lp: &mut Loop, session: Session, _: Opening<'_>) {
        self.diary.session(session, "open", |_| {});
        (self.act)(lp, session, None);
    }
    fn on_message(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {
        let received = match message {
            Message::Text(text) => text.to_owned(),
            Message::Binary(bytes) => format!("{bytes:?}"),
        };
        self.diary.session(session, "message", |record| {
            assert!(!record.is_closed, "a message after the program has closed the session: {record:?}");
            record.received.push(received);
        });
        (self.act)(lp, session, Some(message));
    }
    fn on_upgrade(&mut self, lp: &mut Loop, session: Session) {
        self.diary.session(session, "upgrade", |_| {});
        (self.act)(lp, session, None);
    }
    fn on_drain(&mut self, lp: &mut Loop, session: Session) {
        self.diary.session(session, "drain", |_| {});
        (self.act)(lp, session, None);
    }
    fn on_close(&mut self, lp: &mut Loop, session: Session, reason: CloseReason, _: &'static str) {
        assert!(!session.is_open(lp));
        self.diary.session(session, "close", |record| record.reason = Some(reason));
        (self.act)(lp, session, None);
    }
}

/// Times that let every session end while the world waits.
fn engine_options() -> engine_io::Options {
    engine_io::Options {
        ping_interval: Duration::from_secs(3),
        ping_timeout: Duration::from_secs(3),
        upgrade_timeout: Duration::from_secs(3),
        ..engine_io::Options::default()
    }
}

/// Starts a server of sessions.
fn serve_engine(
    world: &mut World,
    diary: &Diary,
    options: engine_io::Options,
    high_water_mark: usize,
    act: OnSession,
) -> (Engine<Watched>, ServerId) {
    let (http_options, mut server_options) = (engine_io::http_options(&options), engine_io::server_options(&options));
    server_options.high_water_mark = high_water_mark;
    let handler = Watched { diary: diary.clone(), act };
    let engine = world.enter(|lp| Engine::new(lp, options, handler));
    world.at_the_end(move |lp| {
        engine.release(lp);
        assert!(!engine_io::holds_anything(lp), "a session is left");
    });
    world.when_quiet = Some(check_answers);
    let server = world.serve_unwatched(server_options, Http::new(http_options, engine.attach(NotFound)));
    (engine, server.id())
}

/// Starts a server of Socket.IO. `act` is called in every event.
fn serve_sockets(world: &mut World, diary: &Diary, options: socket_io::Options, act: OnSocket) -> (Server, ServerId) {
    let (http_options, server_options) =
        (engine_io::http_options(&options.engine), engine_io::server_options(&options.engine));
    let io = world.enter(|lp| Server::new(lp, options));
    world.enter(|lp| {
        let tenants = io.of_matching(lp, |name| name.starts_with("/t"));
        for namespace in [io.main(), tenants] {
            namespace.use_middleware(lp, |lp, socket, next| match socket.auth::<serde_json::Value>(lp) {
                Some(auth) if auth["later"] == true => {
                    lp.set_timeout(Duration::from_secs(1), |lp| next.allow(lp));
                }
                Some(auth) if auth["no"] == true => next.refuse(lp, "no"),
                _ => next.allow(lp),
            });
            let (book, f) = (diary.clone(), act.clone());
            namespace.on_connection(lp, move |lp, socket| {
                book.socket(socket, "connection");
                if let Some(record) = book.sockets.borrow_mut().get_mut(&socket) {
                    record.is_recovered = socket.is_recovered(lp);
                }
                socket.join(lp, "room");
                f(lp, io, socket);
            });
            let (book, f) = (diary.clone(), act.clone());
            namespace.on_any(lp, move |lp, socket, event| {
                book.socket(socket, event.name());
                match event.name() {
                    "say" => {
                        socket.to(lp, "room").emit(lp, "said", event.arguments());
                    }
                    "ask" => book.ask(lp, socket, Duration::from_secs(3)),
                    "leave" => socket.disconnect(lp, false),
                    _ => {}
                }
                event.ack(lp, event.arguments());
                f(lp, io, socket);
            });
            let (book, f) = (diary.clone(), act.clone());
            namespace.on_disconnecting(lp, move |lp, socket, reason| {
                book.socket(socket, &format!("disconnecting {reason}"));
                assert!(socket.rooms(lp).len() >= 2, "{socket} has left its rooms too early");
                f(lp, io, socket);
            });
            let (book, f) = (diary.clone(), act.clone());
            namespace.on_disconnect(lp, move |lp, socket, reason| {
                book.socket(socket, &format!("disconnect {reason}"));
                assert!(socket.rooms(lp).is_empty() && !socket.is_connected(lp));
                f(lp, io, socket);
            });
        }
    });
    world.at_the_end(move |lp| {
        io.engine().release(lp);
        assert!(!socket_io::holds_anything(lp), "a client or a socket is left");
        assert!(!engine_io::holds_anything(lp), "a session is left");
    });
    world.when_quiet = Some(check_answers);
    let server = world.serve_unwatched(server_options, Http::new(http_options, io.attach(NotFound)));
    (io, server.id())
}

/// Lets the time pass in which sessions without connections end, and ends the world.
fn finish(mut world: World, diary: &Diary) {
    for _ in 0..6 {
        world.clock.advance(Duration::from_secs(50));
        for _ in 0..3 {
            world.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        }
    }
    world.finish();
    diary.check_at_the_end();
}

// The bytes that peers send.

fn open(path: &str) -> String {
    format!("GET {path}?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn poll(path: &str) -> String {
    format!("GET {path}?EIO=4&transport=polling&sid={ANY_ID} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    // The placeholder in the body is as long as what replaces it.
    let len = body.len();
    format!(
        "POST {path}?EIO=4&transport=polling&sid={ANY_ID} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}"
    )
}

/// A request for a WebSocket connection: of a session, or for a new one.
fn upgrade(path: &str, is_of_session: bool) -> String {
    let sid = if is_of_session { format!("&sid={ANY_ID}") } else { String::new() };
    format!(
        "GET {path}?EIO=4&transport=websocket{sid} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let header = Header { fin: true, rsv1: false, opcode, mask: Some(mask), len: payload.len() as u64 };
    let (mut bytes, mut payload) = (header.encode().as_ref().to_vec(), payload.to_vec());
    apply_mask(&mut payload, mask, 0);
    bytes.extend_from_slice(&payload);
    bytes
}

fn packet(text: &str) -> Vec<u8> {
    frame(Opcode::Text, text.as_bytes())
}

/// Runs sessions, clients and a kernel as `input` says, and panics at any violation.
///
/// The first byte chooses the options. The second and third bytes give the lengths of the next two parts: the bytes
/// of the clients and the bytes of the kernel. The rest belongs to the program.
pub fn hold_for(input: &[u8]) {
    let [options, peers, kernel, rest @ ..] = input else { return };
    let (peers, rest) = rest.split_at(rest.len().min((*peers).into()));
    let (kernel, program) = rest.split_at(rest.len().min((*kernel).into()));
    run(*options, peers, kernel, program);
}

/// Runs a program with these options; the other three arguments decide what clients, kernel and program do.
fn run(options: u8, peers: &[u8], kernel: &[u8], program: &[u8]) {
    let is = |bit: u8| options >> bit & 1 == 1;
    let mut world = World::new();
    let (peers, kernel) = (Chance::new(peers), Chance::new(kernel));
    let path = if is(0) { "/socket.io/" } else { "/engine.io/" };
    for turn in 0..1 + peers.below(5) {
        world.client(turn * peers.below(4), client(&peers, path, is(0)));
    }
    world.kernel.set_script(move |call| answer(&kernel, call));
    let diary = Diary::default();
    let engine = engine_io::Options {
        path: path.to_owned(),
        allow_upgrades: !is(1) || !is(2),
        allow_eio3: is(1),
        max_queue: if is(2) { 500 } else { 100_000 },
        max_http_buffer_size: if is(2) { 1500 } else { 100_000 },
        http_compression: is(3).then_some(10),
        max_sessions: if is(4) { 2 } else { 100 },
        ..engine_options()
    };
    let program = Program { chance: Chance::new(program), diary: diary.clone(), server: Rc::default() };
    let this = program.clone();
    let server = if is(0) {
        let recovery = is(5).then(|| RecoveryOptions {
            max_disconnection: Duration::from_secs(if is(6) { 5 } else { 60 }),
            skip_middlewares: !is(7),
            max_bytes: if is(6) { 1000 } else { 100_000 },
        });
        let options =
            socket_io::Options { engine, connect_timeout: Duration::from_secs(4), recovery, max_dynamic_namespaces: 2 };
        serve_sockets(&mut world, &diary, options, Rc::new(move |lp, io, socket| this.act_on_sockets(lp, io, socket))).1
    } else {
        let high_water_mark = if is(5) { 300 } else { http::server_options().high_water_mark };
        let act: OnSession = Rc::new(move |lp, session, message| {
            if let Some(message) = message {
                session.send(lp, message);
            }
            this.act_on_sessions(lp, session);
        });
        serve_engine(&mut world, &diary, engine, high_water_mark, act).1
    };
    program.server.set(Some(server));
    world.run();
    finish(world, &diary);
}

/// Does in every callback what the bytes say, to any session or socket.
#[derive(Clone)]
struct Program {
    chance: Chance,
    diary: Diary,
    server: Rc<Cell<Option<ServerId>>>,
}

impl Program {
    fn text(&self) -> String {
        String::from_utf8(text(&mut 0, self.chance.pick(&[5, 0, 100, 2000, 70_000]))).expect("it is ASCII")
    }

    fn act_on_sessions(&self, lp: &mut Loop, own: Session) {
        for _ in 0..3 {
            let all = self.diary.all_sessions();
            let session = if self.chance.below(2) == 1 { self.chance.pick(&all) } else { own };
            match self.chance.byte() {
                0 => return,
                1..100 => {
                    session.send(lp, self.text().as_str());
                }
                100..140 => {
                    session.send(lp, self.text().as_bytes());
                }
                140..170 => self.diary.close(lp, session),
                170..180 => self.drain(lp),
                180..200 => {
                    let this = self.clone();
                    lp.next_tick(move |lp| this.act_on_sessions(lp, own));
                }
                200..230 => {
                    let this = self.clone();
                    let delay = Duration::from_millis(self.chance.pick(&[1, 100, 3000, 10_000]));
                    lp.set_timeout(delay, move |lp| this.act_on_sessions(lp, own));
                }
                _ => {
                    if let Some(ws) = session.websocket(lp) {
                        ws.terminate(lp);
                    }
                }
            }
        }
    }

    fn act_on_sockets(&self, lp: &mut Loop, io: Server, own: Socket) {
        for _ in 0..3 {
            let all = self.diary.all_sockets();
            let socket = if self.chance.below(2) == 1 { self.chance.pick(&all) } else { own };
            match self.chance.byte() {
                0 => return,
                1..50 => {
                    socket.emit(lp, "news", self.text().as_str());
                }
                50..70 => {
                    io.to("room").emit(lp, "news", (self.text(), socket_io::Binary(vec![1, 2])));
                }
                70..80 => {
                    io.volatile().emit(lp, "price", 1);
                }
                80..120 => {
                    // Zero has no limit: only for a client that is there.
                    self.diary.ask(lp, socket, Duration::from_secs(self.chance.pick(&[1, 0, 3])));
                }
                120..140 => self.diary.ask_all(lp, io),
                140..160 => socket.disconnect(lp, self.chance.below(2) == 1),
                160..170 => io.to("room").disconnect_sockets(lp, self.chance.below(2) == 1),
                170..180 => self.drain(lp),
                180..190 => io.close(lp),
                190..210 => {
                    if let Some(session) = socket.session(lp) {
                        session.close(lp);
                    }
                }
                210..225 => {
                    socket.join(lp, self.chance.pick(&["a", "b"]));
                    socket.leave(lp, self.chance.pick(&["a", "b"]));
                }
                225..240 => io.fetch_sockets(lp, |_, _| {}),
                _ => {
                    let this = self.clone();
                    let delay = Duration::from_millis(self.chance.pick(&[1, 100, 3000, 10_000]));
                    lp.set_timeout(delay, move |lp| this.act_on_sockets(lp, io, own));
                }
            }
        }
    }

    fn drain(&self, lp: &mut Loop) {
        if let Some(server) = self.server.get()
            && self.chance.below(4) == 1
        {
            server.drain(lp, Drain::default());
        }
    }
}

/// A client that opens a session, or takes part in one that another client has opened.
fn client(chance: &Chance, path: &str, is_socket_io: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let number = chance.below(3);
    let push = |steps: &mut Vec<Step>, bytes: Vec<u8>| {
        let len = chance.pick(&[usize::MAX, usize::MAX, 40, 7]).min(bytes.len());
        // A placeholder is not cut.
        let is_whole = String::from_utf8_lossy(&bytes).contains("(the ");
        if is_whole {
            steps.push(Step::Fill(number, bytes));
        } else {
            let (one, other) = bytes.split_at(len);
            steps.push(Step::Send(one.to_vec()));
            steps.push(Step::Send(other.to_vec()));
        }
        match chance.below(20) {
            1 => steps.push(Step::Fin),
            2 => steps.push(Step::Reset),
            3 => steps.push(Step::Window(chance.pick(&[0, 1, 100]))),
            4 | 5 => steps.push(Step::Take(chance.pick(&[1, 100, 100_000]))),
            6..10 => steps.push(Step::Wait),
            _ => {}
        }
    };
    let is_new = chance.below(2) == 0;
    let is_websocket = chance.below(2) == 1;
    match (is_websocket, is_new) {
        (false, true) => push(&mut steps, open(path).into_bytes()),
        (false, false) => {}
        (true, _) => push(&mut steps, upgrade(path, !is_new).into_bytes()),
    }
    if is_websocket && !is_new {
        push(&mut steps, packet("2probe"));
        if chance.below(4) != 1 {
            push(&mut steps, packet("5"));
        }
    }
    for _ in 0..1 + chance.below(7) {
        let text = if is_socket_io { sio_packet(chance) } else { eio_packet(chance) };
        match (is_websocket, chance.below(8)) {
            (true, 1) => push(&mut steps, frame(Opcode::Binary, &[1, 2, 3])),
            (true, 2) => push(&mut steps, frame(Opcode::Close, &1000_u16.to_be_bytes())),
            (true, _) => push(&mut steps, packet(&text)),
            (false, 0..4) => push(&mut steps, poll(path).into_bytes()),
            (false, 4) => push(&mut steps, post(path, &[&*text, "4hola", "bAQID"].join("\x1e")).into_bytes()),
            (false, 5) => push(&mut steps, post(path, &vec![&*text; 1100].join("\x1e")).into_bytes()),
            (false, _) => push(&mut steps, post(path, &text).into_bytes()),
        }
    }
    steps
}

fn eio_packet(chance: &Chance) -> String {
    let large = format!("4{}", "x".repeat(2000));
    chance.pick(&["4hola", "3", "2", "1", "6", "5", "4", "2probe", "bAQID", "9", large.as_str()]).to_owned()
}

fn sio_packet(chance: &Chance) -> String {
    chance
        .pick(&[
            "40",
            "40{\"later\":true}",
            "40{\"no\":true}",
            "40/t1,",
            "40/t2,{\"later\":true}",
            "40/unknown,",
            "42[\"say\",\"hola\"]",
            "42/t1,7[\"say\",{\"a\":[]}]",
            "42[\"ask\"]",
            "42[\"leave\"]",
            "430[1]",
            "431[]",
            "41",
            "41/t1,",
            "3",
            "1",
            "451-[\"file\",{\"_placeholder\":true,\"num\":0}]",
            "4what",
            "40{\"pid\":\"(the secret of one )\"}",
        ])
        .to_owned()
}

#[cfg(test)]
mod tests;
