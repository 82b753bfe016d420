//! A second opinion: `tungstenite` as the client of our server, and as the server of our client.

use super::*;
use ::tungstenite::protocol::CloseFrame;
use ::tungstenite::protocol::frame::coding::CloseCode as TheirCode;
use ::tungstenite::{Message as Theirs, accept as accept_theirs, client::client};
use std::sync::mpsc;
use std::thread;

fn messages() -> Vec<Theirs> {
    let lens = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000, 1024 * 1024];
    let texts = lens.map(|len| Theirs::text("x".repeat(len)));
    let binaries = lens.map(|len| Theirs::binary(noise(len)));
    texts.into_iter().chain(binaries).collect()
}

/// Turns the loop until the thread has ended.
fn turn_until_finished(talk: &mut Talk, thread: thread::JoinHandle<()>) {
    talk.until("the thread", |_| thread.is_finished());
    thread.join().expect("it went well");
}

fn with_limit(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    stream.set_write_timeout(Some(LIMIT)).expect("a socket");
    stream
}

#[test]
fn as_a_client_of_our_server() {
    let options = Options { protocols: vec!["chat".to_owned()], ..Options::default() };
    let mut talk = Talk::server(options, Scribe::default());
    let port = talk.port;
    let thread = thread::spawn(move || {
        let stream = with_limit(TcpStream::connect(("127.0.0.1", port)).expect("it listens"));
        let (mut theirs, response) = client(format!("ws://127.0.0.1:{port}/x"), stream).expect("a correct handshake");
        assert_eq!(response.status(), 101);
        for message in messages() {
            theirs.send(message.clone()).expect("it reads");
            assert!(theirs.read().expect("an echo") == message);
        }
        theirs.send(Theirs::Ping(b"p".to_vec().into())).expect("it reads");
        assert_eq!(theirs.read().expect("a pong"), Theirs::Pong(b"p".to_vec().into()));
        theirs.send(Theirs::text("ping q")).expect("it reads");
        assert_eq!(theirs.read().expect("a ping"), Theirs::Ping(b"q".to_vec().into()));
        // It sends its pong with the next frame, and not at all if that is a close frame.
        theirs.flush().expect("it reads");
        let bye = CloseFrame { code: TheirCode::Library(4001), reason: "bye".into() };
        theirs.close(Some(bye)).expect("it reads");
        let answer = theirs.read().expect("a close");
        assert!(
            matches!(answer, Theirs::Close(Some(CloseFrame { code, .. })) if u16::from(code) == 4001),
            "{answer:?}"
        );
        assert!(matches!(theirs.read(), Err(::tungstenite::Error::ConnectionClosed)));
    });
    turn_until_finished(&mut talk, thread);
    talk.until("the close", |talk| talk.story.borrow().iter().any(|line| line.contains("closed")));
    let story = talk.story.borrow();
    assert!(story.contains(&"0 pong q".to_owned()), "{story:?}");
    assert_eq!(story.last().map(String::as_str), Some("0 closed 4001 bye"));
}

#[test]
fn our_server_s_violations_and_closes_are_understood() {
    let mut talk = Talk::server(Options { max_message: 1000, ..Options::default() }, Scribe::default());
    let port = talk.port;
    let thread = thread::spawn(move || {
        for (message, code) in [(Theirs::binary(noise(1001)), 1009), (Theirs::text("close 4999 x"), 4999)] {
            let stream = with_limit(TcpStream::connect(("127.0.0.1", port)).expect("it listens"));
            let (mut theirs, _) = client(format!("ws://127.0.0.1:{port}/"), stream).expect("a correct handshake");
            theirs.send(message).expect("it reads");
            let answer = theirs.read().expect("a close");
            assert!(matches!(answer, Theirs::Close(Some(CloseFrame { code: found, .. })) if u16::from(found) == code));
            while theirs.read().is_ok() {}
        }
    });
    turn_until_finished(&mut talk, thread);
}

#[test]
fn as_the_server_of_our_client() {
    let mut talk = Talk::empty();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (report, reported) = mpsc::channel();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let mut theirs = accept_theirs(with_limit(stream)).expect("a correct handshake");
        // The client sends each message back.
        for message in messages() {
            theirs.send(message.clone()).expect("it reads");
            assert!(theirs.read().expect("an echo") == message);
        }
        theirs.send(Theirs::Ping(b"p".to_vec().into())).expect("it reads");
        assert_eq!(theirs.read().expect("a pong"), Theirs::Pong(b"p".to_vec().into()));
        theirs.send(Theirs::text("close 3000 enough")).expect("it reads");
        let Theirs::Close(Some(frame)) = theirs.read().expect("a close") else { panic!("no close frame") };
        report.send((u16::from(frame.code), frame.reason.to_string())).expect("the test waits");
        while theirs.read().is_ok() {}
    });
    let scribe = Scribe { story: talk.story.clone(), connections: talk.connections.clone(), ..Scribe::default() };
    talk.enter(|lp| websocket::connect(lp, &format!("ws://127.0.0.1:{port}/"), scribe)).expect("a good URL");
    turn_until_finished(&mut talk, thread);
    assert_eq!(reported.try_recv(), Ok((3000, "enough".to_owned())));
    talk.until("the close", |talk| talk.story.borrow().iter().any(|line| line.contains("closed")));
    assert_eq!(talk.story.borrow().last().map(String::as_str), Some("0 closed 3000 enough"));
}
