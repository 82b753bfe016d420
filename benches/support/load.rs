//! Clients that check every byte: many connections on one mio poll, as cheap as the floor.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::contest::Load;

pub mod messages;

/// A server that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(30);

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The sent bytes: different messages of one size, each of them a line, repeated without end.
///
/// A connection sends this endless stream, starting with a message of its own, and expects the same stream back. A
/// byte is right if it is the one that belongs to its offset, so lost, repeated and misdirected bytes are found.
struct Tape {
    bytes: Vec<u8>,
    message: usize,
}

impl Tape {
    fn new(message: usize) -> Tape {
        let messages = (256 * 1024 / message).clamp(16, 1021);
        // Xorshift (Marsaglia, 2003); any sequence of letters without repetitions would do.
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut letter = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'a' + (state >> 32) as u8 % 26
        };
        let mut bytes: Vec<u8> = (0..messages * message).map(|_| letter()).collect();
        bytes.chunks_mut(message).for_each(|line| line[message - 1] = b'\n');
        Tape { bytes, message }
    }

    /// The bytes at `offset`, at most up to `limit` and the end of the tape.
    fn at(&self, offset: u64, limit: u64) -> &[u8] {
        let start = (offset % self.bytes.len() as u64) as usize;
        let len = ((limit - offset) as usize).min(self.bytes.len() - start);
        &self.bytes[start..start + len]
    }
}

/// One client. Offsets are positions in the endless stream.
struct Connection {
    stream: TcpStream,
    sent: u64,
    /// The offset up to which it may send.
    may_send: u64,
    received: u64,
    /// The offset up to which it must receive.
    end: u64,
}

impl Connection {
    fn new(stream: TcpStream, offset: u64) -> Connection {
        Connection { stream, sent: offset, may_send: offset, received: offset, end: offset }
    }

    fn send(&mut self, tape: &Tape) {
        while self.sent < self.may_send {
            match self.stream.write(tape.at(self.sent, self.may_send)) {
                Ok(n) => self.sent += n as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server ended: {error}"),
            }
        }
    }

    fn receive(&mut self, tape: &Tape, buf: &mut [u8]) {
        read_all(&mut self.stream, buf, |mut got| {
            while !got.is_empty() {
                let due = tape.at(self.received, self.received + got.len() as u64);
                assert!(got.starts_with(due), "a wrong byte after {} right ones", self.received);
                self.received += due.len() as u64;
                got = &got[due.len()..];
            }
            assert!(self.received <= self.end, "more than was due");
        });
    }
}

/// Reads what has arrived, and lends each read to `take`.
fn read_all(stream: &mut TcpStream, buf: &mut [u8], mut take: impl FnMut(&[u8])) {
    loop {
        match stream.read(buf) {
            Ok(0) => panic!("the server ended"),
            Ok(n) => {
                take(&buf[..n]);
                if n < buf.len() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the server ended: {error}"),
        }
    }
}

/// Connections and their poll.
struct Connections {
    poll: Poll,
    events: Events,
    tape: Tape,
    buf: Vec<u8>,
    connections: Vec<Connection>,
}

impl Connections {
    fn connect(port: u16, connections: usize, message: usize, offset: impl Fn(u64) -> u64) -> Connections {
        let poll = Poll::new().expect("a poll");
        let connect = |i| {
            // Connect one after the other: the time of connecting is not measured.
            let stream = connect(port, i).expect("the server listens");
            stream.set_nodelay(true).expect("a socket");
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(i), BOTH).expect("it is new");
            Connection::new(stream, offset(i as u64) * message as u64)
        };
        let connections = (0..connections).map(connect).collect();
        let (events, buf) = (Events::with_capacity(1024), vec![0; 128 * 1024]);
        Connections { poll, events, tape: Tape::new(message), buf, connections }
    }

    /// Runs until all connections have received what is due. A connection may send up to `window` messages ahead.
    fn settle(&mut self, window: u64) {
        let window = window * self.tape.message as u64;
        let mut waiting = 0;
        for connection in &mut self.connections {
            connection.send(&self.tape);
            waiting += usize::from(connection.received < connection.end);
        }
        while waiting > 0 {
            self.poll.poll(&mut self.events, Some(LIMIT)).expect("the poll works");
            assert!(!self.events.is_empty(), "the server has stopped answering");
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                let was_waiting = connection.received < connection.end;
                if event.is_readable() {
                    connection.receive(&self.tape, &mut self.buf);
                }
                if window > 0 {
                    let received = connection.received - connection.received % self.tape.message as u64;
                    connection.may_send = connection.end.min(received + window);
                }
                connection.send(&self.tape);
                waiting -= usize::from(was_waiting && connection.received == connection.end);
            }
        }
    }
}

/// Uses five thousand connections per local address. With more, the kernel takes long to find a free port.
#[cfg(target_os = "linux")]
fn connect(port: u16, nth: usize) -> std::io::Result<std::net::TcpStream> {
    use socket2::{Domain, Socket, Type};
    let from = SocketAddr::from(([127, 0, 0, 1 + (nth / 5000) as u8], 0));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    Ok(socket.into())
}

#[cfg(not(target_os = "linux"))]
fn connect(port: u16, _: usize) -> std::io::Result<std::net::TcpStream> {
    std::net::TcpStream::connect(("127.0.0.1", port))
}

/// Every connection sends messages and receives them back, several in flight at a time.
pub struct PingPong {
    all: Connections,
    in_flight: u64,
}

impl PingPong {
    pub fn new(port: u16, connections: usize, message: usize, in_flight: u64) -> PingPong {
        PingPong { all: Connections::connect(port, connections, message, |i| i), in_flight }
    }

    /// Sends a message on the last connection. When it comes back all connections have been accepted.
    pub fn wait_until_all_are_connected(&mut self) {
        let last = self.all.connections.last_mut().expect("there is one");
        last.end += self.all.tape.message as u64;
        last.may_send = last.end;
        self.all.settle(0);
    }
}

impl Load for PingPong {
    fn exchange(&mut self, messages: u64) -> u64 {
        let size = self.all.tape.message as u64;
        let count = self.all.connections.len() as u64;
        for (i, connection) in (0..).zip(&mut self.all.connections) {
            connection.end += (messages / count + u64::from(i < messages % count)) * size;
            connection.may_send = connection.end.min(connection.received + self.in_flight * size);
        }
        self.all.settle(self.in_flight);
        messages
    }
}

/// One member after the other sends some lines at a time, which all members receive.
pub struct FanOut {
    all: Connections,
    in_flight: u64,
    speaker: usize,
}

impl FanOut {
    pub fn new(port: u16, members: usize, message: usize, in_flight: u64) -> FanOut {
        let mut fan_out = FanOut { all: Connections::connect(port, members, message, |_| 0), in_flight, speaker: 0 };
        // The server may not have accepted all connections yet. A connection is accepted when its own line comes back.
        fan_out.wait_until_all_are_connected();
        fan_out
    }

    /// Sends a line of the last member: all members are connected when it has received that line.
    fn wait_until_all_are_connected(&mut self) {
        self.speaker = self.all.connections.len() - 1;
        self.exchange(1);
    }
}

impl Load for FanOut {
    /// One operation is one delivery.
    fn exchange(&mut self, deliveries: u64) -> u64 {
        let members = self.all.connections.len();
        let a_burst = members as u64 * self.in_flight;
        let bursts = deliveries.div_ceil(a_burst);
        for _ in 0..bursts {
            let bytes = self.in_flight * self.all.tape.message as u64;
            self.all.connections.iter_mut().for_each(|connection| connection.end += bytes);
            // All have received the same lines, so the sender continues at the common offset.
            let speaker = &mut self.all.connections[self.speaker];
            (speaker.sent, speaker.may_send) = (speaker.received, speaker.end);
            self.speaker = (self.speaker + 1) % members;
            self.all.settle(0);
        }
        bursts * a_burst
    }
}

/// Connections that connect, send one message, receive it back, and close.
pub struct Churn {
    poll: Poll,
    events: Events,
    address: SocketAddr,
    at_once: usize,
    tape: Tape,
    buf: Vec<u8>,
}

impl Churn {
    pub fn new(port: u16, at_once: usize, message: usize) -> Churn {
        let (poll, events) = (Poll::new().expect("a poll"), Events::with_capacity(1024));
        let address = ([127, 0, 0, 1], port).into();
        Churn { poll, events, address, at_once, tape: Tape::new(message), buf: vec![0; message + 1] }
    }

    fn connect(&self, slot: usize, offset: u64) -> Connection {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        self.poll.registry().register(&mut stream, Token(slot), BOTH).expect("it is new");
        let mut connection = Connection::new(stream, offset * self.tape.message as u64);
        connection.end += self.tape.message as u64;
        connection
    }

    /// Returns whether the connection has received its answer.
    fn serve(&mut self, connection: &mut Connection, event: &Event) -> bool {
        if event.is_writable() && connection.may_send < connection.end {
            let error = connection.stream.take_error().expect("a socket");
            assert!(error.is_none(), "no connection: {error:?}");
            connection.may_send = connection.end;
        }
        connection.send(&self.tape);
        if event.is_readable() {
            connection.receive(&self.tape, &mut self.buf);
        }
        connection.received == connection.end
    }
}

impl Load for Churn {
    fn exchange(&mut self, connections: u64) -> u64 {
        let mut begun = 0;
        let mut done = 0;
        let mut open: Vec<Option<Connection>> = Vec::new();
        while begun < connections.min(self.at_once as u64) {
            open.push(Some(self.connect(begun as usize, begun)));
            begun += 1;
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        while done < connections {
            self.poll.poll(&mut events, Some(LIMIT)).expect("the poll works");
            assert!(!events.is_empty(), "the server has stopped answering");
            for event in &events {
                let slot = event.token().0;
                let Some(mut connection) = open[slot].take() else { continue };
                if !self.serve(&mut connection, event) {
                    open[slot] = Some(connection);
                    continue;
                }
                drop(connection);
                done += 1;
                if begun < connections {
                    open[slot] = Some(self.connect(slot, begun));
                    begun += 1;
                }
            }
        }
        self.events = events;
        connections
    }
}
