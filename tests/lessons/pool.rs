//! Lesson 15, the pool.

use std::io::BufReader;
use std::iter;
use std::net::{TcpListener, TcpStream};

use crate::lesson::{LIMIT, Lesson};
use crate::peer::{heard, reset, send, unheard_port};

/// The server side of a connection of the pool.
fn accept(server: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = server.accept().expect("the pool comes");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    BufReader::new(stream)
}

#[test]
fn pool_asks_again_whom_it_has_lost() {
    let (bound, port) = unheard_port();
    let lesson = Lesson::start("15_pool", &[&port.to_string()]);
    // Down at first: each failure makes the pauses longer.
    let refused = |number| format!("#{number} failed: connect ECONNREFUSED 127.0.0.1:{port}");
    let began: Vec<String> = iter::repeat_with(|| lesson.next_line()).take(5).collect();
    let pauses = ["the next one in 200ms".to_owned(), "the next one in 400ms".to_owned()];
    assert_eq!(began, [refused(2), refused(3), pauses[0].clone(), pauses[1].clone(), refused(4)]);
    bound.listen(8).expect("it is bound");
    let server = TcpListener::from(bound);

    let mut first = accept(&server);
    let mut second = accept(&server);
    assert_eq!([heard(&mut first), heard(&mut second)], ["question 1\r\n", "question 2\r\n"]);
    // An answer in pieces is one answer.
    for piece in ["one", "\r", "\n"] {
        send(first.get_ref(), piece);
    }
    lesson.wait_for_line("#5 answers: one");
    assert_eq!(heard(&mut first), "question 3\r\n");
    // Lost with a question: somebody else is asked.
    reset(second.into_inner());
    lesson.wait_for_line("#6 failed: read ECONNRESET");
    assert_eq!(lesson.next_line(), "the next one in 100ms");
    let mut third = accept(&server);
    for number in [2, 4, 5, 6, 7, 8, 9, 10] {
        assert_eq!(heard(&mut third), format!("question {number}\r\n"));
        send(third.get_ref(), "yes\r\n");
        lesson.wait_for_line("#7 answers: yes");
    }
    // Silent with a question: as good as lost, and who is free is asked at once.
    lesson.wait_for_line("#5 failed: no answer");
    assert_eq!(heard(&mut third), "question 3\r\n");
    let fourth = accept(&server);
    lesson.wait_for_line("#8 is connected");
    send(fourth.get_ref(), "nobody has asked\r\n");
    send(third.get_ref(), "yes\r\n");
    for mut server in [first, third, fourth] {
        assert_eq!(heard(&mut server), "", "it has ended");
    }
    let (stdout, stderr, success) = lesson.finish();
    assert_eq!((stdout.as_str(), stderr.as_str(), success), ("#7 answers: yes\n", "", true));
}
