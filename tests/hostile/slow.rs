//! Slow peers: they read little, late or never, or send one byte at a time.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::harness::{Harness, faults, scaled};
use super::peer::{Peer, without_nick};
use super::server::LIMIT;
use super::talk::Listener;

faults! {
    a_slow_reader_receives_everything on "relay" within 8 MiB;
    a_peer_that_never_reads_is_not_read_from on "relay" within 8 MiB;
    a_stuck_member_in_a_flood_of_talk on "chat" within 16 MiB;
    many_stuck_members_in_a_flood_of_talk on "relay" within 88 MiB;
    a_window_closed_for_a_while on "chat" within 8 MiB;
    unfinished_lines_byte_by_byte on "relay" within 4 MiB;
    a_conversation_byte_by_byte on "chat" within 4 MiB;
}

/// Answers wait until they are read, and so do the lines behind them. Nothing is lost because a peer is slow.
fn a_slow_reader_receives_everything(harness: &Harness) {
    let mut reader = harness.stuck_member();
    let lines: Vec<String> = (0..2_000).map(|at| format!("slowly {at} {}!", ".".repeat(at % 100))).collect();
    thread::scope(|scope| {
        let stream = reader.stream().try_clone().expect("a descriptor");
        let text = lines.join("\n") + "\n";
        scope.spawn(move || {
            std::io::Write::write_all(&mut &stream, text.as_bytes()).expect("the server reads it later")
        });
        for (at, line) in lines.iter().enumerate() {
            reader.wait_for_line(line);
            if at % 20 == 0 {
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
}

/// The answers to this peer wait up to the high-water mark. Then the server stops reading, and the kernel of the peer
/// fills up.
fn a_peer_that_never_reads_is_not_read_from(harness: &Harness) {
    let mut sender = harness.stuck_member();
    let line = format!("{}\n", "unread.".repeat(100));
    // More than the two kernels can buffer (`tcp_rmem`, `tcp_wmem`).
    let lines = line.repeat(96 * 1024);
    let sent = sender.send_until_stuck(lines.as_bytes(), Duration::from_millis(500));
    assert!(sent < lines.len(), "the server went on reading");
    sender.open_window();
    // Send the rest of the line that was cut.
    let whole = sent.div_ceil(line.len());
    thread::scope(|scope| {
        let stream = sender.stream().try_clone().expect("a descriptor");
        let rest = &lines.as_bytes()[sent..whole * line.len()];
        scope.spawn(move || std::io::Write::write_all(&mut &stream, rest).expect("the server reads it later"));
        for _ in 0..whole {
            sender.wait_for_line(line.trim_end());
        }
    });
}

/// Lines for the stuck member wait up to a limit. Then the server disconnects it, and the other members notice nothing.
fn a_stuck_member_in_a_flood_of_talk(harness: &Harness) {
    let mut stuck = harness.stuck_member();
    let listener = Listener::of(harness.server.address, harness.is_chat());
    let talk = scaled(32 * 1024 * 1024);
    harness.talk(talk, &[&listener]);
    listener.end();
    assert!(stuck.read_to_end().len() < talk, "the stuck member got everything");
}

/// The server limits the waiting bytes of all connections together: 64 MiB, for any number of stuck members.
fn many_stuck_members_in_a_flood_of_talk(harness: &Harness) {
    let stuck: Vec<Peer> = (0..scaled(1_000)).map(|_| Peer::with_small_window(harness.server.address)).collect();
    let listeners: Vec<Listener> = (0..3).map(|_| Listener::of(harness.server.address, harness.is_chat())).collect();
    harness.talk(scaled(256 * 1024 * 1024), &listeners.iter().collect::<Vec<_>>());
    listeners.into_iter().for_each(Listener::end);
    drop(stuck);
}

/// As a laptop that is closed for a moment: afterwards no line is missing.
fn a_window_closed_for_a_while(harness: &Harness) {
    let mut away = harness.stuck_member();
    harness.talk(500 * 1000, &[]);
    thread::sleep(Duration::from_millis(500));
    let mut received = 0;
    while received < 500 {
        received += usize::from(without_nick(&away.line()).starts_with(b"talk "));
    }
    away.send_and_wait("I am back");
}

/// Many peers send one byte now and then, to occupy connections (slowloris).
fn unfinished_lines_byte_by_byte(harness: &Harness) {
    let mut slow: Vec<Peer> = (0..scaled(1_000)).map(|_| harness.peer()).collect();
    for byte in "I have not finished this line".as_bytes() {
        slow.iter().for_each(|peer| peer.send([*byte]));
        thread::sleep(Duration::from_millis(20));
    }
    harness.healthy.wait_for_lines(10);
    let last = slow.last_mut().expect("there are some");
    last.send("\n");
    last.wait_for_line("I have not finished this line");
    slow.into_iter().for_each(Peer::reset);
}

fn a_conversation_byte_by_byte(harness: &Harness) {
    let mut peer = harness.member();
    for at in 0..50 {
        let text = format!("letra por letra, ñ, €, {at}");
        for byte in format!("{text}\r\n").as_bytes() {
            peer.send([*byte]);
        }
        peer.wait_for_line(&text);
    }
}

/// The time limit applies to a peer that reads nothing, however little waits for it. A peer that reads a little now
/// and then is not disconnected.
#[test]
fn a_stuck_member_is_disconnected_and_a_slow_one_is_not() {
    // The limit of waiting bytes is so high that only the time limit can apply.
    let harness = Harness::of(&["chat", "--write-timeout", "2s", "--outbox-limit", "64M"]);
    let (mut stuck, mut slow) = (harness.stuck_member(), harness.stuck_member());
    let (sends, sent_lines) = mpsc::channel();
    let (received, was_received) = mpsc::channel();
    thread::scope(|scope| {
        let slow_reader = scope.spawn(move || {
            while sent_lines.recv().is_ok() {
                (0..100).for_each(|_| drop(slow.line()));
                received.send(()).expect("the test waits for it");
            }
            slow.send_and_wait("I am still here");
        });
        let began = Instant::now();
        let all = harness.server.vitals().descriptors();
        while harness.server.vitals().descriptors() >= all {
            harness.talk(100 * 1000, &[]);
            sends.send(()).expect("the slow reader runs");
            was_received.recv_timeout(LIMIT).expect("the slow reader receives everything");
            assert!(began.elapsed() < LIMIT, "the stuck member is still there");
        }
        drop(sends);
        slow_reader.join().expect("the slow reader does not panic");
    });
    stuck.read_to_end();
    harness.end();
}
