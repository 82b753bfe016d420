//! A peer that the test controls step by step, well behaved or not.

use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::retry::retry;
use super::server::LIMIT;

/// A receive buffer that is full after a line or two: a peer with it is stuck as soon as it does not read.
pub const SMALL_WINDOW: usize = 4096;

/// A client of the server that blocks until each of its operations is done.
pub struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    pub fn connect(to: SocketAddr) -> Peer {
        Peer::of(TcpStream::connect(to).expect("the server listens"))
    }

    /// Connects with buffers so small that hardly anything is sent unless this peer reads.
    pub fn with_small_window(to: SocketAddr) -> Peer {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a descriptor");
        socket.set_recv_buffer_size(SMALL_WINDOW).expect("before it is connected");
        socket.set_send_buffer_size(SMALL_WINDOW).expect("before it is connected");
        retry(|| socket.connect(&to.into())).expect("the server listens");
        Peer::of(socket.into())
    }

    /// Gives the peer a receive buffer of the usual size.
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

    /// Reads on behind the last line, with a buffer of `capacity` bytes. Bytes that have already been received are not
    /// lost.
    pub fn into_reader(self, capacity: usize) -> impl BufRead {
        let received = self.stream.buffer().to_vec();
        BufReader::with_capacity(capacity, Cursor::new(received).chain(self.stream.into_inner()))
    }

    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends until nothing has been taken for `patience`. Returns how many bytes were sent.
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

    /// Sends a FIN. The peer can still read.
    pub fn send_fin(&self) {
        self.stream().shutdown(Shutdown::Write).expect("it is open");
    }

    /// Reads the next line and removes its line break.
    pub fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("a line");
        assert_eq!(line.pop(), Some(b'\n'), "the server ended after {:?}", String::from_utf8_lossy(&line));
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        line
    }

    /// Reads this number of bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).expect("the server goes on");
        bytes
    }

    /// Reads lines until one is `text`, from any member.
    pub fn wait_for_line(&mut self, text: &str) {
        let began = Instant::now();
        while without_nick(&self.line()) != text.as_bytes() {
            assert!(began.elapsed() < LIMIT, "many lines were received, but not {text:?}");
        }
    }

    /// Sends a line and waits until it comes back. After this the server knows the peer, and has read everything
    /// before.
    pub fn send_and_wait(&mut self, text: &str) {
        self.send(format!("{text}\n"));
        self.wait_for_line(text);
    }

    /// Reads everything up to the server's FIN or RST.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let began = Instant::now();
        let mut received = Vec::new();
        loop {
            match self.stream.fill_buf() {
                Ok([]) => return received,
                Ok(bytes) => received.extend_from_slice(bytes),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => panic!("after {} bytes: {error}", received.len()),
            }
            self.stream.consume(self.stream.buffer().len());
            assert!(began.elapsed() < LIMIT, "no end after {} bytes", received.len());
        }
    }

    /// Closes with an RST instead of a FIN.
    pub fn reset(self) {
        reset(self.stream.into_inner());
    }
}

/// Closes with `SO_LINGER` 0: the kernel drops unsent bytes and sends an RST (socket(7)).
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
}

/// The text of a line, without the nick that a chat puts in front.
pub fn without_nick(line: &[u8]) -> &[u8] {
    let text = line.strip_prefix(b"guest").unwrap_or(line);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if text.len() < line.len() && digits > 0 { text[digits..].strip_prefix(b": ").unwrap_or(line) } else { line }
}
