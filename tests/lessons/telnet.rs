//! Lesson 12, telnet lines.

use std::io::{BufReader, Read};
use std::net::Shutdown;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, read_line, rest_of, send};

#[test]
fn telnet_lines_reach_all_clients_and_commands_are_not_text() {
    let (_lesson, port) = Lesson::serve("12_telnet_lines");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    expect(&ana, "#3 has joined\r\n");
    // The request DO ECHO in the middle of a word is refused, and is not part of the word.
    for piece in [&b"ho"[..], b"\xff\xfd\x01l", b"a\r", b"\nwho\r\n"] {
        send(&bob, piece);
    }
    let mut refusal = [0; 3];
    (&bob).read_exact(&mut refusal).expect("the request is answered");
    assert_eq!(refusal, *b"\xff\xfc\x01");
    expect(&bob, "#3: hola\r\nconnected: #2, #3\r\n");
    send(&ana, "\u{1b}[2J\nquit\nignored\n");
    expect(&ana, "#3: hola\r\n#2: ␛[2J\r\nadiós\r\n");
    assert_eq!(rest_of(&ana), b"");
    expect(&bob, "#2: ␛[2J\r\n#2 has left\r\n");
    let eva = connect(port);
    expect(&bob, "#4 has joined\r\n");
    // The bytes that Debian's telnet sends at Ctrl-C: IP, DO TIMING-MARK. The timing mark must be refused, because that
    // client hides all output until the answer.
    send(&eva, b"\xff\xf4\xff\xfd\x06");
    expect(&eva, "¡Bienvenido! You are #4\r\nadiós\r\n");
    expect(&bob, "#4 has left\r\n");
    send(&bob, "last words");
    bob.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(rest_of(&bob), b"#3: last words\r\n");
}

#[test]
fn telnet_limits_a_line_and_the_outbox() {
    let (lesson, port) = Lesson::serve("12_telnet_lines");
    let sender = connect(port);
    expect(&sender, "¡Bienvenido! You are #2\r\n");
    let wordy = connect(port);
    send(&wordy, "x".repeat(1001));
    expect(&wordy, "¡Bienvenido! You are #3\r\nline over 1000 bytes, good-bye\r\n");
    assert_eq!(rest_of(&wordy), b"");
    drop(wordy);
    expect(&sender, "#3 has joined\r\n#3 has left\r\n");
    let sleeper = connect(port);
    expect(&sender, "#4 has joined\r\n");
    let text = "x".repeat(990);
    let mut reader = BufReader::new(&sender);
    let message = format!("#2: {text}\r\n");
    let lines = format!("{text}\n").repeat(64);
    for _ in 0..4000 {
        send(&sender, &lines);
        for _ in 0..64 {
            match read_line(&mut reader) {
                line if line == message => {}
                line => {
                    assert_eq!((line.as_str(), read_line(&mut reader)), ("#4 has left\r\n", message));
                    assert!(lesson.next_line().starts_with("#4 failed: too slow"));
                    drop(sleeper);
                    return;
                }
            }
        }
    }
    panic!("the client that does not read was not disconnected");
}
