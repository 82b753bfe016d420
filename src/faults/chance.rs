//! Programs, peers and a kernel whose actions are chosen by bytes.
//!
//! The bytes are split in three parts, so that a change of one part does not move the others: what the peers do, what
//! the kernel answers, and what the program does in its callbacks. Each byte decides one thing. After the last byte
//! nothing special happens, so that every run ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::ledger::{Ledger, Watched};
use super::{Step, World};
use crate::Loop;
use crate::net::simulated::{Answer, Call};
use crate::net::{Error, Handler, ServerId, ServerOptions, Socket, SocketOptions, Target};
use crate::telnet::{self, Client, Telnet};

/// How many sockets a program may connect. Each costs turns, and finds less than the one before.
const CONNECTS: u32 = 8;

/// Runs a server, its peers and its kernel as `input` says, and panics at any violation.
///
/// The first byte chooses the program. The second and third bytes give the lengths of the next two parts: the bytes
/// of the peers and the bytes of the kernel. The rest belongs to the program.
pub fn hold_for(input: &[u8]) {
    let [mode, peers, kernel, rest @ ..] = input else { return };
    let (peers, rest) = rest.split_at(rest.len().min((*peers).into()));
    let (kernel, program) = rest.split_at(rest.len().min((*kernel).into()));
    run(*mode, peers, kernel, program);
}

/// Runs a program of kind `mode`; the other three arguments decide what peers, kernel and program do.
pub(crate) fn run(mode: u8, peers: &[u8], kernel: &[u8], program: &[u8]) {
    let mut world = World::new();
    let peers = Chance::new(peers);
    let kernel = Chance::new(kernel);
    let program = Chance::new(program);
    let options = options(&peers);
    for turn in 0..1 + peers.below(4) {
        let steps = steps(&peers, mode);
        world.client(turn * peers.below(3), steps);
    }
    for _ in 0..CONNECTS {
        let mut steps = steps(&peers, mode);
        steps.insert(0, if peers.below(4) == 1 { Step::Refuse("ECONNREFUSED") } else { Step::Accept });
        world.remote_server(steps);
    }
    world.kernel.set_addresses(vec![[127, 0, 0, 1].into(), [0u16; 8].into()]);
    world.kernel.set_script(move |call| answer(&kernel, call));
    let ledger = world.ledger.clone();
    match mode % 4 {
        0 => {
            world.serve(options, Echo { ledger });
        }
        1 => {
            world.serve(options, Telnet::new(telnet::Options::default(), Lines { ledger, clients: Vec::new() }));
        }
        _ => {
            let program_handler = RandomProgram::new(ledger, program);
            let shared = program_handler.shared.clone();
            let server = world.serve(options, program_handler.clone());
            shared.server.set(Some(server.id()));
            world.enter(|lp| program_handler.act(lp, None));
        }
    }
    world.run();
    world.finish();
}

/// Bytes that make decisions.
#[derive(Clone)]
pub(super) struct Chance {
    bytes: Rc<RefCell<VecDeque<u8>>>,
}

impl Chance {
    pub fn new(bytes: &[u8]) -> Chance {
        Chance { bytes: Rc::new(RefCell::new(bytes.iter().copied().collect())) }
    }

    /// The next byte, or 0 after the last one.
    pub fn byte(&self) -> u8 {
        self.bytes.borrow_mut().pop_front().unwrap_or(0)
    }

    pub fn below(&self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    pub fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

fn options(chance: &Chance) -> ServerOptions {
    let bits = chance.byte();
    let is = |bit: u8| bits >> bit & 1 == 1;
    ServerOptions {
        allow_half_open: is(0),
        pause_on_connect: is(1),
        flowing: !is(2),
        accepts_per_turn: if is(3) { 3 } else { 1 },
        max_connections: is(4).then_some(2),
        timeout: Duration::from_secs(if is(5) { 1 } else { 0 }),
        high_water_mark: chance.pick(&[16 * 1024, 16, 0, 1000]),
        ..ServerOptions::default()
    }
}

fn steps(chance: &Chance, mode: u8) -> Vec<Step> {
    let mut sent = 0;
    let count = chance.below(9);
    let step = |_| match chance.below(16) {
        0..6 => {
            let bytes = match mode % 4 {
                1 => (0..chance.below(24)).map(|_| chance.byte()).collect(),
                _ => text(&mut sent, chance.pick(&[1, 10, 100, 70_000])),
            };
            Step::Send(bytes)
        }
        6 => Step::Fin,
        7 => Step::Reset,
        8 => Step::Window(chance.pick(&[0, 1, 100])),
        9 | 10 => Step::Take(chance.pick(&[1, 100, 100_000])),
        _ => Step::Wait,
    };
    (0..count).map(step).collect()
}

/// The next bytes of an endless text in which neighbouring places differ, so that misplaced bytes show.
pub(super) fn text(place: &mut usize, len: usize) -> Vec<u8> {
    let start = *place;
    *place += len;
    (start..*place).map(|n| b' ' + (n % 89) as u8).collect()
}

pub(super) fn answer(chance: &Chance, call: Call) -> Answer {
    let byte = chance.byte();
    if byte < 128 {
        return Answer::Usual;
    }
    let answers = answers(call);
    answers[usize::from(byte) % answers.len()]
}

/// All answers that a kernel may give to a call.
pub(crate) fn answers(call: Call) -> &'static [Answer] {
    use Answer::*;
    match call {
        Call::Poll => &[Fail("EINTR"), Late, One, Backwards, Again, Spurious, Stale, Urgent, Writable],
        Call::Accept => &[
            Fail("EAGAIN"),
            Fail("EINTR"),
            Fail("ECONNABORTED"),
            Fail("EMFILE"),
            Fail("ENFILE"),
            Fail("ENOBUFS"),
            Fail("ENOMEM"),
            Fail("EPROTO"),
            Fail("EPERM"),
            Fail("EINVAL"),
            FinFirst,
            ResetFirst,
        ],
        Call::Connect => &[Fail("ECONNREFUSED"), Fail("ENETUNREACH"), Fail("EADDRNOTAVAIL"), Fail("EMFILE")],
        Call::Outcome => &[Fail("ECONNREFUSED"), Fail("ETIMEDOUT"), Fail("EHOSTUNREACH"), Fail("ECONNRESET")],
        Call::Register => &[Fail("ENOMEM"), Fail("ENOSPC")],
        Call::Read => &[
            Short(1),
            Short(7),
            Fail("EAGAIN"),
            Fail("EINTR"),
            Fail("ECONNRESET"),
            Fail("ETIMEDOUT"),
            Fail("EHOSTUNREACH"),
            FinFirst,
            ResetFirst,
        ],
        Call::Write => &[
            Short(1),
            Short(7),
            Fail("EAGAIN"),
            Fail("EINTR"),
            Fail("EPIPE"),
            Fail("ECONNRESET"),
            Fail("ETIMEDOUT"),
            Fail("ENOBUFS"),
            FinFirst,
            ResetFirst,
        ],
        Call::Shutdown => &[Fail("ENOTCONN")],
    }
}

/// Writes every chunk back.
struct Echo {
    ledger: Ledger,
}

impl Handler for Echo {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.ledger.write(lp, socket, chunk);
    }
}

/// Writes every line to all clients.
struct Lines {
    ledger: Ledger,
    clients: Vec<Client>,
}

impl telnet::Handler for Lines {
    fn on_open(&mut self, _: &mut Loop, client: Client) {
        self.ledger.is_behind_telnet(client.socket());
        self.clients.push(client);
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        match line.first() {
            Some(b'p') => client.pause(lp),
            Some(b'r') => self.clients.iter().for_each(|client| client.resume(lp)),
            Some(b'e') => client.end(lp),
            Some(b'd') => client.destroy(lp),
            _ => telnet::broadcast(lp, &self.clients, line),
        }
    }

    fn on_error(&mut self, _: &mut Loop, _: Client, _: Error) {}

    fn on_close(&mut self, _: &mut Loop, client: Client, _: bool) {
        self.clients.retain(|&other| other != client);
    }
}

/// Does in every callback what the bytes say, to the socket of the callback or to another one.
#[derive(Clone)]
struct RandomProgram {
    ledger: Ledger,
    chance: Chance,
    shared: Rc<ProgramState>,
}

#[derive(Default)]
struct ProgramState {
    sockets: RefCell<Vec<Socket>>,
    server: Cell<Option<ServerId>>,
    connects: Cell<u32>,
}

impl RandomProgram {
    fn new(ledger: Ledger, chance: Chance) -> RandomProgram {
        RandomProgram { ledger, chance, shared: Rc::default() }
    }

    fn add(&self, socket: Socket) {
        self.shared.sockets.borrow_mut().push(socket);
    }

    /// Any of the sockets so far, open or closed.
    fn any(&self) -> Option<Socket> {
        let sockets = self.shared.sockets.borrow();
        (!sockets.is_empty()).then(|| sockets[self.chance.below(sockets.len())])
    }

    /// The body of a callback: up to three actions.
    fn act(&self, lp: &mut Loop, own: Option<Socket>) {
        for _ in 0..3 {
            let byte = self.chance.byte();
            if byte == 0 {
                return;
            }
            let target = if byte < 192 { own } else { self.any() };
            match target {
                Some(socket) if byte % 8 != 7 => self.act_on(lp, socket),
                _ => self.act_on_the_loop(lp, own),
            }
        }
    }

    /// A callback that acts later, with the next bytes.
    fn act_later(&self, own: Option<Socket>) -> impl FnOnce(&mut Loop) + 'static {
        let this = self.clone();
        move |lp| this.act(lp, own)
    }

    fn bytes(&self, socket: Socket) -> Vec<u8> {
        let mut written = self.ledger.written_len(socket);
        text(&mut written, self.chance.pick(&[1, 5, 15, 16, 17, 1000, 20_000, 100_000, 0]))
    }

    fn act_on(&self, lp: &mut Loop, socket: Socket) {
        let ledger = &self.ledger;
        let what = self.chance.byte() % 36;
        log::trace!(target: "bucle::faults", "{socket}: action {what}");
        match what {
            0..6 => {
                let bytes = self.bytes(socket);
                ledger.write(lp, socket, &bytes);
            }
            6..9 => {
                let bytes = self.bytes(socket);
                ledger.write_then(lp, socket, &bytes, self.act_later(Some(socket)));
            }
            9 => socket.end(lp),
            10 => {
                let bytes = self.bytes(socket);
                ledger.end_with(lp, socket, &bytes);
            }
            11 => ledger.end_then(lp, socket, self.act_later(Some(socket))),
            12 => socket.destroy(lp),
            13 => socket.destroy_with(lp, Error::custom("E_CHANCE", "as the bytes say")),
            14 => socket.destroy_soon(lp),
            // This fails while the socket connects to a path.
            15 => drop(socket.reset_and_destroy(lp)),
            16 | 17 => socket.pause(lp),
            18..21 => socket.resume(lp),
            21 => socket.cork(lp),
            22 => socket.uncork(lp),
            23 => socket.flush(lp),
            24 => socket.set_timeout(lp, Duration::from_millis(self.chance.pick(&[1, 100, 0, 10_000]))),
            25 => {
                ledger.set_handler(lp, socket, self.clone());
            }
            26 | 27 => {
                if let Some(to) = self.any() {
                    ledger.pipe(lp, socket, to);
                }
            }
            28 => {
                if let Some(to) = self.any() {
                    socket.unpipe(lp, to);
                }
            }
            29 => socket.unref(lp),
            30 => socket.ref_(lp),
            31 => ledger.unshift(lp, socket, self.chance.below(20)),
            32 => socket.set_encoding(lp),
            33 => {
                if self.may_connect() {
                    // This fails unless the socket is new or in its `on_close`.
                    let _ = ledger.connect_to(lp, socket, ("127.0.0.1", 23));
                }
            }
            34 => socket.set_no_delay(lp, true),
            _ => ledger.check_info(lp, socket),
        }
        ledger.check_info(lp, socket);
    }

    fn act_on_the_loop(&self, lp: &mut Loop, own: Option<Socket>) {
        match self.chance.byte() % 12 {
            0 => lp.next_tick(self.act_later(own)),
            1 => lp.queue_microtask(self.act_later(own)),
            2 => drop(lp.set_immediate(self.act_later(own))),
            3 => drop(lp.set_timeout(Duration::from_millis(self.chance.pick(&[1, 100, 3000])), self.act_later(own))),
            4..8 => self.connect(lp),
            8 => {
                if let Some(server) = self.shared.server.get() {
                    server.close(lp);
                }
            }
            9 => {
                if let Some(server) = self.shared.server.get() {
                    server.set_max_connections(lp, self.chance.below(3));
                }
            }
            10 => {
                if let Some(server) = self.shared.server.get() {
                    server.close_then(lp, |_, _| {});
                }
            }
            _ => {
                if let Some(server) = self.shared.server.get() {
                    let handler = Watched::new(self.ledger.clone(), self.clone());
                    server.set_handler(lp, handler);
                }
            }
        }
    }

    fn may_connect(&self) -> bool {
        let connects = self.shared.connects.get() + 1;
        self.shared.connects.set(connects);
        connects <= CONNECTS
    }

    fn connect(&self, lp: &mut Loop) {
        if !self.may_connect() {
            return;
        }
        let bits = self.chance.byte();
        let options = SocketOptions {
            allow_half_open: bits & 1 != 0,
            flowing: bits & 2 == 0,
            high_water_mark: if bits & 4 == 0 { 16 * 1024 } else { 16 },
            ..SocketOptions::default()
        };
        let socket = self.ledger.socket(lp, options, self.clone());
        self.add(socket);
        match bits >> 3 & 3 {
            0 => self.ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new"),
            1 => self.ledger.connect_to(lp, socket, Target::path("/somewhere")).expect("it is new"),
            2 => self.ledger.connect_to(lp, socket, ("somewhere", 23)).expect("it is new"),
            _ => {}
        }
    }
}

impl Handler for RandomProgram {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.add(socket);
        self.act(lp, Some(socket));
    }
    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, _: Result<std::net::IpAddr, &Error>) {
        self.act(lp, Some(socket));
    }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.act(lp, Some(socket));
    }
    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {
        self.act(lp, Some(socket));
    }
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, _: &[u8]) {
        self.act(lp, Some(socket));
    }
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, _: &str) {
        self.act(lp, Some(socket));
    }
    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        self.act(lp, Some(socket));
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.act(lp, Some(socket));
    }
    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {
        self.act(lp, Some(socket));
    }
    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        self.act(lp, Some(socket));
    }
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, _: Error) {
        self.act(lp, Some(socket));
    }
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _: bool) {
        self.act(lp, Some(socket));
    }
    fn on_server_close(&mut self, lp: &mut Loop, _: ServerId) {
        self.act(lp, None);
    }
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: ProptestConfig::default().cases.max(2000),
            ..ProptestConfig::default()
        })]

        #[test]
        fn every_socket_keeps_its_promises_under_random_faults(
            mode in 0u8..4,
            peers in vec(any::<u8>(), 0..80),
            kernel in vec(any::<u8>(), 0..60),
            program in vec(any::<u8>(), 0..160),
        ) {
            run(mode, &peers, &kernel, &program);
        }
    }
}
