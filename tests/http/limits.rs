//! Requests that are refused, and limits on time and memory.

use std::io::Write;
use std::time::Duration;

use bucle::http::Options;

use super::{Running, read_to_end, read_until};

#[test]
fn a_request_that_breaks_a_rule_is_answered_and_the_connection_closed() {
    let running = Running::new(Options { max_body: 1000, ..Options::default() });
    let table = [
        ("no HTTP", "hola\r\n\r\n", "400"),
        ("no host", "GET / HTTP/1.1\r\n\r\n", "400"),
        ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"),
        ("version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"),
        ("a body that is too long", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", "413"),
        (
            "chunks that are too long together",
            &format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3E9\r\n{}", "x".repeat(1001)),
            "413",
        ),
        ("a bad chunk", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400"),
        ("an endless head", &format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}", "y".repeat(20_000)), "431"),
    ];
    for (name, request, status) in table {
        // A good request before it is answered first.
        let answers = running.send(&format!("GET /twice HTTP/1.1\r\nHost: a\r\n\r\n{request}"));
        let (first, second) = answers.split_once("\r\n\r\nonce").unwrap_or_else(|| panic!("{name}: {answers}"));
        assert!(first.starts_with("HTTP/1.1 200 "), "{name}");
        assert!(second.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {second}");
        assert!(second.contains("\r\nConnection: close\r\n"), "{name}");
    }
}

#[test]
fn a_request_that_takes_too_long_gets_408_and_an_idle_connection_is_closed() {
    let options = Options {
        head_timeout: Duration::from_millis(40),
        body_timeout: Duration::from_millis(40),
        keep_alive: Duration::from_millis(40),
        ..Options::default()
    };
    let running = Running::new(options);
    let table = [
        ("nothing", "", "HTTP/1.1 408 "),
        ("half a head", "GET / HTTP/1.1\r\nHo", "HTTP/1.1 408 "),
        ("half a body", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhol", "HTTP/1.1 408 "),
    ];
    for (name, request, want) in table {
        let answer = running.send(request);
        assert!(answer.starts_with(want) && answer.contains("Connection: close"), "{name}: {answer:?}");
    }
    let mut client = running.connect();
    client.write_all(b"GET /twice HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    read_until(&mut client, "once");
    assert_eq!(read_to_end(&mut client), "", "closed without another answer");
    // An answer that takes longer than all limits is no reason to close.
    assert!(running.converse("GET /later HTTP/1.1\r\nHost: a\r\n\r\n").ends_with("/later"));
}

#[test]
fn a_client_that_sends_ahead_and_does_not_read_is_not_read_either() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    client.set_write_timeout(Some(Duration::from_millis(200))).expect("a socket");
    // Each answer is 300 KB. The server stops at the second or third, and the requests fill the kernel's buffers.
    let requests = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let mut sent = 0;
    while let Ok(n) = client.write(&requests.as_bytes()[sent % requests.len()..]) {
        sent += n;
        assert!(sent < 500_000_000, "it never stops to read");
    }
    let mut count = running.events.try_iter().count();
    assert!((1..200).contains(&count), "{count} requests were received");
    // It reads now: all that it has sent is answered, in order and complete.
    let whole = sent / 34;
    for answer in 0..whole.min(300) {
        let head = read_until(&mut client, "\r\n\r\n");
        assert!(head.contains("\r\nContent-Length: 300000\r\n"), "answer {answer}: {head}");
        let mut body = vec![0; 300_000];
        std::io::Read::read_exact(&mut client, &mut body).expect("the body");
    }
    count += running.events.try_iter().count();
    assert!(count >= whole.min(300), "{count} requests of {whole}");
}

/// Thousands of short requests fit in one read. Those of other clients are received between them.
#[test]
fn many_requests_of_one_client_do_not_hold_up_the_others() {
    let running = Running::with_defaults();
    let (mut many, mut one) = (running.connect(), running.connect());
    for client in [&mut many, &mut one] {
        client.write_all(b"GET /twice HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
        read_until(client, "once");
        assert_eq!(running.event(), "GET /twice");
    }
    // The loop finds the requests of both clients when it goes on.
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    let (stands, has_stopped) = std::sync::mpsc::channel::<()>();
    running.run(move |_, _| {
        stands.send(()).expect("the test waits");
        waits.recv().expect("the test goes on");
    });
    has_stopped.recv().expect("the loop stops");
    let count = 1500;
    many.write_all("GET /twice HTTP/1.1\r\nHost: a\r\n\r\n".repeat(count).as_bytes()).expect("the kernel takes them");
    one.write_all(b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    go_on.send(()).expect("the loop waits");
    let place = (0..).find(|_| running.event() == "GET /empty").expect("it is received");
    assert!(place < count / 2, "{place} requests of the other client came before");
    for _ in 0..count {
        read_until(&mut many, "\r\n\r\nonce");
    }
}

/// Each answer is sent later, and each makes room for one request only.
#[test]
fn a_client_that_sends_ahead_is_not_read_while_many_requests_wait_for_answers() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    client.set_write_timeout(Some(Duration::from_millis(200))).expect("a socket");
    let requests = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let mut sent = 0;
    while let Ok(n) = client.write(&requests.as_bytes()[sent % requests.len()..]) {
        sent += n;
        assert!(sent < 500_000_000, "it never stops to read");
    }
    let at_first = running.events.try_iter().count();
    for _ in 0..5 {
        assert_eq!(running.event(), "GET /later");
        // The answers make room for some bytes, not for a read each.
        while let Ok(n) = client.write(&requests.as_bytes()[sent % requests.len()..]) {
            sent += n;
        }
    }
    let (requests_more, bytes) = (running.events.try_iter().count() + 5, running.bytes_read());
    assert!(bytes < (at_first + requests_more) as u64 * 40 + 400_000, "{bytes} bytes were read");
}
