//! `bucle load` against servers that keep a ledger of their own: what the report says has to be what they did.
//!
//! Nothing here depends on how fast the machine is: times are only ever compared with delays that were really waited.
#![cfg(all(unix, feature = "cli"))]

#[path = "load/command.rs"]
mod command;
#[path = "load/page.rs"]
mod page;
#[path = "load/server.rs"]
mod server;
#[path = "load/terminal.rs"]
mod terminal;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use command::{Run, Served, load};
use server::Server;

/// The counters of a report that are not zero, but for `sent` and `expected`.
fn counters(report: &Value) -> String {
    let messages = report["messages"].as_object().expect("an object");
    let is_told = |name: &str, count: &Value| !matches!(name, "sent" | "expected") && *count != 0;
    let told = messages.iter().filter(|(name, count)| is_told(name, count));
    told.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// What holds in every report.
#[track_caller]
fn is_consistent(report: &Value) {
    for messages in [&report["messages"], &report["warmup"]["messages"]] {
        let count = |name: &str| messages[name].as_u64().expect("a count");
        let answered: u64 = ["exact", "wrong", "missing", "out_of_order", "unfinished"].into_iter().map(count).sum();
        assert_eq!(count("expected"), answered, "{messages}");
    }
    for name in ["response", "service"] {
        let latency = &report["latency_ns"][name];
        let buckets: Vec<(u64, u64)> = latency["histogram"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|bucket| (bucket[0].as_u64().expect("ns"), bucket[1].as_u64().expect("a count")))
            .collect();
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(buckets.iter().map(|bucket| bucket.1).sum::<u64>(), report["messages"]["exact"]);
        assert_eq!(latency["max"].as_u64(), buckets.last().map(|bucket| bucket.0));
    }
    let connect = &report["connect"];
    let count = |name: &str| connect[name].as_u64().expect("a count");
    let errno: u64 = connect["errno"].as_object().expect("an object").values().filter_map(Value::as_u64).sum();
    assert_eq!(count("attempted"), count("ok") + count("refused") + count("timeout") + errno);
}

/// How many response times were at least so long.
fn responses_from(report: &Value, time: Duration) -> u64 {
    let buckets = report["latency_ns"]["response"]["histogram"].as_array().expect("a list");
    let is_long = |bucket: &&Value| u128::from(bucket[0].as_u64().expect("ns")) >= time.as_nanos();
    buckets.iter().filter(is_long).filter_map(|bucket| bucket[1].as_u64()).sum()
}

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
fn messages_of_every_kind() {
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

/// One connection, forty messages; the server does something else with the message numbered 20.
#[test]
fn what_a_server_does_to_one_reply() {
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
            "says it again at the end",
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
            "says it after the next one",
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
            "says something of its own",
            "1",
            |seq, line, _| if seq == 20 { [line, b"hello\n"].concat() } else { line.to_vec() },
            "exact 40, unexpected 1",
            "unexpected",
        ),
        (
            "says half a line more at the end",
            "1",
            |seq, line, _| if seq == 39 { [line, b"hel"].concat() } else { line.to_vec() },
            "exact 40, unexpected 1",
            "unexpected",
        ),
        (
            "says it when it is too late",
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
        let args = ["-c", "1", "-n", "40", "--in-flight", in_flight, "--timeout", "1s", "--json"];
        let report = load(&server, &args).json(4);
        is_consistent(&report);
        assert_eq!(counters(&report), *want, "a server that {name}");
        assert_eq!(server.ledger().lines, 40, "a server that {name}");
        assert_eq!(report["first_failure"]["kind"], *kind, "a server that {name}");
        assert_eq!(report["first_failure"]["conn"], 0);
    }
}

/// The replies of two connections to their messages numbered 5 go to the other one.
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
            let mut waiting = waiting.lock().expect("nobody panics");
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
fn a_server_that_never_answers() {
    let server = Server::lines(|_, _, _| Vec::new());
    let report = load(&server, &["-c", "3", "-n", "5", "--timeout", "200ms", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "missing 5");
    assert_eq!(server.ledger().lines, 5, "a missing reply gives its place to the next message");
    assert!(report["latency_ns"]["response"]["p50"].is_null() && report["rate"] == 0.0);
}

#[test]
fn a_server_that_never_reads() {
    let server = Server::start(|stream, _| {
        let (keep, wait) = mpsc::channel::<()>();
        // Until the client is gone, which a write to it would tell; here the process' end does.
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
fn a_server_that_is_not_there() {
    let port = Server::echo().port_of_nobody();
    let run = Run::start(&[&format!(":{port}"), "-c", "4", "-d", "5s", "--json"]).end();
    let report = run.json(3);
    is_consistent(&report);
    assert_eq!((&report["connect"]["attempted"], &report["connect"]["refused"]), (&4.into(), &4.into()));
    let run = Run::start(&["no-such-host.invalid:80", "-c", "2", "--json"]).end();
    assert_eq!(run.json(3)["connect"]["errno"]["ENOTFOUND"], 2);
    let run = Run::start(&[&format!(":{port}"), "--churn", "-n", "3", "--json"]).end();
    assert_eq!(run.json(3)["connect"]["refused"], 3);
}

#[test]
fn why_there_is_no_connection_is_told_as_by_connect() {
    let port = Server::echo().port_of_nobody();
    let here = format!("127.0.0.1:{port}");
    for (target, code) in [(here.as_str(), "ECONNREFUSED"), ("no-such-host.invalid:80", "ENOTFOUND")] {
        let run = Run::start(&[target, "-c", "3", "-n", "1"]).end();
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        let sentence = match code {
            "ENOTFOUND" => "there is no host with that name",
            _ => "no server is listening there",
        };
        for want in [&format!("cannot connect to {target}: {sentence} ({code})"), "    try:  ", "0 of 3 made"] {
            assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
        }
        for bad in ["a second", "the generator", "messages", "bucle connect"] {
            assert!(!run.stdout.contains(bad), "{bad}: {}", run.stdout);
        }
    }
}

#[test]
fn connections_that_the_server_closes() {
    let server = Server::start(|stream, _| drop(stream));
    let report = load(&server, &["-c", "3", "--hold", "-d", "20s", "--json"]).json(1);
    is_consistent(&report);
    assert_eq!(report["lost"]["closed"], 3, "when none is left the run ends at once");
    assert_eq!((report["model"].as_str(), report["checked"].as_bool()), (Some("hold"), Some(false)));
}

/// A reset at once could hit a connect; so it comes after the first message.
#[test]
fn connections_that_the_server_resets() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |_, _, _| Err(std::io::Error::other("enough")));
        let socket = socket2::Socket::from(stream);
        socket.set_linger(Some(Duration::ZERO)).expect("it is open");
    });
    let report = load(&server, &["-c", "3", "-d", "20s", "--warmup", "0", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "missing 3");
    assert_eq!(report["lost"]["reset"], 3);
}

/// It answers five and closes instead of answering the sixth.
#[test]
fn a_connection_lost_in_mid_conversation() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, seq, line| match seq {
            5 => stream.shutdown(std::net::Shutdown::Both),
            _ => stream.write_all(line),
        });
    });
    let report = load(&server, &["-c", "3", "-d", "20s", "--warmup", "0", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 15, missing 3");
    assert_eq!(report["lost"]["closed"], 3);
}

#[test]
fn lines_of_a_kind() {
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
fn a_fan_out_is_counted_by_receiver() {
    // What the room does with the first message of the connection 1.
    type Row<'a> = (&'a str, bool, fn(usize) -> usize, &'a str, i32, &'a str);
    let table: &[Row<'_>] = &[
        ("reaches everybody", true, |_| 1, "fanout", 0, "exact 80"),
        ("reaches the others", false, |_| 1, "fanout:others", 0, "exact 60"),
        ("omits one", true, |nth| usize::from(nth != 2), "fanout", 4, "exact 79, missing 1"),
        ("doubles one", true, |nth| if nth == 2 { 2 } else { 1 }, "fanout", 4, "exact 80, duplicate 1"),
    ];
    for (name, to_itself, copies, mode, exit, want) in table {
        let server = Server::room(*to_itself, *copies);
        let args = ["-c", "4", "-n", "20", "--expect", mode, "--skip-line", "--timeout", "1s", "--json"];
        let report = load(&server, &args).json(*exit);
        is_consistent(&report);
        assert_eq!(counters(&report), *want, "a room that {name}");
        assert_eq!(report["messages"]["sent"], 20);
    }
}

/// One of two members leaves: the other one talks on, to nobody.
#[test]
fn a_fan_out_to_nobody_ends_too() {
    let members = Arc::new(Mutex::new(0));
    let server = Server::start(move |mut stream, ledger| {
        stream.write_all(b"hello\n").expect("the client reads");
        let number = {
            let mut members = members.lock().expect("nobody panics");
            *members += 1;
            *members
        };
        server::each_line(&stream, ledger, |_, _, _| match number {
            1 => Err(std::io::Error::other("enough")),
            _ => Ok(()),
        });
    });
    let args = ["-c", "2", "-n", "50", "--expect", "fanout:others", "--skip-line", "--timeout", "500ms", "--json"];
    let report = load(&server, &args).json(4);
    is_consistent(&report);
    assert_eq!(report["messages"]["sent"], 50);
    assert_eq!(report["lost"]["closed"], 1);
}

#[test]
fn churn_makes_a_connection_a_message() {
    let server = Server::echo();
    let report = load(&server, &["-c", "4", "-n", "50", "--churn", "--json"]).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 50");
    assert_eq!(report["connect"]["attempted"], 50);
    assert_eq!((server.ledger().connections, server.ledger().lines), (50, 50));
    assert_eq!(report["model"], "churn");
}

#[test]
fn a_greeting_is_skipped() {
    let server = Server::start(|mut stream, ledger| {
        // In two pieces, as a slow server may send it.
        let said = stream.write_all(b"welcome to ").and_then(|()| stream.write_all(b"the test\r\n"));
        said.expect("the client reads");
        server::each_line(&stream, ledger, |stream, _, line| stream.write_all(line));
    });
    let report = load(&server, &["-c", "3", "-n", "30", "--skip-line", "--json"]).json(0);
    assert_eq!(counters(&report), "exact 30");
    let report = load(&server, &["-c", "3", "-n", "30", "--json"]).json(4);
    is_consistent(&report);
    let surplus = ["unexpected", "wrong", "duplicate"].map(|name| report["messages"][name].as_u64().expect("a count"));
    assert!(surplus.iter().sum::<u64>() >= 3, "{surplus:?}");
    let silent = Server::start(|stream, _| std::mem::forget(stream));
    let report = load(&silent, &["-c", "2", "-d", "1s", "--skip-line", "--timeout", "200ms", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(report["warmup"]["messages"]["unsent"], 2, "no greeting, no message");
}

#[test]
fn without_a_greeting_nothing_is_sent_and_nothing_is_all_right() {
    let table: [&[&str]; 5] =
        [&["-d", "100ms"], &["-d", "3s"], &["-n", "4"], &["-d", "100ms", "-r", "1k"], &["-d", "100ms", "--churn"]];
    for args in table {
        let server = Server::echo();
        let args = [&["-c", "3", "--skip-line", "--timeout", "200ms"], args].concat();
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
        is_consistent(&report);
        let unsent = |messages: &Value| messages["unsent"].as_u64().expect("a count");
        assert!(unsent(&report["messages"]) + unsent(&report["warmup"]["messages"]) >= 3, "{args:?}: {report}");
        assert_eq!((&report["messages"]["sent"], server.ledger().lines), (&0.into(), 0), "{args:?}");
        let hint = report["hints"][0].as_str().unwrap_or_default();
        assert!(hint.starts_with("no first line came in 200 ms on "), "{args:?}: {hint}");
        assert!(hint.ends_with("the server sends no greeting; leave out --skip-line"), "{args:?}: {hint}");
    }
    let relay = Served::start(&["relay", "--port", "0"]);
    let target = format!(":{}", relay.port);
    let args = [&target, "-c", "20", "--skip-line", "--expect", "fanout", "-d", "300ms", "--timeout", "500ms"];
    let run = Run::start(&args).end();
    assert_eq!(run.code, Some(4), "{}", run.stdout);
    for want in [
        "0 sent",
        "20 unsent",
        "the generator was not the limit: ",
        "no first line came in 500 ms on 20 of 20 connections",
        "no message was sent (exit 4)",
    ] {
        assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("all right"), "{}", run.stdout);
}

#[test]
fn a_run_without_a_message_is_not_all_right() {
    let server = Server::echo();
    let run = load(&server, &["-c", "1", "-r", "1", "-d", "100ms", "--warmup", "500ms"]);
    assert!(run.code == Some(2) && run.stderr.contains("no message is due in the steady phase"), "{}", run.stderr);
    let script = std::env::temp_dir().join(format!("bucle-load-long-{}", std::process::id()));
    std::fs::write(&script, "send {seq}\\n\npause 1500ms\n").expect("a file can be written");
    let name = script.to_str().expect("a name");
    let report = load(&server, &["-c", "2", "--script", name, "-d", "100ms", "--json"]).json(4);
    assert_eq!((&report["messages"]["sent"], &report["warmup"]["messages"]["sent"]), (&0.into(), &2.into()));
    assert!(report["hints"][0].as_str().is_some_and(|hint| hint.contains("with -d")), "{report}");
    let run = load(&server, &["-c", "2", "--script", name, "-d", "100ms"]);
    assert!(run.stdout.contains("no message was sent in the steady phase (exit 4)"), "{}", run.stdout);
    std::fs::remove_file(script).expect("it is there");
    let report = load(&server, &["-c", "1", "--hold", "-d", "100ms", "--json"]).json(0);
    assert_eq!(report["hints"], serde_json::json!([]));
}

#[test]
fn a_greeting_that_is_taken_for_a_reply_is_hinted_at() {
    let chat = Served::start(&["chat", "--port", "0"]);
    let target = format!(":{}", chat.port);
    let run = Run::start(&[&target, "-c", "4", "-n", "40", "--timeout", "1s"]).end();
    assert_eq!(run.code, Some(4), "{}", run.stdout);
    let want = "the first line on 4 of 4 connections was no reply: if it is a greeting, add --skip-line";
    assert!(run.stdout.contains(want), "{}", run.stdout);
    let report = Run::start(&[&target, "-c", "4", "-n", "40", "--skip-line", "--expect", "fanout", "--json"]).end();
    assert_eq!(report.json(0)["hints"], serde_json::json!([]));
    // One wrong reply among many is no greeting.
    let server = Server::lines(|seq, line, _| if seq == 3 { b"no\n".to_vec() } else { line.to_vec() });
    let report = load(&server, &["-c", "4", "-n", "40", "--json"]).json(4);
    assert_eq!(report["hints"], serde_json::json!([]));
}

/// The server opens with a negotiation, puts commands into its replies, and wants 255 doubled.
#[test]
fn telnet_is_taken_out() {
    let (tell, told) = mpsc::channel();
    let server = Server::start(move |mut stream, _| {
        stream.write_all(b"\xff\xfd\x18\xff\xfb\x01hello\n").expect("the client reads");
        let mut answers = [0; 6];
        stream.read_exact(&mut answers).expect("the client answers");
        tell.send(answers).expect("the test listens");
        let mut buf = [0; 256];
        while let Ok(n @ 1..) = stream.read(&mut buf) {
            let (head, tail) = buf[..n].split_at(2);
            if stream.write_all(&[head, b"\xff\xf1", tail].concat()).is_err() {
                return;
            }
        }
    });
    let args = ["-c", "1", "-n", "10", "--telnet", "--skip-line", "-m", r"no{seq}\xff\xff\n", "--json"];
    let report = load(&server, &args).json(0);
    assert_eq!(counters(&report), "exact 10");
    assert_eq!(told.recv().expect("it has answered"), *b"\xff\xfc\x18\xff\xfe\x01");
}

#[test]
fn a_script_is_a_conversation() {
    let server = Server::start(|mut stream, ledger| {
        stream.write_all(b"hello\nlogin: ").expect("the client reads");
        server::each_line(&stream, ledger, |stream, _, line| match line {
            b"quit\n" => Ok(()),
            line => stream.write_all(&[b"welcome ", line].concat()),
        });
    });
    let script = std::env::temp_dir().join(format!("bucle-load-script-{}", std::process::id()));
    let text = "# a visit\nexpect login:\nsend ana{conn}.{seq}\\n\nexpect welcome ana{conn}.{seq}\npause 1ms\nsend quit\\n\nclose\n";
    std::fs::write(&script, text).expect("a file can be written");
    let name = script.to_str().expect("a name");
    let report = load(&server, &["-c", "3", "-n", "12", "--script", name, "--json"]).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 12");
    assert_eq!((report["model"].as_str(), server.ledger().lines), (Some("script"), 24));
    std::fs::write(&script, "expect logout").expect("a file can be written");
    let report = load(&server, &["-c", "1", "-n", "2", "--script", name, "--timeout", "200ms", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "missing 2");
    let first = &report["first_failure"];
    assert_eq!((&first["sent"], &first["expected"], &first["line"]), (&"".into(), &"logout".into(), &1.into()));
    std::fs::remove_file(script).expect("it is there");
}

/// The second pass sends nothing before it waits: what was sent last is of the first.
#[test]
fn a_script_that_fails_says_what_it_had_sent_and_what_it_waited_for() {
    let server = Server::lines(|_, line, _| line.to_vec());
    let script = std::env::temp_dir().join(format!("bucle-load-failing-{}", std::process::id()));
    let name = script.to_str().expect("a name");
    let table = [
        ("send one {seq}\\n\nexpect one\n\n# then\nsend two {seq}\\n\nexpect three\n", "two 0\\x0a", "three", 6),
        ("expect done\n", "", "done", 1),
    ];
    for (text, sent, expected, line) in table {
        std::fs::write(&script, text).expect("a file can be written");
        let args = ["-c", "1", "-n", "1", "--script", name, "--timeout", "200ms"];
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
        is_consistent(&report);
        let first = &report["first_failure"];
        assert_eq!((first["kind"].as_str(), first["sent"].as_str()), (Some("missing"), Some(sent)), "{text}");
        assert_eq!((first["expected"].as_str(), first["line"].as_u64()), (Some(expected), Some(line)), "{text}");
        let run = load(&server, &args);
        for want in [format!("message 0, line {line} of the script"), format!("    expected  {expected}\n")] {
            assert!(run.stdout.contains(&want), "{want}: {}", run.stdout);
        }
    }
    std::fs::write(&script, "send {seq}\\n\npause 10ms\nexpect 0\n").expect("a file can be written");
    let report = load(&server, &["-c", "1", "-n", "2", "--script", name, "--timeout", "200ms", "--json"]).json(4);
    assert_eq!((&report["first_failure"]["sent"], &report["first_failure"]["seq"]), (&"1\\x0a".into(), &1.into()));
    std::fs::remove_file(script).expect("it is there");
    // Where the message is all there is to expect there is no key of its own for it.
    let server = Server::lines(|_, _, _| b"no\n".to_vec());
    let report = load(&server, &["-c", "1", "-n", "1", "--json"]).json(4);
    assert!(report["first_failure"]["expected"].is_null() && report["first_failure"]["line"].is_null(), "{report}");
}

#[test]
fn what_the_wrong_expectation_is_is_hinted_at() {
    let echo = Server::echo();
    let relay = Served::start(&["relay", "--port", "0"]);
    let table = [
        (echo.port, "prefix:zzz", "the server echoes, and --expect prefix:zzz does not accept that; try --expect echo"),
        (echo.port, "regex:^z", "the server echoes, and --expect regex:^z does not accept that; try --expect echo"),
        (relay.port, "fanout:others", "40 messages came back to their own sender"),
    ];
    for (port, mode, want) in table {
        let run = Run::start(&[&format!(":{port}"), "-c", "4", "-n", "40", "--expect", mode, "--json"]).end();
        let report = run.json(4);
        assert_eq!(report["hints"].as_array().map(Vec::len), Some(1), "{mode}: {}", report["hints"]);
        assert!(report["hints"][0].as_str().is_some_and(|hint| hint.contains(want)), "{mode}: {}", report["hints"]);
    }
    // As the contract has it: unexpected ones are what makes it fail.
    let report =
        Run::start(&[&format!(":{}", relay.port), "-c", "2", "-n", "5", "--expect", "fanout:others", "--json"]);
    assert_eq!(counters(&report.end().json(4)), "exact 5, unexpected 5");
}

#[test]
fn what_is_not_checked_has_a_rate_all_the_same() {
    let server = Server::echo();
    let args = ["-c", "2", "-d", "300ms", "--warmup", "100ms", "--expect", "none"];
    let run = load(&server, &args);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let row = |name: &str| run.stdout.lines().find(|line| line.starts_with(&format!("  {name} "))).unwrap_or_default();
    assert!(row("rate").contains(" messages sent a second over "), "{}", run.stdout);
    assert!(row("warm-up").ends_with(" sent, kept apart") && !run.stdout.contains("exact"), "{}", run.stdout);
}

#[test]
fn a_mistyped_placeholder_is_warned_of() {
    let server = Server::echo();
    let warned = |message: &str| load(&server, &["-c", "1", "-n", "1", "-m", message]).stderr.contains("warning: ");
    for (message, want) in
        [("{con}\\n", true), ("{foo} {conn}\\n", true), ("{\"a\":{seq}}\\n", false), ("{}\\n", false)]
    {
        assert_eq!(warned(message), want, "{message}");
    }
    let run = load(&server, &["-c", "1", "-n", "1", "-m", "{con}\\n"]);
    let want = "warning: {con} is no placeholder and is sent as it is; there are {conn}, {seq} and {rand:N}\n";
    assert!(run.code == Some(0) && run.stderr.starts_with(want), "{}", run.stderr);
}

#[test]
fn lines_of_the_report_are_no_longer_than_a_hundred() {
    let chat = Served::start(&["chat", "--port", "0"]);
    let target = format!(":{}", chat.port);
    let args = ["-c", "2", "-r", "20", "-d", "300ms", "--timeout", "200ms", "--fail-if", "p99>5ms"];
    let run = Run::start(&[&[target.as_str()], &args[..]].concat()).end();
    assert!(run.code == Some(4) && run.stdout.contains("add --skip-line"), "{}", run.stdout);
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 100 || line.starts_with("    received"), "{line}");
    }
}

#[test]
fn processes_add_up() {
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let collect = seen.clone();
    let server = Server::start(move |stream, ledger| {
        let collect = collect.clone();
        server::each_line(&stream, ledger, move |stream, _, line| {
            let text = String::from_utf8_lossy(line);
            let conn = text.split(':').next().unwrap_or_default().to_owned();
            collect.lock().expect("nobody panics").insert(conn);
            stream.write_all(line)
        });
    });
    for model in [&["--in-flight", "2"], &["-r", "2k"]] {
        seen.lock().expect("nobody panics").clear();
        let before = server.ledger().lines;
        let args = [&["-c", "10", "-n", "501", "--procs", "3", "--json"], &model[..]].concat();
        let report = load(&server, &args).json(0);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 501");
        assert_eq!(server.ledger().lines - before, 501);
        assert_eq!((&report["client"]["procs"], &report["connect"]["ok"]), (&3.into(), &10.into()));
        let all: BTreeSet<String> = (0..10).map(|conn| conn.to_string()).collect();
        assert_eq!(*seen.lock().expect("nobody panics"), all, "{{conn}} is unique over all processes");
    }
}

#[test]
fn a_run_that_is_interrupted_reports() {
    for procs in ["1", "2"] {
        let (tell, told) = mpsc::channel();
        let server = Server::start(move |stream, ledger| {
            let tell = tell.clone();
            server::each_line(&stream, ledger, move |_, _, _| tell.send(()).map_err(std::io::Error::other));
        });
        let target = format!(":{}", server.port);
        let args = [&target, "-c", "4", "-d", "1h", "--warmup", "0", "--timeout", "1h", "--json", "--procs", procs];
        let run = Run::start(&args);
        (0..4).for_each(|_| told.recv().expect("each connection sends one message"));
        run.signal("INT");
        let report = run.end().json(130);
        is_consistent(&report);
        assert_eq!(counters(&report), "unfinished 4");
        assert_eq!(report["interrupted"], true);
    }
}

/// The server stands still for 300 ms once. Everything that was due meanwhile had to wait, and the report says so.
#[test]
fn a_stall_shows_in_the_response_time() {
    const STALL: Duration = Duration::from_millis(300);
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, seq, line| {
            if seq == 100 {
                thread::sleep(STALL);
            }
            stream.write_all(line)
        });
    });
    let report = load(&server, &["-c", "1", "-n", "1000", "-r", "1k", "--json"]).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 1000");
    assert!(report["latency_ns"]["response"]["max"].as_u64() >= Some(300_000_000));
    // Those due in its first 200 ms waited for the rest of it.
    assert!(responses_from(&report, Duration::from_millis(100)) >= 199, "{}", report["latency_ns"]["response"]);
}

/// The generator itself stands still for half a second. What was due meanwhile is sent late, and measured from when it
/// was due.
#[test]
fn a_generator_that_was_stopped_shows_it() {
    let (tell, told) = mpsc::channel();
    let server = Server::start(move |stream, ledger| {
        let tell = tell.clone();
        server::each_line(&stream, ledger, move |stream, seq, line| {
            if seq == 50 {
                tell.send(()).map_err(std::io::Error::other)?;
            }
            stream.write_all(line)
        });
    });
    let target = format!(":{}", server.port);
    let run = Run::start(&[&target, "-c", "1", "-n", "1000", "-r", "1k", "--json"]);
    told.recv().expect("the run has begun");
    run.signal("STOP");
    thread::sleep(Duration::from_millis(500));
    run.signal("CONT");
    let report = run.end().json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 1000");
    assert_eq!(server.ledger().lines, 1000);
    assert!(responses_from(&report, Duration::from_millis(250)) >= 240, "{}", report["latency_ns"]["response"]);
    assert!(report["client"]["lag_p99_ns"].as_u64() >= Some(400_000_000) && report["client"]["saturated"] == true);
}

#[test]
fn where_nothing_is_due_the_generator_is_not_the_limit() {
    let script = std::env::temp_dir().join(format!("bucle-load-pause-{}", std::process::id()));
    std::fs::write(&script, "send {seq}\\n\npause 10ms\n").expect("a file can be written");
    let name = script.to_str().expect("a name");
    let table: [&[&str]; 2] = [&["-c", "20", "--hold", "-d", "1s"], &["-c", "20", "--script", name, "-d", "1s"]];
    for args in table {
        let server = Server::echo();
        let report = load(&server, &[args, &["--json"]].concat()).json(0);
        is_consistent(&report);
        assert_eq!((&report["client"]["lag_p99_ns"], &report["client"]["saturated"]), (&0.into(), &false.into()));
        let run = load(&server, args);
        assert!(run.stdout.contains("the generator was not the limit: "), "{args:?}: {}", run.stdout);
        assert!(run.stdout.contains("% of a core, and nothing had to be sent on time\n"), "{args:?}: {}", run.stdout);
        assert_eq!(server.ledger().connections, 40);
    }
    std::fs::remove_file(script).expect("it is there");
}

/// The server does not read for a while: messages wait for the socket, and are measured from when they were due.
#[test]
fn a_socket_that_blocks_shows_in_the_response_time() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, seq, line| {
            if seq == 10 {
                thread::sleep(Duration::from_millis(500));
            }
            stream.write_all(line)
        });
    });
    let args = ["-c", "1", "-n", "100", "-r", "200", "--size", "200k", "--timeout", "30s", "--json"];
    let report = load(&server, &args).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 100");
    assert!(responses_from(&report, Duration::from_millis(250)) >= 45, "{}", report["latency_ns"]["response"]);
}

#[test]
fn a_constant_delay_is_in_every_percentile() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, _, line| {
            thread::sleep(Duration::from_millis(20));
            stream.write_all(line)
        });
    });
    let report =
        load(&server, &["-c", "5", "-n", "50", "--json", "--fail-if", "p50>19ms", "--fail-if", "max<1ms"]).json(5);
    for name in ["response", "service"] {
        assert!(report["latency_ns"][name]["p50"].as_u64() >= Some(20_000_000));
    }
    assert_eq!(report["failed"], serde_json::json!(["p50>19ms"]));
}

#[test]
fn a_threshold_is_reported_with_its_unit() {
    let server = Server::echo();
    let run = load(&server, &["-c", "1", "-n", "5", "--fail-if", "p99>60", "--fail-if", "rate<1M"]);
    assert_eq!(run.code, Some(5), "{}", run.stdout);
    for want in ["passed: --fail-if p99 > 60.0 s: it was ", "failed: --fail-if rate < 1,000,000 a second: it was "] {
        assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
    }
    let help = Run::start(&["--help"]).end();
    assert!(help.stdout.contains("a number without a unit is seconds"), "{}", help.stdout);
}

#[test]
fn a_target_is_written_as_for_connect() {
    let server = Server::echo();
    for target in [server.port.to_string(), format!(":{}", server.port), format!("localhost:{}", server.port)] {
        let report = Run::start(&[&target, "-c", "1", "-n", "2", "--json"]).end().json(0);
        assert_eq!(counters(&report), "exact 2", "{target}");
    }
    let plan = Run::start(&["localhost", "--dry-run"]).end();
    assert!(plan.stdout.contains("to localhost:8080,"), "{} {}", plan.stdout, plan.stderr);
    for target in ["unix:/tmp/x", "/tmp/x", "./x"] {
        let run = Run::start(&[target]).end();
        assert!(run.code == Some(2) && run.stderr.contains("not to unix sockets"), "{target}: {}", run.stderr);
    }
}

#[test]
fn usage_and_limits_leave_stdout_empty() {
    let table: &[(&[&str], i32, &str)] = &[
        (&["-n", "1", "-d", "1s"], 2, "cannot be used with"),
        (&["-c", "0"], 2, "1 is the least"),
        (&["-c", "-1"], 2, "a count is a whole number, 1 or more"),
        (&["-n", "-5"], 2, "a count is a whole number, 1 or more"),
        (&["-d", "-1s"], 2, "no time is less than nothing"),
        (&["-r", "1.5/s"], 2, "a rate is a whole number of messages a second"),
        (&["-m", "\\q"], 2, "there is no \\q"),
        (&["--expect", "fanout", "-m", "hola\\n"], 2, "{conn}:{seq} "),
        (&["--file", "/nowhere"], 2, "cannot read /nowhere"),
        (&["--html", "/nowhere/page.html"], 2, "cannot write the page"),
        (&["-c", "100M"], 6, "--procs"),
        (&["-c", "100M", "--json"], 6, "--procs"),
    ];
    for (args, exit, want) in table {
        let run = Run::start(args).end();
        assert_eq!((run.code, run.stdout.as_str()), (Some(*exit), ""), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(want), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn a_plan_without_a_run() {
    let run = Run::start(&["-c", "5", "--dry-run", "--json"]).end();
    let plan = run.json(0);
    assert_eq!((plan["schema"].as_str(), &plan["fds"]["needed"]), (Some("bucle-load-plan/1"), &69.into()));
    assert_eq!((&plan["ports"]["needed"], &plan["ok"], &plan["exit"]), (&5.into(), &true.into(), &0.into()));
    let plan = Run::start(&["-c", "50M", "--dry-run", "--json"]).end().json(6);
    assert!(plan["try"][0].as_str().is_some_and(|text| text.starts_with("--procs ")), "{plan}");
    assert_eq!((&plan["fds"]["ok"], &plan["exit"]), (&false.into(), &6.into()));
    let run = Run::start(&["-c", "5", "--dry-run"]).end();
    assert!(run.code == Some(0) && run.stdout.contains("descriptors"), "{}", run.stdout);
    // A name that is not there is for the run to fail at; a plan warns of it.
    let run = Run::start(&["no-such-host.invalid:80", "-c", "2", "--dry-run", "--json"]).end();
    assert_eq!(run.json(0)["lookup"], "ENOTFOUND");
    assert!(run.stderr.starts_with("warning: cannot connect to no-such-host.invalid:80: "), "{}", run.stderr);
}

#[test]
fn a_plan_writes_its_numbers_one_way() {
    let run = Run::start(&["-c", "50M", "--dry-run"]).end();
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    for want in ["plan         50,000,000 connections", "connections  50,000,000 in ", "ports        50,000,000 of "] {
        assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
    }
    let run = Run::start(&["-c", "50M"]).end();
    assert!(run.code == Some(6) && run.stderr.contains("50,000,000 connections in one process"), "{}", run.stderr);
}

#[test]
fn the_report_for_people() {
    let server = Server::lines(|seq, line, _| if seq == 3 { b"\x1b[2J<b>\n".to_vec() } else { line.to_vec() });
    let page = std::env::temp_dir().join(format!("bucle-load-page-{}.html", std::process::id()));
    let name = page.to_str().expect("a name");
    let run = load(&server, &["-c", "1", "-n", "10", "--html", name]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    for want in ["9 exact of 10 expected", "1 wrong", "response:", "service:", "the generator was", "\\x1b[2J<b>"] {
        assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
    }
    assert!(run.stderr.starts_with("plan: 1 connection to 127.0.0.1:"), "{}", run.stderr);
    for text in [&run.stdout, &run.stderr] {
        assert!(!text.contains(['\r', '\x1b']), "{text:?}");
    }
    let html = std::fs::read_to_string(&page).expect("the page was written");
    std::fs::remove_file(page).expect("it is there");
    assert!(html.contains("<svg") && html.contains("&lt;b&gt;") && html.ends_with("</html>\n"));
    for bad in ["<script", "<b>", "http", "src=", "\x1b"] {
        assert!(!html.contains(bad), "{bad}");
    }
}

#[test]
fn source_addresses_in_turn() {
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let collect = seen.clone();
    let server = Server::start(move |stream, ledger| {
        let peer = stream.peer_addr().expect("it is connected").ip().to_string();
        collect.lock().expect("nobody panics").insert(peer);
        server::each_line(&stream, ledger, |stream, _, line| stream.write_all(line));
    });
    let report = load(&server, &["-c", "6", "-n", "30", "--source", "127.0.0.2-127.0.0.4", "--json"]).json(0);
    assert_eq!(counters(&report), "exact 30");
    let want = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(str::to_owned).into();
    assert_eq!(*seen.lock().expect("nobody panics"), want);
}

/// A listener that nobody accepts from, and whose queue is full: what comes then gets no answer at all.
#[test]
#[cfg(target_os = "linux")]
fn a_connect_that_is_not_answered() {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).and_then(|()| listener.listen(1)).expect("a free port");
    let port = listener.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound").port();
    let target = format!(":{port}");
    let report =
        Run::start(&[&target, "-c", "9", "--hold", "-d", "10ms", "--timeout", "300ms", "--json"]).end().json(1);
    is_consistent(&report);
    let (ok, timeout) = (report["connect"]["ok"].as_u64(), report["connect"]["timeout"].as_u64());
    assert!(ok >= Some(1) && timeout >= Some(1), "{report}");
    assert_eq!(ok.zip(timeout).map(|(ok, timeout)| ok + timeout), Some(9));
}

#[test]
fn interrupted_while_connecting() {
    let (tell, told) = mpsc::channel();
    let server = Server::start(move |stream, _| {
        std::mem::forget(stream);
        let _ = tell.send(());
    });
    let target = format!(":{}", server.port);
    let run = Run::start(&[&target, "-c", "100", "--ramp", "1h", "--json"]);
    told.recv().expect("the first connection comes at once");
    run.signal("INT");
    let report = run.end().json(130);
    is_consistent(&report);
    assert_eq!((&report["messages"]["sent"], &report["interrupted"]), (&0.into(), &true.into()));
}

/// Two servers of our own share a port; the kernel deals the connections out, and each is answered.
#[test]
fn servers_that_share_a_port() {
    let one = Served::start(&["lines", "--reuse-port", "--port", "0"]);
    let port = one.port;
    let _other = Served::start(&["lines", "--reuse-port", "--port", &port.to_string()]);
    let run = Run::start(&[&format!(":{port}"), "-c", "50", "-n", "500", "--in-flight", "4", "--json"]).end();
    assert_eq!(counters(&run.json(0)), "exact 500");
}

#[test]
fn our_own_relay_fans_out() {
    let relay = Served::start(&["relay", "--port", "0"]);
    let target = format!(":{}", relay.port);
    for args in [&["--in-flight", "3"], &["-r", "500"]] {
        let args = [&[target.as_str(), "-c", "30", "-n", "100", "--expect", "fanout", "--json"], &args[..]].concat();
        let report = Run::start(&args).end().json(0);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 3000");
    }
}

/// Nothing is sent before every connection has been made.
#[test]
fn a_ramp_comes_first() {
    let connections: Arc<Mutex<Vec<u64>>> = Arc::default();
    let collect = connections.clone();
    let server = Server::start(move |mut stream, ledger| {
        stream.write_all(b"hello\n").expect("the client reads");
        let (collect, shared) = (collect.clone(), ledger.clone());
        server::each_line(&stream, ledger, move |stream, _, line| {
            collect.lock().expect("nobody panics").push(shared.lock().expect("nobody panics").connections);
            stream.write_all(line)
        });
    });
    let report = load(&server, &["-c", "5", "-n", "50", "--ramp", "100ms", "--skip-line", "--json"]).json(0);
    assert_eq!(counters(&report), "exact 50");
    assert_eq!(*connections.lock().expect("nobody panics"), [5; 50]);
}

/// A terminal's line is never drawn into a file, and a file is read line by line.
#[test]
fn the_output_is_one_object_and_a_newline() {
    let server = Server::echo();
    let run = load(&server, &["-n", "5", "--json"]);
    assert!(run.stdout.ends_with("}\n"));
    assert_eq!(BufReader::new(run.stdout.as_bytes()).lines().count(), 1);
}
