//! The Synch of RFC 854: a Data Mark as an urgent byte of TCP (`MSG_OOB`), as `telnet> send synch` and `toggle
//! autosynch` send it. RFC 1123, 3.2.4: everything but commands is discarded until the Data Mark.

use bucle::net::SocketOptions;
use socket2::SockRef;

use super::*;

const IAC: u8 = 255;
const DM: &str = "<242>";

/// How the two bytes of a Synch reach the kernel.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// One call; its last byte is urgent.
    Together,
    /// The Data Mark in a call of its own.
    Apart,
    /// The same, and the server has read the IAC before.
    CutInHalf,
    /// The IAC is urgent: by RFC 1122, 4.2.2.4, senders differ by one in the byte that they mark.
    OneEarly,
}

const WAYS: [Way; 4] = [Way::Together, Way::Apart, Way::CutInHalf, Way::OneEarly];

impl Talk {
    fn send_urgent(&mut self, bytes: &[u8]) {
        let sent = SockRef::from(&self.peer).send_out_of_band(bytes).expect("the kernel takes a little");
        assert_eq!(sent, bytes.len());
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.peer.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.turn(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until the kernel has that many bytes for the server, which does not run meanwhile. So the next read finds
    /// them all, and the urgent byte.
    fn until_kernel_has(&self, unread: usize) {
        let hex =
            |address: std::io::Result<std::net::SocketAddr>| format!(":{:04X}", address.expect("connected").port());
        let (server, peer) = (hex(self.peer.peer_addr()), hex(self.peer.local_addr()));
        let limit = Instant::now() + LIMIT;
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
            let queue = table.lines().find_map(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                let [_, local, remote, _, queues, ..] = columns[..] else { return None };
                let is_ours = local.ends_with(&server) && remote.ends_with(&peer);
                is_ours.then(|| usize::from_str_radix(queues.split_once(':')?.1, 16).ok()).flatten()
            });
            if queue == Some(unread) {
                return;
            }
            assert!(Instant::now() < limit, "{unread} bytes do not arrive: {queue:?}");
            std::thread::yield_now();
        }
    }

    fn synch(&mut self, way: Way) {
        match way {
            Way::Together => self.send_urgent(b"\xff\xf2"),
            Way::Apart => {
                self.write(b"\xff");
                self.send_urgent(b"\xf2");
            }
            Way::CutInHalf => {
                self.send(b"\xff");
                self.send_urgent(b"\xf2");
            }
            Way::OneEarly => {
                self.send_urgent(b"\xff");
                self.write(b"\xf2");
            }
        }
    }
}

/// The lines in `bytes`, as events.
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    text.split_terminator('\n').map(str::to_owned).collect()
}

/// The data in front of a Synch was read before: it was delivered, and the Synch does no harm.
#[test]
fn a_synch_does_not_change_lines_that_were_read_before_and_lines_behind_it() {
    let text = "hola\r\n¡ñandú!\r\n\r\nfin\r\n".as_bytes();
    for way in WAYS {
        for at in 0..=text.len() {
            let mut talk = Talk::new(Options::default());
            if at > 0 {
                talk.send(&text[..at]);
            }
            talk.synch(way);
            talk.write(&text[at..]);
            let whole = lines(text);
            talk.until("the lines", |talk| talk.story.borrow().len() > whole.len());
            let story = talk.story.borrow();
            let got: Vec<_> = story.iter().filter(|event| *event != DM).cloned().collect();
            assert_eq!(got, whole, "{way:?} at {at}");
            assert_eq!(story.len(), whole.len() + 1, "{way:?} at {at}: one data mark");
        }
    }
}

/// Nothing was read before the Synch was there.
#[test]
fn a_synch_discards_the_data_in_front_of_it_and_nothing_else() {
    let text = b"one\r\ntwo\r\nthree\r\n";
    for way in [Way::Together, Way::Apart, Way::OneEarly] {
        for at in 0..=text.len() {
            let mut talk = Talk::new(Options::default());
            talk.write(&text[..at]);
            talk.synch(way);
            talk.write(&text[at..]);
            talk.until_kernel_has(text.len() + 2);
            // A line break that the Synch cuts is discarded whole.
            let behind = if text[..at].ends_with(b"\r") { &text[at + 1..] } else { &text[at..] };
            let mut want = vec![DM.to_owned()];
            want.extend(lines(behind));
            talk.until("the lines", |talk| talk.story.borrow().len() >= want.len());
            talk.settle();
            assert_eq!(*talk.story.borrow(), want, "{way:?} at {at}");
            talk.send(b"next\r\n");
            talk.until("the next line", |talk| talk.story.borrow().len() > want.len());
            assert_eq!(talk.story.borrow().last().map(String::as_str), Some("next"), "{way:?} at {at}");
        }
    }
}

/// Commands, negotiations and subnegotiations in front of a Synch are obeyed, and those behind it too.
#[test]
fn a_synch_does_not_swallow_commands() {
    let units: &[&[u8]] = &[
        b"\xff\xf4",
        b"\xff\xfd\x06",
        b"x",
        b"\xff\xf6",
        b"\xff\xfb\x1f",
        b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0",
        b"\xff\xfe\x01",
        b"\xff\xff",
    ];
    let want = ["<244>", "<246>", "<Him 31 true>", r"<31: \x00P\x00\x18>"];
    let policy = Policy::REFUSE_ALL.allow(Side::Him, option::NAWS);
    for way in WAYS {
        for is_read_before in [false, true] {
            for at in 0..=units.len() {
                let name = format!("{way:?} before unit {at}, read before: {is_read_before}");
                let mut talk = Talk::new(Options { policy, ..Options::default() });
                let front = units[..at].concat();
                if is_read_before && at > 0 {
                    talk.send(&front);
                } else {
                    talk.write(&front);
                }
                talk.synch(way);
                talk.write(&units[at..].concat());
                talk.write(b"\r\n");
                talk.until(&name, |talk| talk.received.len() >= 3 + 7 + 3 && talk.story.borrow().len() >= 6);
                assert_eq!(talk.received, b"\xff\xfc\x06[yes]\r\n\xff\xfd\x1f", "{name}");
                let story = talk.story.borrow();
                let commands: Vec<_> = story.iter().filter(|event| event.starts_with('<') && *event != DM).collect();
                assert_eq!(commands, want, "{name}");
            }
        }
    }
}

/// At each place inside, except between the IAC and the byte that belongs to it.
#[test]
fn a_synch_inside_a_subnegotiation_breaks_nothing() {
    let unit = b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0";
    let policy = Policy::REFUSE_ALL.allow(Side::Him, option::NAWS);
    for way in WAYS {
        for at in 2..=7 {
            let mut talk = Talk::new(Options { policy, ..Options::default() });
            talk.send(b"\xff\xfb\x1f");
            talk.write(&unit[..at]);
            talk.synch(way);
            talk.write(&unit[at..]);
            talk.write(b"hola\r\n");
            talk.expect_story("all", &["<Him 31 true>", DM, r"<31: \x00P\x00\x18>", "hola"]);
        }
    }
}

/// Linux knows one urgent byte of a connection at a time. The first Data Mark does not end the second Synch.
#[test]
fn two_synchs_discard_what_is_between_them() {
    const AT_ONCE: [Way; 3] = [Way::Together, Way::Apart, Way::OneEarly];
    for first in AT_ONCE {
        for second in AT_ONCE {
            let mut talk = Talk::new(Options::default());
            talk.write(b"one\r\n");
            talk.synch(first);
            talk.write(b"two\r\n");
            talk.synch(second);
            talk.write(b"three\r\n");
            talk.until_kernel_has(5 + 2 + 5 + 2 + 7);
            talk.expect_story(&format!("{first:?}, {second:?}"), &[DM, DM, "three"]);
        }
    }
    let mut talk = Talk::new(Options::default());
    for at in 0..20 {
        let way = WAYS[at % WAYS.len()];
        talk.synch(way);
        talk.send(format!("line {at}\r\n").as_bytes());
        talk.expect_story("a line after each", &[DM, &format!("line {at}")]);
        talk.story.borrow_mut().clear();
    }
}

/// A middlebox may clear the urgent mark. Then a Data Mark is a command without effect.
#[test]
fn a_data_mark_that_is_not_urgent_discards_nothing() {
    let text = b"one\r\ntwo\r\n";
    for at in 0..=text.len() {
        if text[..at].ends_with(b"\r") {
            // Then the line feed is a line break of its own: commands are not part of one.
            continue;
        }
        let mut talk = Talk::new(Options::default());
        talk.send(&[&text[..at], &[IAC, 242], &text[at..]].concat());
        talk.until("the lines", |talk| talk.story.borrow().len() == 3);
        let got: Vec<_> = talk.story.borrow().iter().filter(|event| *event != DM).cloned().collect();
        assert_eq!(got, ["one", "two"], "at {at}");
    }
}

/// Not telnet, but nothing is lost: the urgent byte is data in its place.
#[test]
fn an_urgent_byte_that_is_no_data_mark_is_data() {
    for is_read_before in [false, true] {
        let mut talk = Talk::new(Options::default());
        if is_read_before {
            talk.send(b"ho");
            talk.send_urgent(b"l");
            talk.write(b"a\r\n");
            talk.expect_story("in its place", &["hola"]);
        } else {
            talk.write(b"discarded");
            talk.send_urgent(b"h");
            talk.write(b"ola\r\n");
            talk.until_kernel_has(9 + 1 + 5);
            talk.expect_story("in its place", &["hola"]);
        }
        for way in WAYS {
            talk.story.borrow_mut().clear();
            talk.send_urgent(b"x");
            talk.send(b"adios\r\n");
            talk.until("the line", |talk| !talk.story.borrow().is_empty());
            talk.synch(way);
            talk.send(b"fin\r\n");
            talk.expect_story("and a synch after it", &["xadios", DM, "fin"]);
        }
    }
}

/// `send synch` is for this: the server does not read, and what was typed is not wanted any more.
#[test]
fn a_synch_discards_lines_that_wait_behind_a_pause() {
    for way in WAYS {
        let mut talk = Talk::new(Options::default());
        let client = talk.client();
        talk.send(b"pause\r\nold\r\n");
        talk.write(b"older\r\n");
        talk.synch(way);
        talk.write(b"\xff\xfd\x06new\r\n");
        talk.until("all bytes", |talk| {
            talk.event_loop.enter(|lp| client.socket().info(lp)).is_some_and(|info| info.bytes_read == 12 + 7 + 2 + 8)
        });
        talk.expect_story("paused", &["pause"]);
        talk.event_loop.enter(|lp| client.resume(lp));
        talk.expect_story("resumed", &["pause", DM, "new"]);
        assert_eq!(talk.received, b"\xff\xfc\x06");
        talk.send(b"more\r\n");
        talk.expect_story("more", &["pause", DM, "new", "more"]);
    }
}

/// Lines that are forwarded unchanged are still telnet's.
#[test]
fn a_synch_discards_raw_lines_too() {
    for way in [Way::Together, Way::Apart, Way::OneEarly] {
        let mut talk = Talk::new(Options { keeps_breaks: true, ..Options::default() });
        talk.write(b"one\r\ntw");
        talk.synch(way);
        talk.write(b"o\r\n");
        talk.until_kernel_has(7 + 2 + 3);
        talk.expect_story("raw", &[DM, "o\r\n"]);
    }
}

/// More than one read before the mark, and the end right behind it.
#[test]
fn a_synch_behind_much_data_is_found() {
    for way in [Way::Together, Way::Apart, Way::OneEarly] {
        for len in [64 * 1024 - 2, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 300_000] {
            let mut talk = Talk::new(Options::default());
            talk.write(&vec![b'\n'; len]);
            talk.synch(way);
            talk.write(b"hola\r\nadios");
            talk.peer.shutdown(Shutdown::Write).expect("it is open");
            talk.until("the close", |talk| talk.story.borrow().iter().any(|event| event == "<close>"));
            let story = talk.story.borrow();
            let rest: Vec<_> = story.iter().filter(|line| !line.is_empty()).collect();
            assert_eq!(rest, [DM, "hola", "adios", "<end>", "<close>"], "{way:?}, {len} bytes");
        }
    }
}

/// The socket is a server's with options of its own, a client's, or was upgraded.
#[test]
fn every_telnet_gets_the_data_mark_in_line() {
    let synch_and_line = |talk: &mut Talk| {
        for way in WAYS {
            talk.story.borrow_mut().clear();
            talk.synch(way);
            talk.write(b"\xff\xfd\x06hola\r\n");
            talk.until("the line", |talk| talk.story.borrow().len() >= 2);
            assert_eq!(*talk.story.borrow(), [DM, "hola"], "{way:?}");
        }
    };
    let scribe = Scribe::default();
    let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
    let handler = Telnet::new(Options::default(), scribe);
    let event_loop = EventLoop::new().expect("a loop");
    synch_and_line(&mut Talk::with(event_loop, ServerOptions::default(), handler, story, clients));

    for is_upgraded in [false, true] {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut event_loop = EventLoop::new().expect("a loop");
        let scribe = Scribe::default();
        let (story, clients) = (scribe.story.clone(), scribe.clients.clone());
        event_loop.enter(|lp| {
            let telnet = Shared::new(lp, Telnet::new(Options::default(), scribe));
            let connected = if is_upgraded {
                Socket::connect(lp, address, net::on().connect(move |lp, socket| socket.upgrade(lp, telnet, "")))
            } else {
                Socket::connect(lp, address, telnet)
            };
            connected.expect("a good address");
        });
        event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        let (peer, _) = listener.accept().expect("it connects");
        peer.set_nonblocking(true).expect("a socket");
        let mut talk = Talk { event_loop, story, clients, peer, received: Vec::new() };
        talk.until("the connection", |talk| !talk.clients.borrow().is_empty());
        synch_and_line(&mut talk);
    }
}

/// As in Node, a socket skips the urgent byte, unless the option is set. The bytes around it always arrive.
#[test]
fn a_socket_gets_the_urgent_byte_in_line_only_if_it_wants_it() {
    for is_in_line in [false, true] {
        for is_server in [false, true] {
            let mut event_loop = EventLoop::new().expect("a loop");
            let received = Rc::new(RefCell::new(Vec::new()));
            let seen = received.clone();
            let handler = net::on().data(move |_, _, chunk| seen.borrow_mut().extend_from_slice(chunk));
            let peer = if is_server {
                let options = ServerOptions { urgent_in_line: is_in_line, ..ServerOptions::default() };
                let port = event_loop.enter(|lp| {
                    let server = net::listen_with(lp, ("127.0.0.1", 0), options, handler).expect("a free port");
                    server.port(lp).expect("it is bound")
                });
                TcpStream::connect(("127.0.0.1", port)).expect("it listens")
            } else {
                let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
                let address = listener.local_addr().expect("it is bound");
                let options = SocketOptions { urgent_in_line: is_in_line, ..SocketOptions::default() };
                event_loop.enter(|lp| Socket::connect_with(lp, address, options, handler).expect("a good address"));
                event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
                listener.accept().expect("it connects").0
            };
            (&peer).write_all(b"ab").expect("the kernel takes a little");
            SockRef::from(&peer).send_out_of_band(b"!").expect("the kernel takes a little");
            (&peer).write_all(b"cd").expect("the kernel takes a little");
            let want: &[u8] = if is_in_line { b"ab!cd" } else { b"abcd" };
            let limit = Instant::now() + LIMIT;
            while received.borrow().len() < want.len() {
                assert!(Instant::now() < limit, "only {:?}", received.borrow());
                event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
            }
            assert_eq!(*received.borrow(), want, "in line: {is_in_line}, a server: {is_server}");
        }
    }
}
