//! Lesson 14, the proxy.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::{fs, thread};

use crate::lesson::{LIMIT, Lesson};
use crate::peer::{closed_port, connect, expect, reset, rest_of, send, send_until_stuck};

/// Starts the proxy for `server`, and returns its port.
fn proxy(server: &str, blocked: &[&str]) -> (Lesson, u16) {
    let lesson = Lesson::start("14_proxy", &[&["0", server], blocked].concat());
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("the first line names the port");
    (lesson, port)
}

#[test]
fn proxy_forwards_both_ways_at_the_speed_of_the_slower_side() {
    let (_echo, port) = Lesson::serve("03_echo");
    let (lesson, port) = proxy(&port.to_string(), &[]);
    let stream = connect(port);
    assert_eq!(lesson.next_line(), "#2 is forwarded as #3");
    send(&stream, "hola");
    expect(&stream, "hola");
    let bytes: Vec<u8> = (0..128 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
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
fn proxy_forwards_ends_and_resets() {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let (_lesson, port) = proxy(&server.local_addr().expect("a bound socket has a port").port().to_string(), &[]);
    let pair = || {
        let client = connect(port);
        let (server, _) = server.accept().expect("the proxy connects");
        server.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
        (client, server)
    };
    // A client that has ended still gets the answer.
    let (client, server) = pair();
    send(&client, "question");
    client.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(rest_of(&server), b"question");
    send(&server, "answer");
    drop(server);
    assert_eq!(rest_of(&client), b"answer");
    // A reset is forwarded as a reset, in both directions: half an answer must not look complete, nor half a question.
    for is_client in [false, true] {
        let (client, server) = pair();
        send(&client, "?");
        expect(&server, "?");
        send(&server, "half");
        expect(&client, "half");
        let (breaks, mut other) = if is_client { (client, server) } else { (server, client) };
        reset(breaks);
        let end = other.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
    }
}

#[test]
fn proxy_continues_without_a_server_and_refuses_blocked_networks() {
    let (lesson, port) = proxy(&closed_port().1.to_string(), &["127.0.0.2/31"]);
    let end = connect(port).read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert_eq!(lesson.next_line(), "#2 is forwarded as #3");
    assert!(lesson.next_line().starts_with("#3 failed: connect ECONNREFUSED 127.0.0.1:"));
    // On Linux all addresses of 127.0.0.0/8 are local.
    if cfg!(target_os = "linux") {
        let blocked =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a descriptor is free");
        blocked.bind(&SocketAddr::from(([127, 0, 0, 3], 0)).into()).expect("there is a free port");
        blocked.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("the proxy listens");
        lesson.wait_for_line("#4 is refused: 127.0.0.3");
        assert_eq!(rest_of(&blocked.into()), b"");
    }
}

#[test]
fn proxy_connects_to_a_unix_path() {
    let dir = std::env::temp_dir().join(format!("bucle-lessons-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("the directory can be created");
    let path = dir.join("app.sock");
    let server = UnixListener::bind(&path).expect("the path is free");
    let (_lesson, port) = proxy(&path.to_string_lossy(), &[]);
    let client = connect(port);
    let (mut server, _) = server.accept().expect("the proxy connects");
    server.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    send(&client, "hola");
    let mut got = [0; 4];
    server.read_exact(&mut got).expect("the bytes are forwarded");
    assert_eq!(got, *b"hola");
    reset(client);
    let end = server.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert_eq!(end, Ok(0), "a unix socket has no reset");
    fs::remove_dir_all(dir).expect("the directory can be removed");
}
