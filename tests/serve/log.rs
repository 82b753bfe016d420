//! The log at `-v`, `-vv` and `-vvv`: servers, connections, every event. Each entry is one line and begins with the
//! server or socket that it is about.

use super::served::{LIMIT, Served, bucle};

/// The log of a server while one client sends `hola` and closes, without times, levels and ports.
fn log_lines(verbosity: &str) -> Vec<String> {
    let server = Served::start(&["lines", verbosity]);
    let mut peer = server.connect();
    peer.send("hola\r\n");
    assert_eq!(peer.line(), "hola");
    peer.finish();
    assert_eq!(peer.rest(), b"");
    server.signal("-TERM");
    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
    let without_head = |line: &str| line.strip_prefix('[').and_then(|line| Some(line.split_once("] ")?.1.to_owned()));
    let without_port = |line: String| match line.rsplit_once("127.0.0.1:") {
        Some((start, _)) => format!("{start}127.0.0.1"),
        None => line,
    };
    // The duration of a callback depends on the machine.
    let is_slow_callback = |line: &String| line.contains("slow callback");
    // So do the number of turns and their lengths.
    let without_turns = |line: String| match line.split_once(" turns, the longest ") {
        Some((_, rest)) => format!("turns{}", rest.split_once(';').map_or("", |(_, bytes)| bytes)),
        None => line,
    };
    let lines = log.lines().filter_map(without_head).filter(|line| !is_slow_callback(line));
    lines.map(without_port).map(without_turns).collect()
}

#[test]
fn one_v_logs_servers() {
    assert_eq!(
        log_lines("-v"),
        [
            "server #1 listening on 127.0.0.1",
            "SIGTERM: closing; a second signal exits immediately",
            "server #1 takes no more connections, 0 go on",
            "server #1 closed",
            "turns 6 bytes read, 6 written",
        ]
    );
}

#[test]
fn two_v_log_connections() {
    let lines = log_lines("-vv");
    let connection: Vec<_> = lines.iter().filter(|line| line.starts_with("#2")).collect();
    assert_eq!(
        connection,
        [
            "#2 accepted from 127.0.0.1",
            "#2 was ended by its peer: FIN read",
            "#2 has ended: FIN sent",
            "#2 closed: 6 bytes read, 6 written",
        ]
    );
}

#[test]
fn three_v_log_every_event() {
    let lines = log_lines("-vvv");
    let connection: Vec<_> = lines.iter().filter(|line| line.starts_with("#2")).collect();
    assert_eq!(
        connection,
        [
            "#2 accepted from 127.0.0.1",
            "#2 read 6 bytes",
            "#2 sent a line of 6 bytes",
            "#2 sent 6 bytes",
            "#2 was ended by its peer: FIN read",
            "#2 has ended: FIN sent",
            "#2 destroyed",
            "#2 closed: 6 bytes read, 6 written",
        ]
    );
    assert!(lines.iter().any(|line| line.starts_with("poll: ")), "{lines:?}");
}

#[test]
fn with_three_v_times_have_microseconds() {
    for (flag, decimals) in [("-v", 0), ("-vvv", 6)] {
        let log = log_with("", &[flag]);
        let times: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix('[')?.split('Z').next()).collect();
        assert!(!times.is_empty(), "{log}");
        for time in times {
            assert_eq!(time.split_once('.').map_or(0, |(_, fraction)| fraction.len()), decimals, "{flag}: {time}");
        }
    }
}

/// The log of a server with `RUST_LOG` set, from its start to its end.
fn log_with(rust_log: &str, flags: &[&str]) -> String {
    let mut command = bucle(&["serve", "echo", "--port", "0"]);
    command.args(flags).env("RUST_LOG", rust_log);
    let server = Served::of(command);
    server.signal("-TERM");
    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
    log
}

#[test]
fn an_empty_rust_log_changes_nothing() {
    for empty in ["", " "] {
        assert!(log_with(empty, &["-v"]).contains("server #1 listening on"), "{empty:?}");
    }
    let quiet = log_with("off", &["-v"]);
    assert!(!quiet.contains("listening") && !quiet.contains("warning"), "{quiet}");
}

#[test]
fn invalid_text_in_rust_log_is_reported_once_and_ignored() {
    for invalid in ["nonsense", "bucle=loud"] {
        let log = log_with(invalid, &["-v"]);
        assert_eq!(log.matches("RUST_LOG: neither a level nor a module").count(), 1, "{log}");
        assert!(log.contains(invalid) && log.contains("server #1 listening on"), "{log}");
    }
}

/// A warning with the first address, then a number a second later.
#[test]
fn refused_connections_are_logged_once_a_second() {
    const REFUSED: usize = 5;
    let mut server = Served::start(&["chat", "--max-connections", "1"]);
    let heard = server.heard();
    let _inside = server.greeted();
    let first = server.connect();
    let address = first.0.local_addr().expect("a socket").to_string();
    let others: Vec<_> = (1..REFUSED).map(|_| server.connect()).collect();
    let next = || loop {
        let line = heard.recv_timeout(LIMIT).expect("a line");
        if let Some((_, what)) = line.split_once("server #1 is full") {
            return what.to_owned();
        }
    };
    assert_eq!(next(), format!(" with 1 connections: {address} is refused"));
    let mut counted = 1;
    while counted < REFUSED {
        let more = next();
        let count = more.strip_prefix(": ").and_then(|more| more.strip_suffix(" more are refused"));
        counted += count.and_then(|count| count.parse::<usize>().ok()).expect("a number");
    }
    assert_eq!(counted, REFUSED);
    drop((first, others));
}

/// The first idle connection is named, and the others of the same second are counted. Only `-vv` names each.
#[test]
fn idle_connections_are_logged_once_a_second() {
    const CLIENTS: usize = 5;
    let mut server = Served::start(&["chat", "-v", "--idle-timeout", "300ms"]);
    let lines = server.heard();
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let next = || loop {
        let line = lines.recv_timeout(LIMIT).expect("a line");
        if let Some((_, what)) = line.split_once("idle for 300ms: ") {
            return what.to_owned();
        }
    };
    let first = next();
    assert!(first.starts_with('#') && first.ends_with(" is closed"), "{first}");
    let mut counted = 1;
    while counted < CLIENTS {
        let more = next();
        let (count, rest) = more.split_once(' ').expect("words");
        assert_eq!(rest, "more are closed");
        counted += count.parse::<usize>().expect("a number");
    }
    assert_eq!(counted, CLIENTS);
    drop(clients);
}

/// The phases that have work, and ticks, in their order.
#[test]
fn three_v_log_phases_ticks_and_timers() {
    let lines = log_lines("-vvv");
    for part in
        ["poll: 1 ready, turn 1", "a tick of a socket or server runs", "pending: 1 shutdowns", "close: 1 sockets"]
    {
        assert!(lines.iter().any(|line| line.starts_with(part)), "{part}: {lines:?}");
    }
    let place = |part: &str| lines.iter().position(|line| line.starts_with(part)).expect(part);
    assert!(place("close: 1 sockets") < place("#2 closed"), "{lines:?}");
}
