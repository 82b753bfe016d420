//! Our client of Socket.IO and the servers of npm, of version 4 and 2.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use bucle::engine_io::{Revision, Transport};
use bucle::http::HeaderValue;
use bucle::socket_io::{self, Auth, Binary, Client, ClientOptions};
use bucle::{EventLoop, Loop};
use serde_json::{Value, json};

use crate::{LIMIT, root};

/// A server of npm.
struct Node {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Node {
    /// `None`, with a note, if the package is not installed.
    fn start(package: &str) -> Option<Node> {
        Node::start_with(package, json!({}))
    }

    /// With further options.
    fn start_with(package: &str, options: Value) -> Option<Node> {
        let folder = root().join("tests/interop");
        let is_installed = Command::new("node").arg("--version").output().is_ok()
            && folder.join("node_modules").join(package).join("package.json").exists();
        if !is_installed {
            let what = format!("Node and the package {package} (npm install in tests/interop)");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "not installed: {what}");
            eprintln!("skipped, not installed: {what}");
            return None;
        }
        let mut command = Command::new("node");
        command.arg(folder.join("socketio_server.js")).arg(package).arg(options.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it is installed");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut node = Node { child, lines, port: 0 };
        node.port = node.read_port();
        Some(node)
    }

    fn read_port(&self) -> u16 {
        self.lines.recv_timeout(LIMIT).expect("a line").parse().expect("a port")
    }

    fn command(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{line}").expect("it reads");
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loop with clients, and what they have received.
struct World {
    event_loop: EventLoop,
    story: Rc<RefCell<Vec<String>>>,
}

impl World {
    fn new() -> World {
        World { event_loop: EventLoop::new().expect("a loop"), story: Rc::default() }
    }

    fn enter<R>(&mut self, f: impl FnOnce(&mut Loop) -> R) -> R {
        self.event_loop.enter(f)
    }

    /// Turns until a line of the story begins with this text, and returns the line. All lines up to it are removed.
    fn until(&mut self, start: &str) -> String {
        let at = self.wait(start);
        self.story.borrow_mut().drain(..=at).next_back().expect("it is there")
    }

    /// Turns until a line of the story begins with this text, and returns its place.
    fn wait(&mut self, start: &str) -> usize {
        let begin = Instant::now();
        loop {
            let at = self.story.borrow().iter().position(|line| line.starts_with(start));
            if let Some(at) = at {
                return at;
            }
            assert!(begin.elapsed() < LIMIT, "{start} did not come: {:?}", self.story.borrow());
            self.event_loop.turn(Some(Duration::from_millis(50))).expect("the poll works");
        }
    }

    fn connect(&mut self, url: &str, options: ClientOptions) -> Client {
        let story = self.story.clone();
        self.enter(|lp| {
            let client = socket_io::connect(lp, url, options).expect("a good URL");
            let note = move |text: String| story.borrow_mut().push(text);
            let tell = note.clone();
            client.on_connect(lp, move |lp, client| {
                tell(format!("connect {} {}", client.id(lp).unwrap_or_default(), client.is_recovered(lp)));
            });
            let tell = note.clone();
            client.on_disconnect(lp, move |_, _, reason| tell(format!("disconnect {reason}")));
            let tell = note.clone();
            client.on_connect_error(lp, move |_, _, error| {
                let data = error.data().map(ToString::to_string).unwrap_or_default();
                tell(format!("error {} {} {data}", error.code(), error.message()));
            });
            let tell = note.clone();
            client.on_upgrade(lp, move |_, _| tell("upgrade".to_owned()));
            let tell = note.clone();
            client.on_any(lp, move |_, _, event| tell(format!("{} {}", event.name(), event.arguments().as_json())));
            client.on(lp, "question", |lp, _, event| {
                let text = event.arguments().text(0).unwrap_or_default().into_owned() + "!";
                event.ack(lp, &*text);
            });
            client
        })
    }

    /// Emits `echo`, and returns what the server has acknowledged it with.
    fn echo(&mut self, client: Client, arguments: impl socket_io::IntoArguments) -> socket_io::OwnedArguments {
        let answer = Rc::new(RefCell::new(None));
        let (slot, story) = (answer.clone(), self.story.clone());
        self.enter(|lp| {
            client.emit_with_ack(lp, "echo", arguments, LIMIT, move |_, _, result| {
                *slot.borrow_mut() = Some(result.expect("an answer").to_owned());
                story.borrow_mut().push("echoed".to_owned());
            });
        });
        self.until("echoed");
        answer.take().expect("it is there")
    }
}

fn options(revision: Revision, transports: &[Transport]) -> ClientOptions {
    let mut options = ClientOptions {
        reconnection_delay: Duration::from_millis(20),
        reconnection_delay_max: Duration::from_millis(100),
        ..ClientOptions::default()
    };
    options.engine.revision = revision;
    options.engine.transports = transports.to_vec();
    options.engine.headers.insert("x-test", HeaderValue::from_static("yes"));
    options
}

fn check(package: &str, revision: Revision) {
    use Transport::{Polling, WebSocket};
    for transports in [&[Polling][..], &[WebSocket], &[Polling, WebSocket]] {
        let Some(mut node) = Node::start(package) else { return };
        let mut world = World::new();
        let client = world.connect(&node.url("/?room=blue"), options(revision, transports));
        events(&mut world, client, transports.len() == 2);
        namespaces(&mut world, &node, client, revision, transports);
        losses(&mut world, &mut node, client, revision);
        world.enter(|lp| client.disconnect(lp));
        world.until("disconnect io client disconnect");
        world.event_loop.run().expect("the loop ends: nothing is left");
    }
}

fn events(world: &mut World, client: Client, has_upgrade: bool) {
    if has_upgrade {
        world.wait("upgrade");
    }
    let connect = world.until("connect ");
    let id = connect.split(' ').nth(1).expect("an id").to_owned();
    assert!(world.until("welcome ").contains(&format!(r#""id":"{id}""#)), "both sides know the same id");
    assert_eq!(
        world.echo(client, (1, "zwei", json!({ "a": [true, null] }))).as_arguments().as_json(),
        r#"1,"zwei",{"a":[true,null]}"#
    );
    let (bytes, list): (Binary, Vec<Binary>) = world
        .echo(client, (Binary(vec![0, 1, 255]), vec![Binary(b"x".to_vec()), Binary(Vec::new())]))
        .as_arguments()
        .parse()
        .expect("binary comes back as binary");
    assert_eq!((bytes.0, list.len()), (vec![0, 1, 255], 2));
    let text = "ñ🎉\u{1e}\n".repeat(5_000);
    assert_eq!(world.echo(client, &*text).as_arguments().text(0).as_deref(), Some(text.as_str()));
    world.enter(|lp| client.emit(lp, "ask", "why"));
    assert!(world.until("answer ").starts_with(r#"answer "why!""#));
    world.enter(|lp| client.emit(lp, "count", 40));
    for number in 0..40 {
        let line = world.until("number ");
        assert!(line == format!("number {number}") || line.starts_with(&format!("number {number},")), "{line}");
    }
    world.enter(|lp| client.emit(lp, "blob", 1_000_000));
    assert!(world.until("blob ").len() > 1_000_000);
    // Many events of one phase are posted in bodies that the server accepts.
    world.enter(|lp| (0..50).for_each(|number| _ = client.emit(lp, "echo", (number, &"x".repeat(10_000)))));
    for number in 0..50 {
        assert!(world.until("echo-back ").starts_with(&format!("echo-back {number},")));
    }
    let story = world.story.clone();
    world.enter(|lp| {
        client.emit_with_ack(lp, "handshake", (), LIMIT, move |_, _, result| {
            story.borrow_mut().push(format!("handshake {}", result.expect("an answer").as_json()));
        });
    });
    assert_eq!(world.until("handshake "), r#"handshake "blue","yes""#);
    // The session outlives several heartbeats.
    let story = world.story.clone();
    world.enter(|lp| lp.set_timeout(Duration::from_millis(1500), move |_| story.borrow_mut().push("later".to_owned())));
    world.until("later");
    world.enter(|lp| assert_eq!(client.id(lp), Some(id.as_str())));
}

fn namespaces(world: &mut World, node: &Node, client: Client, revision: Revision, transports: &[Transport]) {
    let refused = world.connect(&node.url("/admin?token=no"), options(revision, transports));
    assert!(world.until("error ").starts_with("error E_REFUSED not authorized"));
    world.enter(|lp| refused.release(lp));
    let unknown = world.connect(&node.url("/unknown"), options(revision, transports));
    assert!(world.until("error ").starts_with("error E_REFUSED Invalid namespace"));
    world.enter(|lp| unknown.release(lp));
    let secret = Auth::new(json!({ "token": "secret" }));
    let admin = world.enter(|lp| client.of_with_auth(lp, "/admin", secret)).expect("a good name");
    assert_eq!(world.echo(admin, 7).as_arguments().as_json(), "7", "it is kept until the client is connected");
    world.enter(|lp| {
        assert!(admin.is_connected(lp) && client.is_connected(lp));
        admin.release(lp);
    });
}

fn losses(world: &mut World, node: &mut Node, client: Client, revision: Revision) {
    // The server has ended the session, and emits while the client is away.
    let before = world.enter(|lp| client.id(lp).map(str::to_owned));
    world.enter(|lp| client.emit(lp, "lose", ()));
    world.until("disconnect transport ");
    world.enter(|lp| client.emit(lp, "echo", "kept"));
    if revision == Revision::V4 {
        // Before or behind the connection.
        world.wait("missed 1");
        world.wait(&format!("connect {} true", before.unwrap_or_default()));
    }
    world.until("connect ");
    world.until("echo-back \"kept\"");
    // All connections are cut.
    node.command("kick");
    world.until("disconnect transport ");
    world.until("connect ");
    assert_eq!(world.echo(client, 1).as_arguments().as_json(), "1");
    // The server ends, and another one knows nothing of the session.
    let port = node.port;
    node.command(&format!("stop {port}"));
    world.until("disconnect transport ");
    world.until("connect ");
    assert_eq!(node.read_port(), port);
    assert_eq!(world.echo(client, 2).as_arguments().as_json(), "2");
    // The server disconnects the client, which stays away.
    world.enter(|lp| client.emit(lp, "bye", ()));
    world.until("disconnect io server disconnect");
    world.enter(|lp| {
        assert!(!client.is_active(lp));
        client.connect(lp);
    });
    world.until("connect ");
    world.enter(|lp| client.emit(lp, "close", ()));
    world.until("disconnect io server disconnect");
    world.enter(|lp| client.connect(lp));
    world.until("connect ");
}

#[test]
fn a_server_without_websocket_is_reached_by_the_next_transport() {
    for package in ["socket.io", "socket.io-v2"] {
        let Some(node) = Node::start_with(package, json!({ "transports": ["polling"] })) else { return };
        let revision = if package == "socket.io" { Revision::V4 } else { Revision::V3 };
        let mut options = options(revision, &[Transport::WebSocket, Transport::Polling]);
        options.engine.try_all_transports = true;
        let mut world = World::new();
        let client = world.connect(&node.url("/"), options);
        assert!(world.until("").starts_with("connect "), "no error comes before");
        assert_eq!(world.enter(|lp| client.transport(lp)), Some(Transport::Polling));
        assert_eq!(world.echo(client, 1).as_arguments().as_json(), "1");
    }
}

#[test]
fn cookies_of_a_server_of_node_are_sent_back_also_by_the_next_session() {
    let Some(mut node) = Node::start_with("socket.io", json!({ "cookie": true })) else { return };
    let mut options = options(Revision::V4, &[Transport::Polling, Transport::WebSocket]);
    options.engine.with_credentials = true;
    options.engine.remember_upgrade = true;
    let mut world = World::new();
    let client = world.connect(&node.url("/"), options);
    world.wait("upgrade");
    world.until("connect ");
    let first = world.enter(|lp| client.session(lp)?.id(lp).map(str::to_owned)).expect("it is open");
    node.command("kick");
    world.until("disconnect ");
    world.until("connect ");
    let story = world.story.clone();
    world.enter(|lp| {
        client.emit_with_ack(lp, "cookies", (), LIMIT, move |_, _, result| {
            story.borrow_mut().push(format!("cookies {}", result.expect("an answer").as_json()));
        });
    });
    let cookies: Vec<(String, Option<String>)> =
        serde_json::from_str(&world.until("cookies ")["cookies ".len()..]).expect("JSON");
    let (_, without) = &cookies[0];
    assert_eq!(*without, None, "the first request has none");
    let cookie = Some(format!("io={first}"));
    assert!(cookies[1..].iter().all(|(_, other)| *other == cookie), "{cookies:?}");
    let transports: Vec<&str> = cookies.iter().map(|(transport, _)| transport.as_str()).collect();
    assert_eq!(transports.last(), Some(&"websocket"), "the second session begins with it: {cookies:?}");
    assert!(transports.iter().filter(|name| **name == "websocket").count() == 2, "{cookies:?}");
}

#[test]
fn connects_to_socket_io_of_version_4() {
    check("socket.io", Revision::V4);
}

#[test]
fn connects_to_socket_io_of_version_2() {
    check("socket.io-v2", Revision::V3);
}
