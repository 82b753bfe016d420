//! Replies: each is compared with its message, and each kind of failure has its counter.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};

use serde_json::Value;

use crate::command::load;
use crate::server::{self, Server};
use crate::{counters, is_consistent};

#[test]
fn every_reply_is_counted() {
    let server = Server::echo();
    let report = load(&server, &["-c", "7", "-n", "1k", "--warmup", "100ms", "--json"]).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 1000");
    let ledger = server.ledger();
    let warmup = report["warmup"]["messages"]["exact"].as_u64().expect("a count");
    assert_eq!(ledger.lines, 1000 + warmup);
    assert_eq!(
        (report["bytes"]["out"].as_u64(), report["bytes"]["in"].as_u64()),
        (Some(ledger.bytes_in), Some(ledger.bytes_out))
    );
    assert_eq!(ledger.connections, 7);
    assert_eq!(report["connect"]["ok"], 7);
    assert_eq!(report["lost"], serde_json::json!({"closed": 0, "reset": 0}));
    assert_eq!(report["schema"], "bucle-load/1");
    assert_eq!(report["target"], format!("tcp://127.0.0.1:{}", server.port));
    assert!(report["first_failure"].is_null() && report["interrupted"] == false && report["exit"] == 0);
}

#[test]
fn every_kind_of_message_is_sent_and_checked() {
    let file = std::env::temp_dir().join(format!("bucle-load-messages-{}", std::process::id()));
    std::fs::write(&file, "uno\ndos\r\n\ntres {seq}").expect("a file can be written");
    let file = file.to_str().expect("a name");
    let table: &[(&str, &[&str])] = &[
        ("text without a line end", &["-m", "ping"]),
        ("a number without a line end", &["-m", "{seq}", "--in-flight", "5"]),
        ("several lines", &["-m", r"a{seq}\nb\xff\n", "--in-flight", "3"]),
        ("filled up", &["--size", "100k"]),
        ("small and filled up", &["--size", "32", "--crlf", "--in-flight", "16"]),
        ("from a file", &["--file", file, "--in-flight", "3"]),
        ("from a file, with other line ends", &["--file", file, "--crlf"]),
        ("on schedule", &["-r", "2k/s", "-m", r"{rand:9}\r\n"]),
    ];
    for (name, args) in table {
        let server = Server::echo();
        let args = [&["-c", "3", "-n", "100", "--json"], *args].concat();
        let report = load(&server, &args).json(0);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 100", "{name}");
    }
    std::fs::remove_file(file).expect("it is there");
}

/// Messages of several megabytes: as a line and without a line end, all alike and all different, and in a fan-out.
#[test]
fn long_messages_are_checked_as_short_ones() {
    let path = |name: &str| std::env::temp_dir().join(format!("bucle-load-long-{name}-{}", std::process::id()));
    let (line, bytes) = (path("line"), path("bytes"));
    std::fs::write(&line, [vec![b'x'; 3_000_000], b"\n".to_vec()].concat()).expect("a file can be written");
    std::fs::write(&bytes, vec![b'x'; 3_000_000]).expect("a file can be written");
    let (line_name, bytes_name) = (line.to_str().expect("a name"), bytes.to_str().expect("a name"));
    let table: &[&[&str]] = &[
        &["--size", "3M"],
        &["-m", "{seq} {rand:3000000}", "--in-flight", "2"],
        &["-m", "{rand:3000000}{conn}"],
        &["--file", line_name, "--in-flight", "2"],
        &["--file", bytes_name],
        &["--size", "2M", "--telnet"],
    ];
    for args in table {
        let server = Server::echo();
        let report = load(&server, &[&["-c", "3", "-n", "6", "--timeout", "60s", "--json"], *args].concat()).json(0);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 6", "{args:?}");
    }
    let room = Server::room(true, |_| 1);
    let args =
        ["-c", "2", "-n", "2", "--size", "2M", "--skip-line", "--expect", "fanout", "--timeout", "60s", "--json"];
    let report = load(&room, &args).json(0);
    assert_eq!(counters(&report), "exact 4");
    std::fs::remove_file(line).and_then(|()| std::fs::remove_file(bytes)).expect("they are there");
}

#[test]
fn a_long_line_is_one_reply() {
    let server = Server::lines(|_, _, _| [vec![b'x'; 3_000_000], b"\n".to_vec()].concat());
    for (args, want, code) in [
        (&["--expect", "line"][..], "exact 2", 0),
        (&["--expect", "regex:^x+$"], "exact 2", 0),
        (&["--expect", "line", "--max-reply", "3000001"], "exact 2", 0),
        (&["--expect", "line", "--max-reply", "3M"], "wrong 2", 4),
        (&[], "wrong 2", 4),
    ] {
        let args = [&["-c", "2", "-n", "2", "--timeout", "60s"], args].concat();
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(code);
        is_consistent(&report);
        assert_eq!(counters(&report), want, "{args:?}");
        if args.contains(&"3M") {
            let reason = "the reply is longer than 3,000,000 bytes, the limit of --max-reply";
            assert_eq!(report["first_failure"]["reason"], reason);
            assert!(load(&server, &args).stdout.contains(reason));
        }
    }
}

#[test]
fn a_message_over_the_limit_is_refused_by_the_plan() {
    let server = Server::echo();
    let script = std::env::temp_dir().join(format!("bucle-load-wide-{}", std::process::id()));
    std::fs::write(&script, "send {rand:2000}\\n\n").expect("a file can be written");
    let name = script.to_str().expect("a name");
    let table: &[(&[&str], &str)] = &[
        (&["--size", "65M"], "may have up to 65,000,000 bytes; the limit of --max-reply is 64,000,000"),
        (&["--size", "1k", "--max-reply", "999"], "may have up to 1,000 bytes; the limit of --max-reply is 999"),
        (&["-m", "{rand:1000}", "--max-reply", "999"], "may have up to 1,000 bytes"),
        (&["--script", name, "--max-reply", "2k"], "may have up to 2,001 bytes"),
    ];
    for (args, want) in table {
        let run = load(&server, &[&["-n", "1"], *args].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(6), ""), "{args:?}: {}", run.stderr);
        assert!(
            run.stderr.contains(want) && run.stderr.contains("  try:  bucle load … --max-reply "),
            "{}",
            run.stderr
        );
    }
    std::fs::remove_file(script).expect("it is there");
    assert_eq!(server.ledger().connections, 0);
}

/// One connection sends forty messages; the server makes a mistake with message 20.
#[test]
fn a_fault_in_one_reply_is_counted_by_its_kind() {
    type Fault = fn(u64, &[u8], &mut Vec<u8>) -> Vec<u8>;
    let table: &[(&str, &str, Fault, &str, &str)] = &[
        (
            "flips a bit",
            "1",
            |seq, line, _| {
                let mut line = line.to_vec();
                if seq == 20 {
                    line[8] ^= 1;
                }
                line
            },
            "exact 39, wrong 1",
            "wrong",
        ),
        (
            "drops it",
            "1",
            |seq, line, _| if seq == 20 { Vec::new() } else { line.to_vec() },
            "exact 39, missing 1",
            "missing",
        ),
        (
            "doubles it",
            "1",
            |seq, line, _| if seq == 20 { [line, line].concat() } else { line.to_vec() },
            "exact 40, duplicate 1",
            "duplicate",
        ),
        (
            "sends it again at the end",
            "1",
            |seq, line, kept| match seq {
                20 => {
                    *kept = line.to_vec();
                    line.to_vec()
                }
                39 => [line, kept].concat(),
                _ => line.to_vec(),
            },
            "exact 40, duplicate 1",
            "duplicate",
        ),
        (
            "sends it after the next one",
            "2",
            |seq, line, kept| match seq {
                20 => {
                    *kept = line.to_vec();
                    Vec::new()
                }
                21 => [line, kept].concat(),
                _ => line.to_vec(),
            },
            "exact 39, out_of_order 1",
            "out_of_order",
        ),
        (
            "merges it with the next one",
            "2",
            |seq, line, kept| match seq {
                20 => {
                    *kept = line[..line.len() - 1].to_vec();
                    Vec::new()
                }
                21 => [kept, line].concat(),
                _ => line.to_vec(),
            },
            "exact 38, wrong 1, missing 1",
            "wrong",
        ),
        (
            "splits it in two",
            "1",
            |seq, line, _| if seq == 20 { [&line[..9], b"\n", &line[9..]].concat() } else { line.to_vec() },
            "exact 39, wrong 1, unexpected 1",
            "wrong",
        ),
        (
            "sends another line after it",
            "1",
            |seq, line, _| if seq == 20 { [line, b"hello\n"].concat() } else { line.to_vec() },
            "exact 40, unexpected 1",
            "unexpected",
        ),
        (
            "sends half a line more at the end",
            "1",
            |seq, line, _| if seq == 39 { [line, b"hel"].concat() } else { line.to_vec() },
            "exact 40, unexpected 1",
            "unexpected",
        ),
        (
            "sends it when it is too late",
            "1",
            |seq, line, kept| match seq {
                20 => {
                    *kept = line.to_vec();
                    Vec::new()
                }
                21 => [kept, line].concat(),
                _ => line.to_vec(),
            },
            "exact 39, missing 1, late 1",
            "missing",
        ),
    ];
    for (name, in_flight, fault, want, kind) in table {
        let server = Server::lines(*fault);
        let args = ["-c", "1", "-n", "40", "--in-flight", in_flight, "--timeout", "5s", "--json"];
        let report = load(&server, &args).json(4);
        is_consistent(&report);
        assert_eq!(counters(&report), *want, "a server that {name}");
        assert_eq!(server.ledger().lines, 40, "a server that {name}");
        assert_eq!(report["first_failure"]["kind"], *kind, "a server that {name}");
        assert_eq!(report["first_failure"]["conn"], 0);
    }
}

/// The server swaps the replies of two connections to their messages 5.
#[test]
fn swapped_replies_are_wrong() {
    type Waiting = Vec<(TcpStream, Vec<u8>)>;
    let waiting: Arc<Mutex<Waiting>> = Arc::default();
    let server = Server::start(move |stream, ledger| {
        let waiting = waiting.clone();
        server::each_line(&stream, ledger, move |stream, seq, line| {
            if seq != 5 {
                return stream.write_all(line);
            }
            let mut waiting = waiting.lock().expect("no thread panics");
            waiting.push((stream.try_clone()?, line.to_vec()));
            if let [(one, its), (other, others)] = &mut waiting[..] {
                one.write_all(others)?;
                other.write_all(its)?;
            }
            Ok(())
        });
    });
    let report = load(&server, &["-c", "2", "-n", "40", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 38, wrong 2");
    let first = &report["first_failure"];
    assert_eq!((first["kind"].as_str(), first["seq"].as_u64()), (Some("wrong"), Some(5)));
    let (conn, received) = (first["conn"].as_u64().expect("a number"), first["received"].as_str().expect("text"));
    assert!(received.starts_with(&format!("{}:5 ", 1 - conn)) && received.ends_with("\\x0a"), "{received}");
}

#[test]
fn replies_that_never_come_are_missing() {
    let server = Server::lines(|_, _, _| Vec::new());
    let report = load(&server, &["-c", "3", "-n", "5", "--timeout", "1s", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "missing 5");
    assert_eq!(server.ledger().lines, 5, "the next message is sent after a missing reply");
    assert!(report["latency_ns"]["response"]["p50"].is_null() && report["rate"] == 0.0);
}

#[test]
fn a_message_that_the_server_never_reads_is_unsent() {
    let server = Server::start(|stream, _| {
        let (keep, wait) = mpsc::channel::<()>();
        // The server keeps the connection open without reading until this process ends.
        std::mem::forget((stream, keep));
        drop(wait);
    });
    let report = load(&server, &["-c", "1", "-n", "1", "--size", "64M", "--timeout", "300ms", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "unsent 1");
    assert_eq!(report["messages"]["sent"], 0);
    assert_eq!(report["first_failure"]["kind"], "unsent");
    assert!(report["bytes"]["out"].as_u64() > Some(0));
}

#[test]
fn replies_are_compared_with_a_line_a_prefix_or_a_pattern() {
    let table: &[(&str, &[u8], i32, &str)] = &[
        ("line", b"whatever\n", 0, "exact 20"),
        ("prefix:OK", b"OK then\r\n", 0, "exact 20"),
        ("prefix:OK", b"ERR\n", 4, "wrong 20"),
        ("regex:^[0-9]+ ok$", b"200 ok\r\n", 0, "exact 20"),
        ("regex:^[0-9]+ ok$", b"no\n", 4, "wrong 20"),
        ("none", b"no matter what", 0, ""),
    ];
    for (mode, answer, exit, want) in table {
        let server = Server::start(|stream, ledger| {
            server::each_line(&stream, ledger, |stream, _, _| stream.write_all(answer));
        });
        let report = load(&server, &["-c", "2", "-n", "20", "--expect", mode, "--json"]).json(*exit);
        is_consistent(&report);
        assert_eq!(counters(&report), *want, "{mode}");
        assert_eq!(report["messages"]["sent"], 20);
        assert_eq!((&report["expect"], &report["checked"]), (&Value::from(*mode), &Value::from(*mode != "none")));
    }
}

#[test]
fn unchecked_messages_have_a_rate() {
    let server = Server::echo();
    let args = ["-c", "2", "-d", "2s", "--warmup", "100ms", "--expect", "none"];
    let run = load(&server, &args);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let row = |name: &str| run.stdout.lines().find(|line| line.starts_with(&format!("  {name} "))).unwrap_or_default();
    assert!(row("rate").contains(" messages sent a second over "), "{}", run.stdout);
    assert!(row("warm-up").ends_with(" sent, counted separately") && !run.stdout.contains("exact"), "{}", run.stdout);
}

/// The run would take an hour.
#[test]
fn fail_fast_ends_the_run_at_the_first_failure() {
    type Fault = fn(u64, &[u8], &mut Vec<u8>) -> Vec<u8>;
    let table: &[(&str, Fault)] = &[
        ("wrong", |seq, line, _| if seq == 20 { b"no\n".to_vec() } else { line.to_vec() }),
        ("missing", |seq, line, _| if seq == 20 { Vec::new() } else { line.to_vec() }),
        ("duplicate", |seq, line, _| if seq == 20 { [line, line].concat() } else { line.to_vec() }),
        ("unexpected", |seq, line, _| if seq == 20 { [line, b"hello\n"].concat() } else { line.to_vec() }),
    ];
    for (kind, fault) in table {
        let table: [&[&str]; 4] = [
            &["--warmup", "0"],
            &["--warmup", "1h"],
            &["--warmup", "0", "--procs", "2"],
            &["-r", "500", "--warmup", "0"],
        ];
        // On schedule the next message may have been sent, and the surplus line is the wrong reply to it.
        let count = if *kind == "unexpected" { 3 } else { 4 };
        for args in &table[..count] {
            let server = Server::lines(*fault);
            let args = [&["-c", "2", "-d", "1h", "--timeout", "2s", "--fail-fast"], *args].concat();
            let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
            is_consistent(&report);
            assert_eq!(report["ended_early"]["why"], "fail_fast", "{kind} {args:?}: {report}");
            assert_eq!((&report["first_failure"]["kind"], &report["interrupted"]), (&(*kind).into(), &false.into()));
            let failed = |phase: &Value| phase[*kind].as_u64().expect("a count");
            assert!(
                failed(&report["messages"]) + failed(&report["warmup"]["messages"]) > 0,
                "{kind} {args:?}: {report}"
            );
        }
    }
    let report = load(&Server::echo(), &["-c", "2", "-n", "100", "--fail-fast", "--json"]).json(0);
    assert_eq!((counters(&report).as_str(), &report["ended_early"]), ("exact 100", &Value::Null));
}

/// The server does not reply to the first message of a connection. Later replies may be late ones to it, unless the
/// messages differ.
#[test]
fn replies_that_may_be_late_ones_are_reported() {
    let server = Server::lines(|seq, line, _| if seq == 0 { Vec::new() } else { line.to_vec() });
    let table: &[(&[&str], Option<&str>)] = &[
        (&["--expect", "line"], Some("because with --expect line a reply does not name its message: ")),
        (&["--expect", "prefix:0:"], Some("because with --expect prefix:0: a reply does not name its message: ")),
        (&["-m", r"hola\n"], Some("because the messages are equal: ")),
        (&[], None),
    ];
    for (args, want) in table {
        let args = [&["-c", "1", "-n", "4", "--timeout", "5s"], *args].concat();
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 3, missing 1");
        let hint = report["hints"][0].as_str();
        match want {
            Some(want) => {
                assert!(hint.is_some_and(|it| it.starts_with("3 of the replies may ") && it.contains(want)), "{hint:?}")
            }
            None => assert_eq!(hint, None),
        }
        let run = load(&server, &args);
        assert_eq!(
            run.stdout.contains("\n  3 of the replies may belong to an earlier message, "),
            want.is_some(),
            "{}",
            run.stdout
        );
    }
}
