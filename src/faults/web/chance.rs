//! HTTP and WebSocket programs, peers and a kernel whose actions are chosen by bytes, as in `faults/chance.rs`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::Book;
use super::watched::{WatchedRoom, WatchedSite};
use crate::Loop;
use crate::faults::chance::{Chance, answer, text};
use crate::faults::{Step, World};
use crate::http::{self, Exchange, Http, Request, StatusCode};
use crate::net::{Drain, Error, ServerId, Socket};
use crate::websocket::deflate::Deflater;
use crate::websocket::frame::{Header, Opcode};
use crate::websocket::mask::apply_mask;
use crate::websocket::{
    self, ClientOptions, CloseCode, DeflateOptions, Endpoint, Handshake, Message, Options, WebSocket,
};

/// How many WebSockets a program may connect.
const CONNECTS: u32 = 4;

/// Runs a server of requests and WebSockets, its peers and its kernel as `input` says, and panics at any violation.
///
/// The first byte chooses the options. The second and third bytes give the lengths of the next two parts: the bytes
/// of the peers and the bytes of the kernel. The rest belongs to the program.
pub fn hold_for(input: &[u8]) {
    let [options, peers, kernel, rest @ ..] = input else { return };
    let (peers, rest) = rest.split_at(rest.len().min((*peers).into()));
    let (kernel, program) = rest.split_at(rest.len().min((*kernel).into()));
    run(*options, peers, kernel, program);
}

/// Runs a program with these options; the other three arguments decide what peers, kernel and program do.
pub(crate) fn run(options: u8, peers: &[u8], kernel: &[u8], program: &[u8]) {
    let mut world = World::new();
    let (peers, kernel, program) = (Chance::new(peers), Chance::new(kernel), Chance::new(program));
    for turn in 0..1 + peers.below(4) {
        let steps = if peers.below(4) == 1 { cut(&peers, &requests(&peers)) } else { web_socket_client(&peers) };
        world.client(turn * peers.below(3), steps);
    }
    for _ in 0..CONNECTS {
        world.remote_server(web_socket_server(&peers));
    }
    world.kernel.set_addresses(vec![[127, 0, 0, 1].into()]);
    world.kernel.set_script(move |call| answer(&kernel, call));
    let book = Book::new(world.kernel.clone());
    let is = |bit: u8| options >> bit & 1 == 1;
    let program = Program { book: book.clone(), chance: program, shared: Rc::default() };
    let endpoint = {
        let deflate = DeflateOptions {
            threshold: 16,
            server_no_context_takeover: !is(7),
            client_no_context_takeover: !is(7),
            ..DeflateOptions::default()
        };
        let options = Options {
            deflate: is(0).then_some(deflate),
            idle_limit: Duration::from_secs(if is(1) { 9 } else { 0 }),
            sends_pings: !is(2),
            ..Options::default()
        };
        let room = WatchedRoom::new(book.clone(), program.clone());
        world.enter(|lp| Endpoint::new(lp, options, room))
    };
    program.shared.endpoint.set(Some(endpoint));
    let mut server_options = http::server_options();
    server_options.high_water_mark = if is(3) { 100 } else { server_options.high_water_mark };
    server_options.accepts_per_turn = if is(4) { 3 } else { 1 };
    server_options.max_connections = is(5).then_some(2);
    server_options.limits.outbox_bytes = Some(if is(6) { 2000 } else { http::OUTBOX_LIMIT });
    let site = WatchedSite::new(book.clone(), program.clone());
    let server = world.serve_unwatched(server_options, Http::new(http::Options::default(), site));
    program.shared.server.set(Some(server.id()));
    world.at_the_end(move |lp| endpoint.release(lp));
    world.enter(|lp| program.act(lp, None));
    world.run();
    world.finish();
    book.check_at_the_end();
}

/// Cuts a stream into steps, with other steps between them.
fn cut(chance: &Chance, mut bytes: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    while !bytes.is_empty() {
        let len = chance.pick(&[usize::MAX, 1, 2, 7, 30, 100, 1000]).min(bytes.len());
        let (part, rest) = bytes.split_at(len);
        steps.push(Step::Send(part.to_vec()));
        bytes = rest;
        match chance.below(16) {
            1 => steps.push(Step::Fin),
            2 => steps.push(Step::Reset),
            3 => steps.push(Step::Window(chance.pick(&[0, 1, 100]))),
            4 | 5 => steps.push(Step::Take(chance.pick(&[1, 100, 100_000]))),
            6..10 => steps.push(Step::Wait),
            _ => {}
        }
    }
    if chance.below(2) == 1 {
        steps.push(Step::Fin);
    }
    steps
}

/// Requests in a row, most of them correct.
fn requests(chance: &Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..1 + chance.below(6) {
        let text = match chance.below(12) {
            0..4 => format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
            4 => format!("HEAD /{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
            5 => format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
            6 => {
                format!("POST /{number} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
            }
            7 => format!("PUT /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab"),
            8 => format!("GET /{number} HTTP/1.0\r\nHost: a\r\n\r\n"),
            9 => format!("GET /{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            10 => format!("GET /{number} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
            _ => format!("GET /{number} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        };
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// A client that asks for a WebSocket connection, perhaps behind other requests, and sends frames.
fn web_socket_client(chance: &Chance) -> Vec<Step> {
    let mut bytes = if chance.below(4) == 1 { requests(chance) } else { Vec::new() };
    bytes.extend_from_slice(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    let deflate = chance.below(2) == 1;
    if deflate {
        bytes.extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&frames(chance, true, deflate));
    cut(chance, &bytes)
}

/// A server that accepts, and answers the handshake or does something else.
fn web_socket_server(chance: &Chance) -> Vec<Step> {
    let mut steps = vec![if chance.below(8) == 1 { Step::Refuse("ECONNREFUSED") } else { Step::Accept }];
    let deflate = chance.below(2) == 1;
    match chance.below(8) {
        1 => steps.push(Step::Send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n".to_vec())),
        2 => steps.push(Step::Send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec())),
        3 => steps.push(Step::Fin),
        _ => steps.push(Step::Switch(frames(chance, false, deflate))),
    }
    steps.extend(cut(chance, &frames(chance, false, deflate)));
    steps
}

/// Frames in a row, most of them correct.
fn frames(chance: &Chance, is_client: bool, deflate: bool) -> Vec<u8> {
    let (mut bytes, mut place) = (Vec::new(), 0);
    let mut push = |opcode, fin, rsv1, payload: &[u8]| {
        let mask = is_client.then_some([9, 8, 7, 6]);
        let header = Header { fin, rsv1, opcode, mask, len: payload.len() as u64 };
        bytes.extend_from_slice(header.encode().as_ref());
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        apply_mask(&mut bytes[start..], mask.unwrap_or_default(), 0);
    };
    for _ in 0..chance.below(8) {
        let payload = text(&mut place, chance.pick(&[5, 0, 1, 125, 126, 1000, 70_000]));
        match chance.below(16) {
            0..4 => push(Opcode::Text, true, false, &payload),
            4 | 5 => push(Opcode::Binary, true, false, &payload),
            6 | 7 => {
                let (one, other) = payload.split_at(payload.len() / 2);
                push(Opcode::Text, false, false, one);
                if chance.below(2) == 1 {
                    push(Opcode::Ping, true, false, b"between");
                }
                push(Opcode::Continuation, true, false, other);
            }
            8 | 9 => push(Opcode::Ping, true, false, &payload[..payload.len().min(125)]),
            10 => push(Opcode::Pong, true, false, b"pong"),
            11 => push(Opcode::Close, true, false, &1000_u16.to_be_bytes()),
            12 => push(Opcode::Close, true, false, b""),
            13 => push(Opcode::Text, true, false, b"\xff\xfe"),
            14 => push(Opcode::Continuation, true, false, b"of nothing"),
            _ => {
                let mut compressed = Vec::new();
                Deflater::new(1, 15).deflate(&payload, &mut compressed, false);
                push(Opcode::Text, true, deflate, &compressed);
            }
        }
    }
    bytes
}

/// Does in every callback what the bytes say, to any request and any WebSocket.
#[derive(Clone)]
struct Program {
    book: Book,
    chance: Chance,
    shared: Rc<Shared>,
}

type Room = WatchedRoom<Program>;

#[derive(Default)]
struct Shared {
    endpoint: Cell<Option<Endpoint<Room>>>,
    server: Cell<Option<ServerId>>,
    /// Handshakes that are not decided.
    handshakes: RefCell<Vec<Handshake<Room>>>,
    connects: Cell<u32>,
    sent: Cell<usize>,
}

impl Program {
    /// The body of a callback: up to three actions.
    fn act(&self, lp: &mut Loop, own: Option<WebSocket>) {
        for _ in 0..3 {
            let byte = self.chance.byte();
            match (byte, own) {
                (0, _) => return,
                (1..128, Some(ws)) => self.act_on(lp, ws),
                (1..192, _) => self.act_on_any(lp),
                _ => self.act_on_the_loop(lp),
            }
        }
    }

    fn act_later(&self) -> impl FnOnce(&mut Loop) + 'static {
        let this = self.clone();
        move |lp| this.act(lp, None)
    }

    fn act_on_any(&self, lp: &mut Loop) {
        let connections = self.book.connections();
        if !connections.is_empty() && self.chance.below(2) == 0 {
            return self.act_on(lp, self.chance.pick(&connections));
        }
        let exchanges = self.book.exchanges();
        if !exchanges.is_empty() {
            self.act_on_exchange(lp, self.chance.pick(&exchanges));
        }
    }

    fn text(&self) -> String {
        let mut place = self.shared.sent.get();
        let bytes = text(&mut place, self.chance.pick(&[5, 0, 1, 125, 126, 1000, 20_000, 70_000]));
        self.shared.sent.set(place);
        String::from_utf8(bytes).expect("it is ASCII")
    }

    fn act_on(&self, lp: &mut Loop, ws: WebSocket) {
        let (book, text) = (&self.book, self.text());
        match self.chance.below(20) {
            0..4 => drop(book.send(lp, ws, Message::Text(&text))),
            4 | 5 => drop(book.send(lp, ws, Message::Binary(text.as_bytes()))),
            6 => book.ping(lp, ws, b"are you there"),
            7 => {
                book.close(lp, ws, self.chance.pick(&[CloseCode::NORMAL, CloseCode::NO_STATUS, CloseCode(3001)]), &text)
            }
            8 => book.terminate(lp, ws),
            9 | 10 => book.pause(lp, ws),
            11..13 => book.resume(lp, ws),
            13 | 14 => drop(ws.subscribe(lp, "topic")),
            15 => drop(ws.unsubscribe(lp, "topic")),
            16 | 17 => self.publish(lp, Some(ws), &text),
            18 => self.publish(lp, None, &text),
            _ => ws.socket().flush(lp),
        }
    }

    fn publish(&self, lp: &mut Loop, sender: Option<WebSocket>, text: &str) {
        if let Some(endpoint) = self.shared.endpoint.get() {
            self.book.publish(lp, endpoint, sender, "topic", Message::Text(text));
        }
    }

    fn act_on_exchange(&self, lp: &mut Loop, exchange: Exchange) {
        let book = &self.book;
        let status = self.chance.pick(&[StatusCode::OK, StatusCode::NO_CONTENT, StatusCode::NOT_FOUND]);
        match self.chance.below(9) {
            0..3 => book.respond(lp, exchange, status, self.text().as_bytes()),
            3 => book.begin(lp, exchange, status),
            4 | 5 => drop(book.write(lp, exchange, self.text().as_bytes())),
            6 => book.end(lp, exchange),
            7 => exchange.socket().destroy(lp),
            _ => self.decide(lp),
        }
    }

    /// Accepts or refuses the handshake that has waited longest.
    fn decide(&self, lp: &mut Loop) {
        let mut waiting = self.shared.handshakes.borrow_mut();
        if waiting.is_empty() {
            return;
        }
        let handshake = waiting.remove(0);
        drop(waiting);
        if self.chance.below(3) == 1 {
            self.book.refuse(lp, handshake, StatusCode::FORBIDDEN, "no");
        } else {
            self.book.accept(lp, handshake);
        }
    }

    fn act_on_the_loop(&self, lp: &mut Loop) {
        match self.chance.below(10) {
            0 => lp.next_tick(self.act_later()),
            1 => drop(lp.set_immediate(self.act_later())),
            2 | 3 => drop(lp.set_timeout(Duration::from_millis(self.chance.pick(&[1, 100, 3000])), self.act_later())),
            4 | 5 => self.connect(lp),
            6 => {
                if let Some(server) = self.shared.server.get() {
                    server.drain(lp, Drain::default());
                }
            }
            7 => {
                if let Some(endpoint) = self.shared.endpoint.get().filter(|_| self.chance.below(4) == 1) {
                    endpoint.release(lp);
                }
            }
            _ => self.decide(lp),
        }
    }

    fn connect(&self, lp: &mut Loop) {
        let connects = self.shared.connects.get() + 1;
        self.shared.connects.set(connects);
        if let Some(endpoint) = self.shared.endpoint.get()
            && connects <= CONNECTS
        {
            // This fails if the endpoint was released.
            let ws = endpoint.connect(lp, "ws://somewhere/", &ClientOptions::default());
            ws.into_iter().for_each(|ws| self.book.connected(ws));
        }
    }
}

impl http::Handler for Program {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, _: &Request) {
        match self.chance.below(8) {
            1 => {}
            2 => self.act(lp, None),
            3 => self.book.begin(lp, exchange, StatusCode::OK),
            _ => self.book.respond(lp, exchange, StatusCode::OK, self.text().as_bytes()),
        }
    }
    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, _: &Request) {
        match self.chance.below(8) {
            1 => self.book.respond(lp, exchange, StatusCode::FORBIDDEN, b"no"),
            2 => self.act(lp, None),
            3 => self.book.begin(lp, exchange, StatusCode::OK),
            _ => {}
        }
    }
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let Some(endpoint) = self.shared.endpoint.get() else { return };
        match self.chance.below(8) {
            1 => self.book.respond(lp, exchange, StatusCode::OK, b"no upgrade"),
            2 => {
                let handshake = self.book.handshake(lp, endpoint, exchange, request);
                self.shared.handshakes.borrow_mut().extend(handshake);
                self.act(lp, None);
            }
            _ => {
                if let Some(handshake) = self.book.handshake(lp, endpoint, exchange, request) {
                    self.book.accept(lp, handshake);
                }
            }
        }
    }
    fn on_drain(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.book.write(lp, exchange, b"more");
        self.act(lp, None);
    }
    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.book.end(lp, exchange);
        self.act(lp, None);
    }
    fn on_abort(&mut self, lp: &mut Loop, _: Exchange) {
        self.act(lp, None);
    }
    fn on_going_away(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.book.end(lp, exchange);
    }
    fn on_error(&mut self, lp: &mut Loop, _: Socket, _: Error) {
        self.act(lp, None);
    }
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}
}

impl websocket::Handler for Program {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        ws.subscribe(lp, "topic");
        self.act(lp, Some(ws));
    }
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        match self.chance.below(4) {
            1 => {}
            2 => self.act(lp, Some(ws)),
            _ => drop(self.book.send(lp, ws, message)),
        }
    }
    fn on_ping(&mut self, lp: &mut Loop, ws: WebSocket, _: &[u8]) {
        self.act(lp, Some(ws));
    }
    fn on_pong(&mut self, lp: &mut Loop, ws: WebSocket, _: &[u8]) {
        self.act(lp, Some(ws));
    }
    fn on_drain(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.act(lp, Some(ws));
    }
    fn on_close(&mut self, lp: &mut Loop, ws: WebSocket, _: CloseCode, _: &str) {
        self.act(lp, Some(ws));
    }
    fn on_error(&mut self, lp: &mut Loop, ws: WebSocket, _: Error) {
        self.act(lp, Some(ws));
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
            cases: ProptestConfig::default().cases.max(1000),
            ..ProptestConfig::default()
        })]

        #[test]
        fn every_request_and_web_socket_keeps_its_promises_under_random_faults(
            options in any::<u8>(),
            peers in vec(any::<u8>(), 0..120),
            kernel in vec(any::<u8>(), 0..60),
            program in vec(any::<u8>(), 0..160),
        ) {
            run(options, &peers, &kernel, &program);
        }
    }
}
