//! Lesson 7, the chat.

use std::io::BufReader;
use std::net::Shutdown;
use std::thread;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, read_line, reset, rest_of, send, send_until_stuck};

#[test]
fn chat_sends_each_line_to_all_members() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    expect(&ana, "#3 has joined\r\n");
    for byte in "¡hola!\r\n".as_bytes() {
        send(&ana, [*byte]);
    }
    for member in [&ana, &bob] {
        expect(member, "#2: ¡hola!\r\n");
    }
    send(&bob, "one\n\u{1b}[2Jtwo\nunfinished");
    bob.shutdown(Shutdown::Write).expect("the connection is open");
    let messages = "#3: one\r\n#3: ␛[2Jtwo\r\n#3: unfinished\r\n";
    expect(&ana, &format!("{messages}#3 has left\r\n"));
    assert_eq!(String::from_utf8_lossy(&rest_of(&bob)), messages);
}

#[test]
fn chat_continues_after_a_reset_and_after_a_line_that_is_too_long() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&ana, "#3 has joined\r\n");
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    reset(bob);
    expect(&ana, "#3 has left\r\n");
    let eva = connect(port);
    expect(&ana, "#4 has joined\r\n");
    send(&eva, vec![b'x'; 64 * 1024 + 1]);
    expect(&eva, "¡Bienvenido! You are #4\r\nline over 65536 bytes\r\n");
    expect(&ana, "#4 has left\r\n");
    send(&ana, "alone\n");
    expect(&ana, "#2: alone\r\n");
}

#[test]
fn chat_disconnects_only_the_member_that_does_not_read() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let sender = connect(port);
    expect(&sender, "¡Bienvenido! You are #2\r\n");
    let listener = connect(port);
    expect(&listener, "¡Bienvenido! You are #3\r\n");
    let sleeper = connect(port);
    expect(&sleeper, "¡Bienvenido! You are #4\r\n");
    expect(&sender, "#3 has joined\r\n#4 has joined\r\n");
    expect(&listener, "#4 has joined\r\n");

    // The other members get every line in order, before and after the sleeper is disconnected.
    let text = "x".repeat(60_000);
    let mut readers = [BufReader::new(&sender), BufReader::new(&listener)];
    let mut lines_after = 0;
    for number in 0..4000 {
        send(&sender, format!("{number} {text}\n"));
        let messages = format!("#2: {number} {text}\r\n");
        let [mut at_sender, mut at_listener] = readers.each_mut().map(read_line);
        if lines_after == 0 && at_sender == "#4 has left\r\n" {
            assert_eq!(at_listener, at_sender);
            [at_sender, at_listener] = readers.each_mut().map(read_line);
            lines_after = 1;
        } else if lines_after > 0 {
            lines_after += 1;
        }
        assert!(at_sender == messages && at_listener == messages, "line {number}");
        if lines_after == 10 {
            return;
        }
    }
    panic!("the member that does not read was not disconnected");
}

#[test]
fn chat_pauses_a_member_that_sends_and_does_not_read() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let sender = connect(port);
    expect(&sender, "¡Bienvenido! You are #2\r\n");
    let text = "x".repeat(1000);
    let count = 64 * 1024;
    let bytes: Vec<u8> = (0..count).flat_map(|number| format!("{number} {text}\n").into_bytes()).collect();
    let sent = send_until_stuck(&sender, &bytes);
    let writer = sender.try_clone().expect("there are descriptors");
    let writer = thread::spawn(move || send(&writer, &bytes[sent..]));
    let mut reader = BufReader::new(&sender);
    for number in 0..count {
        assert_eq!(read_line(&mut reader), format!("#2: {number} {text}\r\n"));
    }
    writer.join().expect("the lesson read everything");
}
