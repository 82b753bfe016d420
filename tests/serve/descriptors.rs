//! No free descriptor: a start that cannot work fails with advice. A running server goes on serving its connections,
//! loses none, logs little, and accepts again when a descriptor is free.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use super::served::{LIMIT, Peer, Served};

/// Runs the program with a limit of `descriptors` to its end.
fn run_with(descriptors: usize, args: &str) -> Output {
    let line = format!("ulimit -n {descriptors}; exec {} {args}", env!("CARGO_BIN_EXE_bucle"));
    Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output().expect("a shell")
}

#[test]
fn too_few_descriptors_at_the_start_are_an_error_with_advice_and_status_6() {
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
            let stderr = String::from_utf8_lossy(&output.stderr);
            let case = format!("{args} with {descriptors}: {:?}: {stderr}", output.status);
            if descriptors == 3 && output.status.code() == Some(127) {
                // The loader of the system has no descriptor for the libraries, and prints its own error.
                continue;
            }
            assert_eq!(output.status.code(), Some(6), "{case}");
            assert!(stderr.contains(&format!(" {descriptors}")) && stderr.contains("\n  try:  "), "{case}");
            assert!(stderr.contains("ulimit"), "{case}");
            assert!(output.stdout.is_empty(), "{case}");
        }
    }
}

#[test]
fn max_connections_beyond_the_descriptors_is_reported() {
    let line =
        format!("ulimit -n 70; exec {} serve tutorial --port 0 --max-connections 1000", env!("CARGO_BIN_EXE_bucle"));
    let mut command = Command::new("sh");
    command.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = Served::of(command);
    let connected: Vec<Peer> = (0..38).map(|_| server.greeted()).collect();
    assert_eq!(server.connect().rest(), b"server full, try again later\r\n");
    drop(connected);
    server.signal("-TERM");
    let (status, stderr) = server.end();
    assert_eq!(status, Some(0));
    assert!(stderr.contains("room for 38 connections, not for 1000"), "{stderr}");
}

/// Sets the soft limit of descriptors of a running process.
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

/// The lowest free descriptor, which the process will get next. As a limit it leaves no free descriptor.
fn next_descriptor(server: &Served) -> usize {
    let is_open = |number: &usize| fs::read_link(format!("/proc/{}/fd/{number}", server.child.id())).is_ok();
    (0..).find(|number| !is_open(number)).expect("not all are open")
}

/// How often the process has gone to sleep: once for each wait.
fn sleeps(server: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).expect("Linux counts them")
}

fn answers(client: &mut Peer) {
    client.send("hola");
    assert_eq!(client.bytes(4), b"hola");
}

/// The lines of the log, as they come.
fn log_of(server: &mut Served) -> Receiver<String> {
    let stderr = server.child.stderr.take().expect("it is piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok).filter(|line| line.starts_with('[')) {
            let _ = sender.send(line);
        }
    });
    receiver
}

#[test]
fn without_free_descriptors_connections_are_served_and_new_ones_wait() {
    if !has_prlimit() {
        return;
    }
    let mut server = Served::start(&["echo"]);
    let log = log_of(&mut server);
    let mut connected: Vec<Peer> = (0..8).map(|_| server.connect()).collect();
    connected.iter_mut().for_each(answers);
    limit(&server, next_descriptor(&server));
    // These connections wait in the kernel's backlog.
    let mut waiting: Vec<Peer> = (0..10).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|peer| peer.send("hola"));
    let first = log.recv_timeout(LIMIT).expect("the server logs that it cannot accept");
    assert!(first.contains("server #1: cannot accept for now: too many open files"), "{first}");

    // An idle server makes twenty attempts a second, which is no busy loop. Its connections notice nothing.
    let before = sleeps(&server);
    let second = log.recv_timeout(LIMIT).expect("the server logs that it still tries");
    let slept = sleeps(&server) - before;
    let (_, numbers) = second.split_once("still cannot accept after ").expect("the next word is how long");
    let (seconds, attempts) = numbers.split_once(" s, ").expect("seconds, and then attempts");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let attempts: u64 = attempts.split(' ').next().and_then(|count| count.parse().ok()).expect("a number of attempts");
    assert!(seconds >= 1, "at most one line a second: {second}");
    assert!((1..=20 * (seconds + 1)).contains(&attempts), "{second}");
    assert!(slept <= 60 * (seconds + 1), "the server has woken {slept} times: {second}");
    connected.iter_mut().for_each(answers);

    // Each connection that closes makes room for the next one, until all have been served.
    drop(connected.pop());
    let mut next = waiting.remove(0);
    assert_eq!(next.bytes(4), b"hola", "the first connection of the backlog is accepted");
    drop((connected, next));
    for mut peer in waiting {
        assert_eq!(peer.bytes(4), b"hola");
        answers(&mut peer);
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = log.recv_timeout(left).expect("the server logs that it accepts again");
        if line.contains("accepting again: no descriptor was free for ") {
            assert!(line.ends_with(" attempts failed"), "{line}");
            break;
        }
        assert!(line.contains("still cannot accept after "), "{line}");
    }
    answers(&mut server.connect());
}

/// A descriptor can also become free without a closed connection: the limit was raised, or a file of the process was
/// closed.
#[test]
fn a_descriptor_freed_without_a_close_is_used() {
    if !has_prlimit() {
        return;
    }
    let mut server = Served::start(&["echo"]);
    let log = log_of(&mut server);
    let none = next_descriptor(&server);
    limit(&server, none);
    let mut waiting = server.connect();
    waiting.send("hola");
    let stderr = log.recv_timeout(LIMIT).expect("the server logs that it cannot accept");
    assert!(stderr.contains("cannot accept"), "{stderr}");
    limit(&server, none + 20);
    assert_eq!(waiting.bytes(4), b"hola");
}
