//! A peer of a lesson: plain sockets of the standard library, which block.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::lesson::LIMIT;

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the lesson listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_nodelay(true).expect("TCP has it");
    stream
}

pub fn send(mut stream: &TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).expect("the lesson takes it");
}

/// Reads exactly as much as is wanted, and compares.
pub fn expect(mut stream: &TcpStream, wanted: &str) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap_or_else(|error| panic!("no {wanted:?}: {error}"));
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

/// Reads to the end.
pub fn rest_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it ends in order");
    rest
}

pub fn reset(stream: TcpStream) {
    let stream = socket2::Socket::from(stream);
    stream.set_linger(Some(Duration::ZERO)).expect("TCP has it");
}

/// A peer that reads nothing until its kernel and the lesson's take no more from it. Says how much it has sent of `bytes`.
pub fn send_until_stuck(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    // The one place where a pause means something: a server that holds back is seen only by nothing happening.
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a limit is not zero");
    let mut sent = 0;
    let stuck = loop {
        match stream.write(&bytes[sent..]) {
            Ok(0) => break false,
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("it should wait, not fail: {error}"),
        }
    };
    assert!(stuck, "the lesson has taken {sent} bytes from a peer that does not read");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit is not zero");
    sent
}

pub fn heard(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("it can be read");
    line
}

/// A port that nobody listens on, and nobody else gets as long as the socket is there.
pub fn unheard_port() -> (socket2::Socket, u16) {
    let bound =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are descriptors");
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("there is a free port");
    let port = bound.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound").port();
    (bound, port)
}
