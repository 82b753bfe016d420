//! Bytes that mean something else: telnet commands without measure or end, urgent data, and what is no text at all.

use std::io::Write;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::peer::{Peer, said};
use super::siege::{Siege, faults, scaled};

faults! {
    a_flood_of_telnet_commands on "chat" within 8 MiB;
    a_flood_of_questions_whose_answers_are_not_read on "relay" within 8 MiB;
    an_option_that_is_offered_again_and_again on "chat" within 4 MiB;
    a_subnegotiation_without_end on "chat" within 4 MiB;
    a_session_cut_at_every_byte on "chat" within 8 MiB;
    what_is_no_text_is_not_shown_to_others on "chat" within 4 MiB;
    urgent_data on "chat" within 4 MiB;
}

const NOP: &[u8] = b"\xff\xf1";
const DO_ECHO: &[u8] = b"\xff\xfd\x01";
const WONT_ECHO: &[u8] = b"\xff\xfc\x01";
const DONT_ECHO: &[u8] = b"\xff\xfe\x01";
const SUBNEGOTIATION: &[u8] = b"\xff\xfa\x18";
const SUBNEGOTIATION_END: &[u8] = b"\xff\xf0";
const ARE_YOU_THERE: &[u8] = b"\xff\xf6";

/// Says it all, and the last word to be heard; on the side, for the server may not read all of it at once.
fn say_and_hear_last(peer: &mut Peer, bytes: &[u8], last: &str) {
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        scope.spawn(move || {
            (&stream).write_all(bytes).expect("it is read in the end");
            (&stream).write_all(format!("{last}\r\n").as_bytes()).expect("it is read in the end");
        });
        // Answers to commands have no line break: they stand in front of the line.
        while !peer.line().ends_with(last.as_bytes()) {}
    });
}

fn a_flood_of_telnet_commands(siege: &Siege) {
    let mut peer = siege.member();
    say_and_hear_last(&mut peer, &NOP.repeat(scaled(2 * 1024 * 1024)), "still here");
}

/// Ten bytes of answer for two of question, and nobody reads them: then the questions are not read either.
fn a_flood_of_questions_whose_answers_are_not_read(siege: &Siege) {
    for question in [ARE_YOU_THERE, DO_ECHO] {
        let flood = question.repeat(4 * 1024 * 1024);
        let peer = siege.stuck_member();
        let sent = peer.send_until_stuck(&flood, Duration::from_millis(300));
        assert!(sent < flood.len(), "it was read from on and on: {sent} bytes");
        peer.reset();
    }
}

/// RFC 1143 is about this: two sides that agree to disagree must not go on telling each other.
fn an_option_that_is_offered_again_and_again(siege: &Siege) {
    let mut peer = siege.member();
    let count = scaled(10_000);
    let mut asked = DO_ECHO.repeat(count);
    asked.extend_from_slice(&DONT_ECHO.repeat(count));
    let mut answers = 0;
    thread::scope(|scope| {
        let stream = peer.stream().try_clone().expect("a descriptor");
        scope.spawn(move || {
            (&stream).write_all(&asked).expect("it is read in the end");
            (&stream).write_all(b"enough\r\n").expect("it is read in the end");
        });
        loop {
            let line = peer.line();
            answers += line.windows(3).filter(|bytes| *bytes == WONT_ECHO).count();
            if line.ends_with(b"enough") {
                break;
            }
        }
    });
    assert!(answers <= count, "{answers} answers to {count} questions and as many statements");
}

/// Its beginning is kept, its middle skipped, and behind its end the conversation goes on.
fn a_subnegotiation_without_end(siege: &Siege) {
    let mut peer = siege.member();
    let mut endless = SUBNEGOTIATION.to_vec();
    endless.resize(scaled(16 * 1024 * 1024), b'x');
    endless.extend_from_slice(SUBNEGOTIATION_END);
    say_and_hear_last(&mut peer, &endless, "at last");
}

/// A command, an option, a subnegotiation, a doubled 255, each kind of line break and a letter of three bytes: wherever
/// two packets meet, the same is heard.
fn a_session_cut_at_every_byte(siege: &Siege) {
    let session =
        b"ho\xff\xf1la\r\n\xff\xfd\x18t\xff\xfa\x18\x01\xff\xff\xff\xf0wo\r\0\xe2\x82\xac three\n\xff\xfb\x1ffour\r\n";
    let want: &[&str] = &["hola", "two", "€ three", "four"];
    let peers: Vec<Peer> = (1..session.len()).map(|_| Peer::connect(siege.server.address)).collect();
    for (peer, cut) in peers.iter().zip(1..) {
        peer.send(&session[..cut]);
    }
    // The first parts have been read when a line that was said later has been heard.
    siege.member().reset();
    for (mut peer, cut) in peers.into_iter().zip(1..) {
        peer.send(&session[cut..]);
        peer.finish();
        let own_nick = if siege.is_chat() { nick_in(&peer.line()) } else { String::new() };
        let heard = String::from_utf8_lossy(&peer.rest()).into_owned();
        if siege.is_chat() {
            let own = heard.lines().filter_map(|line| line[line.find("guest").unwrap_or(0)..].strip_prefix(&own_nick));
            assert_eq!(own.collect::<Vec<_>>(), want, "cut at {cut}");
        }
    }
}

/// `guest7: ` from the greeting: what stands in front of everything it says.
fn nick_in(greeting: &[u8]) -> String {
    let greeting = String::from_utf8_lossy(greeting);
    let nick =
        greeting.split_whitespace().find_map(|word| word.strip_suffix(',').filter(|word| word.starts_with("guest")));
    format!("{}: ", nick.unwrap_or_else(|| panic!("{greeting:?} names no guest")))
}

/// The witness of a chat looks at every byte that it hears.
fn what_is_no_text_is_not_shown_to_others(siege: &Siege) {
    let mut listener = siege.member();
    let mut peer = siege.member();
    let table: &[(&str, &[u8], &str)] = &[
        ("a cut letter", b"\xe2\x82", "\u{fffd}"),
        ("no letter", b"\xc3(", "\u{fffd}("),
        ("a surrogate", b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        ("a nul", b"a\0b", "a␀b"),
        ("the title of the window", b"\x1b]0;mine\x07", "␛]0;mine␇"),
        ("a clear screen", b"\x1b[2J", "␛[2J"),
        ("a clear screen in one byte of C1", b"\xc2\x9b2J", "\u{fffd}2J"),
        ("a backspace", b"a\x08b", "a␈b"),
        ("a 255", b"\xff\xff", "\u{fffd}"),
    ];
    for (name, bytes, want) in table {
        peer.send([b"it is ", *bytes, b".\r\n"].concat());
        if siege.is_chat() {
            let heard = loop {
                let line = listener.line();
                if said(&line).starts_with(b"it is ") {
                    break line;
                }
            };
            assert_eq!(String::from_utf8_lossy(said(&heard)), format!("it is {want}."), "{name}");
        }
    }
    peer.say_and_hear("that was all");
}

/// The urgent byte itself is not part of what is said (tcp(7)); what stands around it is.
fn urgent_data(siege: &Siege) {
    let mut peer = siege.member();
    for at in 0..scaled(1_000) {
        SockRef::from(peer.stream()).send_out_of_band(b"!").expect("it is open");
        peer.say_and_hear(&format!("urgent {at}"));
    }
}
