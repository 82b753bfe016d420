//! The peers of a lesson: blocking sockets of the standard library.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::lesson::LIMIT;

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the lesson listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_nodelay(true).expect("a TCP socket has this option");
    stream
}

pub fn send(mut stream: &TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).expect("the lesson reads");
}

/// Reads as many bytes as `wanted` has, and compares them.
pub fn expect(mut stream: &TcpStream, wanted: &str) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap_or_else(|error| panic!("no {wanted:?}: {error}"));
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

/// Reads to the end of the stream.
pub fn rest_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the lesson ends the connection without an error");
    rest
}

pub fn reset(stream: TcpStream) {
    let stream = socket2::Socket::from(stream);
    stream.set_linger(Some(Duration::ZERO)).expect("a TCP socket has this option");
}

/// Sends `bytes` without reading anything, until neither this kernel nor the lesson takes more. Returns how many bytes
/// were sent.
pub fn send_until_stuck(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    // The only place where a pause is a result: a server that has stopped reading shows itself only by silence.
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a limit is not zero");
    let mut sent = 0;
    let stuck = loop {
        match stream.write(&bytes[sent..]) {
            Ok(0) => break false,
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("the write should block, not fail: {error}"),
        }
    };
    assert!(stuck, "the lesson took all {sent} bytes from a peer that does not read");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit is not zero");
    sent
}

/// Reads one line, with its line break; "" at the end of the stream.
pub fn read_line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the lesson sends a line");
    line
}

/// A port on which no server listens. As long as the socket exists, no other program gets the port.
pub fn closed_port() -> (socket2::Socket, u16) {
    let bound =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are descriptors");
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("there is a free port");
    let port =
        bound.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket has a port").port();
    (bound, port)
}
