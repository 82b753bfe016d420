//! Too much at once: lines without end, thousands of lines in one packet, nothing but line breaks.

use std::io::Write;
use std::thread;

use super::peer::{Peer, said};
use super::siege::{Siege, faults, scaled};

faults! {
    lines_without_end on "chat" within 8 MiB;
    unfinished_lines_just_below_the_limit on "relay" within 32 MiB;
    thousands_of_lines_at_once on "chat" within 8 MiB;
    a_million_bare_newlines on "relay" within 8 MiB;
}

/// What a line may have (`telnet::lines::Lines::LIMIT`).
const LINE_LIMIT: usize = 64 * 1024;

/// The limit is said, and the conversation over.
fn lines_without_end(siege: &Siege) {
    for _ in 0..20 {
        let mut peer = siege.member();
        peer.send(vec![b'x'; LINE_LIMIT + 1]);
        peer.hear("line over 65536 bytes, good-bye");
        peer.rest();
    }
    // Who goes on and on meets a closed door; how much of it is still sent is up to the kernels.
    let peer = siege.member();
    let endless = vec![b'x'; 16 * 1024 * 1024];
    let _ = peer.stream().write_all(&endless);
}

/// Memory that a peer can make the server keep for a line: the limit, for as long as it stays.
fn unfinished_lines_just_below_the_limit(siege: &Siege) {
    let line = vec![b'x'; LINE_LIMIT];
    let mut peers: Vec<Peer> = (0..scaled(300)).map(|_| siege.visitor()).collect();
    peers.iter().for_each(|peer| peer.send(&line));
    let last = peers.last_mut().expect("there are some");
    last.send("\n");
    last.hear(&"x".repeat(LINE_LIMIT));
    peers.into_iter().for_each(Peer::reset);
}

/// Pipelined: answered in order, each once.
fn thousands_of_lines_at_once(siege: &Siege) {
    let mut peer = siege.member();
    let lines: Vec<String> = (0..5_000).map(|at| format!("line {at}")).collect();
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        let text = lines.join("\r\n") + "\r\n";
        scope.spawn(move || (&stream).write_all(text.as_bytes()).expect("it is read in the end"));
        for line in &lines {
            let heard = loop {
                let heard = peer.line();
                if said(&heard).starts_with(b"line ") {
                    break heard;
                }
            };
            assert_eq!(String::from_utf8_lossy(said(&heard)), *line);
        }
    });
}

/// Each is a line like any other to a relay; a chat has nothing to say about them.
fn a_million_bare_newlines(siege: &Siege) {
    let mut peer = siege.member();
    let count = scaled(1_000_000);
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        scope.spawn(move || {
            for _ in 0..count / 1000 {
                (&stream).write_all(&[b'\n'; 1000]).expect("it is read in the end");
            }
            (&stream).write_all(b"that was all\n").expect("it is read in the end");
        });
        let mut empty = 0;
        loop {
            let line = peer.line();
            if said(&line) == b"that was all" {
                break;
            }
            empty += usize::from(line.is_empty());
        }
        assert_eq!(empty, if siege.is_chat() { 0 } else { count / 1000 * 1000 });
    });
}
