//! Lesson 12, telnet lines.

use std::io::{BufReader, Read};
use std::net::Shutdown;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, heard, rest_of, send};

#[test]
fn telnet_lines_reach_everybody_and_commands_are_no_text() {
    let (_lesson, port) = Lesson::serve("12_telnet_lines");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    expect(&ana, "#3 is here\r\n");
    // "Will you echo?" in the middle of a word is refused, and is not part of it.
    for piece in [&b"ho"[..], b"\xff\xfd\x01l", b"a\r", b"\nwho\r\n"] {
        send(&bob, piece);
    }
    let mut refusal = [0; 3];
    (&bob).read_exact(&mut refusal).expect("it is answered");
    assert_eq!(refusal, *b"\xff\xfc\x01");
    expect(&bob, "#3: hola\r\nhere are #2, #3\r\n");
    send(&ana, "\u{1b}[2J\nquit\nnot heard\n");
    expect(&ana, "#3: hola\r\n#2: ␛[2J\r\nadiós\r\n");
    assert_eq!(rest_of(&ana), b"");
    expect(&bob, "#2: ␛[2J\r\n#2 has left\r\n");
    let eva = connect(port);
    expect(&bob, "#4 is here\r\n");
    // What Debian's telnet sends at Ctrl-C. The mark is refused, or it would go on hiding what comes.
    send(&eva, b"\xff\xf4\xff\xfd\x06");
    expect(&eva, "¡Bienvenido! You are #4\r\nadiós\r\n");
    expect(&bob, "#4 has left\r\n");
    send(&bob, "last words");
    bob.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(rest_of(&bob), b"#3: last words\r\n");
}

#[test]
fn telnet_lines_bound_what_a_peer_can_fill() {
    let (lesson, port) = Lesson::serve("12_telnet_lines");
    let talker = connect(port);
    expect(&talker, "¡Bienvenido! You are #2\r\n");
    let wordy = connect(port);
    send(&wordy, "x".repeat(1001));
    expect(&wordy, "¡Bienvenido! You are #3\r\nline over 1000 bytes, good-bye\r\n");
    assert_eq!(rest_of(&wordy), b"");
    drop(wordy);
    expect(&talker, "#3 is here\r\n#3 has left\r\n");
    let sleeper = connect(port);
    expect(&talker, "#4 is here\r\n");
    let text = "x".repeat(990);
    let mut reader = BufReader::new(&talker);
    let said = format!("#2: {text}\r\n");
    let lines = format!("{text}\n").repeat(64);
    for _ in 0..4000 {
        send(&talker, &lines);
        for _ in 0..64 {
            match heard(&mut reader) {
                line if line == said => {}
                line => {
                    assert_eq!((line.as_str(), heard(&mut reader)), ("#4 has left\r\n", said));
                    assert!(lesson.next_line().starts_with("#4 failed: too slow"));
                    drop(sleeper);
                    return;
                }
            }
        }
    }
    panic!("the one who does not read has to go");
}
