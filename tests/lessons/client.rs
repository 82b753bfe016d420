//! Lesson 10, the client.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use crate::lesson::{LIMIT, Lesson};
use crate::peer::{closed_port, reset, rest_of, send};

#[test]
fn client_sends_its_arguments_and_prints_the_answers() {
    let (_server, port) = Lesson::serve("03_echo");
    let client = Lesson::start("10_client", &[&port.to_string(), "hola", "ñandú €"]);
    let stderr = format!("connected to 127.0.0.1:{port}\nthe server has closed the connection\n");
    assert_eq!(client.finish(), ("hola\nñandú €\n".to_owned(), stderr, true));
}

#[test]
fn client_sends_typed_lines() {
    let (_server, port) = Lesson::serve("03_echo");
    for last in ["exit\n", "", "unfinished"] {
        let mut client = Lesson::start("10_client", &[&port.to_string()]);
        let keyboard = client.stdin.as_mut().expect("the pipe was requested");
        for line in ["hola", "", "adiós"] {
            keyboard.write_all(format!("{line}\n").as_bytes()).expect("the client reads");
            assert_eq!(
                client.stdout.recv_timeout(LIMIT).as_deref(),
                Ok(line),
                "the answer comes before the next line is typed"
            );
        }
        keyboard.write_all(last.as_bytes()).expect("the client reads");
        let (stdout, stderr, success) = client.finish();
        assert_eq!(stdout, if last == "unfinished" { "unfinished\n" } else { "" });
        assert!(success && stderr.ends_with("the server has closed the connection\n"), "{stderr}");
    }
}

#[test]
fn client_sends_a_long_file_from_its_standard_input() {
    let (_server, port) = Lesson::serve("03_echo");
    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let file: String = (0..2000).map(|number| format!("{number} {}\n", "x".repeat(5000))).collect();
    let mut keyboard = client.stdin.take().expect("the pipe was requested");
    let typed = file.clone();
    let typing = thread::spawn(move || keyboard.write_all(typed.as_bytes()));
    let (stdout, stderr, success) = client.finish();
    typing.join().expect("typing does not panic").expect("the client reads everything");
    assert!(success && stdout == file, "{} of {} bytes; {stderr}", stdout.len(), file.len());
}

#[test]
fn client_joins_characters_that_arrive_in_pieces() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("a bound socket has a port").port();
    let client = Lesson::start("10_client", &[&port.to_string(), "hola"]);
    let (stream, _) = listener.accept().expect("the client connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_nodelay(true).expect("a TCP socket has this option");
    assert_eq!(rest_of(&stream), b"hola\n");
    for byte in "ñandú €\n".as_bytes() {
        send(&stream, [*byte]);
    }
    drop(stream);
    assert_eq!(client.finish().0, "ñandú €\n");
}

#[test]
fn client_reports_that_the_server_has_closed() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("a bound socket has a port").port();
    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let keyboard = client.stdin.take(); // Nothing is typed, but the keyboard stays open.
    let (stream, _) = listener.accept().expect("the client connects");
    send(&stream, "adiós\n");
    drop(stream);
    let stderr = format!("connected to 127.0.0.1:{port}\nthe server has closed the connection\n");
    assert_eq!(client.finish(), ("adiós\n".to_owned(), stderr, true));

    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let keyboards = (keyboard, client.stdin.take());
    let (stream, _) = listener.accept().expect("the client connects");
    // A reset before the client has seen the connection would be a failed connect. So wait for the client's message
    // first.
    assert_eq!(client.stderr.recv_timeout(LIMIT), Ok(format!("connected to 127.0.0.1:{port}")));
    reset(stream);
    let stderr = "connection lost: read ECONNRESET\n".to_owned();
    assert_eq!(client.finish(), (String::new(), stderr, false));
    drop(keyboards);
}

#[test]
fn client_prints_advice_when_no_server_listens() {
    let (_bound, port) = closed_port();
    let stderr = format!(
        "cannot connect: connect ECONNREFUSED 127.0.0.1:{port}\n\
         is the server running? try: cargo run --example 03_echo\n"
    );
    assert_eq!(Lesson::start("10_client", &[&port.to_string()]).finish(), (String::new(), stderr, false));
}
