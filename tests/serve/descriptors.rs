//! No descriptor left: a start that cannot work is refused with advice; a server that runs out of them serves on, loses
//! nobody, says little about it, and goes on as soon as one is free.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use super::served::{LIMIT, Peer, Served};

/// Runs the program with so many descriptors, to its end.
fn run_with(descriptors: usize, args: &str) -> Output {
    let line = format!("ulimit -n {descriptors}; exec {} {args}", env!("CARGO_BIN_EXE_bucle"));
    Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output().expect("a shell")
}

#[test]
fn too_few_descriptors_to_start_with_are_said_with_advice_and_status_6() {
    for (args, enough) in [
        ("serve echo --port 0", 64),
        ("serve --port 0 --max-connections 4", 36),
        ("connect 127.0.0.1:1", 20),
        ("load 127.0.0.1:1 -c 1 -d 1s", 60),
    ] {
        for descriptors in [3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 24, 35, 40, 59, 63] {
            if descriptors >= enough {
                break;
            }
            let output = run_with(descriptors, args);
            let said = String::from_utf8_lossy(&output.stderr);
            let case = format!("{args} with {descriptors}: {:?}: {said}", output.status);
            if descriptors == 3 && output.status.code() == Some(127) {
                // The system's loader has none to read the libraries with, and says so itself.
                continue;
            }
            assert_eq!(output.status.code(), Some(6), "{case}");
            assert!(said.contains(&format!(" {descriptors}")) && said.contains("\n  try:  "), "{case}");
            assert!(said.contains("ulimit"), "{case}");
            assert!(output.stdout.is_empty(), "{case}");
        }
    }
}

#[test]
fn who_asks_for_more_places_than_there_are_is_told_how_many_there_are() {
    let line =
        format!("ulimit -n 70; exec {} serve tutorial --port 0 --max-connections 1000", env!("CARGO_BIN_EXE_bucle"));
    let mut command = Command::new("sh");
    command.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = Served::of(command);
    let inside: Vec<Peer> = (0..38).map(|_| server.greeted()).collect();
    assert_eq!(server.connect().rest(), b"server full, try again later\r\n");
    drop(inside);
    server.signal("-TERM");
    let (status, said) = server.end();
    assert_eq!(status, Some(0));
    assert!(said.contains("room for 38 connections, not for 1000"), "{said}");
}

/// Sets the soft limit of a running process.
fn limit(server: &Served, descriptors: usize) {
    let pid = server.child.id().to_string();
    let nofile = format!("--nofile={descriptors}:");
    let status = Command::new("prlimit").args(["--pid", &pid, &nofile]).status();
    assert!(status.expect("prlimit, of util-linux, is there").success());
}

fn has_prlimit() -> bool {
    let works = Command::new("prlimit").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if works.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var("CI").is_err(), "prlimit, of util-linux, is not installed");
    eprintln!("skipped: prlimit is not installed");
    false
}

/// The lowest number that is free, and the next to be given out. As a limit it leaves none.
fn next_descriptor(server: &Served) -> usize {
    let is_open = |number: &usize| fs::read_link(format!("/proc/{}/fd/{number}", server.child.id())).is_ok();
    (0..).find(|number| !is_open(number)).expect("not all are open")
}

/// How often it has gone to sleep, which it does once per wait.
fn sleeps(server: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).expect("Linux counts them")
}

fn answers(client: &mut Peer) {
    client.send("hola");
    assert_eq!(client.bytes(4), b"hola");
}

/// The log, line by line.
fn log_of(server: &mut Served) -> Receiver<String> {
    let stderr = server.child.stderr.take().expect("it is piped");
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok).filter(|line| line.starts_with('[')) {
            let _ = said.send(line);
        }
    });
    heard
}

#[test]
fn without_descriptors_the_connected_are_served_and_the_others_wait_for_the_next_free_one() {
    if !has_prlimit() {
        return;
    }
    let mut server = Served::start(&["echo"]);
    let log = log_of(&mut server);
    let mut inside: Vec<Peer> = (0..8).map(|_| server.connect()).collect();
    inside.iter_mut().for_each(answers);
    limit(&server, next_descriptor(&server));
    // They stand in the kernel's backlog.
    let mut outside: Vec<Peer> = (0..10).map(|_| server.connect()).collect();
    outside.iter_mut().for_each(|peer| peer.send("hola"));
    let first = log.recv_timeout(LIMIT).expect("it says that it cannot accept");
    assert!(first.contains("server #1: cannot accept for now: too many open files"), "{first}");

    // Time with nothing to do: twenty attempts a second, and not a busy loop. Those inside do not notice.
    let before = sleeps(&server);
    let second = log.recv_timeout(LIMIT).expect("it says that it goes on");
    let slept = sleeps(&server) - before;
    let (_, numbers) = second.split_once("still cannot accept after ").expect("the next word is how long");
    let (seconds, attempts) = numbers.split_once(" s, ").expect("seconds, and then attempts");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let attempts: u64 = attempts.split(' ').next().and_then(|count| count.parse().ok()).expect("a number of attempts");
    assert!(seconds >= 1, "at most one line a second: {second}");
    assert!((1..=20 * (seconds + 1)).contains(&attempts), "{second}");
    assert!(slept <= 60 * (seconds + 1), "it has woken {slept} times: {second}");
    inside.iter_mut().for_each(answers);

    // One leaves, one comes in, and so on: everybody is answered in the end.
    drop(inside.pop());
    let mut next = outside.remove(0);
    assert_eq!(next.bytes(4), b"hola", "the first in line has the place");
    drop((inside, next));
    for mut peer in outside {
        assert_eq!(peer.bytes(4), b"hola");
        answers(&mut peer);
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = log.recv_timeout(left).expect("it says that it is over");
        if line.contains("accepting again: descriptors were lacking for ") {
            assert!(line.ends_with(" attempts had failed"), "{line}");
            break;
        }
        assert!(line.contains("still cannot accept after "), "{line}");
    }
    answers(&mut server.connect());
}

/// No connection has closed: the limit was raised, or a file elsewhere in the process.
#[test]
fn a_descriptor_that_is_freed_anywhere_is_noticed() {
    if !has_prlimit() {
        return;
    }
    let mut server = Served::start(&["echo"]);
    let log = log_of(&mut server);
    let none = next_descriptor(&server);
    limit(&server, none);
    let mut outside = server.connect();
    outside.send("hola");
    let said = log.recv_timeout(LIMIT).expect("it says that it cannot accept");
    assert!(said.contains("cannot accept"), "{said}");
    limit(&server, none + 20);
    assert_eq!(outside.bytes(4), b"hola");
}
