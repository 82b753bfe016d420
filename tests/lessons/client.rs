//! Lesson 10, the client.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use crate::lesson::{LIMIT, Lesson};
use crate::peer::{reset, rest_of, send, unheard_port};

#[test]
fn client_sends_its_arguments_and_prints_the_answers() {
    let (_server, port) = Lesson::serve("03_echo");
    let client = Lesson::start("10_client", &[&port.to_string(), "hola", "ñandú €"]);
    let stderr = format!("connected to 127.0.0.1:{port}\nthe server has closed the connection\n");
    assert_eq!(client.finish(), ("hola\nñandú €\n".to_owned(), stderr, true));
}

#[test]
fn client_sends_what_is_typed() {
    let (_server, port) = Lesson::serve("03_echo");
    for last in ["exit\n", "", "unfinished"] {
        let mut client = Lesson::start("10_client", &[&port.to_string()]);
        let keyboard = client.stdin.as_mut().expect("it is piped");
        for line in ["hola", "", "adiós"] {
            keyboard.write_all(format!("{line}\n").as_bytes()).expect("it reads");
            assert_eq!(client.stdout.recv_timeout(LIMIT).as_deref(), Ok(line), "answered before more is typed");
        }
        keyboard.write_all(last.as_bytes()).expect("it reads");
        let (stdout, stderr, success) = client.finish();
        assert_eq!(stdout, if last == "unfinished" { "unfinished\n" } else { "" });
        assert!(success && stderr.ends_with("the server has closed the connection\n"), "{stderr}");
    }
}

#[test]
fn client_takes_a_long_file_on_its_standard_input() {
    let (_server, port) = Lesson::serve("03_echo");
    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let file: String = (0..2000).map(|number| format!("{number} {}\n", "x".repeat(5000))).collect();
    let mut keyboard = client.stdin.take().expect("it is piped");
    let typed = file.clone();
    let typing = thread::spawn(move || keyboard.write_all(typed.as_bytes()));
    let (stdout, stderr, success) = client.finish();
    typing.join().expect("typing does not panic").expect("it reads all");
    assert!(success && stdout == file, "{} of {} bytes; {stderr}", stdout.len(), file.len());
}

#[test]
fn client_puts_characters_together_that_come_in_pieces() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let client = Lesson::start("10_client", &[&port.to_string(), "hola"]);
    let (stream, _) = listener.accept().expect("the client comes");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_nodelay(true).expect("TCP has it");
    assert_eq!(rest_of(&stream), b"hola\n");
    for byte in "ñandú €\n".as_bytes() {
        send(&stream, [*byte]);
    }
    drop(stream);
    assert_eq!(client.finish().0, "ñandú €\n");
}

#[test]
fn client_says_when_the_server_is_gone() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let keyboard = client.stdin.take(); // Nobody types; the keyboard stays open.
    let (stream, _) = listener.accept().expect("the client comes");
    send(&stream, "adiós\n");
    drop(stream);
    let stderr = format!("connected to 127.0.0.1:{port}\nthe server has closed the connection\n");
    assert_eq!(client.finish(), ("adiós\n".to_owned(), stderr, true));

    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let keyboards = (keyboard, client.stdin.take());
    let (stream, _) = listener.accept().expect("the client comes");
    // A reset that overtakes the news of the connection would be a failure to connect.
    assert_eq!(client.stderr.recv_timeout(LIMIT), Ok(format!("connected to 127.0.0.1:{port}")));
    reset(stream);
    let stderr = "connection lost: read ECONNRESET\n".to_owned();
    assert_eq!(client.finish(), (String::new(), stderr, false));
    drop(keyboards);
}

#[test]
fn client_gives_advice_when_nobody_listens() {
    let (_bound, port) = unheard_port();
    let stderr = format!(
        "cannot connect: connect ECONNREFUSED 127.0.0.1:{port}\nis the server running? try: cargo run --example 03_echo\n"
    );
    assert_eq!(Lesson::start("10_client", &[&port.to_string()]).finish(), (String::new(), stderr, false));
}
