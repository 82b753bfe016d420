//! Lesson 3, the echo.

use std::io::Read;
use std::net::Shutdown;
use std::thread;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, reset, rest_of, send, send_until_stuck};

#[test]
fn echo_returns_every_byte() {
    let (lesson, port) = Lesson::serve("03_echo");
    let stream = connect(port);
    assert_eq!(lesson.next_line(), "#2 connected");
    send(&stream, "hola\r\n");
    expect(&stream, "hola\r\n");
    for byte in "¡byte a byte!".as_bytes() {
        send(&stream, [*byte]);
        let mut got = [0];
        (&stream).read_exact(&mut got).expect("the echo returns each byte");
        assert_eq!(got[0], *byte);
    }
    send(&stream, "last words");
    stream.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(rest_of(&stream), b"last words");
    assert_eq!(lesson.next_line(), "#2 closed");
}

#[test]
fn echo_loses_no_byte_for_a_peer_that_reads_late() {
    let (_lesson, port) = Lesson::serve("03_echo");
    let stream = connect(port);
    let bytes: Vec<u8> = (0..64 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let sent = send_until_stuck(&stream, &bytes);
    let mut reader = stream.try_clone().expect("a descriptor is free");
    let echo = thread::spawn(move || {
        let mut echo = Vec::new();
        reader.read_to_end(&mut echo).map(|_| echo)
    });
    send(&stream, &bytes[sent..]);
    stream.shutdown(Shutdown::Write).expect("the connection is open");
    let echo = echo.join().expect("reading does not panic").expect("the echo ends without an error");
    assert!(echo == bytes, "{} of {} bytes", echo.len(), bytes.len());
}

#[test]
fn echo_continues_after_resets() {
    let (lesson, port) = Lesson::serve("03_echo");
    let other = connect(port);
    send(&other, "before");
    expect(&other, "before");
    let sender = connect(port);
    send(&sender, "hola");
    expect(&sender, "hola");
    reset(sender);
    lesson.wait_for_line("#3 failed: read ECONNRESET");
    assert_eq!(lesson.next_line(), "#3 closed");
    let stuck = connect(port);
    send_until_stuck(&stuck, &vec![b'.'; 64 * 1024 * 1024]);
    reset(stuck);
    lesson.wait_for_line("#4 closed");
    send(&other, "after");
    expect(&other, "after");
}

#[test]
fn echo_asks_for_another_port_if_its_port_is_taken() {
    let (_server, port) = Lesson::serve("03_echo");
    let (_, stderr, success) = Lesson::start("03_echo", &[&port.to_string()]).finish();
    assert!(!success && stderr.contains("EADDRINUSE") && stderr.contains("give another port, "), "{stderr}");
}
