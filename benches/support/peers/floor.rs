//! The floor: mio, a slab, one read buffer, and each role written by hand for the fewest system calls. No general
//! program on mio can be expected to be faster: the floor has no handlers, no timers, no limits, and nothing that a
//! second role could share.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::Role;

const LISTENER: Token = Token(usize::MAX);
const READ: usize = 64 * 1024;

struct Connection {
    stream: TcpStream,
    /// Bytes that the kernel has not taken.
    unsent: Vec<u8>,
    /// The beginning of an unfinished line.
    line: Vec<u8>,
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut sent = 0;
        if self.unsent.is_empty() {
            sent = write(&mut self.stream, bytes)?;
        }
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Sends waiting bytes. Returns whether everything is sent.
    fn flush(&mut self) -> Result<bool> {
        if self.unsent.is_empty() {
            return Ok(true);
        }
        let sent = write(&mut self.stream, &self.unsent)?;
        if sent < self.unsent.len() {
            self.unsent.drain(..sent);
            return Ok(false);
        }
        self.unsent = Vec::new();
        Ok(true)
    }

    /// Reads until the kernel has no more bytes or does not take the answers. Returns `false` at the end of the
    /// connection.
    fn serve(&mut self, role: Role, buf: &mut [u8], out: &mut Vec<u8>, hung_up: bool) -> Result<bool> {
        while self.flush()? {
            let n = match self.stream.read(buf) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            match role {
                Role::Echo => self.send(&buf[..n])?,
                Role::Lines => {
                    out.clear();
                    cut(&mut self.line, &buf[..n], out);
                    self.send(out)?;
                }
                // Sent to all members at the end of the turn.
                Role::Relay => cut(&mut self.line, &buf[..n], out),
                Role::Messages | Role::Events => unreachable!("the floor has no messages"),
            }
            if n < buf.len() && !hung_up {
                break;
            }
        }
        Ok(true)
    }
}

/// Moves the complete lines of `line` and `chunk` to `out`, one by one, and leaves the rest in `line`.
fn cut(line: &mut Vec<u8>, mut chunk: &[u8], out: &mut Vec<u8>) {
    while let Some(end) = memchr::memchr(b'\n', chunk) {
        let (first, rest) = chunk.split_at(end + 1);
        out.append(line);
        out.extend_from_slice(first);
        chunk = rest;
    }
    line.extend_from_slice(chunk);
}

/// Writes until the kernel takes no more. Only after that does epoll report when the socket is writable again.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

pub fn serve(role: Role) {
    let mut poll = Poll::new().expect("a poll");
    let mut listener = listen().expect("a free port");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("it is new");
    super::announce(listener.local_addr().expect("it is bound").port());
    let mut connections: Slab<Connection> = Slab::new();
    let mut events = Events::with_capacity(1024);
    let mut buf = vec![0; READ];
    let mut out = Vec::new();
    loop {
        poll.poll(&mut events, None).expect("the poll works");
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut connections);
                continue;
            }
            let slot = event.token().0;
            let connection = &mut connections[slot];
            if !matches!(connection.serve(role, &mut buf, &mut out, event.is_read_closed()), Ok(true)) {
                connections.remove(slot);
            }
        }
        if role == Role::Relay && !out.is_empty() {
            connections.retain(|_, connection| connection.send(&out).is_ok());
            out.clear();
        }
    }
}

fn listen() -> Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit this option.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn accept(poll: &Poll, listener: &TcpListener, connections: &mut Slab<Connection>) {
    while let Ok((mut stream, _)) = listener.accept() {
        let entry = connections.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(entry.key()), both).expect("it is new");
        entry.insert(Connection { stream, unsent: Vec::new(), line: Vec::new() });
    }
}
