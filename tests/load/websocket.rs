//! `ws://` targets: the same checks as for TCP, and frames, close codes and the handshake.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use bucle::websocket::frame::Opcode;
use serde_json::{Value, json};

use crate::command::{Ended, Run, Served};
use crate::frames::{Frame, Peer};
use crate::server::Server;
use crate::{counters, is_consistent};

#[track_caller]
fn load(port: u16, args: &[&str]) -> Ended {
    let target = format!("ws://127.0.0.1:{port}/path?a=b");
    Run::start(&[&[target.as_str()], args].concat()).end()
}

/// The reason of the first failure.
fn reason(report: &Value) -> &str {
    report["first_failure"]["reason"].as_str().unwrap_or("none")
}

#[test]
fn bucle_serve_echo_passes_every_model() {
    let file = std::env::temp_dir().join(format!("bucle-load-ws-messages-{}", std::process::id()));
    let script = std::env::temp_dir().join(format!("bucle-load-ws-script-{}", std::process::id()));
    std::fs::write(&file, "uno\n\ndos {seq}\r\ntr\u{e9}s").expect("a file can be written");
    std::fs::write(&script, "send hola {conn}\nexpect la {conn}\nsend adi\u{f3}s\nexpect adi\u{f3}s\nclose\n")
        .expect("a file can be written");
    let (file, script) = (file.to_str().expect("a name"), script.to_str().expect("a name"));
    let table: &[(&str, &[&str])] = &[
        ("the default message", &[]),
        ("several in flight", &["--in-flight", "16"]),
        ("binary", &["--binary", "-m", r"{seq}\xff\x00"]),
        ("a line end is kept", &["-m", r"hola\n"]),
        ("empty messages too", &["--file", file, "--in-flight", "3"]),
        ("lengths of every form", &["--size", "125"]),
        ("126 bytes", &["--size", "126", "--in-flight", "2"]),
        ("66,000 bytes", &["--size", "66k"]),
        ("on schedule", &["-r", "500"]),
        ("churn", &["--churn"]),
        ("a script", &["--script", script]),
        ("two processes", &["--procs", "2"]),
        ("any message", &["--expect", "line"]),
        ("a prefix", &["--expect", "prefix:ho", "-m", "hola {seq}"]),
        ("a regex", &["--expect", "regex:^h.*[0-9]$", "-m", "hola {seq}"]),
        ("reconnect, with nothing to reconnect", &["--reconnect", "--fail-fast"]),
    ];
    let served = Served::start(&["echo", "--port", "0", "--http", "0"]);
    for (name, args) in table {
        let report = load(served.web_port(), &[&["-c", "3", "-n", "60", "--json"], *args].concat()).json(0);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 60", "{name}");
        assert_eq!(report["protocol"], "websocket", "{name}");
        assert_eq!(report["lost"], json!({"closed": 0, "reset": 0}), "{name}");
    }
    let report = load(served.web_port(), &["-c", "5", "--hold", "-d", "50ms", "--json"]).json(0);
    assert_eq!(report["connect"]["ok"], 5);
    for name in [file, script] {
        std::fs::remove_file(name).expect("it is there");
    }
}

fn echo(peer: &mut Peer, frame: &Frame) -> io::Result<()> {
    peer.send(frame.opcode, &frame.payload)
}

#[test]
fn every_fault_of_a_reply_has_a_name() {
    type Answer = fn(&mut Peer, u64, &Frame) -> io::Result<()>;
    // The server makes its mistake with the second message, of three if the arguments do not say.
    let table: &[(&str, &[&str], Answer, &str, &str)] = &[
        (
            "a wrong byte",
            &[],
            |peer, _, frame| peer.send(frame.opcode, &[&frame.payload[1..], b"!"].concat()),
            "exact 2, wrong 1",
            "none",
        ),
        (
            "a byte more",
            &["-m", "{seq}"],
            |peer, _, frame| peer.send(frame.opcode, &[&frame.payload[..], b"0"].concat()),
            "exact 2, wrong 1",
            "none",
        ),
        (
            "the wrong type",
            &[],
            |peer, _, frame| peer.send(Opcode::Binary, &frame.payload),
            "exact 2, wrong 1",
            "a binary message came; a reply must be a text message, as its message is",
        ),
        (
            "the wrong type for a binary message",
            &["--binary", "--expect", "line"],
            |peer, _, frame| peer.send(Opcode::Text, &frame.payload),
            "exact 2, wrong 1",
            "a text message came; a reply must be a binary message, as its message is",
        ),
        (
            "two replies",
            &[],
            |peer, _, frame| echo(peer, frame).and_then(|()| echo(peer, frame)),
            "exact 3, duplicate 1",
            "none",
        ),
        (
            "two messages in place of one",
            &["-m", "hola", "-n", "2"],
            |peer, _, frame| peer.send(frame.opcode, b"ho").and_then(|()| peer.send(frame.opcode, b"la")),
            "exact 1, wrong 1, unexpected 1",
            "none",
        ),
        (
            "a masked frame",
            &[],
            |peer, _, _| peer.stream.write_all(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
            "exact 1, wrong 1, unsent 1",
            "the server broke a rule: 1002 (protocol error): a frame from a server is masked",
        ),
        (
            "a reserved opcode",
            &[],
            |peer, _, _| peer.stream.write_all(b"\x83\x00"),
            "exact 1, wrong 1, unsent 1",
            "the server broke a rule: 1002 (protocol error): the opcode is reserved",
        ),
        (
            "a compressed message",
            &[],
            |peer, _, _| peer.stream.write_all(b"\xc1\x00"),
            "exact 1, wrong 1, unsent 1",
            "the server broke a rule: 1002 (protocol error): RSV1 is set, but compression was not agreed on",
        ),
        (
            "text that is no UTF-8",
            &[],
            |peer, _, _| peer.send(Opcode::Text, b"\xff"),
            "exact 1, wrong 1, unsent 1",
            "the server broke a rule: 1007 (invalid payload): the text message is not valid UTF-8",
        ),
        (
            "a reply over the limit",
            &["--max-reply", "100"],
            |peer, _, _| peer.send(Opcode::Text, &[b'x'; 101]),
            "exact 1, wrong 1, unsent 1",
            "the reply is longer than 100 bytes, the limit of --max-reply",
        ),
        (
            "a close code that is not allowed",
            &[],
            |peer, _, _| peer.close(b"\x03\xed"),
            "exact 1, wrong 1, unsent 1",
            "the server broke a rule: 1002 (protocol error): the close code is not allowed in a frame",
        ),
        (
            "an early close",
            &[],
            |peer, _, _| peer.close(b"\x03\xf3out of \x1b"),
            "exact 1, missing 1, unsent 1",
            r"the server closed the connection before the end: 1011 (internal error): out of \x1b",
        ),
        (
            "an end without a close frame",
            &[],
            |peer, _, _| peer.end(),
            "exact 1, missing 1, unsent 1",
            "the server ended the connection without a close frame",
        ),
        ("no answer", &["--timeout", "5s"], |_, _, _| Ok(()), "exact 2, missing 1", "none"),
    ];
    for (name, args, answer, want, why) in table {
        let answer = *answer;
        let server = Server::messages(move |peer, seq, frame| match seq {
            1 => answer(peer, seq, frame),
            _ => echo(peer, frame),
        });
        let count = if args.contains(&"-n") { &[][..] } else { &["-n", "3"] };
        let report = load(server.port, &[&["-c", "1", "--json"], count, *args].concat()).json(4);
        is_consistent(&report);
        assert_eq!(counters(&report), *want, "{name}");
        assert_eq!(reason(&report), *why, "{name}");
    }
}

#[test]
fn replies_in_any_shape_are_right() {
    type Answer = fn(&mut Peer, &Frame) -> io::Result<()>;
    let table: &[(&str, Answer)] = &[
        ("in fragments, with a ping between them", |peer, frame| {
            let (one, other) = frame.payload.split_at(frame.payload.len() / 2);
            peer.send_frame(false, frame.opcode, one)?;
            peer.send(Opcode::Ping, b"between")?;
            peer.send_frame(false, Opcode::Continuation, b"")?;
            peer.send_frame(true, Opcode::Continuation, other)?;
            let pong = peer.next()?;
            assert_eq!((pong.opcode, &pong.payload[..]), (Opcode::Pong, &b"between"[..]));
            Ok(())
        }),
        ("after a ping is answered, and with a pong", |peer, frame| {
            peer.send(Opcode::Pong, b"")?;
            peer.send(Opcode::Ping, &[b'x'; 125])?;
            let pong = peer.next()?;
            assert_eq!((pong.opcode, &pong.payload[..]), (Opcode::Pong, &[b'x'; 125][..]));
            echo(peer, frame)
        }),
        ("byte by byte", |peer, frame| {
            let mut wire = vec![0x81, frame.payload.len() as u8];
            wire.extend_from_slice(&frame.payload);
            wire.chunks(1).try_for_each(|byte| peer.stream.write_all(byte))
        }),
    ];
    for (name, answer) in table {
        let answer = *answer;
        let server = Server::messages(move |peer, _, frame| answer(peer, frame));
        let report = load(server.port, &["-c", "2", "-n", "20", "--json"]).json(0);
        is_consistent(&report);
        assert_eq!((counters(&report).as_str(), &report["close_codes"]), ("exact 20", &json!({})), "{name}");
    }
}

/// Pings and the close handshake belong to the protocol, so they work without messages too.
#[test]
fn idle_connections_answer_pings() {
    let pongs = Arc::<Mutex<u64>>::default();
    let counter = Arc::clone(&pongs);
    let server = Server::websocket(move |peer| {
        peer.send(Opcode::Ping, b"there?")?;
        assert_eq!(peer.next()?.opcode, Opcode::Pong);
        *counter.lock().expect("no thread panics") += 1;
        let close = peer.next()?;
        assert_eq!((close.opcode, &close.payload[..]), (Opcode::Close, &b"\x03\xe8"[..]));
        peer.close(b"\x03\xe8")
    });
    let report = load(server.port, &["-c", "4", "--hold", "-d", "1s", "--json"]).json(0);
    assert_eq!((&report["close_codes"], &report["lost"]["closed"]), (&json!({}), &json!(0)));
    assert_eq!(*pongs.lock().expect("no thread panics"), 4);
}

#[test]
fn every_frame_has_a_new_mask() {
    let masks = Arc::<Mutex<Vec<[u8; 4]>>>::default();
    let all = Arc::clone(&masks);
    let server = Server::messages(move |peer, _, frame| {
        echo(peer, frame)?;
        all.lock().expect("no thread panics").extend(peer.masks.drain(..));
        Ok(())
    });
    let report = load(server.port, &["-c", "2", "-n", "200", "-m", "hola", "--json"]).json(0);
    assert_eq!(counters(&report), "exact 200");
    let masks = masks.lock().expect("no thread panics");
    // Two of 200 random masks are equal once in 200,000 runs; more of them practically never.
    assert!(masks.len() == 200 && masks.iter().collect::<HashSet<_>>().len() >= 198, "{masks:?}");
}

#[test]
fn the_end_of_a_connection_is_checked() {
    type End = fn(&mut Peer) -> io::Result<()>;
    let table: &[(&str, End, i32, Value, &str)] = &[
        ("the same code", |peer| peer.close(b"\x03\xe8"), 0, json!({}), "none"),
        ("another code", |peer| peer.close(b"\x03\xe9bye"), 0, json!({"1001": 2}), "none"),
        ("no code", |peer| peer.close(b""), 0, json!({"1005": 2}), "none"),
        ("no close frame", Peer::end, 4, json!({"1006": 2}), "the server ended the connection without a close frame"),
        (
            "a close frame that is wrong",
            |peer| peer.close(b"\x03"),
            4,
            json!({}),
            "the server broke a rule: 1002 (protocol error): a close frame has a payload of one byte",
        ),
    ];
    for (name, end, code, codes, why) in table {
        let end = *end;
        let server = Server::websocket(move |peer| {
            loop {
                let frame = peer.next()?;
                if frame.opcode == Opcode::Close {
                    assert_eq!(frame.payload, b"\x03\xe8");
                    return end(peer);
                }
                echo(peer, &frame)?;
            }
        });
        let report = load(server.port, &["-c", "2", "-n", "10", "--json"]).json(*code);
        is_consistent(&report);
        assert_eq!(report["close_codes"], *codes, "{name}");
        assert_eq!((report["messages"]["exact"].as_u64(), reason(&report)), (Some(10), *why), "{name}");
    }
}

#[test]
fn a_close_before_the_end_is_a_failure_but_a_restart_is_not() {
    // Each connection gets one reply and a close frame behind it.
    let closing = |payload: &'static [u8]| {
        Server::messages(move |peer, _, frame| {
            echo(peer, frame)?;
            peer.close(payload)
        })
    };
    type Row<'a> = (&'a str, &'static [u8], &'a [&'a str], i32, &'a str);
    let table: &[Row<'_>] = &[
        ("without --reconnect", b"\x03\xe9", &[], 4, "exact 1, unexpected 1"),
        ("with --reconnect", b"\x03\xe9", &["--reconnect"], 1, "exact 4"),
        ("an error, with --reconnect", b"\x03\xf3", &["--reconnect"], 4, "exact 4, unexpected 4"),
    ];
    for (name, payload, args, code, want) in table {
        let server = closing(payload);
        // The messages come so seldom that none is unanswered when the close frame comes.
        let args = [&["-c", "1", "-r", "2", "-d", "2s", "--warmup", "0", "--json"], *args].concat();
        let ended = load(server.port, &args);
        let report = ended.json(*code);
        is_consistent(&report);
        let without_unsent = counters(&report).replace(", unsent 3", "");
        assert_eq!(without_unsent, *want, "{name}: {report}");
    }
    let server = Server::websocket(|peer| peer.close(b"\x03\xf3"));
    let ended = load(server.port, &["-c", "2", "--hold", "-d", "10s"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stdout);
    for want in ["2 of 1011 (internal error)", "before the end: 1011", "a connection did not behave as it should"] {
        assert!(ended.stdout.contains(want), "{want}: {}", ended.stdout);
    }
    // A churn expects an end after each reply, so it does not matter which side closes first.
    let report = load(closing(b"\x03\xe8").port, &["--churn", "-c", "2", "-n", "20", "--json"]).json(0);
    assert_eq!((counters(&report).as_str(), &report["lost"]["closed"]), ("exact 20", &json!(0)));
}

#[test]
fn a_handshake_that_fails_is_a_failed_connect() {
    type Serve = fn(&mut Peer) -> io::Result<()>;
    let table: &[(&str, Serve, Value, &str)] = &[
        (
            "refused",
            |peer| {
                peer.read_request()?;
                let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 22\r\nRetry-After: 1\r\n\r\n";
                peer.stream.write_all(format!("{head}the server is full\nbye").as_bytes())
            },
            json!({"HTTP 503": 3}),
            "the server refused the upgrade: 503 Service Unavailable: the server is full",
        ),
        (
            "a wrong accept",
            |peer| peer.shake_hands(|accept| accept.to_lowercase()).and_then(|()| peer.end()),
            json!({"E_BAD_RESPONSE": 3}),
            "the server's answer to the handshake is wrong: the server's Sec-WebSocket-Accept does not fit the key",
        ),
        (
            "no answer",
            |peer| peer.read_request().and_then(|_| peer.read_request()).map(drop),
            json!({}),
            "the server accepted the connection, but did not answer the handshake in time",
        ),
        (
            "an end",
            |peer| peer.read_request().and_then(|_| peer.end()),
            json!({"E_BAD_RESPONSE": 3}),
            "the server closed the connection without an answer to the handshake",
        ),
    ];
    for (name, serve, errno, why) in table {
        let serve = *serve;
        let server = Server::start(move |stream, _| {
            let _ = serve(&mut Peer::new(stream));
        });
        let args = ["-c", "3", "-n", "3", "--timeout", "400ms"];
        let report = load(server.port, &[&args[..], &["--json"]].concat()).json(3);
        is_consistent(&report);
        assert_eq!((&report["connect"]["errno"], &report["connect"]["refusal"]), (errno, &json!(why)), "{name}");
        let text = load(server.port, &args);
        let want = format!("cannot connect to ws://127.0.0.1:{}/path?a=b: {why}", server.port);
        assert!(text.code == Some(3) && text.stdout.contains(&want), "{name}: {}", text.stdout);
    }
    let port = Server::echo().closed_port();
    let ended = load(port, &["-n", "1"]);
    let want = format!("bucle serve echo --http 127.0.0.1:{port}");
    assert!(ended.code == Some(3) && ended.stdout.contains(&want), "{}", ended.stdout);
}

/// A refused connection among others: exit 1, and the refusal is shown.
#[test]
fn some_handshakes_may_fail() {
    let count = Mutex::new(0);
    let server = Server::start(move |stream, _| {
        let number = {
            let mut count = count.lock().expect("no thread panics");
            *count += 1;
            *count
        };
        let mut peer = Peer::new(stream);
        if number == 2 {
            let _ = peer.read_request();
            let _ = peer.stream.write_all(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        let _ = peer.shake_hands(|accept| accept);
        while let Ok(frame) = peer.next() {
            let _ = match frame.opcode {
                Opcode::Close => peer.close(&frame.payload),
                _ => echo(&mut peer, &frame),
            };
        }
    });
    let ended = load(server.port, &["-c", "3", "-n", "30"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    for want in ["2 of 3 made", "1 HTTP 503", "the server refused the upgrade: 503 Full", "30 exact of 30"] {
        assert!(ended.stdout.contains(want), "{want}: {}", ended.stdout);
    }
}

#[test]
fn a_greeting_is_one_message() {
    let server = Server::websocket(|peer| {
        // It comes in one write with the handshake's answer, or after it.
        peer.send(Opcode::Binary, b"welcome\nto the server")?;
        loop {
            match peer.next()? {
                frame if frame.opcode == Opcode::Close => return peer.close(&frame.payload),
                frame => echo(peer, &frame)?,
            }
        }
    });
    let report = load(server.port, &["-c", "3", "-n", "30", "--skip-line", "--json"]).json(0);
    assert_eq!(counters(&report), "exact 30");
    let ended = load(server.port, &["-c", "3", "-n", "30"]);
    assert!(ended.code == Some(4) && ended.stdout.contains("add --skip-line"), "{}", ended.stdout);
}

#[test]
fn a_fan_out_counts_one_delivery_per_receiver() {
    let room = |copies: fn(usize) -> usize| {
        let members = Arc::<Mutex<Vec<TcpStream>>>::default();
        Server::websocket(move |peer| {
            members.lock().expect("no thread panics").push(peer.stream.try_clone()?);
            loop {
                let frame = peer.next()?;
                if frame.opcode == Opcode::Close {
                    return peer.close(&frame.payload);
                }
                let line = [b"ana> ", &frame.payload[..]].concat();
                let is_special = frame.payload.starts_with(b"1:0 ");
                for (nth, member) in members.lock().expect("no thread panics").iter().enumerate() {
                    let mut member = Peer::new(member.try_clone()?);
                    for _ in 0..if is_special { copies(nth) } else { 1 } {
                        member.send(Opcode::Text, &line)?;
                    }
                }
            }
        })
    };
    type Row = (&'static str, fn(usize) -> usize, i32, &'static str);
    let table: &[Row] = &[
        ("reaches every connection", |_| 1, 0, "exact 80"),
        ("omits one", |nth| usize::from(nth != 2), 4, "exact 79, missing 1"),
        ("doubles one", |nth| if nth == 2 { 2 } else { 1 }, 4, "exact 80, duplicate 1"),
    ];
    for (name, copies, code, want) in table {
        let args = ["-c", "4", "-n", "20", "--expect", "fanout", "--timeout", "5s", "--json"];
        let report = load(room(*copies).port, &args).json(*code);
        is_consistent(&report);
        assert_eq!(counters(&report), *want, "a room that {name}");
    }
}

#[test]
fn arguments_that_do_not_fit_are_explained() {
    let table: &[(&[&str], &str)] = &[
        (&["wss://localhost"], "so use ws:// instead of wss://\n  try:  bucle load ws://localhost\n"),
        (&["ws://localhost", "--telnet"], "\n  try:  bucle load ws://localhost/      without --telnet\n"),
        (&["ws://localhost", "-m", r"\xff"], "\n  try:  bucle load ws://localhost/ --binary …\n"),
        (&[":8080", "--binary"], "the target is plain TCP\n  try:  bucle load ws://HOST:PORT/PATH --binary\n"),
        (
            &["ws://localhost", "--expect", "fanout", "-m", "hola"],
            "\n  try:  bucle load … --expect fanout -m '{conn}:{seq} hola'\n",
        ),
    ];
    for (args, want) in table {
        let ended = Run::start(args).end();
        assert!(ended.code == Some(2) && ended.stdout.is_empty(), "{args:?}: {:?} {}", ended.code, ended.stdout);
        assert!(ended.stderr.contains(want), "{args:?}: {}", ended.stderr);
    }
    let plan = Run::start(&["ws://localhost/a", "--dry-run"]).end();
    assert!(plan.code == Some(0) && plan.stdout.contains("to ws://localhost/a, "), "{}", plan.stdout);
}
