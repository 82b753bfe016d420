//! A member of the relay: how it behaves while it is connected, how it leaves, and what it has received.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::retry::retry;
use super::transcript::{LineId, Transcript};

/// How a member behaves and leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Reads promptly, sends lines, and stays to the end.
    Stays,
    /// Stays too, but reads only now and then, with a small receive buffer.
    IsSlow,
    /// Sends a FIN, and reads everything up to the server's FIN.
    SendsFin,
    /// Closes its socket, without waiting for lines on their way.
    Closes,
    /// Resets the connection in the middle of a line.
    Resets,
    /// Never reads, and resets the connection at the end.
    IsStuck,
}

impl Fate {
    pub const ALL: [Fate; 6] = [Fate::Stays, Fate::IsSlow, Fate::SendsFin, Fate::Closes, Fate::Resets, Fate::IsStuck];

    pub fn stays(self) -> bool {
        matches!(self, Fate::Stays | Fate::IsSlow)
    }
}

/// The receive buffer of slow and stuck members: full after a few lines.
const SMALL_WINDOW: usize = 4096;

/// How long a slow member pauses between two reads.
const SLOW_PAUSE: Duration = Duration::from_millis(300);

pub struct Member {
    pub id: u32,
    pub fate: Fate,
    pub leaves_at: Instant,
    stream: TcpStream,
    /// How many lines it has sent.
    pub sent: u32,
    /// Sent lines that the kernel has not taken yet.
    unsent: Vec<u8>,
    /// The beginning of a line whose end has not arrived.
    unread: Vec<u8>,
    /// Received lines that the reference has not received yet.
    ahead: VecDeque<LineId>,
    /// The place in the transcript of the next line to receive; `None` before the first line of its own.
    place: Option<u64>,
    own_received: u32,
    reads_again_at: Instant,
    has_sent_fin: bool,
    /// The server's FIN has been received.
    pub has_received_fin: bool,
}

impl Member {
    /// Connects, and sends the first line.
    pub fn enter(server: SocketAddr, id: u32, fate: Fate, leaves_at: Instant) -> Member {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a descriptor");
        if matches!(fate, Fate::IsSlow | Fate::IsStuck) {
            socket.set_recv_buffer_size(SMALL_WINDOW).expect("before it is connected");
        }
        retry(|| socket.connect(&server.into())).expect("the server listens");
        socket.set_tcp_nodelay(true).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let mut member = Member {
            id,
            fate,
            leaves_at,
            stream: socket.into(),
            sent: 0,
            unsent: Vec::new(),
            unread: Vec::new(),
            ahead: VecDeque::new(),
            place: None,
            own_received: 0,
            reads_again_at: Instant::now(),
            has_sent_fin: false,
            has_received_fin: false,
        };
        member.send_line();
        member
    }

    /// Sends the next line.
    pub fn send_line(&mut self) {
        let line = LineId { id: self.id, number: self.sent };
        self.sent += 1;
        self.unsent.extend_from_slice(&line.bytes());
        self.send();
    }

    /// Writes as much as the kernel takes.
    pub fn send(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    assert!(self.fate == Fate::IsStuck, "{self} could not send: {error}");
                    return self.unsent.clear();
                }
            }
        }
    }

    /// Reads everything that has arrived, unless the member does not read now. Passes each line to `received`.
    fn read(&mut self, now: Instant, buffer: &mut [u8], mut received: impl FnMut(LineId)) {
        if self.fate == Fate::IsStuck || self.has_received_fin || now < self.reads_again_at {
            return;
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => {
                    assert!(self.has_sent_fin && self.unread.is_empty(), "the server closed the connection of {self}");
                    self.has_received_fin = true;
                    return;
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{self} was disconnected: {error}"),
            };
            let mut rest = &buffer[..read];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                self.unread.extend_from_slice(&rest[..=end]);
                rest = &rest[end + 1..];
                received(LineId::parse(&self.unread));
                self.unread.clear();
            }
            self.unread.extend_from_slice(rest);
        }
        if self.fate == Fate::IsSlow && !self.has_sent_fin {
            self.reads_again_at = now + SLOW_PAUSE;
        }
    }

    /// Reads as the reference: its lines are what every member must receive. Returns their number.
    pub fn read_as_reference(&mut self, now: Instant, buffer: &mut [u8], transcript: &mut Transcript) -> u64 {
        let before = transcript.end();
        self.read(now, buffer, |line| transcript.push(line));
        self.place = Some(transcript.end());
        transcript.end() - before
    }

    /// Reads, and compares with what the reference has received so far. Returns the number of lines.
    pub fn read_and_compare(&mut self, now: Instant, buffer: &mut [u8], transcript: &Transcript) -> u64 {
        let mut ahead = std::mem::take(&mut self.ahead);
        let before = ahead.len();
        let (id, mut own_received) = (self.id, self.own_received);
        self.read(now, buffer, |line| {
            if line.id == id {
                assert_eq!(line.number, own_received, "member {id} receives its own lines in order");
                own_received += 1;
            }
            // Before its first own line comes back it may receive others; the transcript is compared from its own
            // line on.
            if own_received > 0 {
                ahead.push_back(line);
            }
        });
        self.own_received = own_received;
        let received = (ahead.len() - before) as u64;
        if self.place.is_none() {
            self.place = transcript.entry_of(id).filter(|_| own_received > 0);
        }
        if let Some(place) = &mut self.place {
            while let (Some(want), Some(&line)) = (transcript.at(*place), ahead.front()) {
                assert_eq!(line, want, "member {id} receives what the others receive, in the same order");
                ahead.pop_front();
                *place += 1;
            }
        }
        self.ahead = ahead;
        received
    }

    /// Whether it has received everything that the reference has.
    pub fn is_up_to_date(&self, transcript: &Transcript) -> bool {
        self.place == Some(transcript.end()) && self.ahead.is_empty()
    }

    /// The first place of the transcript that it still has to receive.
    pub fn needs_from(&self, transcript: &Transcript) -> u64 {
        self.place.or(transcript.entry_of(self.id)).unwrap_or(transcript.end())
    }

    /// Sends a FIN after everything it has sent.
    pub fn send_fin(&mut self) {
        if !self.has_sent_fin && self.unsent.is_empty() {
            self.stream.shutdown(Shutdown::Write).expect("it is open");
            self.has_sent_fin = true;
            self.reads_again_at = Instant::now();
        }
    }

    /// Leaves in the way of its fate. Returns whether the member is gone and can be dropped.
    pub fn leave(&mut self) -> bool {
        match self.fate {
            Fate::Stays | Fate::IsSlow => return false,
            Fate::SendsFin => {
                self.send_fin();
                let is_gone = self.has_received_fin && self.ahead.is_empty();
                assert!(
                    !is_gone || self.own_received == self.sent,
                    "{self} sent {} lines and received {} of them",
                    self.sent,
                    self.own_received
                );
                return is_gone;
            }
            Fate::Closes => {}
            Fate::Resets | Fate::IsStuck => {
                let _ = self.stream.write(b"never sent to the en");
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket");
            }
        }
        true
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "member {} ({:?})", self.id, self.fate)
    }
}
