//! A socket becomes telnet, or something else after it.

use super::*;

/// Upgrades its sockets to telnet, in one of several ways.
struct Door {
    way: Way,
    telnet: Shared<Telnet<Scribe>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    AtOnce,
    WithHead,
    ThenUnshift,
    AfterUnshift,
    Twice,
    ThenDestroy,
}

impl net::Handler for Door {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        if self.way == Way::AtOnce {
            socket.upgrade(lp, self.telnet, "");
        }
    }
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        let rest = chunk.strip_prefix(b"TELNET\n").expect("the beginning comes in one piece");
        if self.way == Way::AfterUnshift {
            socket.unshift(lp, rest);
        }
        let head = if matches!(self.way, Way::WithHead | Way::Twice) { rest } else { b"" };
        if self.way == Way::Twice {
            socket.upgrade(lp, self.telnet, "replaced by the second call");
        }
        socket.upgrade(lp, self.telnet, head);
        if self.way == Way::ThenUnshift {
            socket.unshift(lp, rest);
        }
        if self.way == Way::ThenDestroy {
            socket.destroy(lp);
        }
    }
}

/// `on_open` comes first and once, and the new handler gets the bytes that the old one did not use.
#[test]
fn a_socket_can_become_telnet() {
    let all: &[&str] = &["<open>", "hola", "adios", "<end>", "<close>"];
    let table: &[(Way, &[u8], &[&str])] = &[
        (Way::AtOnce, b"hola\r\nadios", all),
        (Way::WithHead, b"TELNET\nhola\r\nadios", all),
        (Way::ThenUnshift, b"TELNET\nhola\r\nadios", all),
        (Way::AfterUnshift, b"TELNET\nhola\r\nadios", all),
        (Way::Twice, b"TELNET\nhola\r\nadios", all),
        (Way::ThenDestroy, b"TELNET\nhola\r\nadios", &["<open>", "<close>"]),
    ];
    for (way, bytes, want) in table {
        let mut event_loop = EventLoop::new().expect("a loop");
        let scribe = Scribe { tells_all: true, ..Scribe::default() };
        let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
        let telnet = event_loop.enter(|lp| Shared::new(lp, Telnet::new(Options::default(), scribe)));
        let port = event_loop.enter(|lp| {
            let door = Door { way: *way, telnet };
            net::listen(lp, ("127.0.0.1", 0), door).expect("a free port").port(lp).expect("it is bound")
        });
        let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        peer.set_nonblocking(true).expect("a socket");
        if *way == Way::AtOnce {
            // Before the peer has sent anything.
            while clients.borrow().is_empty() {
                event_loop.turn(Some(LIMIT)).expect("the poll works");
            }
        }
        peer.write_all(bytes).expect("the kernel takes a little");
        peer.shutdown(Shutdown::Write).expect("it is open");
        let mut talk = Talk { event_loop, story, clients, peer, received: Vec::new() };
        talk.expect_story(&format!("{way:?}"), want);
    }
}

/// Chunks of the inbox are delivered one after the other, but not before the new handler has got `on_open`.
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
    talk.expect_story("a line", &["<open>", "hola"]);
}

/// When an [`Upgrader`] upgrades its socket.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Trigger {
    Line(&'static [u8]),
    Command,
    Subnegotiation,
    End,
    Never,
}

type Upgrade = Box<dyn FnOnce(&mut Loop, Socket)>;

/// Writes down what happens with its name, and upgrades its socket once.
struct Upgrader {
    name: &'static str,
    story: Rc<RefCell<Vec<String>>>,
    clients: Rc<RefCell<Vec<Client>>>,
    trigger: Trigger,
    upgrade: Option<Upgrade>,
}

impl Upgrader {
    fn note(&self, event: impl std::fmt::Display) {
        self.story.borrow_mut().push(format!("{} {event}", self.name));
    }

    fn upgrade_if(&mut self, is_now: bool, lp: &mut Loop, client: Client) {
        if is_now && let Some(upgrade) = self.upgrade.take() {
            upgrade(lp, client.socket());
        }
    }
}

impl Handler for Upgrader {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        self.clients.borrow_mut().push(client);
        if self.name == "old" {
            client.enable(lp, Side::Him, option::NAWS);
        }
        self.note("open");
    }
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        self.note(String::from_utf8_lossy(line));
        self.upgrade_if(self.trigger == Trigger::Line(b"UP") && line == b"UP", lp, client);
    }
    fn on_command(&mut self, lp: &mut Loop, client: Client, command: u8) {
        self.note(format!("<{command}>"));
        self.upgrade_if(self.trigger == Trigger::Command, lp, client);
    }
    fn on_option(&mut self, _: &mut Loop, _: Client, side: Side, option: u8, is_on: bool) {
        self.note(format!("<{side:?} {option} {is_on}>"));
    }
    fn on_subnegotiation(&mut self, lp: &mut Loop, client: Client, option: u8, bytes: &[u8]) {
        self.note(format!("<{option}: {}>", bytes.escape_ascii()));
        self.upgrade_if(self.trigger == Trigger::Subnegotiation, lp, client);
    }
    fn on_end(&mut self, lp: &mut Loop, client: Client) {
        self.note("<end>");
        self.upgrade_if(self.trigger == Trigger::End, lp, client);
    }
    fn on_close(&mut self, _: &mut Loop, _: Client, _: bool) {
        self.note("<close>");
    }
}

/// A client of a telnet server whose handler "old" upgrades by `trigger`. `upgrade` gets the second handler, "new".
fn upgrader(trigger: Trigger, upgrade: impl FnOnce(&mut Loop, Socket, Telnet<Upgrader>) + 'static) -> Talk {
    let (story, clients) = (Rc::<RefCell<Vec<String>>>::default(), Rc::<RefCell<Vec<Client>>>::default());
    let named = |name, trigger, upgrade| {
        let (story, clients) = (story.clone(), clients.clone());
        Telnet::new(Options::default(), Upgrader { name, story, clients, trigger, upgrade })
    };
    let new = named("new", Trigger::Never, None);
    let old = named("old", trigger, Some(Box::new(move |lp: &mut Loop, socket: Socket| upgrade(lp, socket, new))));
    Talk::with(EventLoop::new().expect("a loop"), server_options(), old, story, clients)
}

/// A handler that is not telnet. It writes down the bytes that it gets, as one line of the story.
fn plain(story: &Rc<RefCell<Vec<String>>>) -> impl net::Handler {
    let (upgraded, got, ended) = (story.clone(), story.clone(), story.clone());
    let on = net::on().upgrade(move |_, _| upgraded.borrow_mut().push("plain ".into()));
    let on = on.data(move |_, _, chunk| {
        let mut story = got.borrow_mut();
        story.last_mut().expect("on_upgrade comes first").push_str(&chunk.escape_ascii().to_string());
    });
    on.end(move |_, _| ended.borrow_mut().push("plain <end>".into()))
}

/// Sends `bytes` in two pieces and then the FIN. `cut` is the length of the first piece.
fn send_cut(talk: &mut Talk, bytes: &[u8], cut: usize) {
    if cut > 0 {
        talk.send(&bytes[..cut]);
    }
    talk.send(&bytes[cut..]);
    talk.peer.shutdown(Shutdown::Write).expect("it is open");
}

/// The line is in the middle of a chunk: the rest of the chunk comes behind the head, as it was sent, once.
#[test]
fn a_line_can_upgrade_to_another_protocol() {
    let bytes = b"one\nUP\nr\xff\xffst\r\n\xff\xf1more\xff\xfd";
    for cut in 0..bytes.len() {
        let story = Rc::<RefCell<Vec<String>>>::default();
        let new = plain(&story);
        let mut talk = upgrader(Trigger::Line(b"UP"), move |lp, socket, _| socket.upgrade(lp, new, "HEAD "));
        let telnet = std::mem::replace(&mut talk.story, story);
        send_cut(&mut talk, bytes, cut);
        let want = [r"plain HEAD r\xff\xffst\r\n\xff\xf1more\xff\xfd", "plain <end>"];
        talk.until("the end", |talk| talk.story.borrow().len() == want.len());
        assert_eq!(*talk.story.borrow(), want, "cut at {cut}");
        assert_eq!(*telnet.borrow(), ["old open", "old one", "old UP"], "cut at {cut}");
    }
}

/// The new handler goes on in the middle of a line, a line break or a command, and with the options of the old one.
#[test]
fn an_upgrade_from_telnet_to_telnet_continues_the_session() {
    type Row = (&'static str, Trigger, &'static [u8], &'static [&'static str]);
    let table: &[Row] = &[
        (
            "in a line",
            Trigger::Line(b"UP"),
            b"one\r\nUP\r\nt\xff\xffo\r\0\xff\xfb\x1f\xff\xfa\x1f1234\xff\xf0three",
            &[
                "old open",
                "old one",
                "old UP",
                "new open",
                "new t\u{fffd}o",
                "new <Him 31 true>",
                "new <31: 1234>",
                "new three",
                "new <end>",
                "new <close>",
            ],
        ),
        (
            "in a command inside a line",
            Trigger::Command,
            b"ab\xff\xf1cd\r\nefg\r\n",
            &["old open", "old <241>", "new open", "new abcd", "new efg", "new <end>", "new <close>"],
        ),
        (
            "in a subnegotiation that is ended by a command, inside a line",
            Trigger::Subnegotiation,
            b"\xff\xfb\x1fab\xff\xfa\x1f1234\xff\xf1cd\r\n",
            &[
                "old open",
                "old <Him 31 true>",
                "old <31: 1234>",
                "new open",
                "new <241>",
                "new abcd",
                "new <end>",
                "new <close>",
            ],
        ),
        (
            "in the last line, which has no break",
            Trigger::Line(b"UP"),
            b"one\r\nUP",
            &["old open", "old one", "old UP", "new open", "new <end>", "new <close>"],
        ),
        (
            "at the end",
            Trigger::End,
            b"one",
            &["old open", "old one", "old <end>", "new open", "new <end>", "new <close>"],
        ),
    ];
    for (name, trigger, bytes, want) in table {
        for cut in 0..bytes.len() {
            let mut talk = upgrader(*trigger, |lp, socket, new| socket.upgrade(lp, new, ""));
            send_cut(&mut talk, bytes, cut);
            talk.until(name, |talk| talk.story.borrow().len() >= want.len());
            assert_eq!(*talk.story.borrow(), *want, "{name}, cut at {cut}");
            talk.expect_end();
            assert_eq!(talk.received, b"\xff\xfd\x1f", "{name}, cut at {cut}: DO NAWS, once");
        }
    }
}

/// A timer upgrades the socket while the client is in the middle of a line, or does not read its answers.
#[test]
fn an_upgrade_from_outside_continues_the_session() {
    let mut talk = upgrader(Trigger::Never, |_, _, _| {});
    let name_new = Upgrader {
        name: "new",
        story: talk.story.clone(),
        clients: talk.clients.clone(),
        trigger: Trigger::Never,
        upgrade: None,
    };
    talk.send(b"hel");
    let socket = talk.client().socket();
    talk.event_loop.enter(|lp| socket.upgrade(lp, Telnet::new(Options::default(), name_new), ""));
    talk.send(b"lo\r\n");
    talk.expect_story("in the middle of a line", &["old open", "new open", "new hello"]);

    const LINES: usize = 1000;
    let mut talk = Talk::new(Options::default());
    let before = hold_back(&mut talk, LINES);
    let scribe = Scribe { story: talk.story.clone(), clients: talk.clients.clone(), tells_all: false };
    let socket = talk.client().socket();
    talk.event_loop.enter(|lp| socket.upgrade(lp, Telnet::new(Options::default(), scribe), ""));
    assert!(before < LINES);
    talk.until("all answers", |talk| talk.received.len() == LINES * 32 * 1024);
}

/// The new protocol decides about the end: telnet does not end the connection after a Ctrl-D that was the reason to
/// upgrade.
#[test]
fn ctrl_d_can_upgrade() {
    let story = Rc::<RefCell<Vec<String>>>::default();
    let new = plain(&story);
    let mut talk = upgrader(Trigger::End, move |lp, socket, _| socket.upgrade(lp, new, ""));
    talk.send(b"\x04");
    talk.story = story;
    talk.until("the upgrade", |talk| talk.story.borrow().len() == 1);
    talk.send(b"bytes");
    talk.expect_story("it is still open", &["plain bytes"]);
}

/// Options are kept while the socket speaks another protocol, and dropped when it is closed.
#[test]
fn options_go_with_the_socket_after_an_upgrade_to_another_protocol() {
    let story = Rc::<RefCell<Vec<String>>>::default();
    let new = plain(&story);
    let mut talk = upgrader(Trigger::Line(b"UP"), move |lp, socket, _| socket.upgrade(lp, new, ""));
    let client = talk.client();
    talk.send(b"\xff\xfb\x1fUP\n");
    talk.story = story;
    talk.until("the upgrade", |talk| talk.story.borrow().len() == 1);
    assert!(talk.event_loop.enter(|lp| client.is_enabled(lp, Side::Him, option::NAWS)));
    talk.peer.shutdown(Shutdown::Both).expect("it is open");
    talk.until("the close", |talk| talk.event_loop.enter(|lp| !client.socket().exists(lp)));
    assert!(talk.event_loop.enter(|lp| !client.is_enabled(lp, Side::Him, option::NAWS)));
}

/// The head of telnet ends in the middle of a negotiation, a subnegotiation, a line.
#[test]
fn where_the_head_ends_does_not_matter() {
    let wire = b"\xff\xfd\x06one\r\n\xff\xfa\x1f1234\xff\xf0t\xff\xffo\r\n\xff\xf4three";
    for cut in 0..=wire.len() {
        let (story, clients) = (Rc::<RefCell<Vec<String>>>::default(), Rc::<RefCell<Vec<Client>>>::default());
        let scribe = Scribe { tells_all: true, story: story.clone(), clients: clients.clone() };
        let in_door = clients.clone();
        let mut telnet = Some(Telnet::new(Options::default(), scribe));
        let door = net::on()
            .connection(move |_, socket| in_door.borrow_mut().push(Client::from(socket)))
            .data(move |lp, socket, head| socket.upgrade(lp, telnet.take().expect("one chunk"), head));
        let mut talk = Talk::with(EventLoop::new().expect("a loop"), ServerOptions::default(), door, story, clients);
        // The first chunk is the head, and may not be empty.
        if cut > 0 {
            talk.send(&wire[..cut]);
        }
        if cut < wire.len() {
            talk.send(&wire[cut..]);
        }
        talk.peer.shutdown(Shutdown::Write).expect("it is open");
        talk.until("the close", |talk| talk.story.borrow().iter().any(|what| what == "<close>"));
        talk.expect_end();
        assert_eq!(
            *talk.story.borrow(),
            ["<open>", "one", "t\u{fffd}o", "<244>", "three", "<end>", "<close>"],
            "{cut}"
        );
        assert_eq!(talk.received, codec::negotiation(codec::Verb::Wont, option::TIMING_MARK), "{cut}");
    }
}
