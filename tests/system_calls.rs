//! The cost of a message in system calls, counted exactly by strace.
//!
//! Each figure is the difference of two runs, of which the second one does the same thing more often. The tests are
//! skipped without strace; with `CI=true` a missing strace is a failure.

#![cfg(feature = "cli")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The calls of a turn, a message or a connection. Other calls (logging, memory, signals) are not counted.
const COUNTED: &[&str] = &[
    "accept4",
    "close",
    "epoll_ctl",
    "epoll_wait",
    "getpeername",
    "getsockopt",
    "read",
    "recvfrom",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "write",
    "writev",
];

fn has_strace() -> bool {
    let works = Command::new("strace").args(["-V"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if works.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var("CI").is_err(), "strace is not installed; .ci/run installs it");
    eprintln!("skipped: strace is not installed");
    false
}

/// Runs a server under strace while `converse` uses the port. Returns the number of calls. `server` is its name, and
/// may be followed by `--http 0`: then the port is that of the HTTP server.
fn calls(server: &str, converse: impl FnOnce(u16)) -> BTreeMap<String, i64> {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let out = std::env::temp_dir().join(format!("bucle-strace-{}-{run}", std::process::id()));
    let mut child = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(&out)
        .args([env!("CARGO_BIN_EXE_bucle"), "serve", "--port", "0"])
        .args(server.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
        .expect("strace runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    for _listener in 0..if server.contains("--http") { 2 } else { 1 } {
        line.clear();
        stdout.read_line(&mut line).expect("a line");
    }
    converse(line.trim_end().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port"));
    // The server is the child of strace. When it ends, strace writes its table.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).expect("it runs");
    let server_pid = children.split_whitespace().next().expect("strace has a child");
    Command::new("kill").args(["-TERM", server_pid]).status().expect("kill is there");
    child.wait().expect("it ends");
    let table = fs::read_to_string(&out).expect("strace wrote it");
    let _ = fs::remove_file(&out);
    let row = |line: &str| {
        let (name, calls) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), calls.trim().parse().ok()?))
    };
    table.lines().filter_map(row).filter(|(name, _)| COUNTED.contains(&name.as_str())).collect()
}

/// The cost of one repetition: two runs with `few` and `few + more` repetitions are compared. `converse` gets the
/// number of repetitions. Calls without a difference are left out.
fn difference(server: &str, few: usize, more: usize, converse: impl Fn(u16, usize)) -> BTreeMap<String, f64> {
    let some = calls(server, |port| converse(port, few));
    let all = calls(server, |port| converse(port, few + more));
    let each = |(name, calls): (&String, &i64)| {
        let extra = calls - some.get(name).copied().unwrap_or(0);
        (name.clone(), extra as f64 / more as f64)
    };
    all.iter().map(each).filter(|(_, calls)| *calls != 0.0).collect()
}

fn connect(port: u16) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    client.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    client.set_nodelay(true).expect("a socket");
    client
}

fn expect(client: &mut TcpStream, message: &[u8]) {
    let mut answer = vec![0; message.len()];
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, message);
}

/// Sends a FIN, and reads to the server's FIN.
fn close(mut client: TcpStream) {
    client.shutdown(Shutdown::Write).expect("a socket");
    client.read_to_end(&mut Vec::new()).expect("the server ends too");
}

/// The cost of one message that is sent and answered, one after the other.
fn cost(server: &str, message: &[u8]) -> BTreeMap<String, f64> {
    difference(server, 50, 500, |port, messages| {
        let mut client = connect(port);
        for _ in 0..messages {
            client.write_all(message).expect("it reads");
            expect(&mut client, message);
        }
        close(client);
    })
}

/// Checks that a message costs exactly one read and one write, and one wait. The number of waits may differ by one in
/// a run, because the FIN may arrive with the last message or after it.
fn assert_three_calls(mut cost: BTreeMap<String, f64>) {
    let waits = cost.remove("epoll_wait").unwrap_or(0.0);
    assert!((0.99..=1.01).contains(&waits), "{waits} waits to the message");
    assert_eq!(cost, BTreeMap::from([("recvfrom".to_owned(), 1.0), ("sendto".to_owned(), 1.0)]));
}

#[test]
fn an_echoed_message_costs_a_wait_a_read_and_a_write() {
    if has_strace() {
        assert_three_calls(cost("echo", &[b'x'; 64]));
    }
}

#[test]
fn sixteen_lines_cost_no_more_than_one() {
    if has_strace() {
        assert_three_calls(cost("lines", "0123456789abcde\n".repeat(16).as_bytes()));
    }
}

/// Four members send sixteen lines at a time to all members. Lines that arrive in one turn are sent in one call per
/// member from any sender.
#[test]
fn answers_larger_than_a_buffer_leave_in_one_piece() {
    if has_strace() {
        // 16 lines and 4 KB: more than the buffer of an outbox.
        let line = format!("{}\n", "x".repeat(249));
        assert_three_calls(cost("lines", line.repeat(16).as_bytes()));
    }
}

#[test]
fn sixteen_lines_in_flight_share_one_write_per_member() {
    const MEMBERS: usize = 20;
    const SENDERS: usize = 4;
    const LINES: usize = 16;
    if !has_strace() {
        return;
    }
    let sent: Vec<String> =
        (0..SENDERS).map(|sender| format!("{sender}: line of sixty-four\n").repeat(LINES)).collect();
    let cost = difference("relay", 5, 50, |port, rounds| {
        let mut members: Vec<TcpStream> = (0..MEMBERS).map(|_| connect(port)).collect();
        // Members are accepted in order, so all are connected when the last one receives its own line.
        members[MEMBERS - 1].write_all(b"hola\n").expect("it reads");
        members.iter_mut().for_each(|member| expect(member, b"hola\n"));
        for _ in 0..rounds {
            for (sender, lines) in members.iter_mut().zip(&sent) {
                sender.write_all(lines.as_bytes()).expect("it reads");
            }
            for member in &mut members {
                let mut received = vec![0; sent.iter().map(String::len).sum()];
                member.read_exact(&mut received).expect("every member receives everything");
                let mut lines: Vec<&str> = std::str::from_utf8(&received).expect("the sent lines").lines().collect();
                lines.sort_unstable();
                assert!(sent.iter().flat_map(|lines| lines.lines()).eq(lines), "every line, once");
            }
        }
        members.into_iter().for_each(close);
    });
    let all: f64 = cost.values().sum();
    let each = all / (MEMBERS * SENDERS * LINES) as f64;
    assert!(each <= 0.15, "{each} calls per delivery: {cost:?}");
    // No registration and no failed call: a round costs nothing that could be left out.
    assert!(!cost.contains_key("epoll_ctl"), "{cost:?}");
}

/// A client connects, sends a word, reads it back, and closes: three turns without a superfluous call. The second
/// `accept4` finds that no other client waits, and the last read returns the FIN.
#[test]
fn a_short_connection_costs_one_registration_and_no_superfluous_read() {
    if !has_strace() {
        return;
    }
    let mut cost = difference("echo", 20, 200, |port, visits| {
        for _ in 0..visits {
            let mut client = connect(port);
            client.write_all(b"hola").expect("it reads");
            expect(&mut client, b"hola");
            close(client);
        }
    });
    let waits = cost.remove("epoll_wait").unwrap_or(0.0);
    assert!(waits <= 4.0, "{waits}");
    // The second accept finds an empty backlog, and the second read returns the end.
    let calls =
        [("accept4", 2.0), ("close", 1.0), ("epoll_ctl", 1.0), ("recvfrom", 2.0), ("sendto", 1.0), ("shutdown", 1.0)];
    assert_eq!(cost, calls.map(|(call, count)| (call.to_owned(), count)).into());
}

/// As with `printf 'a\nb\nc\n' | nc -N`: the FIN arrives with the lines, and the lines are still answered in one write.
#[test]
fn lines_that_arrive_with_a_fin_are_answered_together() {
    if !has_strace() {
        return;
    }
    let cost = difference("lines", 5, 50, |port, visits| {
        for _ in 0..visits {
            let mut client = connect(port);
            client.write_all("0123456789abcde\n".repeat(16).as_bytes()).expect("it reads");
            close(client);
        }
    });
    assert_eq!(cost["sendto"], 1.0, "{cost:?}");
}

/// The cost of `messages` WebSocket messages of 20 bytes that are sent together, and echoed.
fn websocket_cost(messages: usize) -> BTreeMap<String, f64> {
    // Text, FIN, a mask of zeros. The answer has no mask (RFC 6455, 5.1).
    let sent = [&[0x81, 0x80 | 20, 0, 0, 0, 0][..], &[b'x'; 20]].concat().repeat(messages);
    let received = [&[0x81, 20][..], &[b'x'; 20]].concat().repeat(messages);
    difference("echo --http 0", 50, 500, |port, rounds| {
        let mut client = connect(port);
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write_all(request.as_bytes()).expect("it reads");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).expect("it answers");
            head.push(byte[0]);
        }
        for _ in 0..rounds {
            client.write_all(&sent).expect("it reads");
            let mut answer = vec![0; received.len()];
            client.read_exact(&mut answer).expect("it answers");
            assert_eq!(answer, received);
        }
        close(client);
    })
}

#[test]
fn an_echoed_websocket_message_costs_a_wait_a_read_and_a_write() {
    if has_strace() {
        assert_three_calls(websocket_cost(1));
    }
}

#[test]
fn thirty_two_websocket_messages_in_flight_share_one_write() {
    if has_strace() {
        assert_three_calls(websocket_cost(32));
    }
}
