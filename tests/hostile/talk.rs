//! Much talk, numbered so that whoever hears it knows what is missing.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::peer::Peer;
use super::server::LIMIT;
use super::witness::Ear;

/// How far a talker may be ahead of the listeners that must not be lost: half of what the server lets wait for one.
const AHEAD: u64 = 512 * 1024;

/// Lines go out so many bytes at a time.
const PORTION: usize = 8 * 1024;

/// A member that listens well, in a thread of its own.
pub struct Listener {
    /// How many lines of talkers it has heard.
    pub talk: Arc<AtomicU64>,
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Listener {
    pub fn of(server: SocketAddr, is_chat: bool) -> Listener {
        let mut peer = Peer::connect(server);
        peer.say_and_hear("I listen");
        Listener::listening(peer, is_chat)
    }

    fn listening(peer: Peer, is_chat: bool) -> Listener {
        let mut ear = Ear::new(is_chat);
        let talk = Arc::clone(&ear.talk);
        let stream = peer.stream().try_clone().expect("a descriptor");
        let thread = thread::spawn(move || {
            let mut reader = BufReader::with_capacity(64 * 1024, peer.stream());
            let mut line = Vec::new();
            loop {
                line.clear();
                match reader.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => ear.hear(&line),
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                    Err(error) => panic!("a listener was lost: {error}"),
                }
            }
        });
        Listener { talk, stream, thread }
    }

    /// Says good-bye, and hears everything up to the server's.
    pub fn end(self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A member that talks.
pub struct Talker {
    who: u64,
    said: u64,
    peer: Peer,
}

impl Talker {
    pub fn of(server: SocketAddr) -> Talker {
        static TALKERS: AtomicU64 = AtomicU64::new(0);
        let mut peer = Peer::connect(server);
        peer.say_and_hear("I talk");
        Talker { who: TALKERS.fetch_add(1, Ordering::Relaxed), said: 0, peer }
    }

    /// Says `bytes` in lines of `line_bytes`, never much further than what `listeners` have heard, and waits until they
    /// have heard it all. It hears itself, too, and must: so it is one of them.
    pub fn talk(mut self, bytes: usize, line_bytes: usize, is_chat: bool, listeners: &[&AtomicU64]) {
        let own_ear = Listener::listening(self.peer, is_chat);
        let before: Vec<u64> = listeners.iter().map(|heard| heard.load(Ordering::Acquire)).collect();
        let heard_by_all = || {
            let of_listeners =
                listeners.iter().zip(&before).map(|(heard, before)| heard.load(Ordering::Acquire) - before);
            of_listeners.chain([own_ear.talk.load(Ordering::Acquire)]).min().unwrap_or(0)
        };
        let wait_until_heard = |lines: u64| {
            let began = Instant::now();
            while heard_by_all() < lines {
                assert!(began.elapsed() < LIMIT, "{} of {lines} lines were heard", heard_by_all());
                thread::sleep(Duration::from_micros(200));
            }
        };
        let mut portion = Vec::with_capacity(PORTION + line_bytes);
        let lines = (bytes / line_bytes) as u64;
        while self.said < lines {
            portion.clear();
            while portion.len() < PORTION && self.said < lines {
                let start = portion.len();
                portion.extend_from_slice(format!("talk {} {} ", self.who, self.said).as_bytes());
                portion.resize((start + line_bytes - 1).max(portion.len()), b'.');
                portion.push(b'\n');
                self.said += 1;
            }
            wait_until_heard(self.said.saturating_sub(AHEAD / line_bytes as u64));
            (&own_ear.stream).write_all(&portion).expect("the server reads");
        }
        wait_until_heard(lines);
        own_ear.end();
    }
}
