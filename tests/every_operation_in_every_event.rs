//! Every operation in every callback, on the socket of the callback, on the other side's socket, and on the server.
//! No combination panics; every socket gets `on_close` exactly once and nothing after it; and at the end no handle
//! finds anything.
//!
//! One scenario raises every event on both sides. It runs once for every pair of an event and an operation. The
//! operation is done when the event comes for the first time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::net::{Drain, Dropped, Error, Handler, Server, ServerId, ServerOptions, Socket, SocketOptions};
use bucle::{EventLoop, Loop};

const EVENTS: &[&str] = &[
    "connection",
    "connect",
    "ready",
    "data",
    "text",
    "drain",
    "end",
    "finish",
    "timeout",
    "error",
    "close",
    "written",
    "ended",
    "tick",
    "timer",
    "immediate",
    "listening",
    "server_close",
    "drop",
];

type Operation = fn(&mut Loop, Socket);

/// Operations on a socket.
const OPERATIONS: &[(&str, Operation)] = &[
    ("nothing", |_, _| {}),
    ("write", |lp, s| ignore(s.write(lp, "x"))),
    ("write much", |lp, s| ignore(s.write(lp, vec![b'x'; 1 << 20]))),
    ("write_then", |lp, s| ignore(s.write_then(lp, "x", |_, _| {}))),
    ("write_then destroy", |lp, s| ignore(s.write_then(lp, "x", move |lp, _| s.destroy(lp)))),
    ("flush", |lp, s| s.flush(lp)),
    ("end", |lp, s| s.end(lp)),
    ("end_with_then", |lp, s| s.end_with_then(lp, "bye", |_, _| {})),
    ("end, write", |lp, s| {
        s.end(lp);
        s.write(lp, "too late");
    }),
    ("destroy", |lp, s| s.destroy(lp)),
    ("destroy twice", |lp, s| {
        s.destroy_with(lp, Error::custom("E_TEST", "first"));
        s.destroy(lp);
    }),
    ("write, destroy", |lp, s| {
        s.write(lp, "x");
        s.destroy(lp);
    }),
    ("destroy_soon", |lp, s| s.destroy_soon(lp)),
    ("reset", |lp, s| s.reset_and_destroy(lp).expect("it is a TCP socket")),
    ("pause", |lp, s| s.pause(lp)),
    ("pause, resume", |lp, s| {
        s.pause(lp);
        s.resume(lp);
    }),
    ("cork", |lp, s| s.cork(lp)),
    ("cork, write, uncork", |lp, s| {
        s.cork(lp);
        s.write(lp, "x");
        s.uncork(lp);
    }),
    ("uncork", |lp, s| s.uncork(lp)),
    ("pipe to itself", |lp, s| s.pipe(lp, s)),
    ("pipe, unpipe", |lp, s| {
        s.pipe(lp, s);
        s.unpipe(lp, s);
    }),
    ("set_timeout", |lp, s| s.set_timeout(lp, Duration::from_millis(1))),
    ("set_timeout off", |lp, s| s.set_timeout(lp, Duration::ZERO)),
    ("set_encoding", |lp, s| s.set_encoding(lp)),
    ("set_handler", |lp, s| s.set_handler(lp, NoHandler)),
    ("set_handler twice, destroy", |lp, s| {
        s.set_handler(lp, NoHandler);
        s.set_handler(lp, NoHandler);
        s.destroy(lp);
    }),
    ("unref, ref", |lp, s| {
        s.unref(lp);
        s.ref_(lp);
    }),
    ("connect_to", |lp, s| ignore(s.connect_to(lp, ("127.0.0.1", 1)))),
    ("info", |lp, s| ignore(s.info(lp))),
    ("options", |lp, s| {
        s.set_no_delay(lp, true);
        s.set_keep_alive(lp, true, Duration::from_secs(60));
    }),
    ("close the server", |lp, s| {
        if let Some(server) = s.server(lp) {
            server.close(lp);
        }
    }),
    ("drain the server", |lp, s| {
        if let Some(server) = s.server(lp) {
            let millis = Duration::from_millis;
            server.drain(lp, Drain { quiet: millis(1), grace: millis(4), limit: millis(8), ..Drain::default() });
        }
    }),
    ("remove the server", |lp, s| {
        if let Some(server) = s.server(lp) {
            server.remove(lp);
        }
    }),
    ("close, listen again", |lp, s| {
        if let Some(server) = s.server(lp) {
            server.close(lp);
            server.listen(lp, ("127.0.0.1", 0)).expect("it is closed");
        }
    }),
    ("the server's handler", |lp, s| {
        if let Some(server) = s.server(lp) {
            server.set_handler(lp, NoHandler);
        }
    }),
    ("panic in a tick", |lp, _| lp.next_tick(|_| panic!("on purpose"))),
    ("stop", |lp, _| lp.stop()),
];

struct NoHandler;

impl Handler for NoHandler {
    fn on_error(&mut self, _: &mut Loop, _: Socket, _: Error) {}
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}
}

#[derive(Default)]
struct Scenario {
    event: &'static str,
    operation: Option<Operation>,
    /// Whether the operation is done on the other side's socket instead of the event's.
    to_the_other: bool,
    is_done: bool,
    client: Option<Socket>,
    accepted: Option<Socket>,
    server: Option<ServerId>,
    sockets: Vec<Socket>,
    closed: BTreeMap<Socket, u32>,
    events: Vec<&'static str>,
}

type SharedScenario = Rc<RefCell<Scenario>>;

/// Records an event, and does the operation if the event is the chosen one.
fn on_event(scenario: &SharedScenario, lp: &mut Loop, event: &'static str, socket: Option<Socket>) {
    let (operation, target) = {
        let mut scenario = scenario.borrow_mut();
        if let Some(socket) = socket {
            assert!(!scenario.closed.contains_key(&socket) || event == "close", "{event} after close");
        }
        scenario.events.push(event);
        if scenario.event != event || scenario.is_done {
            return;
        }
        scenario.is_done = true;
        let own = socket.or(scenario.accepted).or(scenario.client);
        let other = if own == scenario.client { scenario.accepted } else { scenario.client };
        (scenario.operation, if scenario.to_the_other { other } else { own })
    };
    if let (Some(operation), Some(target)) = (operation, target) {
        operation(lp, target);
    }
}

/// For the drain, more than the kernel takes: `write` returns `false`, and a drain follows. Otherwise few bytes, to
/// be quick.
fn answer_size(scenario: &SharedScenario) -> usize {
    if scenario.borrow().event == "drain" { 16 << 20 } else { 64 << 10 }
}

struct Side {
    scenario: SharedScenario,
    is_server: bool,
    bytes: usize,
}

impl Side {
    fn on_bytes(&mut self, lp: &mut Loop, socket: Socket, event: &'static str, bytes: usize) {
        self.bytes += bytes;
        let scenario = self.scenario.clone();
        on_event(&scenario, lp, event, Some(socket));
        if self.is_server {
            socket.write(lp, vec![b'y'; answer_size(&scenario)]);
            if scenario.borrow().event == "error" {
                lp.set_immediate(move |lp| socket.destroy_with(lp, Error::custom("E_TEST", "on purpose")));
            }
            let written = scenario.clone();
            socket.write_then(lp, "z", move |lp, _| on_event(&written, lp, "written", None));
        } else if self.bytes > answer_size(&scenario) && scenario.borrow().event != "timeout" {
            socket.end_then(lp, move |lp, _| on_event(&scenario, lp, "ended", None));
        }
    }
}

impl Handler for Side {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        {
            let mut scenario = self.scenario.borrow_mut();
            scenario.sockets.push(socket);
            scenario.accepted = Some(socket);
        }
        socket.set_timeout(lp, Duration::from_millis(3));
        on_event(&self.scenario, lp, "connection", Some(socket));
    }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        on_event(&self.scenario, lp, "connect", Some(socket));
    }
    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {
        on_event(&self.scenario, lp, "ready", Some(socket));
    }
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.on_bytes(lp, socket, "data", chunk.len());
    }
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.on_bytes(lp, socket, "text", text.len());
    }
    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        on_event(&self.scenario, lp, "drain", Some(socket));
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        on_event(&self.scenario, lp, "end", Some(socket));
    }
    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {
        on_event(&self.scenario, lp, "finish", Some(socket));
    }
    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        on_event(&self.scenario, lp, "timeout", Some(socket));
        if self.scenario.borrow().event == "timeout" {
            socket.end(lp);
        }
    }
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, _: Error) {
        on_event(&self.scenario, lp, "error", Some(socket));
    }
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _: bool) {
        let times = {
            let mut scenario = self.scenario.borrow_mut();
            let times = scenario.closed.entry(socket).or_default();
            *times += 1;
            *times
        };
        assert!(times == 1 || socket.info(lp).is_some(), "on_close comes once for each connection");
        on_event(&self.scenario, lp, "close", Some(socket));
    }
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        self.scenario.borrow_mut().server = Some(server);
        on_event(&self.scenario, lp, "listening", None);
    }
    fn on_drop(&mut self, lp: &mut Loop, _: ServerId, _: Dropped) {
        on_event(&self.scenario, lp, "drop", None);
    }
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}
    fn on_server_close(&mut self, lp: &mut Loop, _: ServerId) {
        on_event(&self.scenario, lp, "server_close", None);
    }
}

fn client(lp: &mut Loop, scenario: &SharedScenario, port: u16) -> Socket {
    let options = SocketOptions::default();
    let socket = Socket::new(lp, options, Side { scenario: scenario.clone(), is_server: false, bytes: 0 });
    scenario.borrow_mut().sockets.push(socket);
    socket.connect_to(lp, ("127.0.0.1", port)).expect("a good target");
    socket
}

/// Runs the scenario until it ends, or until `limit`, because the operation may have left a socket paused, corked or
/// half open.
fn run_scenario(event: &'static str, operation: Operation, to_the_other: bool, limit: Duration) -> Scenario {
    let scenario: SharedScenario = Rc::default();
    {
        let mut scenario = scenario.borrow_mut();
        (scenario.event, scenario.operation, scenario.to_the_other) = (event, Some(operation), to_the_other);
    }
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.catch_panics(true);
    event_loop.enter(|lp| {
        let options = ServerOptions { max_connections: Some(1), ..ServerOptions::default() };
        let server = Server::new(lp, options, Side { scenario: scenario.clone(), is_server: true, bytes: 0 });
        server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        let port = server.id().address(lp).and_then(|address| address.port()).expect("it is bound");
        let first = client(lp, &scenario, port);
        scenario.borrow_mut().client = Some(first);
        first.write(lp, "hola");
        if event == "text" {
            first.set_encoding(lp);
        }
        // One connection over the limit, for `on_drop`. The server closes it.
        let late = scenario.clone();
        lp.set_timeout(Duration::from_millis(2), move |lp| {
            let second = client(lp, &late, port);
            second.write(lp, "no");
            on_event(&late, lp, "timer", None);
        });
        let later = scenario.clone();
        lp.next_tick(move |lp| on_event(&later, lp, "tick", None));
        let later = scenario.clone();
        lp.set_immediate(move |lp| on_event(&later, lp, "immediate", None));
        server.id().unref(lp);
    });
    let wait = Some(Duration::from_millis(1));
    let limit = Instant::now() + limit;
    while event_loop.is_alive() && Instant::now() < limit {
        event_loop.turn(wait).expect("the poll works");
    }
    // Close everything that the operation has left paused, corked or half open.
    event_loop.enter(|lp| {
        let (sockets, server) = (scenario.borrow().sockets.clone(), scenario.borrow().server);
        for socket in sockets {
            socket.destroy(lp);
        }
        if let Some(server) = server {
            server.close(lp);
        }
    });
    let limit = Instant::now() + Duration::from_secs(60);
    while event_loop.is_alive() && Instant::now() < limit {
        event_loop.turn(wait).expect("the poll works");
    }
    event_loop.enter(|lp| {
        let sockets = scenario.borrow().sockets.clone();
        for socket in sockets {
            // A socket that was connected again in its close exists until that connect has failed.
            assert!(!socket.exists(lp), "{event}: {socket} is still there");
            let _ = (socket.write(lp, "no socket"), socket.info(lp));
            socket.destroy(lp);
        }
    });
    drop(event_loop);
    scenario.take()
}

#[test]
fn every_event_comes_in_the_scenario() {
    let mut missing: Vec<&str> = EVENTS.to_vec();
    for event in ["nothing", "text", "error", "drain", "timeout"] {
        // Long enough to end without the limit on a slow machine.
        let scenario = run_scenario(event, |_, _| {}, false, Duration::from_secs(20));
        missing.retain(|event| !scenario.events.contains(event));
    }
    assert!(missing.is_empty(), "events that never came: {missing:?}");
}

#[test]
fn every_operation_in_every_event() {
    // Do not print the panics that are on purpose.
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        if !text.contains("on purpose") {
            eprintln!("{text}");
        }
    }));
    for &event in EVENTS {
        for &(name, operation) in OPERATIONS {
            for to_the_other in [false, true] {
                // Long enough for the events of the scenario. On a slow machine fewer events come, but never a wrong
                // one.
                let scenario = run_scenario(event, operation, to_the_other, Duration::from_millis(12));
                let handler_was_replaced = name.contains("handler");
                let may_connect_again = name == "connect_to";
                for socket in &scenario.sockets {
                    let times = scenario.closed.get(socket).copied().unwrap_or(0);
                    let ok = times == 1 || (handler_was_replaced && times == 0) || (may_connect_again && times >= 1);
                    assert!(ok, "{event}, {name}, to the other {to_the_other}: {times} closes of {socket}");
                }
            }
        }
    }
}

fn ignore<T>(_: T) {}
