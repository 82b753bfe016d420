//! Recorded sessions, run again with every answer of the kernel to every call, and sessions by chance.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::faults::replays::{Context, Fault, replay_with_any_answer, replay_with_harmless_answers, world_with};
use crate::net::simulated::Call;

struct Recorded {
    name: &'static str,
    set_up: fn(&mut World, &Diary),
    /// Time or the order of the connections decides, so harmless answers may make a difference.
    is_a_race: bool,
    /// Texts that must be among the results when nothing fails.
    want: &'static [&'static str],
}

const ENGINE: &str = "/engine.io/";
const SOCKETS: &str = "/socket.io/";

fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

/// Bytes for the first session.
fn fill(text: impl AsRef<[u8]>) -> Step {
    Step::Fill(0, text.as_ref().to_vec())
}

/// Bytes for the second session.
fn second(text: impl AsRef<[u8]>) -> Step {
    Step::Fill(1, text.as_ref().to_vec())
}

/// Echoes messages, and closes at `bye`.
fn echo(world: &mut World, diary: &Diary) -> ServerId {
    echo_with(world, diary, 64 * 1024)
}

fn echo_with(world: &mut World, diary: &Diary, high_water_mark: usize) -> ServerId {
    let this = diary.clone();
    let act: OnSession = Rc::new(move |lp, session, message| match message {
        Some(Message::Text("bye")) => this.close(lp, session),
        Some(message) => {
            session.send(lp, message);
        }
        None => {}
    });
    serve_engine(world, diary, engine_options(), high_water_mark, act).1
}

fn sockets(world: &mut World, diary: &Diary) {
    let engine = engine_io::Options { path: SOCKETS.to_owned(), ..engine_options() };
    let recovery = Some(RecoveryOptions::default());
    let options = socket_io::Options { engine, recovery, ..socket_io::Options::default() };
    serve_sockets(world, diary, options, Rc::new(|_, _, _| {}));
}

const RECORDED: &[Recorded] = &[
    Recorded {
        name: "a session that polls",
        set_up: |world, diary| {
            echo(world, diary);
            world.client(0, [send(open(ENGINE)), fill(poll(ENGINE)), fill(poll(ENGINE)), Step::Wait]);
            world.client(
                0,
                [
                    fill(post(ENGINE, "4hola\x1ebAQID")),
                    Step::Wait,
                    Step::Wait,
                    fill(post(ENGINE, "3\x1e4adiós")),
                    Step::Wait,
                    fill(post(ENGINE, "1")),
                    Step::Wait,
                ],
            );
        },
        is_a_race: true,
        want: &[r#"{"close", "message", "open"} ["hola", "[1, 2, 3]", "adiós"] Some(TransportClose)"#],
    },
    Recorded {
        name: "requests of one connection, in pieces",
        set_up: |world, diary| {
            echo(world, diary);
            world.client(
                0,
                [
                    send("GET /engine.io/?EIO=4&trans"),
                    send("port=polling HTTP/1.1\r\nHost: a\r\n\r\n"),
                    fill(post(ENGINE, "4one\x1e4two")),
                    fill(poll(ENGINE)),
                    fill(post(ENGINE, "4bye\x1e4never")),
                    fill(poll(ENGINE)),
                    Step::Wait,
                ],
            );
        },
        is_a_race: true,
        want: &[r#"["one", "two", "bye"] Some(ForcedClose)"#],
    },
    Recorded {
        name: "an upgrade",
        set_up: |world, diary| {
            echo(world, diary);
            world.client(0, [send(open(ENGINE)), fill(poll(ENGINE)), Step::Wait]);
            world.client(
                0,
                [
                    fill(upgrade(ENGINE, true)),
                    send(packet("2probe")),
                    Step::Wait,
                    send(packet("5")),
                    send(packet("4hola")),
                    send(packet("3")),
                    send(frame(Opcode::Binary, &[1, 2])),
                    send(frame(Opcode::Close, &1000_u16.to_be_bytes())),
                    Step::Wait,
                    Step::Fin,
                ],
            );
        },
        is_a_race: true,
        want: &[r#"{"close", "message", "open", "upgrade"} ["hola", "[1, 2]"] Some(TransportClose)"#],
    },
    Recorded {
        name: "an upgrade that fails, messages meanwhile",
        set_up: |world, diary| {
            echo(world, diary);
            world.client(
                0,
                [
                    send(open(ENGINE)),
                    fill(post(ENGINE, "4one")),
                    fill(poll(ENGINE)),
                    fill(post(ENGINE, "4two")),
                    fill(poll(ENGINE)),
                    fill(post(ENGINE, "1")),
                ],
            );
            world.client(0, [fill(upgrade(ENGINE, true)), send(packet("2probe")), Step::Wait, send(packet("x"))]);
            world.client(1, [fill(upgrade(ENGINE, true)), Step::Wait, Step::Reset]);
        },
        is_a_race: true,
        want: &[r#"["one", "two"] Some(TransportClose)"#],
    },
    Recorded {
        name: "a session over WebSocket",
        set_up: |world, diary| {
            echo(world, diary);
            world.client(
                0,
                [
                    Step::Send([upgrade(ENGINE, false).as_bytes(), &packet("4early")].concat()),
                    send(packet("4hola")),
                    send(packet("3")),
                    Step::Wait,
                    send(packet("4bye")),
                    send(packet("4never")),
                    Step::Wait,
                    send(frame(Opcode::Close, &1000_u16.to_be_bytes())),
                    Step::Fin,
                ],
            );
            world.client(3, [send(upgrade(ENGINE, false)), send(packet("2")), Step::Wait, Step::Fin]);
        },
        is_a_race: false,
        want: &[r#"["early", "hola", "bye"] Some(ForcedClose)"#, r#"[] Some(TransportError)"#],
    },
    Recorded {
        name: "two polls and two posts at a time",
        set_up: |world, diary| {
            echo(world, diary);
            world.client(0, [send(open(ENGINE)), fill(poll(ENGINE)), Step::Wait, Step::Wait]);
            world.client(0, [Step::Wait, fill(poll(ENGINE)), Step::Wait]);
            world.client(0, [send(open(ENGINE)), Step::Wait]);
            let target = post(ENGINE, "4half");
            let (first, second) = target.split_at(target.len() - 2);
            let parts = [Step::Fill(1, first.into()), Step::Wait, Step::Wait, send(second), Step::Wait];
            world.client(0, parts);
            world.client(1, [Step::Wait, Step::Fill(1, target.clone().into_bytes()), Step::Wait]);
        },
        is_a_race: true,
        want: &["Some(TransportError)"],
    },
    Recorded {
        name: "a post of more packets than are read at once, which is overtaken",
        set_up: |world, diary| {
            echo(world, diary);
            world.client(0, [send(open(ENGINE)), fill(post(ENGINE, &vec!["4a"; 1030].join("\x1e"))), Step::Wait]);
            world.client(0, [Step::Wait, fill(post(ENGINE, "4b")), fill(poll(ENGINE)), Step::Wait]);
        },
        is_a_race: true,
        want: &[],
    },
    Recorded {
        name: "a slow reader",
        set_up: |world, diary| {
            echo_with(world, diary, 300);
            let large = format!("4{}", "x".repeat(900));
            world.client(
                0,
                [
                    Step::Window(500),
                    send(upgrade(ENGINE, false)),
                    send(packet(&large)),
                    send(packet(&large)),
                    Step::Take(300),
                    Step::Take(1_000_000),
                    send(packet("1")),
                    Step::Wait,
                    Step::Fin,
                ],
            );
            world.client(
                0,
                [
                    send(open(ENGINE)),
                    Step::Window(300),
                    fill(post(ENGINE, &large)),
                    fill(poll(ENGINE)),
                    Step::Take(100),
                    Step::Take(1_000_000),
                    fill(post(ENGINE, "1")),
                ],
            );
        },
        is_a_race: true,
        want: &["Some(TransportClose)"],
    },
    Recorded {
        name: "clients that go silent",
        set_up: |world, diary| {
            echo(world, diary);
            world.client(0, [send(open(ENGINE)), fill(poll(ENGINE))]);
            world.client(0, [send(upgrade(ENGINE, false))]);
            world.client(0, [send(open(ENGINE))]);
        },
        is_a_race: true,
        want: &["Some(PingTimeout)"],
    },
    Recorded {
        name: "a drain",
        set_up: |world, diary| {
            let server = echo(world, diary);
            world.client(0, [send(open(ENGINE)), fill(poll(ENGINE)), Step::Wait, Step::Wait, Step::Wait]);
            let close = frame(Opcode::Close, b"");
            world.client(0, [send(upgrade(ENGINE, false)), Step::Wait, Step::Wait, Step::Wait, send(close), Step::Fin]);
            world.enter(|lp| {
                lp.set_timeout(Duration::from_secs(1), move |lp| server.drain(lp, Drain::default()));
            });
        },
        is_a_race: true,
        want: &["Some(ServerShuttingDown)"],
    },
    Recorded {
        name: "sockets in two namespaces, questions and answers",
        set_up: |world, diary| {
            sockets(world, diary);
            let binary = r#"451-7["say",{"_placeholder":true,"num":0}]"#;
            world.client(
                0,
                [
                    send(upgrade(SOCKETS, false)),
                    send(packet("40")),
                    send(packet("40/t1,{\"later\":true}")),
                    send(packet("42[\"ask\"]")),
                    send(packet("430[7]")),
                    send(packet(&format!("4{}", &binary[1..]))),
                    send(frame(Opcode::Binary, &[1, 2, 3])),
                    send(packet("42[\"leave\"]")),
                    send(packet("1")),
                    Step::Wait,
                    Step::Fin,
                ],
            );
            world.client(
                0,
                [
                    send(open(SOCKETS)),
                    second(post(SOCKETS, "40")),
                    second(poll(SOCKETS)),
                    second(poll(SOCKETS)),
                    second(post(SOCKETS, "42[\"ask\"]\x1e40{\"no\":true}")),
                    second(poll(SOCKETS)),
                ],
            );
        },
        is_a_race: true,
        want: &[r#"["connection", "ask", "#],
    },
    Recorded {
        name: "a client that is lost and comes back",
        set_up: |world, diary| {
            sockets(world, diary);
            world.client(0, [send(upgrade(SOCKETS, false)), send(packet("40")), Step::Wait, Step::Wait, Step::Reset]);
            world.client(
                1,
                [
                    send(upgrade(SOCKETS, false)),
                    send(packet("40")),
                    Step::Wait,
                    Step::Wait,
                    Step::Wait,
                    Step::Wait,
                    send(packet("42[\"say\",1]")),
                    Step::Wait,
                    send(packet("1")),
                    Step::Fin,
                ],
            );
            let mut steps = vec![Step::Wait; 9];
            steps.extend([
                send(upgrade(SOCKETS, false)),
                fill(packet_unmasked(&format!(r#"40{{"pid":"{ANY_PID}"}}"#))),
                Step::Wait,
                send(packet("41")),
                send(packet("1")),
                Step::Fin,
            ]);
            world.client(0, steps);
        },
        is_a_race: true,
        want: &["recovered true"],
    },
];

/// A frame whose mask is zeros, so that a placeholder in it can be found.
fn packet_unmasked(text: &str) -> Vec<u8> {
    let header = Header { fin: true, rsv1: false, opcode: Opcode::Text, mask: Some([0; 4]), len: text.len() as u64 };
    [header.encode().as_ref(), text.as_bytes()].concat()
}

/// Runs a session. Returns its calls and its results.
fn replay(recorded: &Recorded, fault: Fault) -> (Vec<Call>, Vec<String>) {
    let _context = Context(recorded.name, fault);
    let (mut world, calls) = world_with(fault);
    let diary = Diary::default();
    (recorded.set_up)(&mut world, &diary);
    world.run();
    finish(world, &diary);
    let calls = calls.borrow().clone();
    (calls, diary.results())
}

#[test]
fn the_sessions_have_the_expected_results() {
    for recorded in RECORDED {
        let (calls, results) = replay(recorded, Fault::Nothing);
        assert!(calls.len() >= 8, "{}: {calls:?}", recorded.name);
        for want in recorded.want {
            assert!(results.iter().any(|result| result.contains(want)), "{}: {want} in {results:#?}", recorded.name);
        }
    }
}

fn describe(recorded: &Recorded) -> (&'static str, bool) {
    (recorded.name, recorded.is_a_race)
}

#[test]
fn any_answer_to_any_call_breaks_no_promise() {
    replay_with_any_answer(RECORDED, describe, replay);
}

#[test]
fn a_harmless_answer_to_every_call_makes_no_difference() {
    replay_with_harmless_answers(RECORDED, describe, replay);
}

/// A peer that waits for the id of its session is served when the program takes no more connections; then it stops
/// reading again in front of the last answer.
#[test]
fn a_peer_that_stops_reading_late_gets_its_answers() {
    let peers = [
        236, 0, 0, 103, 19, 0, 46, 0, 46, 181, 201, 0, 0, 0, 26, 0, 0, 0, 106, 0, 0, 0, 6, 0, 0, 0, 126, 0, 0, 0, 26,
        0, 0, 0, 103, 0, 4, 120, 32, 14, 0, 63, 0, 109, 0, 0, 0, 6, 0, 0, 0, 86, 0, 6, 0, 6, 0, 0, 0, 223, 0, 0, 0, 0,
        0,
    ];
    run(87, &peers, &[], &[]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: ProptestConfig::default().cases.max(1000),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_session_and_socket_keeps_its_promises_under_random_faults(
        options in any::<u8>(),
        peers in vec(any::<u8>(), 0..120),
        kernel in vec(any::<u8>(), 0..60),
        program in vec(any::<u8>(), 0..160),
    ) {
        run(options, &peers, &kernel, &program);
    }
}
