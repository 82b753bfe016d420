//! A socket changes its handler in the middle of a connection: the new handler gets `on_upgrade` first, then `head`,
//! then all that follows. No byte is lost, and none is delivered twice.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::net::{self, Error, Handler, Server, ServerOptions, Shared, Socket};
use bucle::{EventLoop, Loop};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

type Story = Rc<RefCell<Vec<String>>>;
type Action = Box<dyn FnOnce(&mut Loop, Socket, &[u8])>;

/// Writes every event into the story, and does something in some of them, once.
struct Actor {
    name: &'static str,
    story: Story,
    actions: Vec<(&'static str, Action)>,
}

impl Actor {
    fn new(name: &'static str, story: &Story) -> Actor {
        Actor { name, story: story.clone(), actions: Vec::new() }
    }

    fn when(mut self, event: &'static str, action: impl FnOnce(&mut Loop, Socket, &[u8]) + 'static) -> Actor {
        self.actions.push((event, Box::new(action)));
        self
    }

    fn act(&mut self, event: &str, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if let Some(at) = self.actions.iter().position(|(when, _)| *when == event) {
            let (_, action) = self.actions.remove(at);
            action(lp, socket, chunk);
        }
    }

    fn note(&mut self, event: &str, lp: &mut Loop, socket: Socket) {
        self.story.borrow_mut().push(format!("{} {event}", self.name));
        self.act(event, lp, socket, b"");
    }

    /// Data that the same handler gets in several pieces is written as one: where the reads fall does not matter.
    fn note_data(&mut self, kind: &str, chunk: &[u8]) {
        let mut story = self.story.borrow_mut();
        let prefix = format!("{} {kind}: ", self.name);
        let text = chunk.escape_ascii().to_string();
        match story.last_mut().filter(|last| last.starts_with(&prefix)) {
            Some(last) => last.push_str(&text),
            None => story.push(prefix + &text),
        }
    }
}

impl Handler for Actor {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.note("connection", lp, socket);
    }
    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, _: Result<std::net::IpAddr, &Error>) {
        self.note("lookup", lp, socket);
    }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.note("connect", lp, socket);
    }
    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {
        self.note("ready", lp, socket);
    }
    fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {
        self.note("upgrade", lp, socket);
    }
    fn on_read(&mut self, lp: &mut Loop, socket: Socket, buf: &mut [u8]) {
        self.note_data("data", buf);
        self.act("data", lp, socket, buf);
    }
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.note_data("text", text.as_bytes());
        self.act("text", lp, socket, text.as_bytes());
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.note("end", lp, socket);
    }
    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {
        self.note("finish", lp, socket);
    }
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.note(&format!("error {}", error.code()), lp, socket);
    }
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _: bool) {
        self.note("close", lp, socket);
    }
}

/// A server or a client of the loop, and the other end of its one connection in the standard library.
struct World {
    event_loop: EventLoop,
    story: Story,
    server: Option<Server<Actor>>,
    peer: TcpStream,
    received: Vec<u8>,
}

impl World {
    /// A server that accepts one connection; `old` is its handler.
    fn serve(story: &Story, options: ServerOptions, old: Actor) -> World {
        let mut event_loop = EventLoop::new().expect("a loop");
        let (server, port) = event_loop.enter(|lp| {
            let server = net::listen_with(lp, ("127.0.0.1", 0), options, old).expect("a free port");
            (server, server.port(lp).expect("it is bound"))
        });
        let peer = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        World { server: Some(server), ..World::with(event_loop, story, peer) }
    }

    /// A client that connects to `host`. `start` gets the socket before it is connected.
    fn connect(story: &Story, host: &str, old: Actor, start: impl FnOnce(&mut Loop, Socket)) -> World {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let mut event_loop = EventLoop::new().expect("a loop");
        event_loop.enter(|lp| {
            let socket = Socket::connect(lp, (host, port), old).expect("a good address");
            start(lp, socket);
        });
        listener.set_nonblocking(true).expect("a socket");
        let limit = Instant::now() + LIMIT;
        let peer = loop {
            match listener.accept() {
                Ok((peer, _)) => break peer,
                Err(_) => assert!(Instant::now() < limit, "it does not connect"),
            }
            event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        };
        World::with(event_loop, story, peer)
    }

    fn with(event_loop: EventLoop, story: &Story, peer: TcpStream) -> World {
        peer.set_nonblocking(true).expect("a socket");
        World { event_loop, story: story.clone(), server: None, peer, received: Vec::new() }
    }

    /// The server's one connection.
    fn socket(&mut self) -> Socket {
        let server = self.server.expect("there is a server");
        self.until("the connection", |world| world.event_loop.enter(|lp| !server.sockets(lp).is_empty()));
        self.event_loop.enter(|lp| server.sockets(lp)[0])
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        let mut buf = [0; 64 * 1024];
        while let Ok(n @ 1..) = self.peer.read(&mut buf) {
            self.received.extend_from_slice(&buf[..n]);
        }
    }

    fn until(&mut self, what: &str, mut is_there: impl FnMut(&mut World) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_there(self) {
            assert!(Instant::now() < limit, "waited for {what}: {:?}", self.story);
            self.turn();
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).expect("the kernel takes a little");
    }

    fn fin(&mut self) {
        self.peer.shutdown(Shutdown::Write).expect("it is open");
    }

    /// Waits until the story is this one, and some turns more, in which nothing else happens.
    fn expect(&mut self, name: &str, want: &[&str]) {
        self.until(name, |world| *world.story.borrow() == want);
        for _ in 0..5 {
            self.turn();
        }
        assert_eq!(*self.story.borrow(), want, "{name}");
    }
}

/// The old protocol: a line `UP`, and behind it the head of the new protocol.
fn head_of(chunk: &[u8]) -> &[u8] {
    chunk.strip_prefix(b"UP\n").expect("the request comes in one piece")
}

#[test]
fn head_comes_before_what_waits_and_what_arrives_later() {
    type Way = fn(&mut Loop, Socket, Shared<Actor>, &[u8]);
    let ways: &[(&str, Way)] = &[
        ("the rest of the chunk as head", |lp, socket, new, rest| socket.upgrade(lp, new, rest)),
        ("half of the rest as head, half put back before", |lp, socket, new, rest| {
            socket.unshift(lp, &rest[2..]);
            socket.upgrade(lp, new, &rest[..2]);
        }),
        ("half of the rest as head, half put back after", |lp, socket, new, rest| {
            socket.upgrade(lp, new, &rest[..2]);
            socket.unshift(lp, &rest[2..]);
        }),
        ("no head, all of it put back", |lp, socket, new, rest| {
            socket.upgrade(lp, new, "");
            socket.unshift(lp, rest);
        }),
        ("twice: the second head counts", |lp, socket, new, rest| {
            socket.upgrade(lp, new, "the first head");
            socket.upgrade(lp, new, rest);
        }),
        ("in a tick of the callback", |lp, socket, new, rest| {
            let rest = rest.to_vec();
            lp.next_tick(move |lp| socket.upgrade(lp, new, rest));
        }),
        ("in a microtask of the callback", |lp, socket, new, rest| {
            let rest = rest.to_vec();
            lp.queue_microtask(move |lp| socket.upgrade(lp, new, rest));
        }),
    ];
    for (name, way) in ways {
        let story = Story::default();
        let way = *way;
        let new = Actor::new("new", &story);
        let old = Actor::new("old", &story).when("data", move |lp, socket, chunk| {
            let new = Shared::new(lp, new);
            way(lp, socket, new, head_of(chunk));
        });
        let mut world = World::serve(&story, ServerOptions::default(), old);
        world.send(b"UP\nhead");
        world.until(name, |world| world.story.borrow().iter().any(|line| line == "new data: head"));
        world.send(b", then data");
        world.fin();
        let want = [
            "old connection",
            r"old data: UP\nhead",
            "new upgrade",
            "new data: head, then data",
            "new end",
            "new finish",
            "new close",
        ];
        world.expect(name, &want);
    }
}

#[test]
fn a_head_larger_than_the_read_buffer_is_delivered_once_and_whole() {
    const LEN: usize = 70_000;
    let head: Vec<u8> = (0..LEN).map(|at| b'a' + (at % 26) as u8).collect();
    for is_paused in [false, true] {
        let story = Story::default();
        let (new, head_again) = (Actor::new("new", &story), head.clone());
        let resume = move |lp: &mut Loop, socket: Socket, _: &[u8]| {
            if is_paused {
                socket.pause(lp);
                lp.set_immediate(move |lp| socket.resume(lp));
            }
        };
        let new = new.when("upgrade", resume);
        let old = Actor::new("old", &story).when("data", move |lp, socket, _| socket.upgrade(lp, new, head_again));
        let mut world = World::serve(&story, ServerOptions::default(), old);
        world.send(b"UP\n");
        world.until("the upgrade", |world| world.story.borrow().iter().any(|line| line == "new upgrade"));
        world.send(b"END");
        world.fin();
        world.until("the close", |world| world.story.borrow().last().is_some_and(|line| line == "new close"));
        let want = format!("new data: {}END", head.escape_ascii());
        assert_eq!(story.borrow()[3..], [&want, "new end", "new finish", "new close"], "paused: {is_paused}");
    }
}

#[test]
fn two_upgrades_in_one_callback_call_the_last_handler_only() {
    let story = Story::default();
    let (second, third) = (Actor::new("second", &story), Actor::new("third", &story));
    let old = Actor::new("old", &story).when("data", move |lp, socket, chunk| {
        socket.upgrade(lp, second, "replaced");
        socket.upgrade(lp, third, head_of(chunk));
    });
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\nhead");
    let want = ["old connection", r"old data: UP\nhead", "third upgrade", "third data: head"];
    world.expect("twice", &want);
}

/// The first head waits, so it comes behind the head of the second upgrade.
#[test]
fn a_handler_can_upgrade_again_in_on_upgrade() {
    let story = Story::default();
    let third = Actor::new("third", &story);
    let second = Actor::new("second", &story).when("upgrade", move |lp, socket, _| socket.upgrade(lp, third, "2, "));
    let old = Actor::new("old", &story).when("data", move |lp, socket, chunk| {
        socket.upgrade(lp, second, head_of(chunk));
    });
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\nhead");
    world.until("the head", |world| world.story.borrow().len() == 5);
    world.send(b", later");
    world.fin();
    let want = [
        "old connection",
        r"old data: UP\nhead",
        "second upgrade",
        "third upgrade",
        "third data: 2, head, later",
        "third end",
        "third finish",
        "third close",
    ];
    world.expect("twice", &want);
}

/// The peer has ended, but the new protocol still gets its head, its `on_end`, and may answer.
#[test]
fn a_peer_that_has_ended_is_answered_by_the_new_handler() {
    for is_in_tick in [false, true] {
        for allow_half_open in [false, true] {
            let name = format!("in a tick: {is_in_tick}, half open: {allow_half_open}");
            let story = Story::default();
            let new = Actor::new("new", &story).when("end", move |lp, socket, _| {
                socket.write(lp, "answer");
                if allow_half_open {
                    socket.end(lp);
                }
            });
            let old = Actor::new("old", &story).when("end", move |lp, socket, _| {
                if is_in_tick {
                    lp.next_tick(move |lp| socket.upgrade(lp, new, "head"));
                } else {
                    socket.upgrade(lp, new, "head");
                }
            });
            let mut world = World::serve(&story, ServerOptions { allow_half_open, ..ServerOptions::default() }, old);
            world.fin();
            let want =
                ["old connection", "old end", "new upgrade", "new data: head", "new end", "new finish", "new close"];
            world.expect(&name, &want);
            assert_eq!(world.received, b"answer", "{name}");
        }
    }
}

/// As above, with a FIN that is read but not delivered yet because the socket is paused.
#[test]
fn a_fin_that_waits_comes_after_the_head() {
    let story = Story::default();
    let new = Actor::new("new", &story);
    let old = Actor::new("old", &story).when("data", |lp, socket, chunk| {
        socket.pause(lp);
        socket.unshift(lp, head_of(chunk));
    });
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\nwaits");
    world.fin();
    world.until("the data", |world| world.story.borrow().len() == 2);
    let socket = world.socket();
    world.event_loop.enter(|lp| socket.upgrade(lp, new, "head, "));
    world.expect("paused", &["old connection", r"old data: UP\nwaits", "new upgrade"]);
    world.event_loop.enter(|lp| socket.resume(lp));
    let want = [
        "old connection",
        r"old data: UP\nwaits",
        "new upgrade",
        "new data: head, waits",
        "new end",
        "new finish",
        "new close",
    ];
    world.expect("resumed", &want);
}

#[test]
fn on_a_paused_socket_the_head_waits_in_front_of_the_inbox() {
    let story = Story::default();
    let new = Actor::new("new", &story);
    let options = ServerOptions { pause_on_connect: true, ..ServerOptions::default() };
    let mut world = World::serve(&story, options, Actor::new("old", &story));
    let socket = world.socket();
    world.send(b"waits");
    // Reads on, but keeps what it reads.
    world.event_loop.enter(|lp| {
        socket.resume(lp);
        socket.pause(lp);
    });
    world.until("the read", |world| world.event_loop.enter(|lp| lp.metrics().bytes_read) == 5);
    world.event_loop.enter(|lp| socket.upgrade(lp, new, "head, "));
    world.expect("paused", &["old connection", "new upgrade"]);
    world.event_loop.enter(|lp| socket.resume(lp));
    world.expect("resumed", &["old connection", "new upgrade", "new data: head, waits"]);
}

#[test]
fn a_new_handler_that_pauses_gets_the_head_after_the_resume() {
    let story = Story::default();
    let new = Actor::new("new", &story).when("upgrade", |lp, socket, _| socket.pause(lp));
    let old = Actor::new("old", &story).when("data", |lp, socket, chunk| socket.upgrade(lp, new, head_of(chunk)));
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\nhead");
    world.expect("paused", &["old connection", r"old data: UP\nhead", "new upgrade"]);
    let socket = world.socket();
    world.send(b", later");
    world.event_loop.enter(|lp| socket.resume(lp));
    world.fin();
    let want = [
        "old connection",
        r"old data: UP\nhead",
        "new upgrade",
        "new data: head, later",
        "new end",
        "new finish",
        "new close",
    ];
    world.expect("resumed", &want);
}

#[test]
fn a_socket_that_is_connecting_is_upgraded_before_it_is_connected() {
    let story = Story::default();
    let new = Actor::new("new", &story);
    let mut world = World::connect(&story, "127.0.0.1", Actor::new("old", &story), |lp, socket| {
        socket.upgrade(lp, new, "head, ");
    });
    world.send(b"data");
    world.fin();
    let all: Vec<String> = {
        world.until("the close", |world| world.story.borrow().last().is_some_and(|line| line == "new close"));
        story.take()
    };
    // The head is there before the connection.
    let want =
        ["new upgrade", "new data: head, ", "new connect", "new ready", "new data: data", "new end", "new finish"];
    assert_eq!(all[..7], want);
}

/// `on_ready` follows `on_connect` without a tick between them, one `on_lookup` the other, and `on_finish` the callback
/// of an end. The new handler gets `on_upgrade` before all of them.
#[test]
fn no_event_reaches_the_new_handler_before_on_upgrade() {
    for event in ["lookup", "connect", "ready"] {
        let story = Story::default();
        let new = Actor::new("new", &story);
        let old = Actor::new("old", &story).when(event, move |lp, socket, _| socket.upgrade(lp, new, ""));
        let mut world = World::connect(&story, "localhost", old, |_, _| {});
        world.send(b"data");
        world.fin();
        world.until("the close", |world| world.story.borrow().last().is_some_and(|line| line == "new close"));
        // `localhost` may have one address or two. If it has one, `on_lookup` is not called again after the upgrade.
        let mut all = story.take();
        all.dedup();
        let first_of_new = all.iter().find(|line| line.starts_with("new"));
        assert_eq!(first_of_new.map(String::as_str), Some("new upgrade"), "in on_{event}");
        all.retain(|line| line != "new lookup");
        let events = ["lookup", "connect", "ready"];
        let at = 1 + events.iter().position(|&other| other == event).expect("one of the three");
        let mut want: Vec<String> = events[..at].iter().map(|event| format!("old {event}")).collect();
        want.push("new upgrade".into());
        want.extend(events[at..].iter().map(|event| format!("new {event}")));
        want.extend(["new data: data", "new end", "new finish", "new close"].map(String::from));
        assert_eq!(all, want, "in on_{event}");
    }

    let story = Story::default();
    let new = Actor::new("new", &story);
    let old = Actor::new("old", &story).when("connection", move |lp, socket, _| {
        socket.end_then(lp, move |lp, _| socket.upgrade(lp, new, "head"));
    });
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.until("the head", |world| world.story.borrow().len() == 4);
    world.fin();
    let want = ["old connection", "new upgrade", "new data: head", "new finish", "new end", "new close"];
    world.expect("in the callback of an end", &want);
}

/// Our own end is through when the peer's comes, or the other way round: the socket would be destroyed next.
#[test]
fn the_last_event_before_the_destroy_can_upgrade() {
    let story = Story::default();
    let new = Actor::new("new", &story);
    let old = Actor::new("old", &story)
        .when("connection", |lp, socket, _| socket.end(lp))
        .when("end", move |lp, socket, _| socket.upgrade(lp, new, "head"));
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.until("our end", |world| world.story.borrow().len() == 2);
    world.fin();
    let want = ["old connection", "old finish", "old end", "new upgrade", "new data: head", "new end", "new close"];
    world.expect("in on_end", &want);

    let story = Story::default();
    let new = Actor::new("new", &story);
    let old = Actor::new("old", &story).when("finish", move |lp, socket, _| socket.upgrade(lp, new, "head"));
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.fin();
    let want = ["old connection", "old end", "old finish", "new upgrade", "new data: head", "new end", "new close"];
    world.expect("in on_finish", &want);
}

#[test]
fn a_socket_that_is_destroyed_gets_what_is_still_to_come() {
    let story = Story::default();
    let new = Actor::new("new", &story);
    let old = Actor::new("old", &story).when("data", move |lp, socket, _| {
        socket.upgrade(lp, new, "head");
        socket.destroy(lp);
    });
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\n");
    let want = ["old connection", r"old data: UP\n", "new upgrade", "new close"];
    world.expect("destroyed after the upgrade", &want);

    let story = Story::default();
    let new = Actor::new("new", &story);
    let old = Actor::new("old", &story).when("data", move |lp, socket, _| {
        socket.destroy_with(lp, Error::custom("E_TEST", "no"));
        socket.upgrade(lp, new, "head");
    });
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\n");
    let want = ["old connection", r"old data: UP\n", "new error E_TEST", "new close"];
    world.expect("destroyed before the upgrade", &want);

    let story = Story::default();
    let new = Actor::new("new", &story).when("upgrade", |lp, socket, _| socket.destroy(lp));
    let old = Actor::new("old", &story).when("data", move |lp, socket, _| socket.upgrade(lp, new, "head"));
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\n");
    let want = ["old connection", r"old data: UP\n", "new upgrade", "new close"];
    world.expect("destroyed in on_upgrade", &want);
    let socket = world.event_loop.enter(|lp| {
        let closed = Socket::new(lp, net::SocketOptions::default(), net::on());
        closed.destroy(lp);
        closed
    });
    world.turn();
    world.event_loop.enter(|lp| socket.upgrade(lp, Actor::new("late", &story), "head"));
    world.expect("gone", &want);
}

/// A proxy lays its pipe when it gets the upgrade: the head goes through it, and all data after it.
#[test]
fn a_pipe_that_is_laid_in_on_upgrade_gets_the_head() {
    let story = Story::default();
    let new = Actor::new("new", &story).when("upgrade", |lp, socket, _| socket.pipe(lp, socket));
    let old = Actor::new("old", &story).when("data", move |lp, socket, chunk| socket.upgrade(lp, new, head_of(chunk)));
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\nhead");
    world.until("the head", |world| world.received == b"head");
    world.send(b", later");
    world.fin();
    world.until("the rest", |world| world.received == b"head, later");
}

#[test]
fn a_socket_that_decodes_text_delivers_its_head_as_text() {
    let story = Story::default();
    let new = Actor::new("new", &story);
    let old = Actor::new("old", &story)
        .when("connection", |lp, socket, _| socket.set_encoding(lp))
        .when("text", move |lp, socket, _| socket.upgrade(lp, new, b"\xc2"));
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\n");
    world.until("the upgrade", |world| world.story.borrow().len() == 3);
    // The second half of the character whose first half was the head.
    world.send(b"\xa1");
    world.expect("text", &["old connection", r"old text: UP\n", "new upgrade", r"new text: \xc2\xa1"]);
}

/// The old handler is dropped when its callback has returned, the new one with the socket.
#[test]
fn handlers_are_dropped_when_no_socket_has_them() {
    let story = Story::default();
    let (old_lives, new_lives) = (Rc::new(()), Rc::new(()));
    let (in_old, in_new) = (old_lives.clone(), new_lives.clone());
    let new = Actor::new("new", &story).when("never", move |_, _, _| drop(in_new));
    let private = Actor::new("private", &story)
        .when("never", move |_, _, _| drop(in_old))
        .when("data", move |lp, socket, chunk| socket.upgrade(lp, new, head_of(chunk)));
    let old = Actor::new("old", &story).when("connection", move |lp, socket, _| socket.upgrade(lp, private, ""));
    let mut world = World::serve(&story, ServerOptions::default(), old);
    world.send(b"UP\n");
    let want = ["old connection", "private upgrade", r"private data: UP\n", "new upgrade"];
    world.expect("upgraded", &want);
    assert_eq!((Rc::strong_count(&old_lives), Rc::strong_count(&new_lives)), (1, 2));
    world.socket();
    let socket = world.socket();
    world.event_loop.enter(|lp| socket.destroy(lp));
    world.until("the close", |world| world.story.borrow().len() == 5);
    assert_eq!(Rc::strong_count(&new_lives), 1);
}
