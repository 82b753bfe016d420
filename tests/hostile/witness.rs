//! The healthy client that everything is about: whatever others do, it is served, and what it hears is right.
//!
//! It says a line, waits until it hears it, and says the next. What others say meanwhile is checked too, as far as it can
//! be known:
//!
//! | a line that begins with | is |
//! |---|---|
//! | `witness N ` | its own: the one it waits for and no other |
//! | `talk WHO N ` | of a [`Talker`](super::talk::Talker): the next number of that talker |
//! | `never` | half of something: nobody may hear it |

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::peer::said;
use super::talk::Heard;

/// How long it waits for an answer. Far more than the second that is promised in a flood: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between an answer and the next line.
const PAUSE: Duration = Duration::from_millis(2);

/// Checks what a member of a relay or a chat hears.
pub struct Ear {
    /// Control bytes of one member are shown to no other.
    is_chat: bool,
    /// The number that each talker says next; whoever was heard in the middle of his talk is known from there on.
    next: HashMap<u64, u64>,
    /// How many lines of talkers have been heard.
    pub talk: Arc<Heard>,
}

impl Ear {
    pub fn new(is_chat: bool) -> Ear {
        Ear { is_chat, next: HashMap::new(), talk: Arc::default() }
    }

    /// Takes in one line with its break.
    pub fn hear(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\n").expect("a whole line");
        let text = said(text.strip_suffix(b"\r").unwrap_or(text));
        let Some(rest) = text.strip_prefix(b"talk ") else { return self.hear_other(text) };
        let head = String::from_utf8_lossy(&rest[..rest.len().min(48)]);
        let mut numbers = head.split(' ').map(str::parse::<u64>);
        let (Some(Ok(who)), Some(Ok(number))) = (numbers.next(), numbers.next()) else { panic!("heard {head:?}") };
        let next = self.next.entry(who).or_insert(number);
        assert_eq!(number, *next, "talker {who}: lines come in order, none is lost and none twice");
        *next += 1;
        self.talk.add_one();
    }

    fn hear_other(&self, text: &[u8]) {
        assert!(!text.starts_with(b"never"), "heard {:?}", String::from_utf8_lossy(text));
        if self.is_chat {
            let shown = std::str::from_utf8(text).expect("a chat shows text");
            assert!(!shown.chars().any(char::is_control), "heard {shown:?}");
        }
    }
}

/// What the witness lived through since it was asked last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Testimony {
    pub lines: u64,
    /// The longest that it had to wait for an answer.
    pub worst: Duration,
}

#[derive(Default)]
struct Shared {
    must_stop: AtomicBool,
    must_rest: AtomicBool,
    rests: AtomicBool,
    lines: AtomicU64,
    worst_us: AtomicU64,
}

/// A client in a thread of its own.
pub struct Witness {
    shared: Arc<Shared>,
    /// How many lines of talkers it has heard.
    pub talk: Arc<Heard>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    pub fn of(server: SocketAddr, is_chat: bool) -> Witness {
        let shared = Arc::<Shared>::default();
        let ear = Ear::new(is_chat);
        let talk = Arc::clone(&ear.talk);
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || bear_witness(&stream, &shared, ear))
        };
        let witness = Witness { shared, talk, thread: Some(thread) };
        witness.wait_for_lines(1);
        witness
    }

    /// Waits until it was served so many times more.
    pub fn wait_for_lines(&self, more: u64) {
        let goal = self.shared.lines.load(Ordering::Acquire) + more;
        while self.shared.lines.load(Ordering::Acquire) < goal {
            self.check();
            thread::sleep(PAUSE);
        }
    }

    /// Holds it back between two lines, for a moment in which nothing happens.
    pub fn rest<T>(&self, moment: impl FnOnce() -> T) -> T {
        self.shared.must_rest.store(true, Ordering::Release);
        while !self.shared.rests.load(Ordering::Acquire) {
            self.check();
            thread::sleep(PAUSE);
        }
        let value = moment();
        self.shared.must_rest.store(false, Ordering::Release);
        while self.shared.rests.load(Ordering::Acquire) {
            self.check();
            thread::sleep(PAUSE);
        }
        value
    }

    /// What it lived through since the last time.
    pub fn testify(&self) -> Testimony {
        self.check();
        Testimony {
            lines: self.shared.lines.load(Ordering::Acquire),
            worst: Duration::from_micros(self.shared.worst_us.swap(0, Ordering::AcqRel)),
        }
    }

    /// Fails where it has failed.
    pub fn check(&self) {
        assert!(
            self.thread.as_ref().is_some_and(|thread| !thread.is_finished()),
            "the witness was not served: see above"
        );
    }

    /// Its last word: fails if it was ever served wrongly.
    pub fn end(mut self) {
        self.shared.must_stop.store(true, Ordering::Release);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.must_stop.store(true, Ordering::Release);
    }
}

fn bear_witness(stream: &TcpStream, shared: &Shared, mut ear: Ear) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let mut heard = Vec::new();
    let mut number = 0_u64;
    while !shared.must_stop.load(Ordering::Acquire) {
        let text = format!("witness {number} ¡{}!", "hola, ñandú €".repeat(number as usize % 8));
        let asked = Instant::now();
        (&mut &*stream).write_all(format!("{text}\r\n").as_bytes()).expect("the server reads");
        loop {
            heard.clear();
            match reader.read_until(b'\n', &mut heard) {
                Ok(0) => panic!("the server closed the connection of the witness"),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("no answer to {text:?} for {PATIENCE:?}")
                }
                Err(error) => panic!("the witness was disconnected: {error}"),
            }
            ear.hear(&heard);
            let line = heard.strip_suffix(b"\r\n").unwrap_or(&heard);
            if said(line).starts_with(b"witness ") {
                assert_eq!(String::from_utf8_lossy(said(line)), text, "the witness hears what it said, once, in order");
                break;
            }
        }
        let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.worst_us.fetch_max(waited, Ordering::AcqRel);
        shared.lines.fetch_add(1, Ordering::AcqRel);
        number += 1;
        while shared.must_rest.load(Ordering::Acquire) && !shared.must_stop.load(Ordering::Acquire) {
            shared.rests.store(true, Ordering::Release);
            thread::sleep(PAUSE);
        }
        shared.rests.store(false, Ordering::Release);
        thread::sleep(PAUSE);
    }
}
