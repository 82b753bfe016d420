//! Numbered lines: talkers send them, and listeners notice a lost or repeated line by its number.

use std::io::{BufRead, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::healthy::LineChecker;
use super::peer::Peer;
use super::server::LIMIT;

/// How many bytes a talker may be ahead of its listeners: half of the server's limit of waiting bytes per connection,
/// so that no listener is disconnected.
const AHEAD: u64 = 512 * 1024;

/// A talker sends about this number of bytes at a time.
const PORTION: usize = 8 * 1024;

/// How many lines a member has received. Other threads can wait for more.
#[derive(Default)]
pub struct LineCount {
    lines: Mutex<u64>,
    more: Condvar,
}

impl LineCount {
    pub fn add_one(&self) {
        *self.lines.lock().expect("no thread panics while it holds the lock") += 1;
        self.more.notify_all();
    }

    pub fn lines(&self) -> u64 {
        *self.lines.lock().expect("no thread panics while it holds the lock")
    }

    pub fn wait_for(&self, lines: u64) {
        let received = self.lines.lock().expect("no thread panics while it holds the lock");
        let waited = self.more.wait_timeout_while(received, LIMIT, |received| *received < lines);
        let (received, _) = waited.expect("no thread panics while it holds the lock");
        assert!(*received >= lines, "{received} of {lines} lines were received");
    }
}

/// A member that reads promptly and checks the lines, in a thread of its own.
pub struct Listener {
    /// How many lines of talkers it has received.
    pub talk: Arc<LineCount>,
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Listener {
    pub fn of(server: SocketAddr, is_chat: bool) -> Listener {
        let mut peer = Peer::connect(server);
        peer.send_and_wait("I listen");
        Listener::listening(peer, is_chat)
    }

    fn listening(peer: Peer, is_chat: bool) -> Listener {
        let mut checker = LineChecker::new(is_chat);
        let talk = Arc::clone(&checker.talk);
        let stream = peer.stream().try_clone().expect("a descriptor");
        let thread = thread::spawn(move || {
            let mut reader = peer.into_reader(64 * 1024);
            let mut line = Vec::new();
            loop {
                line.clear();
                match reader.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => checker.check(&line),
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                    Err(error) => panic!("a listener was disconnected: {error}"),
                }
            }
        });
        Listener { talk, stream, thread }
    }

    /// Sends a FIN, and reads everything up to the server's FIN.
    pub fn end(self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A member that sends numbered lines.
pub struct Talker {
    id: u64,
    sent: u64,
    peer: Peer,
}

impl Talker {
    pub fn of(server: SocketAddr) -> Talker {
        static TALKERS: AtomicU64 = AtomicU64::new(0);
        let mut peer = Peer::connect(server);
        peer.send_and_wait("I talk");
        Talker { id: TALKERS.fetch_add(1, Ordering::Relaxed), sent: 0, peer }
    }

    /// Sends `bytes` bytes in lines of `line_bytes`, at most [`AHEAD`] bytes before the slowest of `listeners`, and
    /// waits until all listeners have received everything. The talker receives its own lines and is one of the
    /// listeners.
    pub fn talk(mut self, bytes: usize, line_bytes: usize, is_chat: bool, listeners: &[&LineCount]) {
        let own_listener = Listener::listening(self.peer, is_chat);
        let before: Vec<u64> = listeners.iter().map(|received| received.lines()).collect();
        let wait_until_received = |lines: u64| {
            listeners.iter().zip(&before).for_each(|(received, before)| received.wait_for(before + lines));
            own_listener.talk.wait_for(lines);
        };
        let mut portion = Vec::with_capacity(PORTION + line_bytes);
        let lines = (bytes / line_bytes) as u64;
        while self.sent < lines {
            portion.clear();
            while portion.len() < PORTION && self.sent < lines {
                let start = portion.len();
                portion.extend_from_slice(format!("talk {} {} ", self.id, self.sent).as_bytes());
                portion.resize((start + line_bytes - 1).max(portion.len()), b'.');
                portion.push(b'\n');
                self.sent += 1;
            }
            wait_until_received(self.sent.saturating_sub(AHEAD / line_bytes as u64));
            (&own_listener.stream).write_all(&portion).expect("the server reads");
        }
        wait_until_received(lines);
        own_listener.end();
    }
}
