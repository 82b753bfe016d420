//! Faults in bytes: floods of telnet commands, very long subnegotiations, urgent data, and invalid text.

use std::io::Write;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::harness::{Harness, faults, scaled};
use super::peer::{Peer, without_nick};
use super::retry::retry;

faults! {
    a_flood_of_telnet_commands on "chat" within 8 MiB;
    a_flood_of_commands_whose_answers_are_not_read on "relay" within 8 MiB;
    an_option_requested_many_times on "chat" within 4 MiB;
    a_very_long_subnegotiation on "chat" within 4 MiB;
    a_session_cut_at_every_byte on "chat" within 8 MiB;
    invalid_text_is_not_sent_to_others on "chat" within 4 MiB;
    urgent_data on "chat" within 4 MiB;
}

const NOP: &[u8] = b"\xff\xf1";
const DO_ECHO: &[u8] = b"\xff\xfd\x01";
/// Answered each time, unlike a request for an option.
const DO_TIMING_MARK: &[u8] = b"\xff\xfd\x06";
const WONT_ECHO: &[u8] = b"\xff\xfc\x01";
const DONT_ECHO: &[u8] = b"\xff\xfe\x01";
const SUBNEGOTIATION: &[u8] = b"\xff\xfa\x18";
const SUBNEGOTIATION_END: &[u8] = b"\xff\xf0";
const ARE_YOU_THERE: &[u8] = b"\xff\xf6";

/// Sends `bytes` and a line with the text `last`, and waits for that line. It sends on another thread, because the
/// server may not read everything before this peer reads.
fn send_and_wait_for_last(peer: &mut Peer, bytes: &[u8], last: &str) {
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        scope.spawn(move || {
            (&stream).write_all(bytes).expect("the server reads it later");
            (&stream).write_all(format!("{last}\r\n").as_bytes()).expect("the server reads it later");
        });
        // Answers to commands have no line break, so they come in front of the line.
        while !peer.line().ends_with(last.as_bytes()) {}
    });
}

fn a_flood_of_telnet_commands(harness: &Harness) {
    let mut peer = harness.member();
    send_and_wait_for_last(&mut peer, &NOP.repeat(scaled(2 * 1024 * 1024)), "still here");
}

/// The answer has ten bytes and the command two. If the peer does not read the answers, the server must stop reading
/// commands.
fn a_flood_of_commands_whose_answers_are_not_read(harness: &Harness) {
    for command in [ARE_YOU_THERE, DO_TIMING_MARK] {
        let flood = command.repeat(4 * 1024 * 1024);
        let peer = harness.stuck_member();
        let sent = peer.send_until_stuck(&flood, Duration::from_millis(300));
        assert!(sent < flood.len(), "the server went on reading: {sent} bytes");
        peer.reset();
    }
}

/// RFC 1143 prevents this loop: two sides that disagree must not go on answering each other.
fn an_option_requested_many_times(harness: &Harness) {
    let mut peer = harness.member();
    let count = scaled(10_000);
    let mut requests = DO_ECHO.repeat(count);
    requests.extend_from_slice(&DONT_ECHO.repeat(count));
    let mut answers = 0;
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        scope.spawn(move || {
            (&stream).write_all(&requests).expect("the server reads it later");
            (&stream).write_all(b"enough\r\n").expect("the server reads it later");
        });
        loop {
            let line = peer.line();
            answers += line.windows(3).filter(|bytes| *bytes == WONT_ECHO).count();
            if line.ends_with(b"enough") {
                break;
            }
        }
    });
    assert!(answers <= count.min(64), "{answers} answers to {count} requests");
}

/// The server keeps the beginning of the subnegotiation, skips the rest, and continues after its end.
fn a_very_long_subnegotiation(harness: &Harness) {
    let mut peer = harness.member();
    let mut endless = SUBNEGOTIATION.to_vec();
    endless.resize(scaled(16 * 1024 * 1024), b'x');
    endless.extend_from_slice(SUBNEGOTIATION_END);
    send_and_wait_for_last(&mut peer, &endless, "at last");
}

/// The session has a command, an option, a subnegotiation, a doubled 255, each kind of line break and a character of
/// three bytes. Wherever the bytes are cut into two packets, the same lines must come back.
fn a_session_cut_at_every_byte(harness: &Harness) {
    let session =
        b"ho\xff\xf1la\r\n\xff\xfd\x18t\xff\xfa\x18\x01\xff\xff\xff\xf0wo\r\0\xe2\x82\xac three\n\xff\xfb\x1ffour\r\n";
    let want: &[&str] = &["hola", "two", "€ three", "four"];
    let peers: Vec<Peer> = (1..session.len()).map(|_| Peer::connect(harness.server.address)).collect();
    for (peer, cut) in peers.iter().zip(1..) {
        peer.send(&session[..cut]);
    }
    // When a line that was sent later has come back, the server has read the first parts.
    harness.member().reset();
    for (mut peer, cut) in peers.into_iter().zip(1..) {
        peer.send(&session[cut..]);
        peer.send_fin();
        let own_nick = if harness.is_chat() { nick_in(&peer.line()) } else { String::new() };
        let received = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
        if harness.is_chat() {
            let own =
                received.lines().filter_map(|line| line[line.find("guest").unwrap_or(0)..].strip_prefix(&own_nick));
            assert_eq!(own.collect::<Vec<_>>(), want, "cut at {cut}");
        }
    }
}

/// The prefix of this member's lines, such as `guest7: `, from the nick in the greeting.
fn nick_in(greeting: &[u8]) -> String {
    let greeting = String::from_utf8_lossy(greeting);
    let nick =
        greeting.split_whitespace().find_map(|word| word.strip_suffix(',').filter(|word| word.starts_with("guest")));
    format!("{}: ", nick.unwrap_or_else(|| panic!("{greeting:?} contains no nick")))
}

/// In a chat, the healthy client also checks every byte that it receives.
fn invalid_text_is_not_sent_to_others(harness: &Harness) {
    let mut listener = harness.member();
    let mut peer = harness.member();
    let table: &[(&str, &[u8], &str)] = &[
        ("an incomplete character", b"\xe2\x82", "\u{fffd}"),
        ("an invalid character", b"\xc3(", "\u{fffd}("),
        ("a surrogate", b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        ("a nul", b"a\0b", "a␀b"),
        ("the title of the window", b"\x1b]0;mine\x07", "␛]0;mine␇"),
        ("a clear screen", b"\x1b[2J", "␛[2J"),
        ("a clear screen in one byte of C1", b"\xc2\x9b2J", "\u{fffd}2J"),
        ("a backspace, which edits the line", b"a\x08b", "b"),
        ("a delete behind a wide character", "漢\x7fb".as_bytes(), "b"),
        ("a 255", b"\xff\xff", "\u{fffd}"),
    ];
    for (name, bytes, want) in table {
        peer.send([b"it is ", *bytes, b".\r\n"].concat());
        if harness.is_chat() {
            let received = loop {
                let line = listener.line();
                if without_nick(&line).starts_with(b"it is ") {
                    break line;
                }
            };
            assert_eq!(String::from_utf8_lossy(without_nick(&received)), format!("it is {want}."), "{name}");
        }
    }
    peer.send_and_wait("that was all");
}

/// An urgent byte that is no Data Mark of telnet is data like any other, and nothing around it is lost.
fn urgent_data(harness: &Harness) {
    let mut peer = harness.member();
    for at in 0..scaled(1_000) {
        retry(|| SockRef::from(peer.stream()).send_out_of_band(b"!")).expect("it is open");
        peer.send(format!("urgent {at}\n"));
        peer.wait_for_line(&format!("!urgent {at}"));
    }
}
