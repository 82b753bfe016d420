//! What `-v`, `-vv` and `-vvv` say: the lives of servers, the story of a connection, every event. One line each, with the
//! one it is about first.

use super::served::{LIMIT, Served, bucle};

/// What a server says while one client says `hola` and leaves, without times, levels and ports.
fn story(verbosity: &str) -> Vec<String> {
    let server = Served::start(&["lines", verbosity]);
    let mut peer = server.connect();
    peer.send("hola\r\n");
    assert_eq!(peer.line(), "hola");
    peer.finish();
    assert_eq!(peer.rest(), b"");
    server.signal("-TERM");
    let (status, said) = server.end();
    assert_eq!(status, Some(0), "{said}");
    let without_head = |line: &str| line.strip_prefix('[').and_then(|line| Some(line.split_once("] ")?.1.to_owned()));
    let without_port = |line: String| match line.rsplit_once("127.0.0.1:") {
        Some((start, _)) => format!("{start}127.0.0.1"),
        None => line,
    };
    // How long a callback took is the machine's story.
    let is_of_the_machine = |line: &String| line.contains("slow callback");
    // How many turns it took, and how long they were, is, too.
    let without_turns = |line: String| match line.split_once(" turns, the longest ") {
        Some((_, rest)) => format!("turns{}", rest.split_once(';').map_or("", |(_, bytes)| bytes)),
        None => line,
    };
    let lines = said.lines().filter_map(without_head).filter(|line| !is_of_the_machine(line));
    lines.map(without_port).map(without_turns).collect()
}

#[test]
fn once_for_servers() {
    assert_eq!(
        story("-v"),
        [
            "server #1 listening on 127.0.0.1",
            "SIGTERM: closing; once more ends it at once",
            "server #1 takes no more connections, 0 go on",
            "server #1 closed",
            "turns 6 bytes read, 6 written",
        ]
    );
}

#[test]
fn twice_for_the_story_of_a_connection() {
    let story = story("-vv");
    let connection: Vec<_> = story.iter().filter(|line| line.starts_with("#2")).collect();
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
fn three_times_for_every_event() {
    let story = story("-vvv");
    let connection: Vec<_> = story.iter().filter(|line| line.starts_with("#2")).collect();
    assert_eq!(
        connection,
        [
            "#2 accepted from 127.0.0.1",
            "#2 read 6 bytes",
            "#2 line of 6 bytes",
            "#2 sent 6 bytes",
            "#2 was ended by its peer: FIN read",
            "#2 has ended: FIN sent",
            "#2 destroyed",
            "#2 closed: 6 bytes read, 6 written",
        ]
    );
    assert!(story.iter().any(|line| line.starts_with("poll: ")), "{story:?}");
}

/// What a server says with `RUST_LOG` set, from its start to its end.
fn said(rust_log: &str, flags: &[&str]) -> String {
    let mut command = bucle(&["serve", "echo", "--port", "0"]);
    command.args(flags).env("RUST_LOG", rust_log);
    let server = Served::of(command);
    server.signal("-TERM");
    let (status, said) = server.end();
    assert_eq!(status, Some(0), "{said}");
    said
}

#[test]
fn an_empty_rust_log_asks_for_nothing() {
    for empty in ["", " "] {
        assert!(said(empty, &["-v"]).contains("server #1 listening on"), "{empty:?}");
    }
    let quiet = said("off", &["-v"]);
    assert!(!quiet.contains("listening") && !quiet.contains("warning"), "{quiet}");
}

#[test]
fn nonsense_in_rust_log_is_told_once_and_silences_nothing() {
    for nonsense in ["nonsense", "bucle=loud"] {
        let said = said(nonsense, &["-v"]);
        assert_eq!(said.matches("RUST_LOG: no level").count(), 1, "{said}");
        assert!(said.contains(nonsense) && said.contains("server #1 listening on"), "{said}");
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

/// The first by name, the others of that second by number. A line for every connection needs `-vv`.
#[test]
fn idle_connections_are_logged_once_a_second() {
    const GUESTS: usize = 5;
    let mut server = Served::start(&["chat", "-v", "--idle-timeout", "300ms"]);
    let heard = server.heard();
    let guests: Vec<_> = (0..GUESTS).map(|_| server.connect()).collect();
    let next = || loop {
        let line = heard.recv_timeout(LIMIT).expect("a line");
        if let Some((_, what)) = line.split_once("idle for 300ms: ") {
            return what.to_owned();
        }
    };
    let first = next();
    assert!(first.starts_with('#') && first.ends_with(" is closed"), "{first}");
    let mut counted = 1;
    while counted < GUESTS {
        let more = next();
        let (count, rest) = more.split_once(' ').expect("words");
        assert_eq!(rest, "more are closed");
        counted += count.parse::<usize>().expect("a number");
    }
    assert_eq!(counted, GUESTS);
    drop(guests);
}
