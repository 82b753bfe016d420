//! Telnet, from a client's bytes to a handler's lines: cut anywhere, paused anywhere, and with the habits of real clients.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::net::{self, Dropped, Server, ServerId, ServerOptions, Shared, Socket};
use bucle::telnet::{
    Client, Handler, LINGER, OUTBOX_LIMIT, Options, Policy, Side, Telnet, codec, option, server_options,
};
use bucle::{Error, EventLoop, Loop, ManualClock};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(20);

/// Writes down what happens, and does what the lines say.
#[derive(Default)]
struct Scribe {
    story: Rc<RefCell<Vec<String>>>,
    clients: Rc<RefCell<Vec<Client>>>,
    /// Writes the beginning down, too.
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
            b"size" => client.enable(lp, Side::Him, option::NAWS),
            b"type" => client.enable(lp, Side::Him, option::TTYPE),
            _ => {}
        }
    }
    fn on_option(&mut self, lp: &mut Loop, client: Client, side: Side, option: u8, is_on: bool) {
        assert_eq!(client.is_enabled(lp, side, option), is_on);
        self.note(format!("<{side:?} {option} {is_on}>"));
        // "Send", RFC 1091; not heeded by who has not agreed.
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

    /// With a server whose handler makes sure that there is a client.
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

    /// Turns the loop and reads what it says, once.
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

    /// Sends `bytes`, and waits until the server has read them: so it reads them in a chunk of their own.
    fn send(&mut self, bytes: &[u8]) {
        let client = self.client();
        let read = |talk: &mut Talk| {
            talk.event_loop.enter(|lp| client.socket().info(lp)).map_or(u64::MAX, |info| info.bytes_read)
        };
        let want = read(self).saturating_add(bytes.len() as u64);
        self.peer.write_all(bytes).expect("the kernel takes a little");
        self.until("the server's read", |talk| read(talk) >= want);
    }

    /// Lets a whole round trip pass: what should not happen has had its chance.
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
fn lines_come_whole_however_they_were_sent() {
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
fn the_opening_of_plink_is_refused_and_is_no_text() {
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
fn ctrl_d_on_an_empty_line_is_good_bye() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"a\x04b\r\nc\x04");
    talk.expect_story("inside a line it is data", &["a\x04b"]);
    talk.send(b"\r\n\x04");
    talk.expect_end();
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.expect_story("the end comes once", &["a\x04b", "c\x04", "<end>", "<close>"]);
}

#[test]
fn too_long_a_line_is_told_so_and_ends_it() {
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
fn a_pause_holds_even_the_lines_of_the_same_packet() {
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
fn who_does_not_answer_our_end_is_disconnected() {
    let clock = ManualClock::new();
    let mut talk = Talk::on(EventLoop::with_clock(clock.clone()).expect("a loop"), Options::default());
    talk.send(b"end\r\n");
    talk.expect_end();
    clock.advance(LINGER - Duration::from_millis(10));
    talk.settle();
    talk.expect_story("it may still read", &["end"]);
    clock.advance(Duration::from_millis(20));
    talk.expect_story("but not for ever", &["end", "<close>"]);
}

/// The timer of the disconnection goes with the client: who leaves in order leaves nothing behind.
#[test]
fn who_answers_our_end_leaves_no_timer() {
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

/// Sends many lines, each of which is answered with 32 KiB, and turns without reading until nothing is taken any more.
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
fn a_pause_of_the_program_stands_when_the_answers_are_read() {
    const LINES: usize = 1000;
    for resumes_early in [false, true] {
        let mut talk = Talk::new(Options::default());
        let client = talk.client();
        let heard = hold_back(&mut talk, LINES);
        assert!(heard < LINES);
        talk.event_loop.enter(|lp| client.pause(lp));
        if resumes_early {
            talk.event_loop.enter(|lp| client.resume(lp));
        } else {
            talk.until("all answers so far", |talk| talk.received.len() == heard * 32 * 1024);
            talk.settle();
            assert_eq!(talk.story.borrow().len(), heard, "it is paused");
            talk.event_loop.enter(|lp| client.resume(lp));
        }
        talk.until("all answers", |talk| talk.received.len() == LINES * 32 * 1024);
    }
}

#[test]
fn a_resume_of_the_program_does_not_fill_the_outbox_of_who_does_not_read() {
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    let heard = hold_back(&mut talk, 1000);
    for _ in 0..20 {
        talk.event_loop.enter(|lp| client.resume(lp));
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    assert_eq!(talk.story.borrow().len(), heard);
    talk.until("all answers", |talk| talk.received.len() == 1000 * 32 * 1024);
}

/// A client that this side has ended is not kept from its end by what was held back.
#[test]
fn who_is_held_back_can_be_ended() {
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    let heard = hold_back(&mut talk, 1000);
    talk.event_loop.enter(|lp| client.end(lp));
    talk.until("all answers so far", |talk| talk.received.len() == heard * 32 * 1024);
    talk.expect_end();
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.until("the close", |talk| talk.story.borrow().len() > heard);
    assert_eq!(talk.story.borrow().last().map(String::as_str), Some("<close>"));
}

/// Each line of six bytes is answered with 32 KiB. The one who reads nothing of it is soon not read from any more, and
/// gets all answers as soon as it reads.
#[test]
fn who_does_not_read_its_answers_is_not_listened_to() {
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
    // Not by turn(), which reads.
    for _ in 0..20 {
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        waiting = waiting.max(talk.event_loop.enter(|lp| client.socket().writable_length(lp)));
    }
    assert!(waiting <= 64 * 1024, "{waiting} bytes wait: the answer that went over the mark is the last");
    talk.until("all answers", |talk| talk.received.len() >= LINES * 32 * 1024);
    peer.write_all(b"hola\r\n").expect("it is listened to again");
    talk.until("the last line", |talk| talk.story.borrow().len() == LINES + 1);
}

#[test]
fn who_reads_nothing_of_what_others_say_is_disconnected() {
    const MANY: usize = 64 * 1024 * 1024;
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    let news = [b'x'; 16 * 1024];
    let mut said = 0;
    while talk.event_loop.enter(|lp| !client.is_leaving(lp)) {
        assert!(said < MANY, "it piles up");
        talk.event_loop.enter(|lp| client.write(lp, news));
        assert!(talk.event_loop.enter(|lp| client.socket().writable_length(lp)) <= OUTBOX_LIMIT);
        said += news.len();
    }
    talk.until("the close", |talk| talk.story.borrow().len() == 2);
    assert_eq!(*talk.story.borrow(), ["<E_TOO_SLOW>", "<close>"]);
}

/// Whatever is on the wire, cut into two reads at every place: the same events.
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

/// Decoded by the loop, the bytes of telnet's commands are none any more; but lines are lines.
#[test]
fn a_client_whose_bytes_are_decoded_is_heard() {
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    talk.event_loop.enter(|lp| client.socket().set_encoding(lp));
    talk.send(b"hola \xc3");
    talk.send(b"\xb1\r\nadi\xc3\xb3s");
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
    talk.expect_story("text", &["hola ñ", "adiós", "<end>", "<close>"]);
}

#[test]
fn options_are_asked_for_and_settled() {
    // Name, what the client says, what is told of it, what is sent.
    type Row = (&'static str, &'static [u8], &'static [&'static str], &'static [u8]);
    let table: &[Row] = &[
        (
            "a password",
            b"echo\r\n\xff\xfd\x01secret\r\nno echo\r\n\xff\xfe\x01",
            &["echo", "<Us 1 true>", "secret", "no echo", "<Us 1 false>"],
            b"\xff\xfb\x01\xff\xfc\x01",
        ),
        ("a client that wants to echo by itself", b"echo\r\n\xff\xfe\x01", &["echo", "<Us 1 false>"], b"\xff\xfb\x01"),
        ("a client that says nothing", b"echo\r\nno echo\r\n", &["echo", "no echo"], b"\xff\xfb\x01"),
        (
            "the size of the window, RFC 1073, with a 255 in it",
            b"size\r\n\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0\xff\xfa\x1f\0\xff\xff\0\x20\xff\xf0",
            &["size", "<Him 31 true>", r"<31: \x00P\x00\x18>", r"<31: \x00\xff\x00 >"],
            b"\xff\xfd\x1f",
        ),
        (
            "the type of the terminal, RFC 1091",
            b"type\r\n\xff\xfb\x18\xff\xfa\x18\0XTERM\xff\xf0",
            &["type", "<Him 24 true>", r"<24: \x00XTERM>"],
            b"\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0",
        ),
        ("no terminal", b"type\r\n\xff\xfc\x18", &["type", "<Him 24 false>"], b"\xff\xfd\x18"),
        (
            "what was not asked for is refused, and its details are nobody's",
            b"\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0.\r\n",
            &["."],
            b"\xff\xfe\x1f",
        ),
    ];
    for (name, bytes, want, answer) in table {
        for cut in 0..bytes.len() {
            let mut talk = Talk::new(Options::default());
            if cut > 0 {
                talk.send(&bytes[..cut]);
            }
            talk.send(&bytes[cut..]);
            talk.until(name, |talk| talk.story.borrow().len() >= want.len() && talk.received.len() >= answer.len());
            assert_eq!(*talk.story.borrow(), *want, "{name}, cut at {cut}");
            assert_eq!(talk.received, *answer, "{name}, cut at {cut}");
        }
    }
}

/// Debian's telnet in a terminal of its own (`script` makes one): what is typed for a password is not shown.
#[test]
fn a_real_telnet_hides_a_password() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let scribe = Scribe::default();
    let story = scribe.story.clone();
    let port = event_loop.enter(|lp| {
        let server = Server::new(lp, server_options(), Telnet::new(Options::default(), scribe));
        server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server.port(lp).expect("it is bound")
    });
    let is_there = |program: &str| Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    if !is_there("telnet") || !is_there("script") {
        eprintln!("telnet is not installed: passed over");
        return;
    }
    let mut telnet = Command::new("script")
        .args(["-qec", &format!("telnet 127.0.0.1 {port}"), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is there");
    let mut keys = telnet.stdin.take().expect("it is piped");
    let mut screen = telnet.stdout.take().expect("it is piped");
    let shown = std::thread::spawn(move || {
        let mut shown = Vec::new();
        let _ = screen.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let steps = [
        ("echo\r", "<Us 1 true>"),
        ("secret\r", "secret"),
        ("no echo\r", "<Us 1 false>"),
        ("visible\r", "visible"),
        ("end\r", "<close>"),
    ];
    for (typed, heard) in steps {
        keys.write_all(typed.as_bytes()).expect("it reads");
        let limit = Instant::now() + LIMIT;
        while story.borrow().last().is_none_or(|last| last != heard) {
            assert!(Instant::now() < limit, "{heard} does not come: {:?}", story.borrow());
            event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        }
    }
    let _ = telnet.wait();
    let shown = shown.join().expect("it reads to the end");
    assert!(shown.contains("visible") && !shown.contains("secret"), "{shown:?}");
}

#[test]
fn what_the_policy_allows_is_agreed_to() {
    let policy = Policy::REFUSE_ALL.allow(Side::Him, option::NAWS).allow(Side::Us, option::SGA);
    let mut talk = Talk::new(Options { policy, ..Options::default() });
    talk.send(b"\xff\xfb\x1f\xff\xfb\x18\xff\xfd\x03\xff\xfd\x01\xff\xfb\x1f");
    talk.expect_received(b"\xff\xfd\x1f\xff\xfe\x18\xff\xfb\x03\xff\xfc\x01");
    talk.send(b"\xff\xfc\x1f\xff\xfe\x03");
    talk.expect_received(b"\xff\xfd\x1f\xff\xfe\x18\xff\xfb\x03\xff\xfc\x01\xff\xfe\x1f\xff\xfc\x03");
    talk.expect_story("plink's size", &["<Him 31 true>", "<Us 3 true>", "<Him 31 false>", "<Us 3 false>"]);
}

#[test]
fn half_of_what_was_told_of_an_option_is_not_delivered() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"size\r\n\xff\xfb\x1f");
    let mut wire = Vec::new();
    codec::subnegotiation(option::NAWS, &[b'x'; codec::SUBNEGOTIATION_LIMIT + 1], &mut wire);
    codec::subnegotiation(option::NAWS, b"whole", &mut wire);
    talk.send(&wire);
    talk.expect_story("the second", &["size", "<Him 31 true>", "<31: whole>"]);
}

/// Options stay as they are over pauses, and what stands behind one in the same chunk waits with the lines.
#[test]
fn options_outlive_a_pause() {
    let mut talk = Talk::new(Options::default());
    let client = talk.client();
    talk.send(b"size\r\n\xff\xfb\x1fpause\r\n\xff\xfa\x1f1234\xff\xf0hola\r\n");
    talk.expect_story("paused", &["size", "<Him 31 true>", "pause"]);
    talk.event_loop.enter(|lp| client.resume(lp));
    talk.expect_story("resumed", &["size", "<Him 31 true>", "pause", "<31: 1234>", "hola"]);
    assert!(talk.event_loop.enter(|lp| client.is_enabled(lp, Side::Him, option::NAWS)));
    talk.peer.shutdown(Shutdown::Both).expect("it is open");
    talk.until("the close", |talk| talk.story.borrow().iter().any(|what| what == "<close>"));
    assert!(!talk.event_loop.enter(|lp| client.is_enabled(lp, Side::Him, option::NAWS)));
    talk.event_loop.enter(|lp| client.enable(lp, Side::Us, option::ECHO));
}

/// Becomes telnet when it hears of it, in one of several manners.
struct Door {
    manner: Manner,
    telnet: Shared<Telnet<Scribe>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Manner {
    AtOnce,
    WithHead,
    ThenUnshift,
    AfterUnshift,
    Twice,
    ThenDestroy,
}

impl net::Handler for Door {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        if self.manner == Manner::AtOnce {
            socket.upgrade(lp, self.telnet, "");
        }
    }
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        let rest = chunk.strip_prefix(b"TELNET\n").expect("the beginning comes in one piece");
        if self.manner == Manner::AfterUnshift {
            socket.unshift(lp, rest);
        }
        let head = if matches!(self.manner, Manner::WithHead | Manner::Twice) { rest } else { b"" };
        if self.manner == Manner::Twice {
            socket.upgrade(lp, self.telnet, "replaced by the second call");
        }
        socket.upgrade(lp, self.telnet, head);
        if self.manner == Manner::ThenUnshift {
            socket.unshift(lp, rest);
        }
        if self.manner == Manner::ThenDestroy {
            socket.destroy(lp);
        }
    }
}

/// `on_open` comes first and once, and what the old handler did not want is heard by the new one.
#[test]
fn a_socket_can_become_telnet() {
    let all: &[&str] = &["<open>", "hola", "adios", "<end>", "<close>"];
    let table: &[(Manner, &[u8], &[&str])] = &[
        (Manner::AtOnce, b"hola\r\nadios", all),
        (Manner::WithHead, b"TELNET\nhola\r\nadios", all),
        (Manner::ThenUnshift, b"TELNET\nhola\r\nadios", all),
        (Manner::AfterUnshift, b"TELNET\nhola\r\nadios", all),
        (Manner::Twice, b"TELNET\nhola\r\nadios", all),
        (Manner::ThenDestroy, b"TELNET\nhola\r\nadios", &["<open>", "<close>"]),
    ];
    for (manner, bytes, want) in table {
        let mut event_loop = EventLoop::new().expect("a loop");
        let scribe = Scribe { tells_all: true, ..Scribe::default() };
        let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
        let telnet = event_loop.enter(|lp| Shared::new(lp, Telnet::new(Options::default(), scribe)));
        let port = event_loop.enter(|lp| {
            let door = Door { manner: *manner, telnet };
            net::listen(lp, ("127.0.0.1", 0), door).expect("a free port").port(lp).expect("it is bound")
        });
        let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        peer.set_nonblocking(true).expect("a socket");
        if *manner == Manner::AtOnce {
            // Before it has said a word.
            while clients.borrow().is_empty() {
                event_loop.turn(Some(LIMIT)).expect("the poll works");
            }
        }
        peer.write_all(bytes).expect("the kernel takes a little");
        peer.shutdown(Shutdown::Write).expect("it is open");
        let mut talk = Talk { event_loop, story, clients, peer, received: Vec::new() };
        talk.expect_story(&format!("{manner:?}"), want);
    }
}

/// What waits in chunks is delivered in one go, and yet not before the new handler has heard of the client.
#[test]
fn a_socket_that_was_paused_can_become_telnet() {
    for pauses_again in [false, true] {
        let mut event_loop = EventLoop::new().expect("a loop");
        let scribe = Scribe { tells_all: true, ..Scribe::default() };
        let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
        let waiting = Rc::new(Cell::new(None));
        let port = event_loop.enter(|lp| {
            let telnet = Shared::new(lp, Telnet::new(Options::default(), scribe));
            let waiting = waiting.clone();
            let becomes_telnet = move |lp: &mut Loop, socket: Socket, _: &[u8]| {
                socket.upgrade(lp, telnet, "");
                if pauses_again {
                    Client::from(socket).pause(lp);
                }
            };
            let door = net::on().connection(move |_, socket| waiting.set(Some(socket))).data(becomes_telnet);
            let options = ServerOptions { pause_on_connect: true, ..ServerOptions::default() };
            net::listen_with(lp, ("127.0.0.1", 0), options, door).expect("a free port").port(lp).expect("it is bound")
        });
        let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let mut sent = 0;
        let mut socket = None;
        for chunk in ["TELNET\n", "hola\r\n", "adios"] {
            peer.write_all(chunk.as_bytes()).expect("the kernel takes a little");
            sent += chunk.len() as u64;
            let limit = Instant::now() + LIMIT;
            while event_loop.enter(|lp| lp.metrics().bytes_read) < sent {
                assert!(Instant::now() < limit, "{sent} bytes do not come");
                event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
                if socket.is_none() && waiting.get().is_some() {
                    socket = waiting.get();
                    // Reads on, but keeps what it reads.
                    let _ = event_loop.enter(|lp| socket.map(|socket| (socket.resume(lp), socket.pause(lp))));
                }
            }
        }
        peer.shutdown(Shutdown::Write).expect("it is open");
        peer.set_nonblocking(true).expect("a socket");
        event_loop.enter(|lp| socket.map(|socket| socket.resume(lp)));
        let mut talk = Talk { event_loop, story, clients, peer, received: Vec::new() };
        if pauses_again {
            talk.expect_story("paused", &["<open>"]);
            let client = talk.client();
            talk.event_loop.enter(|lp| client.resume(lp));
        }
        talk.expect_story("from the inbox", &["<open>", "hola", "adios", "<end>", "<close>"]);
    }
}

/// A client that is still connecting when it becomes telnet is opened once it is connected.
#[test]
fn a_client_that_is_connecting_becomes_telnet_when_it_is_connected() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut event_loop = EventLoop::new().expect("a loop");
    let scribe = Scribe { tells_all: true, ..Scribe::default() };
    let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
    event_loop.enter(|lp| {
        let socket = Socket::connect(lp, address, net::on()).expect("a good address");
        socket.upgrade(lp, Telnet::new(Options::default(), scribe), "");
    });
    event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    let (peer, _) = listener.accept().expect("it connects");
    peer.set_nonblocking(true).expect("a socket");
    let mut talk = Talk { event_loop, story, clients, peer, received: Vec::new() };
    talk.expect_story("connected", &["<open>"]);
    talk.send(b"hola\r\n");
    talk.expect_story("heard", &["<open>", "hola"]);
}

#[test]
fn a_full_server_tells_its_handler() {
    let scribe = Scribe::default();
    let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
    let options = ServerOptions { max_connections: Some(1), ..server_options() };
    let handler = Telnet::new(Options::default(), scribe);
    let mut talk = Talk::with(EventLoop::new().expect("a loop"), options, handler, story, clients);
    let _second = TcpStream::connect(talk.peer.peer_addr().expect("it is connected")).expect("it listens");
    talk.expect_story("full", &["<drop>"]);
}
