//! Lesson 4, chunks and lines.

use std::io::{BufRead, BufReader};
use std::net::Shutdown;
use std::thread;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, rest_of, send, send_until_stuck};

#[test]
fn chunks_become_lines_wherever_they_are_cut() {
    let (lesson, port) = Lesson::serve("04_chunks_and_lines");
    let stream = connect(port);
    // The pieces of the header's example. Each one is sent after the lesson has printed the previous one.
    for piece in ["he", "llo\r\nwo", "rld\none\ntwo\nbye"] {
        send(&stream, piece);
        assert_eq!(lesson.next_line(), format!("#2 chunk: {piece:?}"));
    }
    stream.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(lesson.next_line(), "#2 end");
    let lines = "line 1: hello\r\nline 2: world\r\nline 3: one\r\nline 4: two\r\nline 5: bye\r\n";
    assert_eq!(String::from_utf8_lossy(&rest_of(&stream)), lines);

    let stream = connect(port);
    for byte in "ñandú\r\n\u{1b}[2J\n".as_bytes() {
        send(&stream, [*byte]);
    }
    expect(&stream, "line 1: ñandú\r\nline 2: ␛[2J\r\n");
}

#[test]
fn a_line_and_the_queued_answers_are_limited() {
    let (lesson, port) = Lesson::serve("04_chunks_and_lines");
    let endless = connect(port);
    send(&endless, vec![b'x'; 64 * 1024 + 1]);
    expect(&endless, "line over 65536 bytes: closing\r\n");
    assert_eq!(rest_of(&endless), b"", "the lesson has ended");
    send(&endless, "a line without end");
    drop(endless);

    let stream = connect(port);
    let line = "0123456789abcdef".repeat(64) + "\n";
    let count = 32 * 1024;
    let bytes = line.repeat(count);
    let sent = send_until_stuck(&stream, bytes.as_bytes());
    let writer = stream.try_clone().expect("there are descriptors");
    let rest = bytes.into_bytes().split_off(sent);
    let writer = thread::spawn(move || {
        send(&writer, rest);
        writer.shutdown(Shutdown::Write).expect("the connection is open");
    });
    let mut answers = BufReader::new(&stream).lines();
    for number in 1..=count {
        let answer = answers.next().expect("each line has an answer").expect("an answer is text");
        assert_eq!(answer, format!("line {number}: {}", line.trim_end()));
    }
    assert!(answers.next().is_none(), "no more answers than lines");
    writer.join().expect("the lesson read everything");
    drop(lesson);
}
