//! Connections: how they are made, and how they are lost.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::command::{Run, Served, load};
use crate::server::{self, Server};
use crate::{counters, is_consistent};

#[test]
fn failed_connects_are_counted_by_reason() {
    let port = Server::echo().closed_port();
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
fn a_failed_connect_is_explained_as_by_bucle_connect() {
    let port = Server::echo().closed_port();
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

/// The system has four source ports, and the target is one of them. Within four connects the kernel would choose it,
/// and connect the socket to itself. The ports are set in a network namespace of its own.
#[test]
#[cfg(target_os = "linux")]
fn a_connection_to_itself_is_counted_as_refused() {
    let network = ["-rn", "ip", "link", "set", "lo", "up"];
    if !std::process::Command::new("unshare").args(network).output().is_ok_and(|output| output.status.success()) {
        return println!("skipped: no network namespace (unshare, iproute2, user namespaces)");
    }
    let script = "ip link set lo up && echo '50000 50003' > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    let table: &[(&[&str], u64)] = &[
        (&["load", ":50002", "--churn", "-c", "2", "-n", "40", "--json"], 40),
        (&["load", "[::1]:50002", "--churn", "-c", "2", "-n", "40", "--json"], 40),
        (&["load", ":50002", "--hold", "-c", "4", "-d", "10ms", "--json"], 4),
    ];
    for (args, refused) in table {
        let output = std::process::Command::new("timeout")
            .args(["60", "unshare", "-rn", "sh", "-ec", script, "sh", env!("CARGO_BIN_EXE_bucle")])
            .args(*args)
            .output()
            .expect("coreutils have it");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        if report["connect"]["errno"]["EADDRNOTAVAIL"].is_u64() {
            continue; // No IPv6 in this namespace.
        }
        is_consistent(&report);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {report}");
        assert_eq!(
            (&report["connect"]["ok"], &report["connect"]["refused"]),
            (&0.into(), &(*refused).into()),
            "{args:?}"
        );
    }
    let connect = format!(
        "for i in 1 2 3 4 5 6 7 8; do echo hola | '{}' connect :50002 || echo $?; done",
        env!("CARGO_BIN_EXE_bucle")
    );
    let output = std::process::Command::new("timeout")
        .args(["60", "unshare", "-rn", "sh", "-ec", script, "sh", "sh", "-c", &connect])
        .output()
        .expect("coreutils have it");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3\n".repeat(8), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A listener that never accepts and whose queue is full: further connects get no answer.
#[test]
#[cfg(target_os = "linux")]
fn a_connect_without_an_answer_times_out() {
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
fn connections_that_the_server_closes_are_counted() {
    let server = Server::start(|stream, _| drop(stream));
    let report = load(&server, &["-c", "3", "--hold", "-d", "20s", "--json"]).json(1);
    is_consistent(&report);
    assert_eq!(report["lost"]["closed"], 3, "the run ends when no connection is left");
    assert_eq!((report["model"].as_str(), report["checked"].as_bool()), (Some("hold"), Some(false)));
}

/// The reset comes after the first message: an earlier one could make the connect fail.
#[test]
fn connections_that_the_server_resets_are_counted() {
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

/// The server answers five messages and closes the connection instead of answering the sixth.
#[test]
fn the_unanswered_message_of_a_lost_connection_is_missing() {
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
fn churn_makes_one_connection_per_message() {
    let server = Server::echo();
    let report = load(&server, &["-c", "4", "-n", "50", "--churn", "--json"]).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 50");
    assert_eq!(report["connect"]["attempted"], 50);
    assert_eq!((server.ledger().connections, server.ledger().lines), (50, 50));
    assert_eq!(report["model"], "churn");
}

/// The server notes the number of connections at each line: all are made before the first.
#[test]
fn nothing_is_sent_before_the_ramp_ends() {
    let connections: Arc<Mutex<Vec<u64>>> = Arc::default();
    let collect = connections.clone();
    let server = Server::start(move |mut stream, ledger| {
        stream.write_all(b"hello\n").expect("the client reads");
        let (collect, shared) = (collect.clone(), ledger.clone());
        server::each_line(&stream, ledger, move |stream, _, line| {
            collect.lock().expect("no thread panics").push(shared.lock().expect("no thread panics").connections);
            stream.write_all(line)
        });
    });
    let report = load(&server, &["-c", "5", "-n", "50", "--ramp", "100ms", "--skip-line", "--json"]).json(0);
    assert_eq!(counters(&report), "exact 50");
    assert_eq!(*connections.lock().expect("no thread panics"), [5; 50]);
}

#[test]
fn source_addresses_are_used_in_turn() {
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let collect = seen.clone();
    let server = Server::start(move |stream, ledger| {
        let peer = stream.peer_addr().expect("it is connected").ip().to_string();
        collect.lock().expect("no thread panics").insert(peer);
        server::each_line(&stream, ledger, |stream, _, line| stream.write_all(line));
    });
    let report = load(&server, &["-c", "6", "-n", "30", "--source", "127.0.0.2-127.0.0.4", "--json"]).json(0);
    assert_eq!(counters(&report), "exact 30");
    let want = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(str::to_owned).into();
    assert_eq!(*seen.lock().expect("no thread panics"), want);
}

/// Two `bucle serve` processes share a port. The kernel divides the connections between them, and every message is
/// answered.
#[test]
fn servers_that_share_a_port_answer_every_connection() {
    let one = Served::start(&["lines", "--reuse-port", "--port", "0"]);
    let port = one.port;
    let _other = Served::start(&["lines", "--reuse-port", "--port", &port.to_string()]);
    let run = Run::start(&[&format!(":{port}"), "-c", "50", "-n", "500", "--in-flight", "4", "--json"]).end();
    assert_eq!(counters(&run.json(0)), "exact 500");
}

/// How many messages were due in the steady phase: each was sent, or is unsent.
fn due(report: &Value) -> u64 {
    ["sent", "unsent"].into_iter().filter_map(|name| report["messages"][name].as_u64()).sum()
}

/// Each connection answers twenty lines and is closed. The messages that are due after that are unsent, and the rate is
/// that of the whole time.
#[test]
fn a_run_that_loses_all_connections_ends_early() {
    let twenty = || {
        Server::start(|stream, ledger| {
            server::each_line(&stream, ledger, |stream, seq, line| match seq {
                20 => stream.shutdown(std::net::Shutdown::Both),
                _ => stream.write_all(line),
            });
        })
    };
    type Row<'a> = (&'a [&'a str], u64, Option<u64>);
    let table: &[Row<'_>] = &[
        (&["-r", "200", "-d", "1h", "--warmup", "0"], 720_000, Some(3_600_000_000_000)),
        (&["-r", "200", "-d", "1h", "--warmup", "1h"], 720_000, Some(3_600_000_000_000)),
        (&["-r", "200", "-d", "1h", "--warmup", "10ms", "--procs", "2"], 720_000, Some(3_600_000_000_000)),
        (&["-r", "200", "-n", "100k"], 100_000, Some(500_000_000_000)),
        (&["-n", "100k"], 100_000, None),
        (&["-n", "100k", "--in-flight", "9", "--procs", "2"], 100_000, None),
    ];
    for (args, want, of_ns) in table {
        let server = twenty();
        let args = [&["-c", "2", "--fail-if", "rate<150"], *args].concat();
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
        is_consistent(&report);
        assert_eq!(due(&report), *want, "{args:?}: {report}");
        let end = &report["ended_early"];
        assert_eq!((end["why"].as_str(), end["of_ns"].as_u64()), (Some("no_connection"), *of_ns), "{args:?}");
        assert!(end["after_ns"].as_u64().is_some_and(|after| of_ns.is_none_or(|of| after < of)), "{args:?}: {end}");
        if let Some(of_ns) = of_ns {
            assert_eq!(report["elapsed_ns"], *of_ns, "{args:?}");
            assert_eq!(report["failed"], serde_json::json!(["rate<150"]), "{args:?}");
        }
        let text = load(&server, &args).stdout;
        let line = text.lines().find(|line| line.contains("run ") && line.contains("ended ")).unwrap_or_default();
        assert!(line.ends_with(": no connection left"), "{args:?}: {text}");
    }
    let warmup = load(&twenty(), &["-c", "2", "-r", "200", "-d", "1s", "--warmup", "1h", "--json"]).json(4);
    let messages = &warmup["warmup"]["messages"];
    let sum = |name: &str| messages[name].as_u64().expect("a count");
    assert_eq!((sum("sent") + sum("unsent"), &warmup["messages"]["unsent"]), (720_000, &200.into()));
}

#[test]
fn held_connections_that_are_all_lost_end_the_run_early() {
    let server = Server::start(|stream, _| drop(stream));
    let report = load(&server, &["-c", "3", "--hold", "-d", "1h", "--json"]).json(1);
    assert_eq!((counters(&report).as_str(), &report["ended_early"]["why"]), ("", &"no_connection".into()));
    let report = load(&Server::echo(), &["-c", "3", "--hold", "-d", "50ms", "--json"]).json(0);
    assert_eq!((&report["ended_early"], &report["reconnects"]), (&Value::Null, &0.into()));
}

/// The server closes each connection at once. Nothing is due when no connection is left, but nothing was tested.
#[test]
fn a_run_that_loses_its_connections_before_it_sends_fails() {
    let server = Server::start(|stream, _| drop(stream));
    let args = ["-c", "2", "-d", "1h", "--skip-line"];
    let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
    is_consistent(&report);
    assert_eq!((counters(&report).as_str(), &report["messages"]["sent"]), ("", &0.into()));
    let run = load(&server, &args);
    assert!(run.stdout.contains("  the run ended before a message was sent (exit 4)\n"), "{}", run.stdout);
}

/// The server reads a sixth line on each connection, and closes it without an answer.
#[test]
fn lost_connections_are_opened_anew() {
    let six = || {
        Server::start(|stream, ledger| {
            server::each_line(&stream, ledger, |stream, seq, line| match seq {
                5 => stream.shutdown(std::net::Shutdown::Both),
                _ => stream.write_all(line),
            });
        })
    };
    for args in [&["-n", "60"][..], &["-n", "60", "--procs", "2"], &["-n", "60", "-r", "200"]] {
        let server = six();
        let report = load(&server, &[&["-c", "2", "--reconnect", "--json"], args].concat()).json(4);
        is_consistent(&report);
        assert_eq!((due(&report), &report["ended_early"]), (60, &Value::Null), "{args:?}: {report}");
        let count = |path: &str| report.pointer(path).and_then(Value::as_u64).expect("a count");
        assert!(count("/messages/missing") >= 2 && count("/messages/exact") >= 10, "{args:?}: {report}");
        assert_eq!(count("/connect/ok"), 2 + count("/reconnects"), "{args:?}: {report}");
        assert!(count("/reconnects") >= 2 && count("/away_ns") > 100_000_000, "{args:?}: {report}");
        // When the run ends, each of the two may be opened anew, and the server may have accepted it.
        let accepted = server.ledger().connections;
        let opened = count("/connect/ok");
        assert!((opened..=opened + 2).contains(&accepted), "{args:?}: {accepted}, {report}");
    }
    let text = load(&six(), &["-c", "1", "-n", "12", "--reconnect"]).stdout;
    assert!(text.contains(" opened anew, ") && text.contains(" without a connection, summed over all"), "{text}");
}

#[test]
fn a_script_goes_on_with_a_new_connection() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, seq, line| match seq {
            5 => stream.shutdown(std::net::Shutdown::Both),
            _ => stream.write_all(line),
        });
    });
    let script = std::env::temp_dir().join(format!("bucle-load-anew-{}", std::process::id()));
    std::fs::write(&script, "send {seq}\\n\nexpect {seq}\n").expect("a file can be written");
    let name = script.to_str().expect("a name");
    let report = load(&server, &["-c", "1", "-n", "12", "--script", name, "--reconnect", "--json"]).json(4);
    std::fs::remove_file(script).expect("it is there");
    assert_eq!(counters(&report), "exact 10, missing 2");
    assert_eq!(&report["lost"]["closed"], 2);
}

/// No server listens, or it begins to listen during the run.
#[test]
fn refused_connections_are_tried_again() {
    let (port, place) = held_port(0);
    let target = format!(":{port}");
    let args = [target.as_str(), "-c", "3", "-r", "10", "-d", "1s", "--warmup", "0", "--reconnect", "--json"];
    let report = Run::start(&args).end().json(3);
    is_consistent(&report);
    assert_eq!((counters(&report).as_str(), &report["ended_early"]), ("unsent 10", &Value::Null));
    // After 100, 200 and 400 ms at the latest.
    assert!(report["connect"]["refused"].as_u64() >= Some(6), "{report}");
    let run = Run::start(&[&target, "-c", "2", "-n", "10", "--reconnect", "--json"]);
    let listener = open_for_clients(place);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let ended = run.end();
    let report: Value = serde_json::from_str(&ended.stdout).expect("a report");
    assert!(ended.code == Some(0) || ended.code == Some(1), "{report}");
    assert_eq!(counters(&report), "exact 10");
}

/// A port, any if it is 0, that refuses connections until [`open_for_clients`]. No other program can take it meanwhile.
fn held_port(port: u16) -> (u16, Socket) {
    let place = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    place.set_reuse_port(true).expect("a socket");
    place.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("the port is free, or held");
    let address = place.local_addr().expect("it is bound").as_socket().expect("an address");
    (address.port(), place)
}

fn open_for_clients(place: Socket) -> TcpListener {
    place.listen(16).expect("it is bound");
    place.into()
}

/// A server that replies to lines on one connection, closes its listener before the first reply, and comes back after
/// `away`, if at all. The result of a test does not depend on this time: it only makes refused connects likely.
fn goes_away(away: Option<Duration>) -> u16 {
    let (port, place) = held_port(0);
    let listener = open_for_clients(place);
    let (_, place) = held_port(port);
    let reply = |stream: TcpStream| {
        server::each_line(&stream, server::Shared::default(), |stream, _, line| stream.write_all(line));
    };
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client comes");
        drop(listener);
        reply(stream);
        let Some(away) = away else { return };
        std::thread::sleep(away);
        open_for_clients(place).incoming().map_while(Result::ok).for_each(|stream| {
            std::thread::spawn(move || reply(stream));
        });
    });
    port
}

#[test]
fn a_pass_whose_connect_fails_is_made_later_with_reconnect_and_unsent_without() {
    let script = std::env::temp_dir().join(format!("bucle-load-away-{}", std::process::id()));
    std::fs::write(&script, "send a{seq}\\n\nexpect a{seq}\nclose\n").expect("a file can be written");
    let run = |away, args: &[&str]| {
        let target = format!(":{}", goes_away(away));
        let args = [&[&*target, "-c", "1", "--script", script.to_str().expect("a name"), "--json"], args].concat();
        let ended = Run::start(&args).end();
        let report: Value = serde_json::from_str(&ended.stdout).expect("a report");
        is_consistent(&report);
        (ended.code, counters(&report), report)
    };
    let (code, counts, report) = run(Some(Duration::from_millis(400)), &["-n", "6", "--reconnect"]);
    assert!(code == Some(0) || code == Some(1), "{report}");
    assert_eq!(counts, "exact 6");
    let (code, counts, report) = run(None, &["-n", "6"]);
    assert_eq!((code, counts.as_str(), &report["connect"]["refused"]), (Some(4), "exact 1, unsent 5", &5.into()));
    let (first, reason) = (&report["first_failure"], "there was no connection");
    assert_eq!((&first["kind"], &first["seq"], &first["reason"]), (&"unsent".into(), &1.into(), &reason.into()));
    // With `-d`, a pass that could not begin is due when there is a connection again.
    let (code, counts, _) = run(None, &["-d", "400ms", "--warmup", "0", "--reconnect"]);
    assert_eq!((code, counts.as_str()), (Some(1), "exact 1"));
    std::fs::remove_file(&script).expect("it is there");
}
