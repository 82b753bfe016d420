//! A member of the relay: how it behaves while it is there, how it leaves, and what it has heard.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::score::{Said, Score};

/// What becomes of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Reads at once, talks, and is there from its first line to the end.
    Stays,
    /// As the first, but reads only now and then, through a small window.
    StaysAndIsSlow,
    /// Says good-bye with a FIN, and hears everything up to the server's.
    LeavesPolitely,
    /// Closes, whatever is on its way.
    Vanishes,
    /// Resets in the middle of a line.
    Resets,
    /// Never reads, and is reset in the end.
    IsStuck,
}

impl Fate {
    pub const ALL: [Fate; 6] =
        [Fate::Stays, Fate::StaysAndIsSlow, Fate::LeavesPolitely, Fate::Vanishes, Fate::Resets, Fate::IsStuck];

    pub fn stays(self) -> bool {
        matches!(self, Fate::Stays | Fate::StaysAndIsSlow)
    }
}

/// A receive buffer of the slow and the stuck: full after a few lines.
const SMALL_WINDOW: usize = 4096;

/// How long the slow look away.
const LOOKS_AWAY: Duration = Duration::from_millis(300);

pub struct Member {
    pub who: u32,
    pub fate: Fate,
    pub leaves_at: Instant,
    stream: TcpStream,
    /// How many lines it has said.
    pub said: u32,
    /// What the kernel has not taken yet of what it said.
    unsent: Vec<u8>,
    /// The beginning of a line that it has not heard the end of.
    unread: Vec<u8>,
    /// What it has heard and the reference has not yet.
    ahead: VecDeque<Said>,
    /// The place in the score that it hears next; `None` until it has heard itself.
    place: Option<u64>,
    own_heard: u32,
    reads_again_at: Instant,
    has_said_good_bye: bool,
    /// The server's FIN has come.
    pub has_heard_good_bye: bool,
}

impl Member {
    /// Comes in, and says its first line.
    pub fn enter(server: SocketAddr, who: u32, fate: Fate, leaves_at: Instant) -> Member {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a descriptor");
        if matches!(fate, Fate::StaysAndIsSlow | Fate::IsStuck) {
            socket.set_recv_buffer_size(SMALL_WINDOW).expect("before it is connected");
        }
        socket.connect(&server.into()).expect("the server listens");
        socket.set_tcp_nodelay(true).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let mut member = Member {
            who,
            fate,
            leaves_at,
            stream: socket.into(),
            said: 0,
            unsent: Vec::new(),
            unread: Vec::new(),
            ahead: VecDeque::new(),
            place: None,
            own_heard: 0,
            reads_again_at: Instant::now(),
            has_said_good_bye: false,
            has_heard_good_bye: false,
        };
        member.say();
        member
    }

    /// Says its next line.
    pub fn say(&mut self) {
        let said = Said { who: self.who, number: self.said };
        self.said += 1;
        self.unsent.extend_from_slice(&said.line());
        self.send();
    }

    /// Hands the kernel what it takes.
    pub fn send(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    assert!(self.fate == Fate::IsStuck, "{self} could not speak: {error}");
                    return self.unsent.clear();
                }
            }
        }
    }

    /// Reads all there is, if it reads now. Each line goes to `hear`.
    fn read(&mut self, now: Instant, buffer: &mut [u8], mut hear: impl FnMut(Said)) {
        if self.fate == Fate::IsStuck || self.has_heard_good_bye || now < self.reads_again_at {
            return;
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => {
                    assert!(
                        self.has_said_good_bye && self.unread.is_empty(),
                        "the server closed the connection of {self}"
                    );
                    self.has_heard_good_bye = true;
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
                hear(Said::read(&self.unread));
                self.unread.clear();
            }
            self.unread.extend_from_slice(rest);
        }
        if self.fate == Fate::StaysAndIsSlow && !self.has_said_good_bye {
            self.reads_again_at = now + LOOKS_AWAY;
        }
    }

    /// As the reference: what it hears is what everybody must hear. Answers how many lines it was.
    pub fn dictate(&mut self, now: Instant, buffer: &mut [u8], score: &mut Score) -> u64 {
        let before = score.end();
        self.read(now, buffer, |said| score.write_down(said));
        self.place = Some(score.end());
        score.end() - before
    }

    /// Reads, and compares with what the reference has heard so far. Answers how many lines it heard.
    pub fn listen(&mut self, now: Instant, buffer: &mut [u8], score: &Score) -> u64 {
        let mut ahead = std::mem::take(&mut self.ahead);
        let before = ahead.len();
        let (who, mut own_heard) = (self.who, self.own_heard);
        self.read(now, buffer, |said| {
            if said.who == who {
                assert_eq!(said.number, own_heard, "member {who} hears itself in order");
                own_heard += 1;
            }
            // Between its connection and its first line it may hear others; the score shows from its own line on.
            if own_heard > 0 {
                ahead.push_back(said);
            }
        });
        self.own_heard = own_heard;
        let heard = (ahead.len() - before) as u64;
        if self.place.is_none() {
            self.place = score.entry_of(who).filter(|_| own_heard > 0);
        }
        if let Some(place) = &mut self.place {
            while let (Some(want), Some(&said)) = (score.at(*place), ahead.front()) {
                assert_eq!(said, want, "member {who} hears what the others hear, in the same order");
                ahead.pop_front();
                *place += 1;
            }
        }
        self.ahead = ahead;
        heard
    }

    /// Whether it has heard everything that the reference has.
    pub fn is_up_to_date(&self, score: &Score) -> bool {
        self.place == Some(score.end()) && self.ahead.is_empty()
    }

    /// The first place of the score that it still has to hear; it needs none if it does not listen.
    pub fn needs_from(&self, score: &Score) -> u64 {
        self.place.or(score.entry_of(self.who)).unwrap_or(score.end())
    }

    /// Its FIN, behind all that it said.
    pub fn say_good_bye(&mut self) {
        if !self.has_said_good_bye && self.unsent.is_empty() {
            self.stream.shutdown(Shutdown::Write).expect("it is open");
            self.has_said_good_bye = true;
            self.reads_again_at = Instant::now();
        }
    }

    /// Leaves as it is its fate. `true`: it is gone, and nothing more is to be known of it.
    pub fn leave(&mut self) -> bool {
        match self.fate {
            Fate::Stays | Fate::StaysAndIsSlow => return false,
            Fate::LeavesPolitely => {
                self.say_good_bye();
                let is_gone = self.has_heard_good_bye && self.ahead.is_empty();
                assert!(
                    !is_gone || self.own_heard == self.said,
                    "{self} said {} lines, {} came",
                    self.said,
                    self.own_heard
                );
                return is_gone;
            }
            Fate::Vanishes => {}
            Fate::Resets | Fate::IsStuck => {
                let _ = self.stream.write(b"never said to the en");
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket");
            }
        }
        true
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "member {} ({:?})", self.who, self.fate)
    }
}
