//! Clients of Socket.IO on the simulated kernel: the promises to their program hold for any actions of servers and of
//! the kernel.
//!
//! A program whose actions are chosen by bytes makes clients of several namespaces. The servers are scripts that know
//! the protocol and break it: packets in any order, bodies that are no payloads, refusals, silence and resets. A
//! [`Diary`] records the events of each client, and panics at the first that must not come:
//!
//! ```text
//!   client    connect ── events, upgrade, drain … ── disconnect ── connect … ── released: no further event
//!   question  emit_with_ack ── its closure, once, and not inside a method
//! ```
//!
//! At the end everything that the clients have written is read again: correct requests, payloads and frames.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::wire;
use crate::Loop;
use crate::engine_io::packet::{Revision, parse_binary, parse_text};
use crate::engine_io::payload::PayloadDecoder;
use crate::engine_io::{self, Transport};
use crate::faults::chance::{Chance, answer, text};
use crate::faults::{Step, World};
use crate::net::simulated::{Kernel, Peer};
use crate::socket_io::{self, Auth, Binary, Client, ClientOptions, DisconnectReason};
use crate::websocket::frame::{Header, Opcode, Role};

/// How many clients a program may make, and how many connections servers answer.
const CLIENTS: usize = 4;
const CONNECTIONS: usize = 12;

/// The clients are released then: otherwise they would connect again and again.
const END: Duration = Duration::from_secs(60);

/// The answer of a server to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The packets, in one body or as messages. A `b` in front means base64, and over WebSocket a binary message.
    packets: Vec<String>,
    /// A response that is sent instead of the packets, if the request is no upgrade, or if `refuses`.
    response: Option<String>,
    refuses: bool,
}

/// Whether a peer that is to answer this request must still wait for it.
pub(in crate::faults) fn must_wait(kernel: &Kernel, peer: Peer, number: usize) -> bool {
    let mut is_waiting = true;
    kernel.with_bytes(peer, |taken, sent| {
        let requests = wire::requests(taken);
        let is_upgrade = requests.first().is_some_and(|asked| asked.target.contains("transport=websocket"));
        let whole = requests.iter().filter(|asked| asked.body.is_some()).count();
        is_waiting = if is_upgrade { whole == 0 } else { whole < number };
        is_waiting &= !is_upgrade || sent.is_empty();
    });
    kernel.is_open(peer) && is_waiting
}

/// Answers a request, or sends further messages over a WebSocket connection.
pub(in crate::faults) fn reply(kernel: &Kernel, peer: Peer, reply: &Reply) {
    let (mut is_upgrade, mut is_first) = (false, false);
    kernel.with_bytes(peer, |taken, sent| {
        let first = wire::requests(taken).into_iter().next();
        is_upgrade = first.is_some_and(|asked| asked.target.contains("transport=websocket"));
        is_first = sent.is_empty();
    });
    if is_upgrade && !(is_first && reply.refuses) {
        let frames: Vec<u8> = reply.packets.iter().flat_map(|packet| frame(packet)).collect();
        return if is_first { super::switch(kernel, peer, &frames) } else { kernel.send(peer, &frames) };
    }
    let body = reply.packets.join("\u{1e}");
    let usual = || format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nSet-Cookie: a=b\r\n\r\n{body}", body.len());
    kernel.send(peer, reply.response.clone().unwrap_or_else(usual).as_bytes());
}

fn frame(packet: &str) -> Vec<u8> {
    let (opcode, payload) = match packet.strip_prefix('b') {
        Some(bytes) => (Opcode::Binary, bytes.as_bytes()),
        None => (Opcode::Text, packet.as_bytes()),
    };
    let header = Header { fin: true, rsv1: false, opcode, mask: None, len: payload.len() as u64 };
    [header.encode().as_ref(), payload].concat()
}

/// Runs clients, servers and a kernel as `input` says, and panics at any violation.
///
/// The first two bytes choose the options. The next two give the lengths of the next two parts: the bytes of the
/// servers and the bytes of the kernel. The rest belongs to the program.
pub fn hold_for(input: &[u8]) {
    let [options, more, servers, kernel, rest @ ..] = input else { return };
    let (servers, rest) = rest.split_at(rest.len().min((*servers).into()));
    let (kernel, program) = rest.split_at(rest.len().min((*kernel).into()));
    run([*options, *more], servers, kernel, program);
}

/// Runs a program with these options; the other three arguments decide what servers, kernel and program do.
fn run(options: [u8; 2], servers: &[u8], kernel: &[u8], program: &[u8]) {
    let mut world = World::new();
    let (servers, kernel) = (Chance::new(servers), Chance::new(kernel));
    for _ in 0..CONNECTIONS {
        world.remote_server(server(&servers));
    }
    world.kernel.set_addresses(vec![[127, 0, 0, 1].into(), [0_u16; 8].into()]);
    world.kernel.set_script(move |call| answer(&kernel, call));
    let program = Program { chance: Chance::new(program), diary: Diary::default(), options: client_options(options) };
    let this = program.clone();
    world.enter(|lp| {
        this.act(lp);
        lp.set_timeout(END, move |lp| this.release_all(lp));
    });
    world.at_the_end(|lp| {
        assert!(!socket_io::client_holds_anything(lp), "a client is left");
        assert!(!engine_io::client_holds_anything(lp), "a session is left");
        assert!(!crate::http::client::holds_anything(lp), "a client of HTTP, or a request, is left");
    });
    world.run();
    let kernel = world.kernel.clone();
    world.finish();
    program.diary.check_at_the_end();
    for peer in kernel.peers() {
        check_written(&kernel, peer, program.options.engine.revision);
    }
}

fn client_options([first, second]: [u8; 2]) -> ClientOptions {
    let is = |bit: u8| first >> bit & 1 == 1;
    let mut options = ClientOptions {
        reconnection: !is(0),
        reconnection_attempts: is(1).then_some(3),
        randomization_factor: 0.0,
        ack_timeout: is(2).then_some(Duration::from_secs(3)),
        retries: if is(3) && is(2) { 2 } else { 0 },
        max_buffer: if is(4) { 100 } else { 100_000 },
        auth: if is(5) { Auth::with(|_| serde_json::json!({ "token": 1 })) } else { Auth::default() },
        ..ClientOptions::default()
    };
    let is = |bit: u8| second >> bit & 1 == 1;
    use Transport::{Polling, WebSocket};
    let transports: [&[Transport]; 4] = [&[Polling, WebSocket], &[WebSocket], &[Polling], &[WebSocket, Polling]];
    options.engine.transports = transports[usize::from(second & 3)].to_vec();
    options.engine.try_all_transports = is(2);
    options.engine.remember_upgrade = is(3);
    options.engine.with_credentials = is(4);
    options.engine.revision = if is(5) { Revision::V3 } else { Revision::V4 };
    options.engine.max_message = if is(6) { 1000 } else { 1_000_000 };
    options.engine.timeout = Duration::from_secs(if is(7) { 3 } else { 20 });
    options.engine.upgrade_timeout = Duration::from_secs(3);
    options
}

/// A server that accepts, and answers requests.
fn server(chance: &Chance) -> Vec<Step> {
    let mut steps = vec![if chance.below(8) == 1 { Step::Refuse("ECONNREFUSED") } else { Step::Accept }];
    for number in 1..=1 + chance.below(8) {
        let is_opening = number == 1 && chance.below(4) != 1;
        let mut packets = if is_opening { vec![chance.pick(OPEN).to_owned()] } else { Vec::new() };
        for _ in 0..chance.below(4) {
            packets.push(packet(chance));
        }
        let response = match chance.below(10) {
            1 => Some(response(chance)),
            _ => None,
        };
        steps.push(Step::Reply(number, Reply { packets, response, refuses: chance.below(8) == 1 }));
        match chance.below(16) {
            1 => steps.push(Step::Fin),
            2 => steps.push(Step::Reset),
            3 => steps.push(Step::Window(chance.pick(&[0, 1, 100]))),
            4..6 => steps.push(Step::Take(chance.pick(&[1, 100, 100_000]))),
            6..9 => steps.push(Step::Wait),
            9 => steps.push(Step::Send(b"\x81\x00HTTP/1.1 200 OK\r\n\r\n".to_vec())),
            _ => {}
        }
    }
    steps
}

/// The first packet of a server.
const OPEN: &[&str] = &[
    r#"0{"sid":"a","upgrades":["websocket"],"pingInterval":3000,"pingTimeout":2000,"maxPayload":1000}"#,
    r#"0{"sid":"b","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1}"#,
    r#"0{"sid":"c","upgrades":["websocket"],"pingInterval":18446744073709551615,"pingTimeout":0}"#,
    r#"0{"sid":"","upgrades":[],"pingInterval":1,"pingTimeout":1}"#,
    "0{}",
];

fn packet(chance: &Chance) -> String {
    let large = format!("42[\"large\",\"{}\"]", "x".repeat(2000));
    match chance.below(28) {
        27 => {
            let bytes: Vec<u8> = (0..chance.below(12)).map(|_| chance.byte()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        number => [
            r#"40{"sid":"s"}"#,
            r#"40{"sid":"s","pid":"p"}"#,
            r#"40/a,{"sid":"t","pid":"p"}"#,
            "40",
            "40/a,",
            "40{}",
            r#"44{"message":"no","data":[1]}"#,
            r#"44/a,"no""#,
            "41",
            "41/a,",
            r#"42["e",1,"offset"]"#,
            r#"42/a,["e"]"#,
            r#"427["question"]"#,
            "430[1]",
            "431[]",
            r#"43/a,0["x"]"#,
            r#"451-["file",{"_placeholder":true,"num":0}]"#,
            r#"461-1[{"_placeholder":true,"num":0}]"#,
            "bAQID",
            "2",
            "3",
            "3probe",
            "6",
            "1",
            OPEN[0],
            "5",
            &large,
        ][number]
            .to_owned(),
    }
}

/// A response without packets.
fn response(chance: &Chance) -> String {
    let body = r#"{"code":1,"message":"Session ID unknown"}"#;
    let cookies =
        "Set-Cookie: io=1; Max-Age=9\r\nSet-Cookie: ;=\r\nSet-Cookie: io=; Expires=Thu, 01 Jan 1970 00:00:00\r\n";
    match chance.below(7) {
        0 => format!("HTTP/1.1 400 Bad Request\r\n{cookies}Content-Length: {}\r\n\r\n{body}", body.len()),
        1 => "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        2 => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_owned(),
        3 => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        4 => "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 6\r\n\r\n\0\x02\u{7f}4ab"
            .to_owned(),
        5 => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{cookies}\r\n5\r\n4hola\r\n0\r\n\r\n"),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n4hola".to_owned(),
    }
}

/// Reads what a client has written: requests whose bodies are payloads, or one that asks for WebSocket, and frames.
fn check_written(kernel: &Kernel, peer: Peer, revision: Revision) {
    let was_broken = !kernel.is_open(peer);
    kernel.with_bytes(peer, |taken, sent| {
        let requests = wire::requests(taken);
        let Some(first) = requests.first() else { return };
        let is_whole = |asked: &wire::Asked| asked.body.is_some();
        assert!(requests.iter().all(|asked| asked.target.starts_with("/socket.io/?") && asked.target.contains("EIO=")));
        if !first.target.contains("transport=websocket") {
            for body in requests.iter().filter_map(|asked| asked.body.clone()).filter(|body| !body.is_empty()) {
                let mut payload = PayloadDecoder::new(revision, body, false);
                while let Some(packet) = payload.next() {
                    assert!(packet.is_ok(), "{requests:?}");
                }
            }
            assert!(was_broken || requests.iter().all(is_whole));
            return;
        }
        assert_eq!(first.body.as_deref(), Some(&b""[..]));
        let frames = wire::frames(&taken[first.end..], Role::Server, false);
        assert_eq!((frames.violation, frames.behind), (None, 0), "{taken:?}");
        assert!(frames.parts.is_empty() || sent.starts_with(b"HTTP/1.1 101"), "frames before the answer");
        for part in frames.parts {
            match part {
                wire::Part::Text(text) => assert!(parse_text(revision, &text, &mut Vec::new()).is_ok(), "{text}"),
                wire::Part::Binary(bytes) => assert!(parse_binary(revision, &bytes).is_ok(), "{bytes:?}"),
                wire::Part::Ping(_) | wire::Part::Pong(_) => {}
            }
        }
    });
}

/// The events of a client.
#[derive(Clone, Default, Debug)]
struct Record {
    events: Vec<&'static str>,
    is_connected: bool,
    /// It has got an event before `connect`.
    has_early_event: bool,
    is_released: bool,
}

#[derive(Clone, Default)]
struct Diary {
    clients: Rc<RefCell<BTreeMap<Client, Record>>>,
    /// How many questions were asked, and how many have their result.
    questions: Rc<Cell<(usize, usize)>>,
    /// A method is running: it must not call the program.
    is_in_method: Rc<Cell<bool>>,
    /// No further client is made.
    is_over: Rc<Cell<bool>>,
}

impl Diary {
    fn event(&self, client: Client, event: &'static str) {
        assert!(!self.is_in_method.get(), "a method has called the program: {event}");
        let mut clients = self.clients.borrow_mut();
        let record = clients.get_mut(&client).expect("a client of the program");
        assert!(!record.is_released, "{client} gets {event} after its release: {record:?}");
        record.events.push(event);
        match event {
            "connect" => {
                assert!(!record.is_connected, "{client}: {record:?}");
                (record.is_connected, record.has_early_event) = (true, false);
            }
            "disconnect" | "left" => {
                // A server may disconnect a client before it has let it in.
                let is_connected = record.is_connected || record.has_early_event;
                assert!(is_connected || event == "left", "{client}: {record:?}");
                *record = Record { events: std::mem::take(&mut record.events), ..Record::default() };
            }
            // Node delivers what came before the answer to CONNECT in this order, too. Its listener may disconnect.
            "event" => record.has_early_event = !record.is_connected,
            _ => {}
        }
    }

    fn all(&self) -> Vec<Client> {
        self.clients.borrow().iter().filter(|(_, record)| !record.is_released).map(|(client, _)| *client).collect()
    }

    fn check_at_the_end(&self) {
        let (asked, answered) = self.questions.get();
        assert_eq!(asked, answered, "questions without, or with several, results");
        for (client, record) in &*self.clients.borrow() {
            assert!(record.is_released && !record.is_connected, "{client}: {record:?}");
        }
    }
}

/// Does in every callback what the bytes say, to any client.
#[derive(Clone)]
struct Program {
    chance: Chance,
    diary: Diary,
    options: ClientOptions,
}

impl Program {
    fn in_method<T>(&self, f: impl FnOnce() -> T) -> T {
        let was = self.diary.is_in_method.replace(true);
        let result = f();
        self.diary.is_in_method.set(was);
        result
    }

    /// The body of a callback: up to three actions.
    fn act(&self, lp: &mut Loop) {
        for _ in 0..3 {
            let all = self.diary.all();
            let byte = self.chance.byte();
            if all.is_empty() || byte > 235 {
                self.make(lp, &all);
            }
            let Some(client) = (!all.is_empty()).then(|| self.chance.pick(&all)) else { continue };
            match byte {
                0 => return,
                1..50 => {
                    let len = self.chance.pick(&[5, 0, 100, 2000, 70_000]);
                    let text = String::from_utf8(text(&mut 0, len)).expect("it is ASCII");
                    self.in_method(|| client.emit(lp, "news", &*text));
                }
                50..70 => {
                    self.in_method(|| client.emit(lp, "file", (Binary(vec![1, 2]), 7)));
                }
                70..80 => {
                    self.in_method(|| client.emit_volatile(lp, "price", 1));
                }
                80..130 => self.ask(lp, client),
                130..150 => self.in_method(|| client.disconnect(lp)),
                150..170 => self.in_method(|| client.connect(lp)),
                170..180 => self.release(lp, client),
                180..195 => {
                    let this = self.clone();
                    lp.next_tick(move |lp| this.act(lp));
                }
                195..220 => {
                    let this = self.clone();
                    let delay = Duration::from_millis(self.chance.pick(&[1, 100, 3000, 10_000]));
                    lp.set_timeout(delay, move |lp| this.act(lp));
                }
                220..236 => {
                    let Some(session) = client.session(lp) else { continue };
                    self.in_method(|| match byte {
                        220..226 => session.close(lp),
                        226..230 => session.pause(lp),
                        _ => session.resume(lp),
                    });
                }
                _ => {}
            }
        }
    }

    /// Makes a client: of its own, or of another namespace over a session that exists.
    fn make(&self, lp: &mut Loop, all: &[Client]) {
        if self.diary.clients.borrow().len() == CLIENTS || self.diary.is_over.get() {
            return;
        }
        let client = match all.first() {
            Some(other) if self.chance.below(2) == 1 => self.in_method(|| other.of(lp, "/a")),
            _ => {
                let url = self.chance.pick(&["http://127.0.0.1:1/", "sio://127.0.0.1:1/a?b=c", "http://name:1/"]);
                self.in_method(|| socket_io::connect(lp, url, self.options.clone()))
            }
        };
        let Ok(client) = client else { return };
        // `of` may have found one that exists.
        if self.diary.clients.borrow().contains_key(&client) {
            return;
        }
        self.diary.clients.borrow_mut().insert(client, Record::default());
        let on = |event: &'static str| {
            let this = self.clone();
            move |lp: &mut Loop, client: Client| {
                this.diary.event(client, event);
                this.act(lp);
            }
        };
        client.on_connect(lp, on("connect"));
        client.on_drain(lp, on("drain"));
        client.on_upgrade(lp, on("upgrade"));
        client.on_reconnect_failed(lp, on("reconnect_failed"));
        let f = on("connect_error");
        client.on_connect_error(lp, move |lp, client, _| f(lp, client));
        let (lost, left) = (on("disconnect"), on("left"));
        client.on_disconnect(lp, move |lp, client, reason| match reason {
            DisconnectReason::IoServerDisconnect => left(lp, client),
            _ => lost(lp, client),
        });
        let f = on("reconnect_attempt");
        client.on_reconnect_attempt(lp, move |lp, client, _| f(lp, client));
        let f = on("reconnect");
        client.on_reconnect(lp, move |lp, client, _| f(lp, client));
        let f = on("reconnect_error");
        client.on_reconnect_error(lp, move |lp, client, _| f(lp, client));
        let f = on("event");
        client.on_any(lp, move |lp, client, event| {
            f(lp, client);
            let arguments = event.arguments();
            event.ack(lp, arguments);
        });
    }

    /// Asks the server, whose answer must be recorded once.
    fn ask(&self, lp: &mut Loop, client: Client) {
        let (asked, answered) = self.diary.questions.get();
        self.diary.questions.set((asked + 1, answered));
        let this = self.clone();
        let timeout = Duration::from_secs(self.chance.pick(&[1, 0, 3]));
        self.in_method(|| {
            client.emit_with_ack(lp, "question", 1, timeout, move |lp, _, _| {
                assert!(!this.diary.is_in_method.get(), "a method has called the program");
                let (asked, answered) = this.diary.questions.get();
                this.diary.questions.set((asked, answered + 1));
                this.act(lp);
            })
        });
    }

    /// Releases a client. It gets its last events in a tick.
    fn release(&self, lp: &mut Loop, client: Client) {
        self.in_method(|| client.release(lp));
        let clients = self.diary.clients.clone();
        // Two ticks: the one that releases the client comes before, and what it calls behind it.
        lp.next_tick(move |lp| {
            lp.next_tick(move |_| {
                if let Some(record) = clients.borrow_mut().get_mut(&client) {
                    record.is_released = true;
                }
            });
        });
    }

    fn release_all(&self, lp: &mut Loop) {
        self.diary.is_over.set(true);
        for client in self.diary.all() {
            self.release(lp, client);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: ProptestConfig::default().cases.max(500),
            ..ProptestConfig::default()
        })]

        #[test]
        fn clients_keep_their_promises_under_random_servers(
            options in any::<[u8; 2]>(),
            servers in vec(any::<u8>(), 0..160),
            kernel in vec(any::<u8>(), 0..60),
            program in vec(any::<u8>(), 0..160),
        ) {
            run(options, &servers, &kernel, &program);
        }
    }
}
