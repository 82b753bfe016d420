//! Requests whose body is refused or does not arrive: the handler knows their head and hears of their end once.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use bucle::http::Options;
use bucle::net::Drain;

use super::{Running, read_to_end, read_until};

const CHUNKED: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const BY_LENGTH: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";

/// The next two events, and that no third one comes before those of another request.
fn expect_head_and_abort(running: &Running, name: &str) {
    assert_eq!([running.event(), running.event()], ["head /echo", "abort"], "{name}");
    assert!(running.converse("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 204 "), "{name}");
    assert_eq!(running.event(), "GET /empty", "{name}");
}

#[test]
fn a_chunked_body_that_is_too_large_is_aborted_after_413() {
    let running = Running::new(Options { max_body: 10, ..Options::default() });
    for (name, chunks) in [("one chunk", "B\r\n12345678901\r\n"), ("two chunks", "6\r\n123456\r\n5\r\n12345\r\n")] {
        let answer = running.send(&format!("{CHUNKED}{chunks}"));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{name}: {answer}");
        expect_head_and_abort(&running, name);
    }
}

#[test]
fn a_malformed_chunk_is_aborted_after_400() {
    let running = Running::with_defaults();
    for (name, chunks) in [("the first", "xyz\r\n"), ("the second", "4\r\nhola\r\n-1\r\n")] {
        // In one read with the head, and behind it.
        for cut in [0, CHUNKED.len()] {
            let mut client = running.connect();
            client.write_all(&CHUNKED.as_bytes()[..cut]).expect("it reads");
            if cut > 0 {
                assert_eq!(running.event(), "head /echo", "{name}");
            }
            client.write_all(&[&CHUNKED.as_bytes()[cut..], chunks.as_bytes()].concat()).expect("it reads");
            let answer = read_to_end(&mut client);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
            if cut == 0 {
                assert_eq!(running.event(), "head /echo", "{name}");
            }
            assert_eq!(running.event(), "abort", "{name}");
        }
    }
}

#[test]
fn a_body_that_takes_too_long_is_aborted_after_408() {
    let running = Running::new(Options { body_timeout: Duration::from_millis(40), ..Options::default() });
    for request in [format!("{CHUNKED}4\r\nho"), format!("{BY_LENGTH}hol")] {
        let answer = running.send(&request);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        expect_head_and_abort(&running, &request);
    }
}

#[test]
fn a_client_that_ends_in_the_middle_of_a_body_aborts_it() {
    let running = Running::with_defaults();
    for request in [format!("{CHUNKED}4\r\nho"), format!("{BY_LENGTH}hol"), BY_LENGTH.to_owned()] {
        assert_eq!(running.converse(&request), "");
        expect_head_and_abort(&running, &request);
    }
    // The FIN comes while an earlier request waits for its answer.
    let answers = running.converse(&format!("GET /later HTTP/1.1\r\nHost: a\r\n\r\n{BY_LENGTH}hol"));
    assert!(answers.ends_with("/later"), "{answers}");
    assert_eq!([running.event(), running.event()], ["GET /later", "end"]);
    expect_head_and_abort(&running, "behind another request");
}

#[test]
fn a_client_that_resets_in_the_middle_of_a_body_aborts_it() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    client.write_all(format!("{BY_LENGTH}hol").as_bytes()).expect("it reads");
    assert_eq!(running.event(), "head /echo");
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(client);
    assert_eq!(running.event(), "abort");
}

#[test]
fn a_server_that_drains_aborts_a_body_that_does_not_arrive() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    client.write_all(format!("{BY_LENGTH}hol").as_bytes()).expect("it reads");
    assert_eq!(running.event(), "head /echo");
    let grace = Duration::from_millis(20);
    running.run(move |lp, server| server.drain(lp, Drain { grace, ..Drain::default() }));
    assert_eq!(running.event(), "abort");
}

#[test]
fn a_request_that_the_handler_has_answered_is_not_aborted() {
    let running = Running::with_defaults();
    // In the callback of the head, and later while the body is on its way.
    for path in ["/forbidden", "/refused-later"] {
        let answer = running.send(&format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhol"));
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(running.event(), format!("head {path}"));
    }
    assert!(running.converse("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 204 "));
    assert_eq!(running.event(), "GET /empty", "no abort came before");
}

/// An answer that was begun in the callback of the head is not complete.
#[test]
fn an_answer_that_is_not_complete_is_aborted_with_its_connection() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    client.write_all(b"POST /begun HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhol").expect("it reads");
    assert!(read_until(&mut client, "one\r\n").starts_with("HTTP/1.1 200 "));
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(client);
    assert_eq!([running.event(), running.event()], ["head /begun", "abort"]);
}

/// The client sends all of a body that the kernel cannot hold before it reads. It still gets the answer.
#[test]
fn a_refusal_by_the_head_reaches_a_client_that_sends_its_whole_body_first() {
    let running = Running::with_defaults();
    let body = vec![b'x'; 1024 * 1024];
    let mut client = running.connect();
    write!(client, "POST /too-large HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).expect("it reads");
    client.write_all(&body).expect("it is discarded");
    let mut byte = [0];
    client.read_exact(&mut byte).expect("an answer");
    let answer = format!("{}{}", char::from(byte[0]), read_to_end(&mut client));
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("\r\n\r\nat most 10 bytes\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(running.event(), "head /too-large");
    // A client that waits for 100 Continue gets the answer instead.
    let request = "POST /too-large HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n";
    assert!(running.send(request).starts_with("HTTP/1.1 413 "));
    assert_eq!(running.event(), "head /too-large");
}

/// The layer refuses it by its length, behind the event of its head.
#[test]
fn a_body_whose_length_is_over_the_limit_of_the_server_is_aborted_after_413() {
    let running = Running::new(Options { max_body: 10, ..Options::default() });
    for expect in ["", "Expect: 100-continue\r\n"] {
        let answer = running.send(&format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n{expect}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert_eq!([running.event(), running.event()], ["head /echo", "abort"]);
    }
    let mut client = running.connect();
    client.write_all(b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    client.shutdown(Shutdown::Write).expect("a socket");
    assert!(read_to_end(&mut client).starts_with("HTTP/1.1 204 "));
    assert_eq!(running.event(), "GET /empty");
}
