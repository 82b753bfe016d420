//! Telnet, from a client's bytes to a handler's lines: with reads that end anywhere, pauses anywhere, and the habits of
//! real clients.

mod events;
#[path = "../support/events.rs"]
mod net_events;
mod options;
#[cfg(target_os = "linux")]
mod synch;
mod typing;
mod upgrade;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::net::{self, Drain, Dropped, Server, ServerId, ServerOptions, Shared, Socket};
use bucle::telnet::{
    Client, Echo, Handler, LINGER, OUTBOX_LIMIT, Options, Policy, Side, Telnet, codec, option, server_options,
};
use bucle::{Error, EventLoop, Loop, ManualClock};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

/// Writes every event into the story, and executes the lines that are commands.
#[derive(Default)]
struct Scribe {
    story: Rc<RefCell<Vec<String>>>,
    clients: Rc<RefCell<Vec<Client>>>,
    /// Writes `on_open` down, too.
    tells_all: bool,
}

impl Scribe {
    fn note(&self, what: impl Into<String>) {
        self.story.borrow_mut().push(what.into());
    }
}

impl Handler for Scribe {
    fn on_open(&mut self, _: &mut Loop, client: Client) {
        self.clients.borrow_mut().push(client);
        if self.tells_all {
            self.note("<open>");
        }
    }
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        self.note(String::from_utf8_lossy(line));
        match line {
            b"pause" => client.pause(lp),
            b"end" => client.end(lp),
            b"destroy" => client.destroy(lp),
            b"255" => drop(client.write_line(lp, [255])),
            b"flood" => drop(client.write(lp, [b'x'; 32 * 1024])),
            b"echo" => client.enable(lp, Side::Us, option::ECHO),
            b"no echo" => client.disable(lp, Side::Us, option::ECHO),
            b"by server" => client.set_echo(lp, Echo::ByServer),
            b"hidden" => client.set_echo(lp, Echo::Hidden),
            b"by client" => client.set_echo(lp, Echo::ByClient),
            b"both" => [option::ECHO, option::SGA].into_iter().for_each(|option| client.enable(lp, Side::Us, option)),
            b"size" => client.enable(lp, Side::Him, option::NAWS),
            b"type" => client.enable(lp, Side::Him, option::TTYPE),
            _ => {}
        }
    }
    fn on_option(&mut self, lp: &mut Loop, client: Client, side: Side, option: u8, is_on: bool) {
        assert_eq!(client.is_enabled(lp, side, option), is_on);
        self.note(format!("<{side:?} {option} {is_on}>"));
        // "Send", RFC 1091; not sent if the client has not agreed.
        if option == option::TTYPE {
            assert_eq!(client.subnegotiate(lp, option, [1]), is_on);
        }
    }
    fn on_subnegotiation(&mut self, _: &mut Loop, _: Client, option: u8, bytes: &[u8]) {
        self.note(format!("<{option}: {}>", bytes.escape_ascii()));
    }
    fn on_command(&mut self, _: &mut Loop, _: Client, command: u8) {
        self.note(format!("<{command}>"));
    }
    fn on_end(&mut self, _: &mut Loop, _: Client) {
        self.note("<end>");
    }
    fn on_error(&mut self, _: &mut Loop, _: Client, error: Error) {
        self.note(format!("<{}>", error.code()));
    }
    fn on_close(&mut self, _: &mut Loop, _: Client, _: bool) {
        self.note("<close>");
    }
    fn on_drop(&mut self, _: &mut Loop, _: ServerId, dropped: Dropped) {
        assert!(dropped.remote.is_some());
        self.note("<drop>");
    }
}

/// A server in this thread, and one client of the standard library that talks to it.
struct Talk {
    event_loop: EventLoop,
    story: Rc<RefCell<Vec<String>>>,
    clients: Rc<RefCell<Vec<Client>>>,
    peer: TcpStream,
    received: Vec<u8>,
}

impl Talk {
    fn new(options: Options) -> Talk {
        Talk::on(EventLoop::new().expect("a loop"), options)
    }

    fn on(event_loop: EventLoop, options: Options) -> Talk {
        let scribe = Scribe::default();
        let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
        Talk::with(event_loop, server_options(), Telnet::new(options, scribe), story, clients)
    }

    /// With a handler that adds its client to `clients`.
    fn with(
        mut event_loop: EventLoop,
        options: ServerOptions,
        handler: impl net::Handler,
        story: Rc<RefCell<Vec<String>>>,
        clients: Rc<RefCell<Vec<Client>>>,
    ) -> Talk {
        let port = event_loop.enter(|lp| {
            let server = net::listen_with(lp, ("127.0.0.1", 0), options, handler).expect("a free port");
            server.port(lp).expect("it is bound")
        });
        let peer = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        peer.set_nonblocking(true).expect("a socket");
        let mut talk = Talk { event_loop, story, clients, peer, received: Vec::new() };
        talk.until("the connection", |talk| !talk.clients.borrow().is_empty());
        talk
    }

    fn client(&self) -> Client {
        self.clients.borrow()[0]
    }

    /// Turns the loop once and reads what it has sent.
    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        let mut buf = [0; 64 * 1024];
        while let Ok(n @ 1..) = self.peer.read(&mut buf) {
            self.received.extend_from_slice(&buf[..n]);
        }
    }

    fn until(&mut self, what: &str, mut is_there: impl FnMut(&mut Talk) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_there(self) {
            assert!(Instant::now() < limit, "waited for {what}: {:?}, {:?}", self.story, self.received);
            self.turn();
        }
    }

    /// Sends `bytes` and waits until the server has read them, so that later bytes come in another chunk.
    fn send(&mut self, bytes: &[u8]) {
        let client = self.client();
        let read = |talk: &mut Talk| {
            talk.event_loop.enter(|lp| client.socket().info(lp)).map_or(u64::MAX, |info| info.bytes_read)
        };
        let want = read(self).saturating_add(bytes.len() as u64);
        self.peer.write_all(bytes).expect("the kernel takes a little");
        self.until("the server's read", |talk| read(talk) >= want);
    }

    /// Some more turns, in which an event that must not happen could happen.
    fn settle(&mut self) {
        for _ in 0..5 {
            self.turn();
        }
    }

    fn expect_story(&mut self, name: &str, want: &[&str]) {
        self.until(name, |talk| talk.story.borrow().len() >= want.len());
        self.settle();
        assert_eq!(*self.story.borrow(), want, "{name}");
    }

    fn expect_received(&mut self, want: &[u8]) {
        self.until("an answer", |talk| talk.received.len() >= want.len());
        self.settle();
        assert_eq!(self.received, want);
    }

    /// Waits for the server's FIN or reset.
    fn expect_end(&mut self) {
        self.until("the end", |talk| match talk.peer.read(&mut [0; 1]) {
            Ok(0) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
            Ok(_) => false,
        });
    }
}

#[test]
fn lines_are_delivered_whole_wherever_the_reads_fall() {
    // Name, reads, events.
    type Row = (&'static str, &'static [&'static [u8]], &'static [&'static str]);
    let table: &[Row] = &[
        ("three in a packet", &[b"a\r\nb\nc\r\0"], &["a", "b", "c"]),
        ("one in three packets", &[b"ho", b"l", b"a\r\n"], &["hola"]),
        ("a cut break", &[b"hola\r", b"\nx\n"], &["hola", "x"]),
        ("a command inside a line", &[b"ho\xff\xf1la\n"], &["<241>", "hola"]),
        ("a command cut in half", &[b"ho\xff", b"\xf1la\n"], &["<241>", "hola"]),
        ("UTF-8 cut in half", &[b"\xc2", b"\xa1\xc3\xb1and\xc3", b"\xba \xe2\x82", b"\xac!\n"], &["¡ñandú €!"]),
    ];
    for (name, chunks, want) in table {
        let mut talk = Talk::new(Options::default());
        for chunk in *chunks {
            talk.send(chunk);
        }
        talk.expect_story(name, want);
        assert_eq!(talk.received, b"", "{name}");
    }
}

#[test]
fn a_line_can_keep_its_break() {
    let mut talk = Talk::new(Options { keeps_breaks: true, ..Options::default() });
    for chunk in [&b"a\r\nb\nc\r"[..], b"d\r", b"\n\x04"] {
        talk.send(chunk);
    }
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.expect_story("raw lines", &["a\r\n", "b\n", "c\rd\r\n", "\x04", "<end>", "<close>"]);
}

/// inetutils-telnet and Debian's telnet: IAC IP, IAC DO TIMING-MARK (RFC 854, RFC 860).
#[test]
fn ctrl_c_is_answered_so_that_the_session_goes_on() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"\xff\xf4\xff\xfd\x06");
    talk.expect_received(b"\xff\xfc\x06");
    talk.send(b"hola\r\n");
    talk.expect_story("Ctrl-C", &["<244>", "hola"]);
}

#[test]
fn the_negotiations_of_plink_are_refused_and_do_not_become_text() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03hola\r\n");
    talk.expect_received(b"\xff\xfe\x1f\xff\xfe\x20\xff\xfe\x18\xff\xfe\x27\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03");
    talk.expect_story("plink", &["hola"]);
}

#[test]
fn are_you_there_is_answered() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"\xff\xf6");
    talk.expect_received(b"[yes]\r\n");
    talk.expect_story("AYT", &["<246>"]);
}

#[test]
fn a_byte_255_goes_out_twice() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"255\r\n");
    talk.expect_received(b"\xff\xff\r\n");
}

#[test]
fn the_last_line_before_the_fin_needs_no_break() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"hola\r\nadi\xff\xf1os");
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.expect_story("FIN", &["hola", "<241>", "adios", "<end>", "<close>"]);
    talk.expect_end();
}

#[test]
fn ctrl_d_on_an_empty_line_ends_the_connection() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"a\x04b\r\nc\x04");
    talk.expect_story("inside a line it is data", &["a\x04b"]);
    talk.send(b"\r\n\x04");
    talk.expect_end();
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.expect_story("the end comes once", &["a\x04b", "c\x04", "<end>", "<close>"]);
}

#[test]
fn a_line_that_is_too_long_ends_the_connection_with_a_message() {
    let mut talk = Talk::new(Options { max_line: 8, ..Options::default() });
    talk.send(b"12345678\r\n123456789\r\nnever\r\n");
    talk.expect_received(b"line over 8 bytes, good-bye\r\n");
    talk.expect_end();
    talk.send(b"nor this\r\n");
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.expect_story("nothing after it", &["12345678", "<close>"]);
}

#[test]
fn the_default_limit_of_a_line_is_64_kib() {
    let mut talk = Talk::new(Options::default());
    let mut line = vec![b'a'; 64 * 1024];
    line.extend_from_slice(b"\r\n");
    talk.send(&line);
    talk.until("the line", |talk| talk.story.borrow().len() == 1);
    line.insert(0, b'a');
    talk.send(&line);
    talk.expect_received(b"line over 65536 bytes, good-bye\r\n");
    talk.expect_end();
}

#[test]
fn a_pause_holds_back_even_the_lines_of_the_same_packet() {
    let mut talk = Talk::new(Options::default());
    // Behind the pause: a doubled 255, a command, a negotiation, two lines, and an unfinished one.
    talk.send(b"one\r\npause\r\nt\xff\xffw\xff\xf1o\xff\xfd\x06\r\npause\r\nthr");
    talk.expect_story("paused", &["one", "pause"]);
    talk.peer.write_all(b"ee\r\nfour").expect("the kernel takes a little");
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.settle();
    let client = talk.client();
    talk.event_loop.enter(|lp| client.resume(lp));
    talk.expect_story("paused again", &["one", "pause", "<241>", "t\u{fffd}wo", "pause"]);
    assert_eq!(talk.received, b"\xff\xfc\x06");
    talk.event_loop.enter(|lp| client.resume(lp));
    let want = ["one", "pause", "<241>", "t\u{fffd}wo", "pause", "three", "four", "<end>", "<close>"];
    talk.expect_story("the end comes last", &want);
}

#[test]
fn nothing_is_delivered_after_end_or_destroy() {
    for word in ["end", "destroy"] {
        let mut talk = Talk::new(Options::default());
        talk.peer.write_all(format!("one\r\n{word}\r\ntwo\r\nthree").as_bytes()).expect("the kernel takes a little");
        talk.expect_end();
        let _ = talk.peer.shutdown(Shutdown::Write);
        talk.expect_story(word, &["one", word, "<close>"]);
    }
}

#[test]
fn a_client_that_does_not_answer_our_end_is_disconnected() {
    let clock = ManualClock::new();
    let mut talk = Talk::on(EventLoop::with_clock(clock.clone()).expect("a loop"), Options::default());
    talk.send(b"end\r\n");
    talk.expect_end();
    clock.advance(LINGER - Duration::from_millis(10));
    talk.settle();
    talk.expect_story("it may still read", &["end"]);
    clock.advance(Duration::from_millis(20));
    talk.expect_story("but not without a limit", &["end", "<close>"]);
}

/// The linger timer is cleared when the client answers with its own end.
#[test]
fn a_client_that_answers_our_end_leaves_no_timer() {
    let clock = ManualClock::new();
    let mut talk = Talk::on(EventLoop::with_clock(clock.clone()).expect("a loop"), Options::default());
    talk.send(b"end\r\n");
    talk.expect_end();
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.expect_story("it answers", &["end", "<close>"]);
    let callbacks = |talk: &mut Talk| talk.event_loop.enter(|lp| lp.metrics().callbacks);
    let before = callbacks(&mut talk);
    clock.advance(LINGER + Duration::from_millis(10));
    talk.settle();
    assert_eq!(callbacks(&mut talk), before);
}

/// Sends many lines, each of which is answered with 32 KiB, and turns without reading until the server stops reading.
/// Returns the number of lines that were delivered.
fn hold_back(talk: &mut Talk, lines: usize) -> usize {
    talk.peer.write_all(&b"flood\n".repeat(lines)).expect("the kernel takes a little");
    let client = talk.client();
    talk.until("a full outbox", |talk| {
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        talk.event_loop.enter(|lp| client.socket().needs_drain(lp) && client.socket().is_paused(lp))
    });
    talk.story.borrow().len()
}

#[test]
fn a_pause_of_the_program_lasts_when_the_answers_are_read() {
    const LINES: usize = 1000;
    for resumes_early in [false, true] {
        let mut talk = Talk::new(Options::default());
        let client = talk.client();
        let lines_before = hold_back(&mut talk, LINES);
        assert!(lines_before < LINES);
        talk.event_loop.enter(|lp| client.pause(lp));
        if resumes_early {
            talk.event_loop.enter(|lp| client.resume(lp));
        } else {
            talk.until("all answers so far", |talk| talk.received.len() == lines_before * 32 * 1024);
            talk.settle();
            assert_eq!(talk.story.borrow().len(), lines_before, "it is paused");
            talk.event_loop.enter(|lp| client.resume(lp));
        }
        talk.until("all answers", |talk| talk.received.len() == LINES * 32 * 1024);
    }
}

#[test]
fn a_resume_of_the_program_does_not_fill_the_outbox_of_a_client_that_does_not_read() {
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    let lines_before = hold_back(&mut talk, 1000);
    for _ in 0..20 {
        talk.event_loop.enter(|lp| client.resume(lp));
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    assert_eq!(talk.story.borrow().len(), lines_before);
    talk.until("all answers", |talk| talk.received.len() == 1000 * 32 * 1024);
}

/// Lines that are held back do not delay an end of this side.
#[test]
fn a_client_that_is_held_back_can_be_ended() {
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    let lines_before = hold_back(&mut talk, 1000);
    talk.event_loop.enter(|lp| client.end(lp));
    talk.until("all answers so far", |talk| talk.received.len() == lines_before * 32 * 1024);
    talk.expect_end();
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.until("the close", |talk| talk.story.borrow().len() > lines_before);
    assert_eq!(talk.story.borrow().last().map(String::as_str), Some("<close>"));
}

/// Each line of six bytes is answered with 32 KiB. The server stops reading from a client that does not read its
/// answers. When the client reads, it gets them all.
#[test]
fn the_server_does_not_read_from_a_client_that_does_not_read_its_answers() {
    const LINES: usize = 1000;
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    let mut peer = talk.peer.try_clone().expect("a descriptor");
    peer.write_all(&b"flood\n".repeat(LINES)).expect("the kernel takes a little");
    let mut waiting = 0;
    talk.until("a full outbox", |talk| {
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        waiting = talk.event_loop.enter(|lp| client.socket().writable_length(lp));
        waiting > 0
    });
    // Not `talk.turn()`, which reads.
    for _ in 0..20 {
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        waiting = waiting.max(talk.event_loop.enter(|lp| client.socket().writable_length(lp)));
    }
    assert!(waiting <= 64 * 1024, "{waiting} bytes wait: the answer that went over the mark is the last");
    talk.until("all answers", |talk| talk.received.len() >= LINES * 32 * 1024);
    peer.write_all(b"hola\r\n").expect("it is read again");
    talk.until("the last line", |talk| talk.story.borrow().len() == LINES + 1);
}

#[test]
fn a_client_that_reads_nothing_of_a_broadcast_is_disconnected() {
    const MANY: usize = 64 * 1024 * 1024;
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    let news = [b'x'; 16 * 1024];
    let mut written = 0;
    while talk.event_loop.enter(|lp| !client.is_leaving(lp)) {
        assert!(written < MANY, "the outbox has no limit");
        talk.event_loop.enter(|lp| client.write(lp, news));
        assert!(talk.event_loop.enter(|lp| client.socket().writable_length(lp)) <= OUTBOX_LIMIT);
        written += news.len();
    }
    talk.until("the close", |talk| talk.story.borrow().len() == 2);
    assert_eq!(*talk.story.borrow(), ["<E_TOO_SLOW>", "<close>"]);
}

/// The same bytes, cut into two reads at every place: the same events.
#[test]
fn where_the_reads_fall_does_not_matter() {
    let wire = b"one\r\n\xff\xfd\x06tw\xff\xffo\n\xff\xfa\x1f\0\x50\0\x18\xff\xf0three\r\0\xff\xf4four";
    let mut want: Option<(Vec<String>, Vec<u8>)> = None;
    for cut in 0..wire.len() {
        let mut talk = Talk::new(Options::default());
        if cut > 0 {
            talk.send(&wire[..cut]);
        }
        talk.send(&wire[cut..]);
        talk.peer.shutdown(Shutdown::Write).expect("it is open");
        talk.until("the close", |talk| talk.story.borrow().iter().any(|what| what == "<close>"));
        talk.expect_end();
        let got = (talk.story.take(), talk.received);
        let want = want.get_or_insert_with(|| got.clone());
        assert_eq!(got, *want, "cut at {cut}");
    }
    let (story, received) = want.expect("there were cuts");
    assert_eq!(story, ["one", "tw\u{fffd}o", "three", "<244>", "four", "<end>", "<close>"]);
    assert_eq!(received, codec::negotiation(codec::Verb::Wont, codec::option::TIMING_MARK));
}

/// After `set_encoding` the bytes of telnet's commands are lost, but lines are delivered.
#[test]
fn lines_are_delivered_after_set_encoding() {
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    talk.event_loop.enter(|lp| client.socket().set_encoding(lp));
    talk.send(b"hola \xc3");
    talk.send(b"\xb1\r\nadi\xc3\xb3s");
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.expect_story("text", &["hola ñ", "adiós", "<end>", "<close>"]);
}

#[test]
fn a_full_server_calls_on_drop() {
    let scribe = Scribe::default();
    let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
    let options = ServerOptions { max_connections: Some(1), ..server_options() };
    let handler = Telnet::new(Options::default(), scribe);
    let mut talk = Talk::with(EventLoop::new().expect("a loop"), options, handler, story, clients);
    let _second = TcpStream::connect(talk.peer.peer_addr().expect("it is connected")).expect("it listens");
    talk.expect_story("full", &["<drop>"]);
}

/// Whether a program is installed. With `CI=true` it must be.
fn is_there(program: &str) -> bool {
    let is_there = Command::new(program).arg("--help").stdin(Stdio::null()).output().is_ok();
    assert!(is_there || std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed");
    if !is_there {
        eprintln!("skipped: {program} is not installed");
    }
    is_there
}

/// A client in a terminal (made by `script`) types each text, and waits for the event. Returns what the terminal shows.
fn in_terminal(client: &str, steps: &[(&str, &str)]) -> String {
    let mut event_loop = EventLoop::new().expect("a loop");
    let scribe = Scribe::default();
    let story = scribe.story.clone();
    let port = event_loop.enter(|lp| {
        let server = Server::new(lp, server_options(), Telnet::new(Options::default(), scribe));
        server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server.port(lp).expect("it is bound")
    });
    let mut terminal = Command::new("script")
        .args(["-qec", &format!("{client} {port}"), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is there");
    let mut keys = terminal.stdin.take().expect("it is piped");
    let mut screen = terminal.stdout.take().expect("it is piped");
    let shown = std::thread::spawn(move || {
        let mut shown = Vec::new();
        let _ = screen.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    for (typed, event) in steps {
        keys.write_all(typed.as_bytes()).expect("it reads");
        let limit = Instant::now() + LIMIT;
        while story.borrow().last().is_none_or(|last| last != event) {
            assert!(Instant::now() < limit, "{event} does not come: {:?}", story.borrow());
            event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        }
    }
    let _ = terminal.wait();
    shown.join().expect("it reads to the end")
}
