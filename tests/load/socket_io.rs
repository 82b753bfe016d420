//! `sio://` targets: events and their acknowledgements, namespaces, and the pings of the session.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bucle::socket_io::{self, EventError, Options};
use bucle::websocket::frame::Opcode;
use serde_json::{Value, json};

use crate::command::{Ended, Run, Served};
use crate::frames::Peer;
use crate::server::Server;
use crate::{counters, is_consistent};

#[track_caller]
fn load(port: u16, namespace: &str, args: &[&str]) -> Ended {
    let target = format!("sio://127.0.0.1:{port}{namespace}");
    Run::start(&[&[target.as_str()], args].concat()).end()
}

fn reason(report: &Value) -> &str {
    report["first_failure"]["reason"].as_str().unwrap_or("none")
}

/// A server with the library, in a thread that ends with the test program. It greets, and pings often.
fn serve() -> u16 {
    let (sender, port) = mpsc::channel();
    thread::spawn(move || {
        bucle::run(|lp| {
            let mut options = Options::default();
            options.engine.ping_interval = Duration::from_millis(50);
            options.engine.ping_timeout = Duration::from_millis(2000);
            let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), options)?;
            let admin = io.of(lp, "/admin");
            admin.use_middleware(lp, |lp, socket, next| match socket.auth::<Value>(lp) {
                Some(auth) if auth["token"] == "secret" => next.allow(lp),
                _ => next.refuse(lp, EventError::new("not \u{1b} authorized")),
            });
            for namespace in [io.main(), admin] {
                namespace.on_connection(lp, |lp, socket| {
                    socket.emit(lp, "welcome", "¡hola!");
                });
                for name in ["echo", "say"] {
                    namespace.on(lp, name, |lp, socket, event| {
                        socket.emit(lp, "news", "for nobody");
                        let arguments = event.arguments();
                        event.ack(lp, arguments);
                    });
                }
                namespace.on(lp, "constant", |lp, _, event| {
                    event.ack(lp, "OK 7");
                });
                namespace.on(lp, "twice", |lp, _, event| {
                    let text = event.arguments().text(0).unwrap_or_default().into_owned();
                    event.ack(lp, (&*text, &*text));
                });
                namespace.on(lp, "binary", |lp, _, event| {
                    event.ack(lp, socket_io::Binary::from([7]));
                });
                namespace.on(lp, "leave", |lp, socket, _| socket.disconnect(lp, false));
                namespace.on(lp, "close", |lp, socket, _| socket.disconnect(lp, true));
            }
            let _ = sender.send(server.port(lp).unwrap_or_default());
            Ok(())
        })
        .expect("the loop runs");
    });
    port.recv().expect("a port")
}

#[test]
fn a_server_that_acknowledges_passes_every_model() {
    let port = serve();
    let table: &[(&str, &str, &[&str])] = &[
        ("the default message", "", &[]),
        ("with a slash", "/", &[]),
        ("several in flight", "", &["--in-flight", "16"]),
        ("escapes of JSON", "", &["-m", r#"{seq} "\\ \n\x01é"#]),
        ("the same text each time", "", &["-m", "hola", "--in-flight", "4"]),
        ("66,000 bytes", "", &["--size", "66k"]),
        ("on schedule", "", &["-r", "500"]),
        ("churn", "", &["--churn"]),
        ("two processes", "", &["--procs", "2"]),
        ("a greeting", "", &["--skip-line"]),
        ("another event", "", &["--event", "say"]),
        ("a namespace", "/admin", &["--auth", r#"{"token": "secret"}"#, "--skip-line"]),
        ("any reply", "", &["--event", "constant", "--expect", "line"]),
        ("a prefix", "", &["--event", "constant", "--expect", "prefix:OK"]),
        ("a regex", "", &["--event", "constant", "--expect", "regex:^OK [0-9]$"]),
        ("reconnect, with nothing to reconnect", "", &["--reconnect", "--fail-fast"]),
    ];
    for (name, namespace, args) in table {
        let report = load(port, namespace, &[&["-c", "3", "-n", "60", "--json"], *args].concat()).json(0);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 60", "{name}");
        assert_eq!(report["protocol"], "socket.io", "{name}");
        assert_eq!(report["lost"], json!({"closed": 0, "reset": 0}), "{name}");
        assert_eq!(report["close_codes"], json!({}), "{name}");
    }
    let report = load(port, "", &["-c", "2", "-n", "10", "--expect", "none", "--json"]).json(0);
    assert_eq!(report["messages"]["sent"], 10);
    // Without pongs the server would end the sessions.
    let report = load(port, "", &["-c", "5", "--hold", "-d", "3s", "--json"]).json(0);
    assert_eq!((&report["connect"]["ok"], &report["lost"]["closed"]), (&json!(5), &json!(0)));
}

#[test]
fn the_plan_and_the_report_name_the_transport() {
    let run = load(serve(), "/", &["-c", "1", "-n", "1"]);
    let plan = run.stderr.lines().find(|line| line.starts_with("plan: ")).unwrap_or_default();
    assert!(run.code == Some(0) && plan.contains("/ over WebSocket, 1 in flight each"), "{}", run.stderr);
    let report = load(serve(), "/", &["-c", "1", "-n", "1", "--json"]).json(0);
    assert_eq!((&report["protocol"], &report["transport"]), (&"socket.io".into(), &"websocket".into()));
    let report = Run::start(&[&format!(":{}", Server::echo().port), "-c", "1", "-n", "1", "--json"]).end().json(0);
    assert_eq!(report["transport"], Value::Null);
    let refused = load(1, "/", &["--transport", "polling"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("goes over WebSocket here"), "{}", refused.stderr);
}

#[test]
fn an_event_that_is_not_acknowledged_gets_a_hint() {
    let args = ["-c", "1", "-n", "1", "--event", "unknown", "--timeout", "1s", "--json"];
    let report = load(serve(), "/", &args).json(4);
    assert_eq!(counters(&report), "missing 1");
    let hint = report["hints"][0].as_str().unwrap_or_default();
    assert!(
        hint.starts_with("no acknowledgement came in time: the server may not acknowledge the event unknown; "),
        "{hint}"
    );
}

#[test]
fn a_wrong_acknowledgement_has_a_name() {
    let port = serve();
    let table: &[(&str, &[&str], &str, &str)] = &[
        ("another text", &["--event", "constant"], "wrong 3", "none"),
        ("one argument more", &["--event", "twice"], "wrong 3", "none"),
        ("binary", &["--event", "binary"], "wrong 3", "none"),
        ("none", &["--event", "nothing", "--timeout", "1s"], "missing 3", "none"),
        (
            "the end of the namespace",
            &["--event", "leave"],
            "missing 1, unsent 2",
            "the server disconnected the client from the namespace",
        ),
        (
            "the end of the session",
            &["--event", "close"],
            "missing 1, unsent 2",
            "the server disconnected the client from the namespace",
        ),
    ];
    for (name, args, want, why) in table {
        let report = load(port, "", &[&["-c", "1", "-n", "3", "--json"], *args].concat()).json(4);
        is_consistent(&report);
        assert_eq!((&*counters(&report), reason(&report)), (*want, *why), "{name}");
    }
}

/// Lets a client into the namespace `/`.
fn join(peer: &mut Peer) -> io::Result<()> {
    peer.send(Opcode::Text, br#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#)?;
    assert_eq!(peer.next()?.payload, b"40");
    peer.send(Opcode::Text, br#"40{"sid":"b"}"#)
}

#[test]
fn a_server_that_breaks_the_protocol_fails_the_run() {
    type Answer = fn(&mut Peer) -> io::Result<()>;
    let table: &[(&str, Answer, &str, &str)] = &[
        (
            "twice",
            |peer| (0..2).try_for_each(|_| peer.send(Opcode::Text, br#"431["hola"]"#)),
            "exact 3, duplicate 1",
            "none",
        ),
        ("in the wrong order", |peer| peer.send(Opcode::Text, br#"432["hola"]"#), "exact 2, wrong 1", "none"),
        (
            "in pieces",
            |peer| br#"431["hola"]"#.chunks(3).try_for_each(|bytes| peer.send(Opcode::Text, bytes)),
            "exact 1, wrong 1, unsent 1",
            "the server broke the protocol of Socket.IO:",
        ),
        (
            "no packet",
            |peer| peer.send(Opcode::Text, b"hola"),
            "exact 1, wrong 1, unsent 1",
            "the server broke the protocol of Socket.IO: a message is no packet of Engine.IO",
        ),
        (
            "a second CONNECT",
            |peer| peer.send(Opcode::Text, br#"40{"sid":"c"}"#),
            "exact 1, wrong 1, unsent 1",
            "the server broke the protocol of Socket.IO: a packet came a second time",
        ),
        (
            "the end",
            |peer| peer.send(Opcode::Text, b"1"),
            "exact 1, missing 1, unsent 1",
            "the server closed the session",
        ),
        (
            "a close frame",
            |peer| peer.close(b"\x03\xf3"),
            "exact 1, missing 1, unsent 1",
            "the server closed the connection before the end: 1011 (internal error)",
        ),
    ];
    for (name, answer, want, why) in table {
        let answer = *answer;
        let server = Server::websocket(move |peer| {
            join(peer)?;
            for seq in 0.. {
                match peer.next()? {
                    frame if frame.opcode == Opcode::Close => return peer.close(&frame.payload),
                    frame => assert_eq!(frame.payload, format!(r#"42{seq}["echo","hola"]"#).as_bytes()),
                }
                match seq {
                    1 => answer(peer)?,
                    _ => peer.send(Opcode::Text, format!(r#"43{seq}["hola"]"#).as_bytes())?,
                }
            }
            Ok(())
        });
        let report = load(server.port, "", &["-c", "1", "-n", "3", "-m", "hola", "--json"]).json(4);
        is_consistent(&report);
        assert_eq!(counters(&report), *want, "{name}");
        assert!(reason(&report).starts_with(why), "{name}: {report}");
    }
}

/// The server acknowledges events that ask for none.
#[test]
fn acknowledgements_are_not_checked_with_expect_none() {
    let server = Server::websocket(|peer| {
        join(peer)?;
        for seq in 0.. {
            match peer.next()? {
                frame if frame.opcode == Opcode::Close => return peer.close(&frame.payload),
                frame => assert_eq!(frame.payload, br#"42["echo","hola"]"#),
            }
            peer.send(Opcode::Text, format!(r#"43{seq}["x"]"#).as_bytes())?;
        }
        Ok(())
    });
    let args = ["-c", "1", "-n", "3", "-m", "hola", "--expect", "none", "--json"];
    let report = load(server.port, "", &args).json(0);
    is_consistent(&report);
    assert_eq!((&*counters(&report), &report["messages"]["sent"]), ("", &3.into()));
}

#[test]
fn a_session_that_is_joined_in_single_bytes_is_right() {
    let server = Server::websocket(|peer| {
        let wire = b"\x81\x0c0{\"sid\":\"a\"}\x81\x0d40{\"sid\":\"b\"}\x81\x012";
        for byte in wire {
            io::Write::write_all(&mut peer.stream, &[*byte])?;
        }
        assert_eq!(peer.next()?.payload, b"40");
        let mut pongs = 0;
        for seq in 0.. {
            let mut frame = peer.next()?;
            if frame.payload == b"3" {
                pongs += 1;
                frame = peer.next()?;
            }
            if frame.opcode == Opcode::Close {
                assert_eq!(pongs, 1);
                return peer.close(&frame.payload);
            }
            peer.send(Opcode::Text, format!(r#"43{seq}["hola"]"#).as_bytes())?;
        }
        Ok(())
    });
    let report = load(server.port, "", &["-c", "2", "-n", "20", "-m", "hola", "--json"]).json(0);
    assert_eq!((&*counters(&report), &report["close_codes"]), ("exact 20", &json!({})));
}

#[test]
fn a_namespace_that_is_not_joined_is_no_connection() {
    let port = serve();
    let echo = Served::start(&["echo", "--port", "0", "--http", "0"]);
    let cut = Server::websocket(|peer| {
        peer.send(Opcode::Text, br#"0{"sid":"a"}"#)?;
        peer.end()
    });
    let again = Server::websocket(|peer| {
        for _ in 0..2 {
            peer.send(Opcode::Text, br#"0{"sid":"a"}"#)?;
        }
        while peer.next()?.opcode != Opcode::Close {}
        Ok(())
    });
    let table: &[(&str, u16, &str, &[&str], &str)] = &[
        ("refused", port, "/admin", &[], r"the server refused the namespace /admin: not \x1b authorized"),
        ("unknown", port, "/nowhere", &[], "the server refused the namespace /nowhere: Invalid namespace"),
        (
            "no Socket.IO",
            echo.web_port(),
            "",
            &["--timeout", "1s"],
            "the server accepted the connection, but not the namespace in time",
        ),
        (
            "opened twice",
            again.port,
            "",
            &[],
            "the server broke the protocol of Socket.IO: a packet came a second time",
        ),
        ("cut", cut.port, "", &[], "the server closed the connection before it accepted the namespace"),
    ];
    for (name, port, namespace, args, want) in table {
        let ended = load(*port, namespace, &[&["-c", "2", "-n", "10"], *args].concat());
        assert_eq!(ended.code, Some(3), "{name}: {}{}", ended.stdout, ended.stderr);
        let text = ended.stdout + &ended.stderr;
        assert!(text.contains(want) && text.contains("sio://127.0.0.1:"), "{name}: {text}");
    }
}
