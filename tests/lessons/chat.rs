//! Lesson 7, the chat.

use std::io::BufReader;
use std::net::Shutdown;
use std::thread;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, heard, reset, rest_of, send, send_until_stuck};

#[test]
fn chat_tells_everybody() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    expect(&ana, "#3 is here\r\n");
    for byte in "¡hola!\r\n".as_bytes() {
        send(&ana, [*byte]);
    }
    for member in [&ana, &bob] {
        expect(member, "#2: ¡hola!\r\n");
    }
    send(&bob, "one\n\u{1b}[2Jtwo\nunfinished");
    bob.shutdown(Shutdown::Write).expect("it is open");
    let said = "#3: one\r\n#3: ␛[2Jtwo\r\n#3: unfinished\r\n";
    expect(&ana, &format!("{said}#3 has left\r\n"));
    assert_eq!(String::from_utf8_lossy(&rest_of(&bob)), said);
}

#[test]
fn chat_goes_on_when_a_member_is_reset_or_says_too_much_at_once() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&ana, "#3 is here\r\n");
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    reset(bob);
    expect(&ana, "#3 has left\r\n");
    let eva = connect(port);
    expect(&ana, "#4 is here\r\n");
    send(&eva, vec![b'x'; 64 * 1024 + 1]);
    expect(&eva, "¡Bienvenido! You are #4\r\nline over 65536 bytes\r\n");
    expect(&ana, "#4 has left\r\n");
    send(&ana, "alone\n");
    expect(&ana, "#2: alone\r\n");
}

#[test]
fn chat_drops_who_does_not_read_and_nobody_else() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let talker = connect(port);
    expect(&talker, "¡Bienvenido! You are #2\r\n");
    let listener = connect(port);
    expect(&listener, "¡Bienvenido! You are #3\r\n");
    let sleeper = connect(port);
    expect(&sleeper, "¡Bienvenido! You are #4\r\n");
    expect(&talker, "#3 is here\r\n#4 is here\r\n");
    expect(&listener, "#4 is here\r\n");

    // Everybody else hears everything, in order, before the sleeper is gone and after.
    let text = "x".repeat(60_000);
    let mut readers = [BufReader::new(&talker), BufReader::new(&listener)];
    let mut said_after = 0;
    for number in 0..4000 {
        send(&talker, format!("{number} {text}\n"));
        let said = format!("#2: {number} {text}\r\n");
        let [mut at_talker, mut at_listener] = readers.each_mut().map(heard);
        if said_after == 0 && at_talker == "#4 has left\r\n" {
            assert_eq!(at_listener, at_talker);
            [at_talker, at_listener] = readers.each_mut().map(heard);
            said_after = 1;
        } else if said_after > 0 {
            said_after += 1;
        }
        assert!(at_talker == said && at_listener == said, "line {number}");
        if said_after == 10 {
            return;
        }
    }
    panic!("the one who does not read has to go");
}

#[test]
fn chat_holds_back_who_talks_and_does_not_read() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let talker = connect(port);
    expect(&talker, "¡Bienvenido! You are #2\r\n");
    let text = "x".repeat(1000);
    let count = 64 * 1024;
    let bytes: Vec<u8> = (0..count).flat_map(|number| format!("{number} {text}\n").into_bytes()).collect();
    let sent = send_until_stuck(&talker, &bytes);
    let writer = talker.try_clone().expect("there are descriptors");
    let writer = thread::spawn(move || send(&writer, &bytes[sent..]));
    let mut reader = BufReader::new(&talker);
    for number in 0..count {
        assert_eq!(heard(&mut reader), format!("#2: {number} {text}\r\n"));
    }
    writer.join().expect("all was taken");
}
