//! Lesson 15, the pool.

use std::io::BufReader;
use std::iter;
use std::net::{TcpListener, TcpStream};

use crate::lesson::{LIMIT, Lesson};
use crate::peer::{closed_port, read_line, reset, send};

/// Accepts the next connection of the pool.
fn accept(server: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = server.accept().expect("the pool connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    BufReader::new(stream)
}

#[test]
fn pool_reconnects_and_repeats_lost_questions() {
    let (bound, port) = closed_port();
    let lesson = Lesson::start("15_pool", &[&port.to_string()]);
    // At first no server listens: each failure makes the pause longer.
    let refused = |number| format!("#{number} failed: connect ECONNREFUSED 127.0.0.1:{port}");
    let printed: Vec<String> = iter::repeat_with(|| lesson.next_line()).take(5).collect();
    let pauses = ["connecting again in 200ms".to_owned(), "connecting again in 400ms".to_owned()];
    assert_eq!(printed, [refused(1), refused(2), pauses[0].clone(), pauses[1].clone(), refused(3)]);
    bound.listen(8).expect("a bound socket can listen");
    let server = TcpListener::from(bound);

    let mut first = accept(&server);
    let mut second = accept(&server);
    assert_eq!([read_line(&mut first), read_line(&mut second)], ["question 1\r\n", "question 2\r\n"]);
    // An answer that arrives in pieces is one answer.
    for piece in ["one", "\r", "\n"] {
        send(first.get_ref(), piece);
    }
    lesson.wait_for_line("#4 answered: one");
    assert_eq!(read_line(&mut first), "question 3\r\n");
    // A connection is lost before its answer. The question goes to another one.
    reset(second.into_inner());
    lesson.wait_for_line("#5 failed: read ECONNRESET");
    assert_eq!(lesson.next_line(), "connecting again in 100ms");
    let mut third = accept(&server);
    for number in [2, 4, 5, 6, 7, 8, 9, 10] {
        assert_eq!(read_line(&mut third), format!("question {number}\r\n"));
        send(third.get_ref(), "yes\r\n");
        lesson.wait_for_line("#6 answered: yes");
    }
    // A connection that does not answer counts as lost. Its question goes to the free connection immediately.
    lesson.wait_for_line("#4 failed: no answer");
    assert_eq!(read_line(&mut third), "question 3\r\n");
    let fourth = accept(&server);
    lesson.wait_for_line("#7 connected");
    send(fourth.get_ref(), "not an answer\r\n");
    send(third.get_ref(), "yes\r\n");
    for mut server in [first, third, fourth] {
        assert_eq!(read_line(&mut server), "", "the pool has ended");
    }
    let (stdout, stderr, success) = lesson.finish();
    assert_eq!((stdout.as_str(), stderr.as_str(), success), ("#6 answered: yes\n", "", true));
}
