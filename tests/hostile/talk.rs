//! Much talk, numbered so that whoever hears it knows what is missing.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::peer::Peer;
use super::server::LIMIT;
use super::witness::Ear;

/// How far a talker may be ahead of the listeners that must not be lost: half of what the server lets wait for one.
const AHEAD: u64 = 512 * 1024;

/// Lines go out so many bytes at a time.
const PORTION: usize = 8 * 1024;

/// How many lines somebody has heard. Others may wait for more.
#[derive(Default)]
pub struct Heard {
    lines: Mutex<u64>,
    more: Condvar,
}

impl Heard {
    pub fn add_one(&self) {
        *self.lines.lock().expect("nobody panics with it") += 1;
        self.more.notify_all();
    }

    pub fn lines(&self) -> u64 {
        *self.lines.lock().expect("nobody panics with it")
    }

    pub fn wait_for(&self, lines: u64) {
        let heard = self.lines.lock().expect("nobody panics with it");
        let waited = self.more.wait_timeout_while(heard, LIMIT, |heard| *heard < lines);
        let (heard, _) = waited.expect("nobody panics with it");
        assert!(*heard >= lines, "{heard} of {lines} lines were heard");
    }
}

/// A member that listens well, in a thread of its own.
pub struct Listener {
    /// How many lines of talkers it has heard.
    pub talk: Arc<Heard>,
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
    pub fn talk(mut self, bytes: usize, line_bytes: usize, is_chat: bool, listeners: &[&Heard]) {
        let own_ear = Listener::listening(self.peer, is_chat);
        let before: Vec<u64> = listeners.iter().map(|heard| heard.lines()).collect();
        let wait_until_heard = |lines: u64| {
            listeners.iter().zip(&before).for_each(|(heard, before)| heard.wait_for(before + lines));
            own_ear.talk.wait_for(lines);
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
