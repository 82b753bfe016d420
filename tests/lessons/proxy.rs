//! Lesson 14, the proxy.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::{fs, thread};

use crate::lesson::{LIMIT, Lesson};
use crate::peer::{connect, expect, reset, rest_of, send, send_until_stuck, unheard_port};

/// The proxy in front of that server: where it listens.
fn proxy(server: &str, blocked: &[&str]) -> (Lesson, u16) {
    let lesson = Lesson::start("14_proxy", &[&["0", server], blocked].concat());
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says where");
    (lesson, port)
}

#[test]
fn proxy_passes_on_both_ways_at_the_pace_of_the_slower() {
    let (_echo, port) = Lesson::serve("03_echo");
    let (lesson, port) = proxy(&port.to_string(), &[]);
    let stream = connect(port);
    assert_eq!(lesson.next_line(), "#2 is passed on as #3");
    send(&stream, "hola");
    expect(&stream, "hola");
    let bytes: Vec<u8> = (0..128 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let sent = send_until_stuck(&stream, &bytes);
    let mut reader = stream.try_clone().expect("there are descriptors");
    let echo = thread::spawn(move || {
        let mut echo = Vec::new();
        reader.read_to_end(&mut echo).map(|_| echo)
    });
    send(&stream, &bytes[sent..]);
    stream.shutdown(Shutdown::Write).expect("it is open");
    let echo = echo.join().expect("reading does not panic").expect("it ends in order");
    assert!(echo == bytes, "{} of {} bytes", echo.len(), bytes.len());
}

#[test]
fn proxy_passes_on_ends_and_resets() {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let (_lesson, port) = proxy(&server.local_addr().expect("it is bound").port().to_string(), &[]);
    let pair = || {
        let guest = connect(port);
        let (server, _) = server.accept().expect("the proxy comes");
        server.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
        (guest, server)
    };
    // Who has ended gets an answer all the same.
    let (guest, server) = pair();
    send(&guest, "question");
    guest.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(rest_of(&server), b"question");
    send(&server, "answer");
    drop(server);
    assert_eq!(rest_of(&guest), b"answer");
    // Half an answer is not passed for a whole one, nor half a question.
    for is_guests in [false, true] {
        let (guest, server) = pair();
        send(&guest, "?");
        expect(&server, "?");
        send(&server, "half");
        expect(&guest, "half");
        let (breaks, mut other) = if is_guests { (guest, server) } else { (server, guest) };
        reset(breaks);
        let end = other.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
    }
}

#[test]
fn proxy_serves_on_when_the_server_is_not_there_and_keeps_out_who_may_not_come_in() {
    let (lesson, port) = proxy(&unheard_port().1.to_string(), &["127.0.0.2/31"]);
    let end = connect(port).read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert_eq!(lesson.next_line(), "#2 is passed on as #3");
    assert!(lesson.next_line().starts_with("#3 failed: connect ECONNREFUSED 127.0.0.1:"));
    // Linux has all of 127.0.0.0/8 for its own.
    if cfg!(target_os = "linux") {
        let stranger =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are descriptors");
        stranger.bind(&SocketAddr::from(([127, 0, 0, 3], 0)).into()).expect("there is a free port");
        stranger.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("it listens");
        lesson.wait_for_line("#4 may not come in: 127.0.0.3");
        assert_eq!(rest_of(&stranger.into()), b"");
    }
}

#[test]
fn proxy_finds_a_server_on_a_path() {
    let dir = std::env::temp_dir().join(format!("bucle-lessons-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("there is room");
    let path = dir.join("app.sock");
    let server = UnixListener::bind(&path).expect("the path is free");
    let (_lesson, port) = proxy(&path.to_string_lossy(), &[]);
    let guest = connect(port);
    let (mut server, _) = server.accept().expect("the proxy comes");
    server.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    send(&guest, "hola");
    let mut got = [0; 4];
    server.read_exact(&mut got).expect("it is passed on");
    assert_eq!(got, *b"hola");
    reset(guest);
    let end = server.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert_eq!(end, Ok(0), "a path has no reset");
    fs::remove_dir_all(dir).expect("it is ours");
}
