//! Floods: lines over the limit, thousands of lines in one packet, and nothing but line breaks.

use std::io::Write;
use std::thread;

use super::harness::{Harness, faults, scaled};
use super::peer::{Peer, without_nick};

faults! {
    lines_over_the_limit on "chat" within 8 MiB;
    unfinished_lines_just_below_the_limit on "relay" within 32 MiB;
    thousands_of_lines_at_once on "chat" within 8 MiB;
    a_million_bare_newlines on "relay" within 8 MiB;
}

/// The longest line that the server accepts (`telnet::lines::Lines::LIMIT`).
const LINE_LIMIT: usize = 64 * 1024;

/// The server reports the limit and closes the connection.
fn lines_over_the_limit(harness: &Harness) {
    for _ in 0..20 {
        let mut peer = harness.member();
        peer.send(vec![b'x'; LINE_LIMIT + 1]);
        peer.wait_for_line("line over 65536 bytes, good-bye");
        peer.read_to_end();
    }
    // The peer goes on sending. How much of this is sent depends on the kernels, so the result does not matter.
    let peer = harness.member();
    let endless = vec![b'x'; 16 * 1024 * 1024];
    let _ = peer.stream().write_all(&endless);
}

/// A peer can make the server keep one unfinished line: at most the limit, as long as it is connected.
fn unfinished_lines_just_below_the_limit(harness: &Harness) {
    let line = vec![b'x'; LINE_LIMIT];
    let mut peers: Vec<Peer> = (0..scaled(300)).map(|_| harness.peer()).collect();
    peers.iter().for_each(|peer| peer.send(&line));
    let last = peers.last_mut().expect("there are some");
    last.send("\n");
    last.wait_for_line(&"x".repeat(LINE_LIMIT));
    peers.into_iter().for_each(Peer::reset);
}

/// The lines are pipelined. Each is answered once, in order.
fn thousands_of_lines_at_once(harness: &Harness) {
    let mut peer = harness.member();
    let lines: Vec<String> = (0..5_000).map(|at| format!("line {at}")).collect();
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        let text = lines.join("\r\n") + "\r\n";
        scope.spawn(move || (&stream).write_all(text.as_bytes()).expect("the server reads it later"));
        for line in &lines {
            let received = loop {
                let received = peer.line();
                if without_nick(&received).starts_with(b"line ") {
                    break received;
                }
            };
            assert_eq!(String::from_utf8_lossy(without_nick(&received)), *line);
        }
    });
}

/// A relay treats an empty line as any other line. A chat ignores it.
fn a_million_bare_newlines(harness: &Harness) {
    let mut peer = harness.member();
    let count = scaled(1_000_000);
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        scope.spawn(move || {
            for _ in 0..count / 1000 {
                (&stream).write_all(&[b'\n'; 1000]).expect("the server reads it later");
            }
            (&stream).write_all(b"that was all\n").expect("the server reads it later");
        });
        let mut empty = 0;
        loop {
            let line = peer.line();
            if without_nick(&line) == b"that was all" {
                break;
            }
            empty += usize::from(line.is_empty());
        }
        assert_eq!(empty, if harness.is_chat() { 0 } else { count / 1000 * 1000 });
    });
}
