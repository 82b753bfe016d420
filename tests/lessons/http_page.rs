//! Lesson 25, a page, JSON and events.

use std::io::BufReader;
use std::net::{Shutdown, TcpStream};

use crate::lesson::Lesson;
use crate::peer::{connect, expect, read_line, reset, rest_of, send, send_until_stuck};

/// Sends a request and reads the answer: its first line, its headers, and the body that `Content-Length` announces.
fn ask(stream: &TcpStream, request: &str) -> (String, String, String) {
    send(stream, request);
    let mut reader = BufReader::with_capacity(1, stream);
    let status = read_line(&mut reader).trim_end().to_owned();
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") && headers != "\r\n" {
        headers += &read_line(&mut reader);
    }
    let length = headers.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length is a number"))];
    std::io::Read::read_exact(&mut reader, &mut body).expect("the body is complete");
    (status, headers, String::from_utf8(body).expect("the bodies are text"))
}

fn say(stream: &TcpStream, text: &str) -> String {
    let head = format!("POST /say HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", text.len());
    ask(stream, &(head + text)).2
}

/// Opens an event stream and reads the head of its answer.
fn listen_to_events(port: u16) -> TcpStream {
    let stream = connect(port);
    let (status, headers, _) = ask(&stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains("text/event-stream") && headers.contains("chunked"), "{headers}");
    stream
}

/// The chunk of one event.
fn event(text: &str) -> String {
    format!("{:x}\r\ndata: {text}\n\n\r\n", text.len() + 8)
}

#[test]
fn http_page_serves_a_page_and_json() {
    let (_lesson, port) = Lesson::serve("25_http_page");
    let client = connect(port);
    let (status, headers, page) = ask(&client, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains("text/html") && page.contains("new EventSource('/events')"), "{headers}{page}");
    let etag = headers.lines().find(|line| line.starts_with("etag: ")).expect("a file in memory has one");
    let known = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n", etag.replace("etag", "If-None-Match"));
    assert_eq!(ask(&client, &known).0, "HTTP/1.1 304 Not Modified");
    let (_, headers, json) = ask(&client, "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(headers.contains("application/json"), "{headers}");
    assert_eq!(json, "{\"visits\":2,\"listeners\":0}\n");
    assert_eq!(ask(&client, "GET /hola HTTP/1.1\r\nHost: localhost\r\n\r\n").0, "HTTP/1.1 404 Not Found");
    assert_eq!(ask(&client, "GET / HTTP/1.1\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    assert_eq!(rest_of(&client), b"");
    let in_pieces = connect(port);
    for byte in b"GET /status HTTP/1.1\r\nHost: localhost\r\n" {
        send(&in_pieces, [*byte]);
    }
    assert_eq!(ask(&in_pieces, "\r\n").2, "{\"visits\":2,\"listeners\":0}\n");
}

#[test]
fn http_page_sends_events_to_all_listeners() {
    let (_lesson, port) = Lesson::serve("25_http_page");
    let [one, two, client] = [listen_to_events(port), listen_to_events(port), connect(port)];
    assert_eq!(say(&client, "hola"), "2 listeners, 0 of them skipped\n");
    assert_eq!(say(&client, "¡<b>adiós"), "2 listeners, 0 of them skipped\n");
    for listener in [&one, &two] {
        expect(listener, &(event("hola") + &event("¡<b>adiós")));
    }
    one.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(rest_of(&one), b"0\r\n\r\n", "a listener that ends gets the end of its answer");
    reset(two);
    let mut left = 1;
    for _ in 0..1000 {
        left = say(&client, "x").as_bytes()[0] - b'0';
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0, "a listener that is gone is forgotten");
}

#[test]
fn http_page_skips_a_listener_that_does_not_read_and_stops_reading_from_such_a_client() {
    let (_lesson, port) = Lesson::serve("25_http_page");
    let [slow, quick, client] = [listen_to_events(port), listen_to_events(port), connect(port)];
    let text = "x".repeat(60_000);
    let mut sent = 0;
    let skipped = (0..1000).any(|_| {
        let answer = say(&client, &text);
        expect(&quick, &event(&text));
        sent += 1;
        answer.ends_with(" 1 of them skipped\n")
    });
    assert!(skipped, "a listener that does not read is skipped");
    for _ in 1..sent {
        expect(&slow, &event(&text)); // All but the one that was skipped.
    }
    let requests = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200_000);
    let stuck = connect(port);
    assert!(send_until_stuck(&stuck, requests.as_bytes()) < requests.len());
    assert!(say(&client, "hola").starts_with("2 listeners"), "other clients are served");
}
