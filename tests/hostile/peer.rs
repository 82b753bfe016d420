//! The other side of a conversation: polite or not, it does exactly what it is told.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::server::LIMIT;

/// A receive buffer so small that it is full after a line or two: with it the peer is stuck as soon as it does not read.
pub const SMALL_WINDOW: usize = 4096;

/// A client that waits for what it asks for.
pub struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    pub fn connect(to: SocketAddr) -> Peer {
        Peer::of(TcpStream::connect(to).expect("the server listens"))
    }

    /// One whose kernel takes next to nothing for it.
    pub fn with_small_window(to: SocketAddr) -> Peer {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a descriptor");
        socket.set_recv_buffer_size(SMALL_WINDOW).expect("before it is connected");
        socket.set_send_buffer_size(SMALL_WINDOW).expect("before it is connected");
        socket.connect(&to.into()).expect("the server listens");
        Peer::of(socket.into())
    }

    /// Now its kernel takes as much as others'.
    pub fn open_window(&self) {
        SockRef::from(self.stream()).set_recv_buffer_size(1024 * 1024).expect("a socket");
    }

    fn of(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        stream.set_write_timeout(Some(LIMIT)).expect("a socket");
        Peer { stream: BufReader::with_capacity(4096, stream) }
    }

    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends until neither kernel takes more for `patience`; answers how much of it went.
    pub fn send_until_stuck(&self, bytes: &[u8], patience: Duration) -> usize {
        self.stream().set_write_timeout(Some(patience)).expect("a socket");
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream().write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        self.stream().set_write_timeout(Some(LIMIT)).expect("a socket");
        sent
    }

    /// Our FIN: nothing more is said, everything is heard.
    pub fn finish(&self) {
        self.stream().shutdown(Shutdown::Write).expect("it is open");
    }

    /// The next line, without its break.
    pub fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("a line");
        assert_eq!(line.pop(), Some(b'\n'), "the server ended after {:?}", String::from_utf8_lossy(&line));
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        line
    }

    /// Hears lines until one is `text`, whoever said it.
    pub fn hear(&mut self, text: &str) {
        let began = Instant::now();
        while said(&self.line()) != text.as_bytes() {
            assert!(began.elapsed() < LIMIT, "much was heard, but not {text:?}");
        }
    }

    /// Says a line and hears it: the server knows this peer, and has read everything before.
    pub fn say_and_hear(&mut self, text: &str) {
        self.send(format!("{text}\n"));
        self.hear(text);
    }

    /// Everything up to the server's FIN, or its reset.
    pub fn rest(&mut self) -> Vec<u8> {
        let began = Instant::now();
        let mut heard = Vec::new();
        loop {
            match self.stream.fill_buf() {
                Ok([]) => return heard,
                Ok(bytes) => heard.extend_from_slice(bytes),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return heard,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => panic!("after {} bytes: {error}", heard.len()),
            }
            self.stream.consume(self.stream.buffer().len());
            assert!(began.elapsed() < LIMIT, "no end after {} bytes", heard.len());
        }
    }

    /// Leaves with a reset instead of a FIN.
    pub fn reset(self) {
        reset(self.stream.into_inner());
    }
}

/// Closes with `SO_LINGER` 0: what waits is thrown away, the peer gets a reset (socket(7)).
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
}

/// What was said in a line: without the nick that a chat puts in front.
pub fn said(line: &[u8]) -> &[u8] {
    let text = line.strip_prefix(b"guest").unwrap_or(line);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if text.len() < line.len() && digits > 0 { text[digits..].strip_prefix(b": ").unwrap_or(line) } else { line }
}
