//! Clients whose connection ends, or whose listeners panic, in an unusual moment.

use bucle::engine_io::{ClientHandler, ClientSession};
use bucle::socket_io::Next;

use super::*;

/// Lets the loop catch panics, of which those on purpose are not printed.
fn catch_panics(world: &mut World) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.to_string().contains("on purpose") {
            hook(info);
        }
    }));
    world.event_loop.catch_panics(true);
}

#[test]
fn a_panic_in_a_listener_does_not_end_the_attempts_to_connect() {
    let mut world = World::new();
    catch_panics(&mut world);
    let client = world.client("c", "http://127.0.0.1:1/", with(POLLING));
    world.enter(|lp| {
        client.on_connect_error(lp, |_, _, _| panic!("on purpose"));
        client.on_reconnect_attempt(lp, |_, _, _| panic!("on purpose"));
        client.on_reconnect_error(lp, |_, _, _| panic!("on purpose"));
    });
    world.until("c connect_error ECONNREFUSED");
    for attempt in 1..4 {
        world.settle();
        world.advance(5 * SECOND);
        world.until(&format!("c reconnect_attempt {attempt}"));
        world.until("c reconnect_error ECONNREFUSED");
        world.take_story();
    }
}

#[test]
fn a_panic_in_the_function_for_auth_is_followed_by_another_attempt() {
    for transports in [POLLING, WEBSOCKET] {
        let mut world = World::new();
        catch_panics(&mut world);
        let site = world.serve(Options::default());
        let mut calls = 0;
        let auth = Auth::with(move |_| {
            calls += 1;
            assert!(calls > 2, "on purpose");
            json!({})
        });
        world.client("c", &site.url("/"), ClientOptions { auth, ..with(transports) });
        for count in 1..=2 {
            world.settle();
            world.advance(5 * SECOND);
            let reconnects = |story: &[String]| story.iter().filter(|line| *line == "c reconnect 1").count();
            world.wait("another attempt", |world| reconnects(&world.story.borrow()) == count);
        }
        world.until("c connect");
    }
}

#[test]
fn a_panic_at_the_end_of_a_connection_leaves_acknowledgements_and_reconnection_alone() {
    let mut world = World::new();
    catch_panics(&mut world);
    let site = world.serve(Options::default());
    let client = world.connected(&site.url("/"), with(WEBSOCKET));
    let story = world.story.clone();
    world.enter(|lp| {
        client.on_disconnect(lp, |_, _, _| panic!("on purpose"));
        client.emit_with_ack(lp, "silent", (), Duration::ZERO, |_, _, _| panic!("on purpose"));
        ask(lp, client, &story, "silent", "second", Duration::ZERO);
        client.emit(lp, "close", ());
    });
    world.until("ack second disconnected");
    world.advance(SECOND);
    world.until("c connect");
}

#[test]
fn a_panic_in_a_listener_for_an_event_costs_the_session_and_the_client_connects_again() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let mut world = World::new();
        catch_panics(&mut world);
        let site = world.serve(Options::default());
        let client = world.connected(&site.url("/"), with(transports));
        world.enter(|lp| {
            client.on(lp, "echo-back", |_, _, _| panic!("on purpose"));
            client.emit(lp, "echo", ());
        });
        // No time passes: the end of the session does not wait for a heartbeat.
        world.wait("the loss", |world| world.story.borrow().iter().any(|line| line.starts_with("c disconnect")));
        world.advance(SECOND);
        world.until("c connect");
    }
}

#[test]
fn a_session_that_was_overdue_ends_even_if_a_ping_arrives_before_its_timer() {
    let mut world = World::new();
    let (mut first, mut second) = (Peer::new(), Peer::new());
    let waker = world.client("w", &first.url(), with(POLLING));
    talk(&mut world, &mut first, "w connect", vec![]);
    let client = world.client("c", &second.url(), with(POLLING));
    talk(&mut world, &mut second, "c connect", vec![]);
    let story = world.story.clone();
    world.enter(|lp| {
        waker.on(lp, "go", move |lp, _, _| {
            client.emit(lp, "late", 1);
            story.borrow_mut().push("emitted".to_owned());
        });
    });
    world.settle();
    // Both answers are there when the loop runs again, that of the other server first.
    let answer = |method: &str, packet: &str| Some((200, if method == "POST" { "ok" } else { packet }.to_owned()));
    for _ in 0..10 {
        // Polls that the client has made have arrived by now.
        first.serve(|method, _, _| (method == "POST").then(|| (200, "ok".to_owned())));
        second.serve(|method, _, _| (method == "POST").then(|| (200, "ok".to_owned())));
        world.turn();
    }
    first.serve(|method, _, _| answer(method, r#"42["go"]"#));
    second.serve(|method, _, _| answer(method, "2"));
    world.clock.advance(3600 * SECOND);
    world.until("emitted");
    world.until("c disconnect ping timeout");
    world.enter(|lp| {
        waker.release(lp);
        client.release(lp);
    });
}

#[test]
fn many_pings_in_one_answer_get_one_pong() {
    let mut world = World::new();
    let mut peer = Peer::new();
    let client = world.client("c", &peer.url(), with(POLLING));
    talk(&mut world, &mut peer, "c connect", vec![]);
    let mut has_pinged = false;
    let mut pongs = Vec::new();
    world.wait("a pong", |_| {
        peer.serve(|method, _, body| match method {
            "POST" => {
                pongs.push(body.to_owned());
                Some((200, "ok".to_owned()))
            }
            _ => (!std::mem::replace(&mut has_pinged, true)).then(|| (200, vec!["2"; 5000].join("\u{1e}"))),
        });
        !pongs.is_empty()
    });
    assert_eq!(pongs, ["3"]);
    world.enter(|lp| client.release(lp));
}

#[test]
fn a_session_that_the_program_closes_is_opened_again() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let mut world = World::new();
        let site = world.serve(Options::default());
        let client = world.connected(&site.url("/"), with(transports));
        world.enter(|lp| client.session(lp).expect("it is open").close(lp));
        world.until("c disconnect forced close");
        world.advance(SECOND);
        world.until("c connect");
    }
}

#[test]
fn a_namespace_whose_client_was_released_gets_another_client() {
    let mut world = World::new();
    let site = world.serve(Options::default());
    world.enter(|lp| _ = site.io.of(lp, "/x"));
    let client = world.connected(&site.url("/"), with(WEBSOCKET));
    let first = world.enter(|lp| client.of(lp, "/x")).expect("a good name");
    world.wait("the first", |world| world.enter(|lp| first.is_connected(lp)));
    let second = world.enter(|lp| {
        first.release(lp);
        client.of(lp, "/x").expect("a good name")
    });
    assert_ne!(first, second);
    world.wait("the second", |world| world.enter(|lp| second.is_connected(lp)));
    world.enter(|lp| assert!(first.namespace(lp).is_none()));
}

#[test]
fn a_catch_all_listener_adds_and_removes_the_listeners_of_its_event() {
    let mut world = World::new();
    let site = world.serve(Options::default());
    let client = world.connected(&site.url("/"), with(WEBSOCKET));
    let story = world.story.clone();
    world.enter(|lp| {
        client.on(lp, "echo-back", |_, _, _| panic!("it was removed"));
        client.on_any(lp, move |lp, client, _| {
            client.off(lp, "echo-back");
            let story = story.clone();
            client.once(lp, "echo-back", move |_, _, _| story.borrow_mut().push("added".to_owned()));
        });
        client.emit(lp, "echo", ());
    });
    world.until("added");
}

/// A server of Engine.IO that lets every request wait until the test answers it.
struct Slow {
    endpoint: Endpoint<Prober>,
    waiting: Rc<RefCell<Vec<(bool, Exchange)>>>,
}

/// It accepts the upgrade.
struct Prober(Story);

impl websocket::Handler for Prober {
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        if message == Message::Text("2probe") {
            ws.send(lp, "3probe");
        }
        if let Message::Text(text) = message {
            self.0.borrow_mut().push(format!("server {text}"));
        }
    }
}

impl http::Handler for Slow {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let is_post = request.method() == http::Method::POST;
        if !is_post && !request.target().contains("sid=") {
            let open = OPEN.replace("[]", r#"["websocket"]"#);
            exchange.respond(lp, Response::new(open));
            return;
        }
        self.waiting.borrow_mut().push((is_post, exchange));
    }
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if let Some(handshake) = self.endpoint.handshake(lp, exchange, request) {
            handshake.accept(lp);
        }
    }
}

/// Sends more than a session takes at once.
struct Sender(Story);

impl ClientHandler for Sender {
    fn on_open(&mut self, lp: &mut Loop, session: ClientSession) {
        assert!(!session.send(lp, &*"x".repeat(100_000)));
    }
    fn on_drain(&mut self, _: &mut Loop, _: ClientSession) {
        self.0.borrow_mut().push("drain".to_owned());
    }
}

#[test]
fn a_drain_follows_also_if_the_session_changes_its_transport_meanwhile() {
    let mut world = World::new();
    let waiting = Rc::<RefCell<Vec<(bool, Exchange)>>>::default();
    let (requests, story) = (waiting.clone(), world.story.clone());
    let port = world.enter(|lp| {
        let endpoint = Endpoint::new(lp, websocket::Options::default(), Prober(story));
        let slow = Slow { endpoint, waiting: requests };
        let server = net::listen(lp, ("127.0.0.1", 0), Http::new(http::Options::default(), slow)).expect("a port");
        server.port(lp).expect("it is bound")
    });
    let story = world.story.clone();
    let session = world.enter(|lp| {
        let url = format!("http://127.0.0.1:{port}");
        bucle::engine_io::connect(lp, &url, bucle::engine_io::ClientOptions::default(), Sender(story))
    });
    let session = session.expect("a good URL");
    world.until("server 2probe");
    // The client has the answer to the probe when it makes no requests any longer.
    world.settle();
    world.wait("both requests", |_| waiting.borrow().len() == 2);
    for is_post in [false, true] {
        let exchange = waiting.borrow().iter().find(|(other, _)| *other == is_post).expect("both wait").1;
        world.enter(|lp| assert!(exchange.respond(lp, Response::new(if is_post { "ok" } else { "6" }))));
        world.settle();
    }
    world.until("server 5");
    world.until("drain");
    world.enter(|lp| {
        assert!(!session.needs_drain(lp));
        session.close(lp);
    });
}

#[test]
fn a_client_that_leaves_before_the_server_has_let_it_in_leaves_no_socket_behind() {
    for (name, transports) in [("polling", POLLING), ("WebSocket", WEBSOCKET)] {
        for (what, joins_again, is_released, is_refused) in [
            ("left", false, false, false),
            ("left and came back", true, false, false),
            ("was released", false, true, false),
            ("left and was refused", false, false, true),
            ("left, came back and was refused", true, false, true),
        ] {
            let mut world = World::new();
            let site = world.serve(Options::default());
            let pending: Rc<RefCell<Vec<Next>>> = Rc::default();
            let (waiting, story) = (pending.clone(), world.story.clone());
            world.enter(|lp| {
                let slow = site.io.of(lp, "/slow");
                slow.use_middleware(lp, move |_, _, next| waiting.borrow_mut().push(next));
                slow.on_connection(lp, move |lp, socket| {
                    story.borrow_mut().push("server joined".to_owned());
                    let story = story.clone();
                    socket.on_disconnect(lp, move |_, _, reason| story.borrow_mut().push(format!("server {reason}")));
                });
            });
            let main = world.connected(&site.url("/"), with(transports));
            let slow = world.enter(|lp| main.of(lp, "/slow")).expect("a good name");
            let story = world.story.clone();
            world.enter(|lp| observe(lp, slow, "slow", &story));
            world.wait("the middleware", |_| pending.borrow().len() == 1);
            world.enter(|lp| {
                match is_released {
                    true => slow.release(lp),
                    false => slow.disconnect(lp),
                }
                if joins_again {
                    slow.connect(lp);
                }
            });
            world.settle();
            let next = pending.borrow_mut().remove(0);
            world.enter(|lp| match is_refused {
                true => next.refuse(lp, "no"),
                false => next.allow(lp),
            });
            let mut expected = vec![];
            if !is_refused {
                world.until("server client namespace disconnect");
                expected.extend(["server joined", "server client namespace disconnect"]);
            }
            if joins_again {
                world.wait("the middleware", |_| pending.borrow().len() == 1);
                let next = pending.borrow_mut().remove(0);
                world.enter(|lp| next.allow(lp));
                world.until("slow connect");
                expected.extend(["server joined", "slow connect"]);
            }
            world.settle();
            assert_eq!(world.take_story(), expected, "{name}: {what}");
            // The session that both clients share lives on.
            world.enter(|lp| assert!(main.is_connected(lp), "{name}: {what}"));
        }
    }
}

#[test]
fn a_client_that_is_disconnected_before_it_is_let_in_is_told() {
    let mut world = World::new();
    let mut peer = Peer::new();
    let client = world.client("c", &peer.url(), with(POLLING));
    let mut has_left = false;
    world.wait("the disconnection", |world| {
        peer.serve(|method, target, _| match method {
            "POST" => Some((200, "ok".to_owned())),
            _ if !target.contains("sid=") => Some((200, OPEN.to_owned())),
            _ => (!std::mem::replace(&mut has_left, true)).then(|| (200, "41".to_owned())),
        });
        !world.story.borrow().is_empty()
    });
    world.settle();
    assert_eq!(world.take_story(), ["c disconnect io server disconnect"]);
    world.enter(|lp| client.release(lp));
}

/// A server of Engine.IO over WebSocket. It reads nothing until the test lets it, and counts the pongs.
struct Deaf {
    ws: Rc<RefCell<Option<WebSocket>>>,
    pongs: Rc<RefCell<usize>>,
}

impl websocket::Handler for Deaf {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        ws.send(lp, OPEN);
        ws.pause(lp);
        *self.ws.borrow_mut() = Some(ws);
    }
    fn on_message(&mut self, _: &mut Loop, _: WebSocket, message: Message<'_>) {
        *self.pongs.borrow_mut() += usize::from(message == Message::Text("3"));
    }
}

/// Sends until nothing more leaves, and writes into the story when everything has left.
struct Flood(Story);

impl ClientHandler for Flood {
    fn on_message(&mut self, _: &mut Loop, _: ClientSession, message: bucle::engine_io::Message<'_>) {
        self.0.borrow_mut().push(format!("{message:?}"));
    }
    fn on_drain(&mut self, _: &mut Loop, _: ClientSession) {
        self.0.borrow_mut().push("drain".to_owned());
    }
}

#[test]
fn a_websocket_that_takes_nothing_holds_one_pong_however_often_the_server_pings() {
    let mut world = World::new();
    let (ws, pongs) = (Rc::default(), Rc::<RefCell<usize>>::default());
    let deaf = Deaf { ws: Rc::clone(&ws), pongs: pongs.clone() };
    let port = world.enter(|lp| {
        let server = websocket::listen(lp, ("127.0.0.1", 0), websocket::Options::default(), deaf).expect("a port");
        server.port(lp).expect("it is bound")
    });
    let options = with(WEBSOCKET).engine;
    let flood = Flood(world.story.clone());
    let url = format!("http://127.0.0.1:{port}");
    let session = world.enter(|lp| bucle::engine_io::connect(lp, &url, options, flood)).expect("a good URL");
    world.wait("the session", |world| world.enter(|lp| session.is_open(lp)));
    let piece = "x".repeat(1024 * 1024 - 1);
    // Until the kernel takes no more.
    while !world.enter(|lp| session.needs_drain(lp)) {
        world.enter(|lp| session.send(lp, &*piece));
        world.settle();
    }
    world.take_story();
    let server = ws.borrow().expect("it is open");
    for _ in 0..1000 {
        world.enter(|lp| server.send(lp, "2"));
        world.turn();
    }
    world.enter(|lp| server.send(lp, "4behind the pings"));
    world.until("Text(\"behind the pings\")");
    assert_eq!(*pongs.borrow(), 0);
    world.enter(|lp| server.resume(lp));
    world.until("drain");
    world.wait("the pong", |_| *pongs.borrow() > 0);
    world.settle();
    assert_eq!(*pongs.borrow(), 1);
    // The next ping gets its pong.
    world.enter(|lp| server.send(lp, "2"));
    world.wait("a pong", |_| *pongs.borrow() == 2);
    world.enter(|lp| session.close(lp));
}
