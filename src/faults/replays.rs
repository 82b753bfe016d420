//! Recorded sessions, run again with every fault at every call.
//!
//! Each session runs once without faults, while the calls to the kernel are counted; then once more for every call
//! and every other answer to it. After any answer the checks of the [ledger](super::ledger) must hold, the loop must
//! end, and nothing may be left. A harmless answer (fewer bytes, later, repeated, in another order) must not even
//! make a difference: every socket gets the same bytes, ends in the same way, and calls back with the same results.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::chance::answers;
use super::ledger::{Event, Ledger};
use super::{Step, World};
use crate::Loop;
use crate::net::simulated::{Answer, Call};
use crate::net::{Handler, ServerOptions, Socket, SocketOptions, on};
use crate::telnet::{self, Client, Telnet};

struct Session {
    name: &'static str,
    /// Sets up the servers, the peers and the program.
    set_up: fn(&mut World),
    /// The outcome depends on the order of the peers, or on time, so harmless answers may make a difference.
    is_a_race: bool,
}

const fn session(name: &'static str, set_up: fn(&mut World)) -> Session {
    Session { name, set_up, is_a_race: false }
}

const fn race(name: &'static str, set_up: fn(&mut World)) -> Session {
    Session { name, set_up, is_a_race: true }
}

const SESSIONS: &[Session] = &[
    session("echo", |world| {
        let ledger = world.ledger.clone();
        let echo = on().data(move |lp, socket, chunk| write(&ledger, lp, socket, chunk));
        world.serve(ServerOptions::default(), echo);
        world.client(0, [send("hola"), Step::Wait, send("¿qué tal?"), Step::Fin]);
        world.client(1, [send("adiós"), Step::Fin]);
    }),
    session("pipelined echo", |world| {
        let ledger = world.ledger.clone();
        let echo = on().data(move |lp, socket, chunk| write(&ledger, lp, socket, chunk));
        let options = ServerOptions { high_water_mark: 64, ..ServerOptions::default() };
        world.serve(options, echo);
        let line = || send("x".repeat(100));
        world.client(0, [Step::Window(150), line(), line(), line(), Step::Take(10), Step::Take(500), Step::Fin]);
    }),
    session("pipelined lines through telnet", |world| {
        let ledger = world.ledger.clone();
        let lines = Telnet::new(telnet::Options::default(), Answers { ledger });
        world.serve(ServerOptions::default(), lines);
        world.client(0, [send("one\r\ntwo\r\nth"), send("ree\r\nfour\nfi"), send("ve\r\n"), Step::Fin]);
        world.client(0, [Step::Window(5), send("six\r\nseven"), Step::Take(100), send("\r\nbye\r\n"), Step::Fin]);
    }),
    race("chat", |world| {
        let ledger = world.ledger.clone();
        let chat = Telnet::new(telnet::Options::default(), Chat { ledger, members: Vec::new() });
        world.serve(ServerOptions { accepts_per_turn: 3, ..ServerOptions::default() }, chat);
        for turn in 0..3 {
            world.client(turn, [Step::Wait, Step::Wait, send("hola a todos\r\n"), send("adiós\r\n"), Step::Fin]);
        }
    }),
    session("half open: the peer ends first", |world| {
        let ledger = world.ledger.clone();
        let last_word = on().end(move |lp, socket| {
            ledger.write(lp, socket, b"there is more");
            let ledger = ledger.clone();
            lp.set_timeout(Duration::from_millis(100), move |lp| {
                ledger.write(lp, socket, b" and more");
                ledger.end_then(lp, socket, |_| {});
            });
        });
        world.serve(ServerOptions { allow_half_open: true, ..ServerOptions::default() }, last_word);
        world.client(0, [send("a question"), Step::Fin]);
    }),
    session("half open: the program ends first", |world| {
        let ledger = world.ledger.clone();
        let first_word = on().connection(move |lp, socket| ledger.end_with(lp, socket, b"no more from here"));
        world.serve(ServerOptions { allow_half_open: true, ..ServerOptions::default() }, first_word);
        world.client(0, [Step::Wait, send("but"), Step::Wait, send("from here"), Step::Fin]);
    }),
    session("a pipe to an upstream server and back", |world| {
        let ledger = world.ledger.clone();
        let proxy = on().connection(move |lp, socket| {
            let options = SocketOptions { allow_half_open: true, high_water_mark: 64, ..SocketOptions::default() };
            let upstream = ledger.socket(lp, options, on().error(|_, _, _| {}));
            ledger.connect_to(lp, upstream, ("127.0.0.1", 23)).expect("it is new");
            ledger.pipe(lp, socket, upstream);
            ledger.pipe(lp, upstream, socket);
        });
        let options = ServerOptions { allow_half_open: true, ..ServerOptions::default() };
        world.serve(options, proxy.error(|_, _, _| {}));
        world.client(0, [send("a".repeat(200)), send("b".repeat(200)), Step::Wait, Step::Wait, Step::Fin]);
        world.remote_server([
            Step::Accept,
            Step::Window(90),
            send("an answer"),
            Step::Take(90),
            Step::Take(1000),
            Step::Fin,
        ]);
    }),
    session("corked writes", |world| {
        let ledger = world.ledger.clone();
        let corks = on().connection(move |lp, socket| {
            ledger.write(lp, socket, b"before, ");
            socket.cork(lp);
            ledger.write_then(lp, socket, b"", |_| {});
            ledger.write_then(lp, socket, b"one, ", |_| {});
            ledger.write(lp, socket, b"two, ");
            let ledger = ledger.clone();
            lp.next_tick(move |lp| {
                ledger.write_then(lp, socket, b"three", |_| {});
                socket.uncork(lp);
                ledger.end_then(lp, socket, |_| {});
            });
        });
        world.serve(ServerOptions::default(), corks);
        world.client(0, [Step::Wait, Step::Fin]);
        world.client(0, [Step::Window(10), Step::Wait, Step::Take(3), Step::Take(100), Step::Fin]);
    }),
    session("more than the peer takes", |world| {
        let source = Source { ledger: world.ledger.clone(), pieces: 6 };
        world.serve(ServerOptions { high_water_mark: 1024, ..ServerOptions::default() }, source);
        world.client(0, [Step::Window(100), Step::Wait, Step::Take(300), Step::Take(2000), Step::Take(10_000)]);
    }),
    session("callbacks of writes and ends", |world| {
        let ledger = world.ledger.clone();
        let callbacks = on().data(move |lp, socket, _| {
            let again = ledger.clone();
            ledger.write_then(lp, socket, b"one ", move |lp| {
                again.write_then(lp, socket, b"four", |_| {});
                again.end_then(lp, socket, |_| {});
                again.end_then(lp, socket, |_| {});
            });
            ledger.write_then(lp, socket, b"two ", |_| {});
            ledger.write_then(lp, socket, b"three ", |_| {});
        });
        world.serve(ServerOptions { allow_half_open: true, ..ServerOptions::default() }, callbacks);
        world.client(0, [send("?"), Step::Wait, Step::Fin]);
        world.client(0, [Step::Window(3), send("?"), Step::Take(3), Step::Take(100), Step::Fin]);
    }),
    session("a client with a question", |world| {
        let ledger = world.ledger.clone();
        world.remote_server([Step::Wait, Step::Accept, Step::Wait, send("the answer"), Step::Fin]);
        world.enter(|lp| {
            let client = on().data(|lp, socket, _| socket.end(lp)).error(|_, _, _| {});
            let socket = ledger.socket(lp, SocketOptions::default(), client);
            ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
            ledger.write_then(lp, socket, b"the ", |_| {});
            ledger.write_then(lp, socket, b"question", |_| {});
        });
    }),
    race("a client of a name with two addresses, one of which refuses", |world| {
        let ledger = world.ledger.clone();
        world.kernel.set_addresses(vec![[0u16; 8].into(), [127, 0, 0, 1].into()]);
        world.remote_server([Step::Refuse("ECONNREFUSED")]);
        world.remote_server([Step::Accept, send("hola"), Step::Fin]);
        world.enter(|lp| {
            let early = ledger.clone();
            let client = on().connect(move |lp, socket| early.end_with(lp, socket, b"adios")).error(|_, _, _| {});
            let socket = ledger.socket(lp, SocketOptions::default(), client);
            ledger.connect_to(lp, socket, ("somewhere", 23)).expect("it is new");
            ledger.write_then(lp, socket, b"early ", |_| {});
        });
    }),
    session("a client whose connection is refused", |world| {
        let ledger = world.ledger.clone();
        world.remote_server([Step::Wait, Step::Refuse("ECONNREFUSED")]);
        world.enter(|lp| {
            let again = ledger.clone();
            let is_first = Cell::new(true);
            let tries_again = on().error(|_, _, _| {}).close(move |lp, socket, _| {
                if is_first.replace(false) {
                    again.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is closed");
                    again.write_then(lp, socket, b"hola", |_| {});
                    again.end_then(lp, socket, |_| {});
                }
            });
            let socket = ledger.socket(lp, SocketOptions::default(), tries_again);
            ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
            ledger.write_then(lp, socket, b"early", |_| {});
            ledger.end_then(lp, socket, |_| {});
        });
    }),
    race("idle limits", |world| {
        let ledger = world.ledger.clone();
        let slow = on().timeout(move |lp, socket| {
            ledger.end_with(lp, socket, b"too slow");
            socket.set_timeout(lp, Duration::from_secs(1));
        });
        world.serve(ServerOptions { timeout: Duration::from_secs(1), ..ServerOptions::default() }, slow);
        world.client(0, [send("hola")]);
        world.client(0, [Step::Window(2), send("hola")]);
    }),
    session("pause and resume", |world| {
        let is_paused = Cell::new(false);
        let reader = on().data(move |lp, socket, _| {
            socket.pause(lp);
            if !is_paused.replace(true) {
                lp.set_timeout(Duration::from_millis(500), move |lp| socket.resume(lp));
            } else {
                lp.set_immediate(move |lp| socket.resume(lp));
            }
        });
        world.serve(ServerOptions { high_water_mark: 32, ..ServerOptions::default() }, reader);
        world.client(0, [send("a".repeat(40)), send("b".repeat(20)), send("c".repeat(40)), send("d"), Step::Fin]);
    }),
    session("a reader that starts late", |world| {
        let begins = on().connection(|lp, socket| {
            lp.set_timeout(Duration::from_secs(1), move |lp| socket.resume(lp));
        });
        world.serve(ServerOptions { pause_on_connect: true, ..ServerOptions::default() }, begins);
        world.client(0, [send("a".repeat(100)), Step::Fin]);
    }),
    race("a protocol that changes its handler", |world| {
        let ledger = world.ledger.clone();
        let upgrade = on().data(move |lp, socket, _| {
            ledger.write(lp, socket, b"upgraded ");
            let again = ledger.clone();
            let echo = on().data(move |lp, socket, chunk| write(&again, lp, socket, chunk));
            ledger.set_handler(lp, socket, echo);
        });
        world.serve(ServerOptions::default(), upgrade);
        world.client(0, [send("upgrade"), Step::Wait, Step::Wait, send("hola"), Step::Fin]);
    }),
    session("text in pieces", |world| {
        world.serve(ServerOptions::default(), on().connection(|lp, socket| socket.set_encoding(lp)));
        world.client(0, [send(b"\xc3"), send(b"\xb1and\xe2\x82"), send(b"\xac"), Step::Fin]);
    }),
    race("more clients than allowed", |world| {
        let ledger = world.ledger.clone();
        let greets = on().connection(move |lp, socket| ledger.end_with(lp, socket, b"hola"));
        let options = ServerOptions { max_connections: Some(2), accepts_per_turn: 3, ..ServerOptions::default() };
        world.serve(options, greets.server_error(|_, _, _| {}));
        for _ in 0..4 {
            world.client(0, [Step::Wait, Step::Fin]);
        }
    }),
    race("destroyed with everything under way", |world| {
        let ledger = world.ledger.clone();
        let destroys = on().data(move |lp, socket, chunk| {
            ledger.write_then(lp, socket, &[b'x'; 40], |_| {});
            ledger.write_then(lp, socket, b"and more", |_| {});
            ledger.end_then(lp, socket, |_| {});
            match chunk[0] {
                b'd' => socket.destroy(lp),
                b's' => socket.destroy_soon(lp),
                _ => socket.reset_and_destroy(lp).expect("it is no unix path"),
            }
        });
        world.serve(ServerOptions::default(), destroys);
        for what in ["d", "s", "r"] {
            world.client(0, [Step::Window(20), send(what), Step::Take(100)]);
        }
    }),
];

fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

fn write(ledger: &Ledger, lp: &mut Loop, socket: Socket, bytes: &[u8]) {
    ledger.write(lp, socket, bytes);
}

/// Answers every line, and ends the connection after `bye`.
struct Answers {
    ledger: Ledger,
}

impl telnet::Handler for Answers {
    fn on_open(&mut self, _: &mut Loop, client: Client) {
        self.ledger.is_behind_telnet(client.socket());
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        client.write(lp, "server: ");
        client.write_line(lp, line);
        if line == b"bye" {
            client.end(lp);
        }
    }
}

/// Writes every line to all members.
struct Chat {
    ledger: Ledger,
    members: Vec<Client>,
}

impl telnet::Handler for Chat {
    fn on_open(&mut self, _: &mut Loop, client: Client) {
        self.ledger.is_behind_telnet(client.socket());
        self.members.push(client);
    }

    fn on_line(&mut self, lp: &mut Loop, _: Client, line: &[u8]) {
        telnet::broadcast(lp, &self.members, line);
    }

    fn on_close(&mut self, _: &mut Loop, client: Client, _: bool) {
        self.members.retain(|&member| member != client);
    }
}

/// Writes a number of pieces as fast as the peer takes them, then ends.
struct Source {
    ledger: Ledger,
    pieces: usize,
}

impl Source {
    fn write_on(&mut self, lp: &mut Loop, socket: Socket) {
        while self.pieces > 0 {
            self.pieces -= 1;
            let piece: Vec<u8> = (0..500).map(|n| b' ' + ((n + self.pieces) % 89) as u8).collect();
            if !self.ledger.write(lp, socket, &piece) {
                return;
            }
        }
        self.ledger.end_then(lp, socket, |_| {});
    }
}

impl Handler for Source {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.write_on(lp, socket);
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        self.write_on(lp, socket);
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, _: crate::Error) {}
}

/// The fault of a replay.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Nothing,
    /// One call, by its number, gets this answer.
    At(usize, Answer),
    /// All calls of this kind get this answer; every second one if the run would not end otherwise.
    Each(Call, Answer),
}

/// Prints the session and the fault if the replay panics.
pub(super) struct Context(pub(super) &'static str, pub(super) Fault);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the session \"{}\", with {:?}", self.0, self.1);
        }
    }
}

/// A world whose kernel answers with this fault, and the calls that it gets.
pub(super) fn world_with(fault: Fault) -> (World, Rc<RefCell<Vec<Call>>>) {
    let world = World::new();
    let calls = Rc::new(RefCell::new(Vec::new()));
    let seen = calls.clone();
    let mut of_this_kind = 0;
    world.kernel.set_script(move |call| {
        let mut calls = seen.borrow_mut();
        calls.push(call);
        match fault {
            Fault::At(place, answer) if calls.len() - 1 == place => answer,
            Fault::Each(which, answer) if which == call => {
                of_this_kind += 1;
                if matches!(answer, Answer::Short(_)) || of_this_kind % 2 == 0 { answer } else { Answer::Usual }
            }
            _ => Answer::Usual,
        }
    });
    (world, calls)
}

/// Runs a session. Returns its calls, and the results for each socket as text.
fn run(session: &Session, fault: Fault) -> (Vec<Call>, Vec<String>) {
    let _context = Context(session.name, fault);
    let (mut world, calls) = world_with(fault);
    (session.set_up)(&mut world);
    world.run();
    let kernel = world.kernel.clone();
    let accounts = world.finish().accounts();
    let results = accounts.iter().map(|account| {
        let peer = account.peer.map(|peer| kernel.taken(peer));
        // Not compared: how often data comes depends on the kernel, and so does the order of events of the two
        // directions.
        let events = account.events.iter().filter(|event| !matches!(event, Event::Drain | Event::Data));
        let events: BTreeSet<Event> = events.copied().collect();
        format!(
            "events {:?}, error {:?}, called back {:?}, delivered {:?}, peer got {:?}",
            events,
            account.error,
            account.callback_results(),
            String::from_utf8_lossy(&account.delivered),
            peer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        )
    });
    let results = results.collect();
    let calls = calls.borrow().clone();
    (calls, results)
}

/// Whether a kernel may answer so although nothing is wrong with the connection or the server.
fn is_harmless(call: Call, answer: Answer) -> bool {
    match answer {
        Answer::FinFirst | Answer::ResetFirst => false,
        Answer::Fail("EAGAIN" | "EINTR") => true,
        Answer::Fail(error) => {
            call == Call::Accept && matches!(error, "EMFILE" | "ENFILE" | "ENOBUFS" | "ENOMEM" | "EINVAL")
        }
        _ => true,
    }
}

#[test]
fn the_sessions_make_every_kind_of_call() {
    let mut all = Vec::new();
    for session in SESSIONS {
        let (calls, results) = run(session, Fault::Nothing);
        assert!(calls.len() >= 8 && !results.is_empty(), "{}: {calls:?}", session.name);
        all.extend(calls);
    }
    let kinds = [Call::Poll, Call::Accept, Call::Connect, Call::Outcome, Call::Register, Call::Read, Call::Write];
    assert!(kinds.iter().all(|kind| all.contains(kind)) && all.contains(&Call::Shutdown));
}

/// Replays sessions with every answer to every call. A session may be a race, in which even a harmless answer makes a
/// difference.
pub(super) fn replay_with_any_answer<S>(
    sessions: &[S],
    describe: impl Fn(&S) -> (&'static str, bool),
    run: impl Fn(&S, Fault) -> (Vec<Call>, Vec<String>),
) {
    let mut replays = 0;
    for session in sessions {
        let (name, is_a_race) = describe(session);
        let (calls, usual) = run(session, Fault::Nothing);
        for (place, &call) in calls.iter().enumerate() {
            for &answer in answers(call) {
                let fault = Fault::At(place, answer);
                let (_, results) = run(session, fault);
                if is_harmless(call, answer) && !is_a_race {
                    assert_eq!(results, usual, "{name}: {fault:?} makes a difference");
                }
                replays += 1;
            }
        }
    }
    assert!(replays > 3000, "{replays} replays");
}

/// Replays sessions with the same harmless answer to every call of a kind.
pub(super) fn replay_with_harmless_answers<S>(
    sessions: &[S],
    describe: impl Fn(&S) -> (&'static str, bool),
    run: impl Fn(&S, Fault) -> (Vec<Call>, Vec<String>),
) {
    for session in sessions {
        let (name, is_a_race) = describe(session);
        let (_, usual) = run(session, Fault::Nothing);
        for call in [Call::Poll, Call::Accept, Call::Read, Call::Write] {
            for &answer in answers(call).iter().filter(|answer| is_harmless(call, **answer)) {
                let fault = Fault::Each(call, answer);
                let (_, results) = run(session, fault);
                if !is_a_race {
                    assert_eq!(results, usual, "{name}: {fault:?} makes a difference");
                }
            }
        }
    }
}

fn describe(session: &Session) -> (&'static str, bool) {
    (session.name, session.is_a_race)
}

#[test]
fn any_answer_to_any_call_breaks_no_rule() {
    replay_with_any_answer(SESSIONS, describe, run);
}

#[test]
fn a_harmless_answer_to_every_call_makes_no_difference() {
    replay_with_harmless_answers(SESSIONS, describe, run);
}
