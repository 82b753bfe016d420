//! The healthy client: it behaves well, and the server must serve it promptly and correctly whatever other peers do.
//!
//! It sends a line, over TCP or as a WebSocket message, waits until the line comes back, and sends the next. It also
//! checks the lines of other members, as far as their content is known:
//!
//! | a line that begins with | is |
//! |---|---|
//! | `healthy BY N `, where BY is `tcp` or `web` | of this client: the one that it waits for and no other |
//! | `talk ID N ` | a line of a [`Talker`](super::talk::Talker): the next number of that talker |
//! | `never` | the first half of a line whose sender was reset: no member may receive it |

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::peer::without_nick;
use super::talk::LineCount;
use super::web_peer::WebPeer;

/// How long the client waits for its line. Far more than the second that a flood may take: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between a received line and the next one.
const PAUSE: Duration = Duration::from_millis(2);

/// Checks the lines that a member of a relay or a chat receives.
pub struct LineChecker {
    /// In a chat the server replaces control characters of other members.
    is_chat: bool,
    /// The next number of each talker. A talker that this member did not receive from its beginning starts at its
    /// first received number.
    next: HashMap<u64, u64>,
    /// How many lines of talkers were received.
    pub talk: Arc<LineCount>,
}

impl LineChecker {
    pub fn new(is_chat: bool) -> LineChecker {
        LineChecker { is_chat, next: HashMap::new(), talk: Arc::default() }
    }

    /// Checks one line, which includes its line break.
    pub fn check(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\n").expect("a whole line");
        let text = without_nick(text.strip_suffix(b"\r").unwrap_or(text));
        let Some(rest) = text.strip_prefix(b"talk ") else { return self.check_other(text) };
        let head = String::from_utf8_lossy(&rest[..rest.len().min(48)]);
        let mut numbers = head.split(' ').map(str::parse::<u64>);
        let (Some(Ok(id)), Some(Ok(number))) = (numbers.next(), numbers.next()) else { panic!("received {head:?}") };
        let next = self.next.entry(id).or_insert(number);
        assert_eq!(number, *next, "talker {id}: lines come in order, none is lost and none comes twice");
        *next += 1;
        self.talk.add_one();
    }

    fn check_other(&self, text: &[u8]) {
        assert!(!text.starts_with(b"never"), "received {:?}", String::from_utf8_lossy(text));
        if self.is_chat {
            let shown = std::str::from_utf8(text).expect("a chat shows text");
            assert!(!shown.chars().any(char::is_control), "received {shown:?}");
        }
    }
}

/// The experience of the healthy client since the last report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub lines: u64,
    /// The longest time until a line came back.
    pub worst: Duration,
}

#[derive(Default)]
struct Progress {
    must_stop: AtomicBool,
    must_pause: AtomicBool,
    is_paused: AtomicBool,
    lines: AtomicU64,
    worst_us: AtomicU64,
}

/// The healthy client. It runs in a thread of its own.
pub struct HealthyClient {
    progress: Arc<Progress>,
    /// How many lines of talkers it has received.
    pub talk: Arc<LineCount>,
    thread: Option<JoinHandle<()>>,
}

impl HealthyClient {
    pub fn of(server: SocketAddr, is_chat: bool) -> HealthyClient {
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        HealthyClient::on(Channel::Tcp(BufReader::with_capacity(64 * 1024, stream)), is_chat)
    }

    /// A client of a server with `--http`.
    pub fn of_web(server: SocketAddr, is_chat: bool) -> HealthyClient {
        HealthyClient::on(Channel::WebSocket(WebPeer::open(server)), is_chat)
    }

    fn on(channel: Channel, is_chat: bool) -> HealthyClient {
        let progress = Arc::<Progress>::default();
        let checker = LineChecker::new(is_chat);
        let talk = Arc::clone(&checker.talk);
        let thread = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || run(channel, &progress, checker))
        };
        let healthy = HealthyClient { progress, talk, thread: Some(thread) };
        healthy.wait_for_lines(1);
        healthy
    }

    /// Waits until `more` of its lines have come back.
    pub fn wait_for_lines(&self, more: u64) {
        let goal = self.progress.lines.load(Ordering::Acquire) + more;
        while self.progress.lines.load(Ordering::Acquire) < goal {
            self.check();
            thread::sleep(PAUSE);
        }
    }

    /// Runs `moment` while the client pauses between two lines, so that the server has nothing to do.
    pub fn pause_while<T>(&self, moment: impl FnOnce() -> T) -> T {
        self.progress.must_pause.store(true, Ordering::Release);
        while !self.progress.is_paused.load(Ordering::Acquire) {
            self.check();
            thread::sleep(PAUSE);
        }
        let value = moment();
        self.progress.must_pause.store(false, Ordering::Release);
        while self.progress.is_paused.load(Ordering::Acquire) {
            self.check();
            thread::sleep(PAUSE);
        }
        value
    }

    /// The experience since the last call.
    pub fn report(&self) -> Report {
        self.check();
        Report {
            lines: self.progress.lines.load(Ordering::Acquire),
            worst: Duration::from_micros(self.progress.worst_us.swap(0, Ordering::AcqRel)),
        }
    }

    /// Panics if the client has failed.
    pub fn check(&self) {
        assert!(
            self.thread.as_ref().is_some_and(|thread| !thread.is_finished()),
            "the healthy client was not served: see above"
        );
    }

    /// Ends the client. Panics if it has failed.
    pub fn end(mut self) {
        self.progress.must_stop.store(true, Ordering::Release);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for HealthyClient {
    fn drop(&mut self) {
        self.progress.must_stop.store(true, Ordering::Release);
    }
}

/// How the client reaches the server.
enum Channel {
    Tcp(BufReader<TcpStream>),
    WebSocket(WebPeer),
}

impl Channel {
    fn send(&mut self, text: &str) {
        match self {
            Channel::Tcp(stream) => {
                stream.get_ref().write_all(format!("{text}\r\n").as_bytes()).expect("the server reads");
            }
            Channel::WebSocket(peer) => peer.send_text(text),
        }
    }

    /// Reads the next line, with its line break.
    fn receive(&mut self, line: &mut Vec<u8>) {
        match self {
            Channel::WebSocket(peer) => {
                line.extend_from_slice(peer.text().as_bytes());
                line.push(b'\n');
            }
            Channel::Tcp(stream) => match stream.read_until(b'\n', line) {
                Ok(0) => panic!("the server closed the connection of the healthy client"),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("no line for {PATIENCE:?}")
                }
                Err(error) => panic!("the healthy client was disconnected: {error}"),
            },
        }
    }
}

fn run(mut channel: Channel, progress: &Progress, mut checker: LineChecker) {
    let own = match &channel {
        Channel::Tcp(_) => "healthy tcp ",
        Channel::WebSocket(_) => "healthy web ",
    };
    let mut received = Vec::new();
    let mut number = 0_u64;
    while !progress.must_stop.load(Ordering::Acquire) {
        let text = format!("{own}{number} ¡{}!", "hola, ñandú €".repeat(number as usize % 8));
        let sent = Instant::now();
        channel.send(&text);
        loop {
            received.clear();
            channel.receive(&mut received);
            checker.check(&received);
            let line = received.strip_suffix(b"\n").unwrap_or(&received);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if without_nick(line).starts_with(own.as_bytes()) {
                assert_eq!(
                    String::from_utf8_lossy(without_nick(line)),
                    text,
                    "the healthy client receives its own lines once and in order"
                );
                break;
            }
        }
        let waited = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        progress.worst_us.fetch_max(waited, Ordering::AcqRel);
        progress.lines.fetch_add(1, Ordering::AcqRel);
        number += 1;
        while progress.must_pause.load(Ordering::Acquire) && !progress.must_stop.load(Ordering::Acquire) {
            progress.is_paused.store(true, Ordering::Release);
            thread::sleep(PAUSE);
        }
        progress.is_paused.store(false, Ordering::Release);
        thread::sleep(PAUSE);
    }
}
