//! Slow: peers that read little, late or never, and peers that say what they say a byte at a time.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::peer::{Peer, said};
use super::server::LIMIT;
use super::siege::{Siege, faults, scaled};
use super::talk::Listener;

faults! {
    a_slow_reader_hears_everything on "relay" within 8 MiB;
    who_sends_and_never_reads_is_not_read_from on "relay" within 8 MiB;
    a_stuck_member_in_a_flood_of_talk on "chat" within 16 MiB;
    many_stuck_members_in_a_flood_of_talk on "relay" within 88 MiB;
    a_window_shut_for_a_while on "chat" within 8 MiB;
    lines_that_never_end_byte_by_byte on "relay" within 4 MiB;
    a_conversation_byte_by_byte on "chat" within 4 MiB;
}

/// Answers wait until they are read, and the questions behind them too: nothing is lost for being slow.
fn a_slow_reader_hears_everything(siege: &Siege) {
    let mut reader = siege.stuck_member();
    let questions: Vec<String> = (0..2_000).map(|at| format!("slowly {at} {}!", ".".repeat(at % 100))).collect();
    thread::scope(|scope| {
        let stream = reader.stream().try_clone().expect("a descriptor");
        let text = questions.join("\n") + "\n";
        scope.spawn(move || std::io::Write::write_all(&mut &stream, text.as_bytes()).expect("it is read in the end"));
        for (at, question) in questions.iter().enumerate() {
            reader.hear(question);
            if at % 20 == 0 {
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
}

/// Its answers pile up to the high-water mark; then it is the sender's kernel that fills up.
fn who_sends_and_never_reads_is_not_read_from(siege: &Siege) {
    let mut sender = siege.stuck_member();
    let line = format!("{}\n", "unread.".repeat(100));
    // More than what the two kernels take on their own account (`tcp_rmem`, `tcp_wmem`).
    let lines = line.repeat(96 * 1024);
    let sent = sender.send_until_stuck(lines.as_bytes(), Duration::from_millis(500));
    assert!(sent < lines.len(), "it is read from on and on");
    sender.open_window();
    // The rest of the line that was cut.
    let whole = sent.div_ceil(line.len());
    thread::scope(|scope| {
        let stream = sender.stream().try_clone().expect("a descriptor");
        let rest = &lines.as_bytes()[sent..whole * line.len()];
        scope.spawn(move || std::io::Write::write_all(&mut &stream, rest).expect("it is read in the end"));
        for _ in 0..whole {
            sender.hear(line.trim_end());
        }
    });
}

/// What is said to it waits up to a limit; then it is disconnected, and the others have noticed nothing.
fn a_stuck_member_in_a_flood_of_talk(siege: &Siege) {
    let mut stuck = siege.stuck_member();
    let listener = Listener::of(siege.server.address, siege.is_chat());
    let talk = scaled(32 * 1024 * 1024);
    siege.talk(talk, &[&listener]);
    listener.end();
    assert!(stuck.rest().len() < talk, "it was disconnected before the end");
}

/// All together may keep waiting no more than the server has decided: 64 MiB, however many they are.
fn many_stuck_members_in_a_flood_of_talk(siege: &Siege) {
    let stuck: Vec<Peer> = (0..scaled(1_000)).map(|_| Peer::with_small_window(siege.server.address)).collect();
    let listeners: Vec<Listener> = (0..3).map(|_| Listener::of(siege.server.address, siege.is_chat())).collect();
    siege.talk(scaled(256 * 1024 * 1024), &listeners.iter().collect::<Vec<_>>());
    listeners.into_iter().for_each(Listener::end);
    drop(stuck);
}

/// A laptop that was closed for a moment: nothing of what was said meanwhile is missing.
fn a_window_shut_for_a_while(siege: &Siege) {
    let mut away = siege.stuck_member();
    siege.talk(500 * 1000, &[]);
    thread::sleep(Duration::from_millis(500));
    let mut heard = 0;
    while heard < 500 {
        heard += usize::from(said(&away.line()).starts_with(b"talk "));
    }
    away.say_and_hear("I am back");
}

/// Hundreds who each send one byte now and then, to keep a place busy (slowloris).
fn lines_that_never_end_byte_by_byte(siege: &Siege) {
    let mut slow: Vec<Peer> = (0..scaled(1_000)).map(|_| siege.visitor()).collect();
    for byte in "I have not said it yet".as_bytes() {
        slow.iter().for_each(|peer| peer.send([*byte]));
        thread::sleep(Duration::from_millis(20));
    }
    siege.witness.wait_for_lines(10);
    let last = slow.last_mut().expect("there are some");
    last.send("\n");
    last.hear("I have not said it yet");
    slow.into_iter().for_each(Peer::reset);
}

fn a_conversation_byte_by_byte(siege: &Siege) {
    let mut peer = siege.member();
    for at in 0..50 {
        let text = format!("letra por letra, ñ, €, {at}");
        for byte in format!("{text}\r\n").as_bytes() {
            peer.send([*byte]);
        }
        peer.hear(&text);
    }
}

/// Its outbox may be small and its connection fine: who takes nothing at all for a while is given up, who takes a little
/// now and then is not.
#[test]
fn a_stuck_member_is_given_up_in_the_end_and_a_slow_one_is_not() {
    // Enough room that it is the time which decides.
    let siege = Siege::of(&["chat", "--write-timeout", "2s", "--outbox-limit", "64M"]);
    let (mut stuck, mut slow) = (siege.stuck_member(), siege.stuck_member());
    let (tells, told) = mpsc::channel();
    let (heard, has_heard) = mpsc::channel();
    thread::scope(|scope| {
        let slow_reader = scope.spawn(move || {
            while told.recv().is_ok() {
                (0..100).for_each(|_| drop(slow.line()));
                heard.send(()).expect("the test waits for it");
            }
            slow.say_and_hear("I am still here");
        });
        let began = Instant::now();
        let all = siege.server.vitals().descriptors();
        while siege.server.vitals().descriptors() >= all {
            siege.talk(100 * 1000, &[]);
            tells.send(()).expect("it reads");
            has_heard.recv_timeout(LIMIT).expect("it hears all of it");
            assert!(began.elapsed() < LIMIT, "the stuck member is still there");
        }
        drop(tells);
        slow_reader.join().expect("it hears whole lines");
    });
    stuck.rest();
    siege.end();
}
