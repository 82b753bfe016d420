//! Two nodes of a cluster in one process, over a real Redis. The tests of mixed clusters with Node are in `interop`.

#![cfg(feature = "redis")]

/// A Redis server, or the end of the test where the program is not installed.
macro_rules! redis_or_return {
    () => {
        match RedisServer::start(&[]) {
            Some(server) => server,
            None => return,
        }
    };
}

mod closing;
mod faults;
mod losses;
#[path = "../chat_cluster/proxy.rs"]
mod proxy;
mod pubsub;
mod recovery;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod sharded;
#[path = "../support/socket_io.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod socket_io;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bucle::net::ServerId;
use bucle::redis::{self, Link};
use bucle::socket_io::redis_adapter::{self, RedisAdapter, ShardedAdapter, ShardedOptions};
use bucle::socket_io::redis_adapter::{StreamsAdapter, StreamsOptions};
use bucle::socket_io::{self as sio, Server};
use bucle::{Loop, Remote};
use redis_server::RedisServer;
use serde_json::json;
use socket_io::Client;

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

/// A node, on the thread of the loop.
#[derive(Clone, Copy)]
struct Node {
    http: ServerId,
    io: Server,
    link: Link,
}

thread_local! {
    static NODES: RefCell<Vec<Node>> = const { RefCell::new(Vec::new()) };
}

/// The adapter of the nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Classic,
    Sharded,
    /// With recovery.
    Streams,
}

/// Two nodes on one loop, each with a link of its own.
struct Cluster {
    remote: Remote,
    ports: Vec<u16>,
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    fn start(redis: &RedisServer) -> Cluster {
        Cluster::of(Kind::Classic, [redis.port(); 2])
    }

    /// A cluster whose nodes reach Redis at these ports.
    fn of(kind: Kind, redis_ports: [u16; 2]) -> Cluster {
        let (sender, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let run = bucle::run(|lp| {
                let ports = redis_ports.map(|redis_port| start_node(lp, kind, redis_port)).to_vec();
                sender.send((lp.remote(), ports)).expect("the test waits");
                Ok(())
            });
            run.expect("the loop runs");
        });
        let (remote, ports) = started.recv().expect("the nodes start");
        let cluster = Cluster { remote, ports, thread: Some(thread) };
        cluster.until("both links are ready", |lp, nodes| nodes.iter().all(|node| node.link.is_ready(lp)));
        cluster
    }

    /// Calls a closure on the thread of the loop.
    fn enter<R: Send + 'static>(&self, f: impl FnOnce(&mut Loop, &[Node]) -> R + Send + 'static) -> R {
        let (sender, result) = mpsc::channel();
        self.remote.post(move |lp| {
            let nodes = NODES.with_borrow(Clone::clone);
            let _ = sender.send(f(lp, &nodes));
        });
        result.recv_timeout(LIMIT).expect("the loop turns")
    }

    /// Waits until something is true.
    fn until(&self, what: &str, is_true: impl Fn(&mut Loop, &[Node]) -> bool + Send + Copy + 'static) {
        let begin = Instant::now();
        while !self.enter(is_true) {
            assert!(begin.elapsed() < LIMIT, "this has not come: {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sharded: waits until Redis knows the nodes that have a socket in a room. It learns that behind the answer to the
    /// client that joins.
    fn until_subscribed(&self, room: &str, nodes: i64) {
        let (begin, channel) = (Instant::now(), format!("socket.io#/#{room}#"));
        let count = || {
            let channel = channel.clone();
            self.result(move |lp, nodes, sender| {
                nodes[0].link.command(lp, &["PUBSUB", "SHARDNUMSUB", &channel], move |_, reply| {
                    sender.send(reply.ok().and_then(|reply| reply.items()[1].integer())).expect("the test waits");
                });
            })
        };
        while count() != Some(nodes) {
            assert!(begin.elapsed() < LIMIT, "{nodes} nodes have not subscribed to {room}");
        }
    }

    /// Streams: waits until the first two nodes have read the same entries. Otherwise a client that joins at the slower
    /// node could receive events that were sent before.
    fn until_both_have_read(&self) {
        self.until("both nodes have read all", |lp, nodes| {
            nodes[0].link.stream_position(lp, "socket.io") == nodes[1].link.stream_position(lp, "socket.io")
        });
    }

    fn client(&self, node: usize) -> Client {
        Client::connect(self.ports[node])
    }

    /// Starts an operation whose result comes later, and waits for it.
    fn result<R: Send + 'static>(&self, begin: impl FnOnce(&mut Loop, &[Node], mpsc::Sender<R>) + Send + 'static) -> R {
        let (sender, result) = mpsc::channel();
        self.enter(move |lp, nodes| begin(lp, nodes, sender));
        result.recv_timeout(LIMIT).expect("a result comes")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.remote.post(|lp| lp.stop());
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            thread.join().expect("the loop has not panicked");
        }
    }
}

fn start_node(lp: &mut Loop, kind: Kind, redis_port: u16) -> u16 {
    let mut options = redis::Options {
        min_delay: Duration::from_millis(20),
        max_delay: Duration::from_millis(100),
        max_waiting: 64 * 1024,
        ping_interval: Duration::from_secs(1),
        ..redis::Options::default()
    };
    options.address.port = redis_port;
    let link = Link::open(lp, options);
    let recovery = (kind == Kind::Streams).then(sio::RecoveryOptions::default);
    let options = sio::Options { recovery, ..sio::Options::default() };
    let (http, io) = sio::listen(lp, ("127.0.0.1", 0), options).expect("a free port");
    set_adapter(lp, kind, io, link);
    io.on(lp, "join", |lp, socket, event| {
        let room = event.arguments().text(0).unwrap_or_default().into_owned();
        socket.join(lp, room);
        event.ack(lp, ());
    });
    io.on_server_event(lp, "who", |lp, event| {
        let text = event.arguments().as_json().to_owned();
        event.ack(lp, format!("asked {text}"));
    });
    io.of_matching(lp, |name| name.starts_with("/t")).on(lp, "all", |lp, socket, _| {
        if let Some(namespace) = socket.namespace(lp) {
            namespace.emit(lp, "to all", ());
        }
    });
    NODES.with_borrow_mut(|nodes| nodes.push(Node { http: *http, io, link }));
    http.port(lp).expect("it is bound")
}

fn set_adapter(lp: &mut Loop, kind: Kind, io: Server, link: Link) {
    match kind {
        Kind::Classic => io.set_adapter(lp, RedisAdapter::factory(link, redis_adapter::Options::default())),
        Kind::Sharded => io.set_adapter(lp, ShardedAdapter::factory(link, ShardedOptions::default())),
        Kind::Streams => io.set_adapter(lp, StreamsAdapter::factory(link, StreamsOptions::default())),
    }
}

fn join(client: &mut Client, room: &str) {
    client.send(&format!(r#"420["join","{room}"]"#));
    assert_eq!(client.next(), "430[]");
}

/// The events up to, and without, `end`.
fn events_until(client: &mut Client, end: &str) -> Vec<String> {
    let end = format!("42{}", json!([end]));
    std::iter::from_fn(|| Some(client.next()).filter(|event| *event != end)).collect()
}

/// Sends a command to Redis with a connection of its own. Returns the reply, which is short.
fn ask(redis: &RedisServer, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
    let mut command = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        command.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        command.extend_from_slice(part);
        command.extend_from_slice(b"\r\n");
    }
    stream.write_all(&command).expect("it reads");
    let mut reply = [0; 256];
    let len = stream.read(&mut reply).expect("a reply");
    String::from_utf8_lossy(&reply[..len]).into_owned()
}

/// Publishes with a connection of its own.
fn publish(redis: &RedisServer, channel: &str, message: &[u8]) {
    let reply = ask(redis, &[b"PUBLISH", channel.as_bytes(), message]);
    assert!(reply.starts_with(':'), "{reply:?}");
}
