//! tungstenite on mio, with its read buffer of 4 KiB: with its default of 128 KiB it fills that with zeros before every
//! read.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role as Side, WebSocketConfig};
use tungstenite::{Error, WebSocket};

use super::Role;

const LISTENER: Token = Token(0);
const READ_BUFFER: usize = 4096;
const MAX_MESSAGE: usize = 1024 * 1024;

pub fn serve(role: Role) {
    assert_eq!(role, Role::Messages, "tungstenite sends messages");
    let mut poll = Poll::new().expect("a poll");
    let mut listener = mio::net::TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a port");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("it is new");
    super::announce(listener.local_addr().expect("it is bound").port());
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).max_message_size(Some(MAX_MESSAGE));
    let mut events = Events::with_capacity(1024);
    let mut sockets: HashMap<Token, WebSocket<TcpStream>> = HashMap::new();
    let mut next = 1;
    loop {
        poll.poll(&mut events, None).expect("the poll works");
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    let mut stream = shake_hands(stream);
                    let token = Token(next);
                    next += 1;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, token, both).expect("it is new");
                    sockets.insert(token, WebSocket::from_raw_socket(stream, Side::Server, Some(config)));
                }
                continue;
            }
            let Some(socket) = sockets.get_mut(&event.token()) else { continue };
            if !echo(socket) {
                sockets.remove(&event.token());
            }
        }
    }
}

/// The handshake, waiting for the client: not a part of what is measured.
fn shake_hands(stream: TcpStream) -> TcpStream {
    let mut stream = std::net::TcpStream::from(stream);
    stream.set_nonblocking(false).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the client sends a request");
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request);
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).expect("the client reads");
    stream.set_nonblocking(true).expect("a socket");
    TcpStream::from_std(stream)
}

/// Sends back what has arrived, in one flush. Returns whether the connection goes on.
fn echo(socket: &mut WebSocket<TcpStream>) -> bool {
    let is_refusal = |error: &Error| matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock);
    loop {
        match socket.read() {
            Ok(message) if message.is_text() || message.is_binary() => match socket.write(message) {
                Err(error) if !is_refusal(&error) => return false,
                _ => {}
            },
            Ok(_) => {}
            Err(error) if is_refusal(&error) => break,
            Err(_) => return false,
        }
    }
    match socket.flush() {
        Err(error) => is_refusal(&error),
        Ok(()) => true,
    }
}
