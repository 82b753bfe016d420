//! Lesson 29, the WebSocket client.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use bucle::websocket::handshake::accept_key;

use crate::lesson::{LIMIT, Lesson};
use crate::peer::{closed_port, read_line, reset, send};

/// Accepts the client's next connection, and answers its handshake.
fn accept(server: &TcpListener) -> TcpStream {
    let (stream, _) = server.accept().expect("the client connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    let mut reader = BufReader::with_capacity(1, &stream);
    assert_eq!(read_line(&mut reader), "GET /chat HTTP/1.1\r\n");
    let mut key = String::new();
    loop {
        let line = read_line(&mut reader);
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("sec-websocket-key")
        {
            value.trim_end().clone_into(&mut key);
        }
    }
    let accept = accept_key(&key);
    send(
        &stream,
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ),
    );
    stream
}

/// Reads a short frame of the client: its first byte and the payload, unmasked.
fn read_frame(mut stream: &TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).expect("the client sends a frame");
    let mut payload = vec![0; usize::from(header[1] & 0x7f)];
    assert!(header[1] & 0x80 != 0, "a client masks its frames");
    stream.read_exact(&mut payload).expect("the frame is complete");
    for (byte, key) in payload.iter_mut().zip(header[2..].iter().cycle()) {
        *byte ^= key;
    }
    (header[0], payload)
}

fn type_line(client: &mut Lesson, line: &str) {
    client.stdin.as_mut().expect("the pipe was requested").write_all(line.as_bytes()).expect("the client reads");
}

#[test]
fn websocket_client_connects_again_with_growing_pauses() {
    let (bound, port) = closed_port();
    let mut client = Lesson::start("29_websocket_client", &[&format!("ws://127.0.0.1:{port}/chat")]);
    let next_note = |client: &Lesson| client.stderr.recv_timeout(LIMIT).expect("the client prints a line");
    type_line(&mut client, "typed before the connection\n");
    for pause in ["200ms", "400ms"] {
        assert_eq!(next_note(&client), format!("failed: connect ECONNREFUSED 127.0.0.1:{port}"));
        assert_eq!(next_note(&client), "closed: 1006 (abnormal)");
        assert_eq!(next_note(&client), format!("connecting again in {pause}"));
    }
    bound.listen(8).expect("a bound socket can listen");
    let server = TcpListener::from(bound);
    let first = accept(&server);
    while next_note(&client) != "connected" {}
    assert_eq!(read_frame(&first), (0x81, b"typed before the connection".to_vec()));
    send(&first, b"\x81\x05hola\n\x89\x01?");
    assert_eq!(client.next_line(), "hola␊");
    assert_eq!(read_frame(&first), (0x8a, b"?".to_vec()), "a ping is answered");

    reset(first);
    assert_eq!(next_note(&client), "failed: read ECONNRESET");
    assert_eq!(next_note(&client), "closed: 1006 (abnormal)");
    assert_eq!(next_note(&client), "connecting again in 100ms");
    let second = accept(&server);
    assert_eq!(next_note(&client), "connected");
    type_line(&mut client, "one\ntwo\nthe end of the in");
    assert_eq!(read_frame(&second), (0x81, b"one".to_vec()));
    assert_eq!(read_frame(&second), (0x81, b"two".to_vec()));

    // The server goes away in order, which is no end for the client.
    send(&second, b"\x88\x05\x03\xe9bye");
    assert_eq!(read_frame(&second), (0x88, b"\x03\xe9".to_vec()));
    drop(second);
    assert_eq!(next_note(&client), "closed: 1001 (going away) bye");
    assert_eq!(next_note(&client), "connecting again in 100ms");
    let third = accept(&server);
    assert_eq!(next_note(&client), "connected");
    type_line(&mut client, "put");
    drop(client.stdin.take());
    assert_eq!(read_frame(&third), (0x81, b"the end of the input".to_vec()));
    assert_eq!(read_frame(&third), (0x88, b"\x03\xe8".to_vec()));
    send(&third, b"\x88\x02\x03\xe8");
    drop(third);
    assert_eq!(client.finish(), (String::new(), String::new(), true));
}

#[test]
fn websocket_client_ends_when_the_server_closes_normally() {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = server.local_addr().expect("a bound socket has a port").port();
    let mut client = Lesson::start("29_websocket_client", &[&format!("ws://127.0.0.1:{port}/chat")]);
    let keyboard = client.stdin.take(); // Nothing is typed, but the keyboard stays open.
    let stream = accept(&server);
    send(&stream, b"\x88\x07\x03\xe8adios");
    assert_eq!(read_frame(&stream), (0x88, b"\x03\xe8".to_vec()));
    drop(stream);
    assert_eq!(client.finish(), (String::new(), "connected\nclosed: 1000 (normal) adios\n".to_owned(), true));
    drop(keyboard);
}

#[test]
fn websocket_client_sends_a_long_file_from_its_standard_input() {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = server.local_addr().expect("a bound socket has a port").port();
    let mut client = Lesson::start("29_websocket_client", &[&format!("ws://127.0.0.1:{port}/chat")]);
    let mut keyboard = client.stdin.take().expect("the pipe was requested");
    let lines: Vec<String> = (0..60_000).map(|number| format!("{number} {}", "x".repeat(100))).collect();
    let typed = lines.join("\n");
    let typing = thread::spawn(move || keyboard.write_all(typed.as_bytes()));
    let stream = accept(&server);
    for line in lines {
        assert_eq!(read_frame(&stream), (0x81, line.into_bytes()));
    }
    assert_eq!(read_frame(&stream), (0x88, b"\x03\xe8".to_vec()));
    typing.join().expect("typing does not panic").expect("the client reads everything");
    send(&stream, b"\x88\x02\x03\xe8");
    drop(stream);
    assert_eq!(client.finish(), (String::new(), "connected\n".to_owned(), true));
}

#[test]
fn websocket_client_refuses_a_bad_url() {
    let (_, stderr, success) = Lesson::start("29_websocket_client", &["wss://localhost/"]).finish();
    assert!(!success && stderr.contains("TLS is not supported"), "{stderr}");
}
